package bundle

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

const (
	readmeFile  = "README.txt"
	policyFile  = "policy"
	recordsDir  = "records/"
	recordExt   = ".json"
	proofExt    = ".tlog-proof"
	rangeDir    = "range/"
	rangeFile   = rangeDir + "records.ndjson"
	olderFile   = rangeDir + "older.checkpoint"
	newerFile   = rangeDir + "newer.checkpoint"
	edgeFile    = rangeDir + "edge"
	longestName = 128
)

// Contents is what a bundle is written from.
type Contents struct {
	// Policy is whom a reader has to trust. All that is written is proven by it.
	Policy *evidence.Policy
	// Records are read once, to the end or to the first error.
	Records iter.Seq2[Record, error] // nil: none
	Range   *Range                   // nil: none
}

// Record is a record with its proof.
type Record struct {
	Name  string // names its two files: lower-case letters, digits and hyphens, at most 128. The id of a record is one
	Bytes []byte // as they are in the log
	Proof []byte // [evidence.Proof] as a text
}

// Range is all records that the log got between two checkpoints, or all from its first one on.
type Range struct {
	Older, Newer []byte         // signed; without an older one, the records begin with the first of the log
	Edge         *tree.Frontier // of the older tree
	Records      io.Reader      // one a line; read once
}

// WriteFolder writes a bundle to a new folder. When it fails it removes the folder again. Only the owner can read the files.
// They are not synced: a bundle can be written again.
func WriteFolder(dir string, c *Contents) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return write(c, func(name string, from func(io.Writer) error) error {
		if folder, _, below := strings.Cut(name, "/"); below {
			if err := root.MkdirAll(folder, 0o700); err != nil {
				return err
			}
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(from(f), f.Close())
	})
}

// firstTime is the first time that a zip archive can tell. Without one the month and the day would be 0, which some programs refuse.
var firstTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// WriteZip writes a bundle as a zip archive. The same contents give the same archive, since there are no times of their own in it. When
// it fails, what was written to w is no archive.
func WriteZip(w io.Writer, c *Contents) error {
	z := zip.NewWriter(w)
	err := write(c, func(name string, from func(io.Writer) error) error {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: firstTime})
		if err != nil {
			return err
		}
		return from(f)
	})
	if err != nil {
		return err
	}
	return z.Close()
}

// write writes the files of a bundle with create.
func write(c *Contents, create func(name string, from func(io.Writer) error) error) error {
	put := func(name string, b []byte) error {
		return create(name, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
	}
	r := &readme{policy: c.Policy}
	if c.Records != nil {
		names, proven := map[string]bool{}, evidence.NewVerifier(c.Policy)
		for rec, err := range c.Records {
			if err != nil {
				return err
			}
			err = checkRecord(rec, names, proven)
			if err == nil {
				err = put(recordsDir+rec.Name+recordExt, rec.Bytes)
			}
			if err == nil {
				err = put(recordsDir+rec.Name+proofExt, rec.Proof)
			}
			if err != nil {
				return fmt.Errorf("record %s: %w", rec.Name, err)
			}
			names[rec.Name] = true
			r.add(rec)
		}
	}
	if c.Range != nil {
		v, err := writeRange(c.Range, c.Policy, put, create)
		if err != nil {
			return fmt.Errorf("all records between two checkpoints: %w", err)
		}
		r.between, r.fromStart = &v, c.Range.Older == nil
	}
	if r.records == 0 && r.between == nil {
		return errors.New("there is no evidence to write")
	}
	if err := put(policyFile, []byte(c.Policy.Text())); err != nil {
		return err
	}
	return put(readmeFile, r.text())
}

// checkRecord refuses a record that Check would not prove.
func checkRecord(rec Record, names map[string]bool, proven *evidence.Verifier) error {
	plain := func(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-' }
	switch {
	case rec.Name == "" || len(rec.Name) > longestName || strings.ContainsFunc(rec.Name, func(r rune) bool { return !plain(r) }):
		return fmt.Errorf("the name must have 1 to %d lower-case letters, digits and hyphens", longestName)
	case names[rec.Name]:
		return errors.New("the name is there twice")
	}
	return proven.Verify(rec.Bytes, rec.Proof).Err()
}

// writeRange checks the records while it writes them, since they are read only once.
func writeRange(r *Range, policy *evidence.Policy, put func(string, []byte) error, create func(string, func(io.Writer) error) error) (v evidence.Verdict, err error) {
	err = create(rangeFile, func(w io.Writer) error {
		v = verifyRange(r.Older, r.Newer, r.Edge, io.TeeReader(r.Records, w), policy)
		return v.Err()
	})
	if err == nil && r.Older != nil {
		err = put(olderFile, r.Older)
	}
	if err == nil {
		err = put(newerFile, r.Newer)
	}
	if err == nil && r.Older != nil {
		err = put(edgeFile, evidence.FormatHashes(r.Edge.Hashes()))
	}
	return v, err
}

// verifyRange checks a range with or without an older checkpoint.
func verifyRange(older, newer []byte, edge *tree.Frontier, records io.Reader, policy *evidence.Policy) evidence.Verdict {
	if older == nil {
		return evidence.VerifyExport(records, newer, policy)
	}
	return evidence.VerifyRange(older, newer, edge, records, policy)
}

// readme is what README.txt says, collected while the bundle is written.
type readme struct {
	policy  *evidence.Policy
	records int
	first   string // name of a record, for the example
	between *evidence.Verdict

	fromStart bool // between is all records from the first one on
}

func (r *readme) add(rec Record) {
	if r.records++; r.records == 1 {
		r.first = rec.Name
	}
}

func (r *readme) text() []byte {
	var b bytes.Buffer
	b.WriteString("EVIDENCE FROM AN AUDIT LOG\n\nWhat is here\n\n")
	if r.records > 0 {
		b.WriteString(aboutRecords)
	}
	switch {
	case r.fromStart:
		b.WriteString(aboutAll)
	case r.between != nil:
		b.WriteString(aboutRange)
	}
	b.WriteString(aboutPolicy)
	b.WriteString("\nWhat this shows\n\n")
	if r.records > 0 {
		b.WriteString(recordsShow)
	}
	if v := r.between; v != nil {
		fmt.Fprintf(&b, rangeShows, v.Checkpoint.Origin, v.Index, v.Checkpoint.Size)
	}
	b.WriteString("\nWhat this does not show\n\n")
	b.WriteString(showsNot)
	if r.between == nil {
		b.WriteString(notComplete)
	}
	b.WriteString("\nThe keys that are meant\n\n")
	for _, l := range r.policy.Logs() {
		fmt.Fprintf(&b, "    log       %s\n", l.Key)
	}
	for _, w := range r.policy.Witnesses() {
		fmt.Fprintf(&b, "    witness   %s\n", w.Key)
	}
	b.WriteString("\n" + keysFromElsewhere)
	b.WriteString(withCheck)
	if len(r.policy.Logs()) > 1 {
		b.WriteString(severalKeys)
	}
	if r.records > 0 {
		fmt.Fprintf(&b, byHand, r.first, r.first, ByHand)
	}
	switch {
	case r.fromStart:
		b.WriteString(allByHand)
	case r.between != nil:
		b.WriteString(rangeByHand)
	}
	return b.Bytes()
}
