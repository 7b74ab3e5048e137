package signing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/tree"
)

// Tree is what the signer needs of a store. *audit.DB meets it.
type Tree interface {
	// Tree returns a reader of the tree of this moment, and how many records it has.
	Tree(ctx context.Context) (size uint64, tiles tree.TileReader, err error)
}

// Store is a store whose log is signed.
type Store interface {
	Tree
	// Reached returns an offset of the journal. It is after the last record of each tree that Tree has returned, and everything
	// before it was synced.
	Reached() uint64
	// Recheck hashes the records from one index up to another again, as far as the store has not hashed them itself since it
	// was opened. A record that is not its leaf is an error, and nothing is signed.
	Recheck(ctx context.Context, from, to int64) error
}

// Log signs the checkpoints of one store. Only the writer of the store has one, and one for each store. Several goroutines may
// use it.
type Log struct {
	dir  string
	disk files
	log  *slog.Logger
	now  func() time.Time

	// mu is held while a checkpoint is signed and written. It guards what follows. config is as DIR/log.json says, and is
	// replaced, never changed.
	mu     sync.Mutex
	config *Config
	closed bool
}

// Open reads the configuration of the store's log. The error is fs.ErrNotExist when the store has no log.
func Open(dir string, log *slog.Logger, now func() time.Time) (*Log, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	return &Log{dir: dir, disk: durableFiles{}, log: log, now: now, config: c}, nil
}

// Config returns the configuration, which the caller does not change.
func (l *Log) Config() *Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config
}

// Close ends the writing of log.json: what is delivered later is not noted. Other processes may write it from now on.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Compare compares a store's tree with everything that is known to be signed: FILE.signed, DIR/checkpoint and log.json. The error
// is a *MismatchError when the tree does not extend one of them.
func (l *Log) Compare(ctx context.Context, t Tree) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, err := l.config.Known(l.dir)
	if err != nil {
		return err
	}
	size, tiles, err := t.Tree(ctx)
	if err != nil {
		return err
	}
	return l.compare(known, int64(size), tiles)
}

func (l *Log) compare(known Known, size int64, tiles tree.TileReader) error {
	signed := []Copy{known.Memory, known.Store}
	if s := l.config.Signed; s != nil {
		signed = append(signed, Copy{Path: Path(l.dir), Note: []byte{}, Checkpoint: evidence.Checkpoint{Origin: l.config.Origin, Size: s.Size, Root: s.Root}})
	}
	for _, s := range signed {
		if s.Note == nil {
			continue
		}
		if size < s.Size {
			return &MismatchError{Source: s.Path, Signed: s.Checkpoint, Size: size}
		}
		root, err := tree.Root(tiles, s.Size)
		if err != nil {
			return fmt.Errorf("compare with %s: %w", s.Path, err)
		}
		if root != s.Root {
			return &MismatchError{Source: s.Path, Signed: s.Checkpoint, Size: size, Root: root}
		}
	}
	return nil
}

// Signature is a checkpoint that was signed.
type Signature struct {
	Checkpoint evidence.Checkpoint
	Note       []byte          // the signed note; nil when the log has none yet, because the store is empty
	New        bool            // it was signed now; else there was nothing new since
	Tiles      tree.TileReader // of a tree of at least this size
}

// Sign signs the tree of the store as it is now, if it has grown since the last signature. When it returns, the checkpoint is in
// FILE.signed, log.json and DIR/checkpoint, and may be delivered.
//
// Nothing is signed, and the error says why: a *MismatchError, ErrNoKey, ErrNoMemory, ErrStopped, or ErrCheckpoint when the
// memory is damaged. Another process that signs with the key is waited for.
//
// An error after the signature itself comes with the Signature.
func (l *Log) Sign(ctx context.Context, s Store) (Signature, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sig, err := l.sign(ctx, s)
	if err != nil {
		return sig, fmt.Errorf("sign the log: %w", err)
	}
	return sig, nil
}

