package importing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/audit/ingest"
	"github.com/auditsql/auditsql/internal/advice"
	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/tui"
)

// SignalDelay is how long CutShort waits for a signal, which takes less than a millisecond on an idle machine.
const SignalDelay = 100 * time.Millisecond

// CutShort is for an input that has ended in the middle of a record or a line. It returns why the run ends, or nil if it does
// not. Ctrl-C reaches all programs of a pipe at once. The program that writes may end at once, and then the end of the input
// is here before the signal is. So CutShort waits for the signal for a moment.
func CutShort(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(SignalDelay):
		return nil
	}
}

// RefusedRecord adds to the reason why a record is refused the flag with which it is stored, if there is one.
func RefusedRecord(err error) error {
	var future *ingest.FutureError
	if errors.As(err, &future) {
		return fmt.Errorf("%w; --max-future 0 lets it in", err)
	}
	return err
}

// RefusedInput adds to the reason why an input is refused the command that corrects it. name is the file, "-" is
// standard input. Program is the command that reads the lines.
func RefusedInput(err error, name, program string) error {
	argument := ""
	if name != "-" {
		argument = " " + legible.ShellQuote(name)
	}
	var encoding *ingest.EncodingError
	switch {
	case errors.Is(err, ingest.ErrList):
		return advised(err, "jq -c '.[]'%s | %s -", argument, program)
	case errors.As(err, &encoding):
		return advised(err, "iconv -f %s -t UTF-8%s | %s -", encoding.Encoding, argument, program)
	case errors.Is(err, ingest.ErrMore):
		return advised(err, "%s - for more than one record", program)
	}
	return err
}

// doubts count what was odd about the stored records of one input.
type doubts struct {
	input             string
	units, confidence doubt
}

// A doubt is how often something was odd, and where first.
type doubt struct {
	n     int
	first string
}

// add counts what was odd about the record of a line.
func (d *doubts) add(line int, odd []ingest.Doubt) {
	for _, o := range odd {
		kind := &d.units
		if o.Field == ingest.ConfidenceField {
			kind = &d.confidence
		}
		if kind.n++; kind.n == 1 {
			kind.first = fmt.Sprintf("line %d: %s", line, o.Text)
		}
	}
}

// print notes it, once for all records of the input.
func (d *doubts) print(note func(format string, args ...any)) {
	if d.units.n > 0 {
		note("%s: %s to be in another unit, first in %s", d.input, tui.Counted(d.units.n, "timestamp seems", "timestamps seem"), d.units.first)
	}
	if d.confidence.n > 0 {
		note("%s: %s a result_confidence outside of 0 to 1, first in %s", d.input, tui.Counted(d.confidence.n, "record has", "records have"), d.confidence.first)
	}
}

func advised(err error, format string, args ...any) error {
	return &advice.Error{Err: err, Try: fmt.Sprintf(format, args...)}
}
