package audit

import (
	"context"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/sqlstore"
)

// What a person may be about to type, for the completion of a shell. Each answer has at most as many texts as are asked for,
// and costs some searches for each of them, however large the store is. It may lack what is new: it waits for nothing.

// completionScan is how many labels are looked at to find those of a kind.
const completionScan = 1000

// HashesBeginning returns hashes of these kinds that a person may mean by a text: those whose label begins with it, in the
// order of the labels, and those without a label whose digits do. An empty text finds no hash without a label, except
// that of an agent.
func (db *DB) HashesBeginning(ctx context.Context, text string, kinds HashKind, most int) ([]Label, error) {
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	var found []Label
	rows, err := db.sql.LabelsBeginning(ctx, text, completionScan)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		if len(found) == most {
			return found, nil
		}
		h, err := ParseHash(row.Hash)
		if err != nil {
			continue // somebody wrote it by hand
		}
		fits, err := db.standsFor(ctx, h, kinds)
		if err != nil {
			return nil, err
		}
		if fits {
			found = append(found, Label{h, row.Label})
		}
	}
	if text == "" {
		kinds &= AgentHash // of the others there are too many
	}
	if !isHex(text) || kinds == 0 {
		return found, nil
	}
	hashes, err := db.beginningWith(ctx, strings.ToLower(text), kinds, nil)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = h.String()
	}
	labels, err := db.sql.LabelsOf(ctx, texts)
	if err != nil {
		return nil, err
	}
	for i, h := range hashes {
		if labels[texts[i]] == "" && len(found) < most {
			found = append(found, Label{Hash: h})
		}
	}
	return found, nil
}

// SubjectsBeginning returns subjects that begin with a text, in order and each once.
func (db *DB) SubjectsBeginning(ctx context.Context, text string, most int) ([]string, error) {
	if err := db.readable(ctx); err != nil {
		return nil, err
	}
	return db.sql.SubjectsBeginning(ctx, text, most)
}

// standsFor reports whether a hash is one of these kinds in some record.
func (db *DB) standsFor(ctx context.Context, h Hash, kinds HashKind) (bool, error) {
	if kinds&AgentHash != 0 {
		if _, is, err := db.sql.AgentOf(ctx, h); is || err != nil {
			return is, err
		}
	}
	known := db.sql.Dictionary()
	for kind, source := range map[HashKind]bool{AssertionHash: false, SourceHash: true} {
		if kinds&kind == 0 {
			continue
		}
		uses, err := known.Uses(ctx, sqlstore.Evidence{Hash: bytesOf(&h), Source: source}, nil, 1)
		if err != nil || len(uses) > 0 {
			return len(uses) > 0, err
		}
	}
	if kinds&AssertionHash == 0 {
		return false, nil
	}
	// An answer is an assertion too, also where it is in no evidence.
	for _, err := range db.sql.Select(ctx, sqlstore.Filter{Result: bytesOf(&h), Limit: 1}) {
		if err != nil && !ofRecord(err) {
			return false, fmt.Errorf("look for an answer: %w", err)
		}
		return true, nil
	}
	return false, nil
}
