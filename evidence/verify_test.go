package evidence_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/sequential"
	"github.com/auditsql/auditsql/tree"
)

// What a verifier found about one checkpoint says nothing about another one, however alike they are.
func TestAVerifierChecksEachCheckpoint(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(10)
	head, stranger := l.head(10), newLog(t, origin, 's').grow(10)
	altered := bytes.Clone(head)
	altered[len(altered)-40] ^= 1
	witness := newWitness("one.example.com", '1')
	proven := evidence.NewVerifier(l.policy("witness one "+witness.public, "quorum none"))
	for n, c := range []struct {
		signed []byte
		record int
		reason evidence.Reason
	}{
		{head, 3, ""}, {head, 4, evidence.NotIncluded}, {altered, 3, evidence.BadSignature}, {head, 3, ""}, {stranger.head(10), 3, evidence.UnknownKey},
		{altered, 3, evidence.BadSignature}, {slices.Concat(head, witness.cosign(head, 5)), 3, ""}, {head, 3, ""}, {l.head(9), 3, ""},
	} {
		v := proven.Verify(l.records[c.record], l.proof(3, 9+int64(len(strings.Split(string(c.signed), "\n")[1])-1), c.signed))
		if v.Reason != c.reason {
			t.Errorf("proof %d: %s, want %q", n, v.Detail, c.reason)
		}
		for i := range v.Cosignatures { // which belong to the caller
			v.Cosignatures[i].Witness = ""
		}
	}
}

// Who signed what, and what a verifier makes of it.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(10)
	stranger, other := newLog(t, origin, 's').grow(10), newLog(t, "other.example.com", 'o').grow(10)
	one, two := newWitness("one.example.com", '1'), newWitness("two.example.com", '2')
	head := l.head(10)
	with := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{head}, parts...), nil) }
	policy := l.policy("witness one "+one.public, "witness two "+two.public, "group any any one two", "quorum any")
	liar := newWitness("one.example.com", '1').cosign(l.head(9), 5) // of another checkpoint

	for _, c := range []struct {
		what    string
		record  int
		signed  []byte
		policy  *evidence.Policy
		outcome evidence.Outcome
		reason  evidence.Reason
	}{
		{"the log alone is asked for", 3, head, l.policy("quorum none"), evidence.Proven, ""},
		{"one witness is asked for", 3, with(one.cosign(head, 5)), policy, evidence.Proven, ""},
		{"a witness that nobody knows signed too", 3, with(one.cosign(head, 5), newWitness("three.example.com", '3').cosign(head, 5)), policy, evidence.Proven, ""},
		{"a witness of the largest time", 3, with(one.cosign(head, math.MaxInt64)), policy, evidence.Proven, ""},
		{"no witness signed", 3, head, policy, evidence.Undecided, evidence.NoQuorum},
		{"only a witness that nobody knows signed", 3, with(newWitness("three.example.com", '3').cosign(head, 5)), policy, evidence.Undecided, evidence.NoQuorum},
		{"a witness of the same name with another key signed", 3, with(newWitness("one.example.com", 'x').cosign(head, 5)), policy, evidence.Undecided, evidence.NoQuorum},
		{"a witness signed another checkpoint", 3, with(liar), policy, evidence.Refuted, evidence.BadSignature},
		{"a witness signed another checkpoint, another one this", 3, with(two.cosign(head, 5), liar), policy, evidence.Refuted, evidence.BadSignature},
		{"a witness of a time that no clock has", 3, with(one.cosign(head, math.MaxInt64+1)), policy, evidence.Refuted, evidence.BadSignature},
		{"a witness of a time before all clocks", 3, with(one.cosignAs(head, math.MaxUint64, "-1")), policy, evidence.Refuted, evidence.BadSignature},
		{"a witness of another time than it says", 3, with(one.cosignAs(head, 5, "6")), policy, evidence.Refuted, evidence.BadSignature},
		{"a witness signed twice", 3, with(one.cosign(head, 5), one.cosign(head, 6)), policy, evidence.Undecided, evidence.Unreadable},
		{"a witness signed twice, and another record", 4, with(one.cosign(head, 5), one.cosign(head, 6)), policy, evidence.Undecided, evidence.Unreadable},
		{"a bad cosignature, and another record", 4, with(liar), policy, evidence.Refuted, evidence.BadSignature},
		{"another key of the same name signed", 3, stranger.head(10), l.policy("quorum none"), evidence.Undecided, evidence.UnknownKey},
		{"a log that is not in the policy", 3, other.head(10), l.policy("quorum none"), evidence.Undecided, evidence.UnknownKey},
		{"the witness is the only one that is known", 3, with(one.cosign(head, 5)), stranger.policy("witness one "+one.public, "quorum one"), evidence.Undecided, evidence.UnknownKey},
		{"no policy", 3, head, nil, evidence.Undecided, evidence.UnknownKey},
		{"the zero policy", 3, head, &evidence.Policy{}, evidence.Undecided, evidence.UnknownKey},
		{"another record", 4, head, l.policy("quorum none"), evidence.Refuted, evidence.NotIncluded},
		{"another record, and no quorum", 4, head, policy, evidence.Refuted, evidence.NotIncluded},
		{"another record, and an unknown key", 4, head, stranger.policy("quorum none"), evidence.Undecided, evidence.UnknownKey},
		{"another log's checkpoint signed with this log's key", 3,
			l.foreignNote("other.example.com\n" + strings.SplitAfterN(string(head), "\n", 2)[1][:48]), l.policy("log "+other.signer.VerifierKey(), "quorum none"),
			evidence.Undecided, evidence.UnknownKey},
	} {
		v := evidence.Verify(l.records[c.record], l.proof(3, 10, c.signed), c.policy)
		want(t, c.what, v, c.outcome, c.reason)
		if c.outcome == evidence.Proven && (v.Index != 3 || v.Checkpoint.Size != 10 || v.LogKey != l.signer.VerifierKey()) {
			t.Errorf("%s: %+v", c.what, v)
		}
	}
	v := evidence.Verify(l.records[3], l.proof(3, 10, with(two.cosign(head, 77))), policy)
	if len(v.Cosignatures) != 1 || v.Cosignatures[0] != (evidence.Cosignature{Witness: "two", Key: two.public, Time: 77}) {
		t.Errorf("cosignatures: %+v", v.Cosignatures)
	}
	extra := bytes.Replace(l.proof(3, 10, head), []byte("index"), []byte("extra AAAA\nindex"), 1)
	want(t, "extra data", evidence.Verify(l.records[3], extra, l.policy("quorum none")), evidence.Undecided, evidence.Unreadable)
	want(t, "no proof", evidence.Verify(l.records[3], nil, l.policy("quorum none")), evidence.Undecided, evidence.Unreadable)
	if (evidence.Verdict{}).Err() == nil || (evidence.Verdict{}).Outcome.String() != "undecided" {
		t.Error("the zero verdict proves something")
	}
}

