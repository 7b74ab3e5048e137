package ask

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/when"
)

// MaxValues is how many values a parameter may have.
const MaxValues = 1000

// filter reads all values. It does not compare from with to, because numbers among them depend on the store's unit.
func (r *reader) filter() (audit.Filter, error) {
	var f audit.Filter
	if err := r.checkTogether(); err != nil {
		return f, err
	}
	for _, p := range Parameters() {
		values := r.values[p.Name]
		r.parameter = p.Name
		if len(values) > 1 && !p.Many {
			return f, &Error{Parameter: p.Name, Reason: errors.New("is given more than once")}
		}
		if len(values) > MaxValues {
			return f, &Error{Parameter: p.Name, Reason: fmt.Errorf("has %d values: want %d or less", len(values), MaxValues)}
		}
		// Each value is a filter by itself, and they are put together.
		var each []audit.Filter
		for _, value := range values {
			var g audit.Filter
			if err := r.read(&p, value, &g); err != nil {
				return f, err
			}
			if !slices.ContainsFunc(each, func(h audit.Filter) bool { return reflect.DeepEqual(g, h) }) {
				each = append(each, g)
			}
		}
		if len(each) == 0 {
			continue
		}
		switch {
		case p.Negates != "":
			r.negate(&p, each, &f)
		case p.Kind == Moment:
			f.From, f.To = each[0].From, each[0].To
		case p.Kind == Pair:
			pairs(each, &f)
		case p.field == nil: // window
		case len(each) == 1:
			p.set(&f, &each[0])
		default:
			f.AnyOf = append(f.AnyOf, each)
		}
	}
	if least, most := f.MinConfidence, f.MaxConfidence; least != nil && most != nil && *least > *most {
		return f, &Error{Parameter: "min-confidence", Other: "max-confidence",
			between: " " + r.values["min-confidence"][0] + " is above ", after: " " + r.values["max-confidence"][0]}
	}
	return f, nil
}

// set sets the parameter's field of a filter to that of another one.
func (p *Parameter) set(to, from *audit.Filter) {
	reflect.ValueOf(p.field(to)).Elem().Set(reflect.ValueOf(p.field(from)).Elem())
}

// pairs puts attributes together. A record has one value for a key: several for one key are alternatives.
func pairs(each []audit.Filter, f *audit.Filter) {
	var keys []string
	byKey := map[string][]audit.Filter{}
	for _, g := range each {
		key := g.Attributes[0].Key
		if byKey[key] == nil {
			keys = append(keys, key)
		}
		byKey[key] = append(byKey[key], g)
	}
	for _, key := range keys {
		if list := byKey[key]; len(list) == 1 {
			f.Attributes = append(f.Attributes, list[0].Attributes[0])
		} else {
			f.AnyOf = append(f.AnyOf, list)
		}
	}
}

// negate adds negations to a filter. Those of from and to become bounds, by which an index finds the records.
func (r *reader) negate(p *Parameter, each []audit.Filter, f *audit.Filter) {
	for _, g := range each {
		switch {
		case reflect.DeepEqual(g, audit.Filter{}): // a switch that is off
		case p.Kind == Start && *g.From > 0:
			if before := *g.From - 1; f.To == nil || before < *f.To {
				f.To, r.to = &before, p.Name
			}
		case p.Kind == End && *g.To < math.MaxUint64:
			if after := *g.To + 1; f.From == nil || after > *f.From {
				f.From, r.from = &after, p.Name
			}
		default:
			f.NoneOf = append(f.NoneOf, g)
		}
	}
}

