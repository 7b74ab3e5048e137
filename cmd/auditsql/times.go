package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	// Zones for --tz also where the system has none.
	_ "time/tzdata"

	"github.com/auditsql/auditsql/audit"
)

// timesHelp is what the help of each command that takes times says about them.
const timesHelp = `Times are RFC 3339 (2026-11-23T10:00:00Z), a date and time of day
(2026-11-23T10:00), a date (2026-11-23), how long ago (90m, 6h, 2d, "6 hours
ago"), now, today, yesterday, or a bare number in the store's unit. They are
in UTC unless they carry an offset or --tz names another zone. --from and --to
are both inclusive; a date is the whole day, so --to 2026-11-23 reaches to its
last instant. A number is never guessed at; what looks like another unit is
told.`

// A span is what an expression of time names, in a store's unit, both ends inclusive. An instant has equal
// ends, or first above last when it falls between two units; a date has its first and its last instant.
type span struct{ first, last uint64 }

// A clock reads times as people write them.
type clock struct {
	now  time.Time
	zone *time.Location
	unit audit.TimeUnit
	note func(format string, args ...any) // tells of a number that may be meant otherwise; nil: nobody wants to know
}

// parse reads an expression of time. Its errors say what would do instead.
func (c clock) parse(s string) (span, error) {
	read, err := c.read(strings.TrimSpace(s))
	if err != nil {
		return span{}, fmt.Errorf("%q is no time: %w", s, err)
	}
	return read, nil
}

func (c clock) read(s string) (span, error) {
	switch strings.ToLower(s) {
	case "":
		return span{}, errors.New("it is empty; write one as 2026-11-23T10:00, 6h or now")
	case "now":
		return c.instant(c.now)
	case "today":
		return c.day(c.now.In(c.zone))
	case "yesterday":
		return c.day(c.now.In(c.zone).AddDate(0, 0, -1))
	}
	if isDigits(s) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n > audit.MaxTimestamp {
			return span{}, errors.New("the number is beyond 2^63-1")
		}
		c.doubt(s, n)
		return span{n, n}, nil
	}
	if ago, ok, err := parseAgo(s); ok {
		if err != nil {
			return span{}, err
		}
		return c.instant(c.now.Add(-ago))
	}
	return c.calendar(s)
}

// doubt tells when a number looks as if it were meant as something else: a time in another unit than the
// store's, a date without its dashes, a year. It is read as what it is all the same.
func (c clock) doubt(s string, n uint64) {
	if c.note == nil {
		return
	}
	if t, ok := c.unit.Time(n); ok && recent(t) {
		return
	}
	if doubt := c.unitDoubt(n); doubt != "" {
		c.note("%s is %s", s, doubt)
		return
	}
	for _, form := range []string{"20060102", "2006"} {
		if t, err := time.Parse(form, s); err == nil && recent(t) {
			c.note("%s is a number here, %s; a date is written %s", s, c.format(n), t.Format(dateForm))
		}
	}
}

// recent reports whether t is a time that somebody is likely to mean.
func recent(t time.Time) bool { return 1990 <= t.Year() && t.Year() <= 2100 }

// unitDoubt says what a timestamp is that looks as if it counted in another unit than the store's, "" if it does not.
func (c clock) unitDoubt(n uint64) string {
	other, ok := c.otherUnit(n)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s, since this store counts %s; in %s it would be %s", c.called(n), c.unit, other, clock{zone: c.zone, unit: other}.format(n))
}

// otherUnit is the unit in which a timestamp would be a recent time, when in the store's it is none.
func (c clock) otherUnit(n uint64) (audit.TimeUnit, bool) {
	if t, ok := c.unit.Time(n); ok && recent(t) {
		return 0, false
	}
	for _, other := range []audit.TimeUnit{audit.Seconds, audit.Milliseconds, audit.Microseconds, audit.Nanoseconds} {
		if t, ok := other.Time(n); ok && recent(t) {
			return other, true
		}
	}
	return 0, false
}

// called is a timestamp as a time in a sentence.
func (c clock) called(n uint64) string {
	if s := c.format(n); !isDigits(s) {
		return s
	}
	return "after the year 9999"
}

