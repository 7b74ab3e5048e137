package ingest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ingest"
)

func open(t *testing.T) *audit.DB {
	t.Helper()
	db, err := audit.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// line is the line of a record; two with one id and different times are in conflict.
func line(id, timestamp int) string {
	return fmt.Sprintf(`{"query_id":"%064x","timestamp":%d,"params":{},"result_confidence":1}`, id, timestamp)
}

// told writes outcomes down, one a line.
func told(t *testing.T, db *audit.DB, o ingest.Options, inputs ...ingest.Input) []string {
	t.Helper()
	var all []string
	for o, err := range ingest.Lines(t.Context(), db, inputs, o) {
		var failed *ingest.InputError
		switch {
		case err != nil:
			all = append(all, "error "+err.Error())
		case errors.As(o.Err, &failed):
			all = append(all, "input "+failed.Error())
		case o.More:
			all = append(all, fmt.Sprintf("%s:%d part", o.Input, o.Line))
		case o.Err != nil:
			all = append(all, fmt.Sprintf("%s:%d refused, %s", o.Input, o.Line, o.Err))
		case o.Result.Duplicate:
			all = append(all, fmt.Sprintf("%s:%d duplicate", o.Input, o.Line))
		default:
			all = append(all, fmt.Sprintf("%s:%d stored", o.Input, o.Line))
		}
	}
	return all
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d outcomes, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("outcome %d is %q, want %q", i, got[i], want[i])
		}
	}
}

func text(name, text string) ingest.Input {
	return ingest.Input{Name: name, Text: strings.NewReader(text)}
}

func TestOutcomesComeInTheOrderOfTheLines(t *testing.T) {
	t.Parallel()
	db := open(t)
	got := told(t, db, ingest.Options{},
		text("a", line(1, 1)+"\n\nnonsense\n"+line(1, 2)+"\n"+line(2, 2)+"\n"),
		text("b", line(2, 2)+"\r\n"+line(3, 3)))
	want(t, got, "a:1 stored", "a:3 refused", "a:4 refused", "a:5 stored", "b:1 duplicate", "b:2 stored")
	for i := 1; i <= 3; i++ {
		var id audit.QueryID
		id[31] = byte(i)
		if _, err := db.GetRaw(t.Context(), id); err != nil {
			t.Errorf("record %d: %v", i, err)
		}
	}
}

// Nothing after the first refused line is stored, whether the line itself is wrong or the store refuses it.
func TestStrictStoresNothingAfterTheFirstRefusal(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]string{"wrong": "nonsense", "conflict in the batch": line(1, 9), "conflict in the store": line(7, 9)} {
		db := open(t)
		want(t, told(t, db, ingest.Options{}, text("a", line(7, 7))), "a:1 stored")
		got := told(t, db, ingest.Options{Strict: true}, text("a", line(1, 1)+"\n"+bad+"\n"+line(2, 2)), text("b", line(3, 3)))
		want(t, got, "a:1 stored", "a:2 refused")
		n := 0
		for _, err := range db.RawAudits(t.Context(), audit.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 2 {
			t.Errorf("%s: %d records are there, want 2", name, n)
		}
	}
}

// A line too long to be held comes in parts, which are all of its bytes; the lines after it are taken.
func TestALineThatIsTooLongComesInParts(t *testing.T) {
	t.Parallel()
	const long = ingest.LongestLine + 1<<20
	in := io.MultiReader(strings.NewReader(line(1, 1)+"\n"), io.LimitReader(endless('x'), long), strings.NewReader("\n"+line(2, 2)+"\n"))
	bytes, parts := 0, 0
	var after []string
	for o, err := range ingest.Lines(t.Context(), open(t), []ingest.Input{{Name: "a", Text: in}}, ingest.Options{}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case o.Line != 2:
			after = append(after, fmt.Sprintf("%d %v", o.Line, o.Err))
			continue
		}
		bytes, parts = bytes+len(o.Text), parts+1
		if !o.More && !errors.Is(o.Err, ingest.ErrLineTooLong) {
			t.Errorf("the last part says %v", o.Err)
		}
	}
	if bytes != long+1 || parts < 2 {
		t.Errorf("%d bytes in %d parts, want %d", bytes, parts, long+1)
	}
	want(t, after, "1 <nil>", "3 <nil>")
}

// endless is a reader of one character.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

