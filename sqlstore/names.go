package sqlstore

import (
	"context"
	"encoding/json"
	"strings"
)

// HashKind is what a hash can stand for, besides a record.
type HashKind uint8

// The kinds of hashes that PrefixHashes can find.
const (
	AgentHash HashKind = iota
	AssertionHash
	SourceHash
)

// PrefixHashes returns the first hashes of one kind that begin with these lower-case hex digits, in order. It takes
// a few searches, however often a hash is used.
func (db *DB) PrefixHashes(ctx context.Context, kind HashKind, prefix string, most int) ([][32]byte, error) {
	find := db.agentsBeginning
	if kind != AgentHash {
		e := Evidence{Source: kind == SourceHash}
		find = func(ctx context.Context, prefix string, most int) ([]string, error) {
			return db.evidenceBeginning(ctx, e.index(), prefix, most)
		}
	}
	texts, err := find(ctx, prefix, most)
	if err != nil {
		return nil, db.fail("look for "+prefix, err)
	}
	var found [][32]byte
	for _, text := range texts {
		if h, ok := hashOf(text); ok {
			found = append(found, h)
		}
	}
	return found, nil
}

func (db *DB) agentsBeginning(ctx context.Context, prefix string, most int) ([]string, error) {
	const query = `SELECT agent_hex FROM agent WHERE agent_hex >= ? AND agent_hex < ? ORDER BY agent_hex LIMIT ?`
	var texts []string
	err := db.readers.SelectContext(ctx, &texts, query, prefix, afterPrefix(prefix), most)
	return texts, err
}

// afterPrefix is after each text of hex digits that begins with a prefix, and before those that follow.
func afterPrefix(prefix string) string { return prefix + "g" }

// LabelHashes returns the first hashes that have a label, in order.
func (db *DB) LabelHashes(ctx context.Context, label string, most int) ([]string, error) {
	const query = `SELECT hash FROM label INDEXED BY label_by_name WHERE label = ? ORDER BY hash LIMIT ?`
	var hashes []string
	if err := db.readers.SelectContext(ctx, &hashes, query, label, most); err != nil {
		return nil, db.fail("look for a label", err)
	}
	return hashes, nil
}

// LabelsBeginning returns the first labels that begin with a text, in order.
func (db *DB) LabelsBeginning(ctx context.Context, text string, most int) ([]Label, error) {
	const query = `SELECT hash, label FROM label INDEXED BY label_by_name WHERE label >= ? ORDER BY label, hash LIMIT ?`
	var labels []Label
	if err := db.readers.SelectContext(ctx, &labels, query, text, most); err != nil {
		return nil, db.fail("look for labels", err)
	}
	for i, l := range labels {
		if !strings.HasPrefix(l.Label, text) {
			return labels[:i], nil
		}
	}
	return labels, nil
}

// SubjectsBeginning returns the first subjects that begin with a text, in order and each once. It takes a search for each.
func (db *DB) SubjectsBeginning(ctx context.Context, text string, most int) ([]string, error) {
	const from = `SELECT min(a.subject) FROM audit a INDEXED BY audit_by_subject WHERE a.subject >= ?`
	const after = `SELECT min(a.subject) FROM audit a INDEXED BY audit_by_subject WHERE a.subject > ?`
	var subjects []string
	query, last := from, text
	for len(subjects) < most {
		var next *string
		if err := db.readers.GetContext(ctx, &next, query, last); err != nil {
			return nil, db.fail("look for subjects", err)
		}
		if next == nil || !strings.HasPrefix(*next, text) {
			break
		}
		subjects = append(subjects, *next)
		query, last = after, *next
	}
	return subjects, nil
}

// LabelsOf returns the labels of those of these hashes (in lower-case hex) that have one.
func (db *DB) LabelsOf(ctx context.Context, hashes []string) (map[string]string, error) {
	const query = `SELECT l.hash, l.label FROM json_each(?) j CROSS JOIN label l ON l.hash = j.value`
	list, err := json.Marshal(hashes)
	if err != nil {
		return nil, db.fail("read labels", err)
	}
	var rows []Label
	if err := db.readers.SelectContext(ctx, &rows, query, string(list)); err != nil {
		return nil, db.fail("read labels", err)
	}
	labels := make(map[string]string, len(rows))
	for _, l := range rows {
		labels[l.Hash] = l.Label
	}
	return labels, nil
}
