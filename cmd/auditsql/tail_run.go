package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/internal/show"
)

// tailing is one run of tail.
type tailing struct {
	a       *app
	r       *reading
	options *tailOptions
	filter  audit.Filter
	matches func(*audit.QueryAudit) bool // of the filter
	out     *show.Records

	// Every record before at was looked at, and handed over if it fits. Every record before done has also left this program: the
	// command has ended well, or what was printed was written. A later run goes on from done.
	at, done audit.Offset
	matched  bool
	saved    audit.Offset // what the file of --state has
	savedAt  time.Time
}

// errMatched ends a run of --exit-on-match.
var errMatched = errors.New("a record fits")

// run looks at the records, and ends with what a later run needs.
func (t *tailing) run(ctx context.Context) error {
	if err := t.checkPlace(ctx); err != nil {
		return err // and the file stays as it is
	}
	err := t.records(ctx)
	if errors.Is(err, errMatched) {
		err = nil
	}
	ended := t.out.End()
	if ended == nil && t.options.command == "" {
		t.done = t.at
	}
	err = errors.Join(err, ended)
	err = errors.Join(err, t.end(ctx, errors.Is(err, syscall.EPIPE)))
	switch {
	case err != nil:
		return err
	case t.options.exitOnMatch && t.matched:
		return nil
	case ctx.Err() != nil:
		// A signal is the usual end of following.
		return quietly(exitInterrupted)
	case (t.options.exitOnMatch || t.options.exitCode) && !t.matched:
		return quietly(exitNothing)
	}
	return nil
}

