package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// journal verifies every journal record and compares those before the cursor with kv.
func (v *verification) journal(ctx context.Context, f *findings, cursor uint64, rejected map[uint64]Hash, entries *feed) error {
	defer entries.leave()
	p := pairing{verification: v, findings: f, ctx: ctx, cursor: cursor, rejected: rejected, entries: entries}
	if err := p.next(); err != nil {
		return err
	}
	o := v.db.opts.journal()
	o.OnTrimmed, o.OnFilled = p.trimmed, p.filled
	o.Reached = func() wal.Offset { return wal.Offset(cursor) }
	var err error
	v.report.Journal, err = wal.VerifyContext(ctx, v.db.journalDir, o, p.visit)
	if err != nil {
		return err
	}
	v.damage(f)
	if err := p.passUntil(cursor); err != nil {
		return err
	}
	for _, off := range slices.Sorted(maps.Keys(p.rejected)) {
		if uint64(v.report.Journal.First) <= off && off < cursor || off >= uint64(v.report.Journal.End) {
			f.problem("rejected: the journal has no such record at offset %d", off)
		}
	}
	// A writer may have trimmed the journal past this cursor, but not past the cursor that SQLite has by now.
	applied, err := v.db.sql.Cursor(ctx)
	if err != nil {
		return err
	}
	if first := v.report.Journal.First; uint64(first) > applied {
		f.problem("journal: it begins at offset %d, after the cursor %d: records between them are missing", first, applied)
	}
	if end := v.report.Journal.End; uint64(end) < cursor {
		f.problem("journal: it ends at offset %d, before the cursor %d", end, cursor)
	}
	if t := v.report.Journal.Torn; t != nil { // what is no record before the cursor is damage, and no torn tail
		f.note("the journal has a torn tail of %d bytes at offset %d (%s): nothing in it was acknowledged, or it is being written right now", t.Bytes, t.Offset, t.Reason)
	}
	v.beginning(f, &p.alone)
	v.trimmed(f)
	v.gaps(f, p.spared)
	return nil
}

// beginning notes that the journal does not begin with the first record. That is no problem: the store removes the oldest segments
// itself, up to what the retention keeps, and does not note how far it has. alone is how many records are in SQLite alone, and nil when
// they were not counted.
func (v *verification) beginning(f *findings, alone *uint64) {
	first, end := v.report.Journal.First, v.report.Journal.End
	if first == 0 {
		return
	}
	which := "the records before it are"
	if alone != nil {
		which = fmt.Sprintf("%d records before it are", *alone)
		if *alone == 1 {
			which = "1 record before it is"
		}
	}
	why := ""
	if keep := v.db.file.Retention; keep < 0 || end-first < wal.Offset(keep) {
		why = fmt.Sprintf("; the store's retention (%s) does not explain that: it was smaller once, a repair began the journal anew, or somebody has removed segments", keep)
	}
	f.note("the journal begins at offset %d: %s in SQLite alone%s", first, which, why)
}

// trimmed notes what was trimmed before it could be read.
func (v *verification) trimmed(f *findings) {
	bytes := wal.Offset(0)
	for _, gone := range v.report.Journal.Trimmed {
		bytes += gone.End - gone.Offset
	}
	if bytes > 0 {
		f.note("%d bytes of the journal were trimmed by a writer before they could be read: of the records in them SQLite alone was checked", bytes)
	}
}

// gaps notes where a repair had no record to put back: what was lost, as far as that is known. SQLite has so many of these records.
func (v *verification) gaps(f *findings, spared uint64) {
	j := &v.report.Journal
	if len(j.Gaps) == 0 {
		return
	}
	const most = 20
	var places []string
	for _, g := range j.Gaps[:min(most, len(j.Gaps))] {
		places = append(places, fmt.Sprintf("%d bytes at offset %d", g.End-g.Offset, g.Offset))
	}
	if more := len(j.Gaps) - len(places); more > 0 {
		places = append(places, fmt.Sprintf("and %d more", more))
	}
	where := strings.Join(places, ", ")
	if spared == 0 {
		f.note("the journal has repaired gaps, whose records are lost (%d, %d bytes): %s", len(j.Gaps), j.FillBytes, where)
		return
	}
	f.note("the journal has repaired gaps (%d, %d bytes): %s; SQLite alone has %d records of them, so keep a backup: a database that is built from the journal lacks them",
		len(j.Gaps), j.FillBytes, where, spared)
}

// feed hands the entries that the check of the tables reads to the comparison with the journal. So each record is read from
// SQLite once, and at most a few pages of them are in memory.
type feed struct {
	pages chan []sqlstore.EntryValue
	err   error                 // why there are no more; set before pages is closed
	left  chan struct{}         // closed when the comparison takes no more
	page  []sqlstore.EntryValue // what is left of the page that was taken last
}

func newFeed() *feed {
	return &feed{pages: make(chan []sqlstore.EntryValue, 1), left: make(chan struct{})}
}

// put is [sqlstore.Check] Entries.
func (f *feed) put(page []sqlstore.EntryValue, err error) {
	if page == nil {
		f.err = err
		close(f.pages)
		return
	}
	select {
	case f.pages <- page:
	case <-f.left:
	}
}

// next waits for the next entry. It reports false after the last one.
func (f *feed) next() (sqlstore.EntryValue, bool, error) {
	for len(f.page) == 0 {
		page, more := <-f.pages
		if !more {
			return sqlstore.EntryValue{}, false, f.err
		}
		f.page = page
	}
	e := f.page[0]
	f.page = f.page[1:]
	return e, true, nil
}

