package when

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// Whatever is taken for a time lies where a store can hold it, is the same with blanks around it, and is read
// back as itself in the form in which times are shown. RFC 3339 is read as package time reads it.
func FuzzTime(f *testing.F) {
	for i, s := range []string{
		"2026-11-23T10:00:00.125Z", "2026-11-23T10:00:00+0100", "2026-11-23t10:00-05:00", "2026-11-23 10:00:05.5", "2026-11-23",
		"2026-10-25T02:30", "2026-03-29T02:30", "2025-04-25", "NOW", "today", "yesterday", "90m", "1h30m", "1.5h", "1 hour, 30 minutes ago",
		"1e9h", "9223372036854775807", "9223372036854775808", "1969-12-31", "9999-12-31T23:59:59.999999999Z", "2554-07-21T23:34:33.709551615Z",
		"0001-01-01", "2016-12-31T23:59:60Z", "23.11.2026", "10:00", "2 months ago", "-6h", "٣h", "0000000000000000000001",
	} {
		f.Add(s, byte(i), byte(i))
	}
	zones := []string{"", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "+14:00", "-12:00"}
	units := []audit.TimeUnit{audit.Milliseconds, audit.Seconds, audit.Microseconds, audit.Nanoseconds}
	f.Fuzz(func(t *testing.T, s string, zoneAt, unitAt byte) {
		c := Clock{Now: noon, Zone: zone(t, zones[int(zoneAt)%len(zones)]), Unit: units[int(unitAt)%len(units)]}
		got, err := c.Parse(s)
		if around, again := c.Parse(" " + s + "\t"); around != got || (err == nil) != (again == nil) {
			t.Errorf("%q is read as %v, %v, and with blanks around it as %v, %v", s, got, err, around, again)
		}
		if at, refused := time.Parse(time.RFC3339Nano, s); refused == nil {
			want, ok := c.Unit.Timestamp(at)
			if (err == nil) != ok || ok && got.Last != want {
				t.Errorf("%q is read as %v, %v, want %d, %v", s, got, err, want, ok)
			}
		}
		if err != nil {
			if !strings.Contains(err.Error(), "is no time: ") || got != (Span{}) {
				t.Errorf("%q: %v, %v", s, got, err)
			}
			return
		}
		if got.First > got.Last && got.First != got.Last+1 || max(got.First, got.Last) > audit.MaxTimestamp+1 {
			t.Errorf("%q is read as %v", s, got)
		}
		for _, at := range []uint64{got.First, got.Last} {
			// Beyond the year 9999 it is shown as a number, and read as one.
			if again, err := c.Parse(c.Format(at)); at <= audit.MaxTimestamp && (err != nil || again != (Span{at, at})) {
				t.Errorf("%q is read as %v, shown as %s, and that read as %v, %v", s, got, c.Format(at), again, err)
			}
		}
	})
}

// A length of time is never negative, and is read back from the form in which it is shown.
func FuzzDuration(f *testing.F) {
	for _, s := range []string{"15m", "0", "250ms", "2 days", "1d12h", "10S", "1 hour, 5 min", "1.5w", "106751d", "53375.99d", "1e9h", "1.2.3h", "1h-5m",
		"0.000001ms", "1\u00b5", strings.Repeat("9", 400) + "h", ".h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			if d != 0 {
				t.Errorf("%q: %v, %v", s, d, err)
			}
			return
		}
		if d < 0 || d > math.MaxInt64/2 {
			t.Errorf("%q is %v", s, d)
		}
		// Days and weeks are shown in hours, and less than a millisecond is not asked for.
		if d = d.Truncate(time.Millisecond); d >= time.Second {
			if again, err := ParseDuration(FormatDuration(d)); err != nil || (again-d).Abs() > time.Millisecond {
				t.Errorf("%q is %v, shown as %s, and that read as %v, %v", s, d, FormatDuration(d), again, err)
			}
		}
	})
}
