package wal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/auditsql/auditsql/internal/crashfs"
	"github.com/auditsql/auditsql/internal/walspec"
	"github.com/auditsql/auditsql/wal"
)

// rig is a journal on a disk that crashes, written by one process and read by another, with an oracle that
// judges everything that is returned. It runs in a bubble of synctest, which has its own time.
//
// Only append and the readers may be used by several goroutines.
type rig struct {
	t      *testing.T
	disk   *crashfs.Disk
	dir    string
	opts   wal.Options
	soft   bool // an append returns before its sync
	oracle *oracle

	mu     sync.Mutex // guards what the hook writes to
	trail  []string
	faults int

	writer, other *crashfs.Process
	plan          func(c crashfs.Call) crashfs.Verdict // of the writer's calls
	j             *wal.Journal
	poisoned      atomic.Bool // no append on j may succeed any more
	strict        bool        // a fault poisons when it comes, not only when somebody is told: one goroutine alone
	settled       bool        // all that is seen is on the platter
	identified    bool        // each segment was begun with the identity
	crashes       int
}

func newRig(t *testing.T, seed uint64, dir string, o wal.Options, soft bool) *rig {
	d := crashfs.New(seed)
	r := &rig{t: t, disk: d, dir: dir, opts: o, soft: soft, oracle: newOracle(), writer: d.Process(), other: d.Process()}
	return r
}

// end leaves no goroutine of the journal.
func (r *rig) end() {
	r.disk.PowerCut()
	if r.j != nil {
		r.j.Close()
	}
}

func (r *rig) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trail = append(r.trail, fmt.Sprintf(format, args...))
}

func (r *rig) fatalf(format string, args ...any) {
	r.t.Helper()
	const last = 60
	trail := r.trail[max(0, len(r.trail)-last):]
	r.t.Fatalf("%s\n\nwhat came before:\n  %s", fmt.Sprintf(format, args...), strings.Join(trail, "\n  "))
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.fatalf("%v", err)
	}
}

func (r *rig) as(p *crashfs.Process) wal.Options {
	o := r.opts
	o.FS = p
	return o
}

// arm lets the plan judge the writer's calls; without it all of them pass.
func (r *rig) arm(on bool) {
	if !on || r.plan == nil {
		r.disk.Hook(nil)
		return
	}
	writer := r.writer
	r.disk.Hook(func(c crashfs.Call) crashfs.Verdict {
		if c.Process != writer {
			return crashfs.Pass
		}
		v := r.plan(c)
		if v != crashfs.Pass {
			r.note("! %v: %v", c, [...]string{"", "EIO", "ENOSPC", "short", "killed", "power cut"}[v])
			r.mu.Lock()
			r.faults++
			r.mu.Unlock()
			if r.strict && r.j != nil && poisons(c, r.dir) {
				r.poisoned.Store(true)
			}
		}
		return v
	})
}

// poisons reports whether a journal must not go on when this call has failed.
func poisons(c crashfs.Call, dir string) bool {
	switch c.Op {
	case crashfs.OpSyncDir:
		return c.Name == dir
	case crashfs.OpWrite, crashfs.OpTruncate, crashfs.OpSync:
		return filepath.ToSlash(filepath.Dir(c.Name)) == dir && filepath.Ext(c.Name) == ".wal"
	}
	return false
}

// planned reports whether the plan is the reason of an error.
func (r *rig) planned(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return err != nil && (errors.Is(err, crashfs.ErrDead) || r.faults > 0 && isFault(err))
}

func isFault(err error) bool {
	s := err.Error() // joined errors and errors of a poisoned journal among them
	return strings.Contains(s, "input/output error") || strings.Contains(s, "no space left")
}

