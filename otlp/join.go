package otlp

import (
	"bytes"
	"cmp"
	"container/heap"
	"container/list"
	"errors"
	"slices"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// JoinOptions say when a trace has settled and how much a Joiner holds. A zero value means the default.
type JoinOptions struct {
	Unit audit.TimeUnit // of the store

	AfterRoot  time.Duration // after the root of the trace came: 6 s
	AfterLast  time.Duration // after its last span came: 20 s
	AfterFirst time.Duration // after its first span came: 5 min

	// AfterSpans settles a trace when so many spans have come after its last one. It is for files, in which time says nothing. 0: never.
	AfterSpans int

	MaxSpans int   // that are held: 500,000
	MaxBytes int64 // of memory that these take, approximately: 256 MiB
}

func (o JoinOptions) withDefaults() JoinOptions {
	o.AfterRoot = cmp.Or(o.AfterRoot, 6*time.Second)
	o.AfterLast = cmp.Or(o.AfterLast, 20*time.Second)
	o.AfterFirst = cmp.Or(o.AfterFirst, 5*time.Minute)
	o.MaxSpans = cmp.Or(o.MaxSpans, 500_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, 256<<20)
	return o
}

// Counts says what became of spans. Read = Records + Wrapped + Context + Other + Rejected.
type Counts struct {
	Read     uint64 `json:"read"`
	Records  uint64 `json:"records"`
	Wrapped  uint64 `json:"wrapped"` // retrievals around another one that contains the documents
	Context  uint64 `json:"context"`
	Other    uint64 `json:"other"`
	Rejected uint64 `json:"rejected"`
}

// Add adds other counts.
func (c *Counts) Add(other Counts) {
	c.Read += other.Read
	c.Records += other.Records
	c.Wrapped += other.Wrapped
	c.Context += other.Context
	c.Other += other.Other
	c.Rejected += other.Rejected
}

// A Became says what became of a span.
type Became string

// What a span can become.
const (
	BecameRecord   Became = "record"
	BecameWrapped  Became = "wrapped"
	BecameContext  Became = "context"
	BecameOther    Became = "other"
	BecameRejected Became = "rejected"
)

// ErrChanged rejects a span that came before with other content. The first stays.
var ErrChanged = errors.New("the span came before with other content")

// An Outcome is what became of a span when its trace settled.
type Outcome struct {
	Span   *Reduced
	Became Became
	Record *Record       // of a record
	Labels []audit.Label // of a record: what its hashes stand for
	Err    error         // why it is rejected
}

// A Settled is a trace whose spans have become what they are. Its outcomes have the order of their starts, and then of their ids.
type Settled struct {
	Trace    TraceID
	Early    bool // it had to settle because the Joiner was full
	Outcomes []Outcome

	// Wrapped are the retrievals that became no records, each once. Of very many these are the last ones: no more than a Joiner remembers.
	Wrapped []Wrapped
}

// A Wrapped is a retrieval that became no record, since another one around it or in it contains its documents.
type Wrapped struct {
	Span   SpanID     `json:"span"`
	Digest audit.Hash `json:"digest"`
}

// wrappedOf returns Settled.Wrapped of outcomes.
func wrappedOf(outcomes []Outcome) (all []Wrapped) {
	for i := len(outcomes) - 1; i >= 0 && len(all) < maxWrapped; i-- {
		// Copies of a span stand together: they have the same start.
		o := &outcomes[i]
		if o.Became == BecameWrapped && (len(all) == 0 || all[len(all)-1].Span != o.Span.Span) {
			all = append(all, Wrapped{o.Span.Span, o.Span.Retrieved.Digest})
		}
	}
	slices.Reverse(all)
	return all
}

// Counts counts the outcomes.
func (s *Settled) Counts() Counts {
	c := Counts{Read: uint64(len(s.Outcomes))}
	for i := range s.Outcomes {
		switch s.Outcomes[i].Became {
		case BecameRecord:
			c.Records++
		case BecameWrapped:
			c.Wrapped++
		case BecameContext:
			c.Context++
		case BecameOther:
			c.Other++
		case BecameRejected:
			c.Rejected++
		}
	}
	return c
}

// A Joiner collects reduced spans until their traces have settled. Spans that have come by then may have come in any order. It may not
// be used from several goroutines.
type Joiner struct {
	options JoinOptions
	traces  map[TraceID]*trace
	oldest  list.List // of *trace, by the arrival of their first spans
	quiet   list.List // of *trace, by the arrival of their last spans
	due     dueHeap
	came    uint64 // spans
	spans   int    // that are held
	bytes   int64
	gone    recent[TraceID, struct{}]
	// Retrievals that became no records, with their digests. Such a span may come again when its trace has settled, without the span that
	// contains the documents: its sender had no answer to the request with the wrapper, and one to the request with the other span.
	wrapped recent[spanOfTrace, audit.Hash]
	late    uint64
	early   uint64
}

// A trace is what has come of a trace.
type trace struct {
	id                TraceID
	spans             []*Reduced // in the order in which they came
	bytes             int64
	first             time.Time
	last              time.Time
	rooted            bool
	root              time.Time
	lastAt            uint64 // the number of its last span, of all that came
	mark              uint64 // of its first span
	inOldest, inQuiet *list.Element
	index             int // in the heap
	settles           time.Time
}

// NewJoiner makes a Joiner that holds nothing.
func NewJoiner(o JoinOptions) *Joiner {
	return &Joiner{
		options: o.withDefaults(), traces: map[TraceID]*trace{},
		gone: recent[TraceID, struct{}]{most: recentTraces}, wrapped: recent[spanOfTrace, audit.Hash]{most: maxWrapped},
	}
}

// Remember tells the Joiner the [Settled.Wrapped] of a trace that another Joiner has settled.
func (j *Joiner) Remember(trace TraceID, wrapped []Wrapped) {
	for _, w := range wrapped {
		j.wrapped.add(spanOfTrace{trace, w.Span}, w.Digest)
	}
}

// Add takes a span that came now. mark says where the caller has it; marks may not become smaller. It returns the traces that have to
// settle early because the Joiner is full, and those that have settled because of AfterSpans. Those that are due are returned by Due.
func (j *Joiner) Add(r *Reduced, mark uint64, now time.Time) []Settled {
	j.came++
	t := j.traces[r.Trace]
	if t == nil {
		t = &trace{id: r.Trace, first: now, mark: mark, index: -1}
		t.inOldest, t.inQuiet = j.oldest.PushBack(t), j.quiet.PushBack(t)
		j.traces[r.Trace] = t
	}
	if r.Class != Retrieval {
		if _, gone := j.gone.get(r.Trace); gone {
			j.late++
		}
	}
	size := r.size()
	t.spans = append(t.spans, r)
	t.bytes += size
	t.last, t.lastAt = now, j.came
	j.quiet.MoveToBack(t.inQuiet)
	if r.Parent == (SpanID{}) && !t.rooted {
		t.rooted, t.root = true, now
	}
	t.settles = earlier(t.first.Add(j.options.AfterFirst), t.last.Add(j.options.AfterLast))
	if t.rooted {
		t.settles = earlier(t.settles, t.root.Add(j.options.AfterRoot))
	}
	if t.index < 0 {
		heap.Push(&j.due, t)
	} else {
		heap.Fix(&j.due, t.index)
	}
	j.spans++
	j.bytes += size

	var settled []Settled
	if after := uint64(j.options.AfterSpans); after > 0 {
		for {
			t := j.quiet.Front().Value.(*trace) // r's own trace is in it, and has just had a span
			if j.came-t.lastAt < after {
				break
			}
			settled = append(settled, j.settle(t, false))
		}
	}
	for len(j.traces) > 0 && (j.spans > j.options.MaxSpans || j.bytes > j.options.MaxBytes) {
		settled = append(settled, j.settle(j.oldest.Front().Value.(*trace), true))
	}
	return settled
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// NextDue returns the next trace that has settled by now. False: none has.
func (j *Joiner) NextDue(now time.Time) (Settled, bool) {
	if len(j.due) == 0 || j.due[0].settles.After(now) {
		return Settled{}, false
	}
	return j.settle(j.due[0], false), true
}

// Next is when the next trace settles. False: none is held.
func (j *Joiner) Next() (time.Time, bool) {
	if len(j.due) == 0 {
		return time.Time{}, false
	}
	return j.due[0].settles, true
}

// Flush returns all traces that are held, the oldest first, as if they had settled.
func (j *Joiner) Flush() []Settled {
	settled := make([]Settled, 0, len(j.traces))
	for j.oldest.Len() > 0 {
		settled = append(settled, j.settle(j.oldest.Front().Value.(*trace), false))
	}
	return settled
}

// Held is the smallest mark of a span whose trace has not settled. False: none is held.
func (j *Joiner) Held() (mark uint64, ok bool) {
	if j.oldest.Len() == 0 {
		return 0, false
	}
	return j.oldest.Front().Value.(*trace).mark, true
}

// Spans is how many spans are held.
func (j *Joiner) Spans() int { return j.spans }

// Late is how many spans of context came when their trace had settled. What they say is in no record.
func (j *Joiner) Late() uint64 { return j.late }

// Early is how many traces had to settle early.
func (j *Joiner) Early() uint64 { return j.early }

func (j *Joiner) settle(t *trace, early bool) Settled {
	heap.Remove(&j.due, t.index)
	j.oldest.Remove(t.inOldest)
	j.quiet.Remove(t.inQuiet)
	delete(j.traces, t.id)
	j.spans -= len(t.spans)
	j.bytes -= t.bytes
	j.gone.add(t.id, struct{}{})
	if early {
		j.early++
	}
	outcomes := j.join(t.spans, early)
	s := Settled{Trace: t.id, Early: early, Outcomes: outcomes, Wrapped: wrappedOf(outcomes)}
	j.Remember(t.id, s.Wrapped)
	return s
}

// size is about how many bytes of memory a span takes.
func (r *Reduced) size() int64 {
	n := 320 + len(r.Name) + len(r.Service) + len(r.Session) + len(r.User) + len(r.Emitter) + len(r.Model)
	for _, named := range []*Named{r.Agent, r.Workflow} {
		if named != nil {
			n += 96 + len(named.Name) + len(named.Label)
		}
	}
	if t := r.Retrieved; t != nil {
		n += 400 + len(t.Predicate) + len(t.Error) + len(t.Original)
		if t.Subject != nil {
			n += len(*t.Subject)
		}
		for i := range t.Documents {
			n += 112 + len(t.Documents[i].ID) + len(t.Documents[i].SourceName)
		}
		for key, v := range t.Attributes {
			n += 64 + len(key)
			if text, ok := v.(string); ok {
				n += len(text)
			}
		}
	}
	return int64(n)
}

// dueHeap has the trace first that settles first, and of those that settle at one time the one that was quiet for the longest time.
type dueHeap []*trace

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, k int) bool {
	if c := h[i].settles.Compare(h[k].settles); c != 0 {
		return c < 0
	}
	return h[i].lastAt < h[k].lastAt
}
func (h dueHeap) Swap(i, k int) {
	h[i], h[k] = h[k], h[i]
	h[i].index, h[k].index = i, k
}
func (h *dueHeap) Push(x any) {
	t := x.(*trace)
	t.index = len(*h)
	*h = append(*h, t)
}
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}

