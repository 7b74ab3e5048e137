package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/auditsql/auditsql/sqlstore"
)

// Label is a name that a person gave to a hash: an agent, an assertion or a source.
type Label struct {
	Hash  Hash
	Label string
}

// MaxLabel is the most bytes a label may have.
const MaxLabel = 200

// Labels are the labels of a store, for showing them beside hashes. Few labels are in memory as a whole; of
// many, those asked for are looked up and remembered. It is for one goroutine.
type Labels struct {
	db    *DB
	whole bool
	known map[Hash]string // "": it has none
}

// maxLabels is how many labels are read at once.
const maxLabels = 10_000

// Labels returns the labels that there are now.
func (db *DB) Labels(ctx context.Context) (*Labels, error) {
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	l := &Labels{db: db, known: map[Hash]string{}}
	rows, err := db.sql.LabelsUpTo(ctx, maxLabels+1)
	if err != nil {
		return nil, err
	}
	l.whole = len(rows) <= maxLabels
	for _, r := range rows {
		if h, err := ParseHash(r.Hash); err == nil {
			l.known[h] = r.Label
		}
	}
	return l, nil
}

// Of returns the label of a hash, or "".
func (l *Labels) Of(ctx context.Context, h Hash) (string, error) {
	label, ok := l.known[h]
	if ok || l.whole {
		return label, nil
	}
	found, err := l.db.sql.LabelsOf(ctx, []string{h.String()})
	if err != nil {
		return "", err
	}
	if len(l.known) > 2*maxLabels {
		clear(l.known)
	}
	l.known[h] = found[h.String()]
	return l.known[h], nil
}

// AllLabels returns every label, by hash.
func (db *DB) AllLabels(ctx context.Context) ([]Label, error) {
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	rows, err := db.sql.Labels(ctx)
	if err != nil {
		return nil, err
	}
	labels := make([]Label, 0, len(rows))
	for _, r := range rows {
		h, err := ParseHash(r.Hash)
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", excerpt(r.Label), err)
		}
		labels = append(labels, Label{h, r.Label})
	}
	return labels, nil
}

// PutLabels gives labels to hashes, all or none, in place of those they had; an empty one takes the label away.
// It needs no lock and works beside a live writer. A label is at most MaxLabel bytes of UTF-8 without control
// characters, and not 64 hex digits; anything else is ErrInvalid. Labels are in SQLite alone: the journal does
// not have them.
func PutLabels(ctx context.Context, dir string, labels []Label) error {
	rows, err := labelRows(labels)
	if err != nil {
		return err
	}
	return sqlstore.PutLabels(ctx, filepath.Join(dir, sqliteName), rows)
}

// PutLabels is the function PutLabels for an open store, which may be open for reading only.
func (db *DB) PutLabels(ctx context.Context, labels []Label) error {
	if err := db.readable(ctx); err != nil {
		return err
	}
	if db.applier == nil {
		return PutLabels(ctx, db.dir, labels)
	}
	rows, err := labelRows(labels)
	if err != nil {
		return err
	}
	return db.sql.PutLabels(ctx, rows)
}

func labelRows(labels []Label) ([]sqlstore.Label, error) {
	rows := make([]sqlstore.Label, len(labels))
	for i, l := range labels {
		if err := checkLabel(l.Label); err != nil {
			return nil, fmt.Errorf("label %s: %w", excerpt(l.Label), err)
		}
		rows[i] = sqlstore.Label{Hash: l.Hash.String(), Label: l.Label}
	}
	return rows, nil
}

func checkLabel(label string) error {
	switch {
	case len(label) > MaxLabel:
		return invalid("longer than %d bytes", MaxLabel).in("label")
	case !utf8.ValidString(label):
		return invalid("must be UTF-8").in("label")
	case strings.ContainsFunc(label, unicode.IsControl):
		return invalid("has a control character").in("label")
	case strings.TrimSpace(label) != label:
		return invalid("begins or ends with a space").in("label")
	}
	if _, err := ParseHash(label); err == nil {
		return invalid("is a hash itself").in("label")
	}
	return nil
}

// HashKind is what a hash stands for.
type HashKind uint8

// The kinds of hashes that have labels.
const (
	AgentHash HashKind = 1 << iota
	AssertionHash
	SourceHash

	AnyHash = AgentHash | AssertionHash | SourceHash
)

