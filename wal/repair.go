package wal

import (
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"time"
)

// RepairOptions say how to look for damage, and whether to repair it. The zero value only looks.
type RepairOptions struct {
	// FS is where the journal lies; nil is OS.
	FS FS
	// Apply repairs. Without it Repair takes no lock, changes nothing, and reports what it would do.
	Apply bool
	// Cursor returns the offset up to which the caller has everything; nil is 0. It is called once; with Apply when
	// the lock is held.
	Cursor func() (Offset, error)
	// Identity is the journal's, or none, as in Options. Where the beginning of a segment is damaged, it is
	// written back. A segment with another one ends the repair with ErrForeign.
	Identity []byte
	// Records, if not nil, hands back the records that the caller still has of a damaged range [from, to), in the
	// order of the log. Only their Offset and Payload are read. A payload must not change until the next one has been
	// asked for. Records is called for each range once to plan and, with Apply, once more to write. An error ends the
	// repair.
	Records func(from, to Offset) iter.Seq2[Record, error]
	// Visit, if not nil, is called with each intact record of the caller's in order, before anything is
	// changed; its payload is valid during the call. An error that it returns ends the repair.
	Visit func(Record) error
	// Confirm, if not nil, is called with the plan when everything has been read, and before anything is changed.
	// An error that it returns ends the repair.
	Confirm func(RepairReport) error
	// LockWait is how long Apply tries for the lock; 0 is 250 ms.
	LockWait time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// RepairReport is what Repair has found, and what it did or would do.
type RepairReport struct {
	Applied bool   // the repair was done; otherwise this is what it would do
	Cursor  Offset // as the caller gave it

	Segments int    // that were read
	Records  int    // intact ones, without control records
	Bytes    int64  // of intact records, control records included
	First    Offset // of the first segment left
	End      Offset // where the log ends once it is repaired, before a torn tail

	// Damage is in the order of the log.
	Damage []*DamagedRange
	// Torn is a tail that was never acknowledged, or nil. It is no damage, and Repair leaves it: the next Open cuts
	// it.
	Torn *TornTail
	// Unknown are intact records that this version does not understand. They are no damage, since a later version
	// may know them. Repair leaves them, and readers still refuse to skip them.
	Unknown []*CorruptError
}

// Lost returns how many bytes of log are lost: those that fillers replace. How many records that were cannot be
// known.
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

// DamagedRange is a stretch of log that holds no intact record. It ends at an intact record, at the end of a segment,
// or at the cursor. A range may be empty: then bytes after it are cut, or a segment is made.
type DamagedRange struct {
	Segment     string // the path of the file that it lies in
	Base        Offset // of that file
	Missing     bool   // there is no such file, and it is made
	Offset, End Offset
	Reason      string // what was found at Offset
	Stored      int64  // bytes that the file has from Offset to End: they are copied to quarantine
	Cut         int64  // bytes that it has after End, where the next segment begins: they are copied too, and cut
	Quarantine  string // the file with the copies; empty without Apply, or when there was nothing to copy

	Identity      bool      // the segment's identity is written back; no count below includes it
	Restored      int       // records that the caller handed back
	RestoredBytes int64     // of log
	Fillers       int       // records that hold nothing
	FillBytes     int64     // of log, which is lost
	Refused       []Refused // records that were handed back and do not fit

	torn        bool // nothing attests that the range was synced
	interrupted bool // of a torn range: see TornTail

	edges   []Offset // inside the range, where a record is known to begin
	records []extent // those that are handed back
}

// Refused is a record that was handed back and cannot have stood there.
type Refused struct {
	Offset Offset
	Bytes  int64 // of the record, header included
	Reason string
}

// Repair repairs the damage in the journal in dir, and loses nothing but what is damaged. It reads the whole log, also
// before the cursor, and reports what it would do; with Apply it does so.
//
// A damaged range reaches from the first invalid offset to the next intact record, or to where the next
// segment begins; in the last segment to the cursor, if that lies after it. Its bytes are copied to quarantine.
// Records of the range that the caller still has are written back as they were. The rest becomes fillers, which are
// records that hold nothing, so that every later offset stays true. A file that is too short is extended, a missing
// segment is made again, and what lies after the place where the next segment begins is cut. No segment is ever
// deleted. A torn tail is left to Open.
//
// Repair may be run again, and may die in the middle: each segment is either as it was or whole. A new file
// is written and then takes the place of the damaged segment, so the disk must have space for one more segment.
//
// The errors are ErrLocked when another writer has the journal (with Apply), ErrForeign when a segment is another
// journal's, ErrGap when the log begins after the cursor, and *CorruptError for damage that no filler can repair.
// Nothing was changed then. Readers may read the journal meanwhile.
func Repair(dir string, o RepairOptions) (RepairReport, error) {
	return RepairContext(context.Background(), dir, o)
}

// RepairContext is Repair that ends with the error of ctx when ctx ends first, and releases the lock. With Apply
// some segments may have been repaired by then, durably. The others are as they were, and the next Repair goes on with
// them.
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
	// Before the lock, which would make a file in a folder that holds no journal.
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
	for _, r := range p.rewrites {
		if err := r.apply(ctx, dir, o); err != nil {
			return rep, fmt.Errorf("%s: %w", r.seg.Path, err)
		}
	}
	// Also when there was nothing to do: a segment may be whole because of the rename of a repair that died before it
	// synced the folder, and a power cut would undo the rename.
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
