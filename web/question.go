package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/ask"
	"github.com/auditsql/auditsql/internal/tui"
	"github.com/auditsql/auditsql/internal/when"
)

// takes are the parameters that a route knows. Their names, and what their values mean, are those of the commands' flags.
type takes struct {
	filter  bool     // those of package ask
	without []string // but not these
	own     []string // those of this route alone
	many    []string // those of own that may be given several times

	zone  bool       // tz
	reads bool       // consistency
	forms []tui.Form // format, and the Accept header; the first is the usual one. nil: the route has one form of its own

	known []string // what names returns, of a route that is served
}

// The parameters that several routes take.
const (
	zoneName        = "tz"
	formName        = "format"
	consistencyName = "consistency"
	csvSafeName     = "csv-safe" // as the flag; goes with CSV
	asOfName        = "as_of"
)

// names are all parameters of a route.
func (t *takes) names() []string {
	if t.known != nil {
		return t.known
	}
	names := []string{}
	if t.filter {
		for _, p := range ask.Parameters() {
			if !slices.Contains(t.without, p.Name) {
				names = append(names, parameterName(p.Name))
			}
		}
	}
	names = append(names, t.own...)
	for name, has := range map[string]bool{zoneName: t.zone, consistencyName: t.reads, formName: t.forms != nil, csvSafeName: slices.Contains(t.forms, tui.CSV)} {
		if has {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// A question is what the query string and the Accept header of a request ask for. The API and the pages read it in this one
// place.
type question struct {
	now    time.Time
	zone   *time.Location
	form   tui.Form // of the answer; "" where the route has one form only
	values url.Values
	filter map[string][]string // the values for package ask, by its names

	// acknowledged says that the answer must have all that was acknowledged before it, and not only what SQLite has.
	acknowledged bool

	// asOf is how many records the store had at the moment that the question is about; nil is now. It is the value of the
	// parameter as_of.
	asOf *uint64

	csvSafe bool // put an apostrophe before what a spreadsheet takes for a formula
}

// parseQuestion reads a request. Its errors are problems that name the parameter.
func parseQuestion(r *http.Request, now time.Time, t *takes) (*question, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem(kindParameter, "the query string cannot be read: in values %% is written %%25, & is %%26 and ; is %%3B")
	}
	q := &question{now: now, zone: time.UTC, values: values, filter: map[string][]string{}}
	known := t.names()
	for name := range values {
		if !slices.Contains(known, name) {
			return nil, problem(kindParameter, "there is no parameter %s here", nameShown(name)).at(nameShown(name))
		}
	}
	for _, name := range append([]string{zoneName, formName, consistencyName, csvSafeName}, t.own...) {
		if len(values[name]) > 1 && !slices.Contains(t.many, name) {
			return nil, problem(kindParameter, "%s is given more than once", name).at(name)
		}
	}
	if t.zone && values.Has(zoneName) {
		if q.zone, err = when.ParseZone(values.Get(zoneName)); err != nil {
			return nil, problem(kindParameter, "%s: %v", zoneName, err).at(zoneName)
		}
	}
	switch how := values.Get(consistencyName); how {
	case "", "applied":
	case "acknowledged":
		q.acknowledged = true
	default:
		return nil, problem(kindParameter, "%s: want applied or acknowledged", consistencyName).at(consistencyName)
	}
	if t.filter {
		for _, p := range ask.Parameters() {
			if name := parameterName(p.Name); values.Has(name) && !slices.Contains(t.without, p.Name) {
				q.filter[p.Name] = values[name]
			}
		}
		if err := ask.Check(q.filter, q.askOptions()); err != nil {
			return nil, err
		}
	}
	if t.forms != nil {
		if q.form, err = chooseForm(r, t.forms); err != nil {
			return nil, err
		}
	}
	if values.Has(asOfName) {
		n, err := strconv.ParseUint(values.Get(asOfName), 10, 64)
		if err != nil {
			return nil, problem(kindParameter, "%s: want a number of records", asOfName).at(asOfName)
		}
		q.asOf = &n
	}
	if slices.Contains(known, csvSafeName) {
		if q.csvSafe, err = q.isSet(csvSafeName); err != nil {
			return nil, err
		}
	}
	if q.csvSafe && q.form != tui.CSV {
		return nil, problem(kindParameter, "%s goes with %s=csv", csvSafeName, formName).at(csvSafeName)
	}
	return q, nil
}

// askOptions are what package ask needs to read times.
func (q *question) askOptions() ask.Options {
	return ask.Options{Now: q.now, Zone: q.zone, AsOf: q.asOf}
}

// clock reads and writes times for a question.
func (q *question) clock(unit audit.TimeUnit) when.Clock {
	return when.Clock{Now: q.now, Zone: q.zone, Unit: unit}
}

// own returns the value of a parameter that is this route's own.
func (q *question) own(name, usual string) string {
	if q.values.Has(name) {
		return q.values.Get(name)
	}
	return usual
}

// count reads an own parameter that is a number from least to most.
func (q *question) count(name string, usual, least, most int) (int, error) {
	text := q.own(name, strconv.Itoa(usual))
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, problem(kindParameter, "%s: want a number from %d to %d", name, least, most).at(name)
	}
	return n, nil
}

// oneOf reads an own parameter that is one of a few words; the first is the usual one.
func (q *question) oneOf(name string, words ...string) (string, error) {
	word := q.own(name, words[0])
	if !slices.Contains(words, word) {
		return "", problem(kindParameter, "%s: want %s", name, strings.Join(words, " or ")).at(name)
	}
	return word, nil
}

// isSet reads an own parameter that is true or false. It is true when it is given without a value.
func (q *question) isSet(name string) (bool, error) {
	if !q.values.Has(name) {
		return false, nil
	}
	text := q.values.Get(name)
	on, err := strconv.ParseBool(text)
	if err != nil && text != "" {
		return false, problem(kindParameter, "%s: want true or false", name).at(name)
	}
	return on || text == "", nil
}

// filter finds the filter that a question asks for. It puts into the header what may have been meant instead.
func (s *Server) filter(ctx context.Context, w http.ResponseWriter, q *question) (audit.Filter, error) {
	f, list, err := ask.Filter(ctx, s.store, q.filter, q.askOptions())
	notes(w, list)
	return f, err
}

// limitOr sets the limit for a question that was asked without one.
func (q *question) limitOr(usual int) {
	if _, given := q.filter["limit"]; !given {
		q.filter["limit"] = []string{strconv.Itoa(usual)}
	}
}

// nameShown is the name of a parameter for an error: a plain one as it is, and another one quoted and cut.
func nameShown(name string) string {
	const most = 40
	plain := len(name) <= most
	for _, c := range name {
		plain = plain && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if plain && name != "" {
		return name
	}
	return strconv.QuoteToASCII(name[:min(len(name), most)])
}
