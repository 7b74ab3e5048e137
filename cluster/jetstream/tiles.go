package jetstream

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/tree"
)

var _ cluster.Exchange = (*Log)(nil)

// A node answers to requests on a subject of its own. The request is the path of a tile, as in c2sp.org/tlog-tiles, and the answer its
// hashes, or the header failed. Nothing of it is in the stream.

// failedHeader says in an answer why there is no tile.
const failedHeader = "Audit-Failed"

// treeSubject is the subject of a node's tree. A name may have characters that a subject must not have.
func (l *Log) treeSubject(node string) string {
	sum := blake3.Sum256([]byte(node))
	return fmt.Sprintf("auditsql.%s.tree.%s", l.opts.Stream, hex.EncodeToString(sum[:16]))
}

// ServeTree implements cluster.Exchange.
func (l *Log) ServeTree(node string, tiles tree.TileReader) (stop func(), err error) {
	sub, err := l.conn.Subscribe(l.treeSubject(node), func(m *nats.Msg) {
		answer := nats.NewMsg(m.Reply)
		t, err := tree.ParsePath(string(m.Data))
		if err == nil {
			answer.Data, err = tiles.ReadTile(t)
		}
		if err != nil {
			answer.Header.Set(failedHeader, err.Error())
		}
		m.RespondMsg(answer)
	})
	if err != nil {
		return nil, fmt.Errorf("serve the tree of %s: %w", node, err)
	}
	return func() { sub.Unsubscribe() }, nil
}

// TreeOf implements cluster.Exchange.
func (l *Log) TreeOf(ctx context.Context, node string) tree.TileReader {
	return remoteTree{ctx, l, node}
}

// remoteTree is the tree of another node.
type remoteTree struct {
	ctx  context.Context
	log  *Log
	node string
}

func (r remoteTree) ReadTile(t tree.Tile) ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.log.opts.Timeout)
	defer cancel()
	answer, err := r.log.conn.RequestWithContext(ctx, r.log.treeSubject(r.node), []byte(t.Path()))
	if err != nil {
		return nil, fmt.Errorf("ask node %s for %s: %w", r.node, t.Path(), unconnected(err))
	}
	if failed := answer.Header.Get(failedHeader); failed != "" {
		return nil, fmt.Errorf("node %s has no %s: %s", r.node, t.Path(), failed)
	}
	return answer.Data, nil
}
