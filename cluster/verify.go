package cluster

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/blake3"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/tree"
)

// VerifyOptions say how a copy is verified.
type VerifyOptions struct {
	// Progress, if set, is called now and then with what is being done and how much of it is done.
	Progress func(stage string, done uint64)
}

// maxProblems is how many problems a report of Verify names. It counts the others.
const maxProblems = 20

// A VerifyReport is what Verify found.
type VerifyReport struct {
	Log   Report             // what the log says about itself and its replicas
	Store audit.VerifyReport // whether the copy fits together
	// Applied is the number of the message up to which the copy was compared with the log, and Bounds those of the log.
	Applied uint64
	Bounds  Bounds
	Size    uint64 // records of the copy up to there
	Root    tree.Hash
	// Heads are those of each node, the newest one that was compared, or the first one that differs.
	Heads []HeadState
	// Problems are what is wrong, at most so many. Total counts all.
	Problems []string
	Total    int
	// Open is what could not be found out.
	Open []string
	// Notes are what is right and may surprise.
	Notes []string
}

// Damaged reports whether anything is wrong: with the copy, with a replica or with the copy of another node.
func (r *VerifyReport) Damaged() bool { return r.Total > 0 }

// Unproven reports whether something could not be found out, or whether it is not certain that the log keeps what it acknowledges.
func (r *VerifyReport) Unproven() bool { return len(r.Open) > 0 || len(r.Log.Info.Unproven) > 0 }

// Verify compares a copy, which may be that of a node that runs, with the log: every message of each replica, byte for byte with the
// record that the copy has of it, and the heads of all nodes with the copy's tree. It also verifies the copy alone, and what Check does.
//
// Messages that the log does not have any more cannot be compared. The heads that it has tell about them.
func Verify(ctx context.Context, log Log, db *audit.DB, o VerifyOptions) (*VerifyReport, error) {
	if o.Progress == nil {
		o.Progress = func(string, uint64) {}
	}
	v := &verification{
		log: log, db: db, opts: o, report: &VerifyReport{}, judged: map[string]bool{},
		altered: map[uint64]map[[32]byte][]string{}, heads: map[uint64]Head{}, at: map[uint64]bool{}, lacking: map[string]uint64{},
	}
	if err := v.run(ctx); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	return v.report, nil
}

type verification struct {
	log    Log
	db     *audit.DB
	opts   VerifyOptions
	report *VerifyReport

	judged  map[string]bool                  // problems that were told, so that each is told once
	altered map[uint64]map[[32]byte][]string // messages that do not fit their hash: which replicas have which bytes
	at      map[uint64]bool                  // of these, those of which the copy has a record
	heads   map[uint64]Head                  // by the number of the message
	holes   []hole
	lacking map[string]uint64 // how many messages each replica lacks, or has otherwise than its publisher
}

// hole is messages that were missing in what a replica answered.
type hole struct {
	replica     string
	first, last uint64
}

func (v *verification) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if v.judged[text] {
		return
	}
	if v.report.Total++; len(v.report.Problems) < maxProblems {
		v.judged[text] = true
		v.report.Problems = append(v.report.Problems, text)
	}
}

func (v *verification) open(format string, args ...any) {
	v.report.Open = append(v.report.Open, fmt.Sprintf(format, args...))
}