func (t *tailing) records(ctx context.Context) error {
	t.matches = t.filter.Matcher()
	t.at, t.done = audit.Offset(t.options.after), audit.Offset(t.options.after)
	if !t.options.begins {
		newest, err := t.r.LastRecords(ctx, t.options.lines, t.filter)
		if err != nil {
			return err
		}
		// Until they have left, a later run begins with them.
		if t.at = newest.Next; len(newest.Records) > 0 {
			t.at = newest.Records[0].Offset
		}
		t.done = t.at
		for _, damaged := range newest.Damaged {
			t.a.leaveOut(damaged)
		}
		for i := range newest.Records {
			if ctx.Err() != nil {
				return nil
			}
			if err := t.take(ctx, &newest.Records[i]); err != nil {
				return err
			}
		}
		t.looked(newest.Next)
		if !t.options.follow {
			return nil
		}
	}
	if err := t.save(ctx); err != nil { // also before anything comes: a run that is killed then is not to forget where it began
		return err
	}
	for rec, err := range t.r.Follow(ctx, t.at, t.options.follow) {
		if t.a.leaveOut(err) {
			continue
		}
		if err != nil {
			return err
		}
		fits, err := t.fits(&rec)
		if err != nil {
			return err
		}
		if fits {
			err = t.take(ctx, &rec)
		} else {
			t.looked(rec.Next)
		}
		if err == nil {
			err = t.saveSoon(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fits reports whether a record fits the filters. A record that this program cannot read ends the run: nobody knows whether it
// fits.
func (t *tailing) fits(rec *audit.TailRecord) (bool, error) {
	if t.options.filter.any() == "" {
		return true, nil
	}
	q, err := audit.ParseAudit(rec.Raw)
	if err != nil {
		return false, fmt.Errorf("the record at offset %d cannot be read: %w", rec.Offset, err)
	}
	return t.matches(&q), nil
}

// take prints a record, or gives it to the command.
func (t *tailing) take(ctx context.Context, rec *audit.TailRecord) error {
	t.at = rec.Offset
	var err error
	if t.options.command != "" {
		err = t.command(ctx, rec)
	} else if err = t.out.Write(rec.Raw); err == nil && t.options.follow {
		err = t.out.Flush()
	}
	if err != nil {
		return err
	}
	t.matched = true
	t.looked(rec.Next)
	if t.options.command != "" {
		if err := t.save(ctx); err != nil {
			return err
		}
	}
	if t.options.exitOnMatch {
		return errMatched
	}
	return nil
}

// looked notes that every record before an offset was looked at, and handed over if it fits.
func (t *tailing) looked(next audit.Offset) {
	t.at = next
	if t.options.command != "" {
		t.done = next
	}
}

// command gives a record to the command. An interruption lets the command end: nobody knows what it has done by then.
func (t *tailing) command(ctx context.Context, rec *audit.TailRecord) error {
	id, dir := "", t.a.dir
	if q, err := audit.ParseAudit(rec.Raw); err == nil {
		id = q.QueryID.String()
	}
	next, err := t.resumeAt(ctx, rec.Next)
	if err != nil {
		return err
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	running, kill := context.WithCancelCause(context.WithoutCancel(ctx))
	defer kill(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(t.a.commandWait, func() { kill(context.Cause(ctx)) })
	})()
	err = deliver.Run(running, t.options.command, deliver.Input{
		Text: append(bytes.Clone(rec.Raw), '\n'),
		Env: []string{
			"AUDITSQL_DIR=" + dir,
			"AUDITSQL_QUERY_ID=" + id,
			"AUDITSQL_OFFSET=" + strconv.FormatUint(uint64(rec.Offset), 10),
			"AUDITSQL_NEXT=" + strconv.FormatUint(uint64(next), 10),
		},
	}, t.a.out, t.a.err)
	if err == nil {
		return nil
	}
	// The interruption is not why the run fails.
	return &endError{fmt.Errorf("--exec failed for the record %s at offset %d: %w", brief(id), rec.Offset, err)}
}

func brief(id string) string { return id[:min(len(id), briefHash)] }

// resumeAt is where a later run goes on that has seen everything before an offset: there, or earlier if the journal before it is
// not on disk yet (see SyncedOffset).
func (t *tailing) resumeAt(ctx context.Context, at audit.Offset) (audit.Offset, error) {
	synced, err := t.r.SyncedOffset(context.WithoutCancel(ctx))
	return min(at, synced), err
}

// A run that ends waits so long for the writer to bring its last records to SQLite, so that the next run does not get them again.
const (
	settleWait  = 500 * time.Millisecond
	settlePause = 10 * time.Millisecond
)

// end saves where a later run goes on, and says it unless it is to be quiet.
func (t *tailing) end(ctx context.Context, quiet bool) error {
	if !t.options.resumes() {
		return nil
	}
	next, err := t.resumeAt(ctx, t.done)
	for waited := time.Duration(0); err == nil && next < t.done && waited < settleWait; waited += settlePause {
		time.Sleep(settlePause)
		next, err = t.resumeAt(ctx, t.done)
	}
	if err != nil {
		return err
	}
	if err := t.keep(ctx, next); err != nil || quiet {
		return err
	}
	again := ""
	if next < t.done {
		again = ", up to where SQLite has everything; what was seen after that comes again"
	}
	t.a.note("the next run goes on with --after %d%s", next, again)
	return nil
}

// saveEvery is how often the file of --state is written while no command is run.
const saveEvery = time.Second

// saveSoon saves where a later run goes on, unless that was done a moment ago.
func (t *tailing) saveSoon(ctx context.Context) error {
	if t.options.state == "" || time.Since(t.savedAt) < saveEvery {
		return nil
	}
	return t.save(ctx)
}

func (t *tailing) save(ctx context.Context) error {
	if t.options.state == "" {
		return nil
	}
	if t.options.command == "" {
		if err := t.out.Flush(); err != nil {
			return err
		}
		t.done = t.at
	}
	next, err := t.resumeAt(ctx, t.done)
	if err != nil {
		return err
	}
	return t.keep(ctx, next)
}

// keep writes a place to the file of --state.
func (t *tailing) keep(ctx context.Context, next audit.Offset) error {
	if t.options.state == "" || !t.savedAt.IsZero() && next == t.saved {
		return nil
	}
	place, err := t.r.PlaceBefore(context.WithoutCancel(ctx), next)
	if err != nil {
		return err
	}
	if err := writeState(t.options.state, place); err != nil {
		return err
	}
	t.saved, t.savedAt = next, time.Now()
	return nil
}

// excerpt is the beginning of a text that somebody may have made long.
func excerpt(text []byte) []byte { return text[:min(len(text), 40)] }