// Two checkpoints: the second continues the first, or it is a fork.
func TestConsistency(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(600)
	fork := newLog(t, origin, 'l').grow(3)
	fork.records = append(fork.records, []byte("another record"))
	fork.edge.Append(tree.LeafHash(fork.records[3]))
	fork.grow(600)
	policy := l.policy("quorum none")
	proof := func(old, size int64) []tree.Hash {
		p, err := tree.Consistency(l.reader(), old, size)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, old := range []int64{0, 1, 3, 256, 300, 599, 600} {
		v := evidence.VerifyConsistency(l.head(old), l.head(600), proof(old, 600), policy)
		want(t, "a log that grew", v, evidence.Proven, "")
		if v.Checkpoint.Size != 600 {
			t.Errorf("the verdict is about %d records", v.Checkpoint.Size)
		}
		if old > 3 {
			want(t, "a fork", evidence.VerifyConsistency(fork.head(old), l.head(600), proof(old, 600), policy), evidence.Refuted, evidence.NotContinued)
		}
	}
	want(t, "two in the wrong order", evidence.VerifyConsistency(l.head(600), l.head(300), proof(300, 600), policy), evidence.Undecided, evidence.NotMatching)
	want(t, "a fork of this size", evidence.VerifyConsistency(fork.head(600), l.head(600), nil, policy), evidence.Refuted, evidence.NotContinued)
	want(t, "another proof", evidence.VerifyConsistency(l.head(300), l.head(600), proof(301, 600), policy), evidence.Refuted, evidence.NotContinued)
	want(t, "an unreadable one", evidence.VerifyConsistency([]byte("x"), l.head(600), nil, policy), evidence.Undecided, evidence.Unreadable)
	other := newLog(t, "other.example.com", 'o').grow(300)
	both := l.policy("log "+other.signer.VerifierKey(), "quorum none")
	want(t, "an unknown key", evidence.VerifyConsistency(other.head(300), l.head(600), proof(300, 600), policy), evidence.Undecided, evidence.UnknownKey)
	want(t, "an unknown key, newer", evidence.VerifyConsistency(l.head(300), other.head(300), nil, policy), evidence.Undecided, evidence.UnknownKey)
	want(t, "two logs", evidence.VerifyConsistency(other.head(300), l.head(600), proof(300, 600), both), evidence.Undecided, evidence.OtherLog)
}

// lines is records as an export has them.
func lines(records [][]byte) io.Reader {
	var b bytes.Buffer
	for _, r := range records {
		b.Write(r)
		b.WriteByte('\n')
	}
	return &b
}

// All records between two checkpoints, or up to one: nothing may be missing, added, changed or moved.
func TestCompleteness(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(600)
	policy := l.policy("quorum none")
	frontier := func(size int64) *tree.Frontier {
		f, err := tree.ReadFrontier(l.reader(), size)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	splice := func(records ...[]byte) [][]byte { return records }
	between := l.records[250:520]
	moved := append(splice(between[1], between[0]), between[2:]...)
	changed := append(splice([]byte("changed")), between[1:]...)
	doubled := append(splice(between[0]), between[:len(between)-1]...)
	for _, c := range []struct {
		what    string
		records [][]byte
		outcome evidence.Outcome
		reason  evidence.Reason
	}{
		{"all", between, evidence.Proven, ""},
		{"the first missing", between[1:], evidence.Refuted, evidence.OtherRecords},
		{"the last missing", between[:len(between)-1], evidence.Refuted, evidence.OtherRecords},
		{"none", nil, evidence.Refuted, evidence.OtherRecords},
		{"two moved", moved, evidence.Refuted, evidence.OtherRecords},
		{"one changed", changed, evidence.Refuted, evidence.OtherRecords},
		{"one twice, another missing", doubled, evidence.Refuted, evidence.OtherRecords},
		{"more than the checkpoint has", l.records[250:521], evidence.Undecided, evidence.NotCovered},
		{"others, and more", append(changed, l.records[520]), evidence.Refuted, evidence.OtherRecords},
	} {
		want(t, "between: "+c.what, evidence.VerifyRange(l.head(250), l.head(520), frontier(250), lines(c.records), policy), c.outcome, c.reason)
		// The same records as the whole of a log.
		whole := newLog(t, origin, 'l')
		for _, r := range between {
			whole.records = append(whole.records, r)
			whole.edge.Append(tree.LeafHash(r))
		}
		want(t, "export: "+c.what, evidence.VerifyExport(lines(c.records), whole.head(int64(len(between))), policy), c.outcome, c.reason)
	}
	want(t, "nothing between", evidence.VerifyRange(l.head(250), l.head(250), frontier(250), lines(nil), policy), evidence.Proven, "")
	want(t, "an empty log", evidence.VerifyExport(lines(nil), l.head(0), policy), evidence.Proven, "")
	want(t, "the edge of another size", evidence.VerifyRange(l.head(250), l.head(520), frontier(251), lines(between), policy), evidence.Undecided, evidence.NotMatching)
	wrong, err := tree.NewFrontier(4, make([]tree.Hash, 1))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the edge of another log", evidence.VerifyRange(l.head(4), l.head(5), wrong, lines(l.records[4:5]), policy), evidence.Undecided, evidence.NotMatching)
	want(t, "no edge", evidence.VerifyRange(l.head(4), l.head(5), nil, lines(l.records[4:5]), policy), evidence.Undecided, evidence.NotMatching)
	want(t, "an older one that is newer", evidence.VerifyRange(l.head(520), l.head(250), frontier(520), lines(nil), policy), evidence.Undecided, evidence.NotMatching)
	want(t, "an unknown key", evidence.VerifyExport(lines(l.records), l.head(600), &evidence.Policy{}), evidence.Undecided, evidence.UnknownKey)

	broken := io.MultiReader(lines(l.records[:1]), iotest.ErrReader(errors.New("the disk is gone")))
	v := evidence.VerifyExport(broken, l.head(600), policy)
	want(t, "records that cannot be read", v, evidence.Undecided, evidence.Unreadable)
	if v.Detail != "record 1: the disk is gone" {
		t.Error(v.Detail)
	}
	whole, err := io.ReadAll(lines(l.records))
	if err != nil {
		t.Fatal(err)
	}
	v = evidence.VerifyExport(bytes.NewReader(whole[:len(whole)-1]), l.head(600), policy)
	want(t, "an export without the end of its last line", v, evidence.Undecided, evidence.Unreadable)
	if v.Detail != "record 599: its line does not end in a line feed: the text was cut" {
		t.Error(v.Detail)
	}
}

// An export of many blocks, with lines that are longer than a block, and as long as a record may be.
func TestLongExports(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	l := newLog(t, origin, 'l')
	policy := l.policy("quorum none")
	for n := range 40 {
		length := 100_000
		switch n {
		case 7:
			length = 3 << 20
		case 20:
			length = evidence.MaxRecord
		}
		record := bytes.Repeat([]byte{byte('a' + n)}, length)
		l.records = append(l.records, record)
		l.edge.Append(tree.LeafHash(record))
	}
	whole, err := io.ReadAll(lines(l.records))
	if err != nil {
		t.Fatal(err)
	}
	want(t, "all", evidence.VerifyExport(bytes.NewReader(whole), l.head(40), policy), evidence.Proven, "")
	want(t, "in small pieces", evidence.VerifyExport(iotest.HalfReader(bytes.NewReader(whole)), l.head(40), policy), evidence.Proven, "")
	want(t, "two moved", evidence.VerifyExport(lines(append(slices.Clone(l.records[1:]), l.records[0])), l.head(40), policy), evidence.Refuted, evidence.OtherRecords)
	tooLong := io.MultiReader(lines(l.records[:3]), bytes.NewReader(make([]byte, 2*evidence.MaxRecord)))
	v := evidence.VerifyExport(tooLong, l.head(40), policy)
	want(t, "a line that is too long", v, evidence.Undecided, evidence.Unreadable)
	if v.Detail != "record 3: its line is longer than 16777216 bytes" {
		t.Error(v.Detail)
	}
}
