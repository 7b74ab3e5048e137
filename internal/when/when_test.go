package when

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// noon is when the tests take place: a Monday.
var noon = time.Date(2026, 11, 23, 12, 30, 15, 250e6, time.UTC)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestTimesAreReadAsPeopleWriteThem(t *testing.T) {
	for _, test := range []struct {
		in, zone    string
		first, last string // RFC 3339; last is empty for an instant
	}{
		{in: "2026-11-23T10:00:00Z", first: "2026-11-23T10:00:00Z"},
		{in: "2026-11-23T10:00:00.125Z", first: "2026-11-23T10:00:00.125Z"},
		{in: "2026-11-23T10:00:00+01:00", first: "2026-11-23T09:00:00Z"},
		{in: "2026-11-23T10:00:00+0100", first: "2026-11-23T09:00:00Z"},
		{in: "2026-11-23T10:00-05:00", zone: "Europe/Berlin", first: "2026-11-23T15:00:00Z"},
		{in: "2026-11-23t10:00:00z", first: "2026-11-23T10:00:00Z"},
		{in: "2026-11-23T10:00", first: "2026-11-23T10:00:00Z"},
		{in: "2026-11-23 10:00", first: "2026-11-23T10:00:00Z"},
		{in: "2026-11-23 10:00:05.5", first: "2026-11-23T10:00:05.5Z"},
		{in: "2026-11-23T10:00", zone: "Europe/Berlin", first: "2026-11-23T09:00:00Z"},
		{in: "2026-11-23T10:00", zone: "+05:30", first: "2026-11-23T04:30:00Z"},
		{in: "2026-11-23", first: "2026-11-23T00:00:00Z", last: "2026-11-23T23:59:59.999Z"},
		{in: "2026-11-23", zone: "America/New_York", first: "2026-11-23T05:00:00Z", last: "2026-11-24T04:59:59.999Z"},
		{in: "2024-02-29", first: "2024-02-29T00:00:00Z", last: "2024-02-29T23:59:59.999Z"},
		// Days on which clocks change have 23 and 25 hours.
		{in: "2026-03-29", zone: "Europe/Berlin", first: "2026-03-28T23:00:00Z", last: "2026-03-29T21:59:59.999Z"},
		{in: "2026-10-25", zone: "Europe/Berlin", first: "2026-10-24T22:00:00Z", last: "2026-10-25T22:59:59.999Z"},
		// Here clocks go from 23:59 to 01:00, and from 24:00 back to 23:00.
		{in: "2025-04-25", zone: "Africa/Cairo", first: "2025-04-24T22:00:00Z", last: "2025-04-25T20:59:59.999Z"},
		{in: "2025-10-30", zone: "Africa/Cairo", first: "2025-10-29T21:00:00Z", last: "2025-10-30T21:59:59.999Z"},
		{in: "2024-11-03", zone: "America/Havana", first: "2024-11-03T04:00:00Z", last: "2024-11-04T04:59:59.999Z"},
		{in: "now", first: "2026-11-23T12:30:15.25Z"},
		{in: "NOW", first: "2026-11-23T12:30:15.25Z"},
		{in: "today", first: "2026-11-23T00:00:00Z", last: "2026-11-23T23:59:59.999Z"},
		{in: "today", zone: "Pacific/Auckland", first: "2026-11-23T11:00:00Z", last: "2026-11-24T10:59:59.999Z"},
		{in: "yesterday", first: "2026-11-22T00:00:00Z", last: "2026-11-22T23:59:59.999Z"},
		{in: "90m", first: "2026-11-23T11:00:15.25Z"},
		{in: "6h", first: "2026-11-23T06:30:15.25Z"},
		{in: "1h30m", first: "2026-11-23T11:00:15.25Z"},
		{in: "2d", first: "2026-11-21T12:30:15.25Z"},
		{in: "1.5h", first: "2026-11-23T11:00:15.25Z"},
		{in: "6 hours ago", first: "2026-11-23T06:30:15.25Z"},
		{in: "1 day ago", first: "2026-11-22T12:30:15.25Z"},
		{in: "2 weeks ago", first: "2026-11-09T12:30:15.25Z"},
		{in: "1 hour 30 minutes ago", first: "2026-11-23T11:00:15.25Z"},
		{in: " 30 sec ago ", first: "2026-11-23T12:29:45.25Z"},
		// Changes of half an hour, of three quarters of one, and of a whole day.
		{in: "2026-04-05T02:15", zone: "Australia/Lord_Howe", first: "2026-04-04T15:45:00Z"},
		{in: "2026-04-05T01:15", zone: "Australia/Lord_Howe", first: "2026-04-04T14:15:00Z"},
		{in: "2011-12-31T10:00", zone: "Pacific/Apia", first: "2011-12-30T20:00:00Z"},
		{in: "2011-12-29", zone: "Pacific/Apia", first: "2011-12-29T10:00:00Z", last: "2011-12-30T09:59:59.999Z"},
		{in: "1972-01-07T00:50", zone: "Africa/Monrovia", first: "1972-01-07T00:50:00Z"},
		{in: "1000", first: "1970-01-01T00:00:01Z"},
		{in: "0", first: "1970-01-01T00:00:00Z"},
	} {
		t.Run(strings.TrimSpace(test.in+" "+test.zone), func(t *testing.T) {
			c := Clock{Now: noon, Zone: zone(t, test.zone), Unit: audit.Milliseconds}
			got, err := c.Parse(test.in)
			if err != nil {
				t.Fatal(err)
			}
			utc := Clock{Zone: time.UTC}
			if test.last == "" {
				test.last = test.first
			}
			first, last := milliseconds(t, test.first), milliseconds(t, test.last)
			if got.First != first || got.Last != last {
				t.Errorf("got %s to %s, want %s to %s", utc.Format(got.First), utc.Format(got.Last), test.first, test.last)
			}
		})
	}
}

