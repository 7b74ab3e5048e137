package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/wal"
)

// adopt takes the id and the unit of a store that has nothing but a journal from that journal. A journal without an
// identity is empty, or older than identities. Then the unit is the caller's, or the default, which is noted.
func (p *opening) adopt(journalDir string) error {
	identity, found, err := wal.Identity(journalDir, p.opts.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !found {
		if p.opts.unit == nil {
			p.noteAssumedUnit(journalDir)
		}
		return nil
	}
	id, unit, ok := storedir.ParseIdentity(identity)
	if !ok {
		return fmt.Errorf("%s: %w: its identity, %x, is that of no store; a newer version may have made it", journalDir, ErrMismatch, identity)
	}
	if u := p.opts.unit; u != nil && *u != unitOf(unit) {
		return fmt.Errorf("%s: %w", journalDir, invalid("the journal's time unit is %s, for good, not %s", unit, *u))
	}
	p.file.StoreID, p.file.TimeUnit, p.adopted = id, unit, true
	return nil
}

// noteAssumedUnit notes which time unit is assumed for a journal that does not say, and the oldest record's time by it:
// a time that is far from what it should be shows that the unit is wrong.
func (p *opening) noteAssumedUnit(journalDir string) {
	at, ok := p.oldestTime(journalDir)
	if !ok {
		return
	}
	p.note("the journal does not say which time unit it has; %s was assumed, and the oldest record left is of %s then. If that is wrong, move everything but %s out of the folder, and init with the right --time-unit",
		p.file.TimeUnit, at, storedir.JournalName)
}

// oldestTime returns the time of the first record that is left of a journal. Only a note needs it, so errors are left
// out: the opening reports damage.
func (p *opening) oldestTime(journalDir string) (at string, ok bool) {
	segs, err := wal.Segments(journalDir, p.opts.journal())
	if err != nil || len(segs) == 0 {
		return "", false
	}
	reader, err := wal.OpenReader(journalDir, segs[0].Base, p.opts.journal())
	if err != nil {
		return "", false
	}
	defer reader.Close()
	rec, err := reader.Next(p.ctx)
	if err != nil {
		return "", false
	}
	q, err := ParseAudit(rec.Payload)
	if err != nil {
		return "", false
	}
	when, ok := unitOf(p.file.TimeUnit).Time(q.Timestamp)
	if !ok {
		return "a time after the year 9999", true
	}
	return when.Format(time.RFC3339), true
}

// foreign says which store a segment of another journal belongs to.
func (p *opening) foreign(err error) error {
	var foreign *wal.ForeignError
	if !errors.As(err, &foreign) {
		return err
	}
	id, unit, ok := storedir.ParseIdentity(foreign.Have)
	switch {
	case !ok:
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	case id == p.file.StoreID:
		return fmt.Errorf("%w: %w (the segment's time unit is %s, %s says %s)", ErrMismatch, err, unit, storedir.FileName, p.file.TimeUnit)
	}
	return fmt.Errorf("%w: %w (the segment is of store %s, %s says %s)", ErrMismatch, err, id, storedir.FileName, p.file.StoreID)
}

// knownIdentity returns the store's identity, or nil when neither store.json nor the journal has it. The random id of a
// store that is not made would make every segment look like another journal's.
func (p *opening) knownIdentity() []byte {
	if !p.exists && !p.adopted {
		return nil
	}
	return p.opts.identity
}
