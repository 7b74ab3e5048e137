package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"time"

	"github.com/auditsql/auditsql/internal/backlog"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/tree"
	"github.com/auditsql/auditsql/wal"
)

// Origin is a log on other machines. It numbers its messages from 1 without gaps.
type Origin struct {
	Log string // what a person calls it; errors and reports name it
	// ID tells the log from another one that was made under the same name. A store follows one log for good.
	ID      string
	StoreID string // 32 hex digits: the id of the store whose records the log has
	Unit    TimeUnit
	// Unproven says that it is not certain that the log keeps what it acknowledges. The store notes it for good, and Stats says so.
	Unproven bool
}

// A Follower is a store whose records come from a log on other machines. Somebody else reads the log, and hands its messages to
// Decide or Apply in their order. All reads of DB work, in this process and in others. A put fails with ErrFollows.
//
// Messages are stored together with the number of the last one in one transaction. So a process that dies goes on exactly
// where its SQLite ends: the next opening begins with Applied.
type Follower struct {
	*DB
	feed *followed
}

// Message is a message of a log.
type Message struct {
	Sequence uint64 // its number
	// Payload is the canonical JSON of a record. The store keeps it, and it must not change any more.
	Payload []byte
	// Barrier says that the message is no record, and has only a number.
	Barrier bool
	// Refuse, if it is not "", is why the message is not to be stored. It is treated as one that is no record.
	Refuse string
}

// Outcome is what became of a message.
type Outcome uint8

const (
	New       Outcome = iota // its record is stored
	Duplicate                // the same bytes were stored before
	Conflict                 // another record has the id, and stays. The message is in table rejected
	Poison                   // it is no record that can be stored. It is in table rejected
	Passed                   // it is a barrier
)

// String names the outcome.
func (o Outcome) String() string {
	return [...]string{"new", "duplicate", "conflict", "poison", "passed"}[o]
}

// A SequenceError says that a message was given that does not come next. Nothing of it is stored. It is a wal.ErrGap.
type SequenceError struct {
	Log        string
	Next, Have uint64 // the number that comes next, and the one that was given
}

// Error implements error.
func (e *SequenceError) Error() string {
	return fmt.Sprintf("message %d of %s comes next, and %d was given", e.Next, e.Log, e.Have)
}

// Unwrap makes every SequenceError a wal.ErrGap.
func (e *SequenceError) Unwrap() error { return wal.ErrGap }

// OpenFollower is [OpenFollowerContext] with a context that never ends.
func OpenFollower(dir string, origin Origin, opts ...Option) (*Follower, error) {
	return OpenFollowerContext(context.Background(), dir, origin, opts...)
}

// OpenFollowerContext opens the store in dir that follows a log, and makes it if there is none.
//
// It refuses, and changes nothing, what [OpenContext] refuses, a store that has a journal of its own, and one that follows another
// log (ErrMismatch). If the database is suspect, it is moved aside, nothing of it is deleted, and the store begins again with the first
// message: Recovery says so.
func OpenFollowerContext(ctx context.Context, dir string, origin Origin, opts ...Option) (*Follower, error) {
	o := applyOptions(opts)
	var f *Follower
	db, err := retried(func() (db *DB, err error) {
		f, err = openFollowerOnce(ctx, dir, origin, o)
		if err != nil {
			return nil, err
		}
		return f.DB, nil
	})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	f.DB = db
	return f, nil
}

func openFollowerOnce(ctx context.Context, dir string, origin Origin, o options) (*Follower, error) {
	p := &opening{ctx: ctx, dir: dir, opts: o}
	if err := storedir.CheckOwner(dir); err != nil {
		return nil, err
	}
	if err := p.findFollower(origin); err != nil {
		return nil, err
	}
	// The lock is where that of a store with a journal is. So no two processes write there, of whatever kind they are.
	if err := durable.MkdirAll(dir, ""); err != nil {
		return nil, err
	}
	lock, err := wal.TakeLock(ctx, filepath.Join(dir, storedir.JournalName), wal.Options{LockWait: o.lockWait, LockNote: o.lockNote(), FS: o.fs})
	if err != nil {
		return nil, err
	}
	db, err := p.follow(origin, lock)
	if err != nil {
		return nil, p.withMoved(errors.Join(p.foreign(err), lock.Unlock()))
	}
	return db, nil
}

