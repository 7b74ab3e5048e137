package web

import (
	"context"
	"iter"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// A Store is what is served. *audit.DB is one. Each of its parts is small, so that a test can replace one of them, and so
// that a node that is no *audit.DB can be served too.
//
// All methods may be called from several goroutines.
type Store interface {
	Writer
	Records
	Questions
	Tailer
	Labels
	Proofs
	State
}

// A Writer stores records. Its results and errors are those of audit.DB.
type Writer interface {
	PutAudits(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
	PutUntilRefused(ctx context.Context, records []*audit.QueryAudit) ([]audit.PutResult, error)
}

// Records reads records: single ones, and those that a filter selects.
type Records interface {
	view.Records
	GetRaw(ctx context.Context, id audit.QueryID) ([]byte, error)
	GetRawAsOf(ctx context.Context, id audit.QueryID, asOf *uint64) ([]byte, error)
	HasAuditsForAgent(ctx context.Context, agent audit.AgentID) (bool, error)
	Extent(ctx context.Context, f audit.Filter) (first, last uint64, ok bool, err error)
	Newest(ctx context.Context, f audit.Filter, n int) (from, records uint64, ok bool, err error)
}

// Questions are the forensic questions, and what finds ids and hashes by their first digits.
type Questions interface {
	view.Questions
	view.Finder
}

// A Tailer yields records in the order of the journal.
type Tailer interface {
	TailAfter(ctx context.Context, after audit.Offset) iter.Seq2[audit.TailRecord, error]
	// TailRange returns the first offset that the journal has, and the one from which on a tail yields only what is
	// acknowledged from now on.
	TailRange(ctx context.Context) (first, end audit.Offset, err error)
}

// Labels are the names that people gave to hashes.
type Labels interface {
	Labels(ctx context.Context) (*audit.Labels, error)
	PutLabels(ctx context.Context, labels []audit.Label) error
}

// Proofs are the signed checkpoints of the store's log, and the proofs that lead to them.
type Proofs interface {
	Prove(ctx context.Context, id audit.QueryID, o audit.ProveOptions) (audit.ProvenRecord, error)
	NewestCheckpoint(ctx context.Context) (signed []byte, c evidence.Checkpoint, err error)
	Tree(ctx context.Context) (size uint64, tiles tree.TileReader, err error)
	Log(ctx context.Context) (*audit.LogState, error)
}

// State is how the store is.
type State interface {
	TimeUnit() audit.TimeUnit
	Stats(ctx context.Context) (audit.Stats, error)
	Verify(ctx context.Context, o audit.VerifyOptions) (audit.VerifyReport, error)

	// Progress is how much SQLite has, and what it lacks. It does not wait.
	Progress() audit.Progress
	// Moment is how many records SQLite has. A question can be as of it from then on. Where a page or an answer names such a number, it is
	// from here.
	Moment() (records uint64)
	// AwaitShown waits until SQLite has what a question that begins now is to see. A node of a cluster has it a moment after the puts that
	// it has answered.
	AwaitShown(ctx context.Context) error
	// AwaitApplied waits until SQLite has everything that was acknowledged before the call.
	AwaitApplied(ctx context.Context) error

	// Err is why the store takes no more records, or nil. It is audit.ErrReadOnly for a store that is open for reading.
	Err() error
}

var _ Store = (*audit.DB)(nil)
