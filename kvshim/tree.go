package kvshim

import "bytes"

// node is the root of a search tree that never changes: a write makes a new root that shares
// every untouched subtree with the old one. So a reader holds
// a root and needs no lock, a scan is not disturbed by writes, and a batch is undone by dropping the
// new root.
//
// The tree is a treap (Seidel and Aragon, "Randomized Search Trees", 1996): ordered by key, and a
// heap by priority. The priority is a hash of the key, so its depth is that of a random tree whatever
// order keys arrive in, and nothing needs rebalancing on deletion.
type node struct {
	key, value  []byte
	priority    uint64
	left, right *node
}

// get returns the node of key, or nil.
func (n *node) get(key []byte) *node {
	for n != nil {
		switch c := bytes.Compare(key, n.key); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n
		}
	}
	return nil
}

// put returns a tree that has the leaf e (a node without children) under its key. The root
// that it returns is always a new node, so the rotations in it may write to that node.
func (n *node) put(e *node) *node {
	if n == nil {
		return e
	}
	root := *n
	switch c := bytes.Compare(e.key, n.key); {
	case c < 0:
		child := n.left.put(e)
		if child.priority > root.priority {
			root.left, child.right = child.right, &root
			return child
		}
		root.left = child
	case c > 0:
		child := n.right.put(e)
		if child.priority > root.priority {
			root.right, child.left = child.left, &root
			return child
		}
		root.right = child
	default:
		root.value = e.value
	}
	return &root
}

// remove returns a tree without key, which must be in n.
func (n *node) remove(key []byte) *node {
	root := *n
	switch c := bytes.Compare(key, n.key); {
	case c < 0:
		root.left = n.left.remove(key)
	case c > 0:
		root.right = n.right.remove(key)
	default:
		return join(n.left, n.right)
	}
	return &root
}

// join returns one tree with the nodes of both. Every key in low is below every key in high.
func join(low, high *node) *node {
	switch {
	case low == nil:
		return high
	case high == nil:
		return low
	case low.priority > high.priority:
		root := *low
		root.right = join(low.right, high)
		return &root
	default:
		root := *high
		root.left = join(low, high.left)
		return &root
	}
}

// walk calls visit for the nodes within s, from the lowest up or from the highest down, until visit returns
// false. Subtrees outside of the span are not entered.
func (n *node) walk(s span, reverse bool, visit func(*node) bool) bool {
	if n == nil {
		return true
	}
	fromLow := bytes.Compare(n.key, s.low) >= 0
	belowHigh := s.high == nil || bytes.Compare(n.key, s.high) < 0
	near, far, enterNear, enterFar := n.left, n.right, fromLow, belowHigh
	if reverse {
		near, far, enterNear, enterFar = far, near, enterFar, enterNear
	}
	if enterNear && !near.walk(s, reverse, visit) {
		return false
	}
	if fromLow && belowHigh && !visit(n) {
		return false
	}
	return !enterFar || far.walk(s, reverse, visit)
}
