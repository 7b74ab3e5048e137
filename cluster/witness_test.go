package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/cluster"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/tree"
)

// keys are the key of a log, and that of a witness.
type keys struct {
	dir             string
	log, logKey     string // file, verifier key
	witness, cosign string // likewise
	cosigner        *evidence.Cosigner
}

func newKeys(t *testing.T) keys {
	t.Helper()
	k := keys{dir: t.TempDir()}
	k.log, k.witness = filepath.Join(k.dir, "log.key"), filepath.Join(k.dir, "witness.key")
	var err error
	if k.logKey, err = keyfile.Create(k.log, "example.org/cluster"); err != nil {
		t.Fatal(err)
	}
	if k.cosign, err = keyfile.CreateWitness(k.witness, "example.org/b"); err != nil {
		t.Fatal(err)
	}
	if k.cosigner, err = keyfile.ReadWitness(k.witness); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *keys) options() cluster.WitnessOptions {
	return cluster.WitnessOptions{Key: k.cosigner, Memory: k.witness + ".witnessed", Logs: []string{k.logKey}, Wait: 50 * time.Millisecond}
}

// policy writes the policy with the witness at an address, and returns its file and its text.
func (k *keys) policy(t *testing.T, url string) (file, text string) {
	t.Helper()
	file, text = filepath.Join(k.dir, "policy"), fmt.Sprintf("log %s\nwitness b %s %s\nquorum b\n", k.logKey, k.cosign, url)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, text
}

func newWitness(t *testing.T, n *cluster.Node, o cluster.WitnessOptions) *cluster.Witness {
	t.Helper()
	w, err := n.Witness(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// signing are the options of a node that signs.
func signing(name string, k *keys, policy string) cluster.Options {
	o := named(name)
	o.Store = []audit.Option{audit.WithSigner(audit.LogOptions{Key: k.log, Policy: policy, Every: time.Hour})}
	return o
}

// A node cosigns what another one signs if its own copy has the same records, and an auditor needs no more than the note. If it has other
// records, the cosignature is missing, and nothing else ends.
func TestANodeIsAWitnessOfAnother(t *testing.T) {
	t.Parallel()
	const records, bad = 300, 120
	for name, differs := range map[string]bool{"the same records": false, "other records": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			refill(l, 0, records)
			k := newKeys(t)
			of := cluster.Log(l)
			if differs {
				of = forged{l, another(bad)}
			}
			b := openNode(t, t.TempDir(), of, named("b"))
			w := newWitness(t, b, k.options())
			defer w.Close()
			server := httptest.NewServer(w)
			defer server.Close()
			file, policy := k.policy(t, server.URL)
			dir := t.TempDir()
			a := openNode(t, dir, l, signing("a", &k, file))
			for size := records; size <= records+20; size += 10 {
				for i := records; i < size; i++ {
					putOne(t, a, sample(i))
				}
				for _, n := range []*cluster.Node{a, b} {
					if err := n.WaitFor(t.Context(), max(a.Cursor(), records)); err != nil {
						t.Fatal(err)
					}
				}
				s, err := a.Sign(t.Context())
				if err != nil || s.Size != uint64(size) || (len(s.Failed) > 0) != differs {
					t.Fatalf("%+v, %v", s, err)
				}
				note, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
				if err != nil {
					t.Fatal(err)
				}
				trusted, err := evidence.ParsePolicy([]byte(policy))
				if err != nil {
					t.Fatal(err)
				}
				v := evidence.VerifyCheckpoint(note, trusted)
				if (v.Outcome == evidence.Proven) == differs || (len(v.Cosignatures) == 1) == differs {
					t.Errorf("%+v", v)
				}
				if !differs {
					continue
				}
				if text := fmt.Sprint(s.Failed); !strings.Contains(text, "other records") {
					t.Errorf("the failure is %s", text)
				}
			}
		})
	}
}

// ask gives a witness a checkpoint, and returns the status and the body of its answer.
func ask(w http.Handler, old int64, proof []tree.Hash, note []byte) (status int, body string) {
	request := fmt.Sprintf("old %d\n%s\n%s", old, evidence.FormatHashes(proof), note)
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/add-checkpoint", strings.NewReader(request)))
	return answer.Code, answer.Body.String()
}

