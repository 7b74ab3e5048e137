package wal

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"time"

	"github.com/zeebo/blake3"
)

// group is what one write, and one sync, makes durable: the records of all who came while the one
// before it was under way.
type group struct {
	// buf is markSize free bytes, where the mark goes if one is due, and then the records back to back,
	// without their checksums: those need offsets, and offsets are known when the group is written.
	buf  []byte
	ends []int // where each record ends in buf

	// done is closed when the outcome is known; offs and err are set before and not changed after.
	done chan struct{}
	offs []Offset
	err  error
}

func (g *group) finish(err error) {
	g.err = err
	close(g.done)
}

// Ticket stands for an append that has been started.
type Ticket struct {
	g        *group
	first, n int
}

// Append stores a payload and returns its offset once it is durable at the journal's level.
//
// The payload is copied. It must not be empty, not longer than Options.MaxPayload and not begin with
// a byte below 0x20 (ErrPayload). When ctx ends first, its error is returned and the outcome is open:
// the record may be there or not. Any other error wraps ErrFailed or is ErrClosed.
func (j *Journal) Append(ctx context.Context, payload []byte) (Offset, error) {
	offs, err := j.AppendBatch(ctx, [][]byte{payload})
	if err != nil {
		return 0, err
	}
	return offs[0], nil
}

// AppendBatch is Append for several payloads, which get rising offsets and are acknowledged together,
// after one sync. They are not atomic: a crash before that may leave a first part of them. If one is
// refused with ErrPayload, none is stored.
func (j *Journal) AppendBatch(ctx context.Context, payloads [][]byte) ([]Offset, error) {
	t, err := j.Start(ctx, payloads)
	if err != nil {
		return nil, err
	}
	return t.Wait(ctx)
}

// Start is AppendBatch without the waiting: when it returns without error the records are on their
// way and nothing calls them back.
func (j *Journal) Start(ctx context.Context, payloads [][]byte) (*Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(payloads) == 0 {
		return &Ticket{g: nothing}, nil
	}
	// The hashes cost most of the processor's time of an append, so each caller computes its own,
	// before the lock.
	var one [1][32]byte
	hashes := one[:0]
	size := 0
	for _, p := range payloads {
		if err := checkPayload(p, j.opts.MaxPayload); err != nil {
			return nil, err
		}
		hashes = append(hashes, blake3.Sum256(p))
		size += headerSize + len(p)
	}
	j.mu.Lock()
	if err := j.refusal(); err != nil {
		j.mu.Unlock()
		return nil, err
	}
	g := j.join(size)
	t := &Ticket{g: g, first: len(g.ends), n: len(payloads)}
	for i, p := range payloads {
		g.buf = appendRecord(g.buf, &hashes[i], p)
		g.ends = append(g.ends, len(g.buf))
	}
	j.mu.Unlock()
	j.nudge()
	return t, nil
}

// nothing is the group of an empty batch.
var nothing = func() *group {
	g := &group{done: make(chan struct{})}
	close(g.done)
	return g
}()

// join returns the group that the next records, of size bytes, belong to. The caller holds mu.
func (j *Journal) join(size int) *group {
	if n := len(j.queue); n > 0 && !j.opts.Durability.each {
		return j.queue[n-1]
	}
	g := &group{done: make(chan struct{}), buf: j.spare}
	j.spare = nil
	if g.buf == nil {
		g.buf = make([]byte, 0, markSize+size)
	}
	g.buf = g.buf[:markSize]
	j.queue = append(j.queue, g)
	return g
}

func (j *Journal) nudge() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Done is closed when the outcome is known.
func (t *Ticket) Done() <-chan struct{} { return t.g.done }

