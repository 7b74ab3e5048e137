package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
)

// A HeadState is the newest head of a node, as another node has compared it with its own copy.
type HeadState struct {
	Head
	Compared time.Time `json:"compared"`
	// Differs says where the other node has other records, nil if it has the same ones up to its head.
	Differs *Difference `json:"differs,omitempty"`
}

// A Difference says where the copies of two nodes differ.
type Difference = audit.IndexRange

// maxHeads is of how many nodes a node keeps the head. Whoever may write to the log may use any name.
const maxHeads = 256

// headBook is what a node knows of heads. It does not ask which of two nodes is right: Verify does, which reads the log.
type headBook struct {
	publishing sync.Mutex // held while a head is published
	published  uint64     // records that the last one of this node has; guarded by publishing
	any        bool       // it has published one; guarded by publishing

	mu     sync.Mutex
	states map[string]*HeadState
	same   map[string]uint64 // up to which size a node's records were found to be the same
	full   bool              // a head was left out

	// Owned by the goroutines that answer for the node's tree and look for differences.
	serving sync.WaitGroup
}

// Heads returns the newest head of each node that was read since this one was opened, its own one included, by their names. Each was
// compared with this node's copy. After WaitFor of a head's message the head is among them.
func (n *Node) Heads() []HeadState {
	n.heads.mu.Lock()
	defer n.heads.mu.Unlock()
	var states []HeadState
	for _, s := range n.heads.states {
		state := *s
		if s.Differs != nil {
			d := *s.Differs
			state.Differs = &d
		}
		states = append(states, state)
	}
	slices.SortFunc(states, func(a, b HeadState) int { return strings.Compare(a.Node, b.Node) })
	return states
}

// Stats is [audit.DB.Stats], with the heads of the nodes.
func (n *Node) Stats(ctx context.Context) (audit.Stats, error) {
	s, err := n.DB.Stats(ctx)
	if err != nil {
		return s, err
	}
	s.Heads = n.nodeHeads()
	return s, nil
}

func (n *Node) nodeHeads() []audit.NodeHead {
	heads := []audit.NodeHead{}
	for _, h := range n.Heads() {
		heads = append(heads, audit.NodeHead{Node: h.Node, Size: h.Size, Differs: h.Differs})
	}
	return heads
}

// Name is what the node calls itself in its heads.
func (n *Node) Name() string { return n.opts.Name }

// publishHeads publishes the head now and then, if the node has new records.
func (n *Node) publishHeads() {
	if n.opts.Heads < 0 {
		return
	}
	tick := time.NewTicker(n.opts.Heads)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-tick.C:
		case <-n.quit.Done():
			return
		}
		ctx, cancel := context.WithTimeout(n.quit, 30*time.Second)
		_, err := n.publish(ctx, false)
		cancel()
		if err != nil && !failed && n.quit.Err() == nil {
			n.opts.Logger.Warn("the head of this node was not published; it is tried again", "error", err)
		}
		failed = err != nil
	}
}

// PublishHead gives the log a head of this node at once, and returns it. The other nodes compare it with their own copies as soon as they
// read it.
func (n *Node) PublishHead(ctx context.Context) (Head, error) {
	if err := n.begin(); err != nil {
		return Head{}, fmt.Errorf("publish a head: %w", err)
	}
	defer n.puts.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.quit, cancel)()
	h, err := n.publish(ctx, true)
	if err != nil {
		return Head{}, fmt.Errorf("publish a head: %w", err)
	}
	return h, nil
}

// publish publishes the head, if always is set or it is another one than before.
func (n *Node) publish(ctx context.Context, always bool) (Head, error) {
	n.heads.publishing.Lock()
	defer n.heads.publishing.Unlock()
	h, err := n.head(ctx)
	if err != nil || !always && n.heads.any && n.heads.published == h.Size {
		return h, err
	}
	done := n.log.Append(ctx, []Message{h.message("head-" + rand.Text())})[0]
	if done.Err != nil {
		return Head{}, done.Err
	}
	n.heads.published, n.heads.any, h.Sequence = h.Size, true, done.Sequence
	n.wantUpTo(done.Sequence)
	return h, nil
}

// head returns the head of this node as it is now.
func (n *Node) head(ctx context.Context) (Head, error) {
	// The copy may go on meanwhile. So the size is that of the cursor, and the root that of the size.
	h := Head{Node: n.opts.Name, Cursor: n.decided()}
	err := n.copy.Await(ctx, h.Cursor)
	if err != nil {
		return Head{}, err
	}
	if h.Size, err = n.copy.SizeAt(ctx, h.Cursor); err != nil {
		return Head{}, err
	}
	_, tiles, err := n.copy.Tree(ctx)
	if err == nil {
		h.Root, err = tree.Root(tiles, int64(h.Size))
	}
	return h, err
}

// compareHeads compares the heads among messages that were given to the copy. One of each node is enough, the newest: two trees with the
// same root have the same beginnings. An error says that the copy takes nothing more.
func (n *Node) compareHeads(ms []Stored, outcomes []audit.Outcome) error {
	newest := map[string]Head{}
	for i := range ms {
		if ms[i].Kind != HeadKind || outcomes[i] != audit.Passed {
			continue
		}
		h, err := ParseHead(&ms[i])
		if err != nil {
			n.opts.Logger.Warn("a head cannot be read", "error", err)
			continue
		}
		newest[h.Node] = h
	}
	if len(newest) == 0 {
		return nil
	}
	// The tree is in SQLite.
	if err := n.copy.Await(n.quit, ms[len(ms)-1].Sequence); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(newest)) {
		if err := n.compareHead(newest[name]); err != nil && n.quit.Err() == nil {
			n.opts.Logger.Error("the head of a node was not compared", "node", name, "error", err)
		}
	}
	return nil
}

