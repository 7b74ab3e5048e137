package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
)

// rows compares the derived rows of the page's entries with their records. A record that could not be read is nil; for
// an entry that is missing there is none.
func (p *pageCheck) rows(ctx context.Context, records map[int64]*Record) error {
	first, last := p.next, p.entries[len(p.entries)-1].Idx
	if err := p.audits(ctx, first, last, records); err != nil {
		return err
	}
	if err := p.contribution(ctx, first, last, records); err != nil {
		return err
	}
	return p.attribute(ctx, first, last, records)
}

func (p *pageCheck) audits(ctx context.Context, first, last int64, records map[int64]*Record) error {
	query := `SELECT ` + storedColumns(auditTable, "a") + `, a.agent, a.epoch, a.result FROM audit a` + auditJoins + `
		WHERE a.idx BETWEEN ? AND ? ORDER BY a.idx`
	var hex hexText
	seen := map[int64]bool{}
	err := p.conn.each(ctx, query, []any{first, last}, all(func(row []driver.Value) {
		idx := integer(row[0])
		seen[idx] = true
		p.used.add(row[len(auditTable)+1])
		p.used.add(row[len(auditTable)+2])
		r, entered := records[idx]
		switch {
		case !entered:
			p.rowProblem("audit: there is no entry %d", idx)
		case r != nil:
			for _, name := range differences(auditTable, row, &auditSource{idx: idx, r: r, hex: &hex}) {
				p.rowProblem("audit: %s of row %d is not what its record says", name, idx)
			}
			if p.minute > 0 {
				p.rollup.addRecord(p.minute, r.Timestamp, integer(row[len(auditTable)]), r.unapproved())
			}
		}
	}))
	if err != nil {
		return err
	}
	for i := range p.entries {
		if idx := p.entries[i].Idx; !seen[idx] {
			p.rowProblem("audit: row %d is missing", idx)
		}
	}
	return nil
}

// rowsPage bounds how many rows of contribution are read at a time: a record may have many thousands.
const rowsPage = 4096

func (p *pageCheck) contribution(ctx context.Context, first, last int64, records map[int64]*Record) error {
	// Text and blobs sort after all numbers, so no position is left out.
	query := `SELECT ` + storedColumns(contributionTable, "c") + `, c.assertion, c.source FROM contribution c` + contributionJoins + `
		WHERE (c.audit, c.position) > (?, ?) AND c.audit <= ? ORDER BY c.audit, c.position LIMIT ?`
	var hex hexText
	found := map[int64]int{}
	// After this row the next page begins.
	audit, position := any(first), any(int64(-1<<63))
	for n := rowsPage; n == rowsPage; {
		n = 0
		err := p.conn.each(ctx, query, []any{audit, position, last, rowsPage}, all(func(row []driver.Value) {
			n++
			audit, position = row[0], row[1]
			p.rowCounts.Contributions++
			p.used.add(row[len(contributionTable)])
			p.used.add(row[len(contributionTable)+1])
			idx, at := integer(row[0]), int64(-1)
			if number, ok := row[1].(int64); ok {
				at = number
			}
			r, entered := records[idx]
			switch {
			case !entered:
				p.rowProblem("contribution: there is no entry %v", row[0])
				return
			case r == nil:
				return
			}
			found[idx]++
			if at < 0 || at >= int64(len(r.Contributions)) {
				p.rowProblem("contribution: record %d has none at position %v", idx, row[1])
				return
			}
			if len(differences(contributionTable, row, &contributionSource{idx: idx, position: at, c: &r.Contributions[at], hex: &hex})) > 0 {
				p.rowProblem("contribution: row %d of record %d is not what the record says", at, idx)
			}
		}))
		if err != nil {
			return err
		}
	}
	for i := range p.entries {
		idx := p.entries[i].Idx
		if r := records[idx]; r != nil && found[idx] < len(r.Contributions) {
			p.rowProblem("contribution: %d of %d rows of record %d are missing", len(r.Contributions)-found[idx], len(r.Contributions), idx)
		}
	}
	return nil
}

func (p *pageCheck) attribute(ctx context.Context, first, last int64, records map[int64]*Record) error {
	query := `SELECT ` + storedColumns(attributeTable, "t") + ` FROM attribute t WHERE audit BETWEEN ? AND ? ORDER BY audit, key`
	wanted := make(map[int64][]Attribute, len(records)) // of each record, those that no row was found for yet, in order
	for idx, r := range records {
		if r != nil {
			wanted[idx] = slices.SortedFunc(slices.Values(r.Attributes), func(a, b Attribute) int { return cmp.Compare(a.Key, b.Key) })
		}
	}
	wrong := map[int64]bool{}
	err := p.conn.each(ctx, query, []any{first, last}, all(func(row []driver.Value) {
		p.rowCounts.Attributes++
		idx := integer(row[0])
		if r, entered := records[idx]; !entered {
			p.rowProblem("attribute: there is no entry %v", row[0])
			return
		} else if r == nil {
			return
		}
		left := wanted[idx]
		if len(left) == 0 || len(differences(attributeTable, row, &attributeSource{idx, &left[0]})) > 0 {
			wrong[idx] = true
			return
		}
		wanted[idx] = left[1:]
	}))
	if err != nil {
		return err
	}
	for i := range p.entries {
		if idx := p.entries[i].Idx; wrong[idx] || len(wanted[idx]) > 0 {
			p.rowProblem("attribute: the rows of record %d are not what the record says", idx)
		}
	}
	return nil
}
