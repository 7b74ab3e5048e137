package sqlstore

import (
	"cmp"
	"context"
	"database/sql/driver"
	"slices"
)

// rows compares the derived rows of entries first to last with their records. A record that could not be read is nil; for
// an entry that is missing there is none.
func (c *checker) rows(ctx context.Context, first, last int64, records map[int64]*Record) error {
	if err := c.audits(ctx, first, last, records); err != nil {
		return err
	}
	if err := c.contribution(ctx, first, last, records); err != nil {
		return err
	}
	return c.attribute(ctx, first, last, records)
}

// each hands each row of a query to visit. What visit reports is passed on after the query, when no connection is held.
func (c *checker) each(ctx context.Context, query string, args []any, visit func(row []driver.Value)) error {
	var found []string
	report := c.report
	c.report = func(problem string) { found = append(found, problem) }
	err := c.db.readers.each(ctx, query, args, all(visit))
	c.report = report
	for _, problem := range found {
		report(problem)
	}
	return err
}

func (c *checker) audits(ctx context.Context, first, last int64, records map[int64]*Record) error {
	query := `SELECT ` + storedColumns(auditTable, "a") + ` FROM audit a LEFT JOIN agent g ON g.id = a.agent
		WHERE a.idx BETWEEN ? AND ? ORDER BY a.idx`
	var hex hexText
	seen := map[int64]bool{}
	err := c.each(ctx, query, []any{first, last}, func(row []driver.Value) {
		idx := integer(row[0])
		seen[idx] = true
		r, entered := records[idx]
		switch {
		case !entered:
			c.problem("audit: there is no entry %d", idx)
		case r != nil:
			for _, name := range differences(auditTable, row, &auditSource{idx: idx, r: r, hex: &hex}) {
				c.problem("audit: %s of row %d is not what its record says", name, idx)
			}
		}
	})
	if err != nil {
		return err
	}
	for idx := first; idx <= last; idx++ {
		if _, entered := records[idx]; entered && !seen[idx] {
			c.problem("audit: row %d is missing", idx)
		}
	}
	return nil
}

// rowsPage bounds how many rows of contribution are read at a time: a record may have many thousands.
const rowsPage = 4096

func (c *checker) contribution(ctx context.Context, first, last int64, records map[int64]*Record) error {
	// Text and blobs sort after all numbers, so no position is left out.
	query := `SELECT ` + storedColumns(contributionTable, "c") + ` FROM contribution c
		WHERE (audit, position) > (?, ?) AND audit <= ? ORDER BY audit, position LIMIT ?`
	var hex hexText
	found := map[int64]int{}
	// After this row the next page begins.
	audit, position := any(first), any(int64(-1<<63))
	for n := rowsPage; n == rowsPage; {
		n = 0
		err := c.each(ctx, query, []any{audit, position, last, rowsPage}, func(row []driver.Value) {
			n++
			audit, position = row[0], row[1]
			c.counts.Contributions++
			idx, at := integer(row[0]), int64(-1)
			if number, ok := row[1].(int64); ok {
				at = number
			}
			r, entered := records[idx]
			switch {
			case !entered:
				c.problem("contribution: there is no entry %v", row[0])
				return
			case r == nil:
				return
			}
			found[idx]++
			if at < 0 || at >= int64(len(r.Contributions)) {
				c.problem("contribution: record %d has none at position %v", idx, row[1])
				return
			}
			if len(differences(contributionTable, row, &contributionSource{idx, at, &r.Contributions[at], &hex})) > 0 {
				c.problem("contribution: row %d of record %d is not what the record says", at, idx)
			}
		})
		if err != nil {
			return err
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
	query := `SELECT ` + storedColumns(attributeTable, "t") + ` FROM attribute t WHERE audit BETWEEN ? AND ? ORDER BY audit, key`
	wanted := make(map[int64][]Attribute, len(records)) // of each record, those that no row was found for yet, in order
	for idx, r := range records {
		if r != nil {
			wanted[idx] = slices.SortedFunc(slices.Values(r.Attributes), func(a, b Attribute) int { return cmp.Compare(a.Key, b.Key) })
		}
	}
	wrong := map[int64]bool{}
	err := c.each(ctx, query, []any{first, last}, func(row []driver.Value) {
		c.counts.Attributes++
		idx := integer(row[0])
		if r, entered := records[idx]; !entered {
			c.problem("attribute: there is no entry %v", row[0])
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
	})
	if err != nil {
		return err
	}
	for idx := first; idx <= last; idx++ {
		if wrong[idx] || len(wanted[idx]) > 0 {
			c.problem("attribute: the rows of record %d are not what the record says", idx)
		}
	}
	return nil
}
