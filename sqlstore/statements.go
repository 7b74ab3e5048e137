package sqlstore

import (
	"context"
	"errors"
	"sync"

	"github.com/jmoiron/sqlx"
)

// statements keeps queries of the readers prepared, by their text: to prepare one takes 50 to 100 µs, which is more
// than many of them take to run. It is for texts of which there are few; what is beyond maxStatements is prepared
// anew for each use.
type statements struct {
	pool *sqlx.DB

	mu   sync.Mutex
	kept map[string]*sqlx.Stmt
}

const maxStatements = 64

func newStatements(pool *sqlx.DB) *statements {
	return &statements{pool: pool, kept: map[string]*sqlx.Stmt{}}
}

// stmt returns the prepared query, or nil where there are too many.
func (s *statements) stmt(ctx context.Context, query string) (*sqlx.Stmt, error) {
	look := func() (st *sqlx.Stmt, done bool) {
		st = s.kept[query]
		return st, st != nil || len(s.kept) >= maxStatements
	}
	s.mu.Lock()
	st, done := look()
	s.mu.Unlock()
	if done {
		return st, nil
	}
	// Without the lock: it may have to wait for a connection.
	fresh, err := s.pool.PreparexContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, done := look(); done { // somebody else was faster
		return st, fresh.Close()
	}
	s.kept[query] = fresh
	return fresh, nil
}

// query runs a query.
func (s *statements) query(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return s.pool.QueryxContext(ctx, query, args...)
	}
	return st.QueryxContext(ctx, args...)
}

// get reads one row into a struct.
func (s *statements) get(ctx context.Context, into any, query string, args ...any) error {
	st, err := s.stmt(ctx, query)
	if err != nil {
		return err
	}
	if st == nil {
		return s.pool.GetContext(ctx, into, query, args...)
	}
	return st.GetContext(ctx, into, args...)
}

func (s *statements) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, st := range s.kept {
		errs = append(errs, st.Close())
	}
	clear(s.kept)
	return errors.Join(errs...)
}
