package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// An InputError says why an input cannot be read, or not to its end.
type InputError struct {
	Input string
	Err   error
}

// Error implements error.
func (e *InputError) Error() string { return e.Input + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// ErrList refuses text that is one JSON list.
var ErrList = errors.New("it is one JSON list, and has to be a record a line")

// An EncodingError refuses text that is no UTF-8.
type EncodingError struct {
	Encoding string // UTF-16, UTF-16LE or UTF-16BE, as iconv calls it
}

// Error implements error.
func (e *EncodingError) Error() string {
	return "the text is " + e.Encoding + ", and has to be UTF-8"
}

// ErrMore says that text which should be one record has more in it.
var ErrMore = errors.New("there is more than one record")

// Record reads the one record that a text holds. A byte order mark before it is skipped. Its errors are ErrList,
// *EncodingError, ErrMore and those of audit.ParseAudit.
func Record(text []byte) (*audit.QueryAudit, error) {
	start := bufio.NewReader(bytes.NewReader(text))
	if err := checkText(start, false); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(start)
	if err != nil {
		return nil, err
	}
	q, err := audit.ParseAudit(text)
	if err != nil {
		if hasMore(text) {
			err = fmt.Errorf("%w: %w", ErrMore, err)
		}
		return nil, err
	}
	return &q, nil
}

// Cut reports whether a text ends in the middle of a JSON value. Then whoever wrote it has stopped early.
func Cut(text []byte) bool {
	var value json.RawMessage
	return errors.Is(json.NewDecoder(bytes.NewReader(text)).Decode(&value), io.ErrUnexpectedEOF)
}

// hasMore reports whether a text begins with a record and goes on after it.
func hasMore(text []byte) bool {
	var first json.RawMessage
	if json.NewDecoder(bytes.NewReader(text)).Decode(&first) != nil {
		return false
	}
	_, err := audit.ParseAudit(first)
	return err == nil
}

// openText returns the text of an input: decompressed if it begins as gzip does, and without a byte order mark. An
// input that is not made of lines of JSON in UTF-8 is refused as a whole, since each of its lines would be. It reads no
// more of the input than it needs for that, and so never waits for a second line. Errors are an *InputError.
func openText(in io.Reader, name string, lists bool) (io.Reader, error) {
	text, err := Decompress(in)
	if err == nil {
		err = checkText(text, lists)
	}
	if err != nil {
		return nil, &InputError{name, err}
	}
	return text, nil
}

// checkText refuses what cannot be lines of JSON in UTF-8, and skips a byte order mark. Without lists it also refuses
// text that begins with a list.
func checkText(text *bufio.Reader, lists bool) error {
	start, err := peek(text, 2)
	switch {
	case err != nil:
		return err
	case string(start) == "\xff\xfe", string(start) == "\xfe\xff":
		return &EncodingError{"UTF-16"}
	case len(start) == 2 && start[0] != 0 && start[1] == 0:
		return &EncodingError{"UTF-16LE"}
	case len(start) == 2 && start[0] == 0 && start[1] != 0:
		return &EncodingError{"UTF-16BE"}
	case string(start) == ByteOrderMark[:2]:
		if start, err = peek(text, len(ByteOrderMark)); err != nil {
			return err
		}
		if string(start) == ByteOrderMark {
			_, _ = text.Discard(len(ByteOrderMark))
		}
	}
	for n := 1; !lists; n++ {
		start, err := peek(text, n)
		switch {
		case err != nil:
			return err
		case len(start) < n:
			return nil // it has ended, or begins with more blanks than anybody writes
		case start[n-1] == '[':
			return ErrList
		case !strings.ContainsRune(" \t\r\n", rune(start[n-1])):
			return nil
		}
	}
	return nil
}

// ByteOrderMark may stand before a text. It is no part of the text.
const ByteOrderMark = "\xef\xbb\xbf"

// peek returns the next n bytes of a text without taking them, fewer at its end.
func peek(text *bufio.Reader, n int) ([]byte, error) {
	start, err := text.Peek(n)
	if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return start, err
}

// Decompress returns what in holds, decompressed if it begins as gzip does. It reads no more of it than it needs for that.
func Decompress(in io.Reader) (*bufio.Reader, error) {
	buffered := bufio.NewReaderSize(in, readSize)
	for n := range len(gzipMagic) {
		start, err := peek(buffered, n+1)
		if err != nil {
			return nil, err
		}
		if len(start) <= n || start[n] != gzipMagic[n] {
			return buffered, nil
		}
	}
	z, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return bufio.NewReaderSize(&members{buffered, z}, readSize), nil
}

const gzipMagic = "\x1f\x8b"

// members reads the members of a gzip file one after the other. Zeros after them are allowed: tape drives and block
// devices fill up a file with them. Anything else there is an error, since it may be records.
type members struct {
	in *bufio.Reader
	z  *gzip.Reader
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.z.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
		if err := m.next(); err != nil {
			return 0, err
		}
	}
}

// next goes to the next member; io.EOF says that there is none.
func (m *members) next() error {
	for {
		start, err := peek(m.in, 1)
		switch {
		case err != nil:
			return err
		case len(start) == 0:
			return io.EOF
		case start[0] == 0:
			_, _ = m.in.Discard(1)
			continue
		}
		if start, err = peek(m.in, len(gzipMagic)); err != nil {
			return err
		}
		if string(start) != gzipMagic {
			return errors.New("something follows the gzip data that is neither gzip nor zeros")
		}
		err = m.z.Reset(m.in)
		m.z.Multistream(false)
		return err
	}
}
