package storedir

import (
	"context"
	"errors"
	"os"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Facts are what an opening finds out about SQLite and the journal before it opens either for writing.
type Facts struct {
	Path     string // of the database
	File     File
	Segments []wal.Segment // of the journal
	Journal  []byte        // its identity, read only if the database differs from store.json; nil when it is not known

	Exists bool          // something that is not empty has the database's name
	Both   sqlstore.Meta // what the database says together with its -wal; zero when Unread is set
	Unread error         // why they cannot be read
	// Alone is what the database says without its -wal. It is nil when that cannot be told: in the middle of a checkpoint
	// the database may be unreadable alone, and this process may have it open.
	Alone  *sqlstore.Meta
	HasWAL bool // the -wal exists and is not empty

	// Examined says that SQLite has checked the database, without its -wal and with it. AloneProblems and BothProblems
	// are what it has found.
	Examined                    bool
	AloneProblems, BothProblems []string
}

// ReadFacts reads the facts, and changes nothing. It reads SQLite in several steps. They see the same state only if the
// caller has the lock, or nobody writes.
func ReadFacts(ctx context.Context, dir string, file File, segs []wal.Segment) (f Facts, err error) {
	f = Facts{Path: SQLitePath(dir), File: file, Segments: segs}
	if f.Both, f.Unread = sqlstore.ReadCursor(ctx, f.Path); f.Unread != nil {
		f.Both = sqlstore.Meta{}
	}
	if ctx.Err() != nil {
		return f, context.Cause(ctx)
	}
	f.Exists = f.Both.Exists || f.Unread != nil
	if !f.Exists {
		return f, nil
	}
	if alone, ok, err := sqlstore.ReadAlone(ctx, f.Path); ok && err == nil {
		f.Alone = &alone
	}
	st, err := os.Stat(f.Path + "-wal")
	if err == nil {
		f.HasWAL = st.Size() > 0
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if !f.HasWAL && f.Unread == nil {
		f.Alone = &f.Both // there is no -wal
	}
	if f.foreign(f.Both) != nil || f.Alone != nil && f.foreign(*f.Alone) != nil {
		f.Journal = JournalIdentity(dir, file)
	}
	return f, err
}

// Examine lets SQLite check the database, without its -wal and with it. It reads all of the database.
func (f *Facts) Examine(ctx context.Context) (err error) {
	f.Examined = true
	if f.HasWAL {
		var ok bool
		if f.AloneProblems, ok, err = sqlstore.CheckAlone(ctx, f.Path); err != nil || !ok {
			f.AloneProblems = append(f.AloneProblems, "it cannot be read alone")
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	f.BothProblems, err = f.examineBoth(ctx)
	if f.HasWAL && errors.Is(err, sqlstore.ErrMalformed) {
		f.BothProblems, err = []string{err.Error()}, nil
	}
	if !f.HasWAL {
		f.AloneProblems = f.BothProblems
	}
	return err
}

func (f *Facts) examineBoth(ctx context.Context) ([]string, error) {
	if f.Unread != nil {
		return nil, f.Unread
	}
	sql, err := sqlstore.Open(ctx, f.Path, sqlstore.Options{ReadOnly: true, Older: true, Readers: 1})
	if err != nil {
		return nil, err
	}
	defer sql.Close()
	return problemsOf(ctx, sql)
}

// problemsOf returns what is wrong with a database. The tables of a mixture of two states can each be whole: then the tree
// does not fit the entries.
func problemsOf(ctx context.Context, sql *sqlstore.DB) ([]string, error) {
	problems, err := sql.Damage(ctx)
	if err != nil || len(problems) > 0 {
		return problems, err
	}
	problem, err := sql.TreeProblem(ctx)
	if problem != "" {
		problems = append(problems, problem)
	}
	return problems, err
}
