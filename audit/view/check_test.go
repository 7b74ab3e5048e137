package view_test

import (
	"encoding/json"
	"testing"

	"github.com/auditsql/auditsql/audit/view"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// A check says which records are proven, and nothing of a log that nobody who is trusted has signed.
func TestChecks(t *testing.T) {
	t.Parallel()
	signed := evidence.Verdict{
		Outcome: evidence.Proven, LogKey: "key", Index: 5, Checkpoint: evidence.Checkpoint{Origin: "log", Size: 11, Root: tree.EmptyRoot()},
		Cosignatures: []evidence.Cosignature{{Witness: "w", Key: "k", Time: 1700000000}, {Witness: "x", Key: "l", Time: 1 << 62}},
	}
	none := signed
	none.Index, none.Cosignatures = 11, nil
	refuted := signed
	refuted.Outcome, refuted.Reason, refuted.Detail, refuted.Cosignatures = evidence.Refuted, evidence.NotIncluded, "why", nil
	const of = `"origin":"log","size":11,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","log_key":"key","witnesses":`
	const two = `[{"name":"w","key":"k","time":"2023-11-14T22:13:20Z"},{"name":"x","key":"l","time":"4611686018427387904"}]`
	const id = "0a00000000000000000000000000000000000000000000000000000000000000"
	record := []byte(`{"query_id":"` + id + `","timestamp":1,"params":{},"result_confidence":1}`)
	for _, c := range []struct {
		kind   string
		v      evidence.Verdict
		record []byte
		want   string
	}{
		{"record", signed, record, `{"outcome":"proven","kind":"record","file":"f","reason":null,"detail":null,` + of + two + `,"first":5,"last":5,"query_id":"` + id + `"}`},
		{"record", signed, []byte("not of a store"), `{"outcome":"proven","kind":"record","file":"f","reason":null,"detail":null,` + of + two + `,"first":5,"last":5,"query_id":null}`},
		{"range", signed, nil, `{"outcome":"proven","kind":"range","file":"f","reason":null,"detail":null,` + of + two + `,"first":5,"last":10,"query_id":null}`},
		{"range", none, nil, `{"outcome":"proven","kind":"range","file":"f","reason":null,"detail":null,` + of + `[],"first":null,"last":null,"query_id":null}`},
		{"consistency", none, nil, `{"outcome":"proven","kind":"consistency","file":"f","reason":null,"detail":null,` + of + `[],"first":null,"last":null,"query_id":null}`},
		{"record", refuted, record, `{"outcome":"refuted","kind":"record","file":"f","reason":"not-included","detail":"why",` + of + `[],"first":null,"last":null,"query_id":null}`},
		{"file", evidence.Verdict{Reason: evidence.NoProof, Detail: "why"}, nil,
			`{"outcome":"undecided","kind":"file","file":"f","reason":"no-proof","detail":"why","origin":null,"size":null,"root":null,"log_key":null,"witnesses":[],"first":null,"last":null,"query_id":null}`},
	} {
		got, err := json.Marshal(view.CheckOf(c.kind, "f", c.v, c.record))
		if err != nil || string(got) != c.want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, c.want)
		}
	}
}