func milliseconds(t *testing.T, s string) uint64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(at.UnixMilli())
}

func TestTimesThatNameNoneAreRefused(t *testing.T) {
	for _, test := range []struct{ in, zone, want string }{
		{in: "", want: "empty"},
		{in: "2026-02-30", want: "no such day"},
		{in: "2026-13-01", want: "no such day"},
		{in: "2026-11-23T25:00", want: "no such time"},
		{in: "2026-11-23T10:61", want: "no such time"},
		{in: "2026-02-30T10:00", want: "no such time"},
		{in: "11/23/2026", want: "write 2026-11-23"},
		{in: "23.11.2026", want: "write 2026-11-23"},
		{in: "10:00", want: "the day is missing"},
		{in: "2026-11", want: "write it as"},
		{in: "tomorrow", want: "write it as"},
		{in: "-6h", want: "write it as"},
		{in: "6 parsecs ago", want: "no unit of time"},
		{in: "2 months ago", want: "30d"},
		{in: "1y", want: "30d"},
		{in: "1.2.3h", want: "no length of time"},
		{in: "99999999999999999999", want: "2^63-1"},
		{in: "1969-12-31", want: "before 1970"},
		{in: "25000d", want: "before 1970"},
		{in: "9999999999999h", want: "hundred years"},
		{in: "1h30", want: "no length of time"},
		{in: "6h 2026-11-23", want: "no length of time"},
		{in: "-1", want: "write it as"},
		{in: "+6h", want: "write it as"},
		{in: "1795429152.5", want: "write it as"},
		{in: "12026-11-23", want: "write it as"},
		{in: "12026-11-23T10:00:00Z", want: "write it as"},
		{in: "2026-11-23T10", want: "write it as"},
		{in: "2026-11-23T24:00", want: "no such time"},
		{in: "2026-11-23T23:59:60", want: "no such time"},
		{in: "2026-11-23T10:00:00+25:00", want: "no such time"},
		{in: "2026-02-29", want: "no such day"},
		{in: "2026-1-2", want: "write it as"},
		{in: "20261123T100000Z", want: "no unit of time"},
		{in: "2026-11-23T10:00\x00", want: "write it as"},
		{in: "２０２６-11-23", want: "write it as"},
		{in: "2011-12-30", zone: "Pacific/Apia", want: "left out"},
		{in: "2011-12-30T10:00", zone: "Pacific/Apia", want: "put forward"},
		{in: "2026-10-04T02:15", zone: "Australia/Lord_Howe", want: "put forward"},
		{in: "2026-04-05T01:45", zone: "Australia/Lord_Howe", want: "2026-04-05T01:45+11:00 or 2026-04-05T01:45+10:30"},
		{in: "1972-01-07T00:20", zone: "Africa/Monrovia", want: "put forward"},
		{in: "2026-03-29T02:30", zone: "Europe/Berlin", want: "put forward"},
		{in: "2026-10-25T02:30", zone: "Europe/Berlin", want: "2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00"},
	} {
		t.Run(test.in, func(t *testing.T) {
			c := Clock{Now: noon, Zone: zone(t, test.zone), Unit: audit.Milliseconds}
			got, err := c.Parse(test.in)
			if err == nil {
				t.Fatalf("read as %v", got)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v: does not say %q", err, test.want)
			}
		})
	}
}

