package bundle

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/bits"
	"slices"
	"strings"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// maxProofText is how long a proof, a checkpoint or a list of hashes may be, in bytes.
const maxProofText = 1 << 20

// Finding is what was found out about one piece of evidence in a bundle.
type Finding struct {
	Kind    Kind
	Path    string // of the record, the records of a range, or another file; with slashes, below the folder
	Record  []byte // of a record that was read
	Verdict evidence.Verdict
}

// Kind is what a finding is about.
type Kind string

const (
	OneRecord  Kind = "record" // a record and its proof
	AllBetween Kind = "range"  // all records between two checkpoints
	OtherFile  Kind = "file"   // a file that belongs to no proof, which leaves it undecided
)

// Check checks all evidence in a folder, in the order of its names. Each file NAME.tlog-proof is the proof of NAME.json beside
// it. A folder that has range/records.ndjson has a range. README.txt and policy at the top are for people. Each other
// file gets a finding of its own, and so does a folder without evidence.
//
// The zero value of a finding is never yielded as proven: only [evidence.Proven] proves anything.
func Check(files fs.FS, policy *evidence.Policy) iter.Seq[Finding] {
	return func(yield func(Finding) bool) {
		names, err := list(files)
		if err != nil {
			yield(other(".", "%v", err))
			return
		}
		evidenceSeen, records := false, evidence.NewVerifier(policy)
		for _, name := range names.sorted {
			f, ok := names.check(files, name, policy, records)
			if !ok {
				continue
			}
			evidenceSeen = evidenceSeen || f.Kind != OtherFile
			if !yield(f) {
				return
			}
		}
		if !evidenceSeen {
			yield(other(".", "there is no proof in it: a record NAME.json has its proof NAME.tlog-proof beside it"))
		}
	}
}

// CheckRecord checks a record that is read from one place and its proof from another.
func CheckRecord(name string, record, proof io.Reader, policy *evidence.Policy) Finding {
	return checkRecordBy(name, record, proof, evidence.NewVerifier(policy))
}

func checkRecordBy(name string, record, proof io.Reader, records *evidence.Verifier) Finding {
	f := Finding{Kind: OneRecord, Path: name}
	r, err := readBounded(record, evidence.MaxRecord)
	if err != nil {
		f.Verdict = unreadable("the record: %v", err)
		return f
	}
	p, err := readBounded(proof, maxProofText)
	if err != nil {
		f.Verdict = unreadable("the proof: %v", err)
		return f
	}
	f.Record, f.Verdict = r, records.Verify(r, p)
	if without, ok := bytes.CutSuffix(r, []byte("\n")); ok && f.Verdict.Reason == evidence.NotIncluded && records.Verify(without, p).Err() == nil {
		f.Verdict.Detail = "the file has a line feed at its end, which the record does not have: without it the record is proven"
	}
	return f
}

// names are the regular files of a folder, and what else there is.
type names struct {
	sorted []string
	odd    map[string]string // what is no regular file, and what it is
}

func list(files fs.FS) (*names, error) {
	n := &names{odd: map[string]string{}}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			n.odd[name] = err.Error()
		case entry.IsDir():
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			n.odd[name] = "it is a link, and no link is followed"
		case !entry.Type().IsRegular():
			n.odd[name] = "it is no regular file"
		}
		n.sorted = append(n.sorted, name)
		return nil
	})
	slices.Sort(n.sorted)
	return n, err
}

// has reports whether there is such a file, which may also be one that is not read.
func (n *names) has(name string) bool {
	_, ok := slices.BinarySearch(n.sorted, name)
	return ok
}

