package sqlstore

import "fmt"

// deriver writes the rows of records into the derived tables, for Apply and Reindex. A row may wait until flush.
type deriver struct {
	audits, contributions, attributes *bulk
	newest                            *stmt

	// Memory that is used again for each row.
	row          []any
	hex          hexText
	audit        auditSource
	contribution contributionSource
	attribute    attributeSource
}

func newDeriver(p *preparer) *deriver {
	return &deriver{
		audits:        p.numbered(`audit`, names(auditTable), len(auditTable)),
		contributions: p.bulk(`contribution`, names(contributionTable), len(contributionTable)),
		attributes:    p.bulk(`attribute`, names(attributeTable), len(attributeTable)),
		newest:        p.prepare(`SELECT coalesce(max(idx), -1) FROM audit`),
	}
}

// begin is called in a transaction before the first put.
func (d *deriver) begin() (err error) {
	d.audits.largest, err = d.newest.queryInt()
	return err
}

// put writes the rows of r, which has this index, is in this row of kv, and whose agent has this number. r must not
// change before flush.
func (d *deriver) put(idx, kvRow, agent int64, r *Record) error {
	d.audit = auditSource{idx, agent, kvRow, r, &d.hex}
	d.row = appendValues(d.row[:0], auditTable, &d.audit)
	if err := d.audits.put(d.row...); err != nil {
		return fmt.Errorf("audits up to %d: %w", idx, err)
	}
	for i := range r.Contributions {
		d.contribution = contributionSource{idx, int64(i), &r.Contributions[i], &d.hex}
		d.row = appendValues(d.row[:0], contributionTable, &d.contribution)
		if err := d.contributions.put(d.row...); err != nil {
			return fmt.Errorf("contributions up to audit %d: %w", idx, err)
		}
	}
	for i := range r.Attributes {
		d.attribute = attributeSource{idx, &r.Attributes[i]}
		d.row = appendValues(d.row[:0], attributeTable, &d.attribute)
		if err := d.attributes.put(d.row...); err != nil {
			return fmt.Errorf("attributes up to audit %d: %w", idx, err)
		}
	}
	return nil
}

// flush writes the rows that wait.
func (d *deriver) flush() error {
	defer d.release()
	for _, b := range []*bulk{d.audits, d.contributions, d.attributes} {
		if err := b.flush(); err != nil {
			return fmt.Errorf("derived rows: %w", err)
		}
	}
	return nil
}

// forget drops the rows that wait, after a transaction that failed.
func (d *deriver) forget() {
	for _, b := range []*bulk{d.audits, d.contributions, d.attributes} {
		b.forget()
	}
	d.release()
}

// release lets go of the records.
func (d *deriver) release() {
	clear(d.row)
	d.audit, d.contribution, d.attribute = auditSource{}, contributionSource{}, attributeSource{}
}