// recent has the keys that were added last, with their values.
type recent[K comparable, V any] struct {
	most int
	of   map[K]remembered[V]
	ring []K
	next int
}

type remembered[V any] struct {
	value V
	times int // that its key is in the ring
}

const (
	recentTraces = 1 << 16 // that have settled
	maxWrapped   = 1 << 16 // retrievals that became no records; each takes about 150 bytes
)

type spanOfTrace struct {
	trace TraceID
	span  SpanID
}

func (r *recent[K, V]) get(key K) (value V, has bool) {
	it, has := r.of[key]
	return it.value, has
}

func (r *recent[K, V]) add(key K, value V) {
	if r.of == nil {
		r.of = map[K]remembered[V]{}
	}
	if len(r.ring) < r.most {
		r.ring = append(r.ring, key)
	} else {
		old := r.ring[r.next]
		if it := r.of[old]; it.times > 1 {
			it.times--
			r.of[old] = it
		} else {
			delete(r.of, old)
		}
		r.ring[r.next] = key
		r.next = (r.next + 1) % r.most
	}
	r.of[key] = remembered[V]{value, r.of[key].times + 1}
}

// join decides what the spans of a trace become. What it returns does not depend on their order, except for a retrieval that came with
// two contents: then the first that came stays.
func (j *Joiner) join(spans []*Reduced, early bool) []Outcome {
	g := newGraph(spans)
	outcomes := make([]Outcome, 0, len(spans))
	for _, r := range spans {
		o := Outcome{Span: r}
		switch {
		case r.Class == Context:
			o.Became = BecameContext
		case r.Class != Retrieval:
			o.Became = BecameOther
		case g.of[r.Span].span.Retrieved == nil || g.of[r.Span].span.Retrieved.Digest != r.Retrieved.Digest:
			o.Became, o.Err = BecameRejected, ErrChanged
		default:
			j.retrieval(g, &o, early)
		}
		outcomes = append(outcomes, o)
	}
	slices.SortStableFunc(outcomes, func(a, b Outcome) int {
		return cmp.Or(cmp.Compare(a.Span.Start, b.Span.Start), bytes.Compare(a.Span.Span[:], b.Span.Span[:]), cmp.Compare(a.Became, b.Became))
	})
	return outcomes
}

// retrieval decides what a retrieval becomes.
func (j *Joiner) retrieval(g *graph, o *Outcome, early bool) {
	r := o.Span
	n := g.of[r.Span]
	before, wrapped := j.wrapped.get(spanOfTrace{r.Trace, r.Span})
	switch {
	case wrapped && before != r.Retrieved.Digest:
		o.Became, o.Err = BecameRejected, ErrChanged
	case wrapped || g.wrapper(n):
		o.Became = BecameWrapped
	default:
		// A copy of a span gives the record once more, which is a duplicate then.
		record, labels, err := r.record(j.options.Unit, g.inherited(n), early)
		if err != nil {
			o.Became, o.Err = BecameRejected, err
			return
		}
		o.Became, o.Record, o.Labels = BecameRecord, &record, labels
	}
}
