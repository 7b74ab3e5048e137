package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// Verify checks the whole store: the checksums of each journal record, SQLite's own integrity, its
// schema (a guard that is missing), the journal against kv, kv against the forensic tables, keys against
// values, and each record of the inbox. It works beside a live writer, on what is applied when it begins, and does not block the writer.
//
// Without checkpoints from elsewhere it shows that the store fits together, and no more: somebody who can write everything can
// make other records fit as well. VerifyOptions.Against shows that they are those that were signed.
//
// The report says what is wrong. An error means that something could not be read, or that ctx has ended. It is a
// *CheckpointError when a checkpoint from elsewhere is not signed as it must be.
func (db *DB) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	v, err := newVerification(db, db.dir, o)
	if err == nil {
		err = v.run(ctx)
	}
	return v.outcome(err)
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
	journalDir, err := JournalDir(dir)
	if err == nil {
		err = v.journalAlone(ctx, journalDir, applyOptions(opts))
	}
	if file, lost := storedir.Recall(ctx, dir); err == nil && lost == nil {
		err = v.inbox(ctx, dir, file)
	}
	return v.outcome(err)
}

type verification struct {
	db       *DB
	quick    bool
	began    time.Time
	progress func(stage string, done uint64) // several goroutines may call it
	against  []Compared                      // the checkpoints from elsewhere, the smallest first, as far as they were compared
	tiles    tree.TileReader
	found    findings
	report   VerifyReport // without the findings

	// Set by two parts that run at the same time, and read after them.
	treeAlone    bool // the tree does not fit the records, which are whole
	otherRecords bool // kv has a record otherwise than the journal
}

func newVerification(db *DB, dir string, o VerifyOptions) (*verification, error) {
	v := &verification{db: db, quick: o.Quick, tiles: o.Tiles, began: time.Now(), found: findings{problems: []string{}, notes: []string{}}}
	v.report.Quick = o.Quick
	v.report.Journal.Damage = []*wal.CorruptError{}
	v.report.Against = []Compared{}
	var mu sync.Mutex
	v.progress = func(stage string, done uint64) {
		if o.Progress != nil {
			mu.Lock()
			defer mu.Unlock()
			o.Progress(stage, done)
		}
	}
	return v, v.trust(dir, o)
}

// outcome returns the report. err is why the verification could not go on.
func (v *verification) outcome(err error) (VerifyReport, error) {
	r := v.report
	r.Problems, r.Total, r.Notes = v.found.problems, v.found.total, v.found.notes
	r.Took = time.Since(v.began)
	if err != nil {
		return r, fmt.Errorf("verify: %w", err)
	}
	return r, nil
}

// findings are what a verification has found, or a part of it, in order.
type findings struct {
	problems []string // at most MaxProblems
	total    uint64
	notes    []string
}

func (f *findings) problem(format string, args ...any) {
	f.total++
	if len(f.problems) < MaxProblems {
		f.problems = append(f.problems, fmt.Sprintf(format, args...))
	}
}

func (f *findings) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// add appends what was found after it.
func (f *findings) add(more *findings) {
	f.total += more.total
	f.problems = append(f.problems, more.problems[:min(len(more.problems), MaxProblems-len(f.problems))]...)
	f.notes = append(f.notes, more.notes...)
}

// part is a part of a verification. Parts run at the same time, and each has findings of its own. So the report has them in
// the same order, whichever part is faster.
type part struct {
	findings
	err error
}

// start runs a part. That SQLite cannot be read does not end the parts before it in the report: what they find is
// reported. Any other error ends all.
func (p *part) start(group *errgroup.Group, check func(*findings) error) {
	group.Go(func() error {
		p.err = check(&p.findings)
		if errors.Is(p.err, sqlstore.ErrMalformed) {
			return nil
		}
		return p.err
	})
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
	if err := v.inbox(ctx, v.db.dir, v.db.file); err != nil {
		return err
	}
	err := v.everything(ctx)
	if !errors.Is(err, sqlstore.ErrMalformed) {
		return err
	}
	v.unread(err)
	if v.quick || v.report.Journal.Segments > 0 || v.report.JournalAway != "" || v.db.file.Follows != nil {
		return nil
	}
	return v.journalAlone(ctx, v.db.journalDir, v.db.opts)
}

// unread adds the problem that SQLite cannot be read to its end, or must not be.
func (v *verification) unread(err error) {
	v.report.SQLiteUnread = err.Error()
	v.found.problem("%s was not looked at to its end: %v", storedir.SQLiteName, err)
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
	v.damage(&v.found)
	return err
}

