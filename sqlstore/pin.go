package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"

	"github.com/jmoiron/sqlx"
)

// pin is a read transaction of the process that writes. While it is held, no process can copy pages out of -wal that were
// not synced there.
//
// A checkpoint of any connection, in any process, copies pages up to the state that the oldest reader sees, and none
// at all while a reader sees the database as it is without -wal (https://www.sqlite.org/wal.html, "Concurrency"). So the
// pin reads the state up to which the writer has synced -wal, and moves on after the next sync. Without the pin, a shell with
// synchronous=OFF could copy pages into the database that were not synced in -wal. So could any shell after a failed sync of
// the writer. A power cut in the middle of that leaves a mix of two states, and no -wal to complete it.
type pin struct {
	mu   sync.Mutex
	pool *sqlx.DB
	// Two connections, so that the next transaction begins before the last one ends. Both are opened together with the
	// database: later the process may have no descriptor left.
	conns [2]*sqlx.Conn
	held  *sqlx.Tx // of conns[0]; nil: no transaction is held
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

// move lets checkpoints copy all that is committed now. Before that it calls sync, which makes -wal durable. If sync
// fails, the pin stays where it was.
func (p *pin) move(ctx context.Context, sync func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The transaction outlives ctx. database/sql would roll it back when its context ends.
	next, err := p.conns[1].BeginTxx(context.WithoutCancel(ctx), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	var tables int
	err = next.GetContext(ctx, &tables, `SELECT count(*) FROM sqlite_schema`) // a transaction sees a state from its first read on
	if err == nil {
		// After the read, so that the sync covers all that the transaction sees.
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

// release ends the transaction, for a checkpoint that waits for all readers.
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