// The forms of a date, alone or with a time of day behind a T or a blank, with or without an offset.
const dateForm = "2006-01-02"

var (
	timeForms   = []string{"15:04", "15:04:05"} // fractions of a second are read without being named
	offsetForms = []string{"Z07:00", "Z0700"}
)

func (c clock) calendar(s string) (span, error) {
	if day, err := time.Parse(dateForm, s); err == nil {
		return c.day(day)
	} else if len(s) == len(dateForm) && outOfRange(err) {
		return span{}, errors.New("there is no such day")
	}
	if len(s) <= len(dateForm) || !strings.ContainsRune("Tt ", rune(s[len(dateForm)])) {
		return span{}, errForm(s)
	}
	date, clockTime := s[:len(dateForm)], strings.TrimSpace(s[len(dateForm)+1:])
	impossible := false
	for _, form := range timeForms {
		for _, offset := range offsetForms {
			t, err := time.Parse(dateForm+" "+form+offset, date+" "+strings.ToUpper(clockTime))
			if err == nil {
				return c.instant(t)
			}
			impossible = impossible || outOfRange(err)
		}
		t, err := time.Parse(dateForm+" "+form, date+" "+clockTime)
		if err == nil {
			return c.wallClock(t)
		}
		impossible = impossible || outOfRange(err)
	}
	if impossible {
		return span{}, errors.New("there is no such time")
	}
	return span{}, errForm(s)
}

func outOfRange(err error) bool {
	var e *time.ParseError
	return errors.As(err, &e) && strings.HasSuffix(e.Message, "out of range")
}

// errForm says how it could be written.
func errForm(s string) error {
	if strings.ContainsRune(s, '/') || strings.Count(s, ".") == 2 {
		return errors.New("day and month could be either way round; write 2026-11-23")
	}
	if len(s) <= 8 && strings.ContainsRune(s, ':') {
		return errors.New("the day is missing; write 2026-11-23T10:00")
	}
	return errors.New(`write it as 2026-11-23, 2026-11-23T10:00, 2026-11-23T10:00:00Z, 90m, "6 hours ago", now, today or yesterday`)
}

// wallClock is the instant at which clocks of the zone show what t shows in UTC. When clocks are put back
// they show it twice, when they are put forward never; neither is guessed at.
func (c clock) wallClock(t time.Time) (span, error) {
	const form = "2006-01-02T15:04Z07:00"
	var found []time.Time
	// Offsets are of less than a day, so one before and one after hold whichever are in force around t.
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := t.Add(near).In(c.zone).Zone()
		at := t.Add(-time.Duration(offset) * time.Second).In(c.zone)
		if _, shown := at.Zone(); shown == offset && !slices.ContainsFunc(found, at.Equal) {
			found = append(found, at)
		}
	}
	switch len(found) {
	case 0:
		guess := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), c.zone)
		return span{}, fmt.Errorf("clocks in %s never showed that, they were put forward; write the offset as in %s", c.zone, guess.Format(form))
	case 2:
		slices.SortFunc(found, time.Time.Compare)
		return span{}, fmt.Errorf("clocks in %s showed that twice; write the offset, %s or %s", c.zone, found[0].Format(form), found[1].Format(form))
	}
	return c.instant(found[0])
}

// day is the day that t shows in its own zone, in c.zone, from its first instant to its last.
func (c clock) day(t time.Time) (span, error) {
	first, err := c.instant(startOfDay(t.Year(), t.Month(), t.Day(), c.zone))
	if err != nil {
		return span{}, err
	}
	next, err := c.instant(startOfDay(t.Year(), t.Month(), t.Day()+1, c.zone))
	switch {
	case err != nil:
		return span{first.first, audit.MaxTimestamp}, nil // the last day that there is
	case next.first <= first.first:
		return span{}, fmt.Errorf("that day was left out in %s, which had changed sides of the date line", c.zone)
	}
	return span{first.first, next.first - 1}, nil
}

