package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// Verify checks the whole store: the checksums of each journal record, SQLite's own integrity, its
// schema (a guard that is missing), the journal against kv, kv against the forensic tables, keys against
// values. It works beside a live writer, on what is applied when it begins, and does not block the writer.
//
// Without checkpoints from elsewhere it shows that the store fits together, and no more: somebody who can write everything can
// make other records fit as well. VerifyOptions.Against shows that they are those that were signed.
//
// The report says what is wrong. An error means that something could not be read, or that ctx has ended. It is a
// *CheckpointError when a checkpoint from elsewhere is not signed as it must be.
func (db *DB) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	v, err := newVerification(db, db.dir, o)
	if err != nil {
		return v.report, fmt.Errorf("verify: %w", err)
	}
	start := time.Now()
	err = v.run(ctx)
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
	v, refused := newVerification(nil, dir, o)
	if refused != nil {
		return VerifyReport{}, fmt.Errorf("verify: %w", refused)
	}
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

func newVerification(db *DB, dir string, o VerifyOptions) (*verification, error) {
	v := &verification{db: db, quick: o.Quick, progress: o.Progress, tiles: o.Tiles}
	v.report.Quick = o.Quick
	v.report.Problems, v.report.Notes = []string{}, []string{}
	v.report.Journal.Damage = []*wal.CorruptError{}
	v.report.Against = []Compared{}
	if v.progress == nil {
		v.progress = func(string, uint64) {}
	}
	return v, v.trust(dir, o)
}

type verification struct {
	db       *DB
	quick    bool
	progress func(stage string, done uint64)
	against  []Compared // the checkpoints from elsewhere, the smallest first, as far as they were compared
	tiles    tree.TileReader
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
	default:
		return v.checkLog(ctx, dir)
	}
	return nil
}

// checkLog compares the store with what was signed, as an opening for writing does. Fewer records are no problem: a backup has
// fewer as soon as the store goes on.
func (v *verification) checkLog(ctx context.Context, dir string) error {
	config, err := signing.ReadConfig(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = signing.New(dir, config, v.db.opts.logger, time.Now).Compare(ctx, v.db.sql)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrForked):
		v.problem("opening the store is refused: %v", err)
	case errors.Is(err, signing.ErrConfig):
		v.problem("opening the store is refused: %v: %v", ErrLogFile, err)
	case errors.Is(err, ErrBehind):
		// The journal may have the others.
		if why, err := NeedsRecovery(ctx, dir); err != nil || why != "" {
			return err
		}
		v.note("the store is not opened for writing: %v. A backup may be older; for the store itself there is import --catch-up", err)
	case errors.Is(err, sqlstore.ErrMalformed): // CheckDerived says so
	case err != nil:
		v.note("whether the store has the records that were signed could not be found out: %v", err)
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
	rejected := map[uint64]Hash{}
	for r, err := range v.db.sql.RejectedRows(ctx) {
		if err != nil {
			return err
		}
		v.report.Rejected++
		v.problem("journal record at offset %d was rejected: %s", r.Offset, r.Reason)
		rejected[r.Offset] = blake3.Sum256(r.Payload) // which the journal has of it too; a payload may have 16 MiB
	}
	away := v.db.journalAway()
	if away != nil {
		v.report.JournalAway = away.Error()
		v.problem("the journal was not looked at: %v", away)
	}
	if v.quick {
		problem, err := v.db.sql.TreeProblem(ctx)
		if err != nil {
			return err
		}
		if problem != "" {
			v.problem("%s: %s", storedir.SQLiteName, problem)
		}
		return v.counts(ctx)
	}
	if away == nil {
		if err := v.journal(ctx, cursor, rejected); err != nil {
			return err
		}
	}
	v.progress("the forensic tables", 0)
	inKV, inTree := false, false
	counts, err := v.db.sql.CheckDerived(ctx, rowOf, func(p string) {
		inKV = inKV || strings.HasPrefix(p, "kv: ") || strings.HasPrefix(p, "entry: ")
		inTree = inTree || strings.HasPrefix(p, "tile: ") || strings.HasPrefix(p, "edge: ")
		v.problem("%s: %s", storedir.SQLiteName, p)
	})
	if err != nil {
		return err
	}
	if inKV {
		v.note("reindex cannot restore kv and entry, from which it rebuilds the other tables; %s", v.db.rebuildAdvice())
	}
	if inTree && !inKV {
		v.note("each record matches its leaf hash, and the stored tree does not fit these: auditsql log rebuild makes it again from them")
	}
	v.report.Audits, v.report.AgentKeys = counts.Audits, counts.AgentKeys
	v.report.TreeSize, v.report.Root = counts.TreeSize, counts.Root
	v.report.Contributions, v.report.Attributes, v.report.Agents = counts.Contributions, counts.Attributes, counts.Agents
	return v.compareOutside(ctx)
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
