package evidence_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
)

// Which witnesses are a quorum, by rules of every kind. A digit stands for the witness w1 to w6.
func TestQuorum(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(3)
	head := l.head(3)
	var lines []string
	var witnesses []*testWitness
	for i := range 6 {
		w := newWitness(fmt.Sprintf("w%d.example.com", i+1), byte('1'+i))
		witnesses = append(witnesses, w)
		lines = append(lines, fmt.Sprintf("witness w%d %s https://w%d.example.com/", i+1, w.public, i+1))
	}
	for _, c := range []struct{ rule, met, unmet string }{
		{"quorum none", " 1 123456", ""},
		{"quorum w1", "1 12 123456", " 2 23456"},
		{"group g all w1 w2 w3\nquorum g", "123 123456", " 1 12 23 12456"},
		{"group g any w1 w2 w3\nquorum g", "1 2 3 456123", " 4 456"},
		{"group g 2 w1 w2 w3\nquorum g", "12 13 23 123", " 1 2 3 1456"},
		{"group g 1 w1\nquorum g", "1", " 2"},
		// The example of tlog-policy: two of three of one operator, and any of another.
		{"group x 2 w1 w2 w3\ngroup y any w4 w5 w6\ngroup x-and-y all x y\nquorum x-and-y", "124 135 236 123456", " 123 456 14 12 345"},
		{"group x all w1 w2\ngroup y 2 x w3 w4\nquorum y", "123 124 34 1234", " 12 13 14 3 4 2"},
		{"group x all w1 w2\nquorum w3", "3 123", " 12"}, // a group that nobody asks for
	} {
		policy := l.policy(append(append([]string{"# comment", "\t", " \t# another +#"}, lines...), c.rule)...)
		check := func(sets string, outcome evidence.Outcome, reason evidence.Reason) {
			for set := range strings.SplitSeq(sets, " ") {
				signed := bytes.Clone(head)
				for _, digit := range set {
					signed = append(signed, witnesses[digit-'1'].cosign(head, 5)...)
				}
				want(t, fmt.Sprintf("%q with %q", c.rule, set), evidence.VerifyCheckpoint(signed, policy), outcome, reason)
			}
		}
		check(c.met, evidence.Proven, "")
		if c.unmet != "" {
			check(c.unmet, evidence.Undecided, evidence.NoQuorum)
		}
	}
	p := l.policy(append(lines, "quorum none")...)
	if w := p.Witnesses(); len(w) != 6 || w[1].Name != "w2" || w[1].Key != witnesses[1].public || w[1].URL != "https://w2.example.com/" {
		t.Errorf("%+v", w)
	}
}

