package sqlstore

import "fmt"

// deriver writes the rows of records into the derived tables, for Apply and Reindex. A row may wait until flush.
type deriver struct {
	audits, contributions, attributes *bulk
	newest                            *stmt
	hashes                            *hashBook

	// Memory that is used again for each row.
	row          []any
	hex          hexText
	audit        auditSource
	contribution contributionSource
	attribute    attributeSource
}

// derived is a record whose rows are to be written.
type derived struct {
	idx, kvRow, agent int64 // its index, its row in kv, and the number of its agent
	r                 *Record
}

func newDeriver(p *preparer) *deriver {
	return &deriver{
		audits:        p.numbered(`audit`, names(auditTable), len(auditTable)),
		contributions: p.bulk(`contribution`, names(contributionTable), len(contributionTable)),
		attributes:    p.bulk(`attribute`, names(attributeTable), len(attributeTable)),
		newest:        p.prepare(`SELECT coalesce(max(idx), -1) FROM audit`),
		hashes:        newHashBook(p),
	}
}

// begin is called in a transaction before the first put.
func (d *deriver) begin() (err error) {
	if d.audits.largest, err = d.newest.queryInt(); err != nil {
		return err
	}
	return d.hashes.begin()
}

// put writes the rows of records, which ascend by index. pause is called before each of them, and can end it.
func (d *deriver) put(records []derived, pause func(i int) error) error {
	defer d.release()
	for from := 0; from < len(records); {
		generation, to := generationOf(records[from].idx), from+1
		for to < len(records) && generationOf(records[to].idx) == generation {
			to++
		}
		part := records[from:to]
		if err := d.hashes.learn(generation, len(part), func(i int) *Record { return part[i].r }, func() error { return pause(0) }); err != nil {
			return err
		}
		for i := range part {
			if err := pause(from + i); err != nil {
				return err
			}
			if err := d.rows(&part[i]); err != nil {
				return err
			}
		}
		from = to
	}
	return d.flush()
}

// rows writes the rows of a record whose hashes were learned.
func (d *deriver) rows(x *derived) error {
	r := x.r
	epoch, result := d.hashes.takeOptional(r.Epoch), d.hashes.takeOptional(r.ResultHash)
	d.audit = auditSource{x.idx, x.agent, x.kvRow, r, &d.hex, epoch, result}
	d.row = appendValues(d.row[:0], auditTable, &d.audit)
	if err := d.audits.put(d.row...); err != nil {
		return fmt.Errorf("audits up to %d: %w", x.idx, err)
	}
	for i := range r.Contributions {
		assertion, source := d.hashes.take(), d.hashes.take()
		d.contribution = contributionSource{x.idx, int64(i), &r.Contributions[i], &d.hex, assertion, source}
		d.row = appendValues(d.row[:0], contributionTable, &d.contribution)
		if err := d.contributions.put(d.row...); err != nil {
			return fmt.Errorf("contributions up to audit %d: %w", x.idx, err)
		}
	}
	for i := range r.Attributes {
		d.attribute = attributeSource{x.idx, &r.Attributes[i]}
		d.row = appendValues(d.row[:0], attributeTable, &d.attribute)
		if err := d.attributes.put(d.row...); err != nil {
			return fmt.Errorf("attributes up to audit %d: %w", x.idx, err)
		}
	}
	return nil
}

// flush writes the rows that wait.
func (d *deriver) flush() error {
	for _, b := range []*bulk{d.audits, d.contributions, d.attributes} {
		if err := b.flush(); err != nil {
			return fmt.Errorf("derived rows: %w", err)
		}
	}
	return nil
}

// forget drops what was not committed, after a transaction that failed.
func (d *deriver) forget() {
	for _, b := range []*bulk{d.audits, d.contributions, d.attributes} {
		b.forget()
	}
	d.hashes.forget()
	d.release()
}

// release lets go of the records.
func (d *deriver) release() {
	clear(d.row)
	d.audit, d.contribution, d.attribute = auditSource{}, contributionSource{}, attributeSource{}
}
