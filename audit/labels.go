package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
)

// Label is a name that a person gave to a hash: an agent, an assertion or a source.
type Label struct {
	Hash  Hash
	Label string
}

// MaxLabel is how many characters a label may have: tables show it beside other columns.
const MaxLabel = 64

// CheckLabel returns ErrInvalid for a text that cannot be a label. A label must be readable, and must not look like
// a hash or the beginning of one.
func CheckLabel(label string) error { return checkLabel(label).orNil() }

func checkLabel(label string) *FieldError {
	switch {
	case label == "":
		return invalid("a label cannot be empty")
	case !utf8.ValidString(label) || legible.Text(label) != label:
		return invalid("a label has no control characters, and none that cannot be seen")
	case strings.TrimSpace(label) != label:
		return invalid("a label has no blanks at its ends")
	case utf8.RuneCountInString(label) > MaxLabel:
		return invalid("a label has at most %d characters", MaxLabel)
	case len(label) >= MinPrefix && isHex(label):
		return invalid("%d hex digits or more would be taken for a hash", MinPrefix)
	}
	return nil
}

// Labels are the labels of a store at the time they were read, to be shown beside hashes. A nil *Labels
// has none. It may be used from several goroutines.
type Labels struct {
	all []Label
	of  map[Hash]string
	by  map[string][]Hash // usually one hash; a renewed key may have the label of the old one
}

// Labels reads all labels into memory. People type few, and an import of spans gives one to each document that has an id.
func (db *DB) Labels(ctx context.Context) (*Labels, error) {
	if err := db.open(ctx); err != nil { // labels come from no log
		return nil, err
	}
	rows, err := db.sql.Labels(ctx)
	if err != nil {
		return nil, err
	}
	l := &Labels{of: map[Hash]string{}, by: map[string][]Hash{}}
	for _, r := range rows {
		h, err := ParseHash(r.Hash)
		if err != nil {
			// Not wrapped: it is no argument of the caller's that is invalid.
			return nil, fmt.Errorf("%s: %w: label %s belongs to %s: %v", storedir.SQLitePath(db.dir), ErrDamaged, excerpt(r.Label), excerpt(r.Hash), err)
		}
		l.all = append(l.all, Label{h, r.Label})
		l.of[h] = r.Label
		l.by[r.Label] = append(l.by[r.Label], h)
	}
	return l, nil
}

// Of returns the label of a hash, or "".
func (l *Labels) Of(h Hash) string {
	if l == nil {
		return ""
	}
	return l.of[h]
}

// Hashes returns the hashes that have a label, in order. The slice belongs to l.
func (l *Labels) Hashes(label string) []Hash {
	if l == nil {
		return nil
	}
	return l.by[label]
}

// All returns all labels in order, equal ones by their hash. The slice belongs to l.
func (l *Labels) All() []Label {
	if l == nil {
		return nil
	}
	return l.all
}

// near returns a few labels that may have been meant by a name that is none.
func (l *Labels) near(typed string) []string {
	var found []string
	typed = strings.ToLower(typed)
	for _, one := range l.all {
		if label := strings.ToLower(one.Label); strings.Contains(label, typed) || strings.Contains(typed, label) {
			found = append(found, one.Label)
		}
	}
	if found == nil {
		for letters := 1; letters <= 2 && found == nil && len(typed) > 3; letters++ {
			for _, one := range l.all {
				if edits(strings.ToLower(one.Label), typed) == letters {
					found = append(found, one.Label)
				}
			}
		}
	}
	found = slices.Compact(found)
	return found[:min(len(found), 3)]
}

// edits is how many bytes have to be put in, taken out or replaced to make one text of the other, 3 if there are more than 2 for their
// lengths alone.
func edits(a, b string) int {
	if max(len(a), len(b))-min(len(a), len(b)) > 2 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := before
			if a[i] != b[j] {
				replaced++
			}
			before = row[j+1]
			row[j+1] = min(replaced, before+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// PutLabels replaces the labels of hashes, all or none. An empty label removes the one there is. A label that
// CheckLabel refuses is ErrInvalid. PutLabels needs no lock and works beside a live writer, also when the store is open
// for reading only. Labels are in SQLite alone, not in the journal.
func (db *DB) PutLabels(ctx context.Context, labels []Label) error {
	if err := db.open(ctx); err != nil {
		return err
	}
	rows := make([]sqlstore.Label, len(labels))
	for i, l := range labels {
		if l.Label != "" {
			if err := checkLabel(l.Label); err != nil {
				return err.in(fmt.Sprintf("labels[%d]", i))
			}
		}
		rows[i] = sqlstore.Label{Hash: l.Hash.String(), Label: l.Label}
	}
	if db.applier == nil {
		if err := storedir.CheckOwner(db.dir); err != nil {
			return err
		}
		name := storedir.SQLitePath(db.dir)
		err := sqlstore.PutLabels(ctx, name, rows, func(m sqlstore.Meta) error {
			if err := db.replaced(ctx); err != nil {
				return err
			}
			return checkStore(db.file, db.dir, m)
		})
		if errors.Is(err, sqlstore.ErrMoved) {
			err = fmt.Errorf("%w; the new database may not have the labels: put them again", err)
		}
		return err
	}
	return db.sql.PutLabels(ctx, rows)
}

// replaced refuses to write to a database that will not stay in its place: a process died when it had made another one, or while it
// moved this one aside. store.json is read when nobody else can write to the database. Who replaces it writes store.json first.
func (db *DB) replaced(ctx context.Context) error {
	file, err := storedir.Recall(ctx, db.dir)
	if err != nil {
		return err
	}
	if file.Replacing == "" && (file.Rebuilding == "" || !file.Doubted) {
		return nil
	}
	return fmt.Errorf("%w: another database takes its place, which the next opening for writing completes", ErrDamaged)
}

// AddLabels gives labels to hashes that have none, all or none. A hash that has a label keeps it, and a label that another hash has
// is not given again: it would become ambiguous. So what a person has named stays as it is. A label that CheckLabel refuses is
// ErrInvalid. AddLabels is for programs that know names, and needs a store that is open for writing (ErrReadOnly).
func (db *DB) AddLabels(ctx context.Context, labels []Label) error {
	done, err := db.begin()
	if err != nil {
		return err
	}
	defer done()
	rows := make([]sqlstore.Label, len(labels))
	for i, l := range labels {
		if err := checkLabel(l.Label); err != nil {
			return err.in(fmt.Sprintf("labels[%d]", i))
		}
		rows[i] = sqlstore.Label{Hash: l.Hash.String(), Label: l.Label}
	}
	return db.sql.AddLabels(ctx, rows)
}
