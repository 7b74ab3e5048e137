package crashfs

import "fmt"

// Node is a file or a folder, whatever its name is at the moment. Two are equal when they are the same file. A file
// system that passes its calls on to a Process can use it as the identity of an inode.
type Node struct{ n *node }

// Folder reports whether the node is a folder.
func (n Node) Folder() bool { return n.n.folder != nil }

// Find returns the node that has the name. It does not call the hook. A dead process gets ErrDead.
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

// Size returns the length of a file as processes see it. The file need not have a name any more.
func (d *Disk) Size(n Node) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(n.n.file.seen))
}
