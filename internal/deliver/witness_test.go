package deliver_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

// witness does what c2sp.org/tlog-witness asks of one. It knows every log. Module interop has one that others wrote.
type witness struct {
	t       testing.TB
	name    string
	private ed25519.PrivateKey

	mu   sync.Mutex
	last evidence.Checkpoint
	seen []string // the status and the old size of each request
}

func newWitness(t testing.TB, name string) *witness {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &witness{t: t, name: name, private: private}
}

func (w *witness) key() (name string, encoded []byte, id []byte) {
	encoded = append([]byte{4}, w.private.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(w.name+".example\n"), encoded...))
	return w.name + ".example", encoded, sum[:4]
}

// line is its line in a policy.
func (w *witness) line(url string) string {
	name, encoded, id := w.key()
	return fmt.Sprintf("witness %s %s+%x+%s %s\n", w.name, name, id, base64.StdEncoding.EncodeToString(encoded), url)
}

// cosign returns its signature line for a note.
func (w *witness) cosign(note []byte) []byte {
	const at = 1_795_400_000
	text, _, _ := bytes.Cut(note, []byte("\n\n"))
	signature := ed25519.Sign(w.private, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))
	name, _, id := w.key()
	return fmt.Appendf(nil, "— %s %s\n", name, base64.StdEncoding.EncodeToString(slices.Concat(id, binary.BigEndian.AppendUint64(nil, at), signature)))
}

func (w *witness) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	head, note, ok := bytes.Cut(body, []byte("\n\n"))
	c, parseErr := evidence.ReadUnverified(note)
	first, proof, _ := strings.Cut(string(head), "\n")
	var old int64
	_, scanErr := fmt.Sscanf(first, "old %d", &old)
	if proof != "" {
		proof += "\n"
	}
	hashes, hashErr := evidence.ParseHashes([]byte(proof))
	if err := errors.Join(err, parseErr, scanErr, hashErr); err != nil || !ok || r.Method != http.MethodPost || r.URL.Path != "/add-checkpoint" {
		w.t.Errorf("not a request: %s %s %q: %v", r.Method, r.URL, body, err)
	}
	status, answer := 200, w.cosign(note)
	switch root := w.last.Root; {
	case old > c.Size:
		status, answer = 400, nil
	case old != w.last.Size:
		out.Header().Set("Content-Type", "text/x.tlog.size")
		status, answer = 409, fmt.Appendf(nil, "%d\n", w.last.Size)
	default:
		if old == 0 {
			root = tree.EmptyRoot()
		}
		if tree.VerifyConsistency(hashes, old, c.Size, root, c.Root) != nil {
			status, answer = 422, nil
		} else {
			w.last = c
		}
	}
	w.seen = append(w.seen, fmt.Sprintf("%d from %d", status, old))
	out.WriteHeader(status)
	_, _ = out.Write(answer)
}

// take returns what it has answered since the last call.
func (w *witness) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := strings.Join(w.seen, ", ")
	w.seen = nil
	return seen
}