// startOfDay is the first instant of a day: usually midnight, but some zones put their clocks forward then.
func startOfDay(year int, month time.Month, day int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, 0, 0, 0, 0, zone)
	want := time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Day()
	if t.Day() != want {
		// Midnight does not exist, and time.Date counted from the offset before or after the change. The
		// first instant is the change itself, which ends the offset in force at t.
		if _, end := t.ZoneBounds(); !end.IsZero() {
			return end
		}
	}
	if start, _ := t.ZoneBounds(); start.Equal(t) {
		return t
	}
	// When midnight comes twice, time.Date may have chosen the second.
	if earlier := t.Add(-time.Hour); earlier.In(zone).Day() == want {
		return earlier
	}
	return t
}

// instant is one point in time, in the store's unit.
func (c clock) instant(t time.Time) (span, error) {
	last, ok := c.unit.Timestamp(t)
	if !ok {
		if t.Unix() < 0 {
			return span{}, errors.New("it lies before 1970, where timestamps begin")
		}
		return span{}, fmt.Errorf("it lies beyond what a store in %s can hold", c.unit)
	}
	first := last
	if perUnit := int(uint64(time.Second) / c.unit.PerSecond()); t.Nanosecond()%perUnit != 0 {
		first++
	}
	return span{first, last}, nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// parseAgo reads how long ago something was: 90m, 1h30m, 6 hours ago. It reports false when s does not
// begin as one of these do.
func parseAgo(s string) (time.Duration, bool, error) {
	words, _ := strings.CutSuffix(strings.ToLower(s), " ago")
	digits := len(words) - len(strings.TrimLeft(words, "0123456789."))
	unit := strings.TrimLeft(words[digits:], " ")
	if digits == 0 || unit == "" || unit[0] < 'a' || unit[0] > 'z' {
		return 0, false, nil
	}
	d, err := parseDuration(words)
	return d, true, err
}

// durationUnits are the units that have a fixed length. A day is 24 hours.
var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "millisecond": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// parseDuration reads a length of time: 15m, 1h30m, 6 hours, 2d.
func parseDuration(s string) (time.Duration, error) {
	rest, total := strings.ToLower(strings.TrimSpace(s)), 0.0
	if rest == "0" {
		return 0, nil
	}
	for rest != "" {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789."))]
		rest = strings.TrimLeft(rest[len(number):], " ")
		word := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzµ"))]
		rest = strings.TrimLeft(rest[len(word):], " ,")
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || word == "" {
			return 0, fmt.Errorf("%q is no length of time: write 15m, 6h or 2d", s)
		}
		unit, known := durationUnits[word]
		if !known {
			unit, known = durationUnits[strings.TrimSuffix(word, "s")]
		}
		switch {
		case known:
		case strings.HasPrefix(word, "mo") || strings.HasPrefix(word, "y"):
			return 0, errors.New("months and years have no fixed length; write days, as in 30d")
		default:
			return 0, fmt.Errorf("%q is no unit of time: write 15m, 6h or 2d", word)
		}
		total += n * float64(unit)
	}
	if total > math.MaxInt64/2 {
		return 0, errors.New("that is more than a hundred years")
	}
	return time.Duration(total), nil
}

// A durationFlag is a length of time, with days and weeks besides what Go reads.
type durationFlag struct{ time.Duration }

func (f *durationFlag) String() string {
	if f.Duration == 0 {
		return ""
	}
	return shortDuration(f.Duration)
}

func (f *durationFlag) Type() string { return "duration" }

func (f *durationFlag) Set(s string) (err error) {
	f.Duration, err = parseDuration(s)
	return err
}

// shortDuration writes 15m where Go writes 15m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// zoneOf reads --tz: a name as in Europe/Berlin, an offset as in +02:00, UTC or local.
func zoneOf(name string) (*time.Location, error) {
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

// format writes a timestamp as RFC 3339 with the digits of the store's unit, and one that lies beyond the
// year 9999 as the number it is.
func (c clock) format(timestamp uint64) string {
	t, ok := c.unit.Time(timestamp)
	// East of Greenwich the year 10000, which RFC 3339 cannot say, begins before it does in UTC.
	if t = t.In(c.zone); !ok || t.Year() > 9999 {
		return strconv.FormatUint(timestamp, 10)
	}
	form := "2006-01-02T15:04:05"
	if digits := c.unit.Digits(); digits > 0 {
		form += "." + strings.Repeat("0", digits)
	}
	return t.Format(form + "Z07:00")
}