// leave lets put go on without a receiver.
func (f *feed) leave() { close(f.left) }

// pairing reads the journal and SQLite's entries side by side. Entries are numbered in the order in which
// ids first appear in the journal, so both are in the order of offsets. Only a record that the journal has
// twice has to be looked up.
type pairing struct {
	*verification
	*findings
	ctx      context.Context
	cursor   uint64
	rejected map[uint64]Hash // BLAKE3 of the payloads by offset, of those not yet visited
	entries  *feed
	entry    sqlstore.EntryValue // the next one, which was not found in the journal yet
	more     bool
	started  bool // a journal record was visited
	visited  uint64
	alone    uint64 // entries before the beginning of the journal, or in what was trimmed meanwhile
	spared   uint64 // entries where a repair has put fillers, because it had no SQLite to ask
}

func (p *pairing) next() (err error) {
	end := p.entry.JournalOffset + journalHeader + uint64(len(p.entry.Value))
	had := p.more
	// An entry without a value, which kv lacks or has another one of, does not match. Why, the check of the tables says.
	p.entry, p.more, err = p.entries.next()
	// This can be checked also where the journal is trimmed.
	if had && p.more && p.entry.JournalOffset < end {
		p.problem("entry %d (%s): at its journal offset, %d, the record before it has not ended", p.entry.Index, Hash(p.entry.QueryID), p.entry.JournalOffset)
	}
	return err
}

// journalHeader is what stands before each payload in the journal, in bytes.
const journalHeader = 40

// passUntil skips the entries before an offset: the journal has no records for them. That is right before the beginning of a trimmed
// journal. What was trimmed or filled is passed over before.
func (p *pairing) passUntil(off uint64) error {
	for p.more && p.entry.JournalOffset < off {
		if p.started {
			p.problem("entry %d (%s): the journal has no such record at offset %d", p.entry.Index, Hash(p.entry.QueryID), p.entry.JournalOffset)
		} else {
			p.alone++
		}
		if err := p.next(); err != nil {
			return err
		}
	}
	return nil
}

// trimmed skips what a writer trimmed from the journal before it could be read.
func (p *pairing) trimmed(gone wal.Gap) error { return p.skip(gone, &p.alone) }

// filled skips what a repair has replaced by a filler. A repair that did not trust SQLite has not asked it for the records, and
// SQLite may have them.
func (p *pairing) filled(gone wal.Gap) error {
	p.started = true
	return p.skip(gone, &p.spared)
}

// skip counts the entries in a stretch of the journal that has no records.
func (p *pairing) skip(gone wal.Gap, counted *uint64) error {
	from, to := uint64(gone.Offset), uint64(gone.End)
	if err := p.passUntil(min(from, p.cursor)); err != nil {
		return err
	}
	for p.more && p.entry.JournalOffset < min(to, p.cursor) {
		*counted++
		if err := p.next(); err != nil {
			return err
		}
	}
	maps.DeleteFunc(p.rejected, func(off uint64, _ Hash) bool { return from <= off && off < to })
	return nil
}

func (p *pairing) visit(rec wal.Record) error {
	if p.visited++; p.visited%4096 == 0 {
		p.progress(stageJournal, p.visited)
	}
	off := uint64(rec.Offset)
	if off >= p.cursor {
		p.report.NotApplied++
		return nil
	}
	if uint64(rec.Next) > p.cursor {
		p.problem("the cursor, %d, lies within the journal record at offset %d", p.cursor, off)
	}
	if err := p.passUntil(off); err != nil {
		return err
	}
	p.started = true
	if hash, ok := p.rejected[off]; ok {
		delete(p.rejected, off)
		return p.wasRejected(rec, hash)
	}
	if p.more && p.entry.JournalOffset == off {
		if bytes.Equal(p.entry.Value, rec.Payload) {
			p.report.Matched++
		} else {
			p.otherRecords = true
			p.problem("entry %d (%s): kv and the journal record at offset %d differ", p.entry.Index, Hash(p.entry.QueryID), off)
		}
		return p.next()
	}
	return p.repeated(rec)
}

// wasRejected checks a journal record that table rejected has. It must have the same bytes, and there must be a reason to
// reject it.
func (p *pairing) wasRejected(rec wal.Record, hash Hash) error {
	if rec.Hash != hash {
		p.problem("rejected: the journal record at offset %d has other bytes", rec.Offset)
		return nil
	}
	q, err := ParseCanonical(rec.Payload)
	if err != nil {
		return nil
	}
	switch stored, err := p.db.sql.Get(p.ctx, KeyOf(q.QueryID)); {
	case errors.Is(err, sqlstore.ErrNotFound), err == nil && bytes.Equal(stored, rec.Payload):
		p.problem("rejected: there is no reason to reject the journal record at offset %d (%s)", rec.Offset, q.QueryID)
	case err != nil:
		return err
	}
	return nil
}

// repeated checks a journal record that has no entry: it must repeat an earlier one.
func (p *pairing) repeated(rec wal.Record) error {
	id, ok := idOf(rec.Payload)
	if !ok {
		p.problem("journal record at offset %d is no audit, and was not rejected", rec.Offset)
		return nil
	}
	stored, err := p.db.sql.Get(p.ctx, KeyOf(id))
	switch {
	case errors.Is(err, sqlstore.ErrNotFound):
		p.problem("journal record at offset %d (%s) is missing from kv", rec.Offset, id)
	case err != nil:
		return err
	case !bytes.Equal(stored, rec.Payload):
		p.problem("journal record at offset %d (%s) differs from kv, and was not rejected", rec.Offset, id)
	default:
		p.report.Matched++
	}
	return nil
}
