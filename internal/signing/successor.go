package signing

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/evidence"
)

// ErrNewer says that a log has signed a newer checkpoint than the one that was given. It comes in a *GivenError.
var ErrNewer = errors.New("the log has signed a newer checkpoint")

// Succeed ends the log of the store and begins another one, with another name, over the records that the store has now. next
// is its configuration, see NewConfig. after is the last checkpoint that the old log has signed, and reason says why it ends.
// Both go to log.json, so that whoever has a checkpoint of the old log finds out.
//
// It is for a store whose records are no longer those that were signed, and for a key that is lost. No origin ever gets two
// roots: the new name must be one that the store never had. The memory of the old key is left as it is.
//
// The order is that of Sign: the first checkpoint of the new log is in the new key's memory, then in log.json with the rest,
// then in DIR/checkpoint. A process that dies before log.json leaves the old log, and its store refuses as before. The next
// Succeed with the same key goes on, because the tree extends that memory.
func (l *Log) Succeed(ctx context.Context, s Store, next *Config, after []byte, reason string) (Signature, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sig, err := l.succeed(ctx, s, next, after, reason)
	if err != nil {
		return sig, fmt.Errorf("begin the next log: %w", err)
	}
	return sig, nil
}

func (l *Log) succeed(ctx context.Context, s Store, next *Config, after []byte, reason string) (sig Signature, err error) {
	old := l.Config()
	if next.Origin == old.Origin || old.hadLog(next.Origin) {
		return sig, given("%w: its name %s is that of a log which this store had; two logs never share a name", ErrKey, next.Origin)
	}
	last, err := old.accept(l.dir, after)
	if err != nil {
		return sig, err
	}
	key, err := ReadKey(next.Key)
	if err != nil {
		return sig, err
	}
	if err := checkOwn(ctx, Memory{next.Key, l.disk}, key, s); err != nil {
		return sig, err
	}
	c := next.clone()
	c.Earlier = append(slices.Clone(old.Earlier), Earlier{
		Origin: old.Origin, Key: old.Key, VerifierKey: old.VerifierKey, Checkpoint: string(last.Note),
		Reason: reason, At: l.moment(),
	})
	// sign writes log.json with what it has signed. Until then the old log is the store's.
	l.config.Store(c)
	if sig, err = l.sign(ctx, s); err == nil && sig.Note == nil {
		err = c.write(l.dir, l.disk) // there are no records yet
	}
	if err != nil {
		l.config.CompareAndSwap(c, old)
	}
	return sig, err
}

// accept checks a checkpoint that a person says is the newest one of the log: the log has signed it, and nothing newer is known.
func (c *Config) accept(dir string, note []byte) (Copy, error) {
	policy, err := c.policy()
	if err != nil {
		return Copy{}, err
	}
	v := evidence.VerifyCheckpoint(note, policy)
	if v.Outcome != evidence.Proven || v.Checkpoint.Origin != c.Origin {
		return Copy{}, given("%w: %s", ErrCheckpoint, v.Detail)
	}
	known, err := c.Known(dir)
	if err != nil {
		return Copy{}, err
	}
	for _, k := range c.signed(dir, known) {
		switch {
		case k.Size > v.Checkpoint.Size:
			return Copy{}, given("%w: this one has the size %d, and the one in %s has %d", ErrNewer, v.Checkpoint.Size, k.Path, k.Size)
		case k.Size == v.Checkpoint.Size && k.Root != v.Checkpoint.Root:
			return Copy{}, given("%w: %s has another root for the same %d records", ErrForked, k.Path, k.Size)
		}
	}
	return Copy{Path: "the checkpoint that was given", Note: note, Checkpoint: v.Checkpoint}, nil
}
