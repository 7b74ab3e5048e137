package wal

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"time"
)

// RepairOptions say how to look for damage, and whether to do something about it. The zero value looks.
type RepairOptions struct {
	// FS is where the journal lies; nil is OS.
	FS FS
	// Apply does what the report says would be done. Without it nothing is changed and no lock is taken.
	Apply bool
	// Cursor tells up to which offset the caller has everything; nil is 0. It is called once, with Apply
	// when the lock is held.
	Cursor func() (Offset, error)
	// Identity is that of the journal, or none, as in Options. Where the beginning of a segment is damaged it is
	// written back; a segment with another one ends the repair with ErrForeign.
	Identity []byte
	// Records, if not nil, hands back what the caller still has of a damaged range [from, to): the records'
	// Offset and Payload, in the order of the log; nothing else in them is looked at, and a payload must stay
	// as it is until the next one has been asked for. It is called for each range once to plan and, with Apply, once
	// more to write. An error ends the repair.
	Records func(from, to Offset) iter.Seq2[Record, error]
	// Visit, if not nil, is called with each intact record of the caller's in order, before anything is
	// changed; its payload is valid during the call. An error that it returns ends the repair.
	Visit func(Record) error
	// Confirm, if not nil, is called with the plan when all has been looked at, and before anything is changed.
	// An error that it returns ends the repair.
	Confirm func(RepairReport) error
	// LockWait is how long Apply tries for the lock; 0 is 250 ms.
	LockWait time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// RepairReport is what Repair checked and found, and what it did or would do.
type RepairReport struct {
	Applied bool   // what follows was done; otherwise it would be
	Cursor  Offset // as the caller gave it

	Segments int    // that were looked at
	Records  int    // intact ones, without the journal's own
	Bytes    int64  // of intact records, the journal's own included
	First    Offset // of the first segment left
	End      Offset // where the log ends once it is repaired, before a torn tail

	// Damage is what is hurt, in the order of the log.
	Damage []*DamagedRange
	// Torn is a tail that was never acknowledged, or nil. It is no damage and stays: the next Open cuts it.
	Torn *TornTail
	// Unknown are intact records that this version cannot make sense of. They are no damage, a later version
	// may know them; they stay, and so does the refusal to step over them.
	Unknown []*CorruptError
}

// Lost returns how many bytes of log stand to be lost, or were: those that became fillers. How many records
// that were cannot be known.
func (r *RepairReport) Lost() (bytes int64) {
	for _, d := range r.Damage {
		bytes += d.FillBytes
	}
	return bytes
}

// Restored returns how many records the caller could hand back.
func (r *RepairReport) Restored() (records int) {
	for _, d := range r.Damage {
		records += d.Restored
	}
	return records
}

// DamagedRange is a stretch of log that holds no intact record, between two that are intact or such ends
// as a segment or the cursor make. One that ends where it begins holds nothing: there bytes are cut, or a
// segment is made.
type DamagedRange struct {
	Segment     string // the path of the file that it lies in
	Base        Offset // of that file
	Missing     bool   // there is no such file; it is made
	Offset, End Offset
	Reason      string // what was found at Offset
	Stored      int64  // bytes that the file has from Offset to End: they are copied to quarantine
	Cut         int64  // bytes that it has behind End, where the next segment begins: the same, and then cut
	Quarantine  string // the file that they were copied to; empty when nothing was applied, or nothing there

	Identity      bool      // the segment's identity is written back; in no other count
	Restored      int       // records that the caller handed back
	RestoredBytes int64     // of log
	Fillers       int       // records that hold nothing, in place of
	FillBytes     int64     // so many bytes of log that are lost
	Refused       []Refused // what was handed back and does not fit

	edges   []Offset // inside the range, where a record is known to begin
	records []extent // those that are handed back
}

// Refused is a record that was handed back and cannot be what stood there.
type Refused struct {
	Offset Offset
	Bytes  int64 // that it would take, header and all
	Reason string
}

// Repair goes past damage in the journal in dir, and loses nothing else. It looks at the whole log, also at
// what lies below the cursor, and reports what it would do; with Apply it does so.
//
// A damaged range reaches from the first invalid offset to the next intact record, or to where the next
// segment begins; in the last one to the cursor, if that lies beyond. Its bytes are copied to quarantine.
// Records of it that the caller still has are written back as they were; the rest becomes fillers, records
// that hold nothing, so that each offset behind it stays true. A file too short is extended, a missing
// segment made anew, and what lies behind the place where the next segment begins is cut. No segment is ever
// deleted. A torn tail is left to Open.
//
// Running it again, or dying in the middle of it, is harmless: each segment is either as it was or whole. A
// segment is written anew beside the hurt one and then takes its place, so there must be room for one more.
//
// The errors are ErrLocked when another writer has the journal (with Apply), ErrForeign when a segment is another
// journal's, ErrGap when the log begins above the cursor, and *CorruptError for what no filler can mend; nothing was changed then. Readers may look at
// the journal meanwhile.
func Repair(dir string, o RepairOptions) (RepairReport, error) {
	return RepairContext(context.Background(), dir, o)
}

// RepairContext is Repair that ends with the error of ctx when ctx ends first, and gives the lock back. With Apply
// some segments may have been repaired by then, and are so durably; the others are as they were, and repairing again
// goes on with them.
//
// It stops while it waits for the lock, while it looks, between two segments, or while it writes the file that is to
// take a segment's place, which is removed then. It does not stop between the rename of that file and the sync of the
// folder: a power cut could then undo what a reader has already seen.
func RepairContext(ctx context.Context, dir string, o RepairOptions) (RepairReport, error) {
	if err := checkIdentityLength(o.Identity); err != nil {
		return RepairReport{}, fmt.Errorf("repair journal: %w", err)
	}
	if o.FS == nil {
		o.FS = OS
	}
	if o.LockWait <= 0 {
		o.LockWait = defaultLockWait
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	rep, err := repairJournal(ctx, dir, o)
	if err != nil {
		return rep, fmt.Errorf("repair journal: %w", err)
	}
	return rep, nil
}

func repairJournal(ctx context.Context, dir string, o RepairOptions) (rep RepairReport, err error) {
	if err := ctx.Err(); err != nil {
		return rep, err
	}
	// Before the lock, which would make a file in a folder that is there and holds no journal.
	if _, err := o.FS.List(dir); err != nil {
		return rep, err
	}
	if o.Apply {
		lock, err := takeLock(ctx, o.FS, filepath.Join(dir, lockName), o.LockWait, "")
		if err != nil {
			return rep, err
		}
		defer lock.Unlock()
	}
	if o.Cursor != nil {
		if rep.Cursor, err = o.Cursor(); err != nil {
			return rep, fmt.Errorf("read the cursor: %w", err)
		}
	}
	p := planner{dir: dir, o: o, rep: &rep}
	if err := p.plan(ctx); err != nil {
		return rep, err
	}
	if o.Confirm != nil {
		if err := o.Confirm(rep); err != nil {
			return rep, err
		}
	}
	if !o.Apply {
		return rep, nil
	}
	for _, h := range p.hurt {
		if err := mend(ctx, dir, o, h); err != nil {
			return rep, fmt.Errorf("%s: %w", h.seg.Path, err)
		}
	}
	// Also when there was nothing to do: what is whole may be so by the rename of a repair that died before it
	// synced the folder, and would come undone.
	if err := syncFolder(o.FS, dir); err != nil {
		return rep, err
	}
	rep.Applied = true
	return rep, nil
}

// extent is the place of a record in the log.
type extent struct {
	at   Offset
	size int64
}

func (e extent) end() Offset { return e.at + Offset(e.size) }

// hurtSegment is a file that is to be written anew, or for the first time.
type hurtSegment struct {
	seg    Segment
	size   int64 // that the file will have
	end    int64 // up to where it will hold records and nothing else
	ranges []*DamagedRange
}
