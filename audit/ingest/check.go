package ingest

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// UsualFuture is a good MaxFuture: the clocks of machines differ by minutes, and wrong time zones shift a time by hours.
const UsualFuture = 24 * time.Hour

// A Check looks at records before they are stored. It finds values that a store accepts, but that are mistakes most of
// the time.
type Check struct {
	Unit audit.TimeUnit
	Now  func() time.Time // nil: time.Now
	Zone *time.Location   // of times in sentences; nil: UTC

	// MaxFuture is how far after now a timestamp may lie; 0 is no limit. A record beyond it would be the newest for
	// as long as the store is there, and most often its unit is a mistake.
	MaxFuture time.Duration
}

// A FutureError refuses a record that lies more than MaxFuture after now. Its field is the timestamp.
type FutureError struct{ audit.FieldError }

// Unwrap returns the refusal as an *audit.FieldError.
func (e *FutureError) Unwrap() error { return &e.FieldError }

// Refuse returns a *FutureError for a record that lies too far in the future.
func (c *Check) Refuse(q *audit.QueryAudit) error { return c.refuse(q, c.now()) }

func (c *Check) refuse(q *audit.QueryAudit, now time.Time) error {
	latest, ok := c.Unit.Timestamp(now.Add(c.MaxFuture))
	if c.MaxFuture == 0 || !ok || q.Timestamp <= latest {
		return nil
	}
	clock, other := c.clock(now), ""
	if unit, ok := clock.OtherUnit(q.Timestamp); ok {
		other = fmt.Sprintf(" (this store counts %s; in %s it would be %s)", c.Unit, unit, clock.In(unit).Format(q.Timestamp))
	}
	return &FutureError{audit.FieldError{Field: TimestampField, Reason: fmt.Sprintf("%d is %s, more than %s in the future%s",
		q.Timestamp, clock.Phrase(q.Timestamp), when.FormatDuration(c.MaxFuture), other)}}
}

// The fields of a Doubt.
const (
	TimestampField  = "timestamp"         // it seems to be in another unit
	ConfidenceField = "result_confidence" // it is outside of 0 to 1
)

// A Doubt is something odd about a record that is stored all the same.
type Doubt struct {
	Field string
	Text  string // what the timestamp is, and the unit in which it would be a likely time; or the confidence
}

// Doubts says what is odd about a record.
func (c *Check) Doubts(q *audit.QueryAudit) []Doubt { return c.doubts(q, c.now()) }

func (c *Check) doubts(q *audit.QueryAudit, now time.Time) []Doubt {
	var doubts []Doubt
	if what := c.clock(now).UnitDoubt(q.Timestamp); what != "" {
		doubts = append(doubts, Doubt{TimestampField, fmt.Sprintf("%d is %s", q.Timestamp, what)})
	}
	if q.ResultConfidence < 0 || q.ResultConfidence > 1 {
		number, _ := json.Marshal(q.ResultConfidence) // does not fail: a record's confidence is finite
		doubts = append(doubts, Doubt{ConfidenceField, string(number)})
	}
	return doubts
}

func (c *Check) clock(now time.Time) when.Clock {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	return when.Clock{Now: now, Zone: zone, Unit: c.Unit}
}