// serve returns the address of a web server.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func mustPolicy(t *testing.T, lines ...string) *evidence.Policy {
	t.Helper()
	p, err := evidence.ParsePolicy([]byte(strings.Join(lines, "") + "quorum none\n"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A witness is asked from where it is. What it is remembered; a process that knows nothing asks once more.
func TestWitnessesCosign(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(70_000, "a")
	one, two := newWitness(t, "one"), newWitness(t, "two")
	policy := mustPolicy(t, "log "+l.signer.VerifierKey()+"\n", one.line(serve(t, one)+"/"), two.line(serve(t, two)))
	w := deliver.NewWitnesses(policy, nil)
	fresh := func() { w = deliver.NewWitnesses(policy, nil) }
	for _, c := range []struct {
		size   int64
		before func()
		seen   string
	}{
		{0, nil, "200 from 0"}, {0, nil, "200 from 0"}, {1, nil, "200 from 0"}, {1, nil, "200 from 1"}, {255, nil, "200 from 1"},
		{256, fresh, "409 from 0, 200 from 255"}, {257, nil, "200 from 256"}, {257, fresh, "409 from 0, 200 from 257"}, {70_000, nil, "200 from 257"},
	} {
		if c.before != nil {
			c.before()
		}
		note, failed, err := w.Cosign(t.Context(), l.at(c.size))
		if err != nil || len(failed) > 0 {
			t.Fatalf("%d: %v, %v", c.size, failed, err)
		}
		if v := evidence.VerifyCheckpoint(note, policy); v.Outcome != evidence.Proven || len(v.Cosignatures) != 2 || v.Checkpoint.Size != c.size {
			t.Errorf("%d: %+v", c.size, v)
		}
		for _, w := range []*witness{one, two} {
			if seen := w.take(); seen != c.seen {
				t.Errorf("%d: the witness saw %q, not %q", c.size, seen, c.seen)
			}
		}
	}
}

// Whoever has the key and rewrites the log is told by a witness: another history, an inserted record, a log that was set back.
func TestAWitnessStopsAnotherHistory(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(600, "a")
	for name, c := range map[string]struct {
		attack   deliver.Signed
		cosigned int64
		says     string
	}{
		"the same size":     {l.another().grow(300, "a").grow(400, "b").at(400), 400, "two histories (a fork)"},
		"later":             {l.another().grow(300, "a").grow(600, "b").at(600), 400, "two histories (a fork)"},
		"an earlier record": {l.another().grow(10, "a").grow(11, "inserted").grow(600, "a").at(500), 400, "two histories (a fork)"},
		"set back":          {l.at(399), 400, "has cosigned 400 records of " + origin + ", and this checkpoint has 399: the store was set back"},
		"begun again":       {l.at(0), 400, "set back"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, two := newWitness(t, "one"), newWitness(t, "two")
			policy := mustPolicy(t, one.line(serve(t, one)), two.line(serve(t, two)))
			if _, _, err := deliver.NewWitnesses(mustPolicy(t, one.line(serve(t, one))), nil).Cosign(t.Context(), l.at(400)); err != nil {
				t.Fatal(err)
			}
			// The second witness has seen nothing yet, so it cosigns.
			note, failed, err := deliver.NewWitnesses(policy, nil).Cosign(t.Context(), c.attack)
			var conflict *deliver.ConflictError
			want := deliver.ConflictError{Witness: "one", Origin: origin, Size: c.attack.Checkpoint.Size, Cosigned: c.cosigned}
			if !errors.As(err, &conflict) || *conflict != want || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			if len(failed) != 1 || failed["one"] == nil {
				t.Errorf("failed: %v", failed)
			}
			if bytes.Count(note, []byte("— ")) != 2 || !bytes.Contains(note, []byte("— two.example ")) {
				t.Errorf("the note is %q", note)
			}
		})
	}
}

// A witness that does not cosign is told of, with the reason. Nothing it sends gets into the note, and the others are not held
// up. None of that stops the log.
func TestWitnessesThatFail(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(600, "a")
	s := l.at(600)
	good, bad, stranger := newWitness(t, "good"), newWitness(t, "bad"), newWitness(t, "stranger")
	elsewhere := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	answer := func(status int, mediaType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	lines := func(b ...[]byte) http.HandlerFunc { return answer(200, "text/plain", string(slices.Concat(b...))) }
	restless := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var old int
		_, _ = fmt.Sscanf(string(body), "old %d", &old)
		answer(409, "text/x.tlog.size", fmt.Sprintf("%d\n", old+1))(w, r)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"unknown log": {answer(404, "", ""), "it answered 404 Not Found: it does not know the log"},
		"unknown key": {answer(403, "", ""), "it answered 403 Forbidden: it does not know the key"},
		"busy":        {answer(429, "text/plain", "later,\nplease\n"), `it answered 429 Too Many Requests: "later,\nplease"`},
		"broken":      {answer(500, "", ""), "it answered 500 Internal Server Error: without a reason"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
		}, "it redirects to "},
		"another checkpoint":       {lines(bad.cosign(l.at(599).Note)), "does not fit the checkpoint"},
		"another witness":          {lines(good.cosign(s.Note)), "its answer has no signature by its key"},
		"an unknown witness":       {lines(stranger.cosign(s.Note)), "its answer has no signature by its key"},
		"one of two is wrong":      {lines(bad.cosign(s.Note), bad.cosign(l.at(599).Note)), "does not fit the checkpoint"},
		"no signature":             {lines([]byte("thank you\n")), "it is not a signature"},
		"nothing":                  {lines(), "signatures: it is empty"},
		"a whole note":             {lines(s.Note), "it is not a signature"},
		"too long":                 {lines(bytes.Repeat(bad.cosign(s.Note), 1000)), "is longer than 65536 bytes"},
		"a size without its type":  {answer(409, "text/plain", "5\n"), "it has cosigned another size, and does not say which"},
		"no size":                  {answer(409, "text/x.tlog.size", ""), "does not say which"},
		"a size that is none":      {answer(409, "text/x.tlog.size", "05\n"), "does not say which"},
		"a size that is too large": {answer(409, "text/x.tlog.size", "9223372036854775807\n"), "does not say which"},
		"a size without end":       {answer(409, "text/x.tlog.size", "5"), "does not say which"},
		"the same size again":      {answer(409, "text/x.tlog.size", "5\n"), "again and again"},
		"ever another size":        {restless, "again and again that it has another size, now 4"},
		"hangs": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the client is gone
			<-r.Context().Done()
		}, "exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			policy := mustPolicy(t, bad.line(serve(t, c.answer)), newWitness(t, "silent").line(""), good.line(serve(t, newWitnessLike(good))))
			client := &http.Client{}
			if name == "hangs" {
				client.Timeout = 50 * time.Millisecond
			}
			note, failed, err := deliver.NewWitnesses(policy, client).Cosign(t.Context(), s)
			if err != nil {
				t.Fatalf("it stops the log: %v", err)
			}
			if failed["bad"] == nil || !strings.Contains(failed["bad"].Error(), c.says) || strings.Contains(failed["bad"].Error(), "\n") {
				t.Errorf("got %v", failed["bad"])
			}
			delete(failed, "bad")
			if len(failed) != 1 || failed["silent"] == nil || failed["silent"].Error() != "the policy has no URL for it" {
				t.Errorf("failed: %v", slices.Collect(maps.Values(failed)))
			}
			if want := slices.Concat(s.Note, good.cosign(s.Note)); !bytes.Equal(note, want) {
				t.Errorf("the note is %q", note)
			}
		})
	}
}

