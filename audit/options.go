package audit

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/wal"
)

// Option changes how a store is opened.
type Option func(*options)

type options struct {
	durability   wal.Durability
	segmentBytes int64 // 0: as the store was made
	journalDir   string
	archive      string
	retention    *Retention
	unit         *TimeUnit
	backlog      int
	backlogBytes int64
	lockWait     time.Duration
	cacheBytes   int64
	readOnly     bool
	reads        Reads
	recovering   bool  // by Recover
	repairing    bool  // by RepairRecords
	salvage      bool  // by Reindex: salvage the database if no journal can replace it
	damage       error // why
	migrating    func(done, total uint64)
	replaying    func(done, total uint64)
	logger       *slog.Logger
	metrics      Metrics
	createdBy    string
	identity     []byte // of the store that is opened, for its journal
	signer       *LogOptions
	signEvery    time.Duration // 0: as log.json says
	// withoutLog opens a store without comparing it with what was signed, and signs nothing.
	withoutLog bool

	limits limits
	now    func() time.Time // the clock
	fs     wal.FS           // that the journal is on
}

// limits bound what other processes that have SQLite open can cost.
type limits struct {
	// walBytes is the size of SQLite's -wal at which the applier waits for the reader that keeps it from being
	// emptied. Up to there such a reader costs disk space. From there on the backlog fills, and puts are blocked.
	walBytes int64
	// tries is how many pauses of busyPause an opening or a closing store waits for a reader of another process.
	tries int
	// lockWait is how long one statement waits for SQLite's write lock; 0 is sqlstore's default.
	lockWait time.Duration
	// signing and delivering are how long a closing store waits for its last signature, and for the places to get it.
	signing, delivering time.Duration
}

// journal returns the options for reading the journal.
func (o options) journal() wal.Options { return wal.Options{FS: o.fs, Identity: o.identity} }

// lockNote returns the text beside the process id in the lock's file.
func (o options) lockNote() string {
	if o.recovering {
		return recoveringNote
	}
	return ""
}

// The default backlog is what an opening replays in some 20 seconds, which is how long a crash keeps a program from going on. SQLite
// takes a record of a kilobyte in 100 to 130 µs.
const (
	defaultBacklog      = 150_000
	defaultBacklogBytes = 256 << 20
)

func applyOptions(opts []Option) options {
	o := options{
		backlog: defaultBacklog, backlogBytes: defaultBacklogBytes,
		logger: slog.New(slog.DiscardHandler), createdBy: "auditsql", now: time.Now, fs: wal.OS,
		limits: limits{walBytes: 4 << 30, tries: 40, signing: 10 * time.Second, delivering: 5 * time.Second},
	}
	for _, set := range opts {
		set(&o)
	}
	return o
}

// WithDurability says when a put returns: wal.SyncGroup (the default), wal.SyncEach or
// wal.SyncInterval.
func WithDurability(d wal.Durability) Option { return func(o *options) { o.durability = d } }

// WithSegmentBytes sets the length at which a journal segment is full, for this opening. A new store also keeps it for
// later openings. The default is 64 MiB.
func WithSegmentBytes(n int64) Option { return func(o *options) { o.segmentBytes = n } }

// WithJournalDir puts the journal of a new store in a folder outside of the store, on another disk
// perhaps. An existing store must have its journal there, else it is refused.
func WithJournalDir(dir string) Option { return func(o *options) { o.journalDir = dir } }

// WithArchive moves journal segments that are no longer kept to a folder, instead of deleting them.
func WithArchive(dir string) Option { return func(o *options) { o.archive = dir } }

// WithRetention says how much journal is kept beyond what SQLite has on disk. The store keeps it for later openings.
func WithRetention(r Retention) Option { return func(o *options) { o.retention = &r } }

// WithTimeUnit sets the unit of timestamps of a new store. An existing store must have it, else it is refused.
func WithTimeUnit(u TimeUnit) Option { return func(o *options) { o.unit = &u } }

// WithBacklog bounds what is acknowledged and not yet applied to SQLite, in records and in bytes of
// their JSON. A put that would exceed it waits. Zero keeps the default, 150,000 and 256 MiB: an opening after a crash replays that in
// some 20 seconds. A larger one takes a longer burst at the speed of the journal. Each record of it costs some 200 bytes of memory, and
// each 8,000 records another second of the opening after a crash (docs/operating.md).
func WithBacklog(records int, bytes int64) Option {
	return func(o *options) {
		if records > 0 {
			o.backlog = records
		}
		if bytes > 0 {
			o.backlogBytes = bytes
		}
	}
}

