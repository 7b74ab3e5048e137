package main

import (
	"context"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/socket"
)

// addDryRun adds the flag of commands that can check records without storing them.
func addDryRun(cmd *cobra.Command, dry *bool) {
	cmd.Flags().BoolVar(dry, "dry-run", false, "check everything as if the records were stored, and store nothing")
}

// rehearsed checks records as if they were stored.
type rehearsed struct {
	*ingest.Rehearsal
	end func() error
}

func (r *rehearsed) close() error { return r.end() }

// served reports that closing brings nothing into SQLite.
func (r *rehearsed) served() bool { return true }

// openRehearsal opens what openIntake would open, for checking alone: the server that has the store open, or the store for reading.
// Where there is no store it checks against an empty one, if a real run would make a store there.
func (a *app) openRehearsal(ctx context.Context) (*rehearsed, error) {
	c, err := socket.Dial(ctx, a.dir)
	if err == nil {
		return &rehearsed{ingest.Rehearse(c), c.Close}, nil
	}
	if !errors.Is(err, socket.ErrNoServer) && !errors.Is(err, fs.ErrPermission) {
		return nil, a.noAnswer(ctx, err)
	}
	if _, err := audit.JournalDir(a.dir); errors.Is(err, audit.ErrNoStore) {
		if err := a.mayMake(err); err != nil {
			return nil, err
		}
		a.note("there is no store in %s yet, and one would be made", a.dir)
		return &rehearsed{ingest.Rehearse(noStore{}), func() error { return nil }}, nil
	}
	db, err := a.openReader(ctx)
	if err != nil {
		return nil, err
	}
	return &rehearsed{ingest.Rehearse(db), db.Close}, nil
}

// openRecords is openIntake for a command that only puts records, or openRehearsal with --dry-run.
func (a *app) openRecords(ctx context.Context, dry bool) (recordIntake, error) {
	if dry {
		return a.openRehearsal(ctx)
	}
	return a.openIntake(ctx)
}

// noStore is a store that would be made: it is empty.
type noStore struct{}

func (noStore) TimeUnit() audit.TimeUnit { return audit.Milliseconds }

func (noStore) CheckAudits(_ context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error) {
	results := make([]audit.PutResult, len(records))
	for i, q := range records {
		if _, results[i].Err = q.Canonical(); results[i].Err == nil {
			results[i].ID, results[i].Err = q.ID()
		}
	}
	return results, nil
}

// noteNothingStored ends what a dry run says.
func (a *app) noteNothingStored() { a.note("--dry-run: nothing was stored") }
