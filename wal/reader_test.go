package wal_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/auditsql/auditsql/wal"
)

// otherFS is the operating system as another process has it: readers opened with it do not find the
// writer of this one.
type otherFS struct{ wal.FS }

func other(follow bool) wal.Options { return wal.Options{FS: otherFS{wal.OS}, Follow: follow} }

func TestReadersFollowRotation(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]wal.Options{"same process": {Follow: true}, "other process": other(true)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 500, Preallocate: 256})
			r, err := wal.OpenReader(dir, 0, o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			want := payloads(300, 70)
			go func() {
				for _, p := range want {
					if _, err := j.Append(context.Background(), []byte(p)); err != nil {
						t.Error(err)
					}
				}
			}()
			for i, p := range want {
				rec, err := r.Next(context.Background())
				if err != nil || string(rec.Payload) != p {
					t.Fatalf("record %d: %q, %v", i, rec.Payload, err)
				}
				if r.Offset() != rec.Next {
					t.Fatalf("offset %d, next %d", r.Offset(), rec.Next)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestAFollowerIsToldWhenTheJournalIsClosed(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendOne(t, j, "{}")
	r, err := wal.OpenReader(dir, 0, wal.Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := r.Next(ctx)
		ended <- err
	}()
	j.Close()
	cancel() // a follower that looked only after the close waits for the next writer
	if err := <-ended; !errors.Is(err, wal.ErrClosed) && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestAReaderOfNothingYetWaits(t *testing.T) {
	dir := t.TempDir()
	r, err := wal.OpenReader(dir, 0, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); err != io.EOF {
		t.Fatalf("got %v", err)
	}
	j, _ := open(t, dir, wal.Options{})
	appendOne(t, j, "{}")
	if rec, err := r.Next(context.Background()); err != nil || string(rec.Payload) != "{}" {
		t.Fatalf("%q, %v", rec.Payload, err)
	}
	if _, err := wal.OpenReader(filepath.Join(dir, "nowhere"), 0, wal.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

// A writer that opens a journal makes the file of an empty segment anew.
func TestAReaderFindsAnEmptySegmentMadeAnew(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]wal.Options{"same process": {}, "other process": other(false)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, wal.Options{SegmentBytes: 100})
			r, err := wal.OpenReader(dir, 0, o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if rec, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
				t.Fatalf("in an empty journal: %v, %v", rec, err)
			}
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			if rec, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
				t.Fatalf("in an empty journal that nobody writes: %v, %v", rec, err)
			}
			j, _ = open(t, dir, wal.Options{SegmentBytes: 100})
			want := payloads(20, 30)
			appendBatch(t, j, want)
			for _, p := range want {
				rec, err := r.Next(context.Background())
				if err != nil || string(rec.Payload) != p {
					t.Fatalf("%q, %v; want %q", rec.Payload, err, p)
				}
			}
		})
	}
}

func TestAReaderTellsDamageFromNotYet(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	offs := appendAll(t, j, payloads(100, 2000))
	marked := crash(t, dir)
	edit(t, filepath.Join(marked, firstSegment), flip(int(offs[20])+60))
	next := func(dir string, from wal.Offset) error {
		r, err := wal.OpenReader(dir, from, wal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = r.Next(context.Background())
		return err
	}
	var corrupt *wal.CorruptError
	if err := next(marked, offs[20]); !errors.As(err, &corrupt) || corrupt.Offset != offs[20] {
		t.Fatalf("below a mark: %v", err)
	}
	open := crash(t, dir)
	edit(t, filepath.Join(open, firstSegment), flip(int(offs[99])+60))
	if err := next(open, offs[99]); err != io.EOF {
		t.Fatalf("above the last mark: %v", err)
	}
	if err := next(dir, offs[99]+7); !errors.As(err, &corrupt) {
		t.Fatalf("no record begins here, and the writer in this process has synced it: %v", err)
	}
}

func TestAReaderBehindTheEndIsRewound(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendAll(t, j, payloads(5, 50))
	end := j.End()
	killed := crash(t, dir)
	j.Close()
	for name, dir := range map[string]string{"closed": dir, "killed": killed} {
		for _, from := range []wal.Offset{end + 1, end + 5000, 1 << 40} {
			r, err := wal.OpenReader(dir, from, wal.Options{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // it stays so
				if _, err := r.Next(t.Context()); !errors.Is(err, wal.ErrRewound) {
					t.Errorf("%s: from %d of %d: %v", name, from, end, err)
				}
			}
			r.Close()
		}
	}
	// Read from a file that was cut since.
	r, err := wal.OpenReader(killed, end-90, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(killed, firstSegment), int64(end-90)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(context.Background()); !errors.Is(err, wal.ErrRewound) {
		t.Fatalf("after a cut: %v", err)
	}
}

// The next writer goes on where the log was cut, and its record lies across the reader's offset. Nothing that begins there
// will ever come.
func TestAReaderInsideOfARecordThatReplacedItsOwnIsRewound(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	offs := appendAll(t, j, payloads(3, 50))
	r, err := wal.OpenReader(dir, 0, other(false))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range offs {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Next(t.Context()); err != io.EOF {
		t.Fatal(err)
	}
	closeJournal(t, j)
	if err := os.Truncate(filepath.Join(dir, firstSegment), int64(offs[2])); err != nil {
		t.Fatal(err)
	}
	j, _ = open(t, dir, wal.Options{})
	appendOne(t, j, "{"+strings.Repeat("z", 200)+"}")
	if _, err := r.Next(t.Context()); !errors.Is(err, wal.ErrRewound) {
		t.Fatalf("got %v", err)
	}
}

func TestTrimmingLeavesALogWithoutAHole(t *testing.T) {
	t.Parallel()
	for _, archived := range []bool{false, true} {
		dir := t.TempDir()
		o := wal.Options{SegmentBytes: 500}
		if archived {
			o.Archive = filepath.Join(t.TempDir(), "deep", "archive")
		}
		j, _ := open(t, dir, o)
		want := payloads(40, 60)
		offs := appendAll(t, j, want)
		segs := j.Segments()
		slow, err := wal.OpenReader(dir, 0, other(false))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		if _, err := slow.Next(context.Background()); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(segs[1].Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.RemoveBefore(segs[3].Base + 1); err != nil {
			t.Fatal(err)
		}
		if left := j.Segments(); left[0].Base != segs[3].Base || len(left) != len(segs)-3 {
			t.Fatalf("left: %+v", left)
		}
		if archived {
			kept, err := os.ReadFile(filepath.Join(o.Archive, filepath.Base(segs[1].Path)))
			if err != nil || string(kept) != string(before) {
				t.Fatalf("archive: %v", err)
			}
		}
		// A reader that has not read everything reads the segment that it has open, and then gets the error.
		for err == nil {
			_, err = slow.Next(context.Background())
		}
		var trimmed *wal.TrimmedError
		if !errors.As(err, &trimmed) || trimmed.First != segs[3].Base || !errors.Is(err, wal.ErrTrimmed) {
			t.Fatalf("got %v", err)
		}
		if _, err := wal.OpenReader(dir, 0, wal.Options{}); !errors.Is(err, wal.ErrTrimmed) {
			t.Fatalf("got %v", err)
		}
		if err := j.RemoveBefore(1 << 50); err != nil {
			t.Fatal(err)
		}
		if left := j.Segments(); len(left) != 1 {
			t.Fatalf("the active one goes too: %+v", left)
		}
		appendOne(t, j, "{}")
		j.Close()
		if _, _, err := wal.Open(dir, at(offs[3])); !errors.Is(err, wal.ErrGap) {
			t.Fatalf("a cursor below the beginning: %v", err)
		}
		j, _ = open(t, dir, at(j.Synced()))
		j.Close()
	}
}

func TestCopyIsAJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 3000})
	want := payloads(100, 90)
	appendAll(t, j, want)
	dest := t.TempDir()
	c, err := wal.Copy(context.Background(), dir, dest, other(false))
	if err != nil || c.End != j.End() || c.Segments != len(j.Segments()) {
		t.Fatalf("%+v, %v", c, err)
	}
	if got := readAll(t, dest, 0, wal.Options{}); !slices.Equal(got, want) {
		t.Fatalf("%d records", len(got))
	}
}

func TestVerifyBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 2000, Preallocate: 500})
	ended := make(chan bool)
	go func() {
		defer close(ended)
		for range 3000 { // and not for ever: where Verify is slower, each would find twice what the one before did
			j.Append(context.Background(), []byte("{"+strings.Repeat("z", 100)+"}"))
		}
	}()
	for range 30 {
		for _, o := range []wal.Options{{}, other(false)} {
			rep, err := wal.Verify(dir, o)
			if err != nil || len(rep.Damage) > 0 {
				t.Errorf("%+v, %v", rep, err)
			}
		}
	}
	<-ended
}