// open opens the journal and judges what recovery has made of it. It reports whether it is open: not when the
// plan has made it fail.
func (r *rig) open(cursor wal.Offset) bool {
	r.t.Helper()
	before, settled := r.lastSegment(), r.settled
	existed := before.name != ""
	r.settled = false
	o := r.as(r.writer)
	o.Cursor = func() (wal.Offset, error) { return cursor, nil }
	o.OnSync = func(s wal.Synced) { r.oracle.promise(s.End) }
	r.arm(true)
	j, rep, err := wal.Open(r.dir, o)
	r.note("open at %d: %v %+v", cursor, err, rep)
	if err != nil {
		if !r.planned(err) {
			r.fatalf("open at %d: %v", cursor, err)
		}
		// What was cut must lie in quarantine; but when the power went, what was never on the platter may just be gone.
		if !r.powerless() || settled {
			r.check(r.keptInQuarantine(before))
		}
		return false
	}
	r.j = j
	r.poisoned.Store(false)
	r.arm(false)
	if r.writer.Dead() {
		return true // in the last of its calls, whose error may be passed over
	}
	r.judge(cursor, rep, existed)
	r.check(r.keptInQuarantine(before))
	if len(rep.Filled) > 0 && !o.KeepTail {
		r.fatalf("recovery filled %+v", rep.Filled)
	}
	aside := rep.Filled
	if rep.Torn != nil {
		aside = append(aside[:len(aside):len(aside)], *rep.Torn)
	}
	for _, torn := range aside {
		name := r.dir + "/quarantine/" + filepath.Base(torn.Quarantine)
		b, ok := r.disk.Read(name)
		if !ok || int64(len(b)) != torn.Bytes {
			r.fatalf("recovery kept %d bytes aside, and %s holds %d", torn.Bytes, name, len(b))
		}
		r.oracle.torn = append(r.oracle.torn, tornBytes{torn.Offset, b})
	}
	r.arm(true)
	return true
}

func (r *rig) powerless() bool { return r.other.Dead() }

// judge looks at the whole log from both processes.
func (r *rig) judge(cursor wal.Offset, rep wal.Recovery, existed bool) {
	r.t.Helper()
	var log found
	after := 0
	v, err := wal.VerifyContext(context.Background(), r.dir, r.as(r.other), func(rec wal.Record) error {
		rec.Payload = bytes.Clone(rec.Payload)
		log.records = append(log.records, rec)
		if rec.Offset >= cursor {
			after++
		}
		return nil
	})
	r.check(err)
	if len(v.Damage) > 0 || v.Torn != nil {
		r.fatalf("after recovery verify finds damage %v, a torn tail %+v", v.Damage, v.Torn)
	}
	log.first, log.end = v.First, v.End
	if rep.End != v.End && !rep.Created || rep.Records != after || rep.Created == existed {
		r.fatalf("recovery reports %+v, verify %+v with %d records from the cursor on", rep, v, after)
	}
	if r.j.Synced() != v.End || r.j.End() != v.End {
		r.fatalf("the log ends at %d, and the journal says synced %d, end %d", v.End, r.j.Synced(), r.j.End())
	}
	if mine, err := wal.Verify(r.dir, r.as(r.writer)); err != nil || mine.Records != v.Records || mine.End != v.End || len(mine.Damage) > 0 {
		r.fatalf("verify in the writer's process: %+v, in another: %+v, %v", mine, v, err)
	}
	if r.opts.Archive != "" {
		log.archived = r.archived()
	}
	r.check(r.oracle.recovered(log))
	read, err := wal.OpenReader(r.dir, log.first, r.as(r.writer))
	r.check(err)
	defer read.Close()
	for _, want := range log.records {
		rec, err := read.Next(context.Background())
		if err != nil || rec.Offset != want.Offset || !bytes.Equal(rec.Payload, want.Payload) {
			r.fatalf("a reader finds %s at %d, %v, verify %s at %d", brief(string(rec.Payload)), rec.Offset, err, brief(string(want.Payload)), want.Offset)
		}
	}
	if rec, err := read.Next(context.Background()); !errors.Is(err, io.EOF) {
		r.fatalf("after the last record a reader finds %+v, %v", rec, err)
	}
	r.check(r.identities())
	for _, torn := range r.oracle.torn {
		if !r.inQuarantine(torn) {
			r.fatalf("%d bytes that were cut at %d are not in quarantine any more", len(torn.bytes), torn.off)
		}
	}
}

// identities looks at whether each segment that holds anything begins with the identity.
func (r *rig) identities() error {
	before := ""
	for _, s := range r.spots() {
		is := s.Kind == walspec.Identity
		switch {
		case r.identified && (s.file != before) != is, is && !bytes.Equal(s.Payload[1:], r.opts.Identity):
			return fmt.Errorf("at %d of %s is %s", s.Offset, s.file, brief(string(s.Payload)))
		}
		before = s.file
	}
	have, found, err := wal.Identity(r.dir, r.as(r.other))
	if err != nil || found && !bytes.Equal(have, r.opts.Identity) || r.identified && before != "" && !found {
		return fmt.Errorf("the journal's identity is %x, %v, %v", have, found, err)
	}
	return nil
}