// newWitnessLike is a witness with the same key that has seen nothing.
func newWitnessLike(w *witness) *witness { return &witness{t: w.t, name: w.name, private: w.private} }

// All witnesses are asked at once: the first one answers only after the second one was asked.
func TestWitnessesAreAskedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(3, "a")
	one, two := newWitness(t, "one"), newWitness(t, "two")
	asked := make(chan struct{})
	first := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-asked
		one.ServeHTTP(w, r)
	})
	second := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		two.ServeHTTP(w, r)
	})
	policy := mustPolicy(t, one.line(serve(t, first)), two.line(serve(t, second)))
	if _, failed, err := deliver.NewWitnesses(policy, nil).Cosign(t.Context(), l.at(3)); err != nil || len(failed) > 0 {
		t.Errorf("%v, %v", failed, err)
	}
}

// Witnesses get no proof that a corrupt tree gives, nor a checkpoint that is older than what they cosigned in this process.
func TestWitnessesAreNotAsked(t *testing.T) {
	t.Parallel()
	l := newLog(t).grow(600, "a")
	one := newWitness(t, "one")
	policy := mustPolicy(t, one.line(serve(t, one)))
	w := deliver.NewWitnesses(policy, nil)
	if _, _, err := w.Cosign(t.Context(), l.at(300)); err != nil {
		t.Fatal(err)
	}
	one.take()
	s := l.at(600)
	s.Tiles = flipped{s.Tiles, 0, 100}
	// A tree of 300 leaves is the root of the first tile and 44 leaves, which the wrong bit is not in; the proof has no leaf of
	// the first tile either. From 3 on it has.
	if _, failed, err := w.Cosign(t.Context(), s); err != nil || len(failed) > 0 {
		t.Errorf("%v, %v", failed, err)
	}
	one.take()
	two := newWitness(t, "two")
	two.last = l.at(3).Checkpoint
	_, failed, err := deliver.NewWitnesses(mustPolicy(t, two.line(serve(t, two))), nil).Cosign(t.Context(), s)
	if err != nil || failed["two"] == nil || !strings.Contains(failed["two"].Error(), "the stored tree is corrupt") {
		t.Errorf("%v, %v", failed, err)
	}
	if seen := two.take(); seen != "409 from 0" {
		t.Errorf("the witness saw %q", seen)
	}
	var conflict *deliver.ConflictError
	if _, _, err := w.Cosign(t.Context(), l.at(300)); err == nil || errors.As(err, &conflict) {
		t.Errorf("an older checkpoint: %v", err)
	}
	if seen := one.take(); seen != "" {
		t.Errorf("the witness saw %q", seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if note, failed, err := w.Cosign(ctx, l.at(600)); err != nil || !errors.Is(failed["one"], context.Canceled) || !bytes.Equal(note, l.at(600).Note) {
		t.Errorf("%v, %v", failed, err)
	}
}
