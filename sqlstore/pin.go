package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/jmoiron/sqlx"
)

// pin is a read transaction of ours that keeps everybody from copying pages out of -wal that are not synced there.
//
// A checkpoint of any connection, in any process, copies pages up to the state that the oldest reader sees, and none
// at all while a reader sees the database as it is without -wal (https://www.sqlite.org/wal.html, "Concurrency"). So the
// pin lies where -wal was synced last by the writer, and moves when it has been synced again. Without it a shell with
// synchronous=OFF, or any shell after a sync of the writer's has failed, could copy pages into the database that -wal
// does not have on disk. A power cut in the middle of that leaves a mix of two states and nothing to complete it with.
type pin struct {
	mu   sync.Mutex
	pool *sqlx.DB
	// Two connections, so that the next state is held before the last one is let go. Both are opened when the database
	// is: later there may be no descriptor left for one.
	conns [2]*sqlx.Conn
	held  *sqlx.Tx // of conns[0]; nil: no reader
}

func newPin(ctx context.Context, path string) (*pin, error) {
	pool, err := connect(path, accessReader, 2, 0)
	if err != nil {
		return nil, err
	}
	p := &pin{pool: pool}
	for i := range p.conns {
		if p.conns[i], err = pool.Connx(ctx); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// move lets checkpoints copy all that is committed now, after sync has made -wal durable. If that fails, the pin stays
// where it was.
func (p *pin) move(ctx context.Context, sync func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// It outlives the call: database/sql ends a transaction with the context that it was begun with.
	next, err := p.conns[1].BeginTxx(context.WithoutCancel(ctx), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	var tables int
	err = next.GetContext(ctx, &tables, `SELECT count(*) FROM sqlite_schema`) // a transaction sees a state from its first read on
	if err == nil {
		// After the read, so that it covers what others commit in between.
		err = sync()
	}
	if err != nil {
		return errors.Join(err, next.Rollback())
	}
	last := p.held
	p.held = next
	p.conns[0], p.conns[1] = p.conns[1], p.conns[0]
	if last == nil {
		return nil
	}
	return last.Rollback()
}

// release lets go, for a checkpoint that waits for all readers.
func (p *pin) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		return nil
	}
	err := p.held.Rollback()
	p.held = nil
	return err
}

func (p *pin) close() error {
	if p == nil {
		return nil
	}
	errs := []error{p.release()}
	for _, c := range p.conns {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(append(errs, p.pool.Close())...)
}
