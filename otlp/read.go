package otlp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/auditsql/auditsql/audit/ingest"
)

// A Format is what a file has in it.
type Format string

// The formats.
const (
	OTLP      Format = "otlp"      // requests in JSON or protobuf, and what the console exporters of the SDKs print
	Langfuse  Format = "langfuse"  // observations and traces, as Langfuse exports them
	LangSmith Format = "langsmith" // runs, as LangSmith exports them
)

// Formats are all of them.
var Formats = []Format{OTLP, Langfuse, LangSmith}

// MaxText is how many bytes one JSON text or one protobuf message of a file may have, unpacked.
const MaxText = 256 << 20

// A Part is what was read from a file in one piece: the spans of a JSON text or of a message.
type Part struct {
	Line  int // of a text file, the line at which it begins, from 1; otherwise the number of the message
	Spans []*Span
	Err   error // why it cannot be read. The parts after it can
}

// Read reads a file and calls each for its parts in order. A file that begins as gzip does is decompressed. JSON texts may be one on each
// line, or take many lines. A text that is cut in the middle is a part with an error, and the line after it is read. Protobuf is one
// message, or messages with their length in four bytes before each, as the file exporter of the collector writes them.
//
// An error of Read is that of each, or says why the file cannot be read to its end. Memory is bounded by MaxText.
func Read(in io.Reader, format Format, each func(Part) error) error {
	text, err := ingest.Decompress(in)
	if err != nil {
		return err
	}
	start, err := text.Peek(sniffed)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	if format == OTLP && len(start) > 0 && !looksLikeJSON(string(start)) {
		switch {
		case start[0] == 0x0a: // the tag of the first field. As the first byte of a length it would mean 160 MiB
			return readMessage(text, each)
		case start[0] <= byte(MaxText>>24) && len(start) > 4:
			return readMessages(text, each)
		}
	}
	decode := DecodeJSON
	switch format {
	case Langfuse:
		decode = decodeLangfuse
	case LangSmith:
		decode = decodeLangSmith
	}
	return readTexts(text, decode, each)
}

// sniffed is how many bytes of a file are looked at to find out what it is.
const sniffed = 4 << 10

// looksLikeJSON reports whether a text begins as an object with a member, or as a list. A message in protobuf begins with a line feed,
// and its second byte may be a brace.
func looksLikeJSON(start string) bool {
	s := &scanner{s: strings.TrimPrefix(start, "\ufeff")}
	for s.take('[') {
	}
	if !s.take('{') {
		return strings.HasPrefix(strings.TrimLeft(start, " \t\r\n\ufeff"), "[")
	}
	if s.take('}') {
		return true
	}
	if _, err := s.str(); err != nil {
		return false
	}
	return s.take(':')
}

func readMessage(in io.Reader, each func(Part) error) error {
	message, err := io.ReadAll(io.LimitReader(in, MaxText+1))
	if err != nil {
		return err
	}
	if len(message) > MaxText {
		return fmt.Errorf("a message has more than %d MiB", MaxText>>20)
	}
	spans, err := DecodeProto(message)
	return each(Part{Line: 1, Spans: spans, Err: err})
}

func readMessages(in io.Reader, each func(Part) error) error {
	for n := 1; ; n++ {
		var length [4]byte
		if _, err := io.ReadFull(in, length[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("message %d: its length: %w", n, err)
		}
		size := binary.BigEndian.Uint32(length[:])
		if size > MaxText {
			return fmt.Errorf("message %d: it says that it has %d bytes, and may have %d MiB", n, size, MaxText>>20)
		}
		// The length may be wrong, so no more memory is taken than there are bytes.
		message, err := io.ReadAll(io.LimitReader(in, int64(size)))
		if err == nil && len(message) < int(size) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		spans, err := DecodeProto(message)
		if err := each(Part{Line: n, Spans: spans, Err: err}); err != nil {
			return err
		}
	}
}

// readTexts reads JSON texts.
func readTexts(in *bufio.Reader, decode func(string) ([]*Span, error), each func(Part) error) error {
	var open opened
	var text strings.Builder
	first := 0 // the line at which text begins
	emit := func(err error) error {
		p := Part{Line: first, Err: err}
		if err == nil {
			p.Spans, p.Err = decode(text.String())
		}
		text.Reset()
		open = opened{}
		return each(p)
	}
	for n := 1; ; n++ {
		line, err := readLine(in, MaxText-text.Len())
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", n, err)
		}
		end := err != nil
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if text.Len() > 0 && open.cutBy(line) {
			if err := emit(errCut); err != nil {
				return err
			}
		}
		if text.Len() == 0 {
			if strings.TrimSpace(line) == "" {
				if end {
					return nil
				}
				continue
			}
			first = n
		}
		text.WriteString(line)
		switch open.read(line); {
		case open.broken:
			err = emit(errBroken)
		case open.complete():
			err = emit(nil)
		case end:
			err = emit(errCut)
		default:
			err = nil
		}
		if err != nil || end {
			return err
		}
	}
}

