package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"slices"
)

// rows holds the derived rows of entries first to last against their records. A record that is nil could not
// be read; of an entry that is missing there is none.
func (c *checker) rows(ctx context.Context, first, last int64, records map[int64]*Record) error {
	if err := c.audits(ctx, first, last, records); err != nil {
		return err
	}
	if err := c.contribution(ctx, first, last, records); err != nil {
		return err
	}
	return c.attribute(ctx, first, last, records)
}

// auditColumns is a row of table audit with its agent.
type auditColumns struct {
	Idx              int64
	QueryID          []byte `db:"query_id"`
	AgentID          []byte `db:"agent_id"`
	Known            bool   // whether its agent is in table agent
	Timestamp        int64
	Subject          *string
	Predicate        *string
	Lifecycle        *int64
	Epoch            []byte
	Lens             *string
	QueryHex         string  `db:"query_hex"`
	ResultHash       *string `db:"result_hash"`
	ResultConfidence float64 `db:"result_confidence"`
	Contributions    int
}

func (c *checker) audits(ctx context.Context, first, last int64, records map[int64]*Record) error {
	const query = `SELECT a.idx, a.query_id, a.query_hex, g.agent_id, g.id IS NOT NULL AS known, a.timestamp, a.subject, a.predicate,
		a.lifecycle, a.epoch, a.lens, a.result_hash, a.result_confidence, a.contributions
		FROM audit a LEFT JOIN agent g ON g.id = a.agent WHERE a.idx BETWEEN ? AND ? ORDER BY a.idx`
	var rows []auditColumns
	if err := c.db.readers.SelectContext(ctx, &rows, query, first, last); err != nil {
		return err
	}
	seen := map[int64]bool{}
	for i := range rows {
		a := &rows[i]
		seen[a.Idx] = true
		r, entered := records[a.Idx]
		switch {
		case !entered:
			c.problem("audit: there is no entry %d", a.Idx)
		case r != nil:
			for _, column := range a.differ(r) {
				c.problem("audit: %s of row %d is not what its record says", column, a.Idx)
			}
		}
	}
	for idx := first; idx <= last; idx++ {
		if _, entered := records[idx]; entered && !seen[idx] {
			c.problem("audit: row %d is missing", idx)
		}
	}
	return nil
}

// differ returns the columns that are not what r says.
func (a *auditColumns) differ(r *Record) (columns []string) {
	check := func(same bool, column string) {
		if !same {
			columns = append(columns, column)
		}
	}
	check(bytes.Equal(a.QueryID, r.QueryID[:]) && a.QueryHex == hex.EncodeToString(r.QueryID[:]), "query_id")
	check(a.Known && sameHash(a.AgentID, r.AgentID), "agent")
	check(a.Timestamp == r.Timestamp, "timestamp")
	check(same(a.Subject, r.Subject), "subject")
	check(same(a.Predicate, r.Predicate), "predicate")
	check((a.Lifecycle == nil) == (r.Lifecycle == nil) && (a.Lifecycle == nil || *a.Lifecycle == int64(*r.Lifecycle)), "lifecycle")
	check(sameHash(a.Epoch, r.Epoch), "epoch")
	check(same(a.Lens, r.Lens), "lens")
	check((a.ResultHash == nil) == (r.ResultHash == nil) &&
		(r.ResultHash == nil || *a.ResultHash == hex.EncodeToString(r.ResultHash[:])), "result_hash")
	check(a.ResultConfidence == r.ResultConfidence, "result_confidence")
	check(a.Contributions == len(r.Contributions), "contributions")
	return columns
}

func same[T comparable](a, b *T) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

func sameHash(a []byte, b *[32]byte) bool {
	return (a == nil) == (b == nil) && (b == nil || bytes.Equal(a, b[:]))
}

// rowsPage bounds how many rows of contribution and attribute are held at a time: a record may have
// many thousands.
const rowsPage = 4096

func (c *checker) contribution(ctx context.Context, first, last int64, records map[int64]*Record) error {
	const query = `SELECT audit, position, assertion_hash, weight, source_hash, lifecycle FROM contribution
		WHERE (audit, position) > (?, ?) AND audit <= ? ORDER BY audit, position LIMIT ?`
	found := map[int64]int{}
	for audit, position := first, int64(-1<<63); ; {
		var rows []struct {
			Audit, Position int64
			AssertionHash   string `db:"assertion_hash"`
			Weight          float64
			SourceHash      string `db:"source_hash"`
			Lifecycle       int64
		}
		if err := c.db.readers.SelectContext(ctx, &rows, query, audit, position, last, rowsPage); err != nil {
			return err
		}
		for _, row := range rows {
			audit, position = row.Audit, row.Position
			c.counts.Contributions++
			r, entered := records[row.Audit]
			if !entered {
				c.problem("contribution: there is no entry %d", row.Audit)
				continue
			}
			if r == nil {
				continue
			}
			found[row.Audit]++
			if row.Position < 0 || row.Position >= int64(len(r.Contributions)) {
				c.problem("contribution: record %d has none at position %d", row.Audit, row.Position)
				continue
			}
			want := &r.Contributions[row.Position]
			if row.AssertionHash != hex.EncodeToString(want.AssertionHash[:]) || row.Weight != want.Weight ||
				row.SourceHash != hex.EncodeToString(want.SourceHash[:]) || row.Lifecycle != int64(want.Lifecycle) {
				c.problem("contribution: row %d of record %d is not what the record says", row.Position, row.Audit)
			}
		}
		if len(rows) < rowsPage {
			break
		}
	}
	for idx := first; idx <= last; idx++ {
		if r := records[idx]; r != nil && found[idx] < len(r.Contributions) {
			c.problem("contribution: %d of %d rows of record %d are missing", len(r.Contributions)-found[idx], len(r.Contributions), idx)
		}
	}
	return nil
}

func (c *checker) attribute(ctx context.Context, first, last int64, records map[int64]*Record) error {
	const query = `SELECT audit, key, value FROM attribute WHERE audit BETWEEN ? AND ? ORDER BY audit, key`
	var rows []struct {
		Audit int64
		Attribute
	}
	if err := c.db.readers.SelectContext(ctx, &rows, query, first, last); err != nil {
		return err
	}
	c.counts.Attributes += uint64(len(rows))
	have := map[int64][]Attribute{}
	for _, row := range rows {
		if _, entered := records[row.Audit]; !entered {
			c.problem("attribute: there is no entry %d", row.Audit)
		}
		have[row.Audit] = append(have[row.Audit], row.Attribute)
	}
	for idx := first; idx <= last; idx++ {
		r := records[idx]
		if r == nil {
			continue
		}
		want := slices.Clone(r.Attributes)
		slices.SortFunc(want, func(a, b Attribute) int { return cmp.Compare(a.Key, b.Key) })
		if !slices.Equal(have[idx], want) {
			c.problem("attribute: the rows of record %d are not what the record says", idx)
		}
	}
	return nil
}