func (v *verification) run(ctx context.Context) (err error) {
	r := v.report
	if r.Log, err = Check(ctx, v.log); err != nil {
		return err
	}
	if err := follows(v.db, r.Log.Info); err != nil {
		return err
	}
	stats, err := v.db.Stats(ctx)
	if err != nil {
		return err
	}
	r.Applied = uint64(stats.Applied)
	if r.Bounds, err = v.log.Bounds(ctx); err != nil {
		return err
	}
	if err := within(r.Log.Info.Name, r.Applied, r.Bounds); err != nil {
		return err
	}
	v.opts.Progress("the copy", 0)
	if r.Store, err = v.db.Verify(ctx, audit.VerifyOptions{Progress: func(stage string, done uint64) { v.opts.Progress("the copy: "+stage, done) }}); err != nil {
		return err
	}
	for _, p := range r.Store.Problems {
		v.problem("this copy: %s", p)
	}
	r.Total += int(r.Store.Total) - len(r.Store.Problems)
	for _, replica := range r.Log.Info.Replicas {
		if err := v.replica(ctx, replica); err != nil {
			return err
		}
	}
	if err := v.judgeHoles(ctx); err != nil {
		return err
	}
	v.judgeAltered()
	v.damaged()
	if r.Size, err = v.db.SizeAt(ctx, r.Applied); err != nil {
		return err
	}
	_, tiles, err := v.db.Tree(ctx)
	if err != nil {
		return err
	}
	if r.Root, err = tree.Root(tiles, int64(r.Size)); err != nil {
		return err
	}
	return v.compareHeads(ctx)
}

// follows returns an ErrMismatch if a store is no copy of the log.
func follows(db *audit.DB, info Info) error {
	if err := followsStore(db, info); err != nil {
		return err
	}
	o := db.Follows()
	if err := notContinued(db.Dir(), o.ID, info); err != nil {
		return err
	}
	if o.ID != LogID(info.Created) {
		return fmt.Errorf("%s: %w: it follows a log that was made on %s, and %s was made on %s", db.Dir(), ErrMismatch, o.ID, info.Name, LogID(info.Created))
	}
	return nil
}

// followsStore returns an ErrMismatch if a store is a copy of no log, or of one with the records of another store.
func followsStore(db *audit.DB, info Info) error {
	o := db.Follows()
	switch {
	case o == nil:
		return fmt.Errorf("%s: %w: it has a journal of its own, and does not follow %s", db.Dir(), ErrMismatch, info.Name)
	case o.StoreID != info.StoreID:
		return fmt.Errorf("%s: %w: it is store %s, and %s has the records of store %s", db.Dir(), ErrMismatch, o.StoreID, info.Name, info.StoreID)
	case o.Unit != info.Unit:
		return fmt.Errorf("%s: %w: its time unit is %s, and that of %s is %s", db.Dir(), ErrMismatch, o.Unit, info.Name, info.Unit)
	}
	return nil
}

// notContinued returns an ErrMismatch if a copy follows the log with this id, and info is that of a log which continues it. Such a copy must
// be compared with the log as a whole before it may go on, and Bootstrap does so.
func notContinued(dir, id string, info Info) error {
	if info.Continues == "" || id != info.Continues {
		return nil
	}
	return fmt.Errorf("%s: %w: it follows the log that was made on %s, of which %s was made as a mirror, and which it may have ended before; make a new node of it: auditsql-cluster bootstrap -d NEW --from %s",
		dir, ErrMismatch, id, info.Name, dir)
}

// replica compares the messages of a replica, up to the one that the copy had when the verification began.
func (v *verification) replica(ctx context.Context, replica Replica) error {
	entries, stop := iter.Pull2(v.db.Follow(ctx, audit.Offset(max(v.report.Bounds.First, 1)), false))
	defer stop()
	w := &walk{verification: v, name: replica.Name, next: max(v.report.Bounds.First, 1)}
	var err error
	if w.index, err = v.db.SizeAt(ctx, w.next-1); err != nil {
		return err
	}
	w.advance = func() error {
		rec, err, ok := entries()
		w.entry, w.more = rec, ok && err == nil
		if errors.Is(err, audit.ErrDamaged) {
			w.problem("record %d of this copy: %v", w.index, err) // those after it are not compared
			w.blind, err = true, nil
		}
		return err
	}
	if err := w.advance(); err != nil {
		return err
	}
	stage := "replica " + replica.Name
	empty := 0
	for w.next <= v.report.Applied {
		ms, err := v.read(ctx, replica.Name, w.next)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.open("replica %s does not answer: %v", replica.Name, err)
			return nil
		}
		if len(ms) == 0 {
			// It lags, or it lacks all that follows.
			if empty++; empty < 50 {
				if err := pause(ctx, 100*time.Millisecond); err != nil {
					return err
				}
				continue
			}
			v.open("replica %s has nothing from message %d on, and this copy has it up to %d", replica.Name, w.next, v.report.Applied)
			return nil
		}
		empty = 0
		for i := range ms {
			if ms[i].Sequence > v.report.Applied {
				w.lacks(v.report.Applied + 1)
				break
			}
			if err := w.message(ctx, &ms[i]); err != nil {
				return err
			}
		}
		v.opts.Progress(stage, w.next-1)
	}
	return nil
}

