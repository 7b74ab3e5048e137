package queries

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
	"github.com/auditsql/auditsql/sqlstore"
)

// Limits bound how long a statement may run and how much it may return.
type Limits struct {
	Rows int           // 0: no limit
	Time time.Duration // 0: no limit
}

// Limits for SQL that a person typed.
const (
	DefaultRows = 1000
	DefaultTime = 30 * time.Second
)

// A Result takes the rows of a statement.
type Result interface {
	// Columns gets the names of the columns, each of them once: a second "n" is "n:1".
	Columns(names []string) error
	// Row gets one row: nil, int64, float64, bool, string, []byte or time.Time for each column. They belong to it.
	Row(values []any) error
}

// ErrWrites says that a statement was refused because it would write.
var ErrWrites = sqlstore.ErrReadOnly

// ErrTooLong says that a value of the result is longer than 32 MiB.
var ErrTooLong = sqlstore.ErrTooLong

// A TimeoutError says that the limit of time ended a statement. The rows that came before are only a part of the result.
type TimeoutError struct{ After time.Duration }

// Error implements error.
func (e *TimeoutError) Error() string {
	return "stopped after " + when.FormatDuration(e.After) + ", the result is not whole"
}

// Run runs a statement over what the SQLite file of a store holds, and reports whether the limit of rows cut the
// result. It fails with audit.ErrReindexing while the forensic tables are being rebuilt: they hold only a part of the
// records then, and the result would not show it. Other errors are ErrWrites, ErrTooLong, *TimeoutError, SQLite's own
// and those of the result.
func Run(ctx context.Context, dir string, s *Statement, values []any, limits Limits, result Result) (cut bool, err error) {
	store, err := sqlstore.Open(ctx, filepath.Join(dir, "audit.db"), sqlstore.Options{ReadOnly: true})
	if err != nil {
		return false, err
	}
	defer store.Close()
	// The limit of time is for the statement alone. Opening the database does not count.
	if limits.Time > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limits.Time, &TimeoutError{limits.Time})
		defer cancel()
	}
	if err = wholeTables(ctx, store); err == nil {
		cut, err = rows(ctx, store, s, values, limits.Rows, result)
		// The statement ran between the two checks. If a rebuild began meanwhile, the statement read a part of the
		// tables, or failed because a view was missing. The rebuild is the reason to report in both cases.
		if whole := wholeTables(ctx, store); errors.Is(whole, audit.ErrReindexing) {
			err = whole
		}
	}
	var timeout *TimeoutError
	if err != nil && errors.As(context.Cause(ctx), &timeout) && !errors.Is(err, ErrTooLong) {
		err = timeout
	} else if err != nil && ctx.Err() == nil && s.writes() {
		err = fmt.Errorf("%w: %w", ErrWrites, err)
	}
	return cut, err
}

// wholeTables returns audit.ErrReindexing while the forensic tables are incomplete.
func wholeTables(ctx context.Context, store *sqlstore.DB) error {
	begun, err := store.Reindexing(ctx)
	if err == nil && begun {
		err = audit.ErrReindexing
	}
	return err
}

// distinct returns the names of columns with each name once: n, n becomes n, n:1. Without this, two columns with one name
// would be two members with one name in JSON.
func distinct(names []string) []string {
	all := slices.Clone(names)
	for i, name := range names {
		for n := 1; slices.Contains(all[:i], all[i]) || n > 1 && slices.Contains(names, all[i]); n++ {
			all[i] = fmt.Sprintf("%s:%d", name, n)
		}
	}
	return all
}

func rows(ctx context.Context, store *sqlstore.DB, s *Statement, values []any, limit int, result Result) (cut bool, err error) {
	rows, err := store.QueryRows(ctx, s.sql, values...)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return false, err
	}
	if err := result.Columns(distinct(names)); err != nil {
		return false, err
	}
	for n := 0; rows.Next(); n++ {
		if limit > 0 && n == limit {
			return true, nil
		}
		values, err := rows.SliceScan()
		if err == nil {
			err = result.Row(values)
		}
		if err != nil {
			return false, err
		}
	}
	return false, rows.Err()
}
