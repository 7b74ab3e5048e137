package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// usualFuture is how far in the future a timestamp may lie unless --max-future says otherwise: clocks differ by
// minutes, zones by hours.
const usualFuture = 24 * time.Hour

// addMaxFuture adds the flag of commands that store what clients send.
func (f *durationFlag) addMaxFuture(cmd *cobra.Command) {
	f.Duration = usualFuture
	cmd.Flags().Var(f, "max-future", "how far in the future a timestamp may lie; 0 is no limit")
}

// checkFuture refuses a record whose timestamp lies further in the future than most; 0 lets all in. Such a record
// would be the newest one for as long as the store is there, and most often its unit is a mistake.
func checkFuture(c when.Clock, q *audit.QueryAudit, most time.Duration) error {
	latest, ok := c.Unit.Timestamp(c.Now.Add(most))
	if most == 0 || !ok || q.Timestamp <= latest {
		return nil
	}
	other := ""
	if unit, ok := c.OtherUnit(q.Timestamp); ok {
		other = fmt.Sprintf(" (this store counts %s; in %s it would be %s)", c.Unit, unit, c.In(unit).Format(q.Timestamp))
	}
	return &audit.FieldError{Field: "timestamp", Reason: fmt.Sprintf("%d is %s, more than %s in the future%s; --max-future 0 lets it in",
		q.Timestamp, c.Phrase(q.Timestamp), when.FormatDuration(most), other)}
}

// oddConfidence is a confidence that is outside of 0 to 1, "" if it is not.
func oddConfidence(q *audit.QueryAudit) string {
	if 0 <= q.ResultConfidence && q.ResultConfidence <= 1 {
		return ""
	}
	return tui.Number(q.ResultConfidence).Text
}

// doubts are what was odd about the records of one input that were stored all the same.
type doubts struct {
	input             string
	units, confidence doubt
}

// A doubt is how often something was odd, and where first.
type doubt struct {
	n     int
	first string
}

func (d *doubt) add(line int, what string) {
	if what == "" {
		return
	}
	if d.n++; d.n == 1 {
		d.first = fmt.Sprintf("line %d: %s", line, what)
	}
}

// add looks at a record.
func (d *doubts) add(line int, q *audit.QueryAudit, c when.Clock) {
	if what := c.UnitDoubt(q.Timestamp); what != "" {
		d.units.add(line, fmt.Sprintf("%d is %s", q.Timestamp, what))
	}
	d.confidence.add(line, oddConfidence(q))
}

// tell says it, once for all records.
func (d *doubts) tell(note func(format string, args ...any)) {
	if d.units.n > 0 {
		note("%s: %s to be in another unit, first in %s", d.input, plural(d.units.n, "timestamp seems", "timestamps seem"), d.units.first)
	}
	if d.confidence.n > 0 {
		note("%s: %s a result_confidence outside of 0 to 1, first in %s", d.input, plural(d.confidence.n, "record has", "records have"), d.confidence.first)
	}
}
