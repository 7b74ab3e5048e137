package interop

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/tree"
)

// vector is one file of merkle's testdata: of an inclusion, a consistency, or one of these two in a subtree.
type vector struct {
	LeafIdx  uint64   `json:"leafIdx"`
	LeafHash []byte   `json:"leafHash"`
	TreeSize uint64   `json:"treeSize"`
	Root     []byte   `json:"root"`
	Size1    uint64   `json:"size1"`
	Size2    uint64   `json:"size2"`
	Root1    []byte   `json:"root1"`
	Root2    []byte   `json:"root2"`
	Start    uint64   `json:"start"`
	End      uint64   `json:"end"`
	Size     uint64   `json:"size"`
	Proof    [][]byte `json:"proof"`
	Desc     string   `json:"desc"`
	WantErr  bool     `json:"wantErr"`
}

// The vectors that transparency-dev/merkle checks itself with.
func TestMerkleVectors(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	root := filepath.Join(moduleDir(t, "github.com/transparency-dev/merkle"), "testdata")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".json" {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var v vector
		if err := json.Unmarshal(b, &v); err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		kind, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		counts["all"]++
		ok, applies := v.verify(kind)
		if !applies {
			return nil
		}
		counts[kind]++
		if !v.WantErr {
			counts["valid"]++
		}
		if short := len(v.Root1) != tree.HashSize || len(v.Root2) != tree.HashSize; strings.HasSuffix(kind, "consistency") && short && !v.WantErr {
			// Two equal texts in place of roots, which merkle compares and does not look at. Ours are hashes.
			counts["no hashes"]++
			return nil
		}
		if ok == v.WantErr {
			t.Errorf("%s (%s): verified %v", rel, v.Desc, ok)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if counts["all"] != 507 || counts["inclusion"] != 98 || counts["consistency"] != 98 || counts["subtreeinclusion"] != 204 || counts["subtreeconsistency"] != 103 || counts["valid"] != 31 || counts["no hashes"] != 3 {
		t.Errorf("vectors: %v", counts)
	}
}

// verify reports whether package tree takes the proof, and whether it has an opinion on it at all. A subtree is itself a tree, so
// inclusion in it is inclusion; the consistency of a subtree that does not begin at 0 is not a notion of RFC 6962.
func (v vector) verify(kind string) (ok, applies bool) {
	switch kind {
	case "inclusion":
		return v.inclusion(v.LeafIdx, v.TreeSize), true
	case "subtreeinclusion":
		if v.Start >= v.End || v.LeafIdx < v.Start || !validSubtree(v.Start, v.End) {
			return false, true
		}
		return v.inclusion(v.LeafIdx-v.Start, v.End-v.Start), true
	case "consistency":
		return v.consistency(v.Size1, v.Size2), true
	case "subtreeconsistency":
		return v.consistency(v.End, v.Size), v.Start == 0
	}
	return false, false
}

// validSubtree reports whether start is a multiple of the smallest power of two that is not less than the length.
func validSubtree(start, end uint64) bool {
	width := uint64(1)
	for width < end-start {
		if width > 1<<62 {
			return false
		}
		width *= 2
	}
	return start%width == 0
}

func (v vector) inclusion(index, size uint64) bool {
	if index > tree.MaxSize || size > tree.MaxSize {
		return false
	}
	leaf, ok1 := toHash(v.LeafHash)
	root, ok2 := toHash(v.Root)
	proof, ok3 := toHashes(v.Proof)
	return ok1 && ok2 && ok3 && tree.VerifyInclusion(proof, int64(index), int64(size), leaf, root) == nil
}

func (v vector) consistency(old, size uint64) bool {
	if old > tree.MaxSize || size > tree.MaxSize {
		return false
	}
	oldRoot, ok1 := toHash(v.Root1)
	root, ok2 := toHash(v.Root2)
	proof, ok3 := toHashes(v.Proof)
	return ok1 && ok2 && ok3 && tree.VerifyConsistency(proof, int64(old), int64(size), oldRoot, root) == nil
}

func toHash(b []byte) (h tree.Hash, ok bool) {
	if len(b) != tree.HashSize {
		return h, false
	}
	return tree.Hash(b), true
}

func toHashes(all [][]byte) (hashes []tree.Hash, ok bool) {
	for _, b := range all {
		h, ok := toHash(b)
		if !ok {
			return nil, false
		}
		hashes = append(hashes, h)
	}
	return hashes, true
}

// moduleDir returns where the module's files are.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil || len(strings.TrimSpace(string(out))) == 0 {
		t.Fatalf("where is %s: %q, %v", module, out, err)
	}
	return strings.TrimSpace(string(out))
}
