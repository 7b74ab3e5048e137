package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/when"
)

// A reading is a store that is open for reading, together with what every command that reads needs.
type reading struct {
	*audit.DB
	clock  when.Clock
	note   func(format string, args ...any)
	labels labels
	lag    *audit.Lag // what SQLite lacks; nil when that is nothing, or only a moment old
}

// read opens the store for questions, and notes when SQLite lacks records that may belong to the answer.
func (a *app) read(ctx context.Context) (*reading, error) {
	r, err := a.openReading(ctx)
	if err != nil {
		return nil, err
	}
	if r.lag, err = a.noteLag(ctx, r.DB, r.clock); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// notableLag is the greatest age of a missing record that is not noted. A person does not expect to see younger ones yet.
const notableLag = time.Second

// noteLag notes how many records SQLite lacks, unless the first of them is not older than notableLag. It takes the
// age from the record's timestamp, since the journal stores no other time.
func (a *app) noteLag(ctx context.Context, db *audit.DB, c when.Clock) (*audit.Lag, error) {
	lag, err := db.Lag(ctx)
	if err != nil || lag.Records == 0 {
		return nil, err
	}
	more := ""
	if lag.More {
		more = "more than "
	}
	old := ""
	if lag.Oldest != nil {
		if at, ok := c.Unit.Time(*lag.Oldest); ok {
			if c.Now.Sub(at) <= notableLag {
				return nil, nil
			}
			// It is the time that the record has, and not when it came: an import brings old records a moment ago.
			old = "; the time in the first of them is " + c.Format(*lag.Oldest)
		}
	}
	a.note("SQLite lacks %s%s%s", more, plural(lag.Records, "record", "records"), old)
	return &lag, nil
}

// openReading opens the store for reading; see openReader.
func (a *app) openReading(ctx context.Context) (*reading, error) {
	db, err := a.openReader(ctx)
	if err != nil {
		return nil, err
	}
	r := &reading{DB: db, note: a.note}
	if r.clock, err = a.clock(db.TimeUnit()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if r.labels.Labels, err = db.Labels(ctx); err != nil {
		// Records can be read without labels.
		a.note("the labels cannot be read: %v", err)
	}
	return r, nil
}

// askOptions are the reading's time and zone.
func (r *reading) askOptions() ask.Options {
	return ask.Options{Now: r.clock.Now, Zone: r.clock.Zone}
}

// say prints notes about what was typed. name writes a parameter as the user typed it.
func (r *reading) say(notes []ask.Note, name func(parameter string) string) {
	for _, n := range notes {
		if n.Pattern != "" {
			n.Text += "; list --subject " + shellQuote(n.Pattern) + " finds both"
		}
		r.note("%s: %s", name(n.Parameter), n.Text)
	}
}

// sayOtherSpelling says when records have a subject that looks like the given argument and is spelled otherwise.
func (r *reading) sayOtherSpelling(ctx context.Context, subject string, from, to *uint64) error {
	note, err := ask.OtherSpelling(ctx, r.DB, subject, from, to)
	if note != nil {
		r.say([]ask.Note{*note}, strings.ToUpper)
	}
	return err
}

// find returns the hash that somebody meant with an argument: its digits, its first digits or its label. Of several that begin with these
// digits, asOf leaves those that the store had at that moment.
func (r *reading) find(ctx context.Context, typed string, kinds audit.HashKind, asOf *uint64) (audit.Hash, error) {
	h, err := r.ResolveHashAsOf(ctx, typed, kinds, asOf)
	return h, refusal(err, nil, r.labels.names)
}

// refusal gives an error of package ask, or about a hash or an id, its exit code and its hint. It returns other errors
// unchanged. name writes a parameter as the user typed it. labels returns the labels that the user may have meant; it
// may be nil.
func refusal(err error, name func(parameter string) string, labels func() []string) error {
	var unknown *audit.UnknownError
	var ambiguous *audit.AmbiguousError
	var ambiguousID *ask.AmbiguousIDError
	var refused *ask.Error
	what := err
	if errors.As(err, &refused) {
		what = errors.New(refused.Text(name))
		if refused.Other == "" {
			what = fmt.Errorf("%s: %w", name(refused.Parameter), refused.Reason)
		}
	}
	switch {
	case errors.As(err, &ambiguous):
		return trying(usage("%w", what), "one of these, or more digits")
	case errors.As(err, &ambiguousID):
		return trying(usage("%w", what), "more digits")
	case errors.As(err, &unknown):
		return unknownName(notFound("%w", what), unknown, labels)
	case refused != nil && errors.Is(err, audit.ErrNotFound):
		return notFound("%w", what)
	case refused != nil, errors.Is(err, audit.ErrInvalid):
		return usage("%w", what)
	}
	return err
}

// unknownName adds to an error the label that may have been meant.
func unknownName(err error, unknown *audit.UnknownError, labels func() []string) error {
	switch {
	case unknown.Prefix:
		return err
	case len(unknown.Near) > 0:
		return trying(err, "%s", shellQuote(unknown.Near[0]))
	}
	if labels != nil {
		if near := nearest(labels(), unknown.Name); near != "" {
			return trying(err, "%s", shellQuote(near))
		}
	}
	return trying(err, "auditsql name lists the labels; a hash has 64 hex digits, or the first 8 or more")
}

// checkTyped refuses a text that find would refuse in every store.
func checkTyped(typed string) error { return refusal(audit.CheckName(typed), nil, nil) }

// notFound is an error about something that was named and is not there.
func notFound(format string, args ...any) error {
	return &exitError{code: exitNotFound, err: fmt.Errorf(format, args...)}
}
