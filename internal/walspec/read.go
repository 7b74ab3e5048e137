package walspec

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// Segment is one file of a journal.
type Segment struct {
	Name string
	Base uint64 // global offset of its first byte
	Data int64  // bytes of records
	Size int64  // bytes of the file: Data, and zeros after it in the last segment
}

// Journal is all that a folder holds.
type Journal struct {
	Segments []Segment // by base
	Records  []Record  // every one, marks, fillers and identities too
	Identity []byte    // of the segments that have one; nil when none has
	First    uint64    // offset at which the journal begins: above 0 when it was trimmed
	End      uint64    // offset after the last record
}

// InvalidError is the first place where a folder is not as the format says.
type InvalidError struct {
	Segment string
	Offset  uint64 // global
	Reason  string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s: at offset %d: %s", e.Segment, e.Offset, e.Reason)
}

// ReadDir returns the records of the journal in dir that are its user's, as a reader should return them. With an error
// it returns the records before it.
func ReadDir(dir string) ([]Record, error) {
	j, err := Read(dir)
	var records []Record
	for _, r := range j.Records {
		if r.Kind == Payload {
			records = append(records, r)
		}
	}
	return records, err
}

// Read verifies and returns the journal in dir. With an error, *InvalidError or the system's, it returns what it had
// read until then. The journal is never nil. An empty folder is an empty journal.
func Read(dir string) (*Journal, error) {
	j := &Journal{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return j, err
	}
	for _, e := range entries {
		base, ok := parseName(e.Name())
		if !ok {
			continue
		}
		j.Segments = append(j.Segments, Segment{Name: e.Name(), Base: base})
	}
	slices.SortFunc(j.Segments, func(a, b Segment) int { return cmp.Compare(a.Base, b.Base) })
	if len(j.Segments) > 0 {
		j.First = j.Segments[0].Base
		j.End = j.First
	}
	for i := range j.Segments {
		s := &j.Segments[i]
		file, err := os.ReadFile(filepath.Join(dir, s.Name))
		if err != nil {
			return j, err
		}
		s.Size = int64(len(file))
		if j.End != s.Base {
			return j, &InvalidError{s.Name, s.Base, fmt.Sprintf("the segment before ends at %d", j.End)}
		}
		if err := j.readSegment(s, file, i == len(j.Segments)-1); err != nil {
			return j, err
		}
	}
	return j, nil
}

// readSegment adds the records of the segment, whose bytes are file.
func (j *Journal) readSegment(s *Segment, file []byte, last bool) error {
	for s.Data < s.Size {
		rest := file[s.Data:]
		if last && allZero(rest) {
			return nil
		}
		payload, reason := Decode(j.End, rest)
		if reason != "" {
			return &InvalidError{s.Name, j.End, reason}
		}
		kind, reason := kindOf(payload)
		if reason == "" && kind == Mark {
			reason = j.markReason(Record{j.End, kind, payload})
		}
		if reason == "" && kind == Identity {
			reason = j.identityReason(s, payload[1:])
		}
		if reason != "" {
			return &InvalidError{s.Name, j.End, reason}
		}
		r := Record{Offset: j.End, Kind: kind, Payload: payload}
		j.Records = append(j.Records, r)
		s.Data += int64(r.Next() - r.Offset)
		j.End = r.Next()
	}
	return nil
}

// markReason says why a mark cannot be right that comes after the records read so far; it is empty when the mark can
// be right. A sync covers whole records, so a mark names the end of one. After trimming that may lie before the first
// segment.
func (j *Journal) markReason(mark Record) string {
	covered := mark.Covered()
	switch {
	case covered > mark.Offset:
		return fmt.Sprintf("a mark of %d, which lies after it", covered)
	case covered < j.First || covered == mark.Offset:
		return ""
	}
	_, found := slices.BinarySearchFunc(j.Records, covered, func(r Record, at uint64) int {
		return cmp.Compare(r.Offset, at)
	})
	if !found {
		return fmt.Sprintf("a mark of %d, the middle of a record", covered)
	}
	return ""
}

// identityReason says why an identity cannot be right that comes after what was read of a segment; it is empty when the
// identity can be right. It keeps the first identity.
func (j *Journal) identityReason(s *Segment, identity []byte) string {
	switch {
	case s.Data > 0:
		return "an identity that is not the first record of its segment"
	case j.Identity == nil:
		j.Identity = identity
	case !bytes.Equal(j.Identity, identity):
		return fmt.Sprintf("its identity is %x, that of a segment before is %x", identity, j.Identity)
	}
	return ""
}

var segmentName = regexp.MustCompile(`^[0-9a-f]{16}\.wal$`)

// parseName returns the base in a segment's name; other names are not the journal's.
func parseName(name string) (base uint64, ok bool) {
	if !segmentName.MatchString(name) {
		return 0, false
	}
	base, err := strconv.ParseUint(name[:16], 16, 64)
	return base, err == nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
