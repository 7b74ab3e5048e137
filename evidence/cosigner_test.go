package evidence_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// What a witness cosigns fits its verifier key in a policy. The key of a log is none of a witness, nor the other way round.
func TestACosigner(t *testing.T) {
	t.Parallel()
	private, public, err := evidence.GenerateKey("example.org/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := evidence.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	witnessPrivate, witnessPublic, err := evidence.GenerateWitnessKey("example.org/witness")
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := evidence.NewCosigner(witnessPrivate)
	if err != nil || cosigner.VerifierKey() != witnessPublic || cosigner.Name() != "example.org/witness" {
		t.Fatalf("%+v, %v", cosigner, err)
	}
	note, err := evidence.Sign(evidence.Checkpoint{Origin: "example.org/log", Size: 0, Root: tree.EmptyRoot()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := evidence.ParsePolicy([]byte("log " + public + "\nwitness one " + witnessPublic + "\nquorum one\n"))
	if err != nil {
		t.Fatal(err)
	}
	if v := evidence.VerifyCheckpoint(note, policy); v.Outcome == evidence.Proven {
		t.Errorf("without the witness: %+v", v)
	}
	at := time.Unix(1_800_000_000, 5)
	line, err := cosigner.Cosign(note, at)
	if err != nil {
		t.Fatal(err)
	}
	both, err := evidence.AddCosignatures(note, line, policy)
	if err != nil {
		t.Fatal(err)
	}
	v := evidence.VerifyCheckpoint(both, policy)
	if v.Outcome != evidence.Proven || len(v.Cosignatures) != 1 || v.Cosignatures[0].Time != at.Unix() || v.Cosignatures[0].Key != witnessPublic {
		t.Errorf("%+v", v)
	}
	other, err := evidence.Sign(evidence.Checkpoint{Origin: "example.org/log", Size: 1, Root: tree.EmptyRoot()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := evidence.AddCosignatures(other, line, policy); err == nil {
		t.Error("a cosignature fits another checkpoint")
	}
	if _, err := cosigner.Cosign(bytes.TrimSuffix(note, []byte("\n")), at); err == nil {
		t.Error("what is no note is cosigned")
	}
	if _, err := cosigner.Cosign(note, time.Unix(-1, 0)); err == nil {
		t.Error("a time before 1970 is signed")
	}
	for name, parse := range map[string]func() error{
		"a log's key for a witness": func() error { _, err := evidence.NewCosigner(private); return err },
		"a witness's key for a log": func() error { _, err := evidence.NewSigner(witnessPrivate); return err },
		"another name": func() error {
			_, err := evidence.NewCosigner(strings.Replace(witnessPrivate, "witness", "wotness", 1))
			return err
		},
	} {
		err := parse()
		if err == nil || strings.Contains(err.Error(), strings.Split(witnessPrivate, "+")[4]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
