package sqlstore

import (
	"context"
	"errors"
	"sync"

	"github.com/jmoiron/sqlx"
)

// statements keeps queries of the readers prepared, by their text: to prepare one takes 50 to 100 µs, which is more
// than many of them take to run. Beyond maxStatements the one that was not used for longest makes room.
type statements struct {
	pool *sqlx.DB

	mu   sync.Mutex
	kept map[string]*keptStmt
	uses uint64
}

type keptStmt struct {
	*sqlx.Stmt
	users int    // who are starting it; it may be closed while its rows are being read
	last  uint64 // which use of all
}

const maxStatements = 64

func newStatements(pool *sqlx.DB) *statements {
	return &statements{pool: pool, kept: map[string]*keptStmt{}}
}

// stmt returns the prepared query, which is to be given back to done.
func (s *statements) stmt(ctx context.Context, query string) (*keptStmt, error) {
	s.mu.Lock()
	st := s.use(query)
	s.mu.Unlock()
	if st != nil {
		return st, nil
	}
	// Without the lock: it may have to wait for a connection.
	fresh, err := s.pool.PreparexContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.use(query); st != nil { // somebody else was faster
		return st, fresh.Close()
	}
	if len(s.kept) >= maxStatements {
		if err := s.evict(); err != nil {
			return nil, errors.Join(err, fresh.Close())
		}
	}
	s.kept[query] = &keptStmt{Stmt: fresh}
	return s.use(query), nil
}

// use returns the prepared query if there is one. The caller holds mu.
func (s *statements) use(query string) *keptStmt {
	st := s.kept[query]
	if st != nil {
		s.uses++
		st.last = s.uses
		st.users++
	}
	return st
}

// evict closes what was not used for longest. The caller holds mu.
func (s *statements) evict() error {
	var oldest string
	for query, st := range s.kept {
		if st.users == 0 && (oldest == "" || st.last < s.kept[oldest].last) {
			oldest = query
		}
	}
	st := s.kept[oldest]
	if st == nil { // all are being started
		return nil
	}
	delete(s.kept, oldest)
	return st.Close()
}

func (s *statements) done(st *keptStmt) {
	s.mu.Lock()
	st.users--
	s.mu.Unlock()
}

// query runs a query.
func (s *statements) query(ctx context.Context, query string, args ...any) (*sqlx.Rows, error) {
	st, err := s.stmt(ctx, query)
	if err != nil {
		return nil, err
	}
	defer s.done(st)
	return st.QueryxContext(ctx, args...)
}

// get reads one row into a struct.
func (s *statements) get(ctx context.Context, into any, query string, args ...any) error {
	st, err := s.stmt(ctx, query)
	if err != nil {
		return err
	}
	defer s.done(st)
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
