package evidence_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/tree"
)

// Each way to write a proof or a checkpoint that is not the one way has a message of its own, with the line.
func TestStrictForms(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(7)
	signed := string(l.head(7))
	proof := string(l.proof(3, 7, []byte(signed)))
	lines := strings.SplitAfter(signed, "\n")
	root, signature := lines[2], lines[4]
	first := strings.Split(proof, "\n")[2]
	uncanonical := func(s string) string { // turns the last bit that no byte uses
		i := strings.LastIndex(s, "=") - 1
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		return s[:i] + string(alphabet[strings.IndexByte(alphabet, s[i])+1]) + s[i+1:]
	}
	checkpoint := func(b []byte) error { _, err := evidence.ReadUnverified(b); return err }
	parse := func(b []byte) error { _, err := evidence.ParseProof(b); return err }
	if err := errors.Join(checkpoint([]byte(signed)), parse([]byte(proof))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		read     func([]byte) error
		from, to string // what is replaced once
		want     string
	}{
		{checkpoint, signed, "", "checkpoint: it is empty"},
		{checkpoint, "\n", "\r\n", "checkpoint, line 1: it has a carriage return: lines end in a line feed alone"},
		{checkpoint, "\n" + root, "\r\n" + root, "checkpoint, line 2: it has a carriage return: lines end in a line feed alone"},
		{checkpoint, "log", "lo\x01g", "checkpoint, line 1: it has a control character"},
		{checkpoint, "log", "lo\xffg", "checkpoint, line 1: it is not valid UTF-8"},
		{checkpoint, "=\n\n", "=\n", "checkpoint, line 4: an extension line: a checkpoint has three lines, an empty one and signatures"},
		{checkpoint, "=\n\n", "=\nextension\n\n", "checkpoint, line 4: an extension line: a checkpoint has three lines, an empty one and signatures"},
		{checkpoint, origin + "\n", "\n", "checkpoint, line 1: the origin: the name is empty"},
		{checkpoint, origin + "\n", "a b\n", "checkpoint, line 1: the origin: the name has a space or a control character in it"},
		{checkpoint, origin + "\n", "a\u2028b\n", "checkpoint, line 1: the origin: the name has a space or a control character in it"},
		{checkpoint, origin + "\n", "a+b\n", "checkpoint, line 1: the origin: the name has a plus in it, which separates the parts of a key"},
		{checkpoint, "\n7\n", "\n07\n", "checkpoint, line 2: the size: it begins with a zero or a sign"},
		{checkpoint, "\n7\n", "\n00\n", "checkpoint, line 2: the size: it begins with a zero or a sign"},
		{checkpoint, "\n7\n", "\n+7\n", "checkpoint, line 2: the size: it begins with a zero or a sign"},
		{checkpoint, "\n7\n", "\n-7\n", "checkpoint, line 2: the size: it begins with a zero or a sign"},
		{checkpoint, "\n7\n", "\n7 \n", "checkpoint, line 2: the size: it is not a number in decimal digits"},
		{checkpoint, "\n7\n", "\n\n", "checkpoint, line 2: the size: it is not a number in decimal digits"},
		{checkpoint, "\n7\n", "\n7.0\n", "checkpoint, line 2: the size: it is not a number in decimal digits"},
		{checkpoint, "\n7\n", "\n2305843009213693953\n", "checkpoint, line 2: the size: it is larger than any log, which has at most 2305843009213693952 records"},
		{checkpoint, "\n7\n", "\n99999999999999999999\n", "checkpoint, line 2: the size: it is larger than any log, which has at most 2305843009213693952 records"},
		{checkpoint, root, uncanonical(root), "checkpoint, line 3: the root: its base64 is not canonical: the last bits, which no byte uses, are not zero"},
		{checkpoint, root, strings.Replace(root, "=", "", 1), "checkpoint, line 3: the root: it is not standard base64 with padding"},
		{checkpoint, root, " " + root, "checkpoint, line 3: the root: it is not standard base64 with padding"},
		{checkpoint, root, root[4:], "checkpoint, line 3: the root: it has 29 bytes, a hash has 32"},
		{checkpoint, "\n\n" + signature, "\n", "checkpoint, line 4: it is not signed: an empty line and signatures are missing"},
		{checkpoint, signature, "", "checkpoint, line 5: signatures are missing"},
		{checkpoint, signature, signature[:len(signature)-1], "checkpoint, line 5: the last line does not end in a line feed: the text was cut"},
		{checkpoint, signature, signature + signature, "checkpoint, line 6: the signature is there twice"},
		{checkpoint, signature, signature + "\n", "checkpoint, line 6: it is not a signature: a signature begins with an em dash and a space"},
		{checkpoint, signature, "\n" + signature, "checkpoint, line 5: it is not a signature: a signature begins with an em dash and a space"},
		{checkpoint, "— ", "- ", "checkpoint, line 5: it is not a signature: a signature begins with an em dash and a space"},
		{checkpoint, "— ", "—  ", "checkpoint, line 5: the key of the signature: the name is empty"},
		{checkpoint, signature, "— " + origin + " AAAAAA==\n", "checkpoint, line 5: the signature has 4 bytes: the id of the key alone has 4"},
		{checkpoint, signature, uncanonical(signature), "checkpoint, line 5: the signature: its base64 is not canonical: the last bits, which no byte uses, are not zero"},
		{checkpoint, signature, signature[:len(signature)-1] + " \n", "checkpoint, line 5: the signature: it is not standard base64 with padding"},
		{checkpoint, signature, many(101), "checkpoint, line 105: more than 100 signatures"},
		{checkpoint, signature, strings.Repeat("x", 1<<20), fmt.Sprintf("checkpoint: it has %d bytes, more than %d", len(signed)-len(signature)+1<<20, 1<<20)},

		{parse, proof, "", "proof: it is empty"},
		{parse, "@v1\n", "@v2\n", `proof, line 1: it is not "c2sp.org/tlog-proof@v1"`},
		{parse, "@v1\n", "@v1\r\n", "proof, line 1: it has a carriage return: lines end in a line feed alone"},
		{parse, "index", "Index", `proof, line 2: it does not begin with "index "`},
		{parse, "index 3", "index 03", "proof, line 2: the index: it begins with a zero or a sign"},
		{parse, "index 3", "index  3", "proof, line 2: the index: it is not a number in decimal digits"},
		{parse, "index 3", "extra \nindex 3", "proof, line 2: the extra data is empty: the line must be left out"},
		{parse, "index 3", "extra AB==\nindex 3", "proof, line 2: the extra data: its base64 is not canonical: the last bits, which no byte uses, are not zero"},
		{parse, "index 3", "extra A\nindex 3", "proof, line 2: the extra data: it is not standard base64 with padding"},
		{parse, "index 3", "extra AAAA\nextra AAAA\nindex 3", `proof, line 3: it does not begin with "index "`},
		{parse, first, uncanonical(first), "proof, line 3: the hash: its base64 is not canonical: the last bits, which no byte uses, are not zero"},
		{parse, first, "AAAA", "proof, line 3: the hash: it has 3 bytes, a hash has 32"},
		{parse, first, strings.Repeat(first+"\n", 59) + first, "proof, line 64: more than 61 hashes, which no proof has"},
		{parse, "=\n\n" + signed, "=\n", "proof, line 6: the checkpoint is missing: an empty line and a signed checkpoint come after the hashes"},
		{parse, signed, "", "proof, line 7: the origin: the name is empty"},
		{parse, "\n7\n", "\n07\n", "proof, line 8: the size: it begins with a zero or a sign"},
		{parse, signature, "", "proof, line 11: signatures are missing"},
	} {
		from := signed
		if strings.HasPrefix(c.want, "proof") {
			from = proof
		}
		altered := strings.Replace(from, c.from, c.to, 1)
		if altered == from {
			t.Errorf("%q is not in the text", c.from)
		}
		err := c.read([]byte(altered))
		var parse *evidence.ParseError
		if err == nil || err.Error() != c.want || !errors.As(err, &parse) {
			t.Errorf("%.60q for %.60q:\n%v, not\n%s", c.to, c.from, err, c.want)
		}
	}
	if err := checkpoint([]byte(strings.Replace(signed, signature, many(100), 1))); err != nil {
		t.Errorf("100 signatures: %v", err)
	}
}

