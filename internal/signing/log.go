package signing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
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
	Reached(ctx context.Context) (uint64, error)
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
	// patience is how long another process that signs with the key is waited for.
	patience time.Duration

	mu     sync.Mutex // held while a checkpoint is signed, and while the files are written
	closed bool       // guarded by mu
	// config is what DIR/log.json says. It is replaced with mu held, and never changed.
	config atomic.Pointer[Config]
}

// Open reads the configuration of the store's log. The error is fs.ErrNotExist when the store has no log.
func Open(dir string, log *slog.Logger, now func() time.Time) (*Log, error) {
	c, err := ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	return New(dir, c, log, now), nil
}

// New returns the log of a store with a configuration that may not be in DIR/log.json yet.
func New(dir string, c *Config, log *slog.Logger, now func() time.Time) *Log {
	l := &Log{dir: dir, disk: durableFiles{}, log: log, now: now, patience: 10 * time.Second}
	l.config.Store(c)
	return l
}

// Config returns the configuration, which the caller does not change. It never waits.
func (l *Log) Config() *Config { return l.config.Load() }

// moment is the time as the files of the log have it.
func (l *Log) moment() time.Time { return l.now().UTC().Truncate(time.Millisecond) }

// Close ends the writing of log.json: what is delivered later is not noted. Other processes may write it from now on.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Compare compares a store's tree with everything that is known to be signed ([Config.AllSigned]). The error
// is a *MismatchError when the tree does not extend one of them.
func (l *Log) Compare(ctx context.Context, t Tree) error {
	c := l.Config()
	known, err := c.Known(l.dir)
	if err != nil {
		return err
	}
	size, tiles, err := t.Tree(ctx)
	if err != nil {
		return err
	}
	return c.compare(l.dir, known, int64(size), tiles)
}

func (c *Config) compare(dir string, known Known, size int64, tiles tree.TileReader) error {
	for _, s := range c.signed(dir, known) {
		if err := s.ExtendedBy(size, tiles); err != nil {
			return err
		}
	}
	return nil
}

// compared returns the tree of a store, and the offset after its last record, once the tree was found to extend what was signed.
func (l *Log) compared(ctx context.Context, s Store, known Known) (size int64, tiles tree.TileReader, reached uint64, err error) {
	records, tiles, err := s.Tree(ctx)
	if err == nil {
		reached, err = s.Reached(ctx)
	}
	if err == nil {
		err = l.Config().compare(l.dir, known, int64(records), tiles)
	}
	return int64(records), tiles, reached, err
}

// Signature is a checkpoint that was signed.
type Signature struct {
	Checkpoint evidence.Checkpoint
	Note       []byte // the signed note; nil when the log has none yet, because the store is empty
	New        bool   // it was signed now; else there was nothing new since
}

// Sign signs the tree of the store as it is now, if it has grown since the last signature. When it returns, the checkpoint is in
// FILE.signed, log.json and DIR/checkpoint, and may be delivered.
//
// Nothing is signed, and the error says why: a *MismatchError, ErrNoKey, ErrNoMemory, ErrStopped, or ErrCheckpoint when the
// memory is damaged. Another process that signs with the key is waited for, at most ten seconds.
//
// An error after the signature itself comes with the Signature.
func (l *Log) Sign(ctx context.Context, s Store) (Signature, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sign(ctx, s)
}