// compareHead compares the head of a node with this copy, which has read the log further than the head.
func (n *Node) compareHead(h Head) error {
	b := &n.heads
	b.mu.Lock()
	from, before := b.same[h.Node], b.states[h.Node]
	room := before != nil || len(b.states) < maxHeads
	said := b.full
	b.full = b.full || !room
	b.mu.Unlock()
	if !room {
		if !said {
			n.opts.Logger.Error("heads of further nodes are ignored: no more are kept", "nodes", maxHeads, "node", h.Node)
		}
		return nil
	}
	d, err := compareHead(n.quit, n.copy.DB, h, from)
	if err != nil {
		return err
	}
	b.mu.Lock()
	if b.states == nil {
		b.states, b.same = map[string]*HeadState{}, map[string]uint64{}
	}
	b.states[h.Node] = &HeadState{Head: h, Compared: time.Now(), Differs: d}
	if d == nil {
		b.same[h.Node] = max(from, h.Size)
	} else if before != nil && before.Differs != nil && before.Differs.From == before.Differs.To {
		*d = *before.Differs // it was found out before
	}
	b.mu.Unlock()
	switch known := before != nil && before.Differs != nil; {
	case d == nil && known:
		n.opts.Logger.Info("a node has the same records as this one again", "node", h.Node, "records", h.Size)
	case d != nil && !known:
		n.opts.Logger.Error("a node has other records than this one; auditsql-cluster verify says which of them is wrong",
			"node", h.Node, "message", h.Sequence, "records", h.Size, "where", d.String())
		b.serving.Go(func() { n.locate(h) })
	}
	return nil
}

// compareHead compares a head with a copy that has read the log further than the head. same is a size at which both were the same.
func compareHead(ctx context.Context, db *audit.DB, h Head, same uint64) (*Difference, error) {
	size, err := db.SizeAt(ctx, h.Cursor)
	if err != nil {
		return nil, err
	}
	_, tiles, err := db.Tree(ctx)
	if err != nil {
		return nil, err
	}
	// With the same messages a copy has the same number of records. If one has more, the first of these differs at the latest.
	d := &Difference{From: same, To: min(size, h.Size)}
	if h.Size <= size {
		root, err := tree.Root(tiles, int64(h.Size))
		switch {
		case err != nil:
			return nil, err
		case root == h.Root && h.Size == size:
			return nil, nil
		case root == h.Root:
			d.From = d.To
		default:
			d.To--
		}
	}
	if d.From > d.To {
		d.From = 0 // the node has begun again
	}
	return d, nil
}

// locate finds the first record in which a node differs, by reading its tree, if the log lets nodes read each other's.
func (n *Node) locate(h Head) {
	ctx, cancel := context.WithTimeout(n.quit, time.Minute)
	defer cancel()
	index, err := locate(ctx, n.log, n.copy.DB, h)
	if err != nil {
		if n.quit.Err() == nil {
			n.opts.Logger.Warn("the first record that differs was not found", "node", h.Node, "error", err)
		}
		return
	}
	n.opts.Logger.Error("this record is the first one that differs", "node", h.Node, "index", index)
	n.heads.mu.Lock()
	defer n.heads.mu.Unlock()
	if s := n.heads.states[h.Node]; s != nil && s.Differs != nil {
		*s.Differs = Difference{From: index, To: index}
	}
}

// locate returns the index of the first record in which a copy differs from that of the node that published a head.
func locate(ctx context.Context, log Log, db *audit.DB, h Head) (uint64, error) {
	x, ok := log.(Exchange)
	if !ok {
		return 0, fmt.Errorf("nodes on this log cannot read each other's trees")
	}
	size, err := db.SizeAt(ctx, h.Cursor)
	if err != nil {
		return 0, err
	}
	_, mine, err := db.Tree(ctx)
	if err != nil {
		return 0, err
	}
	theirs := x.TreeOf(ctx, h.Node)
	if root, err := tree.Root(theirs, int64(h.Size)); err != nil {
		return 0, err
	} else if root != h.Root {
		return 0, fmt.Errorf("node %s does not have the records any more whose head it has published", h.Node)
	}
	return FirstDifference(mine, theirs, min(size, h.Size))
}

// serveTree lets other nodes read the tree of this one, if the log can.
func (n *Node) serveTree() {
	x, ok := n.log.(Exchange)
	if !ok {
		return
	}
	stop, err := x.ServeTree(n.opts.Name, liveTree{n})
	if err != nil {
		n.opts.Logger.Warn("other nodes cannot read the tree of this one", "error", err)
		return
	}
	n.heads.serving.Go(func() {
		<-n.quit.Done()
		stop()
	})
}

// liveTree is the tree of a node as it is at each call.
type liveTree struct{ node *Node }

func (t liveTree) ReadTile(tile tree.Tile) ([]byte, error) {
	_, tiles, err := t.node.copy.Tree(t.node.quit)
	if err != nil {
		return nil, err
	}
	return tiles.ReadTile(tile)
}