func TestTimesFollowTheStoresUnit(t *testing.T) {
	for _, test := range []struct {
		unit        audit.TimeUnit
		in          string
		first, last uint64
	}{
		{audit.Seconds, "1970-01-02", 86400, 2*86400 - 1},
		{audit.Microseconds, "1970-01-02", 86400e6, 2*86400e6 - 1},
		{audit.Nanoseconds, "1970-01-02", 86400e9, 2*86400e9 - 1},
		{audit.Seconds, "7", 7, 7},
		{audit.Nanoseconds, "2262-04-11", 9223286400000000000, audit.MaxTimestamp}, // the last day there is
		{audit.Nanoseconds, "7", 7, 7},
		// Between two units there is nothing: from there on begins the next, up to there ends the last.
		{audit.Seconds, "1970-01-01T00:00:01.5Z", 2, 1},
		{audit.Seconds, "now", uint64(noon.Unix()) + 1, uint64(noon.Unix())},
	} {
		c := Clock{Now: noon, Zone: time.UTC, Unit: test.unit}
		got, err := c.Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		if want := (Span{test.first, test.last}); got != want {
			t.Errorf("%s in %s: got %v, want %v", test.in, test.unit, got, want)
		}
	}
}

func TestTimesBeyondTheStoresUnitAreRefused(t *testing.T) {
	for _, in := range []string{"2262-04-12", "2262-04-11T23:47:17Z", "9999-12-31"} {
		c := Clock{Now: noon, Zone: time.UTC, Unit: audit.Nanoseconds}
		if got, err := c.Parse(in); err == nil || !strings.Contains(err.Error(), "beyond what a store in ns can hold") {
			t.Errorf("%s: got %v, %v", in, got, err)
		}
	}
}

// A number is never taken for anything else, but it is told when it looks like that.
func TestNumbersThatMayBeMeantOtherwiseAreTold(t *testing.T) {
	for _, test := range []struct {
		unit     audit.TimeUnit
		in, want string
	}{
		{audit.Milliseconds, "1795429152", "1795429152 is 1970-01-21T18:43:49.152Z, since this store counts ms; in s it would be 2026-11-23T10:19:12Z"},
		{audit.Nanoseconds, "1795429152000", "1795429152000 is 1970-01-01T00:29:55.429152000Z, since this store counts ns; in ms it would be 2026-11-23T10:19:12.000Z"},
		{audit.Seconds, "1795429152000", "1795429152000 is after the year 9999, since this store counts s; in ms it would be 2026-11-23T10:19:12.000Z"},
		{audit.Milliseconds, "20261123", "20261123 is a number here, 1970-01-01T05:37:41.123Z; a date is written 2026-11-23"},
		{audit.Milliseconds, "2026", "2026 is a number here, 1970-01-01T00:00:02.026Z; a date is written 2026-01-01"},
		{audit.Milliseconds, "1795429152000", ""},
		{audit.Seconds, "1795429152", ""},
		{audit.Milliseconds, "1000", ""},
		{audit.Milliseconds, "20261323", ""}, // no date
		{audit.Milliseconds, "2026-11-23", ""},
		{audit.Milliseconds, "6h", ""},
	} {
		told := ""
		c := Clock{Now: noon, Zone: time.UTC, Unit: test.unit, Note: func(note string) { told += note }}
		read, err := c.Parse(test.in)
		if err != nil {
			t.Fatal(err)
		}
		if told != test.want {
			t.Errorf("%s in %s: told %q, want %q", test.in, test.unit, told, test.want)
		}
		if n, err := strconv.ParseUint(test.in, 10, 64); err == nil && read != (Span{n, n}) {
			t.Errorf("%s in %s: read as %v", test.in, test.unit, read)
		}
	}
}

