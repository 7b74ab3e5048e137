package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/auditsql/auditsql/wal"
)

// A journal's segments begin with its store's identity: the 16 bytes of the store's id, and its time unit as one
// byte. So a journal of which everything else is lost still says whose it is and what its timestamps count.
const identityLen = 17

// unitBytes are the time units as an identity has them.
var unitBytes = [...]TimeUnit{Seconds, Milliseconds, Microseconds, Nanoseconds}

// identity returns what the segments of the store's journal begin with.
func (s storeFile) identity() []byte {
	identity, err := hex.DecodeString(s.StoreID)
	if err != nil {
		return nil // parseStoreFile has refused it
	}
	for b, unit := range unitBytes {
		if unit == s.TimeUnit {
			identity = append(identity, byte(b))
		}
	}
	return identity
}

// parseIdentity takes an identity apart.
func parseIdentity(identity []byte) (storeID string, unit TimeUnit, ok bool) {
	if len(identity) != identityLen || int(identity[identityLen-1]) >= len(unitBytes) {
		return "", 0, false
	}
	return hex.EncodeToString(identity[:identityLen-1]), unitBytes[identity[identityLen-1]], true
}

// JournalIdentity returns the identity of the journal of the store in dir, for wal.Options: from its store.json, or
// from SQLite when that is lost, or nil when nothing but a journal is left.
func JournalIdentity(dir string) ([]byte, error) {
	s, _, err := recallStoreFile(context.Background(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.identity(), nil
}

// adopt takes id and unit of a store that has nothing but a journal from that journal. One without an identity is
// older than identities, or empty; its unit is the caller's, or is assumed, which is told.
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
			p.assume(journalDir)
		}
		return nil
	}
	id, unit, ok := parseIdentity(identity)
	if !ok {
		return fmt.Errorf("%s: %w: its identity, %x, is that of no store; a newer version may have made it", journalDir, ErrMismatch, identity)
	}
	if u := p.opts.unit; u != nil && *u != unit {
		return fmt.Errorf("%s: %w: the journal's time unit is %s, for good, not %s", journalDir, ErrInvalid, unit, *u)
	}
	p.file.StoreID, p.file.TimeUnit, p.adopted = id, unit, true
	return nil
}

// assume tells which time unit is assumed for records that do not say theirs, and what the oldest one's time is then:
// one that is far from what it should be shows that the unit is wrong.
func (p *opening) assume(journalDir string) {
	at, ok := p.oldestTime(journalDir)
	if !ok {
		return
	}
	p.note("the journal does not say which time unit it has; %s was assumed, and the oldest record left is of %s then. If that is wrong, move everything but %s out of the folder, and init with the right --time-unit",
		p.file.TimeUnit, at, journalDirName)
}

// oldestTime returns the time of the first record that is left of a journal. Nothing else depends on it, so that it
// cannot be read is no error: opening tells of damage.
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
	when, ok := p.file.TimeUnit.Time(q.Timestamp)
	if !ok {
		return "a time after the year 9999", true
	}
	return when.Format(time.RFC3339), true
}

// foreign says of a segment of another journal in the store's words whose it is.
func (p *opening) foreign(err error) error {
	var foreign *wal.ForeignError
	if !errors.As(err, &foreign) {
		return err
	}
	id, unit, ok := parseIdentity(foreign.Have)
	switch {
	case !ok:
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	case id == p.file.StoreID:
		return fmt.Errorf("%w: %w (the segment's time unit is %s, %s says %s)", ErrMismatch, err, unit, storeFileName, p.file.TimeUnit)
	}
	return fmt.Errorf("%w: %w (the segment is of store %s, %s says %s)", ErrMismatch, err, id, storeFileName, p.file.StoreID)
}

// errMadeMeanwhile means that another process made the store while this one waited for the lock.
var errMadeMeanwhile = errors.New("another process has just made the store")

// knownIdentity is the store's identity, or nil when neither store.json nor the journal has it: one that was drawn for
// a store that is not made would be another journal's.
func (p *opening) knownIdentity() []byte {
	if !p.exists && !p.adopted {
		return nil
	}
	return p.opts.identity
}
