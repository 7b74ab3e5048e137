package audit_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/sqlstore"
)

// hashWith is a hash that begins with these digits.
func hashWith(t *testing.T, digits string) audit.Hash {
	t.Helper()
	h, err := audit.ParseHash(digits + strings.Repeat("0", 64-len(digits)))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestNamesStandForHashes(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	agent, other := hashWith(t, "aaaaaaaa11"), hashWith(t, "aaaaaaaa12")
	assertion, source := hashWith(t, "aaaaaaaa21"), hashWith(t, "bbbbbbbb31")
	for i, a := range []*audit.AgentID{&agent, &other, &agent} {
		q := audit.QueryAudit{
			QueryID: hashOf("named", string(rune('0'+i))), AgentID: a, Timestamp: uint64(i),
			ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: assertion, SourceHash: source}, {AssertionHash: assertion, SourceHash: source}},
		}
		if _, err := db.PutAudit(ctx, &q); err != nil {
			t.Fatal(err)
		}
	}
	beside := openDB(t, dir, audit.ReadOnly())
	both := hashWith(t, "cccccccc") // known to nobody but who labelled it
	if err := beside.PutLabels(ctx, []audit.Label{{Hash: agent, Label: "planner"}, {Hash: both, Label: "twins"}, {Hash: other, Label: "twins"}}); err != nil {
		t.Fatal(err)
	}
	// Not every label has been through CheckLabel: a shell may write them.
	if err := sqlstore.PutLabels(ctx, filepath.Join(dir, "audit.db"), []sqlstore.Label{{Hash: source.String(), Label: "aaaaaaaa"}}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		kinds audit.HashKind
		want  audit.Hash
		err   error
	}{
		{"planner", audit.AnyHash, agent, nil},
		{" planner\n", audit.AnyHash, agent, nil},
		{"planner", audit.SourceHash, agent, nil}, // a label has no kind
		{"Planner", audit.AnyHash, audit.Hash{}, &audit.UnknownError{Name: "Planner", Kinds: audit.AnyHash, Near: []string{"planner"}}},
		{"東京", audit.AgentHash, audit.Hash{}, &audit.UnknownError{Name: "東京", Kinds: audit.AgentHash}},
		{"", audit.AnyHash, audit.Hash{}, audit.ErrInvalid},
		{strings.Repeat("a", 65), audit.AnyHash, audit.Hash{}, audit.ErrInvalid},
		{"twins", audit.AnyHash, audit.Hash{}, &audit.AmbiguousError{Name: "twins", Hashes: []audit.Label{{Hash: other, Label: "twins"}, {Hash: both, Label: "twins"}}}},
		{"aaaaaaaa", audit.AgentHash, source, nil}, // a label comes before a beginning
		{"aaaaaaaa1", audit.AgentHash, audit.Hash{}, &audit.AmbiguousError{Name: "aaaaaaaa1", Hashes: []audit.Label{{Hash: agent, Label: "planner"}, {Hash: other, Label: "twins"}}}},
		{"aaaaaaaa1", audit.AssertionHash, audit.Hash{}, &audit.UnknownError{Name: "aaaaaaaa1", Kinds: audit.AssertionHash, Prefix: true}},
		{"AAAAAAAA2", audit.AnyHash, assertion, nil},
		{"aaaaaaaa11", audit.AnyHash, agent, nil},
		{agent.String()[:63], audit.AnyHash, agent, nil},
		{agent.String()[:63] + "1", audit.AnyHash, hashWith(t, agent.String()[:63]+"1"), nil}, // whole, known or not
		{"bbbbbbb", audit.AnyHash, audit.Hash{}, &audit.UnknownError{Name: "bbbbbbb", Kinds: audit.AnyHash}},
		{"bbbbbbbb", audit.AnyHash, source, nil},
		{"bbbbbbbb", audit.AgentHash | audit.AssertionHash, audit.Hash{}, &audit.UnknownError{Name: "bbbbbbbb", Kinds: audit.AgentHash | audit.AssertionHash, Prefix: true}},
		{"cccccccc", audit.AnyHash, audit.Hash{}, &audit.UnknownError{Name: "cccccccc", Kinds: audit.AnyHash, Prefix: true}},
	} {
		got, err := db.ResolveHash(ctx, c.name, c.kinds)
		if got != c.want || !errors.Is(err, c.err) && !reflect.DeepEqual(err, c.err) {
			t.Errorf("%q: %v, %v; want %v, %v", c.name, got, err, c.want, c.err)
		}
	}
	labels, err := db.Labels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for h, want := range map[audit.Hash]string{agent: "planner", assertion: "", both: "twins"} {
		if got := labels.Of(h); got != want {
			t.Errorf("label of %s: %q", h, got)
		}
	}
	if got := labels.Hashes("twins"); !slices.Equal(got, []audit.Hash{other, both}) {
		t.Errorf("the twins are %v", got)
	}
	for h, want := range map[audit.Hash]audit.Identity{
		agent:     {Hash: agent, Label: "planner", Agent: &audit.AgentActivity{AgentID: &agent, Label: "planner", Audits: 2, Last: 2}},
		assertion: {Hash: assertion, Assertion: audit.Uses{Answers: 3, Agents: 2, First: new(uint64)}},
		source:    {Hash: source, Label: "aaaaaaaa", Source: audit.Uses{Answers: 3, Agents: 2, First: new(uint64)}},
		both:      {Hash: both, Label: "twins"},
	} {
		if got, err := db.Identify(ctx, h); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: %+v, %v; want %+v", h, got, err, want)
		}
	}
	if err := db.PutLabels(ctx, []audit.Label{{Hash: agent}, {Hash: source}}); err != nil {
		t.Fatal(err)
	}
	if now, err := db.Labels(ctx); err != nil || !slices.Equal(now.All(), []audit.Label{{Hash: other, Label: "twins"}, {Hash: both, Label: "twins"}}) {
		t.Errorf("%v, %v", now.All(), err)
	}
	for _, label := range []string{strings.Repeat("x", audit.MaxLabel+1), "a\u202eb", agent.String()} {
		err := db.PutLabels(ctx, []audit.Label{{Hash: both, Label: "new"}, {Hash: agent, Label: label}})
		wantInvalid(t, err, "labels[1]")
		if got, _ := db.ResolveHash(ctx, "new", audit.AnyHash); !got.IsZero() {
			t.Error("half of the labels were written")
		}
	}
}

