// Package crashfs is a disk in memory that can lose what was not synced. It is for tests of code that keeps its files
// through wal.FS.
//
// For every file and folder it keeps two states and the changes between them. The first is what processes read. The second
// is what would be left after a power cut; it is called the platter. The changes are those that no sync has written yet:
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
// POSIX allows all of that, in the strict reading on which wal.FS is based: a sync of a file does not make the file's name
// durable. A rename is one step.
//
// Read, List, Damage and Lose are for the test itself. They are no calls of a process: the hook does not see them, and
// [Disk.Calls] does not count them.
//
// All choices come from the seed. The same calls in the same order have the same outcome. But the seed does not decide
// the order in which several goroutines make their calls.
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
	clock int // the number of changes so far, of all files and folders
	calls int
	hook  func(Call) Verdict
	live  []*Process
	// freed is what files held whose name was removed. A new file may get their blocks, and shows the old bytes if power
	// is cut before it has written to them.
	freed [][]byte
	// stepwise is set by TruncateInOneStep.
	stepwise bool
}

// New returns a disk with nothing but its root.
func New(seed uint64) *Disk {
	return &Disk{rng: rand.New(rand.NewPCG(seed, 0x6469736b)), root: newFolder()}
}

// node is a file or a folder, like an inode: it does not know its names.
type node struct {
	file   content
	folder *names   // nil for a file
	lock   *Process // who holds the lock on it
}

func newFolder() *node {
	return &node{folder: &names{seen: map[string]*node{}, disk: map[string]*node{}}}
}

// TruncateInOneStep makes each truncation one step: after a power cut it is done or not done. Without it a power cut may
// also leave a file with its former length and zeros in parts of it. POSIX allows that. File systems with a journal
// do not, and SQLite relies on them: a -wal that was truncated to nothing must not come back with zeros in the middle.
// Call it before the disk is used.
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

// cutBelow applies a power cut to n and to everything below it. It visits only what has a name on the platter: the rest is
// lost.
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

// Read returns what a file holds now, and whether it is there.
func (d *Disk) Read(name string) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(name)
	if err != nil || n.folder != nil {
		return nil, false
	}
	return slices.Clone(n.file.seen), true
}

// List returns the sorted names in a folder; none when it is not there.
func (d *Disk) List(dir string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.find(dir)
	if err != nil || n.folder == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(n.folder.seen))
}

// Damage changes what a file holds, on the platter and in what is read, as a failing disk does. It reports whether the file
// is there.
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

// Lose removes a file's name, on the platter and in what is seen. It reports whether the file was there.
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
