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
	if r.labels, err = a.readLabels(ctx); err != nil {
		// What was recorded can be read without them.
		a.note("the labels cannot be read: %v", err)
	}
	return r, nil
}

// A hashKind is what a hash names.
type hashKind string

const (
	kindAgent     hashKind = "agent"
	kindAssertion hashKind = "assertion"
	kindSource    hashKind = "source"
	kindAny       hashKind = "hash in the store"
)

// find returns the hash that somebody meant: typed whole, or by its label. flag is where it was typed, for
// errors.
func (r *reading) find(ctx context.Context, flag, typed string, kind hashKind) (audit.Hash, error) {
	typed = strings.TrimSpace(typed)
	if h, err := audit.ParseHash(typed); err == nil {
		return h, nil
	}
	var found []audit.Hash
	prefix := checkPrefix(typed)
	if r.labels != nil {
		found = r.labels.by[typed]
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return audit.Hash{}, trying(usage("%s%q is ambiguous: %s", flag, typed, r.list(found)), "one of these")
	case prefix == nil:
		return audit.Hash{}, trying(usage("%s%q: want 64 hex digits, or a label", flag, typed), "the whole of it, which -o plain and get show")
	}
	err := notFound("%s%q is no label, nor a hash", flag, typed)
	if r.labels != nil {
		if near := r.labels.near(typed); len(near) > 0 {
			return audit.Hash{}, trying(err, "%s", shellQuote(near[0]))
		}
	}
	return audit.Hash{}, trying(err, "auditsql name lists the labels; a hash has 64 hex digits")
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
func checkTyped(flag, typed string) error {
	switch typed = strings.TrimSpace(typed); {
	case typed == "":
		return usage("%s%q: want a hash or a label", flag, typed)
	case len(typed) > 2*len(audit.Hash{}) && strings.Trim(strings.ToLower(typed), "0123456789abcdef") == "":
		return usage("%s%q is too long: a hash has %d hex digits", flag, typed, 2*len(audit.Hash{}))
	}
	return nil
}

// notFound is an error about something that was named and is not there.
func notFound(format string, args ...any) error {
	return &exitError{code: exitNotFound, err: fmt.Errorf(format, args...)}
}