// many returns signatures by keys that nobody knows.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "— key%d AAAAAAAA\n", i)
	}
	return b.String()
}

func TestTexts(t *testing.T) {
	t.Parallel()
	l := newLog(t, origin, 'l').grow(300)
	signed := l.head(300)
	for _, index := range []int64{0, 255, 299} {
		text := l.proof(index, 300, signed)
		p, err := evidence.ParseProof(text)
		if err != nil || !bytes.Equal(p.Text(), text) || p.Index != index || !bytes.Equal(p.Checkpoint, signed) {
			t.Errorf("%d: %v\n%s", index, err, p.Text())
		}
		p.Extra = []byte("more")
		q, err := evidence.ParseProof(p.Text())
		if err != nil || string(q.Extra) != "more" || !bytes.Equal(q.Text(), p.Text()) {
			t.Errorf("with extra data: %v\n%s", err, p.Text())
		}
		h := evidence.FormatHashes(p.Hashes)
		if got, err := evidence.ParseHashes(h); err != nil || !slices.Equal(got, p.Hashes) {
			t.Errorf("hashes: %v (%v)", got, err)
		}
	}
	if got, err := evidence.ParseHashes(nil); err != nil || len(got) != 0 {
		t.Errorf("no hashes: %v (%v)", got, err)
	}
	for _, h := range []string{"\n", "AAAA\n", strings.Repeat("A", 43) + "=", strings.Repeat("A", 43) + "=\r\n"} {
		if _, err := evidence.ParseHashes([]byte(h)); err == nil {
			t.Errorf("%q is a list of hashes", h)
		}
	}
	if _, err := evidence.ParseProof(nil); err == nil {
		t.Error("nothing is a proof")
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	private, public, err := evidence.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := evidence.NewSigner(private)
	if err != nil || s.VerifierKey() != public || s.Name() != origin {
		t.Fatalf("%v: %s, not %s", err, s.VerifierKey(), public)
	}
	if p, err := evidence.KeyPolicy(public); err != nil || p.Logs()[0].Origin != origin || p.Text() != "log "+public+"\nquorum none\n" {
		t.Fatal(err)
	}
	for _, name := range []string{"", "a b", "a+b", "a\nb", "\xff", "a\x00"} {
		if _, _, err := evidence.GenerateKey(name); err == nil {
			t.Errorf("a key for %q", name)
		}
		if _, err := evidence.Sign(evidence.Checkpoint{Origin: name}, s); err == nil {
			t.Errorf("a checkpoint of %q", name)
		}
	}
	for _, c := range []evidence.Checkpoint{{Origin: "other"}, {Origin: origin, Size: -1}, {Origin: origin, Size: tree.MaxSize + 1}} {
		if _, err := evidence.Sign(c, s); err == nil {
			t.Errorf("%+v is signed", c)
		}
	}
	const name = "example.com/foo"
	private, public, _ = keyText(name, 1, 'k')
	_, witness, _ := keyText(name, 4, 'k')
	_, foreign, _ := keyText(name, 6, 'k')
	id := strings.Split(public, "+")[1]
	for _, c := range []struct{ key, want string }{
		{"", "verifier key: it does not have the form NAME+ID+KEY"},
		{name + "+" + id, "verifier key: it does not have the form NAME+ID+KEY"},
		{strings.Replace(public, name, "", 1), "verifier key: the name is empty"},
		{strings.Replace(public, name, name+"x", 1), "but name and key have"},
		{strings.Replace(public, id, strings.ToUpper(id), 1), "is not 8 digits of lower-case hex"},
		{strings.Replace(public, id, "0"+id, 1), "is not 8 digits of lower-case hex"},
		{strings.Replace(public, id, "00000000", 1), "but name and key have " + id},
		{public + "\n", "verifier key: the key: it is not standard base64 with padding"},
		{public + "=", "verifier key: the key: it is not standard base64 with padding"},
		{public[:len(public)-4], "verifier key: the key has 30 bytes, not 33"},
		{strings.TrimRight(public, "=") + "A===", "verifier key: the key: it is not standard base64 with padding"},
		{foreign, "verifier key: the key has a type that is not supported: a log has type 1 (Ed25519), a witness type 4 (its cosignature)"},
		{name + "+" + id + "+", "verifier key: the key has a type that is not supported"},
		{witness, "policy, line 1: the key is one of a witness: a log has type 1 (Ed25519)"},
	} {
		_, err := evidence.KeyPolicy(c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, not %s", c.key, err, c.want)
		}
	}
	_, otherPrivate, _ := keyText(name, 4, 'k')
	for _, c := range []struct{ key, want string }{
		{"", "it does not begin with PRIVATE+KEY+"},
		{public, "it does not begin with PRIVATE+KEY+"},
		{"PRIVATE+KEY+" + name, "it does not have the form PRIVATE+KEY+NAME+ID+KEY"},
		{strings.Replace(private, name, "a b", 1), "the name has a space"},
		{private + "\n", "it is not standard base64"},
		{private[:len(private)-4], "it is not an Ed25519 key"},
		{"PRIVATE+KEY+" + otherPrivate, "it is the key of a witness, and not that of a log"},
		{strings.Replace(private, id, "00000000", 1), "the id does not fit name and key"},
		{strings.Replace(private, name, name+"x", 1), "the id does not fit name and key"},
	} {
		_, err := evidence.NewSigner(c.key)
		if err == nil || !strings.Contains(err.Error(), "private key: "+c.want) {
			t.Errorf("%q: %v, not %s", c.key, err, c.want)
		}
		if secret := private[len(private)-20:]; err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("the error has the private key in it: %v", err)
		}
	}
}
