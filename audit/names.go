package audit

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/auditsql/auditsql/internal/legible"
	"github.com/auditsql/auditsql/sqlstore"
)

// HashKind says what a hash identifies. Kinds can be combined by |.
type HashKind uint8

// The kinds of hashes that have labels.
const (
	AgentHash HashKind = 1 << iota
	AssertionHash
	SourceHash

	AnyHash = AgentHash | AssertionHash | SourceHash
)

// String returns the kinds for a sentence, such as "agent" or "assertion or source".
func (k HashKind) String() string {
	var names []string
	for i, name := range []string{"agent", "assertion", "source"} {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// An UnknownError says that a name means no hash of the store.
type UnknownError struct {
	Name   string
	Kinds  HashKind // that were searched
	Prefix bool     // it looks like the beginning of a hash, and no hash begins with it; otherwise it is no label
	Near   []string // a few labels that may have been meant
}

// Error implements error.
func (e *UnknownError) Error() string {
	if e.Prefix {
		return fmt.Sprintf("%s: no %s begins with that", quoted(e.Name), e.Kinds)
	}
	return quoted(e.Name) + " is neither a label nor a hash"
}

// An AmbiguousError says that a name means several hashes: it is the label of each, or each begins with it.
type AmbiguousError struct {
	Name   string
	Hashes []Label // by hash, at most MaxResolved; the label of a hash without one is ""
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	var names []string
	for _, l := range e.Hashes {
		name := l.Hash.String()
		if l.Label != "" {
			name += " (" + legible.Text(l.Label) + ")"
		}
		names = append(names, name)
	}
	return fmt.Sprintf("%s is ambiguous: %s", quoted(e.Name), strings.Join(names, ", "))
}

// quoted quotes a name for an error. A person reads it, so letters of all scripts stay unchanged.
func quoted(name string) string {
	if runes := []rune(name); len(runes) > MaxLabel {
		return strconv.Quote(string(runes[:MaxLabel])) + "…"
	}
	return strconv.Quote(name)
}

// CheckName returns ErrInvalid for a name that ResolveHash cannot find in any store.
func CheckName(name string) error {
	switch name = strings.TrimSpace(name); {
	case name == "":
		return invalid("%s: want a hash or a label", quoted(name))
	case len(name) > hexLen && isHex(name):
		return invalid("%s is too long: a hash has %d hex digits", quoted(name), hexLen)
	}
	return nil
}

// ResolveHash returns the hash that a person means by a name. 64 hex digits are a hash, whether the store has it or
// not. Otherwise the name is a label, or MinPrefix or more hex digits with which one hash of these kinds begins. Of several
// hashes with that label those do not count that stand only for something else. Spaces around the name are ignored. Several hashes are an *AmbiguousError, no hash is an *UnknownError, and a name that
// CheckName refuses is ErrInvalid. It costs a few seeks.
func (db *DB) ResolveHash(ctx context.Context, name string, kinds HashKind) (Hash, error) {
	return db.ResolveHashAsOf(ctx, name, kinds, nil)
}

// ResolveHashAsOf is ResolveHash as of a moment (see Filter.AsOf), nil: as it is. Of several hashes that begin with the same digits those
// count that the store had then; when more than 1,024 of one kind begin with them now, the digits are ambiguous. Labels are those of the
// present.
func (db *DB) ResolveHashAsOf(ctx context.Context, name string, kinds HashKind, asOf *uint64) (Hash, error) {
	return resolveHash(ctx, db, db, name, kinds, asOf)
}

// resolveHash looks for what a name means. labels is the store that has the labels.
func resolveHash(ctx context.Context, in asked, labels *DB, name string, kinds HashKind, asOf *uint64) (Hash, error) {
	name = strings.TrimSpace(name)
	if err := CheckName(name); err != nil {
		return Hash{}, err
	}
	if h, err := ParseHash(name); err == nil {
		return h, nil
	}
	if err := labels.settled(ctx); err != nil {
		return Hash{}, err
	}
	texts, err := labels.sql.LabelHashes(ctx, name, MaxResolved)
	if err != nil {
		return Hash{}, err
	}
	var found []Hash
	for _, text := range texts {
		h, err := ParseHash(text)
		if err != nil {
			return Hash{}, fmt.Errorf("label %s: %w", excerpt(name), err)
		}
		found = append(found, h)
	}
	if found, err = meant(ctx, in, found, kinds); err != nil {
		return Hash{}, err
	}
	prefix := len(name) >= MinPrefix && isHex(name)
	if len(found) == 0 && prefix {
		look := func(asOf *uint64) error {
			return in.inParts(ctx, asOf, func(p *parts) (err error) {
				found, err = p.beginningWith(ctx, strings.ToLower(name), kinds)
				return err
			})
		}
		err := look(nil)
		if err == nil && len(found) > 1 && asOf != nil {
			err = look(asOf)
		}
		if err != nil {
			return Hash{}, err
		}
	}
	switch len(found) {
	case 0:
		return Hash{}, labels.unknown(ctx, &UnknownError{Name: name, Kinds: kinds, Prefix: prefix})
	case 1:
		return found[0], nil
	}
	return Hash{}, labels.ambiguous(ctx, name, found)
}

// meant returns those of several hashes with one label that can be meant as one of these kinds. A hash that stands only for
// something else cannot: no record has it as that. A hash that no record has can be, such as the new key of an agent. If
// none can be meant, or if there may be more hashes than these, it returns them all.
func meant(ctx context.Context, in asked, hashes []Hash, kinds HashKind) ([]Hash, error) {
	if len(hashes) < 2 || len(hashes) >= MaxResolved || kinds == AnyHash {
		return hashes, nil
	}
	var meant []Hash
	err := in.inParts(ctx, nil, func(p *parts) error {
		for _, h := range hashes {
			can, err := p.standsFor(ctx, h, kinds)
			if err == nil && !can {
				var other bool
				other, err = p.standsFor(ctx, h, AnyHash&^kinds)
				can = !other
			}
			if err != nil {
				return err
			}
			if can {
				meant = append(meant, h)
			}
		}
		return nil
	})
	if err != nil || len(meant) == 0 {
		return hashes, err
	}
	return meant, nil
}

// unknown adds to e the labels that may have been meant.
func (db *DB) unknown(ctx context.Context, e *UnknownError) error {
	if e.Prefix {
		return e
	}
	labels, err := db.Labels(ctx)
	if err != nil {
		return err
	}
	e.Near = labels.near(e.Name)
	return e
}

func (db *DB) ambiguous(ctx context.Context, name string, hashes []Hash) error {
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = h.String()
	}
	labels, err := db.sql.LabelsOf(ctx, texts)
	if err != nil {
		return err
	}
	e := &AmbiguousError{Name: name}
	for i, h := range hashes {
		e.Hashes = append(e.Hashes, Label{h, labels[texts[i]]})
	}
	return e
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// beginningWith returns the hashes of these kinds that begin with some digits, each once: those that the store had at a moment, nil: has.
// Of a kind with too many to look at each, it returns the first, which makes the digits ambiguous.
func (db *DB) beginningWith(ctx context.Context, prefix string, kinds HashKind, asOf *uint64) ([]Hash, error) {
	most := MaxResolved
	if asOf != nil {
		most = mostAsOf + 1
	}
	set := map[Hash]bool{}
	for kind, lower := range map[HashKind]sqlstore.HashKind{
		AgentHash: sqlstore.AgentHash, AssertionHash: sqlstore.AssertionHash, SourceHash: sqlstore.SourceHash,
	} {
		if kinds&kind == 0 {
			continue
		}
		hashes, err := db.sql.PrefixHashes(ctx, lower, prefix, most)
		if err != nil {
			return nil, err
		}
		n, all := 0, len(hashes) <= mostAsOf
		for _, h := range hashes {
			if asOf != nil && all {
				if was, err := db.stoodFor(ctx, h, kind, asOf); err != nil {
					return nil, err
				} else if !was {
					continue
				}
			}
			set[h] = true
			if n++; n == MaxResolved {
				break
			}
		}
	}
	return sortedHashes(set), nil
}

// stoodFor reports whether a record that the store had at a moment has a hash as this kind, as PrefixHashes finds it.
func (db *DB) stoodFor(ctx context.Context, h Hash, kind HashKind, asOf *uint64) (bool, error) {
	f := sqlstore.Filter{AsOf: indexOf(asOf), Limit: 1}
	switch kind {
	case AgentHash:
		f.Agent = bytesOf(&h)
	case AssertionHash:
		f.Assertion = bytesOf(&h)
	case SourceHash:
		f.Source = bytesOf(&h)
	}
	for _, err := range db.sql.Select(ctx, f) {
		if err = db.lost(err); err != nil && !ofRecord(err) {
			return false, fmt.Errorf("look for %s: %w", h, err)
		}
		return true, nil
	}
	return false, nil
}

// beginningWith returns the hashes of these kinds that begin with some digits in any part, each once: of each kind at most MaxResolved,
// as of one store.
func (p *parts) beginningWith(ctx context.Context, prefix string, kinds HashKind) ([]Hash, error) {
	if len(p.dbs) == 1 {
		return p.dbs[0].beginningWith(ctx, prefix, kinds, p.asOf[0])
	}
	all := map[Hash]bool{}
	for kind := AgentHash; kind <= SourceHash; kind <<= 1 {
		of := map[Hash]bool{}
		for i, db := range p.dbs {
			hashes, err := db.beginningWith(ctx, prefix, kinds&kind, p.asOf[i])
			if err != nil {
				return nil, err
			}
			for _, h := range hashes {
				of[h] = true
			}
		}
		first := sortedHashes(of)
		for _, h := range first[:min(len(first), MaxResolved)] {
			all[h] = true
		}
	}
	return sortedHashes(all), nil
}

// standsFor reports whether a hash is one of these kinds in some record.
func (p *parts) standsFor(ctx context.Context, h Hash, kinds HashKind) (bool, error) {
	for _, db := range p.dbs {
		if is, err := db.standsFor(ctx, h, kinds); is || err != nil {
			return is, err
		}
	}
	return false, nil
}

// Identity says what a store knows about a hash.
type Identity struct {
	Hash      Hash
	Label     string         // "" if it has none
	Agent     *AgentActivity // nil: it is no agent
	Assertion Uses           // as an assertion in evidence, counted up to DefaultHotLimit
	Source    Uses           // as a source of evidence, likewise
}

// Identify says what a hash is. It may be several things, or nothing that the store knows.
func (db *DB) Identify(ctx context.Context, h Hash) (*Identity, error) {
	return db.IdentifyAsOf(ctx, h, nil)
}

// mostIdentified is how many records IdentifyAsOf counts of an agent.
const mostIdentified = 100_000

// IdentifyAsOf is Identify as of a moment (see Filter.AsOf), nil: as it is. The label is that of today. Where the stored counts do not
// answer for the moment (see Timeline), the figures of an agent are those of 100,000 of its records.
func (db *DB) IdentifyAsOf(ctx context.Context, h Hash, asOf *uint64) (*Identity, error) {
	return identify(ctx, db, db, h, asOf)
}

// identify says what a hash is. labels is the store that has the labels.
func identify(ctx context.Context, in asked, labels *DB, h Hash, asOf *uint64) (*Identity, error) {
	id := &Identity{Hash: h}
	err := in.inParts(ctx, asOf, func(p *parts) error {
		labels, err := labels.sql.LabelsOf(ctx, []string{h.String()})
		if err != nil {
			return err
		}
		id.Label = labels[h.String()]
		agents, err := p.activityOf(ctx, h, asOf)
		if err != nil {
			return err
		}
		for _, agent := range agents {
			if id.Agent == nil {
				id.Agent = &AgentActivity{AgentID: &h, Label: id.Label, First: uint64(agent.First), Last: uint64(agent.Last)}
			}
			id.Agent.Audits += uint64(agent.Audits)
			id.Agent.First, id.Agent.Last = min(id.Agent.First, uint64(agent.First)), max(id.Agent.Last, uint64(agent.Last))
		}
		known, err := p.dictionaries(ctx, h)
		if err != nil {
			return err
		}
		var book agentBook
		for source, uses := range map[bool]*Uses{false: &id.Assertion, true: &id.Source} {
			found, err := p.uses(ctx, known, sqlstore.Evidence{Hash: bytesOf(&h), Source: source}, &book, DefaultHotLimit+1)
			if err != nil {
				return err
			}
			*uses = countUses(found, DefaultHotLimit, nobody)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("identify %s: %w", h, err)
	}
	return id, nil
}

// activityOf returns the counts of an agent, none if it has no record.
func (p *parts) activityOf(ctx context.Context, h Hash, asOf *uint64) (counts []sqlstore.AgentCount, err error) {
	if asOf != nil {
		counts, _, err = p.agentCounts(ctx, Filter{Agent: &h}, Budget{Records: mostIdentified})
		return counts, err
	}
	for _, db := range p.dbs {
		c, ok, err := db.sql.AgentOf(ctx, h)
		if err != nil {
			return nil, err
		}
		if ok {
			counts = append(counts, c)
		}
	}
	return counts, nil
}
