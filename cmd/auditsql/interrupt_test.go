package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/auditsql/auditsql/internal/importing"
)

// endingReader calls ended at the end of the input.
type endingReader struct {
	in    io.Reader
	ended func()
}

func (r endingReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	if err == io.EOF {
		r.ended()
	}
	return n, err
}

// watchedWriter calls written before each write.
type watchedWriter struct {
	io.Writer
	written func()
}

func (w watchedWriter) Write(p []byte) (int, error) {
	w.written()
	return w.Writer.Write(p)
}

// Ctrl-C reaches both programs of a pipe. The first one ends in the middle of a line, and its end is here before the signal
// or at the same time.
func TestAnInputThatIsCutByASignalStoresNoPartOfALine(t *testing.T) {
	t.Parallel()
	line, _ := record(1)
	next, _ := record(2)
	label := strings.Repeat("ab", 32) + "\tplanner"
	for _, c := range []struct {
		args   []string
		input  string
		show   []string // what shows what is stored
		stored int      // of whole lines
	}{
		{[]string{"put"}, next[:len(next)/2], []string{"export"}, 0},
		{[]string{"import", "-", "--ack"}, line + "\n" + next[:len(next)/2], []string{"export"}, 1},
		{[]string{"name", "--import", "-"}, label + "\n" + label[:len(label)-2], []string{"name", "--export"}, 0},
	} {
		for _, after := range []time.Duration{0, importing.SignalDelay / 2} {
			dir := filepath.Join(t.TempDir(), "store")
			if _, said, code := ran(t, "-d", dir, "init"); code != exitDone {
				t.Fatal(said)
			}
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancelCause(t.Context())
				var said bytes.Buffer
				s := testStreams()
				s.err = &said
				s.in = endingReader{strings.NewReader(c.input), func() {
					if after == 0 {
						end(errInterrupted)
						return
					}
					time.AfterFunc(after, func() { end(errInterrupted) })
				}}
				if code := run(ctx, append([]string{"-d", dir}, c.args...), s); code != exitInterrupted || strings.Contains(said.String(), "-:2:") {
					t.Errorf("%s, the signal %s after the end: exit code %d\n%s", c.args, after, code, said.String())
				}
			})
			if out, said, _ := ran(t, append([]string{"-d", dir}, c.show...)...); strings.Count(out, "\n") > c.stored || after > 0 && strings.Count(out, "\n") < c.stored {
				t.Errorf("%s, the signal %s after the end: it stores %q\n%s", c.args, after, out, said)
			}
			// Without a signal a cut record is refused.
			s := testStreams()
			s.in = strings.NewReader(c.input)
			if code := run(t.Context(), append([]string{"-d", dir}, c.args...), s); c.args[0] != "name" && code != exitFailed && code != exitPartly {
				t.Errorf("%s, no signal: exit code %d", c.args, code)
			}
		}
	}
}

// The signal comes when everything that came through the pipe is stored.
func TestAnImportFromAPipeThatIsInterruptedAtItsEndSaysSo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	line, _ := record(1)
	ctx, end := context.WithCancelCause(t.Context())
	var out, said bytes.Buffer
	s := testStreams()
	s.in, s.err = strings.NewReader(line+"\n"), &said
	s.out = watchedWriter{&out, func() { end(errInterrupted) }}
	if code := run(ctx, []string{"-d", dir, "import", "-"}, s); code != exitInterrupted || !strings.Contains(out.String(), "inserted\t1\n") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), said.String())
	}
	if stored, said, code := ran(t, "-d", dir, "export"); code != exitDone || strings.Count(stored, "\n") != 1 {
		t.Errorf("it stores %q, exit code %d\n%s", stored, code, said)
	}
}

// The spans of a trace that has not settled are not stored when the import is interrupted: the agent may come after them, and the
// first record stays.
func TestAnImportOfSpansThatIsInterruptedStoresNoOpenTrace(t *testing.T) {
	t.Parallel()
	const retrieval = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"000000000000000000000000000000b1","spanId":"0000000000000002","parentSpanId":"0000000000000001","name":"kb","startTimeUnixNano":"1795424401000000000","attributes":[{"key":"openinference.span.kind","value":{"stringValue":"RETRIEVER"}}]}]}]}]}` + "\n"
	for _, after := range []time.Duration{0, importing.SignalDelay / 2} {
		dir := filepath.Join(t.TempDir(), "store")
		if _, said, code := ran(t, "-d", dir, "init"); code != exitDone {
			t.Fatal(said)
		}
		synctest.Test(t, func(t *testing.T) {
			ctx, end := context.WithCancelCause(t.Context())
			var said bytes.Buffer
			s := testStreams()
			s.err = &said
			s.in = endingReader{strings.NewReader(retrieval), func() {
				if after == 0 {
					end(errInterrupted)
					return
				}
				time.AfterFunc(after, func() { end(errInterrupted) })
			}}
			if code := run(ctx, []string{"-d", dir, "import", "--format", "otlp", "-"}, s); code != exitInterrupted {
				t.Errorf("the signal %s after the end: exit code %d\n%s", after, code, said.String())
			}
		})
		if out, said, _ := ran(t, "-d", dir, "export"); out != "" {
			t.Errorf("the signal %s after the end: it stores %q\n%s", after, out, said)
		}
		s := testStreams()
		s.in = strings.NewReader(retrieval)
		if code := run(t.Context(), []string{"-d", dir, "import", "--format", "otlp", "-"}, s); code != exitDone {
			t.Errorf("no signal: exit code %d", code)
		}
	}
}
