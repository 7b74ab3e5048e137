// Package ask reads what somebody asks for: a filter from named values, and a hash or an id as a person writes it.
//
// The values are those of flags or of a URL; the names are the same for both:
//
//	values := map[string][]string{"from": {"yesterday"}, "agent": {"planner-7"}, "attr": {"trace_id=4bf92f35"}}
//	filter, notes, err := ask.Filter(ctx, db, values, ask.Options{Now: time.Now()})
//
//	flags of a command ─┐                    ┌─► audit.Filter, for any question
//	                    ├─► named values ─► ask ─► notes: what may have been meant instead
//	parameters of a URL ┘                    └─► *Error: which parameter, and why
//
// Parameters describes each of them once. Help, completion and an API's description are made from it.
//
// An error that the values caused is an *Error, which names the parameter. Any other error comes from the store.
// Nothing here prints or exits: the caller shows notes and errors in its own terms. All functions may be called
// from several goroutines at once.
package ask

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/when"
)

// DefaultWindow is the window of the parameter around.
const DefaultWindow = 15 * time.Minute

// A Store is what is asked for hashes, ids and spellings. *audit.DB is one.
type Store interface {
	TimeUnit() audit.TimeUnit
	ResolveAsOf(ctx context.Context, prefix string, asOf *uint64) ([]audit.QueryID, error)
	ResolveHashAsOf(ctx context.Context, name string, kinds audit.HashKind, asOf *uint64) (audit.Hash, error)
	IdentifyAsOf(ctx context.Context, h audit.Hash, asOf *uint64) (*audit.Identity, error)
	RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error]
}

// Options are what the meaning of the values depends on.
type Options struct {
	Now  time.Time      // what "now" and "6 hours ago" count from
	Zone *time.Location // of times without an offset; nil is UTC

	// AsOf is the moment among whose records first digits of hashes are looked for. nil: the value of as-of, or the present.
	AsOf *uint64
}

// A Note says that something else may have been meant with a value. The filter has what the value says.
type Note struct {
	Parameter string // which one
	Text      string // a sentence about its value

	// Pattern is a subject pattern that finds records which Text says are not found. It is "" in other notes.
	Pattern string
}

// Filter reads a filter from named values. It finds hashes by their label or first digits in the store. An empty value
// counts as given, since the empty text is a subject too. With an error it still returns the notes.
func Filter(ctx context.Context, db Store, values map[string][]string, o Options) (audit.Filter, []Note, error) {
	r := reader{values: values, options: o, unit: db.TimeUnit()}
	if given := values["as-of"]; o.AsOf == nil && len(given) == 1 {
		if n, err := parseRecords(given[0]); err == nil {
			o.AsOf = &n
		}
	}
	r.find = func(typed string, kind audit.HashKind) (audit.Hash, error) {
		found, err := Hash(ctx, db, typed, kind, o.AsOf)
		if err == nil && found.Other != 0 {
			r.note(fmt.Sprintf("%q is %s, and no %s", typed, found.OtherKinds(), kind))
		}
		return found.Hash, err
	}
	f, err := r.filter()
	if err == nil && f.From != nil && f.To != nil && *f.From > *f.To {
		err = r.upsideDown(&f)
	}
	for _, parameter := range []string{"subject", NegationOf("subject")} {
		for _, subject := range values[parameter] {
			if err == nil && !strings.ContainsAny(subject, "*?[") {
				var other *Note
				if other, err = OtherSpelling(ctx, db, subject, f.From, f.To); other != nil {
					other.Parameter = parameter
					r.notes = append(r.notes, *other)
				}
			}
		}
	}
	if err == nil {
		var other []Note
		other, err = otherCase(ctx, db, values, &f)
		r.notes = append(r.notes, other...)
	}
	return f, r.notes, err
}

// upsideDown refuses a time that ends before it begins.
func (r *reader) upsideDown(f *audit.Filter) error {
	c := r.clock()
	from, to := *f.From, *f.To
	if r.from == "" && r.to == "" {
		return &Error{Parameter: "from", Other: "to", between: " " + c.Format(from) + " is later than ", after: " " + c.Format(to)}
	}
	// A bound that a negation has made is shown as it was given.
	if r.from != "" {
		from--
	}
	if r.to != "" {
		to++
	}
	return &Error{Parameter: cmp.Or(r.from, "from"), Other: cmp.Or(r.to, "to"), between: " " + c.Format(from) + " and ", after: " " + c.Format(to) + " leave no time"}
}

// Check refuses, with an *Error, all values that Filter refuses for any store. So a caller can refuse them before it
// opens one.
func Check(values map[string][]string, o Options) error {
	// Every time that fits into another unit also fits into seconds.
	r := reader{values: values, options: o, unit: audit.Seconds}
	r.find = func(typed string, _ audit.HashKind) (audit.Hash, error) {
		return audit.Hash{}, audit.CheckName(typed)
	}
	_, err := r.filter()
	return err
}

// OtherSpelling looks for records whose subject looks like the given one and is spelled with other characters. It
// returns a note with a pattern that finds all of them, nil if there are none. Without the note a reader would take the
// records of one spelling for all there are. It costs a seek in an index for each other spelling, and most subjects have
// none.
func OtherSpelling(ctx context.Context, db Store, subject string, from, to *uint64) (*Note, error) {
	for _, other := range legible.Spellings(subject) {
		for _, err := range db.RawAudits(ctx, audit.Filter{Subject: &other, From: from, To: to, Limit: 1}) {
			if err != nil {
				return nil, err
			}
			text := "records also have another spelling of " + subject + ", which looks the same: an accented letter may be one character or several"
			return &Note{Parameter: "subject", Text: text, Pattern: legible.EitherSpelling(subject)}, nil
		}
	}
	return nil, nil
}

// A reader reads one filter.
type reader struct {
	values  map[string][]string
	options Options
	unit    audit.TimeUnit
	find    func(typed string, kind audit.HashKind) (audit.Hash, error)

	parameter string // whose value is being read, for notes
	notes     []Note

	from, to string // the negation that has set this bound, if one has
}

func (r *reader) note(text string) {
	r.notes = append(r.notes, Note{Parameter: r.parameter, Text: text})
}

func (r *reader) clock() when.Clock {
	zone := r.options.Zone
	if zone == nil {
		zone = time.UTC
	}
	return when.Clock{Now: r.options.Now, Zone: zone, Unit: r.unit, Note: r.note}
}
