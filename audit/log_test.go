package audit_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/tree"
)

// newKey makes a private key, and returns its file and the verifier key.
func newKey(t testing.TB) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	public, err := keyfile.Create(file, "log.example.com/test")
	if err != nil {
		t.Fatal(err)
	}
	return file, public
}

// signedStore makes a store with some records whose log is signed, and closes it.
func signedStore(t testing.TB, n int) (dir, key string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	key, _ = newKey(t)
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour}))
	putSamples(t, db, 0, n)
	closeDB(t, db)
	return dir, key
}

// checkpointIn reads a signed checkpoint, and checks that the key has signed it.
func checkpointIn(t testing.TB, file, public string) evidence.Checkpoint {
	t.Helper()
	note, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	policy, err := evidence.KeyPolicy(public)
	if err != nil {
		t.Fatal(err)
	}
	v := evidence.VerifyCheckpoint(note, policy)
	if err := v.Err(); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v.Checkpoint
}

func wantLog(t testing.TB, db *audit.DB) *audit.LogState {
	t.Helper()
	state, err := db.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// copyDir copies a folder, in place of what has its name.
func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
		t.Fatal(err)
	}
}

func TestALogIsSignedOnDemandAndAtTheEnd(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	key, public := newKey(t)
	o := audit.LogOptions{Key: key, Every: time.Hour}
	db := openDB(t, dir, audit.WithSigner(o))
	if sig, err := db.Sign(t.Context()); err != nil || sig.New || sig.Size != 0 {
		t.Errorf("an empty store: %+v, %v", sig, err)
	}
	putSamples(t, db, 0, 300)
	sig, err := db.Sign(t.Context())
	size, root, rootErr := db.Root(t.Context())
	if err != nil || rootErr != nil || !sig.New || sig.Size != size || sig.Root != root || size != 300 {
		t.Errorf("%+v, %v; the store has %d, %s, %v", sig, err, size, root, rootErr)
	}
	if again, err := db.Sign(t.Context()); err != nil || again.New || again.Size != 300 || again.Root != root {
		t.Errorf("%+v, %v", again, err)
	}
	if have := checkpointIn(t, filepath.Join(dir, "checkpoint"), public); have.Size != 300 || have.Root != root {
		t.Errorf("%+v", have)
	}
	putSamples(t, db, 300, 310)
	if s := wantLog(t, db); s.Size != 300 || s.Problem != nil {
		t.Errorf("%+v", s)
	}
	closeDB(t, db)
	if have := checkpointIn(t, key+".signed", public); have.Size != 310 {
		t.Errorf("%+v", have)
	}
	// Without the option, the store goes on to be signed.
	db = openDB(t, dir)
	putSamples(t, db, 310, 311)
	closeDB(t, db)
	if db.CloseNote() != "" {
		t.Error(db.CloseNote())
	}
	if have := checkpointIn(t, filepath.Join(dir, "checkpoint"), public); have.Size != 311 {
		t.Errorf("%+v", have)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	if s := wantLog(t, reader); s.Size != 311 || s.Origin != "log.example.com/test" || s.VerifierKey != public || s.SignedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	if all, err := reader.Checkpoints(t.Context(), 2); err != nil || len(all) != 2 || all[0].Size != 310 || all[1].Size != 311 {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := reader.Sign(t.Context()); !errors.Is(err, audit.ErrReadOnly) {
		t.Errorf("got %v", err)
	}
}

func TestALogIsSignedNowAndThen(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	signed := make(chan uint64, 100)
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithSigner(audit.LogOptions{Key: key}), audit.WithSignEvery(time.Millisecond),
		audit.WithMetrics(audit.Metrics{Signed: func(size uint64, _ time.Duration) { signed <- size }}))
	for n := range 3 {
		putSamples(t, db, n*10, n*10+10)
		for size := range signed {
			if size == uint64(n*10+10) {
				break
			}
		}
	}
}

// A signature that takes for ever keeps no put from returning.
func TestNoPutWaitsForASignature(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	begun, goOn := make(chan bool), make(chan bool)
	db := openDB(t, filepath.Join(t.TempDir(), "store"), audit.WithSigner(audit.LogOptions{Key: key}), audit.WithSignEvery(time.Millisecond),
		audit.WithMetrics(audit.Metrics{Signed: func(uint64, time.Duration) {
			select {
			case begun <- true:
				<-goOn
			case <-goOn:
			}
		}}))
	putSamples(t, db, 0, 1)
	<-begun
	putSamples(t, db, 1, 500)
	if size, _, err := db.Root(t.Context()); err != nil || size != 500 {
		t.Errorf("%d, %v", size, err)
	}
	close(goOn)
	closeDB(t, db)
}

func TestAPlaceThatHangsDelaysNothing(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the command is one of a shell")
	}
	dir := filepath.Join(t.TempDir(), "store")
	key, public := newKey(t)
	folder, got := filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "got")
	const hanging = "exec sleep 100000"
	delivered := make(chan string, 100)
	db := openDB(t, dir, audit.WithDelivering(time.Millisecond), audit.WithMetrics(audit.Metrics{Delivered: func(place string, _ time.Duration, _ error) {
		if place != hanging {
			delivered <- place
		}
	}}), audit.WithSigner(audit.LogOptions{
		Key: key, Every: time.Hour, Publish: []string{folder}, Exec: []string{"sleep 100000", "cat > '" + got + "'", "echo no room; exit 3"},
	}))
	putSamples(t, db, 0, 300)
	// The places that work get the checkpoint although another one hangs.
	impatient, cancel := context.WithCancelCause(t.Context())
	go func() {
		for range 3 {
			<-delivered
		}
		cancel(errors.New("that is enough"))
	}()
	sig, err := db.Sign(impatient)
	if err != nil || !sig.New || len(sig.Failed) != 2 || !strings.Contains(sig.Failed["exec echo no room; exit 3"].Error(), "no room") ||
		!strings.Contains(sig.Failed[hanging].Error(), "that is enough") {
		t.Errorf("%+v, %v", sig, err)
	}
	for _, name := range []string{got, filepath.Join(folder, "checkpoint")} {
		if cp := checkpointIn(t, name, public); cp.Size != 300 || cp.Root != sig.Root {
			t.Errorf("%s: %+v", name, cp)
		}
	}
	putSamples(t, db, 300, 310)
	closeDB(t, db)
	if !strings.Contains(db.CloseNote(), hanging+" did not get the newest checkpoint in time") {
		t.Error(db.CloseNote())
	}
	if cp := checkpointIn(t, filepath.Join(dir, "checkpoint"), public); cp.Size != 310 {
		t.Errorf("%+v", cp)
	}
	// What was not delivered is delivered by the next opening.
	db = openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour, Publish: []string{folder}, Exec: []string{"cat > '" + got + "'"}}))
	if sig, err := db.Sign(t.Context()); err != nil || sig.New || len(sig.Failed) != 0 {
		t.Errorf("%+v, %v", sig, err)
	}
	for _, name := range []string{got, filepath.Join(folder, "checkpoint")} {
		if cp := checkpointIn(t, name, public); cp.Size != 310 {
			t.Errorf("%s: %+v", name, cp)
		}
	}
	if s := wantLog(t, db); len(s.Places) != 2 || s.Places[0].Size != 310 || s.Places[1].Size != 310 || s.Places[0].Error != "" {
		t.Errorf("%+v", s)
	}
}