// findFollower reads store.json, or drafts the first one.
func (p *opening) findFollower(origin Origin) error {
	file, err := storedir.Recall(p.ctx, p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := storedir.CheckVacant(p.dir); err != nil {
			return err
		}
		segs, err := wal.Segments(filepath.Join(p.dir, storedir.JournalName), p.opts.journal())
		if err == nil && len(segs) > 0 {
			return fmt.Errorf("%s: %w: it has a journal, so it follows no log", p.dir, ErrMismatch)
		}
		p.file = newStoreFile(p.opts)
		p.file.Lost = file.Lost
		p.file.StoreID, p.file.TimeUnit = origin.StoreID, storedir.Unit(origin.Unit.String())
		p.file.Follow(storedir.Origin{Log: origin.Log, ID: origin.ID, Unproven: origin.Unproven})
	case err != nil:
		return err
	default:
		if err := sameOrigin(p.dir, file, origin); err != nil {
			return err
		}
		p.use(file)
		p.file.Follows.Log = origin.Log // it may have another name by now
		p.file.Follows.Unproven = file.Follows.Unproven || origin.Unproven
	}
	p.opts.identity = p.file.Identity()
	return nil
}

// sameOrigin refuses a store that does not follow this log.
func sameOrigin(dir string, file storedir.File, origin Origin) error {
	if err := sameStore(dir, file, origin); err != nil {
		return err
	}
	if file.Follows.ID != origin.ID {
		return fmt.Errorf("%s: %w: it follows %s with the id %s, and %s has the id %s: it was made again", dir, ErrMismatch, file.Follows.Log, file.Follows.ID, origin.Log, origin.ID)
	}
	return nil
}

// sameStore refuses a store that follows no log, or one with the records of another store.
func sameStore(dir string, file storedir.File, origin Origin) error {
	switch {
	case file.Follows == nil:
		return fmt.Errorf("%s: %w: it has a journal of its own, and does not follow %s", dir, ErrMismatch, origin.Log)
	case file.StoreID != origin.StoreID:
		return fmt.Errorf("%s: %w: it is store %s, and %s has the records of store %s", dir, ErrMismatch, file.StoreID, origin.Log, origin.StoreID)
	case unitOf(file.TimeUnit) != origin.Unit:
		return fmt.Errorf("%s: %w: its time unit is %s, and that of %s is %s", dir, ErrMismatch, file.TimeUnit, origin.Log, origin.Unit)
	}
	return nil
}

