package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// signer signs the log of an open store: from time to time, on demand, and when the store is closed. A goroutine of its own
// does so, and further ones deliver what was signed, so no put waits for a key, a disk or a network of the log.
//
// It signs what SQLite has applied. The applier takes only what the journal has synced, so a signature never covers what a power
// cut can lose (package signing).
type signer struct {
	dir     string
	log     *signing.Log
	sql     *sqlstore.DB
	applier *applier
	every   time.Duration
	// before is how many records the store had when it was opened. This process has not hashed their bytes.
	before  uint64
	out     *outbox
	opts    *options
	problem string // what the opening has found that keeps it from signing; "" is nothing

	mu     sync.Mutex // guards failed
	failed string     // why the last try failed, so that the same is logged once
}

// signedStore is the store as package signing sees it.
type signedStore struct{ *signer }

func (s signedStore) Tree(ctx context.Context) (uint64, tree.TileReader, error) {
	return s.sql.Tree(ctx)
}

// Reached returns SQLite's cursor. It is written in the transaction of the records, so it is after all that Tree has shown.
func (s signedStore) Reached(ctx context.Context) (uint64, error) { return s.sql.Cursor(ctx) }

func (s signedStore) Recheck(ctx context.Context, from, to int64) error {
	if uint64(from) >= s.before {
		return nil
	}
	if err := s.sql.CheckLeaves(ctx, uint64(from), min(uint64(to), s.before)); err != nil {
		return fmt.Errorf("%w: the records that are not signed yet were hashed again: %w", ErrDamaged, err)
	}
	return nil
}

// openLog finds out how the store's log is signed, and compares the store with what was signed. It runs after the replay, and
// nothing of this opening was admitted yet.
func (p *opening) openLog(db *DB) error {
	if p.opts.withoutLog {
		return nil
	}
	config, err := signing.ReadConfig(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && p.opts.signer == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, signing.ErrLost) && p.opts.signer != nil:
	case err != nil:
		return logFileError(err)
	}
	asked := p.opts.signer
	if asked != nil {
		if config, err = asked.configure(p.dir, config); err != nil {
			return err
		}
	}
	log := signing.New(p.dir, config, p.opts.logger, db.applier.now)
	if err := log.Compare(p.ctx, db.sql); err != nil {
		// A power cut may have taken records from a store that follows a log. They come again from the log, and until then nothing is
		// signed: before each signature the store is compared again. Other records than those that were signed do not come to fit.
		behind := p.file.Follows != nil && errors.Is(err, ErrBehind) && !errors.Is(err, ErrForked)
		if !behind && (!p.opts.repairing || !errors.As(err, new(*MismatchError))) {
			return err
		}
		// A repair admits nothing, and may be what the store needs.
		p.note("%v", err)
	}
	if why := config.CheckCopy(p.dir); why != nil {
		p.note("it does not count, and the next signature replaces it: %v", why)
	}
	if asked != nil {
		if err := config.Write(p.dir); err != nil {
			return err
		}
	}
	if p.opts.recovering || p.opts.repairing {
		// Whoever reads a store must not have to wait for the places that checkpoints go to. The next writer signs.
		return nil
	}
	last, ok, err := db.sql.LastEntry(p.ctx)
	if err != nil {
		return err
	}
	db.signer = &signer{dir: p.dir, log: log, sql: db.sql, applier: db.applier, every: time.Duration(config.Every), opts: &db.opts}
	if ok {
		db.signer.before = last.Index + 1
	}
	if err := config.CheckKey(p.dir); err != nil {
		p.note("nothing is signed: %v", err)
		db.signer.problem = err.Error()
	}
	if p.opts.signEvery > 0 {
		db.signer.every = p.opts.signEvery
	}
	return nil
}

// logFileError makes an ErrLogFile of an error of reading log.json, if the content of that is the cause.
func logFileError(err error) error {
	if errors.Is(err, signing.ErrConfig) || errors.Is(err, signing.ErrLost) {
		return fmt.Errorf("%w: %w", ErrLogFile, err)
	}
	return err
}

// signedUpTo returns the offset of the journal up to which log.json says that it was synced, 0 if it does not say so.
func (p *opening) signedUpTo() wal.Offset {
	if p.opts.withoutLog {
		return 0
	}
	c, err := signing.ReadConfig(p.dir)
	if err != nil || c.Signed == nil {
		return 0 // openLog reports an error
	}
	return wal.Offset(c.Signed.Offset)
}