func TestCheckLabel(t *testing.T) {
	for label, ok := range map[string]bool{
		"planner-7": true, "mail 7731": true, "東京": true, "cafe": true, "1234567": true, "0x12345678": true, "deadbeef cafe": true,
		"": false, " x": false, "x\t": false, "a\nb": false, "a\u202eb": false, "a\u200bb": false, "\xff": false,
		strings.Repeat("東", 64): true, strings.Repeat("x", 65): false,
		"deadbeef": false, "DEADBEEF01": false, "12345678": false, strings.Repeat("0", 64): false,
	} {
		if err := audit.CheckLabel(label); (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
	}
}

// The buckets of a timeline are those of somebody's clock, also where it is changed.
func TestTimelineInZones(t *testing.T) {
	zone := func(name string) *time.Location {
		z, err := time.LoadLocation(name)
		if err != nil {
			t.Skip(err)
		}
		return z
	}
	at := func(text string) uint64 {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return uint64(when.UnixMilli())
	}
	for _, c := range []struct {
		name     string
		zone     *time.Location
		by       audit.BucketSize
		from, to string
		want     []string // starts
	}{
		{"half hours", zone("Asia/Kolkata"), audit.ByHour, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z",
			[]string{"2025-12-31T23:30:00Z", "2026-01-01T00:30:00Z"}},
		{"a day of 23 hours", zone("Europe/Berlin"), audit.ByDay, "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z",
			[]string{"2026-03-27T23:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}},
		{"an hour twice", zone("Europe/Berlin"), audit.ByHour, "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z",
			[]string{"2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"}},
		{"a day left out", zone("Pacific/Apia"), audit.ByDay, "2011-12-29T12:00:00Z", "2011-12-31T12:00:00Z",
			[]string{"2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"}},
		{"minutes", zone("Asia/Kolkata"), audit.ByMinute, "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z",
			[]string{"2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"}},
		{"the beginning in the west", zone("America/New_York"), audit.ByDay, "1970-01-01T00:00:00Z", "1970-01-01T12:00:00Z",
			[]string{"1970-01-01T00:00:00Z", "1970-01-01T05:00:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := openDB(t, filepath.Join(t.TempDir(), "store"))
			from, to := at(c.from), at(c.to)
			for i, ts := range []uint64{from, to} {
				q := sample(i)
				q.Timestamp = ts
				if _, err := db.PutAudit(context.Background(), &q); err != nil {
					t.Fatal(err)
				}
			}
			got, err := db.Timeline(context.Background(), audit.TimelineOptions{By: c.by, Zone: c.zone})
			if err != nil {
				t.Fatal(err)
			}
			var starts []string
			for i, b := range got.Buckets {
				starts = append(starts, time.UnixMilli(int64(b.Start)).UTC().Format(time.RFC3339))
				if i > 0 && got.Buckets[i-1].End != b.Start-1 {
					t.Errorf("bucket %d ends at %d, the next begins at %d", i-1, got.Buckets[i-1].End, b.Start)
				}
			}
			last := len(got.Buckets) - 1
			if !reflect.DeepEqual(starts, c.want) || got.Buckets[0].Audits == 0 || got.Buckets[last].Audits == 0 || got.Buckets[last].End < to {
				t.Errorf("%+v: starts are %v, want %v", got.Buckets, starts, c.want)
			}
		})
	}
}

// What a shell has written into table label is the store's damage, and no invalid argument of who reads it.
func TestALabelOfWhatIsNoHashIsDamage(t *testing.T) {
	t.Parallel()
	dir, _ := closedStore(t, 0, 3)
	inShell(t, dir, `PRAGMA ignore_check_constraints = ON`, `INSERT INTO label (hash, label) VALUES ('no hash', 'planner')`)
	db := openDB(t, dir, audit.ReadOnly())
	if _, err := db.Labels(t.Context()); !errors.Is(err, audit.ErrDamaged) || errors.Is(err, audit.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// One label may name an agent, an assertion and a source. Where only one of them can be meant, it is.
func TestALabelOfSeveralKinds(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	agent, assertion, source, answer, fresh := fill(1), fill(2), fill(3), fill(4), fill(5)
	_, err := db.PutAudit(ctx, &audit.QueryAudit{
		AgentID: &agent, ResultHash: &answer, ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: assertion, SourceHash: source}},
	})
	if err != nil {
		t.Fatal(err)
	}
	name := func(hashes ...audit.Hash) {
		t.Helper()
		var labels []audit.Label
		for _, h := range []audit.Hash{agent, assertion, source, answer, fresh} {
			label := ""
			if slices.Contains(hashes, h) {
				label = "x"
			}
			labels = append(labels, audit.Label{Hash: h, Label: label})
		}
		if err := db.PutLabels(ctx, labels); err != nil {
			t.Fatal(err)
		}
	}
	none := audit.Hash{}
	for _, c := range []struct {
		labelled []audit.Hash
		kinds    audit.HashKind
		want     audit.Hash // none: ambiguous
	}{
		{[]audit.Hash{agent, assertion, source}, audit.AgentHash, agent},
		{[]audit.Hash{agent, assertion, source}, audit.AssertionHash, assertion},
		{[]audit.Hash{agent, assertion, source}, audit.SourceHash, source},
		{[]audit.Hash{agent, assertion, source}, audit.AnyHash, none},
		{[]audit.Hash{agent, assertion, source}, audit.AssertionHash | audit.SourceHash, none},
		{[]audit.Hash{agent, answer}, audit.AssertionHash, answer}, // an answer is an assertion that is in no evidence
		{[]audit.Hash{agent, fresh}, audit.AgentHash, none},        // the new key of an agent, which has asked nothing yet
		{[]audit.Hash{assertion, fresh}, audit.AgentHash, fresh},
		{[]audit.Hash{assertion, source}, audit.AgentHash, none}, // neither can be
	} {
		name(c.labelled...)
		var ambiguous *audit.AmbiguousError
		got, err := db.ResolveHash(ctx, "x", c.kinds)
		if c.want == none && !errors.As(err, &ambiguous) || c.want != none && (err != nil || got != c.want) {
			t.Errorf("%v as %s: %v, %v", c.labelled, c.kinds, got, err)
		}
	}
}

// Of very many hashes with one label, those that are read first decide nothing.
func TestALabelOfVeryManyHashes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	var labels []audit.Label
	for i := range audit.MaxResolved + 1 {
		h := fill(byte(i + 1))
		labels = append(labels, audit.Label{Hash: h, Label: "x"})
		q := audit.QueryAudit{Timestamp: uint64(i), ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: h}}}
		if i == 0 || i == audit.MaxResolved {
			q = audit.QueryAudit{Timestamp: uint64(i), AgentID: &h}
		}
		if _, err := db.PutAudit(ctx, &q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.PutLabels(ctx, labels); err != nil {
		t.Fatal(err)
	}
	var ambiguous *audit.AmbiguousError
	if got, err := db.ResolveHash(ctx, "x", audit.AgentHash); !errors.As(err, &ambiguous) {
		t.Errorf("%v, %v", got, err)
	}
}

// What a shell completes: labels of the right kind, digits where there is no label, and subjects, each at most so often.
func TestWhatBeginsWithAText(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	agents := []audit.Hash{hashWith(t, "aa01"), hashWith(t, "aa02"), hashWith(t, "bb03")}
	assertion, source := hashWith(t, "aa04"), hashWith(t, "aa05")
	for i, subject := range []string{"a/1", "a/1", "a/2", "a/10", "b", "a", "A/1", "a\U0010ffff"} {
		_, err := db.PutAudit(ctx, &audit.QueryAudit{
			AgentID: &agents[i%3], Timestamp: uint64(i), Params: audit.QueryParams{Subject: &subject},
			ContributingAssertions: []audit.ContributingAssertion{{AssertionHash: assertion, SourceHash: source}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.PutLabels(ctx, []audit.Label{{Hash: agents[0], Label: "planner"}, {Hash: assertion, Label: "plan"}, {Hash: source, Label: "plans"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.AwaitApplied(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text  string
		kinds audit.HashKind
		most  int
		want  []audit.Label
	}{
		{"pl", audit.AgentHash, 9, []audit.Label{{Hash: agents[0], Label: "planner"}}},
		{"pl", audit.AssertionHash, 9, []audit.Label{{Hash: assertion, Label: "plan"}}},
		{"pl", audit.AnyHash, 9, []audit.Label{{Hash: assertion, Label: "plan"}, {Hash: agents[0], Label: "planner"}, {Hash: source, Label: "plans"}}},
		{"pl", audit.AnyHash, 2, []audit.Label{{Hash: assertion, Label: "plan"}, {Hash: agents[0], Label: "planner"}}},
		{"", audit.AgentHash, 9, []audit.Label{{Hash: agents[0], Label: "planner"}, {Hash: agents[1]}, {Hash: agents[2]}}},
		{"AA", audit.AgentHash, 9, []audit.Label{{Hash: agents[1]}}},
		{"", audit.SourceHash, 9, []audit.Label{{Hash: source, Label: "plans"}}},
		{"x", audit.AnyHash, 9, nil},
	} {
		got, err := db.HashesBeginning(ctx, c.text, c.kinds, c.most)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%d of %s beginning with %q: %v, %v; want %v", c.most, c.kinds, c.text, got, err, c.want)
		}
	}
	for _, c := range []struct {
		text string
		most int
		want []string
	}{
		{"a/1", 9, []string{"a/1", "a/10"}},
		{"a", 9, []string{"a", "a/1", "a/10", "a/2", "a\U0010ffff"}},
		{"a", 3, []string{"a", "a/1", "a/10"}},
		{"", 2, []string{"A/1", "a"}},
		{"c", 9, nil},
	} {
		if got, err := db.SubjectsBeginning(ctx, c.text, c.most); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%d subjects beginning with %q: %q, %v", c.most, c.text, got, err)
		}
	}
}