// follow opens SQLite and starts the applier, once the lock is held.
func (p *opening) follow(origin Origin, lock wal.Lock) (*Follower, error) {
	// Another process may have made the store, or opened and closed it, before this one had the lock.
	if err := p.findFollower(origin); err != nil {
		return nil, err
	}
	if err := p.finishReplacing(); err != nil {
		return nil, err
	}
	if err := p.decide(nil); err != nil {
		return nil, err
	}
	if !p.exists {
		if err := p.create(); err != nil {
			return nil, err
		}
	}
	had := p.file.Used
	f := &Follower{feed: &followed{
		dir: p.dir, log: origin.Log, lock: lock, given: make(chan *batch), hurry: make(chan struct{}, 1), ended: make(chan struct{}),
		mu: newMutex(), ahead: ahead{records: map[QueryID][]byte{}},
	}}
	var err error
	f.DB, err = p.finishWith(p.compareNewest, had, func(sql *sqlstore.DB) (*DB, error) {
		from := p.from(nil)
		// Nothing is ever in this backlog: what comes from a log is not acknowledged here.
		db := p.assemble(f.feed, backlog.New(1, math.MaxInt64, func() {}), from, sql)
		db.journalDir = filepath.Join(p.dir, storedir.JournalName)
		f.feed.applier, db.applier.passed = db.applier, f.feed.ahead.forget
		f.feed.end.Store(uint64(from))
		return db, p.run(db)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// compareNewest finds out whether the database lacks entries that it had.
func (p *opening) compareNewest() error {
	if !p.meta.Exists || p.facts.Unread != nil {
		return nil
	}
	_, err := p.newest()
	return err
}

// follows returns a *FollowsError if the store follows a log.
func (db *DB) follows() error {
	if db.file.Follows == nil {
		return nil
	}
	return &FollowsError{Dir: db.dir, Log: db.file.Follows.Log}
}

// Follows returns the log that the store follows, or nil.
func (db *DB) Follows() *Origin {
	o := db.file.Follows
	if o == nil {
		return nil
	}
	return &Origin{Log: o.Log, ID: o.ID, StoreID: db.file.StoreID, Unit: db.TimeUnit(), Unproven: o.Unproven}
}

// Cursor returns the number of the last message that was given, 0 if there was none.
func (f *Follower) Cursor() uint64 { return lastBefore(wal.Offset(f.feed.end.Load())) }

// Applied returns the number of the last message that SQLite has, 0 if it has none. A power cut may take some of the last ones
// back: then the next opening begins with a lower number.
func (f *Follower) Applied() uint64 { return lastBefore(wal.Offset(f.applier.applied.Load())) }

// Await waits until SQLite has the message with this number, which must have been given. It waits for nothing if the number is 0.
func (f *Follower) Await(ctx context.Context, sequence uint64) error {
	if err := f.open(ctx); err != nil || sequence == 0 {
		return err
	}
	return journalError(f.applier.wait(ctx, endOf(sequence)))
}

// Show makes every question that begins after it see the message with this number, which must have been given: a question waits
// until SQLite has it. It changes nothing if the number is 0.
func (f *Follower) Show(sequence uint64) {
	if sequence == 0 {
		return // an empty database ends at offset 0, and message 0 would end at 1
	}
	for end := uint64(endOf(sequence)); ; {
		have := f.feed.shown.Load()
		if have >= end || f.feed.shown.CompareAndSwap(have, end) {
			return
		}
	}
}

// Newest returns the newest record with the number of its message, and ok false if there is none.
func (f *Follower) Newest(ctx context.Context) (sequence uint64, raw []byte, ok bool, err error) {
	if err := f.readable(ctx); err != nil {
		return 0, nil, false, err
	}
	entry, ok, err := f.sql.LastEntry(ctx)
	if err != nil || !ok {
		return 0, nil, false, err
	}
	raw, err = f.stored(ctx, entry.QueryID)
	return entry.JournalOffset, raw, err == nil, err
}

// Stored returns the bytes of the record that the messages which were given have brought under an id, nil if there is none. Most often
// it need not ask SQLite to know that. The message of a record that is returned is not after Cursor.
func (f *Follower) Stored(ctx context.Context, id QueryID) ([]byte, error) {
	raw, err := f.storedNow(ctx, id)
	if raw == nil || err != nil {
		return raw, err
	}
	// It may be of a batch that is being given. Then it counts when Cursor says so, if it was not taken back.
	if err := f.feed.mu.LockContext(ctx); err != nil {
		return nil, err
	}
	defer f.feed.mu.Unlock()
	return f.storedNow(ctx, id)
}

// storedNow is Stored, with the records of a batch that is being given.
func (f *Follower) storedNow(ctx context.Context, id QueryID) ([]byte, error) {
	if err := f.open(ctx); err != nil {
		return nil, err
	}
	// A record is in SQLite before it is forgotten here. So it is found in one of the two.
	if raw := f.feed.ahead.find(id); raw != nil {
		return raw, nil
	}
	return f.under(ctx, id, backlog.Free)
}

// Apply is Decide that returns when SQLite has the messages.
func (f *Follower) Apply(ctx context.Context, ms []Message) ([]Outcome, error) {
	outcomes, err := f.Decide(ctx, ms)
	if err == nil && len(ms) > 0 {
		err = f.Await(ctx, ms[len(ms)-1].Sequence)
	}
	return outcomes, err
}

// Decide takes messages, which must be those that follow Cursor, without gaps, and returns an outcome for each, in the same order.
// SQLite gets them soon after that, many at a time: see Await and Show. It waits while SQLite lacks many of them.
//
// Outcomes follow from the messages up to them alone: whoever is given the same log has the same ones. The first record under an id
// stays. What is no record goes to table rejected, and stops nothing. When SQLite comes to another outcome, the store is damaged, and
// takes nothing more.
//
// A *SequenceError says that a message does not come next. After any error some of the messages may have been taken, the first ones:
// Cursor says how many. Then the caller goes on after it.
func (f *Follower) Decide(ctx context.Context, ms []Message) ([]Outcome, error) {
	outcomes, err := f.decide(ctx, ms)
	if err != nil {
		return outcomes, fmt.Errorf("apply messages of %s: %w", f.feed.log, journalError(err))
	}
	return outcomes, nil
}

func (f *Follower) decide(ctx context.Context, ms []Message) (outcomes []Outcome, err error) {
	done, err := f.begin()
	if err != nil {
		return nil, err
	}
	defer done()
	s := f.feed
	if err := s.mu.LockContext(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for i, m := range ms {
		if next := f.Cursor() + 1 + uint64(i); m.Sequence != next {
			return nil, &SequenceError{Log: s.log, Next: next, Have: m.Sequence}
		}
	}
	// A call whose context ended may have left a batch that only SQLite can tell of.
	if err := f.applier.wait(ctx, s.unforeseen); err != nil {
		return nil, err
	}
	for len(outcomes) < len(ms) {
		b, took := batchOf(ms[len(outcomes):])
		known, err := f.foresee(ctx, b)
		if err != nil {
			return outcomes, err
		}
		if err := s.give(ctx, b); err != nil {
			return outcomes, err
		}
		if !known {
			// Nothing else is given meanwhile, so SQLite's outcomes are those of this batch.
			s.unforeseen = b.cursor
			if err := f.applier.wait(ctx, b.cursor); err != nil {
				return outcomes, err
			}
			b.want = b.outcomes
		}
		outcomes = append(outcomes, took.outcomes(b.want)...)
	}
	return outcomes, nil
}

// foresee finds out what will become of the rows of a batch, which comes after all that was given. It reports false if SQLite alone can
// tell, because a record is damaged that it has under one of the ids.
func (f *Follower) foresee(ctx context.Context, b *batch) (known bool, err error) {
	s := f.feed
	b.want = make([]Outcome, len(b.rows))
	fresh := map[QueryID][]byte{}
	for i := range b.rows {
		r := &b.rows[i]
		stored := fresh[r.QueryID]
		if stored == nil {
			stored, err = f.storedNow(ctx, r.QueryID)
		}
		switch {
		case ofRecord(err):
			b.want = nil
			// A batch that is open would get the rows of this one, and its outcomes would be those of both.
			return false, f.applier.wait(ctx, wal.Offset(s.end.Load()))
		case err != nil:
			return false, err
		case stored == nil:
			fresh[r.QueryID] = r.Payload
		case bytes.Equal(stored, r.Payload):
			b.want[i] = Duplicate
		default:
			b.want[i] = Conflict
		}
	}
	return true, nil
}

// taken says which messages a batch has: for each its row, or, negative, its outcome.
type taken []int

// batchOf makes a batch of the first messages, as many as one transaction should have.
func batchOf(ms []Message) (*batch, taken) {
	b := &batch{began: time.Now()}
	var took taken
	for _, m := range ms {
		if b.full() {
			break
		}
		b.cursor = endOf(m.Sequence)
		b.bytes += int64(len(m.Payload))
		if m.Barrier && m.Refuse == "" {
			took = append(took, -int(Passed))
			continue
		}
		row, err := rowOfMessage(m)
		if err != nil {
			b.rejected = append(b.rejected, sqlstore.Rejected{Offset: m.Sequence, Reason: err.Error(), Payload: m.Payload})
			took = append(took, -int(Poison))
			continue
		}
		took = append(took, len(b.rows))
		b.rows = append(b.rows, row)
	}
	b.outcomes = make([]Outcome, len(b.rows))
	return b, took
}

func rowOfMessage(m Message) (sqlstore.Record, error) {
	switch {
	case m.Refuse != "":
		return sqlstore.Record{}, errors.New(m.Refuse)
	case len(m.Payload) > MaxEncoded:
		return sqlstore.Record{}, fmt.Errorf("it has %d bytes, and a record has at most %d", len(m.Payload), MaxEncoded)
	}
	row, err := rowOf(m.Payload)
	row.Offset, row.Payload, row.Leaf = m.Sequence, m.Payload, tree.LeafHash(m.Payload)
	return row, err
}

// outcomes returns the outcomes of the messages of a batch, of whose rows they are known.
func (t taken) outcomes(ofRows []Outcome) []Outcome {
	outcomes := make([]Outcome, len(t))
	for i, at := range t {
		if at < 0 {
			outcomes[i] = Outcome(-at)
		} else {
			outcomes[i] = ofRows[at]
		}
	}
	return outcomes
}