// start begins to sign and to deliver. Closing the store ends it.
func (s *signer) start(db *DB) {
	s.out = newOutbox(s)
	db.background.Go(func() { s.run(db.quit) })
}

// run signs from time to time until ctx ends. What an earlier process has signed and not delivered is delivered at once.
func (s *signer) run(ctx context.Context) {
	sig, err := s.log.Resume(ctx, signedStore{s})
	switch {
	case err != nil:
		s.told(ctx, err)
	case sig.Note != nil:
		s.out.deliver(sig)
	}
	next := s.every
	if last := s.log.Config().Signed; last != nil {
		next = max(0, s.every-max(0, s.applier.now().Sub(last.At)))
	}
	timer := time.NewTimer(next)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		s.round(ctx)
		timer.Reset(s.every)
	}
}

// round signs when the tree has grown, and delivers what was not delivered.
func (s *signer) round(ctx context.Context) {
	size, _, err := s.sql.Root(ctx)
	if err != nil {
		s.told(ctx, err)
		return
	}
	config := s.log.Config()
	if last := config.Signed; last != nil && last.Size == int64(size) {
		s.told(ctx, nil)
		s.out.again()
		return
	}
	sig, err := s.sign(ctx)
	s.told(ctx, err)
	if err == nil && sig.Note != nil {
		s.out.deliver(sig)
	}
}

func (s *signer) sign(ctx context.Context) (signing.Signature, error) {
	began := time.Now()
	sig, err := s.log.Sign(ctx, signedStore{s})
	switch {
	case err != nil && s.opts.metrics.SignFailed != nil && ctx.Err() == nil:
		s.opts.metrics.SignFailed(err)
	case err == nil && sig.New:
		s.opts.logger.Info("the log was signed", "origin", sig.Checkpoint.Origin, "records", sig.Checkpoint.Size, "root", sig.Checkpoint.Root.String())
		if s.opts.metrics.Signed != nil {
			s.opts.metrics.Signed(uint64(sig.Checkpoint.Size), time.Since(began))
		}
	}
	return sig, err
}

// signNow is Sign.
func (s *signer) signNow(ctx context.Context) (Signature, error) {
	sig, err := s.sign(ctx)
	s.told(ctx, err)
	if err != nil {
		return Signature{}, fmt.Errorf("sign the log: %w", err)
	}
	done := Signature{Origin: s.log.Config().Origin, Size: uint64(sig.Checkpoint.Size), Root: sig.Checkpoint.Root, Note: sig.Note, New: sig.New}
	if sig.Note == nil {
		done.Root = tree.EmptyRoot()
		return done, nil
	}
	done.Failed = s.out.deliverNow(ctx, sig)
	return done, nil
}

// told logs why nothing was signed, once for each reason, and notes it in log.json. The end of ctx is no reason.
func (s *signer) told(ctx context.Context, err error) {
	why := ""
	if err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) {
			return
		}
		why = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != "" && why != s.failed {
		s.opts.logger.Error("the log was not signed", "error", err)
	}
	s.failed = why
	if err := s.log.Failed(why); err != nil {
		s.opts.logger.Warn("the log.json of the store does not say why the log is not signed", "error", err)
	}
}

// finish signs what the store has when it is closed, and waits a while for the places to get it. The applier has ended. It
// returns what a person should know. Nothing is signed when the store has failed.
func (s *signer) finish(failed bool) (notes []string) {
	defer s.log.Close()
	if failed {
		s.out.close(0)
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.opts.limits.signing, errors.New("closing the store waits no longer"))
	defer cancel()
	size, _, err := s.sql.Root(ctx)
	if last := s.log.Config().Signed; err == nil && size > 0 && (last == nil || last.Size != int64(size)) {
		var sig signing.Signature
		if sig, err = s.sign(ctx); err == nil {
			s.out.deliver(sig)
		}
	}
	s.told(ctx, err)
	if err != nil && err.Error() != s.problem {
		notes = append(notes, fmt.Sprintf("the newest records are not signed: %v", err))
	}
	for _, name := range s.out.close(s.opts.limits.delivering) {
		notes = append(notes, fmt.Sprintf("%s did not get the newest checkpoint in time; the next opening delivers it", name))
	}
	return notes
}
