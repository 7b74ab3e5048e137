package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// say prints a line for the parent and then waits to be killed.
func say(text string) error {
	if _, err := os.Stdout.WriteString(text); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return errors.New("nobody has killed it")
}

// runNDJSON writes N records to the file for import.
func runNDJSON(_ context.Context, j job) ([]row, error) {
	f, err := os.Create(j.Input)
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	var raw []byte
	for no := range j.N {
		if raw, err = j.world().record(no).AppendCanonical(raw[:0]); err != nil {
			return nil, err
		}
		out.Write(append(raw, '\n'))
	}
	return nil, errors.Join(out.Flush(), f.Close())
}

// runImport measures the time from a file of NDJSON until every question finds its records. Every store reads the same
// file, parses each line, and loads batches in the order of the file. Each batch is durable before the next one.
func runImport(ctx context.Context, j job) ([]row, error) {
	s, err := j.open()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(j.Input)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := row{Store: j.Store, Workload: "import"}
	p := begin(j.Dir, s)
	n, size, err := importLines(ctx, f, s)
	if err != nil {
		return nil, err
	}
	if d, ok := s.(drainer); ok {
		if err := d.drain(ctx); err != nil {
			return nil, err
		}
	}
	p.end(&r, n, size)
	r.Records = n
	return closed(&r, j, s, p)
}

// parsed is a batch of records on its way from the file to the store.
type parsed struct {
	lines [][]byte
	qs    []*audit.QueryAudit
	err   error
	done  chan struct{} // closed when qs and err are there
}

// importLines loads each line of in. It parses lines on every processor, and loads them in their order.
func importLines(ctx context.Context, in io.Reader, s store) (n int, size int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	work, ordered := make(chan *parsed), make(chan *parsed, workers+1)
	for range workers {
		go func() {
			for b := range work {
				b.parse()
			}
		}()
	}
	var readErr error
	go func() {
		defer close(ordered)
		defer close(work)
		readErr = readBatches(in, func(b *parsed) bool {
			select {
			case ordered <- b:
			case <-ctx.Done():
				return false
			}
			select {
			case work <- b:
			case <-ctx.Done():
				return false
			}
			return true
		})
	}()
	for b := range ordered {
		<-b.done
		if b.err == nil {
			b.err = s.load(ctx, b.qs)
		}
		if b.err != nil {
			return n, size, b.err
		}
		n += len(b.qs)
		for _, line := range b.lines {
			size += int64(len(line))
		}
	}
	return n, size, readErr
}

func readBatches(in io.Reader, send func(*parsed) bool) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<20), audit.MaxEncoded+1)
	b := &parsed{done: make(chan struct{})}
	for lines.Scan() {
		b.lines = append(b.lines, append([]byte(nil), lines.Bytes()...))
		if len(b.lines) == batchRecords {
			if !send(b) {
				return nil
			}
			b = &parsed{done: make(chan struct{})}
		}
	}
	if len(b.lines) > 0 {
		send(b)
	}
	return lines.Err()
}

func (b *parsed) parse() {
	defer close(b.done)
	b.qs = make([]*audit.QueryAudit, len(b.lines))
	for i, line := range b.lines {
		q, err := audit.ParseAudit(line)
		if err != nil {
			b.err = fmt.Errorf("line %d of a batch: %w", i, err)
			return
		}
		b.qs[i] = &q
	}
}