// check returns the finding about a file, and false for a file that is part of another one's finding, or for people.
func (n *names) check(files fs.FS, name string, policy *evidence.Policy, records *evidence.Verifier) (Finding, bool) {
	if why, odd := n.odd[name]; odd {
		return other(name, "%s", why), true
	}
	base, isRecord := strings.CutSuffix(name, recordExt)
	proof, isProof := strings.CutSuffix(name, proofExt)
	switch {
	case name == readmeFile || name == policyFile:
		return Finding{}, false
	case name == rangeFile:
		return n.checkRange(files, policy), true
	case n.has(rangeFile) && (name == olderFile || name == newerFile || name == edgeFile):
		return Finding{}, false
	case isProof && n.has(proof+recordExt):
		return Finding{}, false
	case isProof:
		return other(name, "it is the proof of a record that is not here: %s is missing", proof+recordExt), true
	case isRecord && n.has(base+proofExt):
		return checkPair(files, name, base+proofExt, records), true
	case isRecord:
		return other(name, "it is a record without a proof: %s is missing", base+proofExt), true
	}
	return other(name, "it belongs to no proof"), true
}

func checkPair(files fs.FS, record, proof string, records *evidence.Verifier) Finding {
	r, err := files.Open(record)
	if err != nil {
		return Finding{Kind: OneRecord, Path: record, Verdict: unreadable("the record: %v", err)}
	}
	defer r.Close()
	p, err := files.Open(proof)
	if err != nil {
		return Finding{Kind: OneRecord, Path: record, Verdict: unreadable("the proof: %v", err)}
	}
	defer p.Close()
	return checkRecordBy(record, r, p, records)
}

// checkRange checks a range. Without an older checkpoint and its edge it must begin with the first record of the log.
func (n *names) checkRange(files fs.FS, policy *evidence.Policy) Finding {
	f := Finding{Kind: AllBetween, Path: rangeFile}
	newer, err := readFile(files, newerFile)
	if err != nil {
		f.Verdict = unreadable("%v", err)
		return f
	}
	var older []byte
	var edge *tree.Frontier
	if n.has(olderFile) || n.has(edgeFile) {
		if older, edge, err = readOlder(files); err != nil {
			f.Verdict = unreadable("%v", err)
			return f
		}
	}
	records, err := files.Open(rangeFile)
	if err != nil {
		f.Verdict = unreadable("%v", err)
		return f
	}
	defer records.Close()
	f.Verdict = verifyRange(older, newer, edge, records, policy)
	return f
}

// readOlder reads the older checkpoint of a range, which is not nil, and its edge.
func readOlder(files fs.FS) (checkpoint []byte, edge *tree.Frontier, err error) {
	if checkpoint, err = readFile(files, olderFile); err != nil {
		return nil, nil, err
	}
	hashes, err := readFile(files, edgeFile)
	if err != nil {
		return nil, nil, err
	}
	if edge, err = readEdge(checkpoint, hashes); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", edgeFile, err)
	}
	return checkpoint, edge, nil
}

// readEdge reads the right edge of the tree of a checkpoint. VerifyRange checks both. It is nil when the checkpoint
// cannot be read, or when it has another number of hashes than the size needs. VerifyRange says either.
func readEdge(checkpoint, edge []byte) (*tree.Frontier, error) {
	hashes, err := evidence.ParseHashes(edge)
	if err != nil {
		return nil, err
	}
	c, err := evidence.ReadUnverified(checkpoint)
	if err != nil || len(hashes) != bits.OnesCount64(uint64(c.Size)) {
		return nil, nil
	}
	return tree.NewFrontier(c.Size, hashes)
}

func readFile(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readBounded(f, maxProofText)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// readBounded reads to the end, and at most so many bytes, whatever the file says about its size.
func readBounded(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > most:
		return nil, fmt.Errorf("it is longer than %d bytes", most)
	}
	return b, nil
}

func unreadable(format string, args ...any) evidence.Verdict {
	return evidence.Verdict{Reason: evidence.Unreadable, Detail: fmt.Sprintf(format, args...)}
}

func other(name, format string, args ...any) Finding {
	return Finding{Kind: OtherFile, Path: name, Verdict: evidence.Verdict{Reason: evidence.NoProof, Detail: fmt.Sprintf(format, args...)}}
}
