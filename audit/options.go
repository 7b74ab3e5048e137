package audit

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/auditsql/auditsql/wal"
)

// Option sets up Open.
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
	recovering   bool // by Recover
	logger       *slog.Logger
	metrics      Metrics
	createdBy    string
	identity     []byte // of the store that is opened, for its journal

	// For tests alone.
	walLimit int64            // as the constant of this name
	now      func() time.Time // nil is time.Now
	fs       wal.FS           // where the journal lies
}

// journal is how to look at the journal.
func (o options) journal() wal.Options { return wal.Options{FS: o.fs, Identity: o.identity} }

// lockNote is what stands beside the process id in the lock's file.
func (o options) lockNote() string {
	if o.recovering {
		return recoveringNote
	}
	return ""
}

const (
	defaultBacklog      = 1_000_000
	defaultBacklogBytes = 1 << 30
)

func applyOptions(opts []Option) options {
	o := options{
		backlog: defaultBacklog, backlogBytes: defaultBacklogBytes,
		logger: slog.New(slog.DiscardHandler), createdBy: "auditsql", walLimit: walLimit, fs: wal.OS,
	}
	for _, set := range opts {
		set(&o)
	}
	return o
}

// WithDurability says when a put returns: wal.SyncGroup (the default), wal.SyncEach or
// wal.SyncInterval.
func WithDurability(d wal.Durability) Option { return func(o *options) { o.durability = d } }

// WithSegmentBytes sets the length at which a journal segment is full, from this opening on and for a
// store that is being made also for later ones. The default is 64 MiB.
func WithSegmentBytes(n int64) Option { return func(o *options) { o.segmentBytes = n } }

// WithJournalDir puts the journal of a store that is being made in a folder of its own, on another disk
// perhaps. A store that exists must have it there.
func WithJournalDir(dir string) Option { return func(o *options) { o.journalDir = dir } }

// WithArchive moves journal segments that are no longer kept to a folder instead of deleting them.
func WithArchive(dir string) Option { return func(o *options) { o.archive = dir } }

// WithRetention says how much journal is kept beyond what SQLite has on disk; it is written down in the
// store.
func WithRetention(r Retention) Option { return func(o *options) { o.retention = &r } }

// WithTimeUnit sets the unit of timestamps of a store that is being made. A store that exists must have
// it.
func WithTimeUnit(u TimeUnit) Option { return func(o *options) { o.unit = &u } }

// WithBacklog bounds what is acknowledged and not yet applied to SQLite, in records and in bytes of
// their JSON; a put that would exceed it waits. Zero keeps the default, 1,000,000 and 1 GiB: room for a burst of
// ten seconds at full rate, which costs some 170 bytes a record and, after a crash, a longer replay (docs/operating.md).
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

// WithLockWait is how long Open tries to become the writer before it fails with ErrLocked.
func WithLockWait(d time.Duration) Option { return func(o *options) { o.lockWait = d } }

// WithCacheBytes bounds SQLite's page cache of the writing connection.
func WithCacheBytes(n int64) Option { return func(o *options) { o.cacheBytes = n } }

// WithLogger is told what happens beside the calls: recoveries, checkpoints, trimming. The default is
// silence.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}

// WithMetrics hangs in callbacks for measurements.
func WithMetrics(m Metrics) Option { return func(o *options) { o.metrics = m } }

// WithCreatedBy names the program that is written into a store that is being made.
func WithCreatedBy(name string) Option { return func(o *options) { o.createdBy = name } }

// ReadOnly opens what SQLite holds, as it is, without the lock and without recovery. It works beside a
// writer in another process and never changes a byte.
func ReadOnly() Option { return func(o *options) { o.readOnly = true } }

// Metrics are callbacks for measurements; any may be nil. They are called from the store's own
// goroutines, hold them up, and must not call the store. Together with Stats, for what has a level
// rather than events, they fill whatever the program already measures with: Synced into two histograms
// and a counter, Applied likewise, Backlog into two gauges.
type Metrics struct {
	// Synced is called after each sync of the journal: how long it took, and how many records and bytes
	// it made durable.
	Synced func(took time.Duration, records int, bytes int64)
	// Applied is called after each batch that was committed to SQLite: how long that took, how many
	// records it held, and the time since the oldest of them was read from the journal.
	Applied func(took time.Duration, records int, lag time.Duration)
	// Backlog is called when the number of records that are not yet applied has changed by a batch.
	Backlog func(records int, bytes int64)
}

// Retention is how many bytes of journal are kept beyond what SQLite has on disk: the newest ones, or
// RetainAll.
type Retention int64

const (
	// RetainAll never trims: a lost audit.db can be rebuilt from the journal.
	RetainAll Retention = -1
	// RetainNone trims all that is safe to trim.
	RetainNone Retention = 0
	// RetainDefault is what a store keeps that was not told otherwise.
	RetainDefault Retention = 1 << 30
)

// ParseRetention reads all, none, or a size as in 512MiB.
func ParseRetention(s string) (Retention, error) {
	switch strings.ToLower(s) {
	case "all":
		return RetainAll, nil
	case "none":
		return RetainNone, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > 1<<62 {
		return 0, fmt.Errorf("%w: retention %s: want all, none or a size such as 512MiB", ErrInvalid, excerpt(s))
	}
	return Retention(n), nil
}

// String is what ParseRetention reads.
func (r Retention) String() string {
	switch {
	case r < 0:
		return "all"
	case r == 0:
		return "none"
	}
	return strconv.FormatInt(int64(r), 10)
}

// MarshalText is String.
func (r Retention) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText is ParseRetention.
func (r *Retention) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRetention(string(text))
	return err
}
