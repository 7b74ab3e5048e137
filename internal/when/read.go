package when

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// Parse reads an expression of time. Blanks around it do not count. Its errors say how to write a time.
func (c Clock) Parse(s string) (Span, error) {
	span, err := c.parse(strings.TrimSpace(s))
	if err != nil {
		return Span{}, fmt.Errorf("%q is no time: %w", s, err)
	}
	return span, nil
}

func (c Clock) parse(s string) (Span, error) {
	switch strings.ToLower(s) {
	case "":
		return Span{}, errors.New("it is empty; write one as 2026-11-23T10:00, 6h or now")
	case "now":
		return c.instant(c.Now)
	case "today":
		return c.day(c.Now.In(c.Zone))
	case "yesterday":
		return c.day(c.Now.In(c.Zone).AddDate(0, 0, -1))
	}
	if IsNumber(s) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n > audit.MaxTimestamp {
			return Span{}, errors.New("the number is beyond 2^63-1")
		}
		c.noteNumber(s, n)
		return Span{n, n}, nil
	}
	if ago, ok, err := parseAgo(s); ok {
		if err != nil {
			return Span{}, err
		}
		return c.instant(c.Now.Add(-ago))
	}
	return c.calendar(s)
}

// IsNumber reports whether s has the form of a timestamp: decimal digits alone.
func IsNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// A date stands alone or before a time of day, with a T or a blank between them. An offset may follow.
var (
	timeForms   = []string{"15:04", "15:04:05"} // package time reads fractions of a second without a form
	offsetForms = []string{"Z07:00", "Z0700"}
)

func (c Clock) calendar(s string) (Span, error) {
	if day, err := time.Parse(DateForm, s); err == nil {
		return c.day(day)
	} else if len(s) == len(DateForm) && outOfRange(err) {
		return Span{}, errors.New("there is no such day")
	}
	if len(s) <= len(DateForm) || !strings.ContainsRune("Tt ", rune(s[len(DateForm)])) {
		return Span{}, errForm(s)
	}
	date, clockTime := s[:len(DateForm)], strings.TrimSpace(s[len(DateForm)+1:])
	impossible := false
	for _, form := range timeForms {
		for _, offset := range offsetForms {
			t, err := time.Parse(DateForm+" "+form+offset, date+" "+strings.ToUpper(clockTime))
			if err == nil {
				return c.instant(t)
			}
			impossible = impossible || outOfRange(err)
		}
		t, err := time.Parse(DateForm+" "+form, date+" "+clockTime)
		if err == nil {
			return c.wallClock(t)
		}
		impossible = impossible || outOfRange(err)
	}
	if impossible {
		return Span{}, errors.New("there is no such time")
	}
	return Span{}, errForm(s)
}

func outOfRange(err error) bool {
	var e *time.ParseError
	return errors.As(err, &e) && strings.HasSuffix(e.Message, "out of range")
}

// errForm says how a time is written.
func errForm(s string) error {
	if fields := strings.Fields(s); len(fields) > 1 {
		if _, err := ParseZone(fields[len(fields)-1]); err == nil && !strings.Contains(fields[0], "/") && strings.Count(fields[0], ".") < 2 {
			return fmt.Errorf("the zone does not belong here: give it apart, as tz %s, or write its offset, as in 2026-11-23T10:00+01:00", fields[len(fields)-1])
		}
	}
	if strings.ContainsRune(s, '/') || strings.Count(s, ".") == 2 {
		return errors.New("day and month could be either way round; write 2026-11-23")
	}
	if len(s) <= 8 && strings.ContainsRune(s, ':') {
		return errors.New("the day is missing; write 2026-11-23T10:00")
	}
	return errors.New(`write it as 2026-11-23, 2026-11-23T10:00, 2026-11-23T10:00:00Z, 90m, "6 hours ago", now, today or yesterday`)
}

// wallClock is the instant at which clocks in the zone show the date and the time of day that t has in UTC. Clocks
// that are put back show some times twice, clocks that are put forward skip some: both are refused.
func (c Clock) wallClock(t time.Time) (Span, error) {
	const form = "2006-01-02T15:04Z07:00"
	var found []time.Time
	// An offset is less than a day, so a day before and a day after have every offset that may be in force at t.
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := t.Add(near).In(c.Zone).Zone()
		at := t.Add(-time.Duration(offset) * time.Second).In(c.Zone)
		if _, shown := at.Zone(); shown == offset && !slices.ContainsFunc(found, at.Equal) {
			found = append(found, at)
		}
	}
	switch len(found) {
	case 0:
		guess := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), c.Zone)
		return Span{}, fmt.Errorf("clocks in %s never showed that, they were put forward; write the offset as in %s", c.Zone, guess.Format(form))
	case 2:
		slices.SortFunc(found, time.Time.Compare)
		return Span{}, fmt.Errorf("clocks in %s showed that twice; write the offset, %s or %s", c.Zone, found[0].Format(form), found[1].Format(form))
	}
	return c.instant(found[0])
}

// day is the date that t shows, as a day in the clock's zone.
func (c Clock) day(t time.Time) (Span, error) {
	first, err := c.instant(startOfDay(t.Year(), t.Month(), t.Day(), c.Zone))
	if err != nil {
		return Span{}, err
	}
	next, err := c.instant(startOfDay(t.Year(), t.Month(), t.Day()+1, c.Zone))
	switch {
	case err != nil:
		return Span{first.First, audit.MaxTimestamp}, nil // timestamps end within this day
	case next.First <= first.First:
		return Span{}, fmt.Errorf("that day was left out in %s, which had changed sides of the date line", c.Zone)
	}
	return Span{first.First, next.First - 1}, nil
}

// startOfDay is the first instant of a day. That is midnight, unless clocks were put forward or back at midnight.
func startOfDay(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	want := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day()
	if t.Day() != want {
		// Clocks skipped midnight, and time.Date used the offset before or after the change. The first instant of
		// the day is the change itself, which ends the offset in force at t.
		if _, end := t.ZoneBounds(); !end.IsZero() {
			return end
		}
	}
	if start, _ := t.ZoneBounds(); start.Equal(t) {
		return t
	}
	// Where clocks showed midnight twice, time.Date may have chosen the second.
	if earlier := t.Add(-time.Hour); earlier.In(zone).Day() == want {
		return earlier
	}
	return t
}

// instant is one point in time as a span.
func (c Clock) instant(t time.Time) (Span, error) {
	last, ok := c.Unit.Timestamp(t)
	if !ok {
		if t.Unix() < 0 {
			return Span{}, errors.New("it lies before 1970, where timestamps begin")
		}
		return Span{}, fmt.Errorf("it lies beyond what a store in %s can hold", c.Unit)
	}
	first := last
	if perUnit := int(uint64(time.Second) / c.Unit.PerSecond()); t.Nanosecond()%perUnit != 0 {
		first++
	}
	return Span{first, last}, nil
}
