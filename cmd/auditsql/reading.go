package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// A reading is a store that is open for reading, and what commands that read need beside it.
type reading struct {
	*audit.DB
	clock  when.Clock
	note   func(format string, args ...any)
	labels labels
	lag    *audit.Lag // nil when it is not worth telling
}

// read opens the store for questions, and says when SQLite lacks records that may belong to the answer.
func (a *app) read(ctx context.Context) (*reading, error) {
	r, err := a.openReading(ctx)
	if err != nil {
		return nil, err
	}
	if r.lag, err = a.tellLag(ctx, r.DB, r.clock); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// worthTelling is the lag from which on SQLite's state is not what a person takes for now.
const worthTelling = time.Second

// tellLag says how many records SQLite lacks, if the oldest of them has waited for longer than a moment. How long that
// is its timestamp tells: the journal has no other time.
func (a *app) tellLag(ctx context.Context, db *audit.DB, c when.Clock) (*audit.Lag, error) {
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
			switch age := c.Now.Sub(at); {
			case age <= worthTelling:
				return nil, nil
			case age > humanize.Year:
				old = ", the oldest from " + c.Format(*lag.Oldest)
			default:
				old = ", the oldest " + humanize.RelTime(at, c.Now, "old", "")
			}
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
		// What was recorded can be read without them.
		a.note("the labels cannot be read: %v", err)
	}
	return r, nil
}

// find returns the hash that somebody meant, as ResolveHash does. where is where it was typed, for errors.
func (r *reading) find(ctx context.Context, where, typed string, kinds audit.HashKind) (audit.Hash, error) {
	h, err := r.ResolveHash(ctx, typed, kinds)
	var ambiguous *audit.AmbiguousError
	var unknown *audit.UnknownError
	switch {
	case err == nil && where != "" && (len(typed) == 2*len(h) || checkPrefix(typed) != nil):
		// Digits were looked for among these kinds; a label or a whole hash may be of another one.
		return h, r.tellOtherKind(ctx, where, typed, h, kinds)
	case errors.As(err, &ambiguous):
		return h, trying(usage("%s%w", where, err), "one of these, or more digits")
	case !errors.As(err, &unknown):
		return h, err
	}
	err = notFound("%s%w", where, err)
	switch {
	case unknown.Prefix:
		return h, err
	case len(unknown.Near) > 0:
		return h, trying(err, "%s", shellQuote(unknown.Near[0]))
	}
	if near := nearest(r.labels.names(), typed); near != "" {
		return h, trying(err, "%s", shellQuote(near))
	}
	return h, trying(err, "auditsql name lists the labels; a hash has 64 hex digits, or the first 8 or more")
}

// tellOtherKind says when a hash is known, but not as what it was given for: otherwise finding nothing would look
// as if nothing had been recorded.
func (r *reading) tellOtherKind(ctx context.Context, where, typed string, h audit.Hash, kinds audit.HashKind) error {
	is, err := r.Identify(ctx, h)
	if err != nil {
		return err
	}
	var others []string
	for _, kind := range []struct {
		kind  audit.HashKind
		name  string
		known bool
	}{
		{audit.AgentHash, "an agent", is.Agent != nil},
		{audit.AssertionHash, "an assertion", is.Assertion.Answers > 0},
		{audit.SourceHash, "a source", is.Source.Answers > 0},
	} {
		switch {
		case kind.known && kind.kind&kinds != 0:
			return nil
		case kind.known:
			others = append(others, kind.name)
		}
	}
	if len(others) > 0 {
		r.note("%s%q is %s, and no %s", where, typed, strings.Join(others, " and "), kinds)
	}
	return nil
}

// checkTyped refuses what find cannot find whatever is in the store.
func checkTyped(where, typed string) error {
	if err := audit.CheckName(typed); err != nil {
		return usage("%s%w", where, err)
	}
	return nil
}

// notFound is an error about something that was named and is not there.
func notFound(format string, args ...any) error {
	return &exitError{code: exitNotFound, err: fmt.Errorf(format, args...)}
}