func (l *Log) sign(ctx context.Context, s Store) (sig Signature, err error) {
	c := l.Config()
	if c.Stopped != "" {
		return sig, fmt.Errorf("%w: %s", ErrStopped, c.Stopped)
	}
	key, err := c.readKey()
	if err != nil {
		return sig, err
	}
	memory := Memory{c.Key, l.disk}
	unlock, err := l.lock(ctx, memory)
	if err != nil {
		return sig, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	known, err := c.Known(l.dir)
	if err != nil {
		return sig, err
	}
	if err := c.checkMemory(known); err != nil {
		return sig, err
	}
	size, tiles, reached, err := l.compared(ctx, s, known)
	if err != nil {
		return sig, err
	}
	was := known.newest()
	sig = Signature{Checkpoint: was.Checkpoint, Note: was.Note}
	if size == was.Size { // also when both are 0
		return sig, l.finish(memory, known, reached)
	}
	if err := s.Recheck(ctx, was.Size, size); err != nil {
		return sig, err
	}
	cp := evidence.Checkpoint{Origin: c.Origin, Size: size}
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

// lock takes the lock of the key. A holder that hangs must not keep a store from saying that it is not signed.
func (l *Log) lock(ctx context.Context, memory Memory) (unlock func() error, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.patience, fmt.Errorf("another process has held it for %v", l.patience))
	defer cancel()
	return memory.Lock(ctx)
}

// ReadKey reads a private key. The file must not be a link: the memory is beside the file, and each name of a key would have a
// memory of its own.
func ReadKey(file string) (*evidence.Signer, error) {
	if err := durable.CheckLink(file); err != nil {
		return nil, err
	}
	return keyfile.Read(file)
}

// readKey reads the private key of the log.
func (c *Config) readKey() (*evidence.Signer, error) {
	key, err := ReadKey(c.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	}
	if key.VerifierKey() != c.VerifierKey {
		return nil, fmt.Errorf("%w: %s has the key %s+%08x, and the log has %s+%s", ErrNoKey, c.Key, key.Name(), key.KeyHash(), c.Origin, c.KeyID)
	}
	return key, nil
}

// CheckKey returns why this process could not sign now, or nil.
func (c *Config) CheckKey(dir string) error {
	if c.Stopped != "" {
		return fmt.Errorf("%w: %s", ErrStopped, c.Stopped)
	}
	if _, err := c.readKey(); err != nil {
		return err
	}
	known, err := c.Known(dir)
	if err != nil {
		return err
	}
	return c.checkMemory(known)
}

// CheckCopy returns why DIR/checkpoint does not count although it exists, or nil.
func (c *Config) CheckCopy(dir string) error {
	known, err := c.Known(dir)
	if err != nil || missing(known.Store.Err) {
		return err
	}
	return known.Store.Err
}

// checkMemory refuses to sign with a key whose memory is lost or damaged. The key may have signed more than DIR/checkpoint has.
func (c *Config) checkMemory(known Known) error {
	for _, n := range known.Next {
		switch {
		case n.Note != nil:
		case missing(n.Err):
			return fmt.Errorf("%w: %s, of a key that has followed this one", ErrNoMemory, n.Path)
		default:
			return n.Err
		}
	}
	switch m := known.Memory; {
	case m.Err == nil && m.Note != nil:
		return nil
	case m.Err == nil: // of an earlier log, so another log has this key as well
		return fmt.Errorf("%s: %w", m.Path, ErrCheckpoint)
	case !missing(m.Err):
		return m.Err
	case c.Signed != nil || known.Store.Note != nil:
		return fmt.Errorf("%w: %s", ErrNoMemory, m.Path)
	case known.Store.Err != nil && !missing(known.Store.Err):
		// Another key has signed the store's log, perhaps under this name: the first signature must not take the place of that
		// checkpoint.
		return known.Store.Err
	}
	return nil // nothing was ever signed
}

// Resume does what a process left undone that died after a signature: it brings log.json and DIR/checkpoint up to FILE.signed. It
// returns the newest signature, and signs nothing. The error is a *MismatchError when another store has signed with the key
// meanwhile, so that its checkpoint is not taken over.
func (l *Log) Resume(ctx context.Context, s Store) (sig Signature, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.Config()
	memory := Memory{c.Key, l.disk}
	if _, err := memory.Read(); !missing(err) {
		unlock, err := l.lock(ctx, memory)
		if err != nil {
			return sig, err
		}
		defer unlock()
	}
	known, err := c.Known(l.dir)
	if err != nil {
		return sig, err
	}
	_, _, reached, err := l.compared(ctx, s, known)
	if err != nil {
		return sig, err
	}
	newest := known.newest()
	return Signature{Checkpoint: newest.Checkpoint, Note: newest.Note}, l.finish(memory, known, reached)
}

// finish writes what a process left undone. The memory is written once more if log.json is older: that process may have died
// before it synced the name.
func (l *Log) finish(memory Memory, known Known, reached uint64) error {
	if m, s := known.Memory, l.Config().Signed; m.Note != nil && (s == nil || s.Size < m.Size) {
		if err := memory.Write(m.Note); err != nil {
			return err
		}
	}
	return l.write(known, reached)
}

// write brings log.json and DIR/checkpoint up to the newest checkpoint.
func (l *Log) write(known Known, reached uint64) error {
	if l.closed {
		return errClosed
	}
	newest := known.newest()
	if newest.Note == nil {
		return nil
	}
	c := l.Config()
	if s := c.Signed; s == nil || s.Size < newest.Size {
		c = c.clone()
		c.Signed = &Signed{newest.Size, newest.Root, reached, l.moment()}
		if err := c.write(l.dir, l.disk); err != nil {
			return err
		}
		l.config.Store(c)
	}
	if known.Store.Note != nil && known.Store.Size >= newest.Size {
		return nil
	}
	if err := l.writeCheckpoint(newest.Note); err != nil {
		return err
	}
	l.addHistory(newest.Note)
	return nil
}

func (l *Log) writeCheckpoint(note []byte) error {
	if err := l.disk.replace(CheckpointPath(l.dir), storedir.OwnedLike(l.dir), note); err != nil {
		return fmt.Errorf("write %s: %w", CheckpointPath(l.dir), err)
	}
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
	if s := l.Config().Signed; l.closed || s == nil || cp.Size != s.Size || cp.Root != s.Root {
		return nil
	}
	return l.writeCheckpoint(note)
}

// Delivered notes in log.json what a place outside of the store got: the checkpoint of the size, or failed says why it did not.
func (l *Log) Delivered(place string, size int64, failed error) error {
	return l.change(func(c *Config) {
		at := l.moment()
		d := c.Delivered[place]
		if d.Error, d.Failed = "", nil; failed != nil {
			d.Error, d.Failed = failed.Error(), &at
		} else {
			d.Size, d.At = size, &at
		}
		c.Delivered[place] = d
	})
}

// Failed notes in log.json why the log was not signed, "" when nothing has failed. Other processes see it there.
func (l *Log) Failed(why string) error {
	had := l.Config().Failed
	if had == nil && why == "" || had != nil && had.Error == why {
		return nil
	}
	return l.change(func(c *Config) {
		if c.Failed = nil; why != "" {
			c.Failed = &Failure{why, l.moment()}
		}
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
	c := l.Config().clone()
	change(c)
	if err := c.write(l.dir, l.disk); err != nil {
		return err
	}
	l.config.Store(c)
	return nil
}