// The signer looks again and again for places that lack the newest checkpoint. One to which it is on its way gets it once.
func TestACheckpointOnItsWayIsNotSentTwice(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the command is one of a shell")
	}
	dir := filepath.Join(t.TempDir(), "store")
	key, _ := newKey(t)
	begun, end := filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "end")
	// The first place takes its time. The second one fails, and so is tried again in every round.
	slow, failing := "echo x >> '"+begun+"'; until test -e '"+end+"'; do sleep 0.01; done", "exit 3"
	rounds, arrived := make(chan struct{}), make(chan struct{})
	arrive := sync.OnceFunc(func() { close(arrived) })
	left := 5
	db := openDB(t, dir, audit.WithSignEvery(time.Millisecond), audit.WithMetrics(audit.Metrics{Delivered: func(place string, _ time.Duration, _ error) {
		switch {
		case place == "exec "+slow:
			arrive()
		case left > 0:
			if _, err := os.Stat(begun); err == nil {
				if left--; left == 0 {
					close(rounds)
				}
			}
		}
	}}), audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour, Exec: []string{slow, failing}}))
	put(t, db, sample(1))
	<-rounds
	if err := os.WriteFile(end, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-arrived
	closeDB(t, db)
	if got := must(os.ReadFile(begun)); string(got) != "x\n" {
		t.Errorf("it was sent %d times", len(got)/2)
	}
}

