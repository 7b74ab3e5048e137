package audit

import (
	"context"
	"errors"
	"iter"
)

// DB is the durable store: a journal that is the truth, and SQLite that it is replayed into.
type DB struct{}

var errStub = errors.New("stub")

func Open(dir string, opts ...Option) (*DB, error)              { return nil, errStub }
func Init(dir string, opts ...Option) (created bool, err error) { return false, errStub }
func Recover(ctx context.Context, dir string, opts ...Option) (Recovery, error) {
	return Recovery{}, errStub
}
func NeedsRecovery(ctx context.Context, dir string, opts ...Option) (bool, error) {
	return false, errStub
}
func (db *DB) Recovery() Recovery { return Recovery{} }
func (db *DB) Close() error       { return nil }
func (db *DB) Err() error         { return nil }
func (db *DB) Dir() string        { return "" }
func (db *DB) JournalDir() string { return "" }
func (db *DB) TimeUnit() TimeUnit { return 0 }
func (db *DB) PutAudit(ctx context.Context, q *QueryAudit) (QueryID, error) {
	return QueryID{}, errStub
}
func (db *DB) PutAudits(ctx context.Context, qs []*QueryAudit) ([]PutResult, error) {
	return nil, errStub
}
func (db *DB) GetAudit(ctx context.Context, id QueryID) (*QueryAudit, error) { return nil, errStub }
func (db *DB) GetRaw(ctx context.Context, id QueryID) ([]byte, error)        { return nil, errStub }
func (db *DB) Resolve(ctx context.Context, prefix string) ([]QueryID, error) { return nil, errStub }
func (db *DB) AuditsForAgent(ctx context.Context, agent AgentID, from, to uint64, limit int) ([]QueryAudit, error) {
	return nil, errStub
}
func (db *DB) ListRecent(ctx context.Context, limit int) ([]QueryAudit, error) { return nil, errStub }
func (db *DB) HasAuditsForAgent(ctx context.Context, agent AgentID) (bool, error) {
	return false, errStub
}
func (db *DB) Audits(ctx context.Context, f Filter) iter.Seq2[QueryAudit, error]     { return nil }
func (db *DB) RawAudits(ctx context.Context, f Filter) iter.Seq2[[]byte, error]      { return nil }
func (db *DB) Tail(ctx context.Context, n int, follow bool) iter.Seq2[[]byte, error] { return nil }
func (db *DB) Stats(ctx context.Context) (Stats, error)                              { return Stats{}, errStub }
func (db *DB) Verify(ctx context.Context, o VerifyOptions) (VerifyReport, error) {
	return VerifyReport{}, errStub
}
func (db *DB) Backup(ctx context.Context, dest string) (BackupReport, error) {
	return BackupReport{}, errStub
}
func (db *DB) Reindex(ctx context.Context, progress func(done, total uint64)) error { return errStub }