// ErrUnknownName says that a name is neither a hash nor a label nor the beginning of a known hash.
var ErrUnknownName = errors.New("nothing has this name")

// An AmbiguousError says that a name stands for several hashes.
type AmbiguousError struct {
	Name   string
	Label  bool   // it is their label; otherwise they begin with it
	Hashes []Hash // in order, at most MaxResolved
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	what := "begin with it"
	if e.Label {
		what = "have this label"
	}
	return fmt.Sprintf("%s is ambiguous: %d hashes or more %s, the first is %s", excerpt(e.Name), len(e.Hashes), what, e.Hashes[0])
}

// ResolveHash returns the hash that a person means: 64 hex digits are a hash, whether it is known or not; else
// a label is looked for; else the one hash of these kinds that begins with the text, if it is MinPrefix hex
// digits or more. Several are an *AmbiguousError, none is ErrUnknownName. It costs a few seeks.
func (db *DB) ResolveHash(ctx context.Context, name string, kinds HashKind) (Hash, error) {
	if h, err := ParseHash(name); err == nil {
		return h, nil
	}
	if err := db.caughtUp(ctx); err != nil {
		return Hash{}, err
	}
	labelled, err := db.sql.LabelHashes(ctx, name, MaxResolved)
	if err != nil {
		return Hash{}, err
	}
	var found []Hash
	for _, text := range labelled {
		h, err := ParseHash(text)
		if err != nil {
			return Hash{}, fmt.Errorf("label %s: %w", excerpt(name), err)
		}
		found = append(found, h)
	}
	if len(found) == 0 && isPrefix(name) {
		err := db.ask(ctx, func() (err error) {
			found, err = db.beginningWith(ctx, strings.ToLower(name), kinds)
			return err
		})
		if err != nil {
			return Hash{}, err
		}
	}
	switch len(found) {
	case 0:
		return Hash{}, fmt.Errorf("%s: %w", excerpt(name), ErrUnknownName)
	case 1:
		return found[0], nil
	}
	return Hash{}, &AmbiguousError{Name: name, Label: len(labelled) > 0, Hashes: found}
}

func isPrefix(s string) bool {
	return len(s) >= MinPrefix && len(s) < hexLen && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

// beginningWith returns the hashes of these kinds that begin with some digits, each once.
func (db *DB) beginningWith(ctx context.Context, prefix string, kinds HashKind) ([]Hash, error) {
	set := map[Hash]bool{}
	for kind, lower := range map[HashKind]sqlstore.HashKind{
		AgentHash: sqlstore.AgentHash, AssertionHash: sqlstore.AssertionHash, SourceHash: sqlstore.SourceHash,
	} {
		if kinds&kind == 0 {
			continue
		}
		hashes, err := db.sql.PrefixHashes(ctx, lower, prefix, MaxResolved)
		if err != nil {
			return nil, err
		}
		for _, h := range hashes {
			set[h] = true
		}
	}
	return sortedHashes(set), nil
}

// Identity is what is known of a hash.
type Identity struct {
	Hash      Hash
	Label     string         // "" if it has none
	Agent     *AgentActivity // nil: no agent
	Assertion Uses           // as an assertion in evidence, counted up to DefaultHotLimit
	Source    Uses           // as a source of evidence, likewise
}

// Identify says what a hash is: a hash may be several things, or nothing that the store knows.
func (db *DB) Identify(ctx context.Context, h Hash) (*Identity, error) {
	id := &Identity{Hash: h}
	err := db.ask(ctx, func() error {
		labels, err := db.sql.LabelsOf(ctx, []string{h.String()})
		if err != nil {
			return err
		}
		id.Label = labels[h.String()]
		agent, ok, err := db.sql.AgentOf(ctx, h)
		if err != nil {
			return err
		}
		if ok {
			id.Agent = &AgentActivity{AgentID: &h, Label: id.Label, Audits: uint64(agent.Audits), First: uint64(agent.First), Last: uint64(agent.Last)}
		}
		for source, uses := range map[bool]*Uses{false: &id.Assertion, true: &id.Source} {
			found, err := db.sql.Uses(ctx, sqlstore.Evidence{Hash: bytesOf(&h), Source: source}, DefaultHotLimit+1)
			if err != nil {
				return err
			}
			*uses = countUses(found, DefaultHotLimit, -1)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("identify %s: %w", h, err)
	}
	return id, nil
}
