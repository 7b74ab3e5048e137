// Package view builds the answers of a store as they are shown: by a command, by an API, or on a page.
//
//	v := view.New(db, labels, time.UTC)
//	t, err := v.Trace(ctx, id, audit.TraceOptions{})
//	e := json.NewEncoder(w)
//	e.SetEscapeHTML(false)
//	err = e.Encode(t)      // the same JSON as auditsql trace -o ndjson
//
// Each answer is a struct. It has what the store said, and beside it what a reader needs: the labels of hashes, times
// in the viewer's zone, and what takes further questions to find out, such as who else used evidence that is not
// Approved. Its tags make the JSON that docs/json.md describes. Members without a name in JSON are for people: they
// lay out tables and pages.
//
//	the answer      is                      as a table of values (CSV)
//	a record        Record                  RecordRow
//	list            a Stream of JSON        RecordRow
//	trace           Trace                   Trace.Lines
//	impact          Impact                  ImpactedAnswer
//	impact, further Downstream              DownstreamAnswer
//	trace, back     Origins                 Origins.Lines
//	answers         a Stream of Answer      Answer
//	diff            Diff                    Diff.Lines
//	timeline        Timeline                Bucket
//	top             Ranking                 Ranked
//	compare         Comparison              Compared
//	count           Count                   the members, a line each
//	agents          a Stream of Agent       Agent
//	stats, verify   Stats, Verification     the members, a line each
//
// Where an answer may be large it is a [Stream], whose rows come as the store reads them. An object that contains a
// stream is in parts: a Head with the members before the list, the rows, and a Tail with the members after it.
//
// The package leaves to others what the reader asked for (filters), how it is laid out, and making stored text harmless
// for a terminal or a page. A Viewer may be used from several goroutines.
package view

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// A Records reads records. *audit.DB is one.
type Records interface {
	Audits(ctx context.Context, f audit.Filter) iter.Seq2[audit.QueryAudit, error]
	RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error]
	Nearest(ctx context.Context, f audit.Filter, at uint64) (*audit.QueryAudit, []*audit.RecordError, error)
}

// A Finder says which records and hashes begin with some digits, and what a hash is. *audit.DB is one.
type Finder interface {
	Resolve(ctx context.Context, prefix string) ([]audit.QueryID, error)
	ResolveAsOf(ctx context.Context, prefix string, asOf *uint64) ([]audit.QueryID, error)
	ResolveHash(ctx context.Context, name string, kinds audit.HashKind) (audit.Hash, error)
	ResolveHashAsOf(ctx context.Context, name string, kinds audit.HashKind, asOf *uint64) (audit.Hash, error)
	IdentifyAsOf(ctx context.Context, h audit.Hash, asOf *uint64) (*audit.Identity, error)
}

// Questions are the forensic questions to a store. *audit.DB answers them.
type Questions interface {
	Trace(ctx context.Context, id audit.QueryID, o audit.TraceOptions) (*audit.Trace, error)
	Impact(ctx context.Context, h audit.Hash, o audit.ImpactOptions) iter.Seq2[audit.ImpactedAnswer, error]
	ImpactTotals(ctx context.Context, h audit.Hash, o audit.ImpactOptions) (audit.ImpactTotals, error)
	Downstream(h audit.Hash, o audit.DownstreamOptions) *audit.Downstream
	Onward(ctx context.Context, h audit.Hash, source bool, asOf *uint64, b audit.Budget) (audit.Onward, error)
	Origins(ctx context.Context, id audit.QueryID, o audit.OriginsOptions) (*audit.Origins, error)
	Answers(ctx context.Context, subject, predicate string, f audit.Filter) iter.Seq2[audit.Answer, error]
	DiffAsOf(ctx context.Context, a, b audit.QueryID, asOf *uint64) (*audit.Difference, error)
	Timeline(ctx context.Context, o audit.TimelineOptions) (*audit.Timeline, error)
	Top(ctx context.Context, o audit.TopOptions) (*audit.TopList, error)
	CompareWindows(ctx context.Context, o audit.CompareOptions) (*audit.Comparison, error)
	Agents(ctx context.Context, f audit.Filter) iter.Seq2[audit.AgentActivity, error]
	Count(ctx context.Context, f audit.Filter, b audit.Budget) (n uint64, cut bool, err error)
}

