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

// A Plan says which calls of a life fail, or end it. If several faults match a call, the first one applies.
type Plan []Fault

// Fault says which calls it matches, and at which of them it strikes with its verdict.
type Fault struct {
	Ops     []crashfs.Op // any of these; empty: any of Faulty
	Name    string       // patterns of path.Match for the last part of the name, with | between them; "": any
	Skip    int          // this many matching calls pass first
	Times   int          // how often it strikes then; 0: once; below 0: at all later calls
	Odds    int          // it strikes at one in so many of these calls, by chance; 0: at each
	After   int          // calls count only after this fault of the plan, from 1, has struck; 0: from the beginning
	Verdict crashfs.Verdict
}

// Faulty are the kinds of call that a fault without Ops matches.
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

// judge decides what happens at each call of a machine. A crashfs.Disk asks it while it holds its own lock.
type judge struct {
	mu     sync.Mutex
	random *rand.Rand
	plan   Plan
	met    []int // how many calls have matched each fault of the plan
	struck []int // and at how many of them it has struck
	log    []string
	waits  []*waiting
}

// waiting is a caller of Await.
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

// remark adds a line to the log.
func (j *judge) remark(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.note("— " + fmt.Sprintf(format, args...))
}

// set replaces the plan and begins to count again. It returns how often the previous plan has struck.
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