// Without the key, everything but the signature goes on, and what is wrong is said.
func TestPutsGoOnWithoutTheKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose string // beside the key
		want error
	}{"key": {"", audit.ErrNoKey}, "memory": {".signed", audit.ErrNoMemory}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, key := signedStore(t, 10)
			was, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(key+c.lose, key+".away"); err != nil {
				t.Fatal(err)
			}
			// Also for a program that always says how the log is signed.
			closeDB(t, openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour})))
			db := openDB(t, dir)
			if notes := strings.Join(db.Recovery().Notes, "\n"); !strings.Contains(notes, "nothing is signed: "+c.want.Error()) {
				t.Errorf("the opening says %q", notes)
			}
			putSamples(t, db, 10, 20)
			if _, err := db.Sign(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			if s, err := db.Stats(t.Context()); err != nil || s.Log == nil || s.Log.Size != 10 || !errors.Is(s.Log.Problem, c.want) {
				t.Errorf("%+v, %v", s.Log, err)
			}
			closeDB(t, db)
			if now, err := os.ReadFile(filepath.Join(dir, "checkpoint")); err != nil || string(now) != string(was) {
				t.Errorf("%q, %v", now, err)
			}
			if _, err := os.Stat(key + c.lose); err == nil {
				t.Errorf("%s was made again", key+c.lose)
			}
			if err := os.Rename(key+".away", key+c.lose); err != nil {
				t.Fatal(err)
			}
			db = openDB(t, dir)
			if sig, err := db.Sign(t.Context()); err != nil || !sig.New || sig.Size != 20 {
				t.Errorf("%+v, %v", sig, err)
			}
		})
	}
}

// A store that was restored from a backup has fewer records than were signed.
func TestARestoredBackupIsRefused(t *testing.T) {
	t.Parallel()
	dir, key := signedStore(t, 10)
	backup := filepath.Join(t.TempDir(), "backup")
	db := openDB(t, dir)
	if _, err := db.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	// A copy that is as new as the original may be opened, and is signed as the original is.
	closeDB(t, openDB(t, backup))
	putSamples(t, db, 10, 20)
	closeDB(t, db)

	if _, err := audit.Open(backup); !errors.Is(err, audit.ErrBehind) {
		t.Errorf("the memory is newer than the copy: got %v", err)
	}
	if _, err := audit.Recover(t.Context(), backup); !errors.Is(err, audit.ErrBehind) {
		t.Errorf("a recovery: got %v", err)
	}
	reader := openDB(t, backup, audit.ReadOnly())
	if got := exported(t, reader); len(got) != 10 {
		t.Errorf("%d records can be read", len(got))
	}
	closeDB(t, reader)

	// While the memory is away, nothing but the copy's own checkpoint says what was signed. It gets records, and no signature.
	if err := os.Rename(key+".signed", key+".away"); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, backup)
	putSamples(t, db, 100, 115)
	if _, err := db.Sign(t.Context()); !errors.Is(err, audit.ErrNoMemory) {
		t.Errorf("got %v", err)
	}
	closeDB(t, db)
	if err := os.Rename(key+".away", key+".signed"); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(backup); !errors.Is(err, audit.ErrForked) {
		t.Errorf("other records under an index that was signed: got %v", err)
	}
	closeDB(t, openDB(t, dir)) // the original is as it was
}

