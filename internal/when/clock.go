// Package when reads times as people write them, and writes the timestamps of a store as times.
//
//	clock := when.Clock{Now: time.Now(), Zone: time.UTC, Unit: db.TimeUnit()}
//	span, err := clock.Parse("yesterday")    // its first and its last timestamp
//	clock.Format(span.First)                 // 2026-11-22T00:00:00.000Z
//
// Parse reads RFC 3339, a date, a date and a time of day, how long ago something was ("90m", "6 hours ago"), now,
// today, yesterday, and a timestamp as a number. It guesses nothing: it refuses what has two meanings, and the error
// says how to write a time that has only one. A number is always a timestamp; Clock.Note is called when it looks like
// something else.
//
// A caller decides which end of a span it needs, and how a flag or a parameter is called in errors. Nothing here
// reads the system's clock. The zone database is part of the program, for systems that have none. All functions may
// be called from several goroutines at once, if Note may.
package when

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	// The zone database, for systems that have none.
	_ "time/tzdata"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/audit"
)

// A Clock reads and writes times.
type Clock struct {
	Now  time.Time         // what "now" and "6 hours ago" count from
	Zone *time.Location    // of times without an offset, and of times that are written
	Unit audit.TimeUnit    // of timestamps
	Note func(note string) // is called for a number that looks like something else; may be nil
}

// Apart says how far a timestamp is from another, as in "7 minutes before".
func (c Clock) Apart(t, from uint64) string {
	a, ok := c.Unit.Time(t)
	b, ok2 := c.Unit.Time(from)
	switch {
	case !ok || !ok2:
		return c.Format(t)
	case t == from:
		return "this one"
	case b.Sub(a).Abs() < time.Second && t < from:
		return "just before"
	case b.Sub(a).Abs() < time.Second:
		return "just after"
	}
	return humanize.RelTime(a, b, "before", "after")
}

// DateForm is the layout of a date, for package time.
const DateForm = "2006-01-02"

// Format writes a timestamp as RFC 3339 with as many decimals as the unit has. After the year 9999, where RFC 3339 ends,
// it writes the number itself.
func (c Clock) Format(timestamp uint64) string {
	t, ok := c.Unit.Time(timestamp)
	// East of Greenwich the year 10000 begins earlier than in UTC.
	if t = t.In(c.Zone); !ok || t.Year() > 9999 {
		return strconv.FormatUint(timestamp, 10)
	}
	form := "2006-01-02T15:04:05"
	if digits := c.Unit.Digits(); digits > 0 {
		form += "." + strings.Repeat("0", digits)
	}
	return t.Format(form + "Z07:00")
}

// Phrase writes a timestamp for the middle of a sentence: as Format does, but "after the year 9999" for a number.
func (c Clock) Phrase(timestamp uint64) string {
	if s := c.Format(timestamp); !IsNumber(s) {
		return s
	}
	return "after the year 9999"
}

// OtherUnit returns the unit in which a timestamp would be a time of the years 1990 to 2100. It reports false when the timestamp
// is such a time in the clock's own unit, or in no unit.
func (c Clock) OtherUnit(timestamp uint64) (audit.TimeUnit, bool) {
	if t, ok := c.Unit.Time(timestamp); ok && ofOurTime(t) {
		return 0, false
	}
	for _, other := range []audit.TimeUnit{audit.Seconds, audit.Milliseconds, audit.Microseconds, audit.Nanoseconds} {
		if t, ok := other.Time(timestamp); ok && ofOurTime(t) {
			return other, true
		}
	}
	return 0, false
}

// UnitDoubt describes a timestamp that seems to be in another unit, as in "1970-01-21T18:43:49.152Z, since this
// store counts ms; in s it would be 2026-11-23T10:19:12Z". It returns "" for any other timestamp.
func (c Clock) UnitDoubt(timestamp uint64) string {
	other, ok := c.OtherUnit(timestamp)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s, since this store counts %s; in %s it would be %s", c.Phrase(timestamp), c.Unit, other, c.In(other).Format(timestamp))
}

// In returns the clock for timestamps in another unit.
func (c Clock) In(unit audit.TimeUnit) Clock {
	c.Unit = unit
	return c
}

// noteNumber calls Note for a number that looks as if it were meant as something else: a time in another unit, a date
// without its dashes, a year.
func (c Clock) noteNumber(s string, n uint64) {
	if c.Note == nil {
		return
	}
	if t, ok := c.Unit.Time(n); ok && ofOurTime(t) {
		return
	}
	if doubt := c.UnitDoubt(n); doubt != "" {
		c.Note(s + " is " + doubt)
		return
	}
	for _, form := range []string{"20060102", "2006"} {
		if t, err := time.Parse(form, s); err == nil && ofOurTime(t) {
			c.Note(fmt.Sprintf("%s is a number here, %s; a date is written %s", s, c.Format(n), t.Format(DateForm)))
		}
	}
}

// ofOurTime reports whether somebody is likely to mean t.
func ofOurTime(t time.Time) bool { return 1990 <= t.Year() && t.Year() <= 2100 }

// ParseZone reads a time zone: a name as in Europe/Berlin, an offset as in +02:00, UTC or local. "" is UTC.
func ParseZone(name string) (*time.Location, error) {
	switch strings.ToLower(name) {
	case "", "utc", "z":
		return time.UTC, nil
	case "local":
		return time.Local, nil
	}
	if name[0] == '+' || name[0] == '-' {
		for _, form := range offsetForms {
			if t, err := time.Parse(strings.Replace(form, "Z", "-", 1), name); err == nil {
				_, seconds := t.Zone()
				return time.FixedZone(name, seconds), nil
			}
		}
		return nil, fmt.Errorf("%q is no offset: write +02:00", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%q is no time zone: write Europe/Berlin, +02:00, UTC or local", name)
	}
	return zone, nil
}

// ZoneName is the name of a zone by which ParseZone finds it on any machine. Go calls the zone of this machine Local. The link that the
// system has for it leads to its name; where there is no such link, the name stays Local.
func ZoneName(zone *time.Location) string {
	if zone.String() != "Local" {
		return zone.String()
	}
	target, err := os.Readlink("/etc/localtime")
	if err != nil {
		return "Local"
	}
	return linkedZone(target)
}

// linkedZone is the name of the zone whose file a link leads to.
func linkedZone(target string) string {
	_, name, found := strings.Cut(target, "zoneinfo/")
	if _, err := time.LoadLocation(name); !found || err != nil {
		return "Local"
	}
	return name
}
