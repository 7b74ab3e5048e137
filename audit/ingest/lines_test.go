package ingest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// longest is how long a line may be in these tests.
const longest = 4 * readSize

// collect reads everything, and puts together what was handed out: each line as "number:text", a line that
// is too long as "number:too long, n bytes".
func collect(in io.Reader) ([]string, error) {
	var got []string
	long := 0
	err := blocks(in, "f", longest, func(b block) error {
		if b.tooLong {
			if b.begins {
				long = 0
			}
			long += len(b.text)
			if b.ends {
				got = append(got, fmt.Sprintf("%d:too long, %d bytes", b.first, long))
			}
			return nil
		}
		for i, line := range bytes.SplitAfter(b.text, []byte{'\n'}) {
			if len(line) > 0 {
				got = append(got, fmt.Sprintf("%d:%s", b.first+i, line))
			}
		}
		return nil
	})
	return got, err
}

func TestBlocksAreTheLinesOfTheInput(t *testing.T) {
	t.Parallel()
	const input = "one\n\n three \r\nfour"
	want := []string{"1:one\n", "2:\n", "3: three \r\n", "4:four"}
	for name, in := range map[string]io.Reader{
		"at once":       strings.NewReader(input),
		"byte by byte":  iotest.OneByteReader(strings.NewReader(input)),
		"data with EOF": iotest.DataErrReader(strings.NewReader(input)),
	} {
		got, err := collect(in)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestBlocksOfLongLines(t *testing.T) {
	t.Parallel()
	// What a single read completes is not cut, however long; that is up to whoever takes the lines.
	long := strings.Repeat("x", longest+2*readSize)
	got, err := collect(strings.NewReader("a\n" + long + "\nb\n" + long[:longest] + "\n" + long))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 5 || got[0] != "1:a\n" || got[2] != "3:b\n" || len(got[3]) != len("4:\n")+longest {
		t.Fatalf("got %d lines", len(got))
	}
	for i, want := range map[int]string{
		1: fmt.Sprintf("2:too long, %d bytes", len(long)+1),
		4: fmt.Sprintf("5:too long, %d bytes", len(long)),
	} {
		if got[i] != want {
			t.Errorf("line %d: got %.40q, want %q", i+1, got[i], want)
		}
	}
}

// A block comes as soon as its last line is whole, before more is read.
func TestBlocksDoNotWaitForMore(t *testing.T) {
	t.Parallel()
	in, feed := io.Pipe()
	handed := make(chan string)
	go func() {
		_ = blocks(in, "f", longest, func(b block) error {
			handed <- string(b.text)
			return nil
		})
		close(handed)
	}()
	for _, step := range []struct{ write, want string }{{"one\n", "one\n"}, {"two\nth", "two\n"}, {"ree\n", "three\n"}} {
		if _, err := feed.Write([]byte(step.write)); err != nil {
			t.Fatal(err)
		}
		if got := <-handed; got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
	}
	feed.Close()
	for range handed {
		t.Error("handed out more than was written")
	}
}

func TestAnInputThatBreaksOffIsNamed(t *testing.T) {
	t.Parallel()
	broken := errors.New("the cable is out")
	for _, test := range []struct{ input, want string }{
		{"one\ntwo\n", "f: the cable is out, after line 2"},
		{"one\ntw", "f: the cable is out; line 2 is cut off there and was not taken"},
	} {
		got, err := collect(io.MultiReader(strings.NewReader(test.input), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || err.Error() != test.want {
			t.Errorf("got %v, want %s", err, test.want)
		}
		if len(got) == 0 || got[0] != "1:one\n" {
			t.Errorf("got %q: the line before is missing", got)
		}
	}
}

func TestGzipIsFoundByContent(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	for _, member := range []string{"one\n", "two\n"} { // gzip files may be joined
		w := gzip.NewWriter(&zipped)
		_, _ = w.Write([]byte(member))
		_ = w.Close()
	}
	for name, test := range map[string]struct{ in, want string }{
		"gzip":              {zipped.String(), "one\ntwo\n"},
		"plain":             {"one\n", "one\n"},
		"empty":             {"", ""},
		"one byte of magic": {"\x1f", "\x1f"},
		"not quite":         {"\x1fone\n", "\x1fone\n"},
	} {
		in, err := Decompress(iotest.OneByteReader(strings.NewReader(test.in)))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := io.ReadAll(in); err != nil || string(got) != test.want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := Decompress(strings.NewReader("\x1f\x8bno gzip")); err == nil {
		t.Error("broken gzip was taken")
	}
}