func (v *verification) read(ctx context.Context, replica string, from uint64) ([]Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return v.log.Read(ctx, replica, from, 1000)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// walk goes through the messages of a replica and the records of the copy at the same time. Both are in the order of the log.
type walk struct {
	*verification
	name    string
	next    uint64 // the message that comes next
	index   uint64 // of the entry
	entry   audit.TailRecord
	more    bool // there is an entry
	blind   bool // a record of the copy is damaged, so nothing after it is compared
	advance func() error
}

// lacks notes that the replica does not have the messages before a number.
func (w *walk) lacks(before uint64) {
	if w.next < before {
		w.holes = append(w.holes, hole{w.name, w.next, before - 1})
		w.next = before
	}
}

// message compares a message with the record that the copy has of it.
func (w *walk) message(ctx context.Context, m *Stored) error {
	w.lacks(m.Sequence)
	w.next = m.Sequence + 1
	// A hole of the replica is no fault of the copy.
	for w.more && uint64(w.entry.Offset) < m.Sequence {
		if err := w.step(); err != nil {
			return err
		}
	}
	mine := w.more && uint64(w.entry.Offset) == m.Sequence
	switch {
	case !m.Intact():
		w.alteredHere(m, mine)
	case m.Kind == HeadKind:
		if h, err := ParseHead(m); err == nil {
			w.heads[m.Sequence] = h
		} else {
			w.report.Notes = appendNew(w.report.Notes, err.Error())
		}
		fallthrough
	case m.Kind != Record:
		if mine {
			w.problem("record %d of this copy is said to be message %d, which is no record", w.index, m.Sequence)
		}
	case mine:
		if string(m.Payload) != string(w.entry.Raw) {
			w.problem("record %d of this copy is another one than message %d of replica %s", w.index, m.Sequence, w.name)
		}
	case !w.blind:
		if err := w.noEntry(ctx, m); err != nil {
			return err
		}
	}
	if mine {
		return w.step()
	}
	return nil
}

func (w *walk) step() error {
	w.index++
	return w.advance()
}

func (w *walk) alteredHere(m *Stored, mine bool) {
	key := blake3.Sum256(fmt.Appendf(nil, "%s\n%s\n%s\n%s", m.ID, m.Sum, m.Kind, m.Payload))
	if w.altered[m.Sequence] == nil {
		w.altered[m.Sequence] = map[[32]byte][]string{}
	}
	w.altered[m.Sequence][key] = append(w.altered[m.Sequence][key], w.name)
	w.at[m.Sequence] = w.at[m.Sequence] || mine
}

// noEntry finds out whether the copy is right to have no record of a message: it is none that can be stored, or the id was taken.
func (w *walk) noEntry(ctx context.Context, m *Stored) error {
	q, err := audit.ParseCanonical(m.Payload)
	if err != nil {
		return nil // poison
	}
	if why := w.report.Log.Info.Partition.foreign(&m.Message); why != "" {
		w.report.Notes = appendNew(w.report.Notes, fmt.Sprintf("message %d is no record here: %s", m.Sequence, why))
		return nil
	}
	index, ok, err := w.db.IndexOf(ctx, q.QueryID)
	switch {
	case err != nil:
		return err
	case !ok:
		w.problem("this copy lacks message %d, the record %s", m.Sequence, q.QueryID)
	case index >= w.index:
		w.problem("this copy has record %d under the id %s, and message %d came before it", index, q.QueryID, m.Sequence)
	}
	return nil
}

// judgeHoles asks the replicas once more what they lack: a server finds that out when it reads its files. The engine may have let another
// replica answer than the one that was asked, as NATS does. So a hole is the fault of those that say that they lack messages.
func (v *verification) judgeHoles(ctx context.Context) (err error) {
	r := v.report
	if r.Log, err = Check(ctx, v.log); err != nil {
		return err
	}
	missing := map[string]uint64{}
	for _, d := range r.Log.Damaged {
		v.problem("replica %s lacks %d of the messages between its bounds %d and %d", d.Name, d.Missing, d.First, d.Last)
		missing[d.Name] = d.Missing
	}
	for _, h := range v.holes {
		switch {
		case missing[h.replica] > 0:
			v.problem("replica %s lacks the messages %d to %d", h.replica, h.first, h.last)
			v.lacking[h.replica] += h.last - h.first + 1
		case len(missing) == 0:
			v.open("a read of replica %s did not bring the messages %d to %d, and no replica says that it lacks any; verify again", h.replica, h.first, h.last)
		}
	}
	return nil
}

// judgeAltered tells damage from a message that was published with a hash that does not fit: that one is the same on a majority.
func (v *verification) judgeAltered() {
	all := len(v.report.Log.Info.Replicas)
	for _, seq := range slices.Sorted(maps.Keys(v.altered)) {
		for _, names := range v.altered[seq] {
			if len(names) <= all/2 {
				v.problem("message %d is not what its publisher has hashed on replica %s", seq, strings.Join(names, ", "))
				for _, name := range names {
					v.lacking[name]++
				}
				continue
			}
			if v.at[seq] {
				v.problem("this copy has a record of message %d, which does not fit its publisher's hash on most replicas", seq)
			}
			v.report.Notes = appendNew(v.report.Notes, fmt.Sprintf("message %d was published with a hash that does not fit it, so it is no record", seq))
		}
	}
}

// damaged adds the replicas that were found to be damaged to those that say so themselves. A server notices a damaged file when it
// reads it.
func (v *verification) damaged() {
	log := &v.report.Log
	for _, x := range log.Info.Replicas {
		if x.Missing = v.lacking[x.Name]; x.Missing == 0 {
			continue
		}
		if !slices.ContainsFunc(log.Damaged, func(d Replica) bool { return d.Name == x.Name }) {
			log.Damaged = append(log.Damaged, x)
		}
	}
}

// compareHeads compares all heads that the log has with the copy.
func (v *verification) compareHeads(ctx context.Context) error {
	states := map[string]*HeadState{}
	same := map[string]uint64{}
	for _, seq := range slices.Sorted(maps.Keys(v.heads)) {
		h := v.heads[seq]
		if s := states[h.Node]; s != nil && s.Differs != nil {
			continue // the first one that differs says more than those that follow it
		}
		d, err := compareHead(ctx, v.db, h, same[h.Node])
		if err != nil {
			return err
		}
		states[h.Node] = &HeadState{Head: h, Compared: time.Now(), Differs: d}
		if d == nil {
			same[h.Node] = h.Size
		}
	}
	for _, name := range slices.Sorted(maps.Keys(states)) {
		s := states[name]
		if s.Differs != nil {
			if index, err := locate(ctx, v.log, v.db, s.Head); err == nil {
				s.Differs = &Difference{From: index, To: index}
			} else {
				v.report.Notes = append(v.report.Notes, fmt.Sprintf("node %s: its tree cannot be read, so the first record that differs is not known exactly: %v", name, err))
			}
			v.problem("node %s has other records than this copy, as its head in message %d says: %s", name, s.Sequence, s.Differs)
		}
		v.report.Heads = append(v.report.Heads, *s)
	}
	return nil
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) || len(list) >= maxProblems {
		return list
	}
	return append(list, s)
}
