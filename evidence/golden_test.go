package evidence_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

var update = flag.Bool("update", false, "write the files of testdata anew")

// The files of testdata stay as they are for ever: evidence that left a store must be checked by every later version. The
// log has four records, of which the last is the example of a record; one of two witnesses has signed.
func TestGoldenEvidence(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(3)
	record := []byte(`{"query_id":"0a00000000000000000000000000000000000000000000000000000000000000",` +
		`"agent_id":"0101010101010101010101010101010101010101010101010101010101010101","timestamp":1000,` +
		`"params":{"subject":"Tesla","predicate":"revenue","lifecycle":"Approved","epoch":null,"lens":"Recency"},` +
		`"result_hash":"0101010101010101010101010101010101010101010101010101010101010101","result_confidence":0.95,` +
		`"contributing_assertions":[{"assertion_hash":"0202020202020202020202020202020202020202020202020202020202020202",` +
		`"weight":1,"source_hash":"0303030303030303030303030303030303030303030303030303030303030303","lifecycle":"Approved"}]}`)
	l.records = append(l.records, record)
	l.edge.Append(tree.LeafHash(record))
	one, two := newWitness("witness.example.com", '1'), newWitness("witness.example.net", '2')
	policy := l.policy("witness one "+one.public, "witness two "+two.public, "group either any one two", "quorum either")
	signed := l.head(4)
	signed, err := evidence.AddCosignatures(signed, one.cosign(signed, 1700000000), policy)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"record.json":      record,
		"proof.tlog-proof": l.proof(3, 4, signed),
		"policy":           []byte(policy.Text()),
	}
	for name, want := range files {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is written as\n%s\nnot as\n%s", name, want, got)
		}
		files[name] = got
	}
	policy, err = evidence.ParsePolicy(files["policy"])
	if err != nil {
		t.Fatal(err)
	}
	v := evidence.Verify(files["record.json"], files["proof.tlog-proof"], policy)
	want(t, "the golden evidence", v, evidence.Proven, "")
	if v.Index != 3 || v.Checkpoint.Size != 4 || len(v.Cosignatures) != 1 || v.Cosignatures[0].Time != 1700000000 {
		t.Errorf("%+v", v)
	}
}
