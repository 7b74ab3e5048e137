package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// Verify checks the whole store: the checksums of each journal record, SQLite's own integrity, its
// schema (a guard that is missing), the journal against kv, kv against the forensic tables, keys against
// values. It works beside a live writer, on what is applied when it begins, and does not block the writer.
//
// The report says what is wrong. An error means that something could not be read, or that ctx has ended.
func (db *DB) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	v := newVerification(db, o)
	start := time.Now()
	err := v.run(ctx)
	v.report.Took = time.Since(start)
	if err != nil {
		return v.report, fmt.Errorf("verify: %w", err)
	}
	return v.report, nil
}

// Verify is [DB.Verify] of the store in dir. It also works when SQLite cannot be opened or is another store's: that is
// a problem in the report then, and the journal is verified alone.
func Verify(ctx context.Context, dir string, o VerifyOptions, opts ...Option) (VerifyReport, error) {
	db, err := OpenContext(ctx, dir, append(opts, ReadOnly())...)
	if err == nil {
		report, err := db.Verify(ctx, o)
		return report, errors.Join(err, db.Close())
	}
	var foreign *ForeignError
	if !errors.Is(err, sqlstore.ErrMalformed) && !errors.As(err, &foreign) {
		return VerifyReport{}, err
	}
	v := newVerification(nil, o)
	v.unread(err)
	start := time.Now()
	journalDir, err := JournalDir(dir)
	if err == nil {
		err = v.journalAlone(ctx, journalDir, applyOptions(opts))
	}
	v.report.Took = time.Since(start)
	if err != nil {
		return v.report, fmt.Errorf("verify: %w", err)
	}
	return v.report, nil
}

func newVerification(db *DB, o VerifyOptions) *verification {
	v := &verification{db: db, quick: o.Quick, progress: o.Progress}
	v.report.Quick = o.Quick
	v.report.Problems, v.report.Notes = []string{}, []string{}
	v.report.Journal.Damage = []*wal.CorruptError{}
	if v.progress == nil {
		v.progress = func(string, uint64) {}
	}
	return v
}

type verification struct {
	db       *DB
	quick    bool
	progress func(stage string, done uint64)
	report   VerifyReport
}

func (v *verification) problem(format string, args ...any) {
	v.report.Total++
	if len(v.report.Problems) < MaxProblems {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
	}
}

func (v *verification) note(format string, args ...any) {
	v.report.Notes = append(v.report.Notes, fmt.Sprintf(format, args...))
}

// run checks everything. When SQLite cannot be read, that is a problem of the report, and the journal is verified alone.
func (v *verification) run(ctx context.Context) error {
	if err := v.db.caughtUp(ctx); err != nil {
		return err
	}
	if v.db.journal == nil {
		if err := v.checkOpening(ctx, v.db.dir, v.db.opts); err != nil {
			return err
		}
	}
	err := v.everything(ctx)
	if !errors.Is(err, sqlstore.ErrMalformed) {
		return err
	}
	v.unread(err)
	if v.quick || v.report.Journal.Segments > 0 || v.report.JournalAway != "" {
		return nil
	}
	return v.journalAlone(ctx, v.db.journalDir, v.db.opts)
}

// unread adds the problem that SQLite cannot be read to its end, or must not be.
func (v *verification) unread(err error) {
	v.report.SQLiteUnread = err.Error()
	v.problem("%s was not looked at to its end: %v", storedir.SQLiteName, err)
}

// journalAlone verifies every journal record when there is no SQLite to compare it with.
func (v *verification) journalAlone(ctx context.Context, journalDir string, o options) (err error) {
	n := uint64(0)
	v.report.Journal, err = wal.VerifyContext(ctx, journalDir, o.journal(), func(wal.Record) error {
		if n++; n%4096 == 0 {
			v.progress("the journal", n)
		}
		return nil
	})
	v.damage()
	return err
}

// damage adds a problem for each place at which the journal is damaged.
func (v *verification) damage() {
	if v.report.Journal.Damage == nil {
		v.report.Journal.Damage = []*wal.CorruptError{}
	}
	for _, d := range v.report.Journal.Damage {
		v.problem("journal: %v", d)
	}
}

// checkOpening makes the comparisons that opening the store in dir for writing makes, so that a store that every opening
// refuses does not pass. When somebody has it open for writing, that opening has made them.
func (v *verification) checkOpening(ctx context.Context, dir string, o options) error {
	journalDir, err := JournalDir(dir)
	if err != nil {
		return nil // there is a problem about this already
	}
	if held, _, err := lockHolder(ctx, journalDir); err != nil || held {
		return err
	}
	p := &opening{ctx: ctx, dir: dir, opts: o}
	err = p.checkTogether(journalDir)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isRefusal(err):
		v.problem("opening the store is refused: %v", err)
	case err != nil:
		v.note("whether opening the store would refuse it could not be found out: %v", err)
	case p.suspect():
		v.problem("%s is suspect: %s", storedir.SQLiteName, p.plan.Doubt)
	}
	return nil
}

