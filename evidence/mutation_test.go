package evidence_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/sequential"
)

// mutations yields every altered form of a text: each byte with each bit turned and each byte that means something to a
// parser, cut at each place, a byte taken out or put in at each place, each line dropped, doubled, swapped with each other.
func mutations(b []byte, yield func(what string, mutated []byte)) {
	try := func(what string, m []byte) {
		if !bytes.Equal(m, b) {
			yield(what, m)
		}
	}
	meaningful := []byte("\x00\t\n\r\x0b\x7f\x80\xff 0129+-=/AQgw#")
	if testing.Short() {
		meaningful = []byte("\n\r 0=")
	}
	for i := range b {
		m := slices.Clone(b)
		for bit := range 8 {
			m[i] = b[i] ^ 1<<bit
			try(fmt.Sprintf("byte %d, bit %d", i, bit), m)
		}
		for _, c := range meaningful {
			m[i] = c
			try(fmt.Sprintf("byte %d is %q", i, c), m)
		}
		try(fmt.Sprintf("cut at %d", i), b[:i])
		try(fmt.Sprintf("without byte %d", i), slices.Delete(slices.Clone(b), i, i+1))
	}
	for i := range len(b) + 1 {
		for _, c := range meaningful {
			try(fmt.Sprintf("%q put in at %d", c, i), slices.Insert(slices.Clone(b), i, c))
		}
	}
	try("twice", append(slices.Clone(b), b...))
	lines := bytes.SplitAfter(b, []byte("\n"))
	if len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	for i := range lines {
		try(fmt.Sprintf("without line %d", i+1), bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil))
		for j := range len(lines) + 1 {
			try(fmt.Sprintf("line %d again as line %d", i+1, j+1), bytes.Join(slices.Insert(slices.Clone(lines), j, lines[i]), nil))
			if j < i {
				m := slices.Clone(lines)
				m[i], m[j] = m[j], m[i]
				try(fmt.Sprintf("lines %d and %d swapped", j+1, i+1), bytes.Join(m, nil))
			}
		}
		try(fmt.Sprintf("an empty line before line %d", i+1), bytes.Join(slices.Insert(slices.Clone(lines), i, []byte("\n")), nil))
	}
	try("carriage returns", bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
}

// Nothing that was altered is proven, whatever was altered: the record, the proof, or the checkpoint in it. All keys that
// signed are in the policy, and all of them are needed.
//
// One alteration says the same: signatures have no order (c2sp.org/signed-note), so those two lines may be swapped.
func TestNothingAlteredIsProven(t *testing.T) {
	sequential.Test(t)
	t.Parallel()
	l := newLog(t, origin, 'l').grow(7)
	one, two := newWitness("one.example.com", '1'), newWitness("two.example.com", '2')
	signed := l.head(7)
	signed = append(signed, one.cosign(signed, 1700000000)...)
	signed = append(signed, two.cosign(signed, 1700000001)...)
	policy := l.policy("witness one "+one.public, "witness two "+two.public, "group both all one two", "quorum both")
	proof := l.proof(5, 7, signed)
	record := l.records[5]
	want(t, "what was not altered", evidence.Verify(record, proof, policy), evidence.Proven, "")

	sameSet := func(m []byte) bool { return slices.Equal(sortedLines(m), sortedLines(proof)) }
	tried, swaps := 0, 0
	mutations(proof, func(what string, m []byte) {
		tried++
		switch v := evidence.Verify(record, m, policy); {
		case v.Outcome != evidence.Proven:
		case strings.HasSuffix(what, " swapped") && sameSet(m):
			swaps++
		default:
			t.Errorf("the proof: %s: %s\n%s", what, v.Outcome, m)
		}
	})
	if tried < 10_000 || swaps != 3 { // three signatures are swapped in three ways
		t.Errorf("%d proofs tried, %d proven with their signatures swapped", tried, swaps)
	}
	mutations(record, func(what string, m []byte) {
		v := evidence.Verify(m, proof, policy)
		want(t, "the record: "+what, v, evidence.Refuted, evidence.NotIncluded)
	})
	swaps = 0
	mutations(signed, func(what string, m []byte) {
		if v := evidence.VerifyCheckpoint(m, policy); v.Outcome == evidence.Proven {
			if swaps++; !strings.HasSuffix(what, " swapped") {
				t.Errorf("the checkpoint: %s\n%s", what, m)
			}
		}
	})
	if swaps != 3 {
		t.Errorf("%d checkpoints proven with their signatures swapped", swaps)
	}
	// Without witnesses.
	short := l.proof(5, 7, l.head(7))
	mutations(short, func(what string, m []byte) {
		if v := evidence.Verify(record, m, l.policy("quorum none")); v.Outcome == evidence.Proven {
			t.Errorf("the proof without witnesses: %s\n%s", what, m)
		}
	})
	for i, other := range l.records {
		if i != 5 {
			want(t, fmt.Sprintf("record %d", i), evidence.Verify(other, proof, policy), evidence.Refuted, evidence.NotIncluded)
		}
	}
}

func sortedLines(b []byte) []string { return slices.Sorted(strings.Lines(string(b))) }

// Numbers near the real ones, and at the limits of their types, signed by the log itself: it lies about its size.
func TestNumbersAlteredBeforeSigning(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(300)
	policy := l.policy("quorum none")
	odd := func(n int64) []string {
		return []string{
			fmt.Sprint(n - 1), fmt.Sprint(n + 1), fmt.Sprint(2 * n), "-" + fmt.Sprint(n), "0" + fmt.Sprint(n), "+" + fmt.Sprint(n), "0", "1", "00", "-0", "",
			"2305843009213693952", "2305843009213693953", "4611686018427387904", "4611686018427387905", "9223372036854775807", "9223372036854775808",
			"18446744073709551615", "18446744073709551616", "-9223372036854775808", "99999999999999999999999", "1e3", "0x10", "1_0", "١",
		}
	}
	for _, index := range []int64{0, 1, 127, 128, 255, 256, 298, 299} {
		const size = 300
		signed := l.head(size)
		proof := string(l.proof(index, size, signed))
		record := l.records[index]
		want(t, "what was not altered", evidence.Verify(record, []byte(proof), policy), evidence.Proven, "")
		for _, n := range odd(index) {
			if n == fmt.Sprint(index) {
				continue
			}
			m := strings.Replace(proof, fmt.Sprintf("index %d\n", index), "index "+n+"\n", 1)
			if v := evidence.Verify(record, []byte(m), policy); v.Outcome == evidence.Proven {
				t.Errorf("record %d is proven at %s", index, n)
			}
		}
		head, _, _ := strings.Cut(string(signed), "\n\n")
		before, _, _ := strings.Cut(proof, string(signed))
		for _, n := range odd(size) {
			m := strings.Replace(proof, "\n300\n", "\n"+n+"\n", 1)
			if v := evidence.Verify(record, []byte(m), policy); v.Outcome == evidence.Proven {
				t.Errorf("record %d is proven in a log of %s records, which was not signed", index, n)
			}
			// A log that signs a false size. From 257 to 512 the way from a record to the root can be the same, so the
			// record is in the tree all the same; that the size is a lie shows in its next checkpoint.
			signed := l.foreignNote(strings.Replace(head, "\n300\n", "\n"+n+"\n", 1) + "\n")
			v := evidence.Verify(record, []byte(before+string(signed)), policy)
			if v.Outcome == evidence.Proven && (v.Checkpoint.Size < 257 || v.Checkpoint.Size > 512) {
				t.Errorf("record %d is proven in a log of %s records", index, n)
			}
		}
	}
}