// log.json that is newer than the rest of the store says that the journal has lost records.
func TestALogThatIsNewerThanTheJournal(t *testing.T) {
	t.Parallel()
	dir, _ := signedStore(t, 10)
	older := filepath.Join(t.TempDir(), "older")
	copyDir(t, dir, older)
	db := openDB(t, dir)
	putSamples(t, db, 10, 20)
	closeDB(t, db)
	newer, err := os.ReadFile(filepath.Join(dir, "log.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(older, "log.json"), newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(older); !errors.Is(err, audit.ErrBehind) || !strings.Contains(err.Error(), "only log.json says so") {
		t.Errorf("got %v", err)
	}
}

// SQLite that was built anew from another journal has another root.
func TestARebuildWithAnotherPastIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	closeDB(t, openDB(t, dir))
	other := filepath.Join(t.TempDir(), "other")
	copyDir(t, dir, other)
	key, _ := newKey(t)
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key}))
	putSamples(t, db, 0, 10)
	closeDB(t, db)
	db = openDB(t, other)
	putSamples(t, db, 50, 70)
	closeDB(t, db)
	copyDir(t, filepath.Join(other, "wal"), filepath.Join(dir, "wal"))
	store, err := os.ReadFile(filepath.Join(other, "store.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "store.json"), store, 0o600); err != nil {
		t.Fatal(err)
	}
	removeSQLite(t, dir)
	var mismatch *audit.MismatchError
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrForked) || !errors.As(err, &mismatch) || mismatch.Signed.Size != 10 {
		t.Errorf("got %v", err)
	}
}

// What an earlier process has applied and nobody has signed is hashed again before it is signed.
func TestRecordsAreHashedAgainBeforeTheyAreSigned(t *testing.T) {
	t.Parallel()
	was := sample(15)
	altered := strings.Replace(canonical(t, &was), "revenue", "Revenue", 1)
	leaf := tree.LeafHash([]byte(altered))
	for name, c := range map[string]struct{ set, says string }{
		"a record":              {fmt.Sprintf(`value = x'%x'`, altered), was.QueryID.String()},
		"a record and its hash": {fmt.Sprintf(`value = x'%x', leaf = x'%x'`, altered, leaf[:]), "the tree is not that of the records 10 to 19"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, key := signedStore(t, 10)
			if err := os.Rename(key, key+".away"); err != nil {
				t.Fatal(err)
			}
			db := openDB(t, dir)
			putSamples(t, db, 10, 20)
			closeDB(t, db)
			sqlite := openShell(t, dir)
			sqlite.unguarded(fmt.Sprintf(`UPDATE kv SET %s WHERE key = x'004155443a%s'`, c.set, was.QueryID))
			if err := sqlite.db.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(key+".away", key); err != nil {
				t.Fatal(err)
			}
			db = openDB(t, dir)
			if _, err := db.Sign(t.Context()); !errors.Is(err, audit.ErrDamaged) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v", err)
			}
			closeDB(t, db)
			if !strings.Contains(db.CloseNote(), "the newest records are not signed") {
				t.Error(db.CloseNote())
			}
		})
	}
}

func TestWhatASignerRefuses(t *testing.T) {
	t.Parallel()
	dir, key := signedStore(t, 10)
	inside := filepath.Join(dir, "key")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(inside, content, 0o600); err != nil {
		t.Fatal(err)
	}
	other, _ := newKey(t)
	empty := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(empty, []byte("quorum none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    audit.LogOptions
		want error
	}{
		"no key":                     {audit.LogOptions{}, audit.ErrInvalid},
		"a key that is missing":      {audit.LogOptions{Key: key + "2"}, audit.ErrNoKey},
		"a key in the store":         {audit.LogOptions{Key: inside}, audit.ErrInvalid},
		"another key":                {audit.LogOptions{Key: other}, audit.ErrInvalid},
		"the key itself":             {audit.LogOptions{Key: strings.TrimSuffix(string(content), "\n")}, audit.ErrInvalid},
		"a key that is published":    {audit.LogOptions{Key: key, Publish: []string{filepath.Dir(key)}}, audit.ErrInvalid},
		"another name":               {audit.LogOptions{Key: key, Origin: "log.example.com/other"}, audit.ErrInvalid},
		"a cadence below nothing":    {audit.LogOptions{Key: key, Every: -1}, audit.ErrInvalid},
		"a folder in the store":      {audit.LogOptions{Key: key, Publish: []string{filepath.Join(dir, "log")}}, audit.ErrInvalid},
		"the store as a folder":      {audit.LogOptions{Key: key, Publish: []string{dir}}, audit.ErrInvalid},
		"a command that is empty":    {audit.LogOptions{Key: key, Exec: []string{" "}}, audit.ErrInvalid},
		"a policy that is missing":   {audit.LogOptions{Key: key, Policy: key + "2"}, audit.ErrInvalid},
		"a policy without a witness": {audit.LogOptions{Key: key, Policy: empty}, audit.ErrInvalid},
	} {
		_, err := audit.Open(dir, audit.WithSigner(c.o))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE+KEY") {
			t.Errorf("%s: the error has the key: %v", name, err)
		}
	}
	db := openDB(t, filepath.Join(t.TempDir(), "store"))
	if _, err := db.Sign(t.Context()); !errors.Is(err, audit.ErrNoLog) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrLogFile) {
		t.Errorf("got %v", err)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	if s, err := reader.Stats(t.Context()); err != nil || s.Log == nil || !errors.Is(s.Log.Problem, audit.ErrLogFile) {
		t.Errorf("%+v, %v", s.Log, err)
	}
}

