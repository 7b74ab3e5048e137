package view_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
)

// stub is a store that answers what a test says.
type stub struct {
	view.Store
	trace    audit.Trace
	totals   map[audit.Hash]audit.ImpactTotals
	audits   []audit.QueryAudit
	asked    *[]audit.Filter // of Audits and Answers
	answers  []audit.Answer
	failure  error // after the answers
	identity audit.Identity
}

func (s stub) TimeUnit() audit.TimeUnit { return audit.Milliseconds }

func (s stub) Trace(context.Context, audit.QueryID, audit.TraceOptions) (*audit.Trace, error) {
	return &s.trace, nil
}

func (s stub) ImpactTotals(_ context.Context, h audit.Hash, _ audit.ImpactOptions) (audit.ImpactTotals, error) {
	t, ok := s.totals[h]
	if !ok {
		return t, errors.New("was not to be asked about " + h.String())
	}
	return t, nil
}

func (s stub) Audits(_ context.Context, f audit.Filter) iter.Seq2[audit.QueryAudit, error] {
	if s.asked != nil {
		*s.asked = append(*s.asked, f)
	}
	return func(yield func(audit.QueryAudit, error) bool) {
		for i, q := range s.audits {
			if f.Limit > 0 && i == f.Limit || !yield(q, nil) {
				return
			}
		}
	}
}

func (s stub) RawAudits(ctx context.Context, f audit.Filter) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for q := range s.Audits(ctx, f) {
			if !yield(q.Canonical()) {
				return
			}
		}
	}
}

func (s stub) IdentifyAsOf(context.Context, audit.Hash, *uint64) (*audit.Identity, error) {
	return &s.identity, nil
}

func (s stub) Answers(_ context.Context, _, _ string, f audit.Filter) iter.Seq2[audit.Answer, error] {
	*s.asked = append(*s.asked, f)
	return func(yield func(audit.Answer, error) bool) {
		for _, a := range s.answers {
			if !yield(a, nil) {
				return
			}
		}
		if s.failure != nil {
			yield(audit.Answer{}, s.failure)
		}
	}
}

func traced(n int, lifecycle audit.Lifecycle, others int, more bool) audit.TracedEvidence {
	return audit.TracedEvidence{
		ContributingAssertion: audit.ContributingAssertion{AssertionHash: audit.Hash{byte(n + 1)}, SourceHash: audit.Hash{0xff}, Weight: 1, Lifecycle: lifecycle},
		Position:              n, Fit: lifecycle == audit.Approved, Others: audit.Uses{Answers: others, More: more},
	}
}

func ptr[T any](v T) *T { return &v }

