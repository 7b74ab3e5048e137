package when

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// durationUnits are the units that have a fixed length. A day is 24 hours.
var durationUnits = map[string]time.Duration{
	"ms": time.Millisecond, "millisecond": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour,
	"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
}

// ParseDuration reads a length of time, which is never negative: 15m, 1h30m, 6 hours, 2d.
func ParseDuration(s string) (time.Duration, error) {
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

// FormatDuration writes 15m where package time writes 15m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseAgo reads how long ago something was: 90m, 1h30m, 6 hours ago. It reports false when s does not begin with a
// number and a unit.
func parseAgo(s string) (time.Duration, bool, error) {
	words, _ := strings.CutSuffix(strings.ToLower(s), " ago")
	digits := len(words) - len(strings.TrimLeft(words, "0123456789."))
	unit := strings.TrimLeft(words[digits:], " ")
	if digits == 0 || unit == "" || unit[0] < 'a' || unit[0] > 'z' {
		return 0, false, nil
	}
	d, err := ParseDuration(words)
	return d, true, err
}
