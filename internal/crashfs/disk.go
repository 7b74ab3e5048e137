// Package crashfs is a disk in memory that forgets what was not synced, for tests of code that keeps its files through
// wal.FS.
//
// For every file and folder it keeps what is read, what is on the platter, and the changes between the
// two, which no sync has written yet:
//
//	write, truncate, create, rename, remove ──> seen        what every process reads
//	                                            changes     since the last sync
//	                    sync, or a power cut ──> disk        what is on the platter
//
//	d := crashfs.New(seed)
//	j, _, err := wal.Open("/journal", wal.Options{FS: d.Process()})
//	…
//	d.PowerCut()
//	j, _, err = wal.Open("/journal", wal.Options{FS: d.Process()})
//
// [Disk.PowerCut] ends all processes and lets each change reach the platter or not: whole, cut at any byte,
// some of its sectors or pages in any order, the file's length before its bytes, a name without its file's
// bytes and bytes without a name. [Process.Kill] ends one process and leaves what is seen as it is. [Disk.Hook] lets
// single calls fail. A sync that fails leaves what is seen as it is, lets any of the changes reach the platter, and
// forgets the rest: a later sync succeeds, but only what is written once more reaches the platter.
//
// That is what POSIX allows, read as strictly as wal.FS reads it: a file's sync does not promise its name. A
// rename is one step.
//
// All choices come from the seed. The same calls in the same order have the same outcome. The seed does not decide
// in which order the calls of several goroutines come.
package crashfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Disk is shared by the processes that were opened on it. Its methods may be called from any number of
// goroutines, but not from the hook.
type Disk struct {
	mu    sync.Mutex
	rng   *rand.Rand
	root  *node
	clock int // of changes, over all files and folders
	calls int
	hook  func(Call) Verdict
	live  []*Process
	// freed is what removed files held. It may be in a block that was given to a new file and not written yet.
	freed [][]byte
	// stepwise: see TruncateInOneStep.
	stepwise bool
}

// New returns a disk with nothing but its root.
func New(seed uint64) *Disk {
	return &Disk{rng: rand.New(rand.NewPCG(seed, 0x6469736b)), root: newFolder()}
}

// node is a file or a folder, whatever its names are.
type node struct {
	file   content
	folder *names   // nil for a file
	lock   *Process // who holds the lock on it
}

func newFolder() *node {
	return &node{folder: &names{seen: map[string]*node{}, disk: map[string]*node{}}}
}

// TruncateInOneStep makes a truncation one step: a power cut leaves it done or undone. Without it a power cut may also
// leave a file with its former length and zeros in parts of it. POSIX does not promise one step. File systems with a
// journal do, and SQLite relies on it: a -wal that was cut to nothing must not come back with a hole.
func (d *Disk) TruncateInOneStep() { d.stepwise = true }

// PowerCut ends all processes, and lets each change that was not synced reach the platter or not.
func (d *Disk) PowerCut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerCut()
}

func (d *Disk) powerCut() {
	for len(d.live) > 0 {
		d.live[0].end()
	}
	d.cutBelow(d.root, d.drawFate())
}

// cutBelow visits only files that have a name on the platter: the rest is lost.
func (d *Disk) cutBelow(n *node, f fate) {
	if n.folder == nil {
		disk := n.file.outcome(d, f)
		n.file = content{seen: slices.Clone(disk), disk: disk}
		return
	}
	disk := n.folder.outcome(d, f)
	n.folder = &names{seen: maps.Clone(disk), disk: disk}
	for _, name := range slices.Sorted(maps.Keys(disk)) {
		d.cutBelow(disk[name], f)
	}
}

// Calls returns how many calls the processes have made.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Read returns what a file holds now, and whether it is there. It is no call of a process.
func (d *Disk) Read(name string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil || n.folder != nil {
		return nil, false
	}
	return slices.Clone(n.file.seen), true
}

// List returns the sorted names in a folder; none when it is not there. It is no call of a process.
func (d *Disk) List(dir string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(dir)
	if err != nil || n.folder == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(n.folder.seen))
}

// Damage changes what a file holds, on the platter and in what is read, as a disk does that fails. It is no call of a
// process. It reports whether the file is there.
func (d *Disk) Damage(name string, change func([]byte) []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil || n.folder != nil {
		return false
	}
	n.file.seen = change(n.file.seen)
	n.file.disk, n.file.changes = slices.Clone(n.file.seen), nil
	return true
}

// Lose removes a file's name, on the platter and in what is seen. It is no call of a process. It reports whether the
// file was there.
func (d *Disk) Lose(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	up, base, err := d.parent(name)
	if err != nil || up.folder.seen[base] == nil {
		return false
	}
	delete(up.folder.seen, base)
	delete(up.folder.disk, base)
	up.folder.changes = slices.DeleteFunc(up.folder.changes, func(c nameChange) bool { return c.from == base || c.to == base })
	return true
}

func (d *Disk) find(name string) (*node, error) {
	n := d.root
	for _, part := range split(name) {
		if n.folder == nil {
			return nil, fs.ErrInvalid
		}
		if n = n.folder.seen[part]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// parent returns the folder that a name lies in, which must be there, and the name's last part.
func (d *Disk) parent(name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", fs.ErrExist
	}
	up, err := d.find("/" + strings.Join(parts[:len(parts)-1], "/"))
	if err == nil && up.folder == nil {
		err = fs.ErrInvalid
	}
	return up, parts[len(parts)-1], err
}

func split(name string) []string {
	return strings.FieldsFunc(filepath.ToSlash(filepath.Clean(name)), func(r rune) bool { return r == '/' })
}