// isRefusal reports whether err says that the parts of a store do not fit together. Other errors say that something
// could not be read.
func isRefusal(err error) bool {
	var corrupt *wal.CorruptError
	return errors.As(err, &corrupt) || errors.Is(err, wal.ErrGap) || errors.Is(err, wal.ErrAhead) || errors.Is(err, wal.ErrForeign) ||
		errors.Is(err, ErrMismatch) || errors.Is(err, ErrDamaged) || errors.Is(err, sqlstore.ErrMalformed)
}

func (v *verification) everything(ctx context.Context) error {
	v.progress("SQLite's own integrity", 0)
	problems, err := v.db.sql.Integrity(ctx, v.quick)
	if err != nil {
		return err
	}
	for _, p := range problems {
		v.problem("%s: %s", storedir.SQLiteName, p)
	}
	err = v.db.sql.CheckSchema(ctx, func(p string) { v.problem("%s: %s", storedir.SQLiteName, p) }, func(n string) { v.note("%s: %s", storedir.SQLiteName, n) })
	if err != nil {
		return err
	}
	if err := v.db.sql.CheckOwnerless(ctx, func(p string) { v.problem("%s: %s", storedir.SQLiteName, p) }); err != nil {
		return err
	}
	// The cursor is read before the rejected rows: what is rejected later lies after it.
	cursor, err := v.db.sql.Cursor(ctx)
	if err != nil {
		return err
	}
	rejected, err := v.db.sql.RejectedRows(ctx, -1)
	if err != nil {
		return err
	}
	v.report.Rejected = uint64(len(rejected))
	for _, r := range rejected {
		v.problem("journal record at offset %d was rejected: %s", r.Offset, r.Reason)
	}
	away := v.db.journalAway()
	if away != nil {
		v.report.JournalAway = away.Error()
		v.problem("the journal was not looked at: %v", away)
	}
	if v.quick {
		return v.counts(ctx)
	}
	if away == nil {
		if err := v.journal(ctx, cursor, rejected); err != nil {
			return err
		}
	}
	v.progress("the forensic tables", 0)
	inKV := false
	counts, err := v.db.sql.CheckDerived(ctx, rowOf, func(p string) {
		inKV = inKV || strings.HasPrefix(p, "kv: ") || strings.HasPrefix(p, "entry: ")
		v.problem("%s: %s", storedir.SQLiteName, p)
	})
	if err != nil {
		return err
	}
	if inKV {
		v.note("reindex cannot restore kv and entry, from which it rebuilds the other tables; %s", v.db.rebuildAdvice())
	}
	v.report.Audits, v.report.AgentKeys = counts.Audits, counts.AgentKeys
	v.report.Contributions, v.report.Attributes, v.report.Agents = counts.Contributions, counts.Attributes, counts.Agents
	return nil
}

// counts reports what is known without reading everything: the numbers that SQLite keeps, and whether each segment
// begins where the one before it ends.
func (v *verification) counts(ctx context.Context) error {
	stats, err := v.db.stats(ctx)
	if err != nil {
		return err
	}
	v.report.Audits, v.report.Contributions, v.report.Agents = stats.Audits, stats.Contributions, stats.Agents
	if v.report.JournalAway != "" {
		return nil
	}
	segs, err := v.db.segments()
	if err != nil {
		return err
	}
	v.report.Journal.Segments = len(segs)
	for i, seg := range segs {
		v.report.Journal.Bytes += seg.Size
		if i == 0 {
			v.report.Journal.First = seg.Base
		} else if end := segs[i-1].Base + wal.Offset(segs[i-1].Size); end != seg.Base {
			v.problem("journal: %s ends at offset %d, the next segment begins at %d", segs[i-1].Path, end, seg.Base)
		}
		v.report.Journal.End = seg.Base + wal.Offset(seg.Size)
	}
	// The last segment may be longer than its records, and never shorter.
	if end := v.report.Journal.End; end < stats.Applied {
		v.problem("journal: it ends at offset %d, before the cursor %d", end, stats.Applied)
	}
	return nil
}

// journal verifies every journal record and compares those before the cursor with kv.
func (v *verification) journal(ctx context.Context, cursor uint64, rejected []sqlstore.Rejected) error {
	p := pairing{verification: v, ctx: ctx, cursor: cursor, rejected: map[uint64][]byte{}}
	for _, r := range rejected {
		p.rejected[r.Offset] = r.Payload
	}
	var stop func()
	p.pull, stop = iter.Pull2(v.db.sql.Values(ctx, 0))
	defer stop()
	if err := p.next(); err != nil {
		return err
	}
	o := v.db.opts.journal()
	o.OnTrimmed = p.trimmed
	var err error
	v.report.Journal, err = wal.VerifyContext(ctx, v.db.journalDir, o, p.visit)
	if err != nil {
		return err
	}
	v.damage()
	if err := p.passUntil(cursor); err != nil {
		return err
	}
	for off := range p.rejected {
		if uint64(v.report.Journal.First) <= off && off < cursor || off >= uint64(v.report.Journal.End) {
			v.problem("rejected: the journal has no such record at offset %d", off)
		}
	}
	// A writer may have trimmed the journal past this cursor, but not past the cursor that SQLite has by now.
	applied, err := v.db.sql.Cursor(ctx)
	if err != nil {
		return err
	}
	if first := v.report.Journal.First; uint64(first) > applied {
		v.problem("journal: it begins at offset %d, after the cursor %d: records between them are missing", first, applied)
	}
	if end := v.report.Journal.End; uint64(end) < cursor {
		v.problem("journal: it ends at offset %d, before the cursor %d", end, cursor)
	}
	// A torn tail before the cursor hides records that were acknowledged: the problems above say so.
	if t := v.report.Journal.Torn; t != nil && uint64(t.Offset) >= cursor {
		v.note("the journal has a torn tail of %d bytes at offset %d (%s): nothing in it was acknowledged, or it is being written right now", t.Bytes, t.Offset, t.Reason)
	}
	v.trimmed()
	v.gaps()
	return nil
}