// archived returns the offsets of the archive's records.
func (r *rig) archived() map[string]wal.Offset {
	all := map[string]wal.Offset{}
	if len(r.disk.List(r.opts.Archive)) == 0 {
		return all
	}
	v, err := wal.VerifyContext(context.Background(), r.opts.Archive, r.as(r.other), func(rec wal.Record) error {
		all[string(rec.Payload)] = rec.Offset
		return nil
	})
	r.check(err)
	if len(v.Damage) > 0 || v.Torn != nil {
		r.fatalf("in the archive verify finds damage %v, a torn tail %+v", v.Damage, v.Torn)
	}
	return all
}

type segmentBytes struct {
	name  string
	base  wal.Offset
	bytes []byte
}

func (r *rig) lastSegment() (last segmentBytes) {
	for _, name := range r.disk.List(r.dir) {
		if filepath.Ext(name) == ".wal" { // sorted: the last one stays
			last.name = r.dir + "/" + name
			last.base = wal.Offset(hexPrefix(name))
		}
	}
	last.bytes, _ = r.disk.Read(last.name)
	return last
}

// keptInQuarantine reports bytes that a recovery has taken from the last segment and that no quarantined file holds.
func (r *rig) keptInQuarantine(before segmentBytes) error {
	now, _ := r.disk.Read(before.name)
	lost := bytes.Clone(before.bytes) // what is not zero in it
	for i, b := range lost {
		if i < len(now) && now[i] == b {
			lost[i] = 0
		}
	}
	if len(bytes.Trim(lost, "\x00")) == 0 {
		return nil
	}
	for off, b := range r.quarantined() {
		for i := range b {
			at := int(off) + i - int(before.base)
			if 0 <= at && at < len(lost) && lost[at] == b[i] {
				lost[at] = 0
			}
		}
	}
	for i, b := range lost {
		if b != 0 {
			return fmt.Errorf("recovery took a byte at %d, and no file in quarantine has it", before.base+wal.Offset(i))
		}
	}
	return nil
}

// quarantined goes over what lies in quarantine, by its offset.
func (r *rig) quarantined() iter.Seq2[wal.Offset, []byte] {
	return func(yield func(wal.Offset, []byte) bool) {
		for _, name := range r.disk.List(r.dir + "/quarantine") {
			b, _ := r.disk.Read(r.dir + "/quarantine/" + name)
			if !yield(wal.Offset(hexPrefix(name)), b) {
				return
			}
		}
	}
}

func (r *rig) inQuarantine(torn tornBytes) bool {
	for off, b := range r.quarantined() {
		if off == torn.off && bytes.Equal(b, torn.bytes) {
			return true
		}
	}
	return false
}

// hexPrefix is the offset that a segment's or a quarantined file's name begins with.
func hexPrefix(name string) uint64 {
	n, _ := strconv.ParseUint(name[:min(16, len(name))], 16, 64)
	return n
}

// append gives a batch and waits; by tells goroutines apart.
func (r *rig) append(ctx context.Context, by int, payloads []string) error {
	g, t, poisoned, err := r.start(ctx, by, payloads)
	if err != nil {
		return err
	}
	return r.wait(ctx, g, t, poisoned)
}

func (r *rig) start(ctx context.Context, by int, payloads []string) ([]*given, *wal.Ticket, bool, error) {
	batch := make([][]byte, len(payloads))
	for i, p := range payloads {
		batch[i] = []byte(p)
	}
	poisoned := r.poisoned.Load()
	g := r.oracle.offer(by, payloads)
	t, err := r.j.Start(ctx, batch)
	for _, b := range batch {
		clear(b) // the journal has its own
	}
	if err != nil {
		r.oracle.refuse(g)
	}
	return g, t, poisoned, r.answered(err)
}

func (r *rig) wait(ctx context.Context, g []*given, t *wal.Ticket, poisoned bool) error {
	offs, err := t.Wait(ctx)
	if err != nil {
		return r.answered(err)
	}
	if poisoned {
		return unexpected{errors.New("an append succeeded on a journal that has failed")}
	}
	if err := r.oracle.acknowledge(g, offs, !r.soft); err != nil {
		return unexpected{err}
	}
	return nil
}