func (l *Log) sign(ctx context.Context, s Store) (sig Signature, err error) {
	c := l.config
	if c.Stopped != "" {
		return sig, fmt.Errorf("%w: %s", ErrStopped, c.Stopped)
	}
	key, err := c.readKey()
	if err != nil {
		return sig, err
	}
	memory := Memory{c.Key, l.disk}
	unlock, err := memory.Lock(ctx)
	if err != nil {
		return sig, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	known, err := c.Known(l.dir)
	if err != nil {
		return sig, err
	}
	if err := l.checkMemory(known); err != nil {
		return sig, err
	}
	size, tiles, err := s.Tree(ctx)
	if err != nil {
		return sig, err
	}
	reached := s.Reached()
	if err := l.compare(known, int64(size), tiles); err != nil {
		return sig, err
	}
	was := known.newest()
	sig = Signature{Checkpoint: was.Checkpoint, Note: was.Note, Tiles: tiles}
	if int64(size) == was.Size { // also when both are 0
		return sig, l.write(known, reached)
	}
	if err := s.Recheck(ctx, was.Size, int64(size)); err != nil {
		return sig, err
	}
	cp := evidence.Checkpoint{Origin: c.Origin, Size: int64(size)}
	if cp.Root, err = tree.Root(tiles, cp.Size); err != nil {
		return sig, err
	}
	note, err := evidence.Sign(cp, key)
	if err != nil {
		return sig, err
	}
	// From here on the signature exists, so it is remembered before anybody else can see it.
	if err := memory.Write(note); err != nil {
		return sig, err
	}
	sig.Checkpoint, sig.Note, sig.New = cp, note, true
	known.Memory = Copy{Path: memory.Path(), Note: note, Checkpoint: cp}
	return sig, l.write(known, reached)
}

// readKey reads the private key of the log.
func (c *Config) readKey() (*evidence.Signer, error) {
	key, err := keyfile.Read(c.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if key.VerifierKey() != c.VerifierKey {
		return nil, fmt.Errorf("%w: %s has the key %s+%08x, and the log has %s+%s", ErrNoKey, c.Key, key.Name(), key.KeyHash(), c.Origin, c.KeyID)
	}
	return key, nil
}

// CheckKey returns why nothing can be signed now, or nil.
func (l *Log) CheckKey() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.config.Stopped != "" {
		return fmt.Errorf("%w: %s", ErrStopped, l.config.Stopped)
	}
	if _, err := l.config.readKey(); err != nil {
		return err
	}
	known, err := l.config.Known(l.dir)
	if err != nil {
		return err
	}
	return l.checkMemory(known)
}

// checkMemory refuses to sign with a key whose memory is lost or damaged. The key may have signed more than DIR/checkpoint has.
func (l *Log) checkMemory(known Known) error {
	switch m := known.Memory; {
	case m.Err == nil && m.Note != nil:
		return nil
	case m.Err == nil: // of an earlier log, so another log has this key as well
		return fmt.Errorf("%s: %w", m.Path, ErrCheckpoint)
	case !missing(m.Err):
		return m.Err
	case l.config.Signed != nil || known.Store.Note != nil:
		return fmt.Errorf("%w: %s", ErrNoMemory, m.Path)
	}
	return nil // nothing was ever signed
}

// write brings log.json and DIR/checkpoint up to the memory.
func (l *Log) write(known Known, reached uint64) error {
	if l.closed {
		return errors.New("the log is closed")
	}
	newest := known.newest()
	if newest.Note == nil {
		return nil
	}
	if s := l.config.Signed; s == nil || s.Size < newest.Size {
		c := l.config.clone()
		c.Signed = &Signed{newest.Size, newest.Root, reached, l.now().UTC().Truncate(time.Millisecond)}
		if err := c.write(l.dir, l.disk); err != nil {
			return err
		}
		l.config = c
	}
	if known.Store.Note != nil && known.Store.Size >= newest.Size {
		return nil
	}
	if err := l.disk.replace(CheckpointPath(l.dir), storedir.OwnedLike(l.dir), newest.Note); err != nil {
		return fmt.Errorf("write %s: %w", CheckpointPath(l.dir), err)
	}
	l.addHistory(newest.Note)
	return nil
}

// Cosigned replaces DIR/checkpoint by the same checkpoint with more signatures. It does nothing when a newer checkpoint was
// signed meanwhile.
func (l *Log) Cosigned(note []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cp, err := evidence.ReadUnverified(note)
	if err != nil {
		return err
	}
	if s := l.config.Signed; l.closed || s == nil || cp.Size != s.Size || cp.Root != s.Root {
		return nil
	}
	if err := l.disk.replace(CheckpointPath(l.dir), storedir.OwnedLike(l.dir), note); err != nil {
		return fmt.Errorf("write %s: %w", CheckpointPath(l.dir), err)
	}
	return nil
}

// Delivered notes in log.json what a place outside of the store got: the checkpoint of the size, or failed says why it did not.
func (l *Log) Delivered(place string, size int64, failed error) error {
	return l.change(func(c *Config) {
		at := l.now().UTC().Truncate(time.Millisecond)
		d := c.Delivered[place]
		if d.Error, d.Failed = "", nil; failed != nil {
			d.Error, d.Failed = failed.Error(), &at
		} else {
			d.Size, d.At = size, &at
		}
		c.Delivered[place] = d
	})
}

// Stop notes in log.json that nothing more may be signed, and why.
func (l *Log) Stop(why string) error {
	return l.change(func(c *Config) { c.Stopped = why })
}

func (l *Log) change(change func(*Config)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	c := l.config.clone()
	change(c)
	if err := c.write(l.dir, l.disk); err != nil {
		return err
	}
	l.config = c
	return nil
}