// What a witness has cosigned it remembers, whatever becomes of its copy: it cosigns no other root of that size, and none that does not
// continue it.
func TestAWitnessRemembers(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	signer, err := keyfile.Read(k.log)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(n *cluster.Node, size int64) ([]byte, tree.TileReader) {
		_, tiles, err := n.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		root, err := tree.Root(tiles, size)
		if err != nil {
			t.Fatal(err)
		}
		note, err := evidence.Sign(evidence.Checkpoint{Origin: signer.Name(), Size: size, Root: root}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return note, tiles
	}
	open := func(from, records int) *cluster.Node {
		l := newLog(t)
		refill(l, from, records)
		n := openNode(t, t.TempDir(), l, fast)
		if err := n.WaitFor(t.Context(), uint64(records)); err != nil {
			t.Fatal(err)
		}
		return n
	}
	first, second := open(0, 50), open(1000, 50)
	w := newWitness(t, first, k.options())
	note20, tiles := signed(first, 20)
	note40, _ := signed(first, 40)
	proof, err := tree.Consistency(tiles, 20, 40)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		old    int64
		proof  []tree.Hash
		note   []byte
		status int
	}{
		{"the first one", 0, nil, note20, http.StatusOK},
		{"another old size", 10, nil, note40, http.StatusConflict},
		{"without a proof", 20, nil, note40, http.StatusUnprocessableEntity},
		{"the next one", 20, proof, note40, http.StatusOK},
		{"the same once more", 40, nil, note40, http.StatusOK},
		{"a smaller one", 0, nil, note20, http.StatusConflict},
		{"an old size that is too large", 40, nil, note20, http.StatusBadRequest},
		{"no note", 40, nil, []byte("nothing\n"), http.StatusForbidden},
	} {
		if status, body := ask(w, c.old, c.proof, c.note); status != c.status || status == http.StatusConflict && !strings.HasSuffix(body, "0\n") {
			t.Errorf("%s: %d %q, want %d", c.name, status, body, c.status)
		}
	}
	c, err := evidence.ReadUnverified(note40)
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(w, 40, nil, signedBy(t, signer.Name(), c)); status != http.StatusForbidden {
		t.Errorf("another key: %d", status)
	}
	other := signedBy(t, "example.org/other", c)
	if status, _ := ask(w, 40, nil, other); status != http.StatusNotFound {
		t.Errorf("another log: %d", status)
	}
	ahead, more := signed(open(0, 60), 60)
	if proof, err = tree.Consistency(more, 40, 60); err != nil {
		t.Fatal(err)
	}
	if status, _ := ask(w, 40, proof[1:], ahead); status != http.StatusUnprocessableEntity {
		t.Errorf("more records than the node has, which do not continue what was cosigned: %d", status)
	}
	if status, body := ask(w, 40, proof, ahead); status != http.StatusServiceUnavailable || !strings.Contains(body, "has 50 records yet") {
		t.Errorf("more records than the node has: %d %q", status, body)
	}
	// Two processes do not share a memory.
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := second.Witness(soon, k.options()); err == nil {
		t.Error("two witnesses have one memory")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	// The same witness with a copy of another history, which is all that it has now.
	w = newWitness(t, second, k.options())
	defer w.Close()
	fork40, _ := signed(second, 40)
	if status, _ := ask(w, 40, nil, fork40); status != http.StatusUnprocessableEntity {
		t.Errorf("another root of the size that was cosigned: %d", status)
	}
	if status, body := ask(w, 0, nil, fork40); status != http.StatusConflict || body != "40\n" {
		t.Errorf("as if nothing had been cosigned: %d %q", status, body)
	}
	if status, body := ask(w, 40, nil, note40); status != http.StatusServiceUnavailable || !strings.Contains(body, "other records") {
		t.Errorf("what this copy does not have: %d %q", status, body)
	}
}

// signedBy signs what a checkpoint says with a new key of another log.
func signedBy(t *testing.T, origin string, c evidence.Checkpoint) []byte {
	t.Helper()
	private, _, err := evidence.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := evidence.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	c.Origin = origin
	note, err := evidence.Sign(c, signer)
	if err != nil {
		t.Fatal(err)
	}
	return note
}

// A witness that has read the records of a checkpoint cosigns it as soon as its SQLite has them, also if nothing more comes.
func TestAWitnessWaitsForItsSQLite(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	k := newKeys(t)
	signer, err := keyfile.Read(k.log)
	if err != nil {
		t.Fatal(err)
	}
	a, b := openNode(t, t.TempDir(), l, named("a")), openNode(t, t.TempDir(), l, named("b"))
	o := k.options()
	o.Wait = 5 * time.Second
	w := newWitness(t, b, o)
	for old := int64(0); old < 50; old += 10 {
		refill(l, int(old), 10)
		if err := a.WaitFor(t.Context(), uint64(old)+10); err != nil {
			t.Fatal(err)
		}
		_, tiles, err := a.Tree(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		root, err := tree.Root(tiles, old+10)
		if err != nil {
			t.Fatal(err)
		}
		note, err := evidence.Sign(evidence.Checkpoint{Origin: signer.Name(), Size: old + 10, Root: root}, signer)
		if err != nil {
			t.Fatal(err)
		}
		var proof []tree.Hash
		if old > 0 {
			if proof, err = tree.Consistency(tiles, old, old+10); err != nil {
				t.Fatal(err)
			}
		}
		if status, body := ask(w, old, proof, note); status != http.StatusOK {
			t.Fatalf("%d records: %d %q", old+10, status, body)
		}
		if old == 40 {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if status, body := ask(w, 50, nil, note); status != http.StatusServiceUnavailable || !strings.Contains(body, "is closed") {
				t.Errorf("closed: %d %q", status, body)
			}
		}
	}
}

// A signing node whose copy has lost records, as after a power cut, opens, signs nothing meanwhile, and goes on when it has them again.
func TestASigningNodeThatLostRecordsCatchesUp(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	k := newKeys(t)
	refill(l, 0, 30)
	a := openNode(t, t.TempDir(), l, signing("a", &k, ""))
	if err := a.WaitFor(t.Context(), 30); err != nil {
		t.Fatal(err)
	}
	first, err := a.Sign(t.Context())
	if err != nil || first.Size != 30 {
		t.Fatalf("%+v, %v", first, err)
	}
	closeNode(t, a)
	a = openNode(t, t.TempDir(), l, signing("a", &k, "")) // its copy has nothing, and the memory of the key has 30
	putOne(t, a, sample(30))
	s, err := a.Sign(t.Context())
	if err != nil || s.Size != 31 {
		t.Fatalf("%+v, %v", s, err)
	}
}
