package evidence

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/tree"
)

// Proof is what shows that a record is in a log, as a text with the extension .tlog-proof (c2sp.org/tlog-proof@v1):
//
//	c2sp.org/tlog-proof@v1
//	index 3
//	MBBxHN9tVKugjlukMRFitznld5MvukIiwoc5VKOfzFQ=
//	GMOLpmEk1pSUyLerGoUW5hlduTF+Cwfkgb5kOym1wjk=
//
//	log.example.com
//	4
//	r3vyvYwxsWfT1OiXxeUy/H1JBmoYVnkh+qatxKCc6gM=
//
//	— log.example.com vBInUg2DXiYw…
//	— witness.example.com nOCzpwAAAABl…
type Proof struct {
	// Extra is data that no signature covers. The proofs of a store have none, and [Verify] takes none.
	Extra      []byte
	Index      int64       // of the record, from 0
	Hashes     []tree.Hash // inclusion proof, from the leaf's sibling up
	Checkpoint []byte      // signed, as it left the log
}

const (
	proofHeader = "c2sp.org/tlog-proof@v1"
	// maxProof is the number of hashes in the longest proof: one for each level of the largest tree.
	maxProof = 61
)

// Text returns the proof as a text. It does not check the checkpoint in it.
func (p *Proof) Text() []byte {
	b := []byte(proofHeader + "\n")
	if len(p.Extra) > 0 {
		b = append(b, "extra "...)
		b = base64.StdEncoding.AppendEncode(b, p.Extra)
		b = append(b, '\n')
	}
	b = fmt.Appendf(b, "index %d\n", p.Index)
	b = append(b, FormatHashes(p.Hashes)...)
	b = append(b, '\n')
	return append(b, p.Checkpoint...)
}

// ParseProof reads a proof. It checks its form alone: [Verify] checks what it says.
func ParseProof(b []byte) (*Proof, error) {
	p, _, err := parseProof(b)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// parseProof also returns the checkpoint in the proof. With an error both are incomplete.
func parseProof(b []byte) (*Proof, signedCheckpoint, error) {
	var s signedCheckpoint
	t, err := newText("proof", b)
	if err != nil {
		return nil, s, err
	}
	if line, _ := t.next(); line != proofHeader {
		return nil, s, t.errorf("it is not %q", proofHeader)
	}
	p := &Proof{Hashes: []tree.Hash{}}
	line, _ := t.next()
	if extra, ok := strings.CutPrefix(line, "extra "); ok {
		if p.Extra, err = parseBase64(extra); err != nil {
			return nil, s, t.errorf("the extra data: %w", err)
		}
		if len(p.Extra) == 0 {
			return nil, s, t.errorf("the extra data is empty: the line must be left out")
		}
		line, _ = t.next()
	}
	index, ok := strings.CutPrefix(line, "index ")
	if !ok {
		return nil, s, t.errorf("it does not begin with \"index \"")
	}
	if p.Index, err = parseNumber(index); err != nil {
		return nil, s, t.errorf("the index: %w", err)
	}
	for {
		line, ok := t.next()
		if !ok {
			return nil, s, t.errorf("the checkpoint is missing: an empty line and a signed checkpoint come after the hashes")
		}
		if line == "" {
			break
		}
		if len(p.Hashes) == maxProof {
			return nil, s, t.errorf("more than %d hashes, which no proof has", maxProof)
		}
		h, err := parseHash(line)
		if err != nil {
			return nil, s, t.errorf("the hash: %w", err)
		}
		p.Hashes = append(p.Hashes, h)
	}
	p.Checkpoint = t.bytes()
	s, err = t.signedCheckpoint()
	return p, s, err
}
