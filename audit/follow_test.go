package audit_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/sequential"
)

// followed returns the samples that Follow yields from an offset on, up to those that there are.
func followed(t *testing.T, db *audit.DB, after audit.Offset) (recs []audit.TailRecord) {
	t.Helper()
	for rec, err := range db.Follow(t.Context(), after, false) {
		if err != nil {
			t.Fatalf("after %d: record %d: %v", after, len(recs), err)
		}
		recs = append(recs, rec)
	}
	return recs
}

// Whoever follows from any record on gets all that come after it, also those that are in the journal no more, those that SQLite
// does not have yet, and those that come while it reads.
func TestFollowMissesNothing(t *testing.T) {
	t.Parallel()
	const n = 60
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(2000), audit.WithRetention(audit.RetainNone))
	var all []audit.TailRecord
	for part := range 3 { // a checkpoint that finds something new lets the segments before the one before it go
		putSamples(t, db, 10*part, 10*part+10)
		if err := db.AwaitApplied(t.Context()); err != nil {
			t.Fatal(err)
		}
		all = followed(t, db, 0)
		if err := audit.Checkpoint(db); err != nil {
			t.Fatal(err)
		}
	}
	wantTailed(t, all, 0)
	if len(all) != 30 {
		t.Fatalf("%d records", len(all))
	}
	if first, _, err := db.TailRange(t.Context()); err != nil || first <= all[10].Offset {
		t.Fatalf("the journal begins at %d, %v: nothing was trimmed", first, err)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	for _, who := range []*audit.DB{db, reader} {
		for i := range all {
			for _, at := range []audit.Offset{all[i].Offset, all[i].Offset + 1, all[i].Next} {
				want := i + 1
				if at == all[i].Offset {
					want = i
				}
				got := followed(t, who, at)
				wantTailed(t, got, want)
				if len(got) != 30-want {
					t.Fatalf("from %d on: %d records, want %d", at, len(got), 30-want)
				}
			}
		}
	}
	audit.AtRest(db, func() {
		putSamples(t, db, 30, n)
		for _, who := range []*audit.DB{db, reader} {
			got := followed(t, who, 0)
			wantTailed(t, got, 0)
			if len(got) != n {
				t.Fatalf("%d records, want %d", len(got), n)
			}
		}
	})
	// It goes on with what comes.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []audit.TailRecord
	for rec, err := range reader.Follow(ctx, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, rec); len(got) == n {
			putSamples(t, db, n, n+5)
		}
		if len(got) == n+5 {
			cancel()
		}
	}
	wantTailed(t, got, 0)
}

// A receiver that is slow, or away, while the journal is trimmed under it gets every record once.
func TestFollowGoesOnWhereTheJournalWasTrimmedMeanwhile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir, audit.WithSegmentBytes(2000), audit.WithRetention(audit.RetainNone))
	putSamples(t, db, 0, 40)
	var got []audit.TailRecord
	for rec, err := range openDB(t, dir, audit.ReadOnly()).Follow(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, rec); len(got) == 3 {
			for range 3 {
				if err := audit.Checkpoint(db); err != nil {
					t.Fatal(err)
				}
			}
			putSamples(t, db, 40, 50)
		}
	}
	wantTailed(t, got, 0)
	if len(got) != 50 {
		t.Errorf("%d records, want 50", len(got))
	}
}

// The last records that fit are those that a list would end with, whether SQLite has them or not, and Follow goes on after them.
func TestTheLastRecordsThatFit(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	subject := func(i int) string { return fmt.Sprint("subject ", i%3) }
	put := func(from, to int) {
		for i := from; i < to; i++ {
			s := subject(i)
			if _, err := db.PutAudit(t.Context(), &audit.QueryAudit{Timestamp: uint64(1000 - i), Params: audit.QueryParams{Subject: &s}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(0, 20)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	audit.AtRest(db, func() {
		put(20, 27)
		for _, f := range []audit.Filter{{}, {Subject: ptr("subject 1")}, {Subject: ptr("none")}, {SubjectGlob: ptr("*[02]")}} {
			var all []string // in the order of the journal
			for rec, err := range reader.Follow(t.Context(), 0, false) {
				if err != nil {
					t.Fatal(err)
				}
				q, err := audit.ParseAudit(rec.Raw)
				if err != nil {
					t.Fatal(err)
				}
				if f.Matches(&q) {
					all = append(all, string(rec.Raw))
				}
			}
			for n := range 30 {
				newest, err := reader.LastRecords(t.Context(), n, f)
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, rec := range newest.Records {
					got = append(got, string(rec.Raw))
					if again := followed(t, reader, rec.Offset); len(again) == 0 || string(again[0].Raw) != string(rec.Raw) {
						t.Fatalf("%d: following from the offset of a record does not begin with it", rec.Offset)
					}
				}
				if want := all[max(len(all)-n, 0):]; !slices.Equal(got, want) {
					t.Fatalf("the last %d: got\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				if rest := followed(t, reader, newest.Next); len(rest) > 0 {
					t.Fatalf("%d records come again after the last ones", len(rest))
				}
			}
		}
	})
}

// Another process knows of the journal only so far as SQLite has it: what comes after that may not be on disk.
func TestASafeOffsetIsNotAfterWhatSQLiteHas(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	putSamples(t, db, 0, 5)
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	all := followed(t, reader, 0)
	audit.AtRest(db, func() {
		putSamples(t, db, 5, 10)
		safe, err := reader.SyncedOffset(t.Context())
		if err != nil || safe < all[4].Offset || safe > all[4].Next {
			t.Errorf("%d, %v, want what ends at %d", safe, err, all[4].Next)
		}
		wantTailed(t, followed(t, reader, safe), 5)
		own, err := db.SyncedOffset(t.Context())
		if newest := followed(t, db, 0); err != nil || own != newest[9].Next {
			t.Errorf("the writer: %d, %v", own, err)
		}
	})
}

// A check says what a put would say, and stores nothing.
func TestACheckSaysWhatAPutSays(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	db := openDB(t, dir)
	putSamples(t, db, 0, 3)
	conflicting := sample(1)
	conflicting.Timestamp++
	invalid := sample(4)
	invalid.Timestamp = 1 << 63
	records := []*audit.QueryAudit{ptr(sample(0)), &conflicting, ptr(sample(3)), &invalid}
	if err := db.AwaitApplied(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, who := range []*audit.DB{db, openDB(t, dir, audit.ReadOnly())} {
		checked, err := who.CheckAudits(t.Context(), records)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(followed(t, db, 0)); n != 3 {
			t.Fatalf("the store has %d records", n)
		}
		if who != db {
			put, err := db.PutAudits(t.Context(), records)
			if err != nil {
				t.Fatal(err)
			}
			for i := range put {
				if checked[i].ID != put[i].ID || checked[i].Duplicate != put[i].Duplicate || fmt.Sprint(checked[i].Err) != fmt.Sprint(put[i].Err) {
					t.Errorf("record %d: %+v, and the put says %+v", i, checked[i], put[i])
				}
			}
		}
	}
	// What waits for SQLite is known to the writer.
	audit.AtRest(db, func() {
		putSamples(t, db, 5, 6)
		checked, err := db.CheckAudits(t.Context(), []*audit.QueryAudit{ptr(sample(5))})
		if err != nil || !checked[0].Duplicate {
			t.Errorf("%+v, %v", checked, err)
		}
	})
}
