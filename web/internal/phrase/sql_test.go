package phrase_test

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/web/internal/phrase"
)

func hash(name string) audit.Hash { return sha256.Sum256([]byte(name)) }

func ptr[T any](v T) *T { return &v }

// texts are in every field of the records, so that each of them is looked for as a literal.
var texts = []string{"Tesla", "it's", `a"b`, "a\nb", "\u202e", "*[?", "100%", "", "東京", "-- x", "\x01"}

func records() []*audit.QueryAudit {
	var list []*audit.QueryAudit
	for i := range 120 {
		subject, predicate, lens := texts[i%len(texts)], texts[(i/3)%len(texts)], texts[(i/7)%len(texts)]
		if i%3 == 0 {
			subject, predicate = "Tesla", "it's" // a question with many answers
		}
		q := &audit.QueryAudit{
			Timestamp: uint64(1_000_000 + (i*37)%200), ResultConfidence: float32(i%10) / 10,
			Params:     audit.QueryParams{Subject: &subject, Predicate: &predicate, Lens: &lens},
			Attributes: map[string]any{"key" + texts[i%3]: texts[i%5], "n": i % 4},
		}
		if i%5 != 0 {
			q.AgentID = ptr(hash(fmt.Sprint("agent", i%3)))
		}
		if i%4 != 0 {
			q.Params.Lifecycle = ptr(audit.Lifecycle(i % 5))
		}
		for j := range i % 4 {
			q.ContributingAssertions = append(q.ContributingAssertions, audit.ContributingAssertion{
				AssertionHash: hash(fmt.Sprint("assertion", (i+j)%6)), SourceHash: hash(fmt.Sprint("source", (i+j)%4)), Weight: float32(j) / 3, Lifecycle: audit.Lifecycle((i + j) % 6),
			})
		}
		if i%4 > 0 {
			q.ResultHash = &q.ContributingAssertions[0].AssertionHash
		}
		list = append(list, q)
	}
	return list
}

// opened is a store with these records, and its database for SQL.
func opened(t *testing.T) (*audit.DB, *sql.DB) {
	t.Helper()
	dir := t.TempDir()
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	results, err := db.PutAudits(t.Context(), records())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("record %d: %v", i, r.Err)
		}
	}
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "audit.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return db, s
}

// column returns the values of a column of a result, as texts.
func column(t *testing.T, db *sql.DB, statement, name string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), statement)
	if err != nil {
		t.Fatalf("%v:\n%s", err, statement)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.Index(names, name)
	if at < 0 {
		t.Fatalf("no column %s in %q:\n%s", name, names, statement)
	}
	list := []string{}
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		list = append(list, values[at].(*sql.NullString).String)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// The SQL of a filter finds the records that the filter selects, in the same order.
func TestTheSQLOfAFilterFindsTheSame(t *testing.T) {
	t.Parallel()
	db, s := opened(t)
	filters := []audit.Filter{
		{}, {Limit: 7}, {Descending: true}, {ByAdmission: true}, {ByAdmission: true, Descending: true, Limit: 5},
		{From: ptr(uint64(1_000_050))}, {To: ptr(uint64(1_000_050))}, {From: ptr(uint64(1_000_050)), To: ptr(uint64(1_000_100))}, {To: ptr(uint64(audit.Unbounded))},
		{Agent: ptr(hash("agent1"))}, {Anonymous: true}, {SubjectGlob: ptr("T*")}, {SubjectGlob: ptr("Tesla")}, {SubjectGlob: ptr("[*][[][?]")},
		{Result: ptr(hash("assertion2"))}, {Assertion: ptr(hash("assertion2"))}, {Source: ptr(hash("source1"))}, {Unapproved: true},
		{MinConfidence: ptr(float32(0.3))}, {MaxConfidence: ptr(float32(0.3))}, {MinConfidence: ptr(float32(0.1)), MaxConfidence: ptr(float32(0.7))},
		{Attributes: []audit.Attribute{{Key: "n", Value: "2"}}}, {Lifecycle: ptr(audit.Deprecated)},
		{AsOf: ptr(uint64(40))}, {AsOf: ptr(uint64(40)), Unapproved: true, Descending: true, Limit: 10},
		{After: &audit.Cursor{Timestamp: 1_000_070, ID: hash("x")}}, {After: &audit.Cursor{Timestamp: 1_000_070, ID: hash("x")}, Descending: true, Limit: 9},
	}
	for _, text := range texts {
		filters = append(filters, audit.Filter{Subject: &text}, audit.Filter{Predicate: &text}, audit.Filter{Lens: &text, Unapproved: true},
			audit.Filter{Attributes: []audit.Attribute{{Key: "key" + text, Value: text}}}, audit.Filter{Attributes: []audit.Attribute{{Key: "keyTesla", Value: text}}})
	}
	some := 0
	for _, f := range filters {
		want := []string{}
		for q, err := range db.Audits(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, q.QueryID.String())
		}
		some += len(want)
		if got := column(t, s, phrase.Records(f), "query_id"); !slices.Equal(got, want) {
			t.Errorf("%d records, want %d:\n%s", len(got), len(want), phrase.Records(f))
		}
	}
	if some < 1000 {
		t.Errorf("the filters select %d records in all, which checks little", some)
	}
}

