package audit

import (
	"math"
	"time"
)

// TimeUnit is the unit of a store's timestamps, which count from the Unix epoch. It never changes for a store. The
// zero value is the default, milliseconds.
type TimeUnit uint8

// The units a store can have.
const (
	Milliseconds TimeUnit = iota
	Seconds
	Microseconds
	Nanoseconds
)

// MaxTimestamp is the largest timestamp a record may have: SQLite's integers are signed.
const MaxTimestamp = math.MaxInt64

var timeUnits = [...]struct {
	name      string
	perSecond uint64
	digits    int
}{
	Milliseconds: {"ms", 1e3, 3},
	Seconds:      {"s", 1, 0},
	Microseconds: {"us", 1e6, 6},
	Nanoseconds:  {"ns", 1e9, 9},
}

// ParseTimeUnit reads "s", "ms", "us" or "ns". Anything else is ErrInvalid.
func ParseTimeUnit(s string) (TimeUnit, error) {
	for u := range timeUnits {
		if timeUnits[u].name == s {
			return TimeUnit(u), nil
		}
	}
	return 0, invalid("unknown time unit %s: want s, ms, us or ns", excerpt(s))
}

// Valid reports whether u is one of the four constants.
func (u TimeUnit) Valid() bool { return int(u) < len(timeUnits) }

// String returns "s", "ms", "us" or "ns", and "?" for a value that is none of the constants.
func (u TimeUnit) String() string {
	if !u.Valid() {
		return "?"
	}
	return timeUnits[u].name
}

// MarshalText implements encoding.TextMarshaler.
func (u TimeUnit) MarshalText() ([]byte, error) {
	if !u.Valid() {
		return nil, invalid("unknown time unit %d", u)
	}
	return []byte(timeUnits[u].name), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *TimeUnit) UnmarshalText(text []byte) error {
	read, err := ParseTimeUnit(string(text))
	if err != nil {
		return err
	}
	*u = read
	return nil
}

// PerSecond returns how many units a second has. u must be valid.
func (u TimeUnit) PerSecond() uint64 { return timeUnits[u].perSecond }

// Digits returns how many decimals of a second the unit has: 0, 3, 6 or 9. u must be valid.
func (u TimeUnit) Digits() int { return timeUnits[u].digits }

// Timestamp returns t in units since the Unix epoch, rounded down. It reports false for a time
// before 1970 and for one beyond MaxTimestamp. u must be valid.
func (u TimeUnit) Timestamp(t time.Time) (uint64, bool) {
	seconds, perSecond := t.Unix(), u.PerSecond()
	if seconds < 0 {
		return 0, false
	}
	// The fraction is added after the check that the result fits.
	fraction := uint64(t.Nanosecond()) / (uint64(time.Second) / perSecond)
	if uint64(seconds) > (MaxTimestamp-fraction)/perSecond {
		return 0, false
	}
	return uint64(seconds)*perSecond + fraction, true
}

// Time returns the UTC time of a timestamp. It reports false beyond the year 9999, where ISO 8601 and
// RFC 3339 end. u must be valid.
func (u TimeUnit) Time(timestamp uint64) (time.Time, bool) {
	perSecond := u.PerSecond()
	seconds := timestamp / perSecond
	if seconds > lastSecond {
		return time.Time{}, false
	}
	fraction := timestamp % perSecond * (uint64(time.Second) / perSecond)
	return time.Unix(int64(seconds), int64(fraction)).UTC(), true
}

// lastSecond is 9999-12-31T23:59:59Z.
const lastSecond = 253402300799
