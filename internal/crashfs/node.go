package crashfs

import "fmt"

// Node is a file or a folder, whatever its name is at the moment. Two are equal when they are the same file. It is
// what a file system in front of a disk knows its inodes by.
type Node struct{ n *node }

// Folder reports whether the node is one.
func (n Node) Folder() bool { return n.n.folder != nil }

// Find returns what a name leads to. It is no call that a hook is asked about; a dead process finds nothing.
func (p *Process) Find(name string) (Node, error) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.dead {
		return Node{}, fmt.Errorf("find %s: %w", name, ErrDead)
	}
	n, err := p.d.find(name)
	if err != nil {
		return Node{}, fmt.Errorf("find %s: %w", name, err)
	}
	return Node{n}, nil
}

// Size returns the length of a file's content as it is read, also of one that has no name any more.
func (d *Disk) Size(n Node) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(n.n.file.seen))
}
