package queries

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/when"
)

// A Given is the value of a parameter as somebody gave it.
type Given struct {
	Text string
	Type Kind // Text, Int or Real if the user named one; only for SQL that somebody typed
}

// Bind turns values into what SQLite gets, in the order of the statement's parameters. It finds hashes and ids in the
// store. A value that is refused is an *ask.Error, whose reason is audit.ErrNotFound for an id that no record has.
//
// In a statement that somebody typed, a value without a type is a number if SQLite would print that number with exactly
// these characters, and a text otherwise: 42, -7 and 0.5 are numbers; 007, 1.10 and 1e3 are texts.
func (s *Statement) Bind(ctx context.Context, db *audit.DB, values map[string]Given, o ask.Options) ([]any, []ask.Note, error) {
	b := binder{clock: clock(o, db.TimeUnit())}
	b.clock.Note = b.note
	b.find = func(p *Parameter, typed string) (h audit.Hash, err error) {
		if p.Kind == ID {
			if h, err = ask.ID(ctx, db, typed, nil); errors.Is(err, audit.ErrNotFound) {
				err = fmt.Errorf("%s: %w", typed, err)
			}
			return h, err
		}
		found, err := ask.Hash(ctx, db, typed, hashKinds[p.Kind], nil)
		if found.Other != 0 {
			b.note(fmt.Sprintf("%q is %s, and no %s", typed, found.OtherKinds(), hashKinds[p.Kind]))
		}
		return found.Hash, err
	}
	bound, err := b.bind(s, values)
	return bound, b.notes, err
}

// Check refuses, with an *ask.Error, all values that Bind refuses for any store.
func (s *Statement) Check(values map[string]Given, o ask.Options) error {
	b := binder{clock: clock(o, audit.Seconds)}
	b.find = func(p *Parameter, typed string) (audit.Hash, error) {
		if p.Kind == ID {
			return audit.Hash{}, ask.CheckID(typed)
		}
		return audit.Hash{}, audit.CheckName(typed)
	}
	_, err := b.bind(s, values)
	return err
}

func clock(o ask.Options, unit audit.TimeUnit) when.Clock {
	c := when.Clock{Now: o.Now, Zone: o.Zone, Unit: unit}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	return c
}

// A binder binds the values of one statement.
type binder struct {
	clock     when.Clock
	find      func(p *Parameter, typed string) (audit.Hash, error)
	parameter string // whose value is being read, for notes
	notes     []ask.Note
}

func (b *binder) note(text string) {
	b.notes = append(b.notes, ask.Note{Parameter: b.parameter, Text: text})
}

func (b *binder) bind(s *Statement, values map[string]Given) ([]any, error) {
	used := map[string]bool{}
	var bound []any
	for _, name := range s.names {
		b.parameter, used[name] = name, true
		value, given := values[name]
		p, described := s.parameter(name)
		switch {
		case described && value.Type != "":
			return nil, refuse(name, "a named query has its own kinds of parameters; leave :%s out", value.Type)
		case value.Type != "":
			p.Kind = value.Type
		case !described && given && isNumberAgain(value.Text):
			if p.Kind = Int; strings.Contains(value.Text, ".") {
				p.Kind = Real
			}
		}
		if !given {
			if !p.Optional {
				return nil, refuse(name, "is missing: %s", p.About)
			}
			value.Text = p.Default
		}
		v, err := b.value(p, value.Text, given)
		if err != nil {
			return nil, err
		}
		bound = append(bound, v)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !used[name] {
			return nil, refuse(name, "there is no parameter :%s", name)
		}
	}
	return bound, nil
}

func refuse(parameter, format string, args ...any) error {
	return &ask.Error{Parameter: parameter, Reason: fmt.Errorf(format, args...)}
}

// value reads the value of a parameter.
func (b *binder) value(p *Parameter, text string, given bool) (any, error) {
	if p.Kind.IsHash() {
		h, err := b.find(p, text)
		if ask.Refused(err) {
			err = &ask.Error{Parameter: p.Name, Reason: err}
		}
		return h.String(), err
	}
	switch p.Kind {
	case Choice:
		if !slices.Contains(p.Choices, text) {
			return nil, refuse(p.Name, "want one of %s, and got %q", strings.Join(p.Choices, ", "), text)
		}
	case Count:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil || n < 0:
			return nil, refuse(p.Name, "want a whole number, 0 for no limit, or more, and got %q", text)
		case n == 0:
			return int64(-1), nil // which LIMIT takes for no limit
		}
		return n, nil
	case Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, refuse(p.Name, "want a whole number from -2^63 to 2^63-1, and got %q", text)
		}
		return n, nil
	case Real:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, refuse(p.Name, "want a number as in 1.5 or 1e-7, and got %q", text)
		}
		return n, nil
	case Time, End:
		if !given && text == "ever" {
			// Only a default may be ever: then the range of time has no beginning, or no end.
			if p.Kind == Time {
				return int64(0), nil
			}
			return int64(audit.MaxTimestamp), nil
		}
		at, err := b.clock.Parse(text)
		if err != nil {
			return nil, refuse(p.Name, "%w", err)
		}
		if p.Kind == End {
			return int64(at.Last), nil
		}
		return int64(at.First), nil
	case Duration:
		d, err := when.ParseDuration(text)
		if err != nil {
			return nil, refuse(p.Name, "%w", err)
		}
		return int64(when.Units(d, b.clock.Unit)), nil
	}
	return text, nil
}

// isNumberAgain reports whether s, read as a number, would be printed by SQLite as s again. Only then s loses nothing
// when it becomes a number. 1.10 would become 1.1, and a hash that happens to have only decimal digits would become a
// number too. SQLite prints a fraction below 0.0001 with an exponent, so that is a text. It prints up to 13 digits
// without rounding them.
func isNumberAgain(s string) bool {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return strconv.FormatInt(n, 10) == s
	}
	f, err := strconv.ParseFloat(s, 64)
	digits := strings.TrimLeft(strings.ReplaceAll(strings.TrimPrefix(s, "-"), ".", ""), "0")
	return err == nil && strings.Contains(s, ".") && math.Abs(f) >= 1e-4 && len(digits) <= 13 &&
		strconv.FormatFloat(f, 'f', -1, 64) == s
}