// A writer that is faster is not followed: Verify sees what was there when it began, and perhaps what was written over
// the zeros after that.
func TestVerifyEndsBesideAFasterWriter(t *testing.T) {
	for name, o := range map[string]wal.Options{
		"growing": {Preallocate: -1}, "zeros ahead": {Preallocate: 4000}, "rotating": {SegmentBytes: 2000, Preallocate: 500},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, _ := open(t, dir, o)
			add := func(n int) {
				for range n {
					if _, err := j.Append(t.Context(), []byte("{"+strings.Repeat("z", 100)+"}")); err != nil {
						t.Fatal(err)
					}
				}
			}
			add(50)
			began := j.End()
			for _, o := range []wal.Options{{}, other(false)} {
				n := 0
				rep, err := wal.VerifyContext(context.Background(), dir, o, func(wal.Record) error {
					if n++; n > 1000 {
						return errors.New("it goes on for ever")
					}
					add(2)
					return nil
				})
				if err != nil || len(rep.Damage) > 0 || rep.Torn != nil || rep.End < began {
					t.Fatalf("%d records up to %d of %d: %v, %+v", n, rep.End, began, err, rep)
				}
				began = j.End()
			}
		})
	}
}

func TestAnUnknownKindStops(t *testing.T) {
	dir := t.TempDir()
	// A record of kind 0x05 at offset 0, made by changing nothing but what the format says.
	rec := forge(t, 0, []byte{5, 1, 2, 3})
	if err := os.WriteFile(filepath.Join(dir, firstSegment), rec, 0o600); err != nil {
		t.Fatal(err)
	}
	var corrupt *wal.CorruptError
	if _, _, err := wal.Open(dir, wal.Options{}); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "0x05") {
		t.Fatalf("open: %v", err)
	}
	r, err := wal.OpenReader(dir, 0, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(context.Background()); !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "0x05") {
		t.Fatalf("next: %v", err)
	}
	// Fillers are stepped over, and counted.
	rec = forge(t, 0, []byte{2, 0, 0, 0, 0})
	rec = append(rec, forge(t, wal.Offset(len(rec)), []byte("{}"))...)
	if err := os.WriteFile(filepath.Join(dir, firstSegment), rec, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, dir, 0, wal.Options{}); !slices.Equal(got, []string{"{}"}) {
		t.Fatalf("got %q", got)
	}
	if rep, err := wal.Verify(dir, wal.Options{}); err != nil || rep.Fillers != 1 || rep.FillBytes != 45 || len(rep.Damage) > 0 {
		t.Fatalf("%+v, %v", rep, err)
	}
}

