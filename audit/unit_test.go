package audit_test

import (
	"math"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
)

func TestTimeUnits(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 1, 123456789, time.UTC)
	for _, test := range []struct {
		name      string
		unit      audit.TimeUnit
		timestamp uint64
		digits    int
	}{
		{"s", audit.Seconds, 1795428001, 0},
		{"ms", audit.Milliseconds, 1795428001123, 3},
		{"us", audit.Microseconds, 1795428001123456, 6},
		{"ns", audit.Nanoseconds, 1795428001123456789, 9},
	} {
		t.Run(test.name, func(t *testing.T) {
			unit, err := audit.ParseTimeUnit(test.name)
			if err != nil || unit != test.unit || unit.String() != test.name || unit.Digits() != test.digits {
				t.Errorf("ParseTimeUnit: %v with %d digits, %v", unit, unit.Digits(), err)
			}
			var read audit.TimeUnit
			if text, err := unit.MarshalText(); err != nil || read.UnmarshalText(text) != nil || read != unit {
				t.Errorf("as text it is %q and reads as %v, %v", text, read, err)
			}
			timestamp, ok := unit.Timestamp(at.In(time.FixedZone("", 3600)))
			if !ok || timestamp != test.timestamp {
				t.Errorf("Timestamp = %d, %v; want %d", timestamp, ok, test.timestamp)
			}
			back, ok := unit.Time(timestamp)
			if want := at.Truncate(time.Second / time.Duration(unit.PerSecond())); !ok || !back.Equal(want) {
				t.Errorf("Time = %v, %v; want %v", back, ok, want)
			}
		})
	}
}

func TestTimeUnitZeroValueIsTheDefault(t *testing.T) {
	var unit audit.TimeUnit
	if unit.String() != "ms" {
		t.Errorf("the zero unit is %s", unit)
	}
}

func TestTimesThatDoNotFit(t *testing.T) {
	for _, unit := range []audit.TimeUnit{audit.Seconds, audit.Milliseconds, audit.Microseconds, audit.Nanoseconds} {
		if ts, ok := unit.Timestamp(time.Unix(-1, 999999999)); ok {
			t.Errorf("%s: a time before 1970 is %d", unit, ts)
		}
		if ts, ok := unit.Timestamp(time.Unix(0, 0)); !ok || ts != 0 {
			t.Errorf("%s: the epoch is %d, %v", unit, ts, ok)
		}
		if at, ok := unit.Time(math.MaxUint64); ok && unit != audit.Nanoseconds {
			t.Errorf("%s: the last timestamp is %v", unit, at)
		}
		last := uint64(253402300799) // 9999-12-31T23:59:59Z
		if unit == audit.Nanoseconds {
			continue // 64 bits end in 2554
		}
		if at, ok := unit.Time((last+1)*unit.PerSecond() - 1); !ok || at.Year() != 9999 {
			t.Errorf("%s: the end of 9999 is %v, %v", unit, at, ok)
		}
		if at, ok := unit.Time((last + 1) * unit.PerSecond()); ok {
			t.Errorf("%s: the year 10000 is %v", unit, at)
		}
	}

	// The last nanosecond that a record can have, and the first that it cannot.
	if ts, ok := audit.Nanoseconds.Timestamp(time.Unix(0, math.MaxInt64)); !ok || ts != audit.MaxTimestamp {
		t.Errorf("the last nanosecond is %d, %v", ts, ok)
	}
	if ts, ok := audit.Nanoseconds.Timestamp(time.Unix(0, math.MaxInt64).Add(1)); ok {
		t.Errorf("the nanosecond after the last is %d", ts)
	}
}

func TestTimeUnitRefuses(t *testing.T) {
	for _, name := range []string{"", "S", "MS", "m", "min", "µs", "seconds", "ms "} {
		_, err := audit.ParseTimeUnit(name)
		wantInvalid(t, err, "")
	}
	_, err := audit.TimeUnit(4).MarshalText()
	wantInvalid(t, err, "")
	unit := audit.Seconds
	wantInvalid(t, unit.UnmarshalText([]byte("h")), "")
	if unit != audit.Seconds {
		t.Errorf("a refused text left %s", unit)
	}
	if audit.TimeUnit(4).Valid() || audit.TimeUnit(4).String() != "?" {
		t.Error("a fifth unit is valid")
	}
}
