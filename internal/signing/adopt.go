package signing

import (
	"context"
	"errors"
	"fmt"

	"github.com/auditsql/auditsql/evidence"
)

// ErrMemory says that a key still has its memory, so that none can be given to it. It comes in a *GivenError.
var ErrMemory = errors.New("the key still has its memory")

// Adopt gives a key whose memory was lost, or is damaged, a checkpoint as its memory. The key has signed it, no newer one is
// known, and the store's tree extends it. A person answers for it that the key has signed nothing newer.
func (l *Log) Adopt(ctx context.Context, t Tree, note []byte) (evidence.Checkpoint, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	cp, err := l.adopt(ctx, t, note)
	if err != nil {
		return cp, fmt.Errorf("adopt the checkpoint: %w", err)
	}
	return cp, nil
}

func (l *Log) adopt(ctx context.Context, t Tree, note []byte) (cp evidence.Checkpoint, err error) {
	c := l.Config()
	if _, err := c.readKey(); err != nil {
		return cp, err
	}
	memory := Memory{c.Key, l.disk}
	unlock, err := l.lock(ctx, memory)
	if err != nil {
		return cp, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	adopted, err := c.accept(l.dir, note)
	if err != nil {
		return cp, err
	}
	known, err := c.Known(l.dir)
	if err != nil {
		return cp, err
	}
	switch m := known.Memory; {
	case m.Note != nil:
		return cp, given("%w: %s has a checkpoint of size %d", ErrMemory, m.Path, m.Size)
	case m.Err != nil && !missing(m.Err) && !errors.Is(m.Err, ErrCheckpoint):
		return cp, m.Err
	}
	size, tiles, err := t.Tree(ctx)
	if err != nil {
		return cp, err
	}
	if err := adopted.ExtendedBy(int64(size), tiles); err != nil {
		return cp, err
	}
	return adopted.Checkpoint, memory.Write(note)
}
