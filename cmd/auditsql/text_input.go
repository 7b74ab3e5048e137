package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// openText returns the text of an input: decompressed if it begins as gzip does, and without a byte order mark. An
// input that is not made of lines of JSON in UTF-8 is refused as a whole: each of its lines would be. It waits for as
// little of the input as tells that, which is never a line that has something on it. Errors are an *inputError.
func openText(in io.Reader, name string, lists bool) (io.Reader, error) {
	text, err := unzipped(in)
	if err == nil {
		err = checkText(text, name, lists)
	}
	if err != nil {
		return nil, &inputError{fmt.Errorf("%s: %w", name, err)}
	}
	return text, nil
}

// checkText refuses what is no NDJSON, and skips a byte order mark; with lists a list may be a line.
func checkText(text *bufio.Reader, name string, lists bool) error {
	start, err := peek(text, 2)
	switch {
	case err != nil:
		return err
	case string(start) == "\xff\xfe", string(start) == "\xfe\xff":
		return notUTF8("UTF-16", name)
	case len(start) == 2 && start[0] != 0 && start[1] == 0:
		return notUTF8("UTF-16LE", name)
	case len(start) == 2 && start[0] == 0 && start[1] != 0:
		return notUTF8("UTF-16BE", name)
	case string(start) == byteOrderMark[:2]:
		if start, err = peek(text, len(byteOrderMark)); err != nil {
			return err
		}
		if string(start) == byteOrderMark {
			_, _ = text.Discard(len(byteOrderMark))
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
			return trying(errors.New("it is one JSON list, and has to be a record a line"), "jq -c '.[]'%s | auditsql import -", asArgument(name))
		case !strings.ContainsRune(" \t\r\n", rune(start[n-1])):
			return nil
		}
	}
	return nil
}

const byteOrderMark = "\xef\xbb\xbf"

func notUTF8(encoding, name string) error {
	return trying(fmt.Errorf("the text is %s, and has to be UTF-8", encoding), "iconv -f %s -t UTF-8%s | auditsql import -", encoding, asArgument(name))
}

// asArgument is an input's name after a command; standard input needs none.
func asArgument(name string) string {
	if name == "-" {
		return ""
	}
	return " " + shellQuote(name)
}

// peek is what the next n bytes of a text are, fewer at its end.
func peek(text *bufio.Reader, n int) ([]byte, error) {
	start, err := text.Peek(n)
	if errors.Is(err, io.EOF) || errors.Is(err, bufio.ErrBufferFull) {
		err = nil
	}
	return start, err
}

// unzipped returns what in holds, decompressed if it begins as gzip does. It waits for as little of it as
// tells that.
func unzipped(in io.Reader) (*bufio.Reader, error) {
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

// members reads the members of a gzip file one after the other. Zeros at its end are what tape drives and block
// devices fill it up with; anything else there is an error, since it may be records.
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
