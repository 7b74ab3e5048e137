package audit_test

import (
	"context"
	"iter"
	"log/slog"
	"math"
	"testing"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/kvshim"
	"github.com/auditsql/auditsql/kvshim/kvtest"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// Programs are compiled against these signatures. A change of one of them breaks these programs, so it must not compile here either.

// auditStore and keyValues are audit.Store and kvshim.Store as they are promised. Each is assigned to the other, so neither
// may have a method more or less.
type auditStore interface {
	PutAudit(ctx context.Context, q *audit.QueryAudit) (audit.QueryID, error)
	GetAudit(ctx context.Context, id audit.QueryID) (*audit.QueryAudit, error)
	AuditsForAgent(ctx context.Context, agent audit.AgentID, from, to uint64, limit int) ([]audit.QueryAudit, error)
	ListRecent(ctx context.Context, limit int) ([]audit.QueryAudit, error)
	HasAuditsForAgent(ctx context.Context, agent audit.AgentID) (bool, error)
}

type keyValues interface {
	Get(ctx context.Context, key []byte) ([]byte, error)
	Put(ctx context.Context, key, value []byte) error
	Delete(ctx context.Context, key []byte) error
	Scan(ctx context.Context, prefix []byte, o kvshim.ScanOptions) iter.Seq2[kvshim.Pair, error]
	Apply(ctx context.Context, b *kvshim.Batch) error
}

var (
	_ auditStore   = audit.Store(nil)
	_ audit.Store  = auditStore(nil)
	_ audit.Store  = (*audit.DB)(nil)
	_ audit.Store  = (*audit.KVAudits)(nil)
	_ keyValues    = kvshim.Store(nil)
	_ kvshim.Store = keyValues(nil)
	_ kvshim.Store = kvshim.NewMemory()

	_ func(kvshim.Store) *audit.KVAudits                                                                      = audit.NewStore
	_ func(string, ...audit.Option) (*audit.DB, error)                                                        = audit.Open
	_ func(*audit.DB) error                                                                                   = (*audit.DB).Close
	_ func(*audit.DB) error                                                                                   = (*audit.DB).Err
	_ func(*testing.T, func(*testing.T) kvshim.Store)                                                         = kvtest.Run
	_ func(*audit.DB, context.Context, []*audit.QueryAudit) ([]audit.PutResult, error)                        = (*audit.DB).PutAudits
	_ func(*audit.DB, context.Context, audit.Filter) iter.Seq2[audit.QueryAudit, error]                       = (*audit.DB).Audits
	_ func(*audit.DB, context.Context, audit.VerifyOptions) (audit.VerifyReport, error)                       = (*audit.DB).Verify
	_ func(*audit.DB, context.Context, string) (audit.BackupReport, error)                                    = (*audit.DB).Backup
	_ func(*audit.DB, context.Context) (audit.Stats, error)                                                   = (*audit.DB).Stats
	_ func(*audit.DB, context.Context) (uint64, tree.Hash, error)                                             = (*audit.DB).Root
	_ func(*audit.DB, context.Context) (audit.Signature, error)                                               = (*audit.DB).Sign
	_ func(*audit.DB, context.Context, audit.QueryID, audit.ProveOptions) (audit.ProvenRecord, error)         = (*audit.DB).Prove
	_ func(*audit.DB, context.Context, audit.Filter, audit.ProveOptions) iter.Seq2[audit.ProvenRecord, error] = (*audit.DB).ProveAll
	_ func(*audit.DB, context.Context, uint64, uint64) ([]tree.Hash, error)                                   = (*audit.DB).Consistency

	_ func(wal.Durability) audit.Option   = audit.WithDurability
	_ func(int64) audit.Option            = audit.WithSegmentBytes
	_ func(string) audit.Option           = audit.WithJournalDir
	_ func(string) audit.Option           = audit.WithArchive
	_ func(audit.TimeUnit) audit.Option   = audit.WithTimeUnit
	_ func(int, int64) audit.Option       = audit.WithBacklog
	_ func() audit.Option                 = audit.ReadOnly
	_ func(*slog.Logger) audit.Option     = audit.WithLogger
	_ func(audit.Metrics) audit.Option    = audit.WithMetrics
	_ func(audit.LogOptions) audit.Option = audit.WithSigner

	_ = []error{
		audit.ErrNotFound, audit.ErrConflict, audit.ErrInvalid, audit.ErrLocked, audit.ErrReadOnly, audit.ErrClosed,
		audit.ErrForked, audit.ErrBehind, audit.ErrBusy, audit.ErrFollows,
	}
	_ [32]byte   = [32]byte(audit.Hash{})
	_ audit.Hash = audit.QueryID(audit.AgentID{})
	_            = [1]int{}[math.MaxUint64-audit.Unbounded] // compiles for an index of 0 alone

	_ = []audit.Lifecycle{audit.Proposed, audit.Rejected, audit.Unstated}

	_ = audit.QueryParams{
		Subject: (*string)(nil), Predicate: (*string)(nil), Lifecycle: (*audit.Lifecycle)(nil), Epoch: (*audit.Hash)(nil), Lens: (*string)(nil),
	}
	_ = audit.ContributingAssertion{AssertionHash: audit.Hash{}, Weight: float32(0), SourceHash: audit.Hash{}, Lifecycle: audit.Proposed}
	_ = audit.QueryAudit{
		QueryID: audit.QueryID{}, AgentID: (*audit.AgentID)(nil), Timestamp: uint64(0), Params: audit.QueryParams{},
		ResultHash: (*audit.Hash)(nil), ResultConfidence: float32(0), ContributingAssertions: []audit.ContributingAssertion(nil),
		Attributes: map[string]any(nil),
	}
)
