package fusefs

import (
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/auditsql/auditsql/internal/crashfs"
)

// A Plan says which calls of a life fail, or end it. Of several faults that name a call the first counts.
type Plan []Fault

// Fault is what becomes of some calls.
type Fault struct {
	Ops     []crashfs.Op // any of these; empty: of Faulty
	Name    string       // patterns of path.Match for the last part of the name, with | between them; "" is any
	Skip    int          // so many of these calls pass first
	Times   int          // how many do not; 0 is one, below 0 all that come
	Odds    int          // of these calls one in so many does not pass, by chance; 0: each
	After   int          // they count only once this fault of the plan, from 1, has struck; 0: from the beginning
	Verdict crashfs.Verdict
}

// Faulty are the kinds of call that a fault without Ops means.
var Faulty = []crashfs.Op{
	crashfs.OpOpen, crashfs.OpOpenWrite, crashfs.OpCreate, crashfs.OpRename, crashfs.OpRemove, crashfs.OpList,
	crashfs.OpMkdir, crashfs.OpSyncDir, crashfs.OpRead, crashfs.OpWrite, crashfs.OpTruncate, crashfs.OpSync,
}

func (f Fault) names(c crashfs.Call) bool {
	ops := f.Ops
	if len(ops) == 0 {
		ops = Faulty
	}
	if !slices.Contains(ops, c.Op) {
		return false
	}
	return f.Name == "" || slices.ContainsFunc(strings.Split(f.Name, "|"), func(pattern string) bool {
		ok, err := path.Match(pattern, path.Base(c.Name))
		return ok && err == nil
	})
}

// judge decides over the calls of a machine. A crashfs.Disk asks it with its own lock held.
type judge struct {
	mu     sync.Mutex
	random *rand.Rand
	plan   Plan
	met    []int // how many calls each fault of the plan has named
	struck []int // and how many of them did not pass
	log    []string
	waits  []*waiting
}

// waiting is somebody who waits until a number of calls have been made.
type waiting struct {
	fault Fault
	left  int
	done  chan struct{}
}

// keepCalls is how many of the last calls the log keeps.
const keepCalls = 2000

func (j *judge) verdict(c crashfs.Call) crashfs.Verdict {
	j.mu.Lock()
	defer j.mu.Unlock()
	verdict := crashfs.Pass
	before := slices.Clone(j.struck)
	for i, f := range j.plan {
		if !f.names(c) || f.After > 0 && before[f.After-1] == 0 || f.Odds > 0 && j.random.IntN(f.Odds) > 0 {
			continue
		}
		j.met[i]++
		times := f.Times
		if times == 0 {
			times = 1
		}
		if n := j.met[i] - f.Skip; verdict == crashfs.Pass && n > 0 && (times < 0 || n <= times) {
			verdict = f.Verdict
			j.struck[i]++
		}
	}
	line := c.String()
	if verdict != crashfs.Pass {
		line += ": " + verdictNames[verdict]
	}
	j.note(line)
	j.waits = slices.DeleteFunc(j.waits, func(w *waiting) bool {
		if !w.fault.names(c) {
			return false
		}
		if w.left--; w.left > 0 {
			return false
		}
		close(w.done)
		return true
	})
	return verdict
}

var verdictNames = map[crashfs.Verdict]string{
	crashfs.IO: "EIO", crashfs.NoSpace: "ENOSPC", crashfs.Short: "short", crashfs.KillIt: "killed", crashfs.CutPower: "power cut",
}

func (j *judge) note(line string) {
	if len(j.log) >= 2*keepCalls {
		j.log = slices.Clone(j.log[keepCalls:])
	}
	j.log = append(j.log, line)
}

// remark puts a line into the log.
func (j *judge) remark(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note("— " + fmt.Sprintf(format, args...))
}

// set takes a plan in place of the one before, and counts anew. It returns how often that one has struck.
func (j *judge) set(p Plan) (struck []int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	struck = j.struck
	j.plan, j.met, j.struck = p, make([]int, len(p)), make([]int, len(p))
	return struck
}

func (j *judge) state() (met, struck []int, log []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.met), slices.Clone(j.struck), slices.Clone(j.log[max(0, len(j.log)-keepCalls):])
}

func (j *judge) wait(f Fault, n int) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := &waiting{f, n, make(chan struct{})}
	j.waits = append(j.waits, w)
	return w.done
}