// testWitness signs what it is asked to, or refuses with a status.
func testWitness(t *testing.T, status int) (line string) {
	t.Helper()
	return witnessWith(t, status, func() {})
}

// slowWitness says when it is asked, and does not answer before the channel answer is closed.
func slowWitness(t *testing.T, asked chan<- struct{}, answer <-chan struct{}) (line string) {
	t.Helper()
	return witnessWith(t, http.StatusOK, func() {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-answer
	})
}

func witnessWith(t *testing.T, status int, before func()) (line string) {
	t.Helper()
	private := ed25519.NewKeyFromSeed([]byte(strings.Repeat("w", ed25519.SeedSize)))
	public := append([]byte{4}, private.Public().(ed25519.PublicKey)...)
	const name = "witness.example.com"
	id := sha256.Sum256(append([]byte(name+"\n"), public...))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		before()
		body, err := io.ReadAll(r.Body)
		_, note, _ := strings.Cut(string(body), "\n\n")
		text, _, _ := strings.Cut(note, "\n\n")
		if err != nil || status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
		at := time.Now().Unix()
		signed := ed25519.Sign(private, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text))
		b := append(binary.BigEndian.AppendUint64(id[:4:4], uint64(at)), signed...)
		fmt.Fprintf(w, "— %s %s\n", name, base64.StdEncoding.EncodeToString(b))
	}))
	t.Cleanup(server.Close)
	return fmt.Sprintf("witness one %s+%x+%s %s\nquorum one\n", name, id[:4], base64.StdEncoding.EncodeToString(public), server.URL)
}

func policyWith(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What a witness has signed is in the store's checkpoint, and in the folder that is published.
func TestAWitnessSignsToo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	key, public := newKey(t)
	folder := filepath.Join(t.TempDir(), "log")
	line := testWitness(t, http.StatusOK)
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour, Publish: []string{folder}, Policy: policyWith(t, line)}))
	putSamples(t, db, 0, 300)
	sig, err := db.Sign(t.Context())
	if err != nil || len(sig.Failed) != 0 {
		t.Fatalf("%+v, %v", sig, err)
	}
	policy, err := evidence.ParsePolicy([]byte("log " + public + "\n" + line))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(dir, "checkpoint"), filepath.Join(folder, "checkpoint")} {
		note, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if v := evidence.VerifyCheckpoint(note, policy); v.Outcome != evidence.Proven || len(v.Cosignatures) != 1 || v.Checkpoint.Root != sig.Root {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if s := wantLog(t, db); len(s.Places) != 2 || s.Places[1].Name != "witness one" || s.Places[1].Size != 300 {
		t.Errorf("%+v", s.Places)
	}
}

// After a witness has refused a history of the log, nothing more is signed, also not by a later process, until a person says so.
func TestAWitnessThatHasSeenAnotherHistoryStopsTheLog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	key, _ := newKey(t)
	o := audit.LogOptions{Key: key, Every: time.Hour, Policy: policyWith(t, testWitness(t, http.StatusUnprocessableEntity))}
	db := openDB(t, dir, audit.WithSigner(o))
	putSamples(t, db, 0, 10)
	sig, err := db.Sign(t.Context())
	if err != nil || !sig.New || len(sig.Failed) != 1 {
		t.Fatalf("%+v, %v", sig, err)
	}
	for range 2 {
		putSamples(t, db, int(sig.Size), int(sig.Size)+10)
		if _, err := db.Sign(t.Context()); !errors.Is(err, audit.ErrStopped) {
			t.Errorf("got %v", err)
		}
		closeDB(t, db)
		db = openDB(t, dir)
		if !strings.Contains(strings.Join(db.Recovery().Notes, "\n"), "nothing is signed: "+audit.ErrStopped.Error()) {
			t.Errorf("the opening says %q", db.Recovery().Notes)
		}
	}
	closeDB(t, db)
	o.Policy = ""
	db = openDB(t, dir, audit.WithSigner(o))
	if _, err := db.Sign(t.Context()); !errors.Is(err, audit.ErrStopped) {
		t.Errorf("got %v", err)
	}
	closeDB(t, db)
	o.Resume = true
	db = openDB(t, dir, audit.WithSigner(o))
	if sig, err := db.Sign(t.Context()); err != nil || !sig.New || sig.Size != 20 {
		t.Errorf("%+v, %v", sig, err)
	}
	if size, root, err := db.Root(t.Context()); err != nil || size != 20 || root == (tree.Hash{}) {
		t.Error(size, err)
	}
}

