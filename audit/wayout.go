package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/signing"
)

// wayOut opens the store in dir for writing also when its tree is not what was signed, and calls f. Nothing is signed while the
// store is open. log is nil when the store has none, and, if lost is true, when log.json is lost. There must be a store
// (ErrNoStore).
func wayOut(ctx context.Context, dir string, lost bool, opts []Option, f func(db *DB, log *signing.Log) error) error {
	if _, err := JournalDir(dir); errors.Is(err, ErrNoStore) {
		return err
	}
	db, err := OpenContext(ctx, dir, append(slices.Clone(opts), func(o *options) {
		o.withoutLog = true
		o.reads = Acknowledged // f compares the tree with what it has put
	})...)
	if err != nil {
		return err
	}
	log, err := signing.Open(dir, db.opts.logger, time.Now)
	if errors.Is(err, fs.ErrNotExist) || lost && errors.Is(err, signing.ErrLost) {
		log, err = nil, nil
	}
	if err == nil {
		err = f(db, log)
	} else {
		err = logFileError(err)
	}
	return errors.Join(err, db.Close())
}

// toSign is the store for a signature. All records since the last one are hashed again first.
func (db *DB) toSign() signing.Store {
	return signedStore{&signer{sql: db.sql, applier: db.applier, before: math.MaxInt64}}
}

// keyOutside returns the absolute path of a file with a key, which must not lie in the store.
func keyOutside(file, dir string) (string, error) {
	if signing.Within(file, dir) {
		return "", fmt.Errorf("%w: the key %s lies in the store, and its backups would have it", ErrInvalid, file)
	}
	return filepath.Abs(file)
}

// LogChange is what a log is after it was changed.
type LogChange struct {
	Recovery    Recovery
	Origin      string
	VerifierKey string
	Signed      evidence.Checkpoint // with the key that the log has now; Size 0: the store has no records
}

func changeLog(ctx context.Context, dir string, opts []Option, f func(db *DB, log *signing.Log) (signing.Signature, error)) (change LogChange, err error) {
	err = wayOut(ctx, dir, false, opts, func(db *DB, log *signing.Log) error {
		change.Recovery = db.recovery
		if log == nil {
			return ErrNoLog
		}
		sig, err := f(db, log)
		c := log.Config()
		change.Origin, change.VerifierKey, change.Signed = c.Origin, c.VerifierKey, sig.Checkpoint
		return ofArgument(err)
	})
	return change, err
}

// ofArgument makes an ErrInvalid of an error about a key or a checkpoint that was given.
func ofArgument(err error) error {
	if given := (*signing.GivenError)(nil); errors.As(err, &given) {
		return argumentError{err}
	}
	return err
}

// argumentError is an ErrInvalid that says so in its own words.
type argumentError struct{ error }

func (e argumentError) Is(target error) bool { return target == ErrInvalid }

func (e argumentError) Unwrap() error { return e.error }

// RotateKey lets another key sign the log of the store in dir from now on. The key in the file has the same name. The old key
// must be there: it signs the log once more, and the new one signs the same checkpoint.
//
// When it is interrupted, one of the two keys signs, and RotateKey can be called again. The next opening delivers the
// checkpoint with both signatures. The errors are those of Open, ErrForked and ErrBehind when the tree is not what the old key
// or the new one has signed, and ErrInvalid.
func RotateKey(ctx context.Context, dir, file string, opts ...Option) (LogChange, error) {
	return changeLog(ctx, dir, opts, func(db *DB, log *signing.Log) (signing.Signature, error) {
		key, err := keyOutside(file, dir)
		if err != nil {
			return signing.Signature{}, err
		}
		return log.Rotate(ctx, db.toSign(), key)
	})
}

// Successor says how a log goes on under another name.
type Successor struct {
	LogOptions        // of the new log. Every 0 is that of the old one
	After      []byte // the last signed checkpoint of the old log
	Reason     string // why it ends
}

// SucceedLog ends the log of the store in dir, and begins another one with another name and key over the records that the store
// has. It is for a store that cannot have the records again that were signed (ErrBehind, ErrForked), and for a key that is lost.
// log.json keeps the name, the key and the last checkpoint of the old log, and the reason.
//
// When it is interrupted the store has the old log or the new one, and SucceedLog can be called again. The errors are those of
// Open, and ErrInvalid: the checkpoint is not the newest one of the old log, or the name was used before.
func SucceedLog(ctx context.Context, dir string, s Successor, opts ...Option) (LogChange, error) {
	return changeLog(ctx, dir, opts, func(db *DB, log *signing.Log) (signing.Signature, error) {
		next, err := s.configure(dir, nil)
		if err != nil {
			return signing.Signature{}, err
		}
		if s.Every == 0 {
			next.Every = log.Config().Every
		}
		return log.Succeed(ctx, db.toSign(), next, s.After, s.Reason)
	})
}

// AdoptCheckpoint gives the key of a log a signed checkpoint as its memory, which is missing. The key has signed it, nothing
// newer is known, and the records extend it. Whoever calls it answers for it that the key has signed nothing newer. l, if not
// nil, says how the log is signed from then on, as WithSigner does: the key may have another place, or log.json may be lost too.
func AdoptCheckpoint(ctx context.Context, dir string, l *LogOptions, note []byte, opts ...Option) (change LogChange, err error) {
	err = wayOut(ctx, dir, l != nil, opts, func(db *DB, log *signing.Log) error {
		change.Recovery = db.recovery
		var config *signing.Config
		if log != nil {
			config = log.Config()
		}
		if l != nil {
			if config, err = l.configure(dir, config); err != nil {
				return err
			}
		}
		if config == nil {
			return ErrNoLog
		}
		adopted, err := signing.New(dir, config, db.opts.logger, time.Now).Adopt(ctx, db, note)
		if err = ofArgument(err); err == nil && l != nil {
			err = config.Write(dir)
		}
		change.Origin, change.VerifierKey, change.Signed = config.Origin, config.VerifierKey, adopted
		return err
	})
	return change, err
}