// A Store is what a Viewer asks. *audit.DB is one.
type Store interface {
	Records
	Finder
	Questions
	TimeUnit() audit.TimeUnit
}

// A Viewer builds answers from a store.
type Viewer struct {
	// Lag is what SQLite lacks, nil if the reader need not know. It becomes a member of each answer that has counts.
	Lag *audit.Lag

	// Budget ends the counts of ImpactTotals, Timeline, Count, and Top and Compare by agent. Their answers say so. The zero value
	// has no end.
	Budget audit.Budget

	// Now is the present as a timestamp, 0 if it does not matter. See audit.TimelineOptions.Now. It has no effect on an answer as of
	// some moment, unless Live is set.
	Now uint64

	// Live says that the answers are about the present although they are as of a moment, which only makes several of them agree.
	Live bool

	store  Store
	labels *audit.Labels
	clock  when.Clock
}

// New returns a viewer that shows these labels, which may be nil, and times in a zone; nil is UTC.
func New(store Store, labels *audit.Labels, zone *time.Location) *Viewer {
	if zone == nil {
		zone = time.UTC
	}
	return &Viewer{store: store, labels: labels, clock: when.Clock{Zone: zone, Unit: store.TimeUnit()}}
}

// lag is what SQLite lacks of an answer. An answer as of some moment lacks nothing.
func (v *Viewer) lag(asOf *uint64) *audit.Lag {
	if asOf != nil {
		return nil
	}
	return v.Lag
}

// label is the label of a hash; nil where there is none.
func (v *Viewer) label(h *audit.Hash) *string {
	if h == nil {
		return nil
	}
	if label := v.labels.Of(*h); label != "" {
		return &label
	}
	return nil
}

// time writes a timestamp.
func (v *Viewer) time(timestamp uint64) string { return v.clock.Format(timestamp) }

// timeOf is time of a timestamp that may be missing.
func (v *Viewer) timeOf(timestamp *uint64) *string {
	if timestamp == nil {
		return nil
	}
	s := v.time(*timestamp)
	return &s
}

// A Stream yields rows as the store reads them, at most as many as the filter's limit. It can be read once.
type Stream[T any] struct {
	rows  iter.Seq2[T, error]
	limit int
	more  bool
}

// Rows yields the rows. After an *audit.RecordError, which is about one row, others follow. Any other error is the last
// that it yields.
func (s *Stream[T]) Rows() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		n := 0
		for row, err := range s.rows {
			if (err == nil || ofRecord(err)) && s.limit > 0 && n == s.limit {
				s.more = true
				return
			}
			n++
			if !yield(row, err) || err != nil && !ofRecord(err) {
				return
			}
		}
	}
}

// More reports whether the limit cut the stream. It is known when Rows has ended.
func (s *Stream[T]) More() bool { return s.more }

// oneMore is the limit to ask the store for: one row more shows that the limit cuts the answer.
func oneMore(limit int) int {
	if limit > 0 {
		return limit + 1
	}
	return 0
}

// mapped converts each value with row.
func mapped[S, T any](values iter.Seq2[S, error], row func(*S) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for value, err := range values {
			if err != nil {
				var none T
				if !yield(none, err) || !ofRecord(err) {
					return
				}
				continue
			}
			if !yield(row(&value), nil) {
				return
			}
		}
	}
}

// ofRecord reports whether err is about one record, so that others follow.
func ofRecord(err error) bool {
	var damaged *audit.RecordError
	return errors.As(err, &damaged)
}

func ptr[T any](v T) *T { return &v }