var errBroken = errors.New("a string does not end on its line, so the text was cut there, or is no JSON")

// readLine reads a line with its end.
func readLine(in *bufio.Reader, most int) (string, error) {
	var b strings.Builder
	for {
		piece, err := in.ReadSlice('\n')
		if b.Len()+len(piece) > most {
			return "", fmt.Errorf("one JSON text has more than %d MiB; write a request on each line", MaxText>>20)
		}
		b.Write(piece)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return b.String(), err
		}
	}
}

// opened says which brackets are open in a JSON text of which some lines were read. It reads each byte once, so a text of a million
// lines takes no longer than one line of the same size.
type opened struct {
	brackets []byte
	begun    bool
	broken   bool
	last     byte // that is not blank
}

func (o *opened) read(line string) {
	inside, escape := false, false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case inside:
			switch {
			case escape:
				escape = false
			case c == '\\':
				escape = true
			case c == '"':
				inside = false
			}
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		case c == '"':
			inside = true
		case c == '{' || c == '[':
			if len(o.brackets) < maxJSONDepth+1 {
				o.brackets = append(o.brackets, c)
			}
		case c == '}' || c == ']':
			if len(o.brackets) > 0 {
				o.brackets = o.brackets[:len(o.brackets)-1]
			}
		}
		o.begun, o.last = true, c
	}
	o.broken = inside
}

func (o *opened) complete() bool { return o.begun && len(o.brackets) == 0 }

// cutBy reports whether a line begins a new text, although the text before it has not ended. That text was cut then, for example
// because its writer was killed. In a text that is not cut, no line begins with an object where a member's name should be, and
// none begins with a request unless it is in a list.
func (o *opened) cutBy(line string) bool {
	if !strings.HasPrefix(line, `{"`) || len(o.brackets) == 0 {
		return false
	}
	if o.brackets[len(o.brackets)-1] == '{' && o.last != ':' {
		return true
	}
	for _, key := range []string{`{"resourceSpans"`, `{"resource_spans"`} {
		if strings.HasPrefix(line, key) {
			return len(o.brackets) > 1 || o.brackets[0] != '['
		}
	}
	return false
}

// Sniff says which format a text file has that begins with start, "" if it has none of them. It is for telling users which format to
// name.
func Sniff(start []byte) Format {
	text := string(start)
	if len(text) > 0 && !looksLikeJSON(text) {
		if text[0] == 0x0a && len(text) > 2 || len(text) > 5 && text[0] == 0 && text[4] == 0x0a {
			return sniffProto(text)
		}
		return ""
	}
	s := newScanner(strings.TrimPrefix(text, "\ufeff"))
	for s.take('[') {
	}
	return sniffObject(s)
}

// sniffProto recognizes the beginning of a request: a field 1 with a length, in which another field with a length begins.
func sniffProto(text string) Format {
	if text[0] == 0 {
		text = text[4:]
	}
	_, n := binary.Uvarint([]byte(text[1:]))
	if n <= 0 || len(text) <= 1+n {
		return ""
	}
	if tag := text[1+n]; tag == 0x0a || tag == 0x12 || tag == 0x1a {
		return OTLP
	}
	return ""
}

// sniffObject looks at the names of the members, as far as there is text.
func sniffObject(s *scanner) Format {
	names := map[string]bool{}
	_ = s.object(func(key string) error {
		names[key] = true
		if key == "data" && s.peek() == '[' {
			s.take('[')
			if inner := sniffObject(s); inner != "" {
				names[string(inner)] = true
			}
			return errCut
		}
		return s.skip()
	})
	has := func(any ...string) bool {
		for _, name := range any {
			if names[name] {
				return true
			}
		}
		return false
	}
	switch {
	case has("resourceSpans", "resource_spans", "scopeSpans", "scope_spans"), has("context") && has("name", "parent_id"):
		return OTLP
	case has("run_type"), has("trace_id") && has("dotted_order", "parent_run_id"), has(string(LangSmith)):
		return LangSmith
	case has("traceId") && has("parentObservationId", "observationType", "startTime", "type"), has("observations"), has(string(Langfuse)):
		return Langfuse
	}
	return ""
}