// Each kind of finding is a sentence, and a kind that a newer store has is its name.
func TestFindingsAreSentences(t *testing.T) {
	t.Parallel()
	won := traced(1, audit.Proposed, 0, false)
	won.Won = true
	for kind, want := range map[audit.FindingKind]string{
		audit.UnfitResult:   "the answer itself is Proposed, not Approved",
		audit.UnfitEvidence: "1 of 2 pieces of evidence not Approved",
		audit.OneSource:     "all of its evidence comes from one source",
		audit.FirstUse:      "1 of 2 pieces of evidence had been in no answer before",
		audit.LowConfidence: "its confidence is low",
		audit.NoEvidence:    "there is no evidence for the answer",
		audit.ForeignResult: "the answer is not among its evidence",
		"moon_phase":        "moon_phase",
	} {
		s := stub{trace: audit.Trace{
			Evidence: []audit.TracedEvidence{traced(0, audit.Approved, 0, false), won},
			Findings: []audit.Finding{{Kind: kind, Positions: []int{1}}},
		}}
		got, err := view.New(s, nil, nil).Trace(t.Context(), audit.QueryID{}, audit.TraceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Findings[0].Text; text != want {
			t.Errorf("%s: got %q, want %q", kind, text, want)
		}
	}
}

// Of evidence that is not Approved a trace says who else used it, whoever was first first, without the traced record
// itself, and only for a few pieces. Evidence that is Approved, that nobody else used, or that very many used, is not
// asked about.
func TestATraceSaysWhoElseUsedWhatIsNotApproved(t *testing.T) {
	t.Parallel()
	me, early, late := audit.AgentID{1}, audit.AgentID{2}, audit.AgentID{3}
	s := stub{totals: map[audit.Hash]audit.ImpactTotals{}}
	s.trace.Audit.AgentID = &me
	s.trace.Evidence = []audit.TracedEvidence{
		traced(0, audit.Approved, 5, false), traced(1, audit.Proposed, 0, false), traced(2, audit.Proposed, 1000, true),
	}
	for n := 3; n < 12; n++ {
		s.trace.Evidence = append(s.trace.Evidence, traced(n, audit.Rejected, 2, false))
		if n < 11 { // 8 pieces
			s.totals[audit.Hash{byte(n + 1)}] = audit.ImpactTotals{ByAgent: []audit.AgentImpact{
				{AgentID: &late, Answers: 2, First: 9, Last: 10}, {AgentID: &me, Answers: 1, First: 8, Last: 8}, {AgentID: &early, Answers: 1, First: 4, Last: 5}, {Answers: 3, First: 6, Last: 7},
			}}
		}
	}
	got, err := view.New(s, nil, nil).Trace(t.Context(), audit.QueryID{}, audit.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range got.Evidence {
		var users []*audit.AgentID
		for _, user := range e.Others.ByAgent {
			users = append(users, user.AgentID)
		}
		want := []*audit.AgentID{&early, nil, &late}
		if i < 3 || i == 11 {
			want = nil
		}
		if !slices.EqualFunc(users, want, func(a, b *audit.AgentID) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }) {
			t.Errorf("evidence %d: got %v, want %v", i, users, want)
		}
	}
}

// What a trace asks further is of the state that it shows. A record that SQLite does not have yet is not counted in it.
func TestTheRestOfATraceIsOfItsState(t *testing.T) {
	t.Parallel()
	me, subject, predicate := audit.AgentID{1}, "Tesla", "revenue"
	var asked []audit.Filter
	s := stub{asked: &asked, totals: map[audit.Hash]audit.ImpactTotals{{1}: {ByAgent: []audit.AgentImpact{{AgentID: &me, Answers: 1, First: 4, Last: 5}}}}}
	s.trace.Audit = audit.QueryAudit{AgentID: &me, Timestamp: 7, Params: audit.QueryParams{Subject: &subject, Predicate: &predicate}}
	s.trace.Evidence = []audit.TracedEvidence{traced(0, audit.Proposed, 1, false)}
	s.trace.AsOf, s.trace.Pending = ptr(uint64(30)), true
	got, err := view.New(s, nil, nil).Trace(t.Context(), audit.QueryID{}, audit.TraceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if users := got.Evidence[0].Others.ByAgent; len(users) != 1 || users[0].Answers != 1 || users[0].Last != 5 {
		t.Errorf("others are %+v", users)
	}
	if len(asked) != 1 || asked[0].AsOf != s.trace.AsOf {
		t.Errorf("asked %+v", asked)
	}
}

// The last time that the agent asked the same is looked for before the record, and only for who can have asked before.
func TestATraceFindsTheLastTimeTheAgentAskedTheSame(t *testing.T) {
	t.Parallel()
	agent := audit.AgentID{1}
	question := audit.QueryParams{Subject: ptr("Tesla"), Predicate: ptr("revenue")}
	for name, test := range map[string]struct {
		q    audit.QueryAudit
		want bool
	}{
		"an agent":       {audit.QueryAudit{AgentID: &agent, Timestamp: 7, Params: question}, true},
		"nobody":         {audit.QueryAudit{Timestamp: 7, Params: question}, false},
		"no subject":     {audit.QueryAudit{AgentID: &agent, Timestamp: 7, Params: audit.QueryParams{Predicate: question.Predicate}}, false},
		"no predicate":   {audit.QueryAudit{AgentID: &agent, Timestamp: 7, Params: audit.QueryParams{Subject: question.Subject}}, false},
		"the first time": {audit.QueryAudit{AgentID: &agent, Params: question}, false},
	} {
		var asked []audit.Filter
		s := stub{trace: audit.Trace{Audit: test.q}, audits: []audit.QueryAudit{{QueryID: audit.QueryID{9}}}, asked: &asked}
		got, err := view.New(s, nil, nil).Trace(t.Context(), audit.QueryID{}, audit.TraceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if found := got.Previous != nil; found != test.want || found && *got.Previous != (audit.QueryID{9}) {
			t.Errorf("%s: found %v, want %v", name, got.Previous, test.want)
		}
		if test.want && (len(asked) != 1 || *asked[0].To != 6 || !asked[0].Descending || *asked[0].Agent != agent || *asked[0].Subject != "Tesla" || *asked[0].Predicate != "revenue") {
			t.Errorf("%s: asked for %+v", name, asked)
		}
	}
}

// A stream ends at the limit, and says whether there was more.
func TestAStreamSaysWhenTheLimitCutIt(t *testing.T) {
	t.Parallel()
	s := stub{audits: make([]audit.QueryAudit, 3)}
	for limit, want := range map[int]struct {
		rows int
		more bool
	}{0: {3, false}, 2: {2, true}, 3: {3, false}, 4: {3, false}} {
		stream := view.New(s, nil, nil).List(t.Context(), audit.Filter{Limit: limit})
		n := 0
		for _, err := range stream.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want.rows || stream.More() != want.more {
			t.Errorf("limit %d: %d rows, more: %t; want %d, %t", limit, n, stream.More(), want.rows, want.more)
		}
	}
	// What comes after the limit may be damaged.
	stream := view.New(stub{answers: make([]audit.Answer, 2), failure: &audit.RecordError{}, asked: new([]audit.Filter)}, nil, nil).Answers(t.Context(), "s", "p", audit.Filter{Limit: 2}, false)
	n := 0
	for _, err := range stream.Rows() {
		if n++; err != nil {
			t.Error(err)
		}
	}
	if n != 2 || !stream.More() {
		t.Errorf("%d rows, more: %t", n, stream.More())
	}
}

// The JSON of a record is its canonical JSON, and times are in the zone of the viewer.
func TestARecordForReaders(t *testing.T) {
	t.Parallel()
	q := audit.QueryAudit{QueryID: audit.QueryID{1}, Timestamp: 1795426200000, Params: audit.QueryParams{Subject: ptr("<b> & \u2028")}, ResultConfidence: 0.1}
	canonical, err := q.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	record := view.New(stub{}, nil, time.FixedZone("", 3600)).Record(&q)
	if got, err := record.MarshalJSON(); err != nil || string(got) != string(canonical) {
		t.Errorf("got %s, %v, want %s", got, err, canonical)
	}
	if record.Time != "2026-11-23T10:30:00.000+01:00" {
		t.Errorf("it is %s", record.Time)
	}
	var row struct{ Contributions, Timestamp uint64 }
	b, err := json.Marshal(record.Row())
	if err := errors.Join(err, json.Unmarshal(b, &row)); err != nil || row.Timestamp != q.Timestamp {
		t.Errorf("the row is %s, %v", b, err)
	}
}

// What a check did not count is null, and never 0.
func TestWhatWasNotCountedIsNull(t *testing.T) {
	t.Parallel()
	whole := []string{"audits", "contributions", "attributes", "agents", "agent_keys", "matched", "not_applied", "rejected"}
	journal := []string{"journal_segments", "journal_first", "journal_end", "journal_bytes"}
	records := []string{"journal_records", "journal_marks", "journal_identities", "journal_trimmed_bytes", "journal_fillers", "journal_filler_bytes", "journal_damage"}
	for name, test := range map[string]struct {
		report audit.VerifyReport
		counts []string
	}{
		"all":                         {audit.VerifyReport{}, slices.Concat(whole, journal, records)},
		"quick":                       {audit.VerifyReport{Quick: true}, slices.Concat(journal, []string{"audits", "contributions", "agents", "rejected"})},
		"without the journal":         {audit.VerifyReport{JournalAway: "away"}, []string{"audits", "contributions", "attributes", "agents", "agent_keys", "rejected"}},
		"without SQLite":              {audit.VerifyReport{SQLiteUnread: "malformed"}, slices.Concat(journal, records)},
		"quick, without SQLite":       {audit.VerifyReport{Quick: true, SQLiteUnread: "malformed"}, nil},
		"quick, and no journal there": {audit.VerifyReport{Quick: true, JournalAway: "away"}, []string{"audits", "contributions", "agents", "rejected"}},
	} {
		b, err := json.Marshal(view.VerificationOf(&test.report))
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]any
		if err := json.Unmarshal(b, &members); err != nil {
			t.Fatal(err)
		}
		for _, member := range slices.Concat(whole, journal, records) {
			value, there := members[member]
			if !there || (value != nil) != slices.Contains(test.counts, member) {
				t.Errorf("%s: %s is %v", name, member, value)
			}
		}
		for _, list := range []string{"problems", "notes", "against"} {
			if members[list] == nil {
				t.Errorf("%s: %s is null and no list", name, list)
			}
		}
	}
}

// Answers that are the same as before count for nothing where only flips are wanted, and an error is the last row.
func TestFlipsAreStreamed(t *testing.T) {
	t.Parallel()
	failure := errors.New("the disk is gone")
	var answers []audit.Answer
	for n := range byte(6) {
		a := audit.Answer{Audit: audit.QueryAudit{QueryID: audit.QueryID{n}}, Flipped: n%2 == 1, Causes: []audit.Cause{}}
		if n > 0 {
			a.Before = &audit.Difference{A: audit.QueryAudit{QueryID: audit.QueryID{n - 1}, ResultHash: &audit.Hash{n}}}
		}
		answers = append(answers, a)
	}
	for name, test := range map[string]struct {
		limit, asked int
		flips        bool
		want         []byte
		more         bool
		err          error
	}{
		"all":         {0, 0, false, []byte{0, 1, 2, 3, 4, 5}, false, failure},
		"limit":       {2, 3, false, []byte{0, 1}, true, nil},
		"flips":       {0, 0, true, []byte{1, 3, 5}, false, failure},
		"two flips":   {2, 0, true, []byte{1, 3}, true, nil},
		"three flips": {3, 0, true, []byte{1, 3, 5}, false, failure},
	} {
		var asked []audit.Filter
		stream := view.New(stub{answers: answers, failure: failure, asked: &asked}, nil, nil).Answers(t.Context(), "s", "p", audit.Filter{Limit: test.limit}, test.flips)
		var got []byte
		var last error
		for a, err := range stream.Rows() {
			if last = err; err != nil {
				continue
			}
			got = append(got, a.QueryID[0])
			if a.QueryID[0] > 0 && (*a.Previous != audit.QueryID{a.QueryID[0] - 1} || *a.PreviousResultHash != audit.Hash{a.QueryID[0]}) {
				t.Errorf("%s: answer %d comes after %s with %s", name, a.QueryID[0], a.Previous, a.PreviousResultHash)
			}
		}
		if !slices.Equal(got, test.want) || stream.More() != test.more || !errors.Is(last, test.err) {
			t.Errorf("%s: got %v, more: %t, %v; want %v, %t, %v", name, got, stream.More(), last, test.want, test.more, test.err)
		}
		if asked[0].Limit != test.asked {
			t.Errorf("%s: asked the store for %d, want %d", name, asked[0].Limit, test.asked)
		}
	}
}

// A hash that no evidence has says what it is instead.
func TestAHashThatIsNoEvidence(t *testing.T) {
	t.Parallel()
	seen := audit.Uses{Answers: 1}
	for name, test := range map[string]struct {
		identity audit.Identity
		source   bool
		want     *view.NotEvidenceError
	}{
		"an assertion":             {audit.Identity{Assertion: seen}, false, nil},
		"a source":                 {audit.Identity{Source: seen}, true, nil},
		"a source as an assertion": {audit.Identity{Source: seen}, false, &view.NotEvidenceError{IsOther: true}},
		"an assertion as a source": {audit.Identity{Assertion: seen}, true, &view.NotEvidenceError{Source: true, IsOther: true}},
		"an agent":                 {audit.Identity{Agent: &audit.AgentActivity{}}, false, &view.NotEvidenceError{IsAgent: true}},
		"nothing":                  {audit.Identity{}, true, &view.NotEvidenceError{Source: true}},
	} {
		err := view.New(stub{identity: test.identity}, nil, nil).CheckEvidence(t.Context(), audit.Hash{}, test.source, nil)
		var got *view.NotEvidenceError
		if errors.As(err, &got) != (test.want != nil) || got != nil && *got != *test.want {
			t.Errorf("%s: got %v, want %v", name, err, test.want)
		}
	}
}