// An input that breaks off is reported after its whole lines, and the next input is read.
func TestAnInputThatFailsDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	broken := io.MultiReader(strings.NewReader(line(1, 1)+"\n"+line(2, 2)[:20]), iotest.ErrReader(errors.New("the cable is out")))
	got := told(t, open(t), ingest.Options{}, ingest.Input{Name: "a", Text: broken}, text("b", "\xff\xfe{"), text("c", "["), text("d", line(3, 3)))
	want(t, got, "a:1 stored", "input a: the cable is out; line 2 is cut off there and was not taken",
		"input b: the text is UTF-16, and has to be UTF-8", "input c: it is one JSON list, and has to be a record a line", "d:1 stored")
}

func TestAListIsALineForWhoeverWaitsForEachAnswer(t *testing.T) {
	t.Parallel()
	got := told(t, open(t), ingest.Options{EachLine: true}, text("a", "[]\n"+line(1, 1)))
	want(t, got, "a:1 refused", "a:2 stored")
}

// Each line is answered before the next one is there.
func TestALineIsAnsweredBeforeTheNextOneComes(t *testing.T) {
	t.Parallel()
	in, feed := io.Pipe()
	defer feed.Close()
	go io.WriteString(feed, line(1, 1)+"\n")
	n := 0
	for o, err := range ingest.Lines(t.Context(), open(t), []ingest.Input{{Name: "a", Text: in}}, ingest.Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; o.Line != n || !o.Pause {
			t.Errorf("outcome %d is of line %d, pause %v", n, o.Line, o.Pause)
		}
		if n == 3 {
			break // the input is still open
		}
		go io.WriteString(feed, line(n+1, n+1)+"\n")
	}
	if n != 3 {
		t.Errorf("%d lines were answered", n)
	}
}

// When the context ends, an input that waits does not keep the run from ending.
func TestTheEndOfTheContextEndsTheLines(t *testing.T) {
	t.Parallel()
	in, feed := io.Pipe()
	defer feed.Close()
	go io.WriteString(feed, line(1, 1)+"\n")
	enough := errors.New("enough")
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	var last error
	for _, err := range ingest.Lines(ctx, open(t), []ingest.Input{{Name: "a", Text: in}}, ingest.Options{}) {
		last = err
		end(enough)
	}
	if !errors.Is(last, enough) {
		t.Errorf("it ended with %v", last)
	}
}

func TestRecordsAreCheckedInTheStoresUnit(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	o := ingest.Options{Check: ingest.Check{Unit: audit.Nanoseconds, Now: func() time.Time { return now }, MaxFuture: ingest.UsualFuture}}
	future, seconds := int(now.Add(25*time.Hour).UnixMilli()), int(now.Unix())
	in := text("a", line(1, future)+"\n"+line(2, seconds)+"\n"+strings.Replace(line(3, 3), `"result_confidence":1`, `"result_confidence":1.5`, 1))
	var refused *ingest.FutureError
	var field *audit.FieldError
	var doubts []string
	for o, err := range ingest.Lines(t.Context(), open(t), []ingest.Input{in}, o) {
		if err != nil {
			t.Fatal(err)
		}
		if o.Line == 1 && (!errors.As(o.Err, &refused) || !errors.As(o.Err, &field) || field.Field != "timestamp" || !errors.Is(o.Err, audit.ErrInvalid)) {
			t.Errorf("a day and an hour from now: %v", o.Err)
		}
		for _, d := range o.Doubts {
			doubts = append(doubts, fmt.Sprintf("%d %s: %s", o.Line, d.Field, d.Text))
		}
	}
	want(t, doubts, fmt.Sprintf("2 timestamp: %d is 1970-01-21T18:43:55.200Z, since this store counts ms; in s it would be 2026-11-23T12:00:00Z", seconds),
		"3 result_confidence: 1.5")
}

func TestOneRecord(t *testing.T) {
	t.Parallel()
	if q, err := ingest.Record([]byte("\xef\xbb\xbf\n" + line(1, 5) + "\n")); err != nil || q.Timestamp != 5 {
		t.Errorf("got %v, %v", q, err)
	}
	var encoding *ingest.EncodingError
	for in, is := range map[string]func(error) bool{
		"[" + line(1, 1) + "]":         func(err error) bool { return errors.Is(err, ingest.ErrList) },
		line(1, 1) + "\n" + line(2, 2): func(err error) bool { return errors.Is(err, ingest.ErrMore) && errors.Is(err, audit.ErrInvalid) },
		"{\x00\"\x00":                  func(err error) bool { return errors.As(err, &encoding) && encoding.Encoding == "UTF-16LE" },
		`{"timestamp":1} {}`:           func(err error) bool { return errors.Is(err, audit.ErrInvalid) && !errors.Is(err, ingest.ErrMore) },
	} {
		if q, err := ingest.Record([]byte(in)); err == nil || !is(err) {
			t.Errorf("%.40q: got %v, %v", in, q, err)
		}
	}
}