// trimmed notes what was trimmed before it could be read.
func (v *verification) trimmed() {
	bytes := wal.Offset(0)
	for _, gone := range v.report.Journal.Trimmed {
		bytes += gone.End - gone.Offset
	}
	if bytes > 0 {
		v.note("%d bytes of the journal were trimmed by a writer before they could be read: of the records in them SQLite alone was checked", bytes)
	}
}

// gaps notes where a repair had no record to put back: what was lost, as far as that is known.
func (v *verification) gaps() {
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
	v.note("the journal has repaired gaps, whose records are lost (%d, %d bytes): %s", len(j.Gaps), j.FillBytes, strings.Join(places, ", "))
}

// pairing reads the journal and SQLite's entries side by side. Entries are numbered in the order in which
// ids first appear in the journal, so both are in the order of offsets. Only a record that the journal has
// twice has to be looked up.
type pairing struct {
	*verification
	ctx      context.Context
	cursor   uint64
	rejected map[uint64][]byte // payloads by offset, of those not yet visited
	pull     func() (sqlstore.EntryValue, error, bool)
	entry    sqlstore.EntryValue // the next one, which was not found in the journal yet
	more     bool
	started  bool // a journal record was visited
	visited  uint64
}

func (p *pairing) next() (err error) {
	end := p.entry.JournalOffset + journalHeader + uint64(len(p.entry.Value))
	had := p.more
	p.entry, err, p.more = p.pull()
	if p.more && errors.Is(err, sqlstore.ErrNotFound) {
		err = nil // kv lacks it: the check of the forensic tables says so, and here it does not match
	}
	// This can be checked also where the journal is trimmed.
	if had && p.more && p.entry.JournalOffset < end {
		p.problem("entry %d (%s): at its journal offset, %d, the record before it has not ended", p.entry.Index, Hash(p.entry.QueryID), p.entry.JournalOffset)
	}
	return err
}

// journalHeader is what stands before each payload in the journal, in bytes.
const journalHeader = 40

// passUntil skips the entries before an offset: the journal has no records for them. That is right
// before the beginning of a trimmed journal, and nowhere else.
func (p *pairing) passUntil(off uint64) error {
	for p.more && p.entry.JournalOffset < off {
		if p.started {
			p.problem("entry %d (%s): the journal has no such record at offset %d", p.entry.Index, Hash(p.entry.QueryID), p.entry.JournalOffset)
		}
		if err := p.next(); err != nil {
			return err
		}
	}
	return nil
}

// trimmed skips what a writer trimmed from the journal before it could be read.
func (p *pairing) trimmed(gone wal.Gap) error {
	from, to := uint64(gone.Offset), uint64(gone.End)
	if err := p.passUntil(min(from, p.cursor)); err != nil {
		return err
	}
	for p.more && p.entry.JournalOffset < min(to, p.cursor) {
		if err := p.next(); err != nil {
			return err
		}
	}
	maps.DeleteFunc(p.rejected, func(off uint64, _ []byte) bool { return from <= off && off < to })
	return nil
}

func (p *pairing) visit(rec wal.Record) error {
	if p.visited++; p.visited%4096 == 0 {
		p.progress("the journal against kv", p.visited)
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
	if payload, ok := p.rejected[off]; ok {
		delete(p.rejected, off)
		return p.wasRejected(rec, payload)
	}
	if p.more && p.entry.JournalOffset == off {
		if bytes.Equal(p.entry.Value, rec.Payload) {
			p.report.Matched++
		} else {
			p.problem("entry %d (%s): kv and the journal record at offset %d differ", p.entry.Index, Hash(p.entry.QueryID), off)
		}
		return p.next()
	}
	return p.repeated(rec)
}

// wasRejected checks a journal record that table rejected has. It must have the same bytes, and there must be a reason to
// reject it.
func (p *pairing) wasRejected(rec wal.Record, payload []byte) error {
	if !bytes.Equal(rec.Payload, payload) {
		p.problem("rejected: the journal record at offset %d has other bytes", rec.Offset)
		return nil
	}
	q, err := ParseCanonical(payload)
	if err != nil {
		return nil
	}
	switch stored, err := p.db.sql.Get(p.ctx, KeyOf(q.QueryID)); {
	case errors.Is(err, sqlstore.ErrNotFound), err == nil && bytes.Equal(stored, payload):
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
