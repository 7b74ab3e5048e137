package ingest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// A batch is full when either of these is reached. Its records share one sync, and its outcomes are reported after that
// sync.
const (
	BatchRecords = 512
	BatchBytes   = 4 << 20
)

// ErrLineTooLong refuses a line that cannot be a record.
var ErrLineTooLong = fmt.Errorf("longer than %d MiB; a record has at most %d MiB", LongestLine>>20, audit.MaxEncoded>>20)

// A line is one line of input: its record, or the reason why it is refused.
type line struct {
	input  string
	number int
	text   []byte
	q      audit.QueryAudit
	err    error
}

// decoded is a block on its way through the decoders.
type decoded struct {
	block
	lines []line
	held  int64         // how much of ReadAhead it takes
	done  chan struct{} // closed when lines is filled in
}

func (d *decoded) decode() {
	defer close(d.done)
	if d.tooLong {
		return
	}
	number := d.first - 1
	for rest := d.text; len(rest) > 0; {
		number++
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		l := line{input: d.name, number: number, text: rest[:end]}
		rest = rest[end:]
		if len(bytes.Trim(l.text, " \t\r\n")) == 0 {
			continue
		}
		if len(l.text) > LongestLine+1 {
			l.err = ErrLineTooLong
		} else {
			l.q, l.err = audit.ParseAudit(l.text)
		}
		d.lines = append(d.lines, l)
	}
}

// A batch is lines that are stored, and answered, together.
type batch struct {
	lines []*line
	bytes int
}

// add takes a line and reports whether the batch is full.
func (b *batch) add(l *line) bool {
	b.lines = append(b.lines, l)
	b.bytes += len(l.text)
	return len(b.lines) >= BatchRecords || b.bytes >= BatchBytes
}

// store stores the batch, reports the outcome of each line in order, and empties the batch.
func (r *run) store(ctx context.Context) error {
	if len(r.batch.lines) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lines := r.batch.lines
	r.batch = batch{lines: lines[:0]}
	now := r.options.now()
	for _, l := range lines {
		if l.err == nil {
			l.err = r.options.refuse(&l.q, now)
		}
	}
	put := r.db.PutAudits
	if r.options.Strict {
		put = r.db.PutUntilRefused
		if i := slices.IndexFunc(lines, func(l *line) bool { return l.err != nil }); i >= 0 {
			lines = lines[:i+1]
		}
	}
	records := make([]*audit.QueryAudit, 0, len(lines))
	for _, l := range lines {
		if l.err == nil {
			records = append(records, &l.q)
		}
	}
	var results []audit.PutResult
	if len(records) > 0 {
		var err error
		// Storing goes on when the context ends, so that these records get their outcome.
		if results, err = put(context.WithoutCancel(ctx), records); err != nil {
			return err
		}
		if len(results) < len(records) {
			lines = lines[:len(results)] // the last of them is refused, and none before it is
		}
	}
	for i, l := range lines {
		o := Outcome{Input: l.input, Line: l.number, Err: l.err, Pause: i == len(lines)-1}
		if o.Err == nil {
			o.Result, results = results[0], results[1:]
			o.Err = o.Result.Err
		}
		if o.Err == nil {
			o.Record, o.Doubts = &l.q, r.options.doubts(&l.q, now)
		} else {
			o.Text = l.text
		}
		if err := r.report(o); err != nil {
			return err
		}
	}
	return nil
}

// now is the time with which a Check compares timestamps.
func (c *Check) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