// tellingContext reports when somebody is about to wait for it.
type tellingContext struct {
	context.Context
	once    sync.Once
	waiting chan struct{}
}

func (c *tellingContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waiting) })
	return c.Context.Done()
}

// A follower waits while the journal is being opened in its process. When that fails it goes on: it must not
// return that the log is empty, and it finds the writer that comes later.
func TestAFollowerOutlivesAFailedOpen(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendOne(t, j, "{1}")
	j.Close()
	r, err := wal.OpenReader(dir, 0, wal.Options{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	type next struct {
		rec wal.Record
		err error
	}
	got := make(chan next)
	verified := make(chan wal.Report)
	errCursor := errors.New("no cursor")
	ctx := &tellingContext{Context: t.Context(), waiting: make(chan struct{})}
	_, _, err = wal.Open(dir, wal.Options{Cursor: func() (wal.Offset, error) {
		go func() {
			rec, err := r.Next(ctx)
			got <- next{rec, err}
			rec, err = r.Next(ctx)
			got <- next{rec, err}
		}()
		go func() {
			rep, err := wal.Verify(dir, wal.Options{})
			if err != nil {
				t.Error(err)
			}
			verified <- rep
		}()
		<-ctx.waiting
		return 0, errCursor
	}})
	if !errors.Is(err, errCursor) {
		t.Fatal(err)
	}
	if n := <-got; n.err != nil || string(n.rec.Payload) != "{1}" {
		t.Fatalf("after the failed opening: %q, %v", n.rec.Payload, n.err)
	}
	if rep := <-verified; rep.Records != 1 || rep.End != 43 {
		t.Fatalf("after the failed opening: %+v", rep)
	}
	j, _ = open(t, dir, wal.Options{})
	appendOne(t, j, "{2}")
	if n := <-got; n.err != nil || string(n.rec.Payload) != "{2}" {
		t.Fatalf("after the next opening: %q, %v", n.rec.Payload, n.err)
	}
}

// A reader that comes while the journal is being opened waits for that, and does not report an empty log.
func TestWhileTheJournalIsBeingOpenedNobodyIsToldThatItIsEmpty(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{})
	appendAll(t, j, payloads(60, 60))
	j.Close()
	type result struct {
		err error
		rep wal.Report
	}
	got := make(chan result, 2)
	open(t, dir, wal.Options{Cursor: func() (wal.Offset, error) {
		// Both find the journal registered, whose recovery has not begun, and which waits for neither.
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, err := wal.OpenReader(dir, 0, wal.Options{})
		if err != nil {
			return 0, err
		}
		if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		go func() {
			defer r.Close()
			_, err := r.Next(t.Context())
			got <- result{err: err, rep: wal.Report{Records: 60}}
		}()
		go func() {
			rep, err := wal.Verify(dir, wal.Options{})
			got <- result{err, rep}
		}()
		return 0, nil
	}})
	for range 2 {
		if g := <-got; g.err != nil || g.rep.Records != 60 {
			t.Errorf("%+v", g)
		}
	}
}

// A reader that has found no writer in its process reads the file as it is. When one has come meanwhile, that
// may show a record whose sync is still under way.
func TestAReaderSeesNothingUnsyncedWhenAWriterAppearsUnderIt(t *testing.T) {
	dir := t.TempDir()
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, dir, wal.Options{FS: fsys})
	appendOne(t, j, "{}")
	j.Close()
	r, err := wal.OpenReader(dir, 42, wal.Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	entered, leave := make(chan bool), make(chan bool)
	var ticket *wal.Ticket
	fsys.set(func(op, _ string) error {
		if op != "open" { // the reader has looked for a writer, and now opens the segment
			return nil
		}
		fsys.set(nil)
		j, _, err := wal.Open(dir, wal.Options{FS: fsys})
		if err != nil {
			return err
		}
		t.Cleanup(func() { j.Close() })
		entered, leave = holdSync(fsys)
		ticket, err = j.Start(context.Background(), [][]byte{[]byte("{unsynced}")})
		<-entered
		return err
	})
	rec, err := r.Next(t.Context())
	close(leave)
	if err != io.EOF {
		t.Fatalf("while its sync is under way: %q, %v", rec.Payload, err)
	}
	if _, err := ticket.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rec, err := r.Next(t.Context()); err != nil || string(rec.Payload) != "{unsynced}" {
		t.Fatalf("after it: %q, %v", rec.Payload, err)
	}
}

// Close finishes what the journal has accepted, and a follower gets that before it gets the end.
func TestTheLastAcknowledgementsReachFollowersBeforeTheEnd(t *testing.T) {
	dir := t.TempDir()
	fsys := &faultFS{FS: wal.OS}
	j, _ := open(t, dir, wal.Options{FS: fsys})
	entered, leave := holdSync(fsys)
	ticket, err := j.Start(t.Context(), [][]byte{[]byte("{1}")})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	r, err := wal.OpenReader(dir, 0, wal.Options{FS: fsys, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	closed := make(chan error, 1)
	go func() { closed <- j.Close() }()
	for !errors.Is(j.Err(), wal.ErrClosed) {
		runtime.Gosched()
	}
	type outcome struct {
		rec wal.Record
		err error
	}
	followed, waited := make(chan outcome, 1), make(chan error, 1)
	go func() {
		rec, err := r.Next(t.Context())
		followed <- outcome{rec, err}
	}()
	go func() { waited <- j.Wait(t.Context(), 43) }()
	// Both may be asked before or after the sync; neither may say that it is over.
	runtime.Gosched()
	close(leave)
	if o := <-followed; o.err != nil || string(o.rec.Payload) != "{1}" {
		t.Errorf("the follower got %q, %v", o.rec.Payload, o.err)
	}
	if err := <-waited; err != nil {
		t.Errorf("Wait: %v", err)
	}
	if _, err := ticket.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := j.Wait(t.Context(), 44); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("Wait for more: %v", err)
	}
}

// A reader in another process looks for new records ten times a second and more, and the zeros ahead of the
// data are many.
//
// Not in parallel: a reader reads again whenever any journal is opened or closed in its process.
func TestWaitingInAnotherProcessReadsLittle(t *testing.T) {
	const polls = 20
	for _, ahead := range []int64{0, 8 << 20} {
		dir := t.TempDir()
		j, _ := open(t, dir, wal.Options{Preallocate: ahead})
		appendOne(t, j, "{}")
		fsys := &faultFS{FS: wal.OS}
		r, err := wal.OpenReader(dir, 0, wal.Options{FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := r.Next(t.Context()); err != io.EOF { // finds the end of the data
				t.Fatal(err)
			}
			fsys.read.Store(0)
			for range polls {
				if _, err := r.Next(t.Context()); err != io.EOF {
					t.Fatal(err)
				}
			}
			if n := fsys.read.Load(); n > polls*200 {
				t.Errorf("with %d bytes ahead: %d looks at the end of the data read %d bytes", ahead, polls, n)
			}
			fsys.read.Store(0)
			for range polls {
				appendOne(t, j, "{}")
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Next(t.Context()); err != io.EOF {
					t.Fatal(err)
				}
			}
			if n := fsys.read.Load(); n > polls*10_000 {
				t.Errorf("with %d bytes ahead: following %d records read %d bytes", ahead, polls, n)
			}
		}
	}
}

// A follower does not only take short looks at the end, it also scans all zeros now and then: zeros in the place of a
// synced record are damage, and must not be taken for the end for ever. That is so for a record that was lost while the
// follower read those before it, and for the very next one.
//
// Not in parallel, for the same reason.
func TestAWaitingReaderFindsZerosInThePlaceOfRecords(t *testing.T) {
	for _, lost := range []int{0, 50} {
		dir := t.TempDir()
		j, _ := open(t, dir, wal.Options{Preallocate: 4 << 20})
		appendOne(t, j, "{}")
		r, err := wal.OpenReader(dir, 0, other(false))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		next := func() error {
			_, err := r.Next(t.Context())
			return err
		}
		if err := next(); err != nil {
			t.Fatal(err)
		}
		if err := next(); err != io.EOF {
			t.Fatal(err)
		}
		offs := appendAll(t, j, payloads(100, 2000)) // with marks
		if err := overwrite(filepath.Join(dir, firstSegment), int64(offs[lost]), make([]byte, 60)); err != nil {
			t.Fatal(err)
		}
		for range lost {
			if err := next(); err != nil {
				t.Fatal(err)
			}
		}
		var corrupt *wal.CorruptError
		for looks := 0; !errors.As(err, &corrupt); looks++ {
			if err = next(); looks > 100 || err == nil {
				t.Fatalf("record %d is lost: after %d looks: %v", lost, looks, err)
			}
		}
		if corrupt.Offset != offs[lost] {
			t.Fatal(err)
		}
	}
}

// The file's length says nothing when the data ends just where the zeros did, and the next segment begins.
func TestAWaitingReaderFollowsRotationOutOfAFullFile(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, wal.Options{SegmentBytes: 1000})
	r, err := wal.OpenReader(dir, 0, other(false))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, p := range payloads(35, 60) { // 100 bytes each, so that ten fill a segment to the byte
		appendOne(t, j, p)
		if rec, err := r.Next(t.Context()); err != nil || string(rec.Payload) != p {
			t.Fatalf("record %d: %q, %v", i, rec.Payload, err)
		}
		for range 3 {
			if _, err := r.Next(t.Context()); err != io.EOF {
				t.Fatalf("after record %d: %v", i, err)
			}
		}
	}
}
