package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/importing"
	"github.com/auditsql/auditsql/internal/tui"
)

// longestText is how long a policy, a checkpoint or a proof may be.
const longestText = 1 << 20

// readSmall reads a policy, a checkpoint or a proof.
func readSmall(ctx context.Context, name string) ([]byte, error) {
	f, err := openEvidence(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := importing.ReadAll(ctx, f, longestText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// openEvidence opens a file to read. Opening a pipe that has no other end does not keep an interrupt waiting.
func openEvidence(ctx context.Context, name string) (*os.File, error) {
	return importing.Uninterrupted(ctx, func() (*os.File, error) { return os.Open(name) })
}

// record checks one record and its proof.
func (c *checking) record(record, proof string) error {
	r, err := openEvidence(c.ctx, record)
	if err != nil {
		return c.unreadable(string(bundle.OneRecord), record, err)
	}
	defer r.Close()
	p, err := openEvidence(c.ctx, proof)
	if err != nil {
		return c.unreadable(string(bundle.OneRecord), record, err)
	}
	defer p.Close()
	f := bundle.CheckRecord(record, r, p, c.policy)
	return c.add(string(f.Kind), f.Path, f.Verdict, f.Record)
}

// consistency checks two checkpoints of one log.
func (c *checking) consistency(old, newer, proof string) error {
	const kind = "consistency"
	var texts [3][]byte
	for i, name := range []string{old, newer, proof} {
		var err error
		if texts[i], err = readSmall(c.ctx, name); err != nil {
			return c.unreadable(kind, name, err)
		}
	}
	hashes, err := evidence.ParseHashes(texts[2])
	if err != nil {
		return c.unreadable(kind, proof, err)
	}
	return c.add(kind, newer, evidence.VerifyConsistency(texts[0], texts[1], hashes, c.policy), nil)
}

// export checks all records of a log. They are streamed, and hashed on all processors.
func (c *checking) export(export, checkpoint string) error {
	const kind = "export"
	signed, err := readSmall(c.ctx, checkpoint)
	if err != nil {
		return c.unreadable(kind, checkpoint, err)
	}
	in := io.Reader(c.app.in)
	total := int64(-1)
	if export != "-" {
		f, err := openEvidence(c.ctx, export)
		if err != nil {
			return c.unreadable(kind, export, err)
		}
		defer f.Close()
		if about, err := f.Stat(); err == nil && about.Mode().IsRegular() {
			total = about.Size()
		}
		in = f
	}
	bar := c.app.progress("checking", total, true)
	defer bar.End()
	records, err := unpacked(&watched{ctx: c.ctx, in: in, bar: bar})
	if err != nil {
		return c.unreadable(kind, export, err)
	}
	return c.add(kind, export, evidence.VerifyExport(records, signed, c.policy), nil)
}

// watched moves a bar while it is read. It fails once the run ends, also while a read waits for a pipe: then nothing uses
// the bytes that this read may still bring.
type watched struct {
	ctx context.Context
	in  io.Reader
	bar *tui.Progress
	n   int64
}

func (w *watched) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := importing.Uninterrupted(w.ctx, func() (int, error) { return w.in.Read(p) })
	w.n += int64(n)
	w.bar.At(w.n, "checking")
	return n, err
}

// unpacked is what an input has, decompressed if it begins as gzip does.
func unpacked(in io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(in, 256<<10)
	if start, _ := buffered.Peek(2); !bytes.Equal(start, []byte("\x1f\x8b")) {
		return buffered, nil
	}
	return gzip.NewReader(buffered)
}