// WithLockWait says how long Open waits for another writer before it fails with ErrLocked.
func WithLockWait(d time.Duration) Option { return func(o *options) { o.lockWait = d } }

// WithCacheBytes bounds SQLite's page cache of the writing connection.
func WithCacheBytes(n int64) Option { return func(o *options) { o.cacheBytes = n } }

// WithLogger sets the logger for what happens in the background: recoveries and how far they are, checkpoints, trimming. The default is
// silent.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithMigrationProgress sets a callback for an opening that brings the records of an older version up to date: it hashes them, and then
// fills the forensic tables anew, which takes two minutes for a million records. The callback gets how many are done, of how many, and
// begins anew for the second. The opening waits for it.
func WithMigrationProgress(f func(done, total uint64)) Option {
	return func(o *options) { o.migrating = f }
}

// WithReplayProgress sets a callback for an opening that brings to SQLite what the journal has and SQLite lacks, after a crash for the
// most part. The callback gets how many bytes of the journal are done, of how many, when the replay begins and after each batch of at most
// 26,000 records. The opening waits for it. It is not called for less than 1 MiB, which takes a moment.
func WithReplayProgress(f func(done, total uint64)) Option {
	return func(o *options) { o.replaying = f }
}

// WithMetrics sets callbacks for measurements.
func WithMetrics(m Metrics) Option { return func(o *options) { o.metrics = m } }

// WithCreatedBy sets the name of the program that a new store notes.
func WithCreatedBy(name string) Option { return func(o *options) { o.createdBy = name } }

// ReadOnly opens what SQLite holds, as it is, without the lock and without recovery. It works beside a
// writer in another process and never changes a byte.
func ReadOnly() Option { return func(o *options) { o.readOnly = true } }

// Reads says what the questions see in the writer's process: all that is not a list by time of an agent or of all (see Audits), and
// not a record by its id. Those see everything that was acknowledged, whatever it says, and wait for nothing.
type Reads uint8

const (
	// Applied is every record that SQLite has. A question never waits for the applier, and can lack the newest records: while records
	// come no faster than SQLite takes them, those of about a tenth of a second, and up to the whole backlog in a burst. Progress says
	// how many. AwaitApplied waits for them, for as long as its context allows.
	Applied Reads = iota
	// Acknowledged is every record that was acknowledged before the question. The question waits until SQLite has them: in a burst
	// that can be the whole backlog, some 20 seconds of work. It ends early with the error of its context.
	Acknowledged
)

// WithReads says which records the questions see. The default is Applied. A store that is open for reading always shows what SQLite
// has.
func WithReads(r Reads) Option { return func(o *options) { o.reads = r } }

// Metrics are callbacks for measurements; any may be nil. They are called from the store's own
// goroutines, which wait for them, and must not call the store. Synced fits two histograms and a counter of the program's
// own metrics, Applied likewise, Backlog two gauges. Stats returns the current figures.
type Metrics struct {
	// Synced is called after each sync of the journal: how long it took, and how many records and bytes
	// it made durable.
	Synced func(took time.Duration, records int, bytes int64)
	// Applied is called after each batch that was committed to SQLite: how long that took, how many
	// records it had, and the time since the oldest of them was read from the journal.
	Applied func(took time.Duration, records int, lag time.Duration)
	// Backlog is called after each batch with what is acknowledged and not yet applied.
	Backlog func(records int, bytes int64)
	// Signed is called after each signature of the log with the number of records that it covers, and how long it took with its
	// writes.
	Signed func(size uint64, took time.Duration)
	// SignFailed is called when the log was to be signed and was not.
	SignFailed func(err error)
	// Delivered is called after each delivery of a checkpoint to a place outside of the store, with the reason if it failed.
	// Several goroutines may call it at the same time.
	Delivered func(place string, took time.Duration, err error)
}

// Retention is how many bytes of journal, the newest ones, are kept beyond what SQLite has on disk, or RetainAll.
type Retention int64

const (
	// RetainAll never trims: a lost audit.db can be rebuilt from the journal.
	RetainAll Retention = -1
	// RetainNone trims all that is safe to trim.
	RetainNone Retention = 0
	// RetainDefault is the retention of a store that was not given one.
	RetainDefault Retention = 1 << 30
)

// ParseRetention reads all, none, or a size as in 512MiB. Anything else is ErrInvalid.
func ParseRetention(s string) (Retention, error) {
	r, err := storedir.ParseRetention(s)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return Retention(r), nil
}

// String is what ParseRetention reads.
func (r Retention) String() string { return storedir.Retention(r).String() }

// MarshalText is String.
func (r Retention) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRetention.
func (r *Retention) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRetention(string(text))
	return err
}
