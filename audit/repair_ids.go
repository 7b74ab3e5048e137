package audit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/sqlstore"
	"github.com/auditsql/auditsql/wal"
)

// identify finds out which records the damaged ranges hold, as far as that is possible, before their bytes
// are replaced.
func (r *repair) identify(plan wal.RepairReport) error {
	r.rep.Ranges = make([]RepairedRange, len(plan.Damage))
	for i, d := range plan.Damage {
		known := &r.rep.Ranges[i]
		restored, err := r.restored(d)
		if err != nil {
			return err
		}
		known.Restored = restored[:min(MaxRepairIDs, len(restored))]
		if d.FillBytes == 0 || d.Stored == 0 {
			continue
		}
		seen := map[QueryID]bool{}
		for _, id := range restored {
			seen[id] = true
		}
		err = readIDs(d, func(id QueryID) error {
			if seen[id] {
				return nil
			}
			seen[id] = true
			if r.sql != nil && !r.doubted {
				_, err := r.sql.Get(r.ctx, KeyOf(id))
				if !errors.Is(err, sqlstore.ErrNotFound) {
					return err // nil: SQLite has it under another offset
				}
			}
			if known.LostRecords++; len(known.Lost) < MaxRepairIDs {
				known.Lost = append(known.Lost, id)
			}
			return r.ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// restored returns the ids of the records that went, or would go, back into a range.
func (r *repair) restored(d *wal.DamagedRange) (ids []QueryID, err error) {
	if d.Restored == 0 {
		return nil, nil
	}
	refused := d.Refused
	err = r.restore(d.Offset, d.End, func(rec wal.Record) bool {
		if len(refused) > 0 && refused[0].Offset == rec.Offset {
			refused = refused[1:]
			return true
		}
		if id, ok := idOf(rec.Payload); ok {
			ids = append(ids, id)
		}
		return true
	})
	if r.doubted && r.ctx.Err() == nil {
		err = nil // as in records
	}
	return ids, err
}

// readIDs calls visit with each query id that can be read in a range's damaged bytes.
func readIDs(d *wal.DamagedRange, visit func(QueryID) error) error {
	f, err := durable.Open(d.Segment)
	if err != nil {
		return err
	}
	defer f.Close()
	const whole = len(openQueryID) + hexLen
	in := io.NewSectionReader(f, int64(d.Offset-d.Base), d.Stored)
	buf := make([]byte, 0, 1<<20)
	for {
		n, err := io.ReadFull(in, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest := buf
		for {
			i := bytes.Index(rest, []byte(openQueryID))
			if i < 0 || len(rest) < i+whole {
				break
			}
			var id QueryID
			if _, err := hex.Decode(id[:], rest[i+len(openQueryID):i+whole]); err == nil {
				if err := visit(id); err != nil {
					return err
				}
			}
			rest = rest[i+len(openQueryID):]
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
		// The last bytes may be the beginning of an id.
		kept := copy(buf, rest[max(0, len(rest)-whole+1):])
		buf = buf[:kept]
	}
}
