package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/tree"
)

// LogState is what is known of the log of a store: who signs it, what was signed, and who has it.
type LogState struct {
	Origin      string
	Key         string // path of the file with the private key
	KeyID       string
	VerifierKey string
	Every       time.Duration

	Size     uint64    // of the newest checkpoint; 0 when nothing is signed
	Root     tree.Hash // of the newest checkpoint
	SignedAt time.Time // of the newest checkpoint

	// Problem says why this process could not sign now, or why the last signature failed, or is nil. Another user may be able to
	// read the key. When it is an ErrBehind or an ErrForked, opening the store for writing is refused.
	Problem error
	Places  []PlaceState // outside of the store
	Earlier []EarlierLog // that the store had, the oldest first
}

// PlaceState is what a place outside of the store got.
type PlaceState struct {
	Name     string    // "publish /srv/log", "exec …", "witness NAME"
	Size     uint64    // of the newest checkpoint that it has; 0 when it has none
	At       time.Time // when it got that
	Error    string    // why the last delivery failed, "" if it did not
	FailedAt time.Time
}

// EarlierLog is a log that the store had before, or a key that its log had.
type EarlierLog struct {
	Origin      string
	VerifierKey string
	Checkpoint  string // the last signed checkpoint that is known, "" if none is
	Reason      string
	At          time.Time
}

// SignedCheckpoint is a checkpoint that was signed.
type SignedCheckpoint struct {
	evidence.Checkpoint
	At   time.Time
	Note string // with the signature of the log
}

// Log returns the state of the store's log. The error is ErrNoLog when it has none, and ErrLogFile when log.json cannot be used.
func (db *DB) Log(ctx context.Context) (*LogState, error) {
	if err := db.readable(ctx); err != nil {
		return nil, fmt.Errorf("state of the log: %w", err)
	}
	c, err := db.logConfig()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("state of the log: %w", ErrNoLog)
	case err != nil:
		return nil, fmt.Errorf("state of the log: %w: %w", ErrLogFile, err)
	}
	s := &LogState{Origin: c.Origin, Key: c.Key, KeyID: c.KeyID, VerifierKey: c.VerifierKey, Every: time.Duration(c.Every)}
	if c.Signed != nil {
		s.Size, s.Root, s.SignedAt = uint64(c.Signed.Size), c.Signed.Root, c.Signed.At
	}
	if s.Problem, err = db.refusal(ctx, c); err != nil {
		return nil, fmt.Errorf("state of the log: %w", err)
	}
	if s.Problem == nil {
		s.Problem = c.CheckKey(db.dir)
	}
	if s.Problem == nil && c.Failed != nil {
		s.Problem = errors.New(c.Failed.Error)
	}
	for _, name := range placesOf(c) {
		got := c.Delivered[name]
		p := PlaceState{Name: name, Size: uint64(got.Size), Error: got.Error}
		if got.At != nil {
			p.At = *got.At
		}
		if got.Failed != nil {
			p.FailedAt = *got.Failed
		}
		s.Places = append(s.Places, p)
	}
	for _, e := range c.Earlier {
		s.Earlier = append(s.Earlier, EarlierLog{e.Origin, e.VerifierKey, e.Checkpoint, e.Reason, e.At})
	}
	return s, nil
}

// NewestCheckpoint returns the newest checkpoint that the store's log has signed, with the cosignatures that it has by now. The
// error is ErrNoLog when the store has no log, and ErrUncovered when nothing was signed yet.
func (db *DB) NewestCheckpoint(ctx context.Context) (signed []byte, c evidence.Checkpoint, err error) {
	if err = db.readable(ctx); err == nil {
		signed, c, err = db.newestCheckpoint()
	}
	if err != nil {
		return nil, c, fmt.Errorf("newest checkpoint: %w", err)
	}
	return signed, c, nil
}

func (db *DB) newestCheckpoint() (signed []byte, c evidence.Checkpoint, err error) {
	log, err := logOf(db.dir)
	if err != nil {
		return nil, c, err
	}
	signed, c, err = log.Newest(db.dir)
	if err == nil && signed == nil {
		err = &UncoveredError{}
	}
	return signed, c, err
}

// refusal returns why the log makes an opening for writing refuse the store, or nil. A writer has compared the store when it
// opened it.
func (db *DB) refusal(ctx context.Context, c *signing.Config) (refused, err error) {
	if held, _, err := lockHolder(ctx, db.journalDir); err != nil || held {
		return nil, ctx.Err()
	}
	err = signing.New(db.dir, c, db.opts.logger, time.Now).Compare(ctx, db.sql)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, ErrForked):
		return err, nil
	case errors.Is(err, ErrBehind):
		// The journal may have the others.
		if why, cannot := NeedsRecovery(ctx, db.dir); why == "" && cannot == nil {
			return err, nil
		}
	}
	return nil, nil // CheckKey says it of a file of the log, and verify of a database
}

// logConfig returns what log.json says. In the writer's process it is what will be written next.
func (db *DB) logConfig() (*signing.Config, error) {
	if db.signer != nil {
		return db.signer.log.Config(), nil
	}
	return signing.ReadConfig(db.dir)
}

// placesOf returns the names of the places that checkpoints go to.
func placesOf(c *signing.Config) (names []string) {
	for _, folder := range c.Publish {
		names = append(names, deliver.Publish(folder).Name())
	}
	for _, command := range c.Exec {
		names = append(names, deliver.Exec(command).Name())
	}
	if c.Policy == "" {
		return names
	}
	policy, err := signing.ReadPolicy(c.Policy)
	if err != nil {
		return append(names, witnessesPlace)
	}
	return append(names, witnessPlaces(policy)...)
}

// Checkpoints returns the checkpoints that were signed last, at most most of them, the oldest first. They come from a list that the
// store keeps for convenience: it may be deleted, and a backup does not have it. Their signatures are not checked.
func (db *DB) Checkpoints(ctx context.Context, most int) ([]SignedCheckpoint, error) {
	if err := db.readable(ctx); err != nil {
		return nil, fmt.Errorf("checkpoints of the log: %w", err)
	}
	lines, err := signing.History(db.dir, most)
	if err != nil {
		return nil, fmt.Errorf("checkpoints of the log: %w", err)
	}
	var all []SignedCheckpoint
	for _, l := range lines {
		if cp, err := evidence.ReadUnverified([]byte(l.Note)); err == nil {
			all = append(all, SignedCheckpoint{cp, l.At, l.Note})
		}
	}
	return all, nil
}
