package ask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// lookedAt is how many of the newest records are looked at for another spelling of a lens, a predicate or a subject. No index
// compares without case. There are few lenses and predicates in a store, and each is in many records. Of the subjects a few may be missed.
const lookedAt = 200

// otherCase notes, for each lens, predicate and subject, that the newest records have one that differs in nothing but upper and lower
// case, and not the one that was asked for. A negation of something that no record has would leave out nothing, so it is
// looked at too.
func otherCase(ctx context.Context, db Store, values map[string][]string, f *audit.Filter) (notes []Note, err error) {
	found := map[string][]string{}
	for _, name := range []string{"subject", "predicate", "lens"} {
		for _, parameter := range []string{name, NegationOf(name)} {
			if len(values[parameter]) > 0 && found[name] == nil {
				if found, err = lately(ctx, db, f); err != nil {
					return nil, err
				}
			}
			for _, value := range values[parameter] {
				if slices.Contains(found[name], value) {
					continue
				}
				for _, have := range found[name] {
					if strings.EqualFold(have, value) {
						notes = append(notes, Note{Parameter: parameter, Text: fmt.Sprintf("the newest records have %q, and not %q: case matters", have, value)})
					}
				}
			}
		}
	}
	return notes, nil
}

// lately returns the subjects, predicates and lenses of the newest records in the time of a filter, each once.
func lately(ctx context.Context, db Store, f *audit.Filter) (map[string][]string, error) {
	found := map[string][]string{"subject": {}, "predicate": {}, "lens": {}}
	for raw, err := range db.RawAudits(ctx, audit.Filter{From: f.From, To: f.To, AsOf: f.AsOf, Descending: true, Limit: lookedAt}) {
		if damaged := (*audit.RecordError)(nil); errors.As(err, &damaged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		q, err := audit.ParseAudit(raw)
		if err != nil {
			continue // whoever reads it will say so
		}
		for name, text := range map[string]*string{"subject": q.Params.Subject, "predicate": q.Params.Predicate, "lens": q.Params.Lens} {
			if text != nil && !slices.Contains(found[name], *text) {
				found[name] = append(found[name], *text)
			}
		}
	}
	return found, nil
}