// Whoever can write to a published folder must not be able to stop the log: the others get it, and the folder is a place that fails.
func TestAFolderWithAnotherHistoryStopsNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	key, _ := newKey(t)
	bad, good := filepath.Join(t.TempDir(), "bad"), filepath.Join(t.TempDir(), "good")
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour, Publish: []string{bad, good}}))
	putSamples(t, db, 0, 10)
	if sig, err := db.Sign(t.Context()); err != nil || len(sig.Failed) != 0 {
		t.Fatalf("%+v, %v", sig, err)
	}
	if err := os.WriteFile(filepath.Join(bad, "tile", "0", "000.p", "20"), make([]byte, 20*tree.HashSize), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{20, 30} {
		putSamples(t, db, n-10, n)
		if n == 30 {
			if err := os.WriteFile(filepath.Join(bad, "tile", "0", "000.p", "30"), make([]byte, 30*tree.HashSize), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		sig, err := db.Sign(t.Context())
		if err != nil || !sig.New || sig.Size != uint64(n) || len(sig.Failed) != 1 {
			t.Errorf("%+v, %v", sig, err)
		}
		s := wantLog(t, db)
		if s.Problem != nil || len(s.Places) != 2 || !strings.Contains(s.Places[0].Error, "a fork") || s.Places[1].Error != "" || s.Places[1].Size != uint64(n) {
			t.Errorf("%v, %+v", s.Problem, s.Places)
		}
		closeDB(t, db)
		db = openDB(t, dir)
	}
	if notes := db.Recovery().Notes; len(notes) > 0 {
		t.Errorf("the opening says %q", notes)
	}
}

// Why the log was not signed can be seen in every process, until it is signed.
func TestAFailedSignatureIsSeenEverywhere(t *testing.T) {
	t.Parallel()
	dir, key := signedStore(t, 10)
	lock := key + ".signed.lock"
	if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, dir)
	reader := openDB(t, dir, audit.ReadOnly())
	putSamples(t, db, 10, 20)
	if sig, err := db.Sign(t.Context()); err == nil {
		t.Fatalf("%+v", sig)
	}
	for _, from := range []*audit.DB{db, reader} {
		if s := wantLog(t, from); !strings.Contains(fmt.Sprint(s.Problem), filepath.Base(lock)) || s.Size != 10 {
			t.Errorf("%+v", s)
		}
	}
	closeDB(t, db)
	if s := wantLog(t, reader); !strings.Contains(fmt.Sprint(s.Problem), filepath.Base(lock)) {
		t.Errorf("%+v", s)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	closeDB(t, openDB(t, dir))
	if s := wantLog(t, reader); s.Problem != nil || s.Size != 20 {
		t.Errorf("%+v", s)
	}
}

// Without log.json nothing would be signed, and nothing compared, so a store that was signed is not opened without it.
func TestALogFileThatIsLost(t *testing.T) {
	t.Parallel()
	dir, key := signedStore(t, 10)
	if err := os.Remove(filepath.Join(dir, "log.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Open(dir); !errors.Is(err, audit.ErrLogFile) {
		t.Errorf("got %v", err)
	}
	reader := openDB(t, dir, audit.ReadOnly())
	if s, err := reader.Stats(t.Context()); err != nil || s.Log == nil || !strings.Contains(fmt.Sprint(s.Log.Problem), "log.json") {
		t.Errorf("%+v, %v", s.Log, err)
	}
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour}))
	putSamples(t, db, 10, 20)
	if sig, err := db.Sign(t.Context()); err != nil || !sig.New || sig.Size != 20 {
		t.Errorf("%+v, %v", sig, err)
	}
}

