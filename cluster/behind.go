package cluster

import "context"

// Behind returns how many messages the log has that the node's copy does not have yet. An error says that the log did not say.
func (n *Node) Behind(ctx context.Context) (uint64, error) {
	b, err := n.log.Bounds(ctx)
	if err != nil {
		return 0, err
	}
	// The cursor is read after the bounds: what is acknowledged meanwhile is not counted.
	return b.Last - min(b.Last, n.decided()), nil
}

// AwaitApplied waits until the node's copy has everything that was acknowledged before the call, by whatever node. For that it gives the
// log a message of its own, see Barrier.
func (n *Node) AwaitApplied(ctx context.Context) error {
	_, err := n.Barrier(ctx)
	return err
}