// damage adds a problem for each place at which the journal is damaged.
func (v *verification) damage(f *findings) {
	if v.report.Journal.Damage == nil {
		v.report.Journal.Damage = []*wal.CorruptError{}
	}
	for _, d := range v.report.Journal.Damage {
		f.problem("journal: %v", d)
	}
}

// checkOpening makes the comparisons that opening the store in dir for writing makes, so that a store that every opening
// refuses does not pass. When somebody has it open for writing, that opening has made them.
func (v *verification) checkOpening(ctx context.Context, dir string, o options) error {
	if v.db.file.Follows != nil {
		return v.checkFollower(ctx)
	}
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
		v.found.problem("opening the store is refused: %v", err)
	case err != nil:
		v.found.note("whether opening the store would refuse it could not be found out: %v", err)
	case p.suspect():
		v.found.problem("%s is suspect: %s", storedir.SQLiteName, p.plan.Doubt)
	default:
		return v.checkLog(ctx, dir)
	}
	return nil
}

// checkFollower is checkOpening for a store that follows a log. Its opening would begin again with the first message if the
// database were suspect.
func (v *verification) checkFollower(ctx context.Context) error {
	if doubt := doubtAbout(ctx, v.db.dir, v.db.file); doubt != "" {
		v.found.problem("%s is suspect: %s", storedir.SQLiteName, doubt)
	}
	if held, _, err := lockHolder(ctx, v.db.journalDir); err != nil || held {
		return err
	}
	return v.checkLog(ctx, v.db.dir)
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
		v.found.problem("opening the store is refused: %v", err)
	case errors.Is(err, signing.ErrConfig):
		v.found.problem("opening the store is refused: %v: %v", ErrLogFile, err)
	case errors.Is(err, ErrBehind):
		// The journal may have the others.
		if why, err := NeedsRecovery(ctx, dir); err != nil || why != "" {
			return err
		}
		v.found.note("the store is not opened for writing: %v. A backup may be older; for the store itself there is import --catch-up", err)
	case errors.Is(err, sqlstore.ErrMalformed): // CheckDerived says so
	case err != nil:
		v.found.note("whether the store has the records that were signed could not be found out: %v", err)
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

// The parts of a verification that take long, as its progress calls them.
const (
	stageIntegrity = "SQLite's own integrity"
	stageJournal   = "the journal against kv"
	stageTables    = "the forensic tables"
)

// everything checks SQLite, and compares it with the journal. Three parts run at the same time: SQLite's own check, which
// only one processor can do; the comparison of SQLite's tables with each other, which uses several; and the comparison of the
// journal with the records that the second one reads.
func (v *verification) everything(ctx context.Context) error {
	outer := ctx
	group, ctx := errgroup.WithContext(outer)
	var integrity, facts, journal, tables part
	integrity.start(group, func(f *findings) error {
		v.progress(stageIntegrity, 0)
		problems, err := v.db.sql.Integrity(ctx, v.quick)
		for _, p := range problems {
			f.problem("%s: %s", storedir.SQLiteName, p)
		}
		return err
	})
	var counts sqlstore.Counts
	facts.start(group, func(f *findings) error {
		cursor, rejected, err := v.facts(ctx, f)
		if err != nil || v.quick {
			return err
		}
		check := sqlstore.Check{Decode: rowOf}
		if v.report.JournalAway == "" && v.db.file.Follows == nil {
			entries := newFeed()
			check.Entries = entries.put
			journal.start(group, func(f *findings) error { return v.journal(ctx, f, cursor, rejected, entries) })
		}
		tables.start(group, func(f *findings) (err error) {
			counts, err = v.tables(ctx, f, check)
			return err
		})
		return nil
	})
	err := group.Wait()
	for _, p := range []*part{&integrity, &facts, &journal, &tables} {
		v.found.add(&p.findings)
		if err == nil && p.err != nil {
			return p.err
		}
	}
	if err != nil || v.quick {
		return err
	}
	if v.treeAlone && !v.otherRecords {
		v.found.note("each record matches its leaf hash, and the stored tree does not fit these: auditsql log rebuild makes it again from them")
	}
	v.report.Audits, v.report.AgentKeys = counts.Audits, counts.AgentKeys
	v.report.TreeSize, v.report.Root = counts.TreeSize, counts.Root
	v.report.Contributions, v.report.Attributes, v.report.Agents = counts.Contributions, counts.Attributes, counts.Agents
	return v.compareOutside(outer)
}

// facts checks what takes no long time, and returns what the journal is compared with: the cursor, and the BLAKE3 of each
// rejected payload by its offset. With quick it checks, in place of everything, the ends of the tree and of the journal.
func (v *verification) facts(ctx context.Context, f *findings) (cursor uint64, rejected map[uint64]Hash, err error) {
	problem := func(p string) { f.problem("%s: %s", storedir.SQLiteName, p) }
	err = v.db.sql.CheckSchema(ctx, problem, func(n string) { f.note("%s: %s", storedir.SQLiteName, n) })
	if err != nil {
		return 0, nil, err
	}
	if err := v.db.sql.CheckOwnerless(ctx, problem); err != nil {
		return 0, nil, err
	}
	// The cursor is read before the rejected rows: what is rejected later lies after it.
	if cursor, err = v.db.sql.Cursor(ctx); err != nil {
		return 0, nil, err
	}
	rejected = map[uint64]Hash{}
	for r, err := range v.db.sql.RejectedRows(ctx) {
		if err != nil {
			return 0, nil, err
		}
		v.report.Rejected++
		if v.db.file.Follows != nil {
			continue // whoever may write to the log can make it refuse a message, which stops nothing
		}
		f.problem("journal record at offset %d was rejected: %s", r.Offset, r.Reason)
		rejected[r.Offset] = blake3.Sum256(r.Payload) // which the journal has of it too; a payload may have 16 MiB
	}
	if o := v.db.file.Follows; o != nil {
		v.report.Follows = o.Log
		f.note("the store follows %s, whose messages were not read: SQLite was compared with itself", o.Log)
		if v.report.Rejected > 0 {
			f.note("%d messages of the log were rejected: table rejected says why", v.report.Rejected)
		}
	}
	if away := v.db.journalAway(); away != nil {
		v.report.JournalAway = away.Error()
		f.problem("the journal was not looked at: %v", away)
	}
	if !v.quick {
		return cursor, rejected, nil
	}
	tree, err := v.db.sql.TreeProblem(ctx)
	if err != nil {
		return 0, nil, err
	}
	if tree != "" {
		problem(tree)
	}
	return cursor, rejected, v.counts(ctx, f)
}

// tables checks SQLite's tables against each other.
func (v *verification) tables(ctx context.Context, f *findings, check sqlstore.Check) (sqlstore.Counts, error) {
	inKV, inTree := false, false
	check.Report = func(p string) {
		inKV = inKV || strings.HasPrefix(p, "kv: ") || strings.HasPrefix(p, "entry: ")
		inTree = inTree || strings.HasPrefix(p, "tile: ") || strings.HasPrefix(p, "edge: ")
		f.problem("%s: %s", storedir.SQLiteName, p)
	}
	give := check.Entries
	read := uint64(0)
	check.Entries = func(page []sqlstore.EntryValue, err error) {
		if page == nil {
			v.progress(stageTables, 0)
		} else if read += uint64(len(page)); give == nil {
			v.progress(stageTables, read)
		}
		if give != nil {
			give(page, err)
		}
	}
	counts, err := v.db.sql.CheckDerived(ctx, check)
	if err != nil {
		return counts, err
	}
	if inKV {
		advice := v.db.rebuildAdvice()
		if v.db.file.Follows == nil {
			advice = "a repair restores records of kv that the journal has; if that is not enough: " + advice
		}
		f.note("reindex cannot restore kv and entry, from which it rebuilds the other tables; %s", advice)
	}
	v.treeAlone = inTree && !inKV
	v.progress(stageIntegrity, 0) // it may still be running
	return counts, nil
}

// counts reports what is known without reading everything: the numbers that SQLite keeps, and whether each segment
// begins where the one before it ends.
func (v *verification) counts(ctx context.Context, f *findings) error {
	stats, err := v.db.stats(ctx)
	if err != nil {
		return err
	}
	v.report.Audits, v.report.Contributions, v.report.Agents = stats.Audits, stats.Contributions, stats.Agents
	if v.report.JournalAway != "" || v.db.file.Follows != nil {
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
			f.problem("journal: %s ends at offset %d, the next segment begins at %d", segs[i-1].Path, end, seg.Base)
		}
		v.report.Journal.End = seg.Base + wal.Offset(seg.Size)
	}
	v.beginning(f, nil)
	// The last segment may be longer than its records, and never shorter.
	if end := v.report.Journal.End; end < stats.Applied {
		f.problem("journal: it ends at offset %d, before the cursor %d", end, stats.Applied)
	}
	return nil
}
