package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	t_witness "github.com/transparency-dev/witness/witness"
	"golang.org/x/mod/sumdb/note"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/deliver"
	"github.com/auditsql/auditsql/tree"
)

// history is a log in memory. Logs with the same key and other records are other histories of it.
type history struct {
	t       testing.TB
	signer  *evidence.Signer
	records [][]byte
	edge    tree.Edge
	tiles   map[[2]int64][]byte
}

func newHistory(t testing.TB, signer *evidence.Signer) *history {
	return &history{t: t, signer: signer, tiles: map[[2]int64][]byte{}}
}

func newSigner(t testing.TB) *evidence.Signer {
	t.Helper()
	private, _, err := evidence.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := evidence.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// grow adds records until there are size of them.
func (h *history) grow(size int, name string) *history {
	for n := len(h.records); n < size; n++ {
		record := fmt.Appendf(nil, `{"history":%q,"n":%d}`, name, n)
		h.records = append(h.records, record)
		for _, full := range h.edge.Append(tree.LeafHash(record)) {
			h.tiles[[2]int64{int64(full.Level), full.N}] = full.Hashes
		}
	}
	return h
}

// at is the signed log as it was at the size.
func (h *history) at(size int64) deliver.Signed {
	h.t.Helper()
	tiles := h.edge.Reader(func(level int, n int64) ([]byte, error) { return h.tiles[[2]int64{int64(level), n}], nil })
	root, err := tree.Root(tiles, size)
	if err != nil {
		h.t.Fatal(err)
	}
	c := evidence.Checkpoint{Origin: h.signer.Name(), Size: size, Root: root}
	signed, err := evidence.Sign(c, h.signer)
	if err != nil {
		h.t.Fatal(err)
	}
	return deliver.Signed{Checkpoint: c, Note: signed, Tiles: tiles}
}

// memory is what a witness remembers.
type memory struct {
	mu     sync.Mutex
	latest map[string][]byte
}

func (m *memory) Init(context.Context) error { return nil }

func (m *memory) Latest(_ context.Context, origin string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latest[origin], nil
}

func (m *memory) Update(_ context.Context, origin string, next func([]byte) ([]byte, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, err := next(m.latest[origin])
	if err == nil {
		m.latest[origin] = now
	}
	return err
}

// answers are the status codes that a witness has answered with.
type answers struct {
	http.ResponseWriter
	list *[]int
}

func (a answers) WriteHeader(status int) {
	*a.list = append(*a.list, status)
	a.ResponseWriter.WriteHeader(status)
}

// serveWitness runs the witness of transparency-dev for a log, and returns its line in a policy and what it answers.
func serveWitness(t *testing.T, log *evidence.Signer, name string) (line string, answered *[]int) {
	t.Helper()
	cosigner := cosigners(t, 1)[0]
	verifier, err := note.NewVerifier(log.VerifierKey())
	if err != nil {
		t.Fatal(err)
	}
	w, err := t_witness.New(t.Context(), t_witness.Opts{
		Persistence: &memory{latest: map[string][]byte{}},
		Signers:     []note.Signer{cosigner},
		VerifierForLog: func(_ context.Context, origin string) (note.Verifier, bool, error) {
			return verifier, origin == log.Name(), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	answered = &[]int{}
	handler := t_witness.NewHTTPHandler(w)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /witness/add-checkpoint", func(w http.ResponseWriter, r *http.Request) {
		handler.AddCheckpoint(answers{w, answered}, r)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return fmt.Sprintf("witness %s %s %s/witness\n", name, cosigner.vkey, server.URL), answered
}

// The witness of transparency-dev cosigns our checkpoints, and its cosignatures count in a policy.
func TestAWitnessOfOthersCosigns(t *testing.T) {
	t.Parallel()
	signer := newSigner(t)
	h := newHistory(t, signer).grow(70_000, "a")
	one, answered := serveWitness(t, signer, "one")
	two, _ := serveWitness(t, signer, "two")
	policy := mustPolicy(t, "log "+signer.VerifierKey(), strings.TrimSpace(one), strings.TrimSpace(two), "group both all one two", "quorum both")
	w := deliver.NewWitnesses(policy, nil)
	for _, c := range []struct {
		size    int64
		restart bool
		seen    []int
	}{
		{1, false, []int{200}}, {255, false, []int{200}}, {256, true, []int{409, 200}}, {257, false, []int{200}}, {257, false, []int{200}}, {70_000, false, []int{200}},
	} {
		if c.restart {
			w = deliver.NewWitnesses(policy, nil)
		}
		*answered = nil
		signed, failed, err := w.Cosign(t.Context(), h.at(c.size))
		if err != nil || len(failed) > 0 {
			t.Fatalf("%d: %v, %v", c.size, failed, err)
		}
		if v := evidence.VerifyCheckpoint(signed, policy); v.Outcome != evidence.Proven || v.Checkpoint.Size != c.size {
			t.Errorf("%d: %+v", c.size, v)
		}
		if fmt.Sprint(*answered) != fmt.Sprint(c.seen) {
			t.Errorf("%d: the witness answered %d, not %d", c.size, *answered, c.seen)
		}
	}
}

// A row of "Who is caught" in docs/proof.md: somebody who has the key too. What two auditors see without a witness is in
// attack_key.txtar of cmd/auditsql.
//
// Whoever has the key of the log, and shows the witness another history, is told to stop. The witness has cosigned 400 records.
func TestAWitnessOfOthersStopsAnotherHistory(t *testing.T) {
	t.Parallel()
	signer := newSigner(t)
	h := newHistory(t, signer).grow(600, "a")
	for name, c := range map[string]struct {
		attack deliver.Signed
		seen   []int
	}{
		"other records, later":         {newHistory(t, signer).grow(300, "a").grow(600, "b").at(600), []int{409, 422}},
		"other records, the same size": {newHistory(t, signer).grow(300, "a").grow(400, "b").at(400), []int{409, 409}},
		"a record with an old date":    {newHistory(t, signer).grow(10, "a").grow(11, "backdated").grow(600, "a").at(500), []int{409, 422}},
		"set back":                     {h.at(399), []int{409}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			line, answered := serveWitness(t, signer, "one")
			policy := mustPolicy(t, strings.TrimSpace(line), "quorum none")
			if _, failed, err := deliver.NewWitnesses(policy, nil).Cosign(t.Context(), h.at(400)); err != nil || len(failed) > 0 {
				t.Fatalf("%v, %v", failed, err)
			}
			*answered = nil
			signed, _, err := deliver.NewWitnesses(policy, nil).Cosign(t.Context(), c.attack)
			var conflict *deliver.ConflictError
			if !errors.As(err, &conflict) || conflict.Cosigned != 400 || conflict.Size != c.attack.Checkpoint.Size {
				t.Errorf("got %v", err)
			}
			if !bytes.Equal(signed, c.attack.Note) {
				t.Errorf("it was cosigned: %q", signed)
			}
			if fmt.Sprint(*answered) != fmt.Sprint(c.seen) {
				t.Errorf("the witness answered %d, not %d", *answered, c.seen)
			}
			// The true log goes on.
			if _, failed, err := deliver.NewWitnesses(policy, nil).Cosign(t.Context(), h.at(600)); err != nil || len(failed) > 0 {
				t.Errorf("%v, %v", failed, err)
			}
		})
	}
}

// A witness that does not know the log, or knows it under another key, does not stop it.
func TestAWitnessOfOthersThatDoesNotKnowTheLog(t *testing.T) {
	t.Parallel()
	line, answered := serveWitness(t, newSigner(t), "one") // the same name, another key
	policy := mustPolicy(t, strings.TrimSpace(line), "quorum none")
	s := newHistory(t, newSigner(t)).grow(3, "a").at(3)
	_, failed, err := deliver.NewWitnesses(policy, nil).Cosign(t.Context(), s)
	if err != nil || failed["one"] == nil {
		t.Errorf("%v, %v", failed, err)
	}
	if len(*answered) != 1 || (*answered)[0] == 200 {
		t.Errorf("it answered %d", *answered)
	}
}