// Wait returns the offsets once the records are durable at the journal's level, or why they are not.
// When ctx ends first it returns ctx's error, and may be called again.
func (t *Ticket) Wait(ctx context.Context) ([]Offset, error) {
	if ctx.Done() == nil { // a plain receive costs less than a choice
		<-t.g.done
	} else {
		select {
		case <-t.g.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if t.g.err != nil {
		return nil, t.g.err
	}
	return t.g.offs[t.first : t.first+t.n : t.first+t.n], nil
}

// commitLoop is the committer. It ends when the journal has failed, or was closed and all that had
// been taken is written.
func (j *Journal) commitLoop() {
	defer j.tell() // after done is closed: whoever waits for more is told that there is none
	defer close(j.done)
	interval := j.opts.Durability.interval
	var due <-chan time.Time // when unsynced records must be synced, at SyncInterval
	for {
		j.mu.Lock()
		var g *group
		if len(j.queue) > 0 {
			g = j.queue[0]
			j.queue = j.queue[1:]
		}
		closing := j.closed || j.failed != nil
		hurry := j.hurry
		j.hurry = false
		j.mu.Unlock()

		overdue := j.unsynced > 0 && (hurry || j.opts.Now().Sub(j.firstAt) >= interval)
		switch {
		case g != nil:
			// A long write must not make older records wait for their sync any longer.
			if overdue {
				if err := j.sync(); err != nil {
					g.finish(err) // it is no longer in the queue, where poison would have found it
					return
				}
			}
			if j.commit(g) != nil {
				return
			}
			if interval > 0 && hurry && j.sync() != nil {
				return
			}
			j.recycle(g)
			// Those who were just told come back with their next records; let them in before the next
			// group is closed, or groups alternate between one record and all the others.
			runtime.Gosched()
			continue
		case closing || overdue:
			if j.unsynced > 0 && j.sync() != nil {
				return
			}
			if closing {
				return
			}
			due = nil
			continue
		}
		if j.unsynced > 0 && due == nil {
			due = time.After(interval - j.opts.Now().Sub(j.firstAt))
		}
		select {
		case <-j.wake:
		case <-due:
			due = nil
		}
	}
}

// recycle keeps a group's buffer for the next one. Those who wait for the group no longer look at it.
func (j *Journal) recycle(g *group) {
	const keep = 4 << 20
	if cap(g.buf) > keep {
		return
	}
	j.mu.Lock()
	j.spare, g.buf = g.buf, nil
	j.mu.Unlock()
}

// commit writes a group and, unless the level leaves that for later, syncs it; then it tells those who
// wait. An error has poisoned the journal.
func (j *Journal) commit(g *group) error {
	// Before anything is written: after a long pause the file may be somebody else's.
	err := j.look(false)
	if err == nil {
		err = j.write(g)
	}
	if err == nil && j.opts.Durability.interval == 0 {
		err = j.flush()
	}
	if err == nil {
		err = j.check()
	}
	if err != nil {
		err = j.poison(err)
		g.finish(err)
		return err
	}
	if j.opts.Durability.interval == 0 {
		// Shown before it is acknowledged: a reader that starts after the acknowledgement sees it.
		j.publish(j.base + Offset(j.pos))
	}
	g.finish(nil)
	return nil
}

// sync is what SyncInterval has left for later.
func (j *Journal) sync() error {
	err := j.flush()
	if err == nil {
		err = j.check()
	}
	if err != nil {
		return j.poison(err)
	}
	j.publish(j.base + Offset(j.pos))
	return nil
}

// write lays the group's records into the active segment, and into new ones as they fill up.
func (j *Journal) write(g *group) error {
	g.offs = make([]Offset, len(g.ends))
	if end := j.base + Offset(j.pos); end > maxOffset || Offset(len(g.buf)) > maxOffset-end {
		return fmt.Errorf("offset %d: the journal is full", end)
	}
	if j.pos >= j.opts.SegmentBytes {
		if err := j.rotate(); err != nil {
			return err
		}
	}
	if err := j.identify(); err != nil {
		return err
	}
	from := markSize // where what is not yet written begins in buf
	if durable := j.Synced(); durable-j.lastMark >= markEvery {
		from = 0
		putMark(g.buf[:markSize], j.base+Offset(j.pos), durable)
		j.lastMark = durable
	}
	start := markSize
	for i, end := range g.ends {
		if j.pos+int64(start-from) >= j.opts.SegmentBytes {
			if err := j.put(g.buf[from:start]); err != nil {
				return err
			}
			if err := j.rotate(); err != nil {
				return err
			}
			if err := j.identify(); err != nil {
				return err
			}
			from = start
		}
		if j.unsynced == 0 {
			j.firstAt = j.opts.Now()
		}
		j.unsynced++
		g.offs[i] = j.base + Offset(j.pos) + Offset(start-from)
		sealRecord(g.buf[start:end], g.offs[i])
		start = end
	}
	if err := j.put(g.buf[from:start]); err != nil {
		return err
	}
	j.ended.Store(uint64(j.base) + uint64(j.pos))
	return nil
}

// identify begins an empty segment with the identity: a new one, and one that recovery has cut to nothing. It
// is synced with the group that follows it, so that a new segment costs no sync more.
func (j *Journal) identify() error {
	if j.pos > 0 || len(j.opts.Identity) == 0 {
		return nil
	}
	return j.put(identityRecord(j.opts.Identity, j.base))
}

// put writes b at the end of the active segment's data, and zeros ahead of it when the last ones are
// used up.
func (j *Journal) put(b []byte) error {
	end := j.pos + int64(len(b))
	if end > j.size && j.opts.Preallocate > 0 {
		ahead := min(end+j.opts.Preallocate, max(end, j.opts.SegmentBytes))
		for at := end; at < ahead; at += int64(len(zeroBlock)) {
			if err := j.writeAt(zeroBlock[:min(ahead-at, int64(len(zeroBlock)))], at); err != nil {
				return err
			}
		}
		j.size = ahead
	}
	if err := j.writeAt(b, j.pos); err != nil {
		return err
	}
	// After the write, which would make a file that was cut long enough again.
	if err := j.intact(); err != nil {
		return err
	}
	j.written = lastByteOf(b, j.pos, j.written)
	j.pos, j.size = end, max(j.size, end)
	return nil
}

func (j *Journal) writeAt(b []byte, pos int64) error {
	if len(b) == 0 {
		return nil
	}
	n, err := j.active.WriteAt(b, pos)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("write %s at %d: %w", segmentName(j.base), pos, err)
	}
	return nil
}

// zeroBlock is only ever read.
var zeroBlock = make([]byte, defaultPreallocate)

// flush makes durable all that was written.
func (j *Journal) flush() error {
	start := j.opts.Now()
	if err := j.active.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", segmentName(j.base), err)
	}
	if j.opts.OnSync != nil && j.unsynced > 0 {
		end := j.base + Offset(j.pos)
		j.opts.OnSync(Synced{
			End: end, Records: j.unsynced, Bytes: int64(end - j.Synced()), Took: j.opts.Now().Sub(start),
		})
	}
	j.unsynced = 0
	return nil
}

