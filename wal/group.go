package wal

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/wal/internal/segment"
)

// group is what one write and one sync make durable: the records that were appended while the group before it was
// being written.
type group struct {
	// buf begins with MarkSize free bytes, for a mark if one is due. The records follow, back to back. They have no
	// checksums yet: a checksum needs the offset, which is known only when the group is written.
	buf  []byte
	ends []int // where each record ends in buf

	// done is closed when the outcome is known. offs and err are set before that, and do not change afterwards.
	done chan struct{}
	offs []Offset
	err  error
}

func (g *group) finish(err error) {
	g.err = err
	close(g.done)
}

// Ticket is an append that has been started. Its methods may be called from several goroutines.
type Ticket struct {
	g        *group
	first, n int
}

// Append stores a payload and returns its offset once it is durable at the journal's level.
//
// The payload is copied. It must not be empty, must not be longer than Options.MaxPayload and must not begin with
// a byte below 0x20 (ErrPayload). When ctx ends first, Append returns its error, and the outcome is unknown:
// the record may be stored or not. Any other error wraps ErrFailed or is ErrClosed.
func (j *Journal) Append(ctx context.Context, payload []byte) (Offset, error) {
	offs, err := j.AppendBatch(ctx, [][]byte{payload})
	if err != nil {
		return 0, err
	}
	return offs[0], nil
}

// AppendBatch is Append for several payloads. They get rising offsets and are acknowledged together,
// after one sync. A batch is not atomic: after a crash before the sync, only the first ones may be there. If one is
// refused with ErrPayload, none is stored.
func (j *Journal) AppendBatch(ctx context.Context, payloads [][]byte) ([]Offset, error) {
	t, err := j.Start(ctx, payloads)
	if err != nil {
		return nil, err
	}
	return t.Wait(ctx)
}

// Start does what AppendBatch does, but does not wait. When it returns without error, the append cannot be cancelled any
// more: the records are written, unless the journal fails before that.
func (j *Journal) Start(ctx context.Context, payloads [][]byte) (*Ticket, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(payloads) == 0 {
		return &Ticket{g: emptyGroup}, nil
	}
	// The hashes take most of the processor time of an append, so each caller computes its own, before it takes
	// the lock.
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
		g.buf = segment.Append(g.buf, &hashes[i], p)
		g.ends = append(g.ends, len(g.buf))
	}
	j.mu.Unlock()
	j.nudge()
	return t, nil
}

// emptyGroup is the group of an empty batch.
var emptyGroup = func() *group {
	g := &group{done: make(chan struct{})}
	close(g.done)
	return g
}()

// join returns the group to which a caller adds records of size bytes in all. The caller holds mu.
func (j *Journal) join(size int) *group {
	if n := len(j.queue); n > 0 && !j.opts.Durability.each {
		return j.queue[n-1]
	}
	g := &group{done: make(chan struct{}), buf: j.spare}
	j.spare = nil
	if g.buf == nil {
		g.buf = make([]byte, 0, segment.MarkSize+size)
	}
	g.buf = g.buf[:segment.MarkSize]
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
	if ctx.Done() == nil { // a plain receive costs less than a select
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

// commitLoop is the committer. It ends when the journal has failed, or when it was closed and everything that was
// accepted is written.
func (j *Journal) commitLoop() {
	defer j.notify() // deferred first, so it runs after done is closed: whoever it wakes then sees the end
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
			// Sync the older records before this write, which may take long.
			if overdue {
				if err := j.sync(); err != nil {
					g.finish(err) // poison finishes only the groups that are still in the queue
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
			// The callers whose append has just returned may append again at once. Let them run first, so that their
			// records are in the next group. Otherwise groups alternate: one has a single record, the next has the rest.
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

// recycle keeps a group's buffer for a later group. Tickets of the old group do not read it.
func (j *Journal) recycle(g *group) {
	const keep = 4 << 20
	if cap(g.buf) > keep {
		return
	}
	j.mu.Lock()
	j.spare, g.buf = g.buf, nil
	j.mu.Unlock()
}

// commit writes a group and syncs it; at SyncInterval commitLoop syncs later. Then it wakes the callers that
// wait for the group. When it returns an error, it has poisoned the journal.
func (j *Journal) commit(g *group) error {
	// Check before the write: somebody may have replaced the file since the last append, which may be long ago.
	err := j.checkFiles(false)
	if err == nil {
		err = j.write(g)
	}
	if err == nil && j.opts.Durability.interval == 0 {
		err = j.flush()
	}
	if err == nil {
		err = j.checkAll()
	}
	if err != nil {
		err = j.poison(err)
		g.finish(err)
		return err
	}
	if j.opts.Durability.interval == 0 {
		// Publish before the acknowledgement, so that a reader that starts after it sees the records.
		j.publish(j.base + Offset(j.pos))
	}
	g.finish(nil)
	return nil
}

// sync makes durable what commit has written at SyncInterval.
func (j *Journal) sync() error {
	err := j.flush()
	if err == nil {
		err = j.checkAll()
	}
	if err != nil {
		return j.poison(err)
	}
	j.publish(j.base + Offset(j.pos))
	return nil
}

// write writes the group's records to the active segment, and to new segments as they fill up.
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
	from := segment.MarkSize // where the bytes begin in buf that put has not written yet
	if durable := j.Synced(); durable-j.lastMark >= markEvery || j.opts.MarkGroups && durable > j.lastMark {
		from = 0
		segment.PutMark(g.buf[:segment.MarkSize], uint64(j.base)+uint64(j.pos), uint64(durable))
		j.lastMark = durable
	}
	start := segment.MarkSize
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
		segment.Seal(g.buf[start:end], uint64(g.offs[i]))
		start = end
	}
	if err := j.put(g.buf[from:start]); err != nil {
		return err
	}
	j.ended.Store(uint64(j.base) + uint64(j.pos))
	return nil
}

// identify writes the identity at the beginning of an empty segment. The segment is new, or recovery has cut all of its
// bytes. The identity is synced together with the next group, so a new segment costs no extra sync.
func (j *Journal) identify() error {
	if j.pos > 0 || len(j.opts.Identity) == 0 {
		return nil
	}
	return j.put(segment.IdentityRecord(j.opts.Identity, uint64(j.base)))
}

// put writes b at the end of the active segment's data. When b does not fit into the zeros that were written ahead, it
// first writes more zeros after b.
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
	// Check after the write. If somebody cut the file between a check and the write, that check would miss it, and the
	// write would make the file as long as it should be.
	if err := j.checkWritten(); err != nil {
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

// zeroBlock is what put writes ahead of the data. Nobody changes it.
var zeroBlock = make([]byte, defaultPreallocate)

// flush syncs the active segment and reports that to OnSync.
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
