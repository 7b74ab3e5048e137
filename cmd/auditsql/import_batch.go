package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/audit"
)

// A batch is lines that are stored, and answered, together.
type batch struct {
	lines []*line
	bytes int
}

// add takes a line and reports whether the batch is full.
func (b *batch) add(l *line) bool {
	b.lines = append(b.lines, l)
	b.bytes += len(l.text)
	return len(b.lines) >= batchRecords || b.bytes >= batchBytes
}

// store stores the batch, reports what became of each line, in order, and empties it.
func (im *importer) store(ctx context.Context) error {
	if len(im.batch.lines) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	lines := im.batch.lines
	im.batch = batch{lines: lines[:0]}
	im.clock.Now = im.a.now()
	for _, l := range lines {
		if l.err == nil {
			l.err = checkFuture(im.clock, &l.q, im.options.future.Duration)
		}
	}
	if im.options.strict {
		var err error
		if lines, err = im.upToFirstBad(ctx, lines); err != nil {
			return err
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
		// Not to be interrupted: what is under way gets its outcome, and then the store is closed.
		if results, err = im.db.PutAudits(context.WithoutCancel(ctx), records); err != nil {
			return err
		}
	}
	for _, l := range lines {
		err := l.err
		var result audit.PutResult
		if err == nil {
			result, results = results[0], results[1:]
			err = result.Err
		}
		if err == nil {
			err = im.tellStored(l, result)
		} else {
			err = im.reject(l, err)
		}
		if err != nil {
			return errors.Join(err, im.answers.Flush())
		}
	}
	return im.answers.Flush()
}

func (im *importer) tellStored(l *line, r audit.PutResult) error {
	im.doubtsOf(l.name).add(l.number, &l.q, im.clock)
	if r.Duplicate {
		im.duplicate++
	} else {
		im.inserted++
	}
	if !im.options.ack {
		return nil
	}
	_, err := im.answers.WriteString(r.ID.String() + "\n")
	return err
}

// doubtsOf are those of the input that is being stored: inputs come one after the other.
func (im *importer) doubtsOf(input string) *doubts {
	if n := len(im.doubts); n > 0 && im.doubts[n-1].input == input {
		return im.doubts[n-1]
	}
	d := &doubts{input: input}
	im.doubts = append(im.doubts, d)
	return d
}

// reject keeps a line that is not stored, and says why.
func (im *importer) reject(l *line, why error) error {
	text := l.text
	if !bytes.HasSuffix(text, []byte{'\n'}) {
		text = append(bytes.Clone(text), '\n')
	}
	if _, err := im.rejects.Write(text); err != nil {
		return err
	}
	return im.tellRejected(l, why)
}

// tellRejected says why a line is not stored: as FILE:LINE: reason, and with --ack in its answer's place.
func (im *importer) tellRejected(l *line, why error) error {
	im.rejected++
	reason := harmless(why.Error())
	im.bar.Say(fmt.Sprintf("%s:%d: %s", harmless(l.name), l.number, reason))
	if im.options.ack {
		if _, err := im.answers.WriteString("!\t" + reason + "\n"); err != nil {
			return err
		}
		if err := im.answers.Flush(); err != nil {
			return err
		}
	}
	if im.options.strict {
		return errStrict
	}
	return nil
}

// upToFirstBad cuts lines behind the first that will be rejected, for --strict. Nobody else writes to the
// store meanwhile, so a record that is not there yet, and not before it in the batch with other bytes,
// cannot conflict.
func (im *importer) upToFirstBad(ctx context.Context, lines []*line) ([]*line, error) {
	before := map[audit.QueryID][]byte{}
	for i, l := range lines {
		if l.err != nil {
			return lines[:i+1], nil
		}
		encoded, err := l.q.Canonical()
		if err != nil {
			return lines[:i+1], nil
		}
		stored, ok := before[l.q.QueryID]
		if !ok {
			stored, err = im.db.GetRaw(ctx, l.q.QueryID)
			if err != nil && !errors.Is(err, audit.ErrNotFound) {
				return nil, err
			}
		}
		if stored != nil && !bytes.Equal(stored, encoded) {
			return lines[:i+1], nil
		}
		before[l.q.QueryID] = encoded
	}
	return lines, nil
}