// rotate seals the active segment and begins the next one.
//
// The order is what recovery stands on. The old file is cut to its data and synced before the new name
// can exist, so a segment that is not the last one is whole, whatever a crash leaves. The new file and
// its name are durable before anything in it can be acknowledged.
func (j *Journal) rotate() error {
	// Once sealed, nobody looks at it again.
	if err := j.look(true); err != nil {
		return err
	}
	if err := j.intact(); err != nil {
		return err
	}
	if j.pos < j.size {
		if err := j.active.Truncate(j.pos); err != nil {
			return fmt.Errorf("truncate %s: %w", segmentName(j.base), err)
		}
		j.size = j.pos
	}
	if err := j.flush(); err != nil {
		return err
	}
	if err := j.intact(); err != nil {
		return err
	}
	j.publish(j.base + Offset(j.pos))
	next := Segment{Base: j.base + Offset(j.pos)}
	next.Path = filepath.Join(j.dir, segmentName(next.Base))
	f, err := j.createSegment(next.Base)
	if err != nil {
		return err
	}
	old := j.active
	j.active, j.base, j.pos, j.size, j.written = f, next.Base, 0, 0, noByte
	j.segMu.Lock()
	last := &j.segs[len(j.segs)-1]
	last.Size, last.Sealed = int64(next.Base-last.Base), true
	j.segs = append(j.segs, next)
	j.segMu.Unlock()
	if err := old.Close(); err != nil {
		return fmt.Errorf("close %s: %w", filepath.Base(last.Path), err)
	}
	return nil
}

// createSegment makes an empty segment, durable with its name.
func (j *Journal) createSegment(base Offset) (File, error) {
	name := segmentName(base)
	f, err := j.fs.Create(filepath.Join(j.dir, name))
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return nil, fmt.Errorf("sync %s: %w", name, err)
	}
	if err := j.syncDir(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