// checkTogether refuses parameters that do not exist, and those that do not go together.
func (r *reader) checkTogether() error {
	known, given := map[string]bool{}, map[string]bool{}
	for _, p := range Parameters() {
		values := r.values[p.Name]
		known[p.Name], given[p.Name] = true, len(values) > 0
		if p.Kind == Switch && len(values) > 0 {
			on, err := parseSwitch(values[0])
			given[p.Name] = on || err != nil
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if !known[name] {
			return &Error{Parameter: name, Reason: errors.New("there is no such parameter")}
		}
	}
	for _, c := range contradictions {
		if given[c[0]] && given[c[1]] {
			return &Error{Parameter: c[0], Other: c[1], between: " and ", after: " cannot be used together"}
		}
	}
	if given["window"] && !given["around"] && !given[NegationOf("around")] {
		return &Error{Parameter: "window", Other: "around", between: " goes with "}
	}
	return nil
}

// read reads one value of a parameter into the filter.
func (r *reader) read(p *Parameter, value string, f *audit.Filter) error {
	refuse := func(err error) error {
		if err != nil {
			err = &Error{Parameter: p.Name, Reason: err}
		}
		return err
	}
	var err error
	switch p.Kind {
	case Duration:
		_, err = when.ParseDuration(value) // only checked here: the method around reads it again
	case Moment:
		return r.around(value, f)
	case Text, Pattern:
		*p.field(f).(**string) = &value
	case Start, End:
		var span when.Span
		span, err = r.clock().Parse(value)
		at := &span.First
		if p.Kind == End {
			at = &span.Last
		}
		*p.field(f).(**uint64) = at
	case Agent, Assertion, Source:
		var h audit.Hash
		if h, err = r.find(value, hashKinds[p.Kind]); err != nil && !Refused(err) {
			return err
		}
		*p.field(f).(**audit.Hash) = &h
	case Lifecycle:
		var l audit.Lifecycle
		l, err = audit.ParseLifecycle(value)
		*p.field(f).(**audit.Lifecycle) = &l
	case Pair:
		var a audit.Attribute
		a.Key, a.Value, err = KeyValue(value)
		all := p.field(f).(*[]audit.Attribute)
		*all = append(*all, a)
	case Confidence:
		var n float32
		n, err = Number(value)
		*p.field(f).(**float32) = &n
	case Switch:
		*p.field(f).(*bool), err = parseSwitch(value)
	case Records:
		var n uint64
		n, err = parseRecords(value)
		*p.field(f).(**uint64) = &n
	case Count:
		*p.field(f).(*int), err = parseCount(value)
	default:
		panic("ask: no way to read a " + string(p.Kind))
	}
	return refuse(err)
}

// around sets both ends of the time around an instant.
func (r *reader) around(value string, f *audit.Filter) error {
	window := DefaultWindow
	if given := r.values["window"]; len(given) > 0 {
		var err error
		if window, err = when.ParseDuration(given[0]); err != nil {
			return &Error{Parameter: "window", Reason: err}
		}
	}
	at, err := r.clock().Parse(value)
	if err != nil {
		return &Error{Parameter: "around", Reason: err}
	}
	from, to := at.Around(window, r.unit)
	f.From, f.To = &from, &to
	return nil
}

func parseSwitch(value string) (bool, error) {
	if value == "" {
		return true, nil
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("want true or false, and got %q", value)
	}
	return on, nil
}

func parseCount(value string) (int, error) {
	n, err := strconv.Atoi(value)
	switch {
	case err != nil || n < 0:
		return 0, fmt.Errorf("want 0 for no limit, or more, and got %q", value)
	case n > math.MaxInt32:
		return 0, fmt.Errorf("want 0 for no limit, or at most %d, and got %q", math.MaxInt32, value)
	}
	return n, nil
}

func parseRecords(value string) (uint64, error) {
	n, err := strconv.ParseUint(value, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("want a number of records, and got %q", value)
	}
	return n, nil
}

// Number reads a finite 32-bit float. It refuses a number that is not 0 and would be rounded to 0, as the decoder of
// records does.
func Number(s string) (float32, error) {
	n, err := strconv.ParseFloat(s, 32)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return 0, fmt.Errorf("%q is no number: write 0.95", s)
	}
	if digits, _, _ := strings.Cut(strings.ToLower(s), "e"); n == 0 && strings.ContainsAny(digits, "123456789") {
		return 0, fmt.Errorf("%q is too small for a 32-bit float, which would be 0", s)
	}
	return float32(n), nil
}

// KeyValue splits KEY=VALUE at its first equals sign. A key that has one itself, is empty, or begins with a quote is
// written as a JSON string: "a=b"=VALUE.
func KeyValue(pair string) (key, value string, err error) {
	if strings.HasPrefix(pair, `"`) {
		return quotedKey(pair)
	}
	key, value, found := strings.Cut(pair, "=")
	if !found || key == "" {
		return "", "", fmt.Errorf(`%q: want KEY=VALUE; a key that is empty or has a = is written in quotes, "a=b"=VALUE`, pair)
	}
	return key, value, nil
}

// quotedKey is KeyValue for a key in quotes. It reads the key as the key of an attribute in a record.
func quotedKey(pair string) (key, value string, err error) {
	end := 1
	for end < len(pair) && pair[end] != '"' {
		if pair[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(pair) || !strings.HasPrefix(pair[end+1:], "=") {
		return "", "", fmt.Errorf(`%q: a key in quotes ends with a quote and a =, "a=b"=VALUE`, pair)
	}
	q, err := audit.ParseAudit([]byte(`{"timestamp":0,"params":{},"result_confidence":0,"attributes":{` + pair[:end+1] + `:true}}`))
	if err != nil {
		return "", "", fmt.Errorf("%q: %w", pair, err)
	}
	for only := range q.Attributes {
		key = only
	}
	return key, pair[end+2:], nil
}