func TestTimesAreWrittenInTheirUnit(t *testing.T) {
	for _, test := range []struct {
		unit audit.TimeUnit
		zone string
		at   uint64
		want string
	}{
		{audit.Seconds, "", 1000, "1970-01-01T00:16:40Z"},
		{audit.Milliseconds, "", 1000, "1970-01-01T00:00:01.000Z"},
		{audit.Microseconds, "", 1000, "1970-01-01T00:00:00.001000Z"},
		{audit.Nanoseconds, "", 1000, "1970-01-01T00:00:00.000001000Z"},
		{audit.Milliseconds, "Asia/Kolkata", 0, "1970-01-01T05:30:00.000+05:30"},
		{audit.Milliseconds, "", audit.MaxTimestamp, "9223372036854775807"},
		{audit.Seconds, "", 253402300799, "9999-12-31T23:59:59Z"},
		{audit.Seconds, "+01:00", 253402297199, "9999-12-31T23:59:59+01:00"},
		{audit.Seconds, "+01:00", 253402297200, "253402297200"},
	} {
		c := Clock{Zone: zone(t, test.zone), Unit: test.unit}
		got := c.Format(test.at)
		if got != test.want {
			t.Errorf("%d %s: got %s, want %s", test.at, test.unit, got, test.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for _, test := range []struct {
		in   string
		want time.Duration
	}{
		{"15m", 15 * time.Minute}, {"0", 0}, {"0s", 0}, {"250ms", 250 * time.Millisecond}, {"2 days", 48 * time.Hour},
		{"1d12h", 36 * time.Hour}, {"10S", 10 * time.Second}, {"1 hour, 5 min", 65 * time.Minute},
	} {
		got, err := ParseDuration(test.in)
		if err != nil || got != test.want {
			t.Errorf("%q: got %v, %v, want %v", test.in, got, err, test.want)
		}
	}
	for _, in := range []string{"15", "-15m", "m", "15x", "1h-5m", "NaNh", "1e9h"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
}

func TestZonesThatAreNoneAreRefused(t *testing.T) {
	for _, in := range []string{"Mars/Olympus", "+25:00", "+2", "../etc/passwd"} {
		if z, err := ParseZone(in); err == nil {
			t.Errorf("%q was read as %v", in, z)
		}
	}
}

// A zone that is named by the machine's own link has a name that other machines know.
func TestZoneName(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[*time.Location]string{time.UTC: "UTC", berlin: "Europe/Berlin", time.FixedZone("+02:00", 7200): "+02:00"} {
		if got := ZoneName(zone); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	name := ZoneName(time.Local)
	zone, err := ParseZone(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, month := range []time.Month{time.January, time.July} {
		_, want := time.Date(2026, month, 1, 0, 0, 0, 0, time.Local).Zone()
		if _, got := time.Date(2026, month, 1, 0, 0, 0, 0, zone).Zone(); got != want {
			t.Errorf("%s is %d seconds from UTC, and the zone of this machine %d", name, got, want)
		}
	}
}