// A checkpoint in the store that was changed does not count, and is not replaced in silence.
func TestACheckpointThatWasChanged(t *testing.T) {
	t.Parallel()
	dir, key := signedStore(t, 10)
	name := filepath.Join(dir, "checkpoint")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, dir)
	if notes := strings.Join(db.Recovery().Notes, "\n"); !strings.Contains(notes, "it does not count") || !strings.Contains(notes, name) {
		t.Errorf("the opening says %q", notes)
	}
	if sig, err := db.Sign(t.Context()); err != nil || sig.New || sig.Size != 10 {
		t.Errorf("%+v, %v", sig, err)
	}
	whole, err := os.ReadFile(key + ".signed")
	if have, readErr := os.ReadFile(name); err != nil || readErr != nil || string(have) != string(whole) {
		t.Errorf("%q, %v, %v", have, err, readErr)
	}
}

// A key that is reached through a link would have two memories, and could sign two logs of one name.
func TestAKeyHasOneMemory(t *testing.T) {
	t.Parallel()
	_, key := signedStore(t, 10)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(key, link); err != nil {
		t.Skip(err)
	}
	if _, err := audit.Open(filepath.Join(t.TempDir(), "other"), audit.WithSigner(audit.LogOptions{Key: link})); !errors.Is(err, audit.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// The folder has a newer checkpoint already when a slow witness answers. That is no failure of the folder.
func TestASlowWitness(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	key, _ := newKey(t)
	folder := filepath.Join(t.TempDir(), "log")
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	line := slowWitness(t, asked, answer)
	published := make(chan struct{}, 10)
	db := openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour, Publish: []string{folder}, Policy: policyWith(t, line)}),
		audit.WithMetrics(audit.Metrics{Delivered: func(place string, _ time.Duration, err error) {
			if strings.HasPrefix(place, "publish") && err == nil {
				published <- struct{}{}
			}
		}}))
	sign := func() <-chan audit.Signature {
		done := make(chan audit.Signature, 1)
		go func() {
			sig, err := db.Sign(t.Context())
			if err != nil {
				t.Error(err)
			}
			done <- sig
		}()
		return done
	}
	putSamples(t, db, 0, 10)
	first := sign()
	<-asked
	<-published
	putSamples(t, db, 10, 20)
	second := sign()
	<-published
	close(answer)
	for _, sig := range []audit.Signature{<-first, <-second} {
		if !sig.New || len(sig.Failed) > 0 {
			t.Errorf("%+v", sig)
		}
	}
	for _, p := range wantLog(t, db).Places {
		if p.Error != "" || p.Size != 20 {
			t.Errorf("%+v", p)
		}
	}
}

// A policy that is away when the store is opened is used as soon as it is back.
func TestAPolicyThatComesBack(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	key, _ := newKey(t)
	file := policyWith(t, testWitness(t, http.StatusOK))
	closeDB(t, openDB(t, dir, audit.WithSigner(audit.LogOptions{Key: key, Every: time.Hour, Policy: file})))
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, dir)
	putSamples(t, db, 0, 10)
	if sig, err := db.Sign(t.Context()); err != nil || !sig.New || !errors.Is(sig.Failed["witnesses"], os.ErrNotExist) {
		t.Errorf("%+v, %v", sig, err)
	}
	if s := wantLog(t, db); len(s.Places) != 1 || s.Places[0].Name != "witnesses" || s.Places[0].Error == "" {
		t.Errorf("%+v", s.Places)
	}
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	if sig, err := db.Sign(t.Context()); err != nil || sig.New || len(sig.Failed) > 0 {
		t.Errorf("%+v, %v", sig, err)
	}
	if s := wantLog(t, db); len(s.Places) != 1 || s.Places[0].Name != "witness one" || s.Places[0].Error != "" || s.Places[0].Size != 10 {
		t.Errorf("%+v", s.Places)
	}
}
