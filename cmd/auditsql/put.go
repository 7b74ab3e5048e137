package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
)

func (a *app) putCommand() *cobra.Command {
	var r recordFlags
	var future importing.Future
	var dry bool
	cmd := &cobra.Command{
		Use:   "put",
		Short: "Store one record",
		Long: `Put stores one record, as JSON from standard input or made from flags, and
prints its query id once it is durable. Storing the same record again prints
the id again and changes nothing. A different record with the same id is
refused.

From flags, the timestamp is now unless --timestamp (a number in the store's
unit) or --time is given, the confidence is 0 unless --confidence is given, and
the lifecycle of a contribution is Unstated unless it is named.
--attr values are texts; --attr-json takes numbers, true and false. A key that
is empty or has a = in it is written as a JSON string: --attr '"a=b"=v'.

A timestamp more than --max-future after now is refused. A timestamp that seems
to be in another unit than the store's, and a confidence outside of 0 to 1, are
stored, and a note says so.

Where there is no store yet, put makes one, and says so. The parent of its
folder must exist. With --create=false put fails instead.

With --dry-run put checks the record, also against the store, prints the id that
it would have, and stores nothing. The exit code is that of a put.

While auditsql serve has the store open, put stores through the server.

Write hashes in full, not as labels: a record stays for ever, and labels change.
help record says how to make the hash of a name.

To store many records, or to store records from another program, use import.
auditsql help record explains the fields of a record.`,
		Example: `  auditsql put < record.json
  auditsql put --subject Tesla --predicate revenue --confidence 0.95 \
      --result "$ANSWER" --contribution "$ANSWER:1:$SOURCE:Approved" \
      --attr trace_id=4bf92f35 --attr-json tokens=1234`,
		Args: arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.put(cmd.Context(), &r, future, dry)
		},
		ValidArgsFunction: completeNothing,
	}
	r.register(cmd)
	future.Add(cmd)
	addDryRun(cmd, &dry)
	a.addWriting(cmd)
	a.addCreate(cmd)
	a.addZone(cmd)
	return cmd
}

func (a *app) put(ctx context.Context, r *recordFlags, future importing.Future, dry bool) error {
	var read *audit.QueryAudit
	if r.any() {
		// Flags that are wrong for every store are refused before a store is made.
		c, err := a.earlyClock()
		if err != nil {
			return err
		}
		if _, err := r.record(c); err != nil {
			return err
		}
	} else {
		if a.inTerm {
			a.note("reading one record as JSON from the terminal; end it with Ctrl-D")
		}
		var err error
		if read, err = a.readRecord(ctx); err != nil {
			return err
		}
	}
	db, err := a.openRecords(ctx, dry)
	if err != nil {
		return err
	}
	q := read
	c, err := a.clock(db.TimeUnit())
	if err == nil && q == nil {
		q, err = r.record(c)
	}
	if err == nil {
		err = a.checkPut(q, read == nil, db.TimeUnit(), future)
	}
	var results []audit.PutResult
	if err == nil {
		results, err = db.PutAudits(ctx, []*audit.QueryAudit{q})
	}
	if err == nil {
		err = results[0].Err
	}
	if err := errors.Join(err, db.close()); err != nil {
		return err
	}
	if dry {
		a.noteNothingStored()
	}
	stored := results[0]
	form := a.form("")
	if form == tui.Table || form == tui.Plain {
		if stored.Duplicate {
			a.note("the record had been stored before")
		}
		return a.copyOut(stored.ID.String() + "\n")
	}
	return a.facts(form, fact("query_id", "", tui.Text(stored.ID.String())), fact("duplicate", "", tui.Bool(stored.Duplicate)))
}

// checkPut refuses a record that lies too far in the future, and notes what is odd about one that does not. For a
// record from flags, a note about the time has been printed when the flag was read.
func (a *app) checkPut(q *audit.QueryAudit, fromFlags bool, unit audit.TimeUnit, future importing.Future) error {
	check, err := a.check(unit, future)
	if err != nil {
		return err
	}
	err = importing.RefusedRecord(check.Refuse(q))
	switch {
	case err != nil && fromFlags:
		return usage("%w", err)
	case err != nil:
		return fmt.Errorf("standard input: %w", err)
	}
	for _, d := range check.Doubts(q) {
		switch {
		case d.Field == ingest.ConfidenceField:
			a.note("%s: %s is outside of 0 to 1", d.Field, d.Text)
		case !fromFlags:
			a.note("%s: %s", d.Field, d.Text)
		}
	}
	return nil
}

// readRecord reads the one record that standard input holds.
func (a *app) readRecord(ctx context.Context) (*audit.QueryAudit, error) {
	text, err := a.readStdin(ctx, ingest.LongestLine)
	switch {
	case err != nil:
		return nil, err
	case len(bytes.TrimSpace(text)) == 0:
		return nil, trying(errors.New("standard input is empty, and no flags make a record"), "auditsql put --help")
	}
	q, err := ingest.Record(text)
	if err != nil && ingest.Cut(text) {
		if ended := importing.CutShort(ctx); ended != nil {
			return nil, ended
		}
	}
	if err != nil {
		return nil, tryingInstead(importing.RefusedInput(fmt.Errorf("standard input: %w", err), "-", "auditsql import"))
	}
	return q, nil
}
