package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// A reading is a store that is open for reading, and what commands that read need beside it.
type reading struct {
	*audit.DB
	clock  clock
	labels *labels
}

// read opens the store for reading; see openReader.
func (a *app) read(ctx context.Context) (*reading, error) {
	db, err := a.openReader(ctx)
	if err != nil {
		return nil, err
	}
	r := &reading{DB: db}
	if r.clock, err = a.clock(db.TimeUnit()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if r.labels, err = readLabels(ctx, db); err != nil {
		// What was recorded can be read without them.
		a.note("the labels cannot be read: %v", err)
	}
	return r, nil
}

// kindNames are what hashes of these kinds are called in errors.
var kindNames = map[audit.HashKind]string{
	audit.AgentHash: "agent", audit.AssertionHash: "assertion", audit.SourceHash: "source", audit.AnyHash: "agent, assertion or source",
}

// find returns the hash that somebody meant: typed whole, by its label, or by its first 8 or more digits if
// they are those of one alone among the store's hashes of these kinds. where is where it was typed, for errors.
func (r *reading) find(ctx context.Context, where, typed string, kinds audit.HashKind) (audit.Hash, error) {
	typed = strings.TrimSpace(typed)
	h, err := r.ResolveHash(ctx, typed, kinds)
	var ambiguous *audit.AmbiguousError
	switch {
	case errors.As(err, &ambiguous):
		return h, trying(usage("%s%q is ambiguous: %s", where, typed, r.list(ambiguous.Hashes)), "one of these, or more digits")
	case !errors.Is(err, audit.ErrUnknownName):
		return h, err
	case checkPrefix(typed) == nil:
		return h, notFound("%s%q: no %s begins with that", where, typed, kindNames[kinds])
	}
	err = notFound("%s%q is no label, nor a hash", where, typed)
	if near := r.labels.near(typed); len(near) > 0 {
		return h, trying(err, "%s", shellQuote(near[0]))
	}
	return h, trying(err, "auditsql name lists the labels; a hash has 64 hex digits, or the first 8 or more")
}

// list names hashes in an error.
func (r *reading) list(hashes []audit.Hash) string {
	var names []string
	for _, h := range hashes {
		name := h.String()
		if label := r.labels.label(h); label != "" {
			name += " (" + label + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// checkTyped refuses what find cannot find whatever is in the store.
func checkTyped(where, typed string) error {
	switch typed = strings.TrimSpace(typed); {
	case typed == "":
		return usage("%s%q: want a hash or a label", where, typed)
	case len(typed) > 2*len(audit.Hash{}) && strings.Trim(strings.ToLower(typed), "0123456789abcdef") == "":
		return usage("%s%q is too long: a hash has %d hex digits", where, typed, 2*len(audit.Hash{}))
	}
	return nil
}

// notFound is an error about something that was named and is not there.
func notFound(format string, args ...any) error {
	return &exitError{code: exitNotFound, err: fmt.Errorf(format, args...)}
}