// The SQL of each other question has the figures of the answer.
func TestTheSQLOfAQuestionHasItsFigures(t *testing.T) {
	t.Parallel()
	db, s := opened(t)
	for i, f := range []audit.Filter{{}, {From: ptr(uint64(1_000_050)), Unapproved: true}, {AsOf: ptr(uint64(60))}, {Agent: ptr(hash("agent1"))}} {
		by := []audit.BucketSize{audit.ByMinute, audit.ByQuarter}[i%2]
		timeline, err := db.Timeline(t.Context(), audit.TimelineOptions{By: by, Filter: f, Unapproved: true})
		if err != nil {
			t.Fatal(err)
		}
		var records, unapproved []string
		for _, b := range timeline.Buckets {
			if b.Audits > 0 {
				records, unapproved = append(records, fmt.Sprint(b.Audits)), append(unapproved, fmt.Sprint(b.Unapproved))
			}
		}
		statement := phrase.Timeline(by.String(), f)
		if got := column(t, s, statement, "records"); !slices.Equal(got, records) {
			t.Errorf("records %v, want %v:\n%s", got, records, statement)
		}
		if got := column(t, s, statement, "not_approved"); !slices.Equal(got, unapproved) {
			t.Errorf("not approved %v, want %v:\n%s", got, unapproved, statement)
		}

		var ids []string
		for a, err := range db.Agents(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			if a.AgentID != nil {
				ids = append(ids, a.AgentID.String())
			}
		}
		if got := slices.DeleteFunc(column(t, s, phrase.Agents(f), "agent_id"), func(id string) bool { return id == "" }); !slices.Equal(got, ids) {
			t.Errorf("agents %v, want %v:\n%s", got, ids, phrase.Agents(f))
		}

		for by, name := range map[audit.TopBy]string{audit.TopAgents: "agent_id", audit.TopSubjects: "subject", audit.TopAssertions: "assertion_hash", audit.TopSources: "source_hash", audit.TopLenses: "lens"} {
			for _, since := range []*uint64{nil, ptr(uint64(1_000_090))} {
				g := f
				g.Limit = 1000
				top, err := db.Top(t.Context(), audit.TopOptions{By: by, Filter: g, NewSince: since})
				if err != nil {
					t.Fatal(err)
				}
				var want []string
				for _, e := range top.Entries {
					if e.Hash != nil {
						want = append(want, e.Hash.String())
					} else {
						want = append(want, *e.Text)
					}
				}
				statement := phrase.Top(by, since, g)
				if got := column(t, s, statement, name); !slices.Equal(got, want) {
					t.Errorf("%s %q, want %q:\n%s", by, got, want, statement)
				}
			}
		}
	}
	for _, source := range []bool{false, true} {
		h := hash("assertion1")
		if source {
			h = hash("source1")
		}
		var want []string
		f := audit.Filter{From: ptr(uint64(1_000_020)), AsOf: ptr(uint64(90))}
		for a, err := range db.Impact(t.Context(), h, audit.ImpactOptions{Source: source, Filter: f}) {
			if err != nil {
				t.Fatal(err)
			}
			for range a.Evidence {
				want = append(want, a.Audit.QueryID.String())
			}
		}
		if got := column(t, s, phrase.Impact(h, source, f), "query_id"); !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%d pieces, want %d:\n%s", len(got), len(want), phrase.Impact(h, source, f))
		}
	}
	for _, o := range []audit.DownstreamOptions{
		{}, {Source: true}, {AnyOrder: true}, {Depth: 2}, {Filter: audit.Filter{AsOf: ptr(uint64(90))}}, {Filter: audit.Filter{Agent: ptr(hash("agent1"))}, Depth: 3},
		{Filter: audit.Filter{From: ptr(uint64(1_000_060)), Unapproved: true}, Source: true, AnyOrder: true},
	} {
		h := hash("assertion1")
		if o.Source {
			h = hash("source1")
		}
		var want []string
		d := db.Downstream(h, o)
		for d.Next(t.Context()) {
			for a, err := range d.Answers(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprint(a.Distance, " ", a.Audit.QueryID))
			}
		}
		if d.Err() != nil {
			t.Fatal(d.Err())
		}
		statement := phrase.Downstream(h, o.Source, o.Depth, o.AnyOrder, o.Filter)
		distances, ids := column(t, s, statement, "distance"), column(t, s, statement, "query_id")
		for i := range ids {
			ids[i] = distances[i] + " " + ids[i]
		}
		if !slices.Equal(ids, want) || len(want) == 0 {
			t.Errorf("%d answers, want %d:\n%s\n%q\n%q", len(ids), len(want), statement, ids, want)
		}
	}
	all := records()
	for _, i := range []int{0, 1, 34} {
		subject, predicate := *all[i].Params.Subject, *all[i].Params.Predicate
		for _, f := range []audit.Filter{
			{}, {Descending: true, Limit: 3}, {From: ptr(uint64(1_000_060))}, {AsOf: ptr(uint64(80))}, {Unapproved: true, From: ptr(uint64(1_000_060))}, {Agent: ptr(hash("agent1")), Descending: true},
		} {
			var want []string
			for a, err := range db.Answers(t.Context(), subject, predicate, f) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, fmt.Sprint(map[bool]int{true: 1}[a.Flipped]))
			}
			statement := phrase.Answers(subject, predicate, f)
			if got := column(t, s, statement, "flipped"); !slices.Equal(got, want) {
				t.Errorf("flipped %v, want %v:\n%s", got, want, statement)
			}
		}
	}
	a, err := all[3].ID()
	if err != nil {
		t.Fatal(err)
	}
	b, err := all[7].ID()
	if err != nil {
		t.Fatal(err)
	}
	if got := column(t, s, phrase.Evidence(a), "assertion_hash"); len(got) != len(all[3].ContributingAssertions) {
		t.Errorf("%d pieces of evidence:\n%s", len(got), phrase.Evidence(a))
	}
	// The page follows the first of the earlier answers, and SQL all of them: it has what the page has, and no record that came later.
	for _, asOf := range []*uint64{nil, ptr(uint64(90))} {
		id, err := all[83].ID()
		if err != nil {
			t.Fatal(err)
		}
		o, err := db.Origins(t.Context(), id, audit.OriginsOptions{AsOf: asOf})
		if err != nil {
			t.Fatal(err)
		}
		statement := phrase.Origins(id, asOf)
		ids, facts := column(t, s, statement, "query_id"), column(t, s, statement, "assertion_hash")
		has := map[string]bool{}
		for i := range ids {
			has[ids[i]+" "+facts[i]] = true
		}
		for _, piece := range o.Pieces {
			if one := piece.Of.String() + " " + piece.AssertionHash.String(); !has[one] {
				t.Errorf("SQL lacks %s:\n%s", one, statement)
			}
		}
		if len(o.Pieces) == 0 {
			t.Error("the record has no evidence")
		}
	}
	if got := column(t, s, phrase.Diff(a, b), "assertion_hash"); len(got) == 0 {
		t.Errorf("no evidence:\n%s", phrase.Diff(a, b))
	}
	raw, err := db.GetRaw(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if got := column(t, s, phrase.Stored(a), "record"); !slices.Equal(got, []string{string(raw)}) {
		t.Errorf("stored as %q, want %q", got, raw)
	}
}