// unexpected is what no plan explains.
type unexpected struct{ error }

// answered sorts the errors of an append.
func (r *rig) answered(err error) error {
	switch {
	case err == nil:
	case errors.Is(err, wal.ErrFailed):
		r.poisoned.Store(true)
		if !isFault(err) && !strings.Contains(err.Error(), "process is dead") {
			return unexpected{err}
		}
	case errors.Is(err, context.Canceled), errors.Is(err, wal.ErrClosed):
	default:
		return unexpected{err}
	}
	return err
}

// crashed tells the oracle of the end that a process has come to, and starts new ones.
func (r *rig) crashed() {
	r.crashes++
	r.disk.Hook(nil)
	if r.j != nil {
		r.oracle.promise(r.j.Synced())
		r.j.Close()
		r.j = nil
	}
	if r.powerless() {
		r.oracle.powerCut()
		r.other = r.disk.Process()
		r.settled = true
	}
	r.writer = r.disk.Process()
}

// close closes the journal, which may have failed.
func (r *rig) close() {
	j := r.j
	r.j = nil
	err := j.Close()
	r.note("close: %v", err)
	r.oracle.promise(j.Synced())
	switch {
	case err == nil:
		r.oracle.promise(j.End())
		r.settled = true
	case !r.planned(err):
		r.fatalf("close: %v", err)
	}
}

// reading is a reader in one of the processes.
type reading struct {
	*wal.Reader
	p    *crashfs.Process
	same bool // as the writer's
	from wal.Offset
}

func (r *rig) reader(same, follow bool, from wal.Offset) (*reading, error) {
	o := r.as(r.other)
	if same {
		o.FS = r.writer
	}
	o.Follow = follow
	read, err := wal.OpenReader(r.dir, from, o)
	if err != nil {
		return nil, r.readAnswered(from, err)
	}
	return &reading{read, o.FS.(*crashfs.Process), same, from}, nil
}

// next reads a record; the oracle has judged it.
func (r *rig) next(ctx context.Context, read *reading) error {
	rec, err := read.Next(ctx)
	if err != nil {
		return r.readAnswered(read.from, err)
	}
	if err := r.oracle.served(rec, read.from, read.same); err != nil {
		return unexpected{fmt.Errorf("reader in the writer's process: %v: %w", read.same, err)}
	}
	read.from = rec.Next
	return nil
}

func (r *rig) readAnswered(from wal.Offset, err error) error {
	trimmed := new(wal.TrimmedError)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, context.Canceled), errors.Is(err, wal.ErrClosed):
	case isFault(err), errors.Is(err, crashfs.ErrDead), strings.Contains(err.Error(), "process is dead"):
	case errors.As(err, &trimmed):
		r.oracle.mu.Lock()
		defer r.oracle.mu.Unlock()
		if from >= trimmed.First || trimmed.First > r.oracle.trim {
			return unexpected{fmt.Errorf("reader at %d, with %d the most to be removed: %w", from, r.oracle.trim, err)}
		}
	default:
		return unexpected{fmt.Errorf("reader at %d: %w", from, err)}
	}
	return err
}

// fatal ends the history when an error is one that no plan explains.
func (r *rig) fatal(err error) {
	r.t.Helper()
	if bad := (unexpected{}); errors.As(err, &bad) {
		r.fatalf("%v", bad)
	}
}

// spot is a record of the log on the disk, control records included, and its place.
type spot struct {
	walspec.Record
	file   string
	at     int // its position in the file
	sealed bool
}

// spots reads the log as the format's description says.
func (r *rig) spots() (all []spot) {
	last := r.lastSegment().name
	for _, name := range r.disk.List(r.dir) {
		if filepath.Ext(name) != ".wal" {
			continue
		}
		name = r.dir + "/" + name
		base := hexPrefix(filepath.Base(name))
		b, _ := r.disk.Read(name)
		for at := 0; at < len(b); {
			payload, reason := walspec.Decode(base+uint64(at), b[at:])
			if reason != "" {
				break
			}
			rec := walspec.Record{Offset: base + uint64(at), Payload: payload}
			switch payload[0] {
			case 1:
				rec.Kind = walspec.Mark
			case 2:
				rec.Kind = walspec.Filler
			case 3:
				rec.Kind = walspec.Identity
			}
			all = append(all, spot{rec, name, at, name != last})
			at += headerSize + len(payload)
		}
	}
	return all
}