func TestPoliciesThatAreRefused(t *testing.T) {
	t.Parallel()
	_, log, _ := keyText(origin, 1, 'l')
	_, sameLog, _ := keyText("other.example.com", 1, 'l')
	_, w1, _ := keyText("w1.example.com", 4, '1')
	_, w2, _ := keyText("w2.example.com", 4, '2')
	_, w3, _ := keyText("w3.example.com", 4, '3')
	_, sameW1, _ := keyText("w9.example.com", 4, '1')
	_, mldsa, _ := keyText("w3.example.com", 6, '3')
	three := "witness a " + w1 + "\nwitness b " + w2 + "\nwitness c " + w3 + "\n"
	for _, c := range []struct{ text, want string }{
		{"", `policy: the line "quorum NAME" is missing: "quorum none" means that no witness must sign`},
		{"log " + log + "\n", `policy: the line "quorum NAME" is missing`},
		{"quorum none", "policy, line 1: the last line does not end in a line feed: the text was cut"},
		{"quorum none\r\n", "policy, line 1: it has a carriage return: lines end in a line feed alone"},
		{"#\x00\nquorum none\n", "policy, line 1: it has a control character"},
		{"#\x7f\nquorum none\n", "policy, line 1: it has a control character"},
		{"quorum none\nquorum none\n", "policy, line 2: a second quorum line"},
		{"quorum\n", "policy, line 1: the form is: quorum NAME"},
		{"quorum none # no comment here\n", "policy, line 1: the form is: quorum NAME"},
		{"Quorum none\n", `policy, line 1: "Quorum" is not one of log, witness, group, quorum`},
		{"quorum a\n" + three, `policy, line 1: "a" is not defined on a line before: it is neither a witness nor a group`},
		{"log\n", "policy, line 1: the form is: log KEY [URL]"},
		{"log " + log + " url more\n", "policy, line 1: the form is: log KEY [URL]"},
		{"log " + log + "\nlog " + log + "\n", "policy, line 2: the public key is the same as that of the log " + origin},
		{"log " + log + "\nlog " + sameLog + "\n", "policy, line 2: the public key is the same as that of the log " + origin},
		{"log " + w1 + "\n", "policy, line 1: the key is one of a witness"},
		{"log " + log[:len(log)-1] + "\n", "policy, line 1: verifier key: "},
		{"log\u00a0" + log + "\n", "policy, line 1: "}, // a space that is none here
		{"witness a\n", "policy, line 1: the form is: witness NAME KEY [URL]"},
		{"witness a " + log + "\n", "policy, line 1: the key is one of a log"},
		{"witness a " + mldsa + "\n", "policy, line 1: verifier key: the key has a type that is not supported"},
		{"witness none " + w1 + "\n", `policy, line 1: the name "none" is reserved`},
		{"witness a " + w1 + "\nwitness a " + w2 + "\n", `policy, line 2: the name "a" is already defined`},
		{"witness a " + w1 + "\nwitness b " + w1 + "\n", "policy, line 2: the public key is the same as that of the witness a: no witness counts twice"},
		{"witness a " + w1 + "\nwitness b " + sameW1 + "\n", "policy, line 2: the public key is the same as that of the witness a: no witness counts twice"},
		{three + "group g any\n", "policy, line 4: the form is: group NAME all|any|NUMBER MEMBER [MEMBER]"},
		{three + "group g 0 a\n", `policy, line 4: "0" of 1 members: it is all, any, or a number from 1 to 1`},
		{three + "group g 3 a b\n", `policy, line 4: "3" of 2 members: it is all, any, or a number from 1 to 2`},
		{three + "group g 02 a b\n", `policy, line 4: "02" of 2 members`},
		{three + "group g +1 a b\n", `policy, line 4: "+1" of 2 members`},
		{three + "group g ANY a b\n", `policy, line 4: "ANY" of 2 members`},
		{three + "group g 99999999999999999999 a b\n", "policy, line 4: "},
		{three + "group g any d\n", `policy, line 4: "d" is not defined on a line before: it is neither a witness nor a group`},
		{three + "group g any none\n", `policy, line 4: "none" is not defined on a line before: it is neither a witness nor a group`},
		{three + "group g any g\n", `policy, line 4: "g" is not defined on a line before: it is neither a witness nor a group`},
		{three + "group g 2 a a\n", `policy, line 4: "a" is already in a group: no witness counts twice`},
		{three + "group g any a\ngroup h 2 a g\n", `policy, line 5: "a" is already in a group: no witness counts twice`},
		{three + "group a any b\n", `policy, line 4: the name "a" is already defined`},
		{three + "group none any b\n", `policy, line 4: the name "none" is reserved`},
		{strings.Repeat("#", 1<<20) + "\n", "policy: it has 1048577 bytes, more than 1048576"},
	} {
		_, err := evidence.ParsePolicy([]byte(c.text))
		var parse *evidence.ParseError
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.As(err, &parse) {
			t.Errorf("%.80q: %v, not %s", c.text, err, c.want)
		}
	}
}

func TestAddCosignatures(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(5)
	one, two, stranger := newWitness("one.example.com", '1'), newWitness("two.example.com", '2'), newWitness("three.example.com", '3')
	policy := l.policy("witness one "+one.public, "witness two "+two.public, "group both all one two", "quorum both")
	head := l.head(5)
	add := func(signed []byte, answer ...[]byte) []byte {
		t.Helper()
		b, err := evidence.AddCosignatures(signed, bytes.Join(answer, nil), policy)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	got := add(head, stranger.cosign(head, 1), one.cosign(head, 2))
	if w := string(head) + string(one.cosign(head, 2)); string(got) != w {
		t.Errorf("one witness:\n%s, not\n%s", got, w)
	}
	want(t, "one of two", evidence.VerifyCheckpoint(got, policy), evidence.Undecided, evidence.NoQuorum)
	got = add(got, two.cosign(head, 3))
	want(t, "two of two", evidence.VerifyCheckpoint(got, policy), evidence.Proven, "")
	got = add(got, one.cosign(head, 9))
	if v := evidence.VerifyCheckpoint(got, policy); len(v.Cosignatures) != 2 || v.Cosignatures[1].Time != 9 {
		t.Errorf("a newer one: %+v", v)
	}
	for what, answer := range map[string][]byte{
		"of another checkpoint": one.cosign(l.head(4), 2),
		"no signature":          []byte("refused\n"),
		"nothing":               nil,
		"a carriage return":     bytes.ReplaceAll(one.cosign(head, 2), []byte("\n"), []byte("\r\n")),
	} {
		if b, err := evidence.AddCosignatures(head, answer, policy); err == nil {
			t.Errorf("%s:\n%s", what, b)
		}
	}
	full := append(bytes.Clone(head), many(99)...)
	if _, err := evidence.AddCosignatures(full, one.cosign(head, 2), policy); err == nil || !strings.HasSuffix(err.Error(), "more than 100 signatures") {
		t.Errorf("a checkpoint that has 100 signatures already: %v", err)
	}
	if b, err := evidence.AddCosignatures(head, one.cosign(head, 2), nil); err != nil || !bytes.Equal(b, head) {
		t.Errorf("without a policy: %v\n%s", err, b)
	}
	if _, err := evidence.AddCosignatures([]byte("no checkpoint\n"), one.cosign(head, 2), policy); err == nil {
		t.Error("no checkpoint")
	}
}
