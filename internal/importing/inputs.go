package importing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/otlp"
)

// An Input is a file to import, or standard input.
type Input struct {
	Name string // as in FILE:LINE
	In   io.Reader

	// These are nil for standard input.
	File  *os.File
	About os.FileInfo
}

// Inputs are the inputs of a command, in their order.
type Inputs []Input

// Close closes the files.
func (all Inputs) Close() {
	for _, in := range all {
		if in.File != nil {
			in.File.Close()
		}
	}
}

// Files has what is known of each file, by its name.
func (all Inputs) Files() map[string]os.FileInfo {
	files := map[string]os.FileInfo{}
	for _, in := range all {
		if in.File != nil {
			files[in.Name] = in.About
		}
	}
	return files
}

// Texts returns the inputs for package ingest. What is read of them, before it is decompressed, is added to read.
func (all Inputs) Texts(read *atomic.Int64) []ingest.Input {
	texts := make([]ingest.Input, len(all))
	for i, in := range all {
		texts[i] = ingest.Input{Name: in.Name, Text: Counted{in.In, read}}
	}
	return texts
}

// Counted counts what is read, for a progress bar in another goroutine.
type Counted struct {
	In io.Reader
	N  *atomic.Int64
}

// Read implements io.Reader.
func (c Counted) Read(p []byte) (int, error) {
	n, err := c.In.Read(p)
	c.N.Add(int64(n))
	return n, err
}

// OpenInputs opens all files before anything is stored, so that a misspelt name stops the import at once; - is stdin. It also
// returns the sum of their sizes, -1 if that is unknown. With an error it returns the files that it has opened. Program is the command,
// for advice.
func OpenInputs(ctx context.Context, names []string, stdin io.Reader, program string) (inputs Inputs, total int64, err error) {
	for _, name := range names {
		if name == "-" {
			inputs = append(inputs, Input{Name: "-", In: stdin})
			total = -1
			continue
		}
		f, err := Uninterrupted(ctx, func() (*os.File, error) { return os.Open(name) })
		if err != nil {
			return inputs, 0, err
		}
		inputs = append(inputs, Input{Name: name, In: f, File: f})
		about, err := f.Stat()
		inputs[len(inputs)-1].About = about
		switch {
		case err != nil:
			return inputs, 0, err
		case about.IsDir():
			return inputs, 0, advised(fmt.Errorf("%s is a folder", name), "%s %s/*.ndjson", program, legible.ShellQuote(name))
		case !about.Mode().IsRegular():
			total = -1
		case total >= 0:
			total += about.Size()
		}
	}
	return inputs, total, nil
}

// SniffSpans refuses, with an *advice.Error, a file of spans that is imported as if it had records, and names its format. Nothing is guessed.
func SniffSpans(in Input, program string) error {
	if in.File == nil || !in.About.Mode().IsRegular() {
		return nil
	}
	text, err := ingest.Decompress(io.NewSectionReader(in.File, 0, in.About.Size()))
	if err != nil {
		return nil // the import says why
	}
	start, _ := text.Peek(32 << 10)
	if bytes.HasPrefix(start, []byte("SQLite format 3\x00")) {
		return advice.Usage("auditsql -d FOLDER export, with the folder of that store, and import what it prints", "%s is an SQLite database, and has no records as lines", in.Name)
	}
	if format := otlp.Sniff(start); format != "" {
		return advice.Usage(fmt.Sprintf("%s --format %s %s", program, format, legible.ShellQuote(in.Name)), "%s has spans, and no records", in.Name)
	}
	return nil
}
