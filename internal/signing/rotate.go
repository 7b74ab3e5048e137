package signing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/evidence"
)

// A GivenError says that a key or a checkpoint that a person has given cannot be used. Nothing is wrong with the store.
type GivenError struct{ Err error }

func (e *GivenError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *GivenError) Unwrap() error { return e.Err }

func given(format string, args ...any) error { return &GivenError{fmt.Errorf(format, args...)} }

// ErrKey says that a key cannot take the place of the log's key. It comes in a *GivenError.
var ErrKey = errors.New("this key cannot be the next one")

// Rotate lets the key in another file sign the log from now on. The key has the same name, since that is the name of the log.
// The path must be absolute. The old key signs the log once more. The new one signs the same checkpoint, so whoever knows only
// one of the two takes it. There must be a signature of the old one.
//
// The order, and what a process leaves that dies before each step:
//
//	old key's signature      nothing
//	FILE.signed of the new   the old key signs on. The new key's memory is of an earlier moment of the same log
//	FILE.next of the old     the same
//	DIR/checkpoint           the old key signs on, as long as its tree extends the new key's memory as well
//	log.json                 the same: both signatures are on the checkpoint, so it counts for the old key too
//	—                        the new key signs
//
// So at every moment one of the two keys signs, and it knows everything that the log has signed. FILE.next stays beside the old
// key: a backup from before the change has the old key in its log.json.
func (l *Log) Rotate(ctx context.Context, s Store, file string) (Signature, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sig, err := l.rotate(ctx, s, file)
	if err != nil {
		return sig, fmt.Errorf("change the key: %w", err)
	}
	return sig, nil
}

func (l *Log) rotate(ctx context.Context, s Store, file string) (sig Signature, err error) {
	key, err := ReadKey(file)
	if err != nil {
		return sig, err
	}
	switch {
	case key.Name() != l.Config().Origin:
		return sig, given("%w: its name is %s, and the log's is %s: a log with another name is a successor", ErrKey, key.Name(), l.Config().Origin)
	case slices.ContainsFunc(l.Config().Publish, func(folder string) bool { return Within(file, folder) }):
		return sig, given("%w: %s lies in a folder that is published", ErrKey, file)
	case key.VerifierKey() == l.Config().VerifierKey:
		return sig, given("%w: it is the key that signs the log already", ErrKey)
	}
	memory := Memory{file, l.disk}
	unlock, err := l.lock(ctx, memory)
	if err != nil {
		return sig, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if sig, err = l.sign(ctx, s); err != nil {
		return sig, err
	}
	if sig.Note == nil {
		return sig, given("%w: the log has no signature yet, which the new key could follow: store a record first", ErrKey)
	}
	if err := checkOwn(ctx, memory, key, s); err != nil {
		return sig, err
	}
	old := l.Config()
	before := Memory{old.Key, l.disk}
	release, err := l.lock(ctx, before)
	if err != nil {
		return sig, err
	}
	defer func() { err = errors.Join(err, release()) }()
	// From here on nobody signs with the old key, until whoever does finds FILE.next.
	if note, err := before.Read(); err != nil {
		return sig, err
	} else if newest, err := evidence.ReadUnverified(note); err != nil || newest != sig.Checkpoint {
		return sig, errors.Join(fmt.Errorf("another process has just signed with %s", old.Key), err)
	}
	c := old.clone()
	next := NewConfig(file, key)
	c.Key, c.KeyID, c.VerifierKey = next.Key, next.KeyID, next.VerifierKey
	c.Earlier = append(slices.Clone(old.Earlier), Earlier{
		Origin: old.Origin, Key: old.Key, VerifierKey: old.VerifierKey, Checkpoint: string(sig.Note),
		Reason: "the key was changed", At: l.moment(),
	})
	// No place has the checkpoint with the new signature yet.
	c.Delivered = nil
	if sig.Note, err = evidence.AddSignature(sig.Note, key); err != nil {
		return sig, err
	}
	if err := memory.Write(sig.Note); err != nil {
		return sig, err
	}
	if err := before.writeNext(nextKey{file, key.VerifierKey()}); err != nil {
		return sig, err
	}
	if err := l.writeCheckpoint(sig.Note); err != nil {
		return sig, err
	}
	l.addHistory(sig.Note)
	if err := c.write(l.dir, l.disk); err != nil {
		return sig, err
	}
	l.config.Store(c)
	sig.New = true
	return sig, nil
}

// checkOwn refuses a key that has signed anything but a beginning of this tree: another store has it, or had it. An
// interrupted change of the key leaves a memory that the tree extends.
func checkOwn(ctx context.Context, m Memory, key *evidence.Signer, t Tree) error {
	note, err := m.Read()
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	policy, err := evidence.KeyPolicy(key.VerifierKey())
	if err != nil {
		return err
	}
	v := evidence.VerifyCheckpoint(note, policy)
	if v.Outcome != evidence.Proven {
		return fmt.Errorf("%s: %w: %s", m.Path(), ErrCheckpoint, v.Detail)
	}
	size, tiles, err := t.Tree(ctx)
	if err != nil {
		return err
	}
	return Copy{Path: m.Path(), Checkpoint: v.Checkpoint}.ExtendedBy(int64(size), tiles)
}
