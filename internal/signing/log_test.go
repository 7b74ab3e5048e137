package signing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/tree"
)

// growing is a store of which only the tree exists.
type growing struct {
	edge    tree.Edge
	tiles   map[[2]int64][]byte
	checked [][2]int64 // what was hashed again
	bad     error      // what hashing again finds
}

func newStore(records ...string) *growing {
	s := &growing{tiles: map[[2]int64][]byte{}}
	s.grow(records...)
	return s
}

func (s *growing) grow(records ...string) {
	for _, r := range records {
		for _, full := range s.edge.Append(tree.LeafHash([]byte(r))) {
			s.tiles[[2]int64{int64(full.Level), full.N}] = full.Hashes
		}
	}
}

func (s *growing) Tree(context.Context) (uint64, tree.TileReader, error) {
	edge := s.edge.Clone()
	return uint64(edge.Size()), edge.Reader(func(level int, n int64) ([]byte, error) { return s.tiles[[2]int64{int64(level), n}], nil }), nil
}

func (s *growing) Reached(context.Context) (uint64, error) { return uint64(s.edge.Size()) * 100, nil }

func (s *growing) Recheck(_ context.Context, from, to int64) error {
	s.checked = append(s.checked, [2]int64{from, to})
	return s.bad
}

func records(from, to int) (all []string) {
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint("record ", i))
	}
	return all
}

// newLog makes a key, and a folder with a log that is signed with it.
func newLog(t *testing.T) *Log {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if _, err := keyfile.Create(key, "log.example.com/a"); err != nil {
		t.Fatal(err)
	}
	return logWith(t, key)
}

// logWith makes a folder with a log that is signed with a key.
func logWith(t *testing.T, key string) *Log {
	t.Helper()
	signer, err := keyfile.Read(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := NewConfig(key, signer).Write(dir); err != nil {
		t.Fatal(err)
	}
	return reopen(t, dir)
}

func reopen(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(dir, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func sign(t *testing.T, l *Log, s Store) Signature {
	t.Helper()
	sig, err := l.Sign(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func contentOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// wantSigned checks that everything says that a checkpoint was signed last.
func wantSigned(t *testing.T, l *Log, sig Signature) {
	t.Helper()
	v := evidence.VerifyCheckpoint(sig.Note, policyOf(t, l))
	if v.Outcome != evidence.Proven || v.Checkpoint != sig.Checkpoint {
		t.Errorf("%+v", v)
	}
	for _, name := range []string{MemoryOf(l.Config().Key).Path(), CheckpointPath(l.dir)} {
		if have := contentOf(t, name); have != string(sig.Note) {
			t.Errorf("%s: %q, want %q", name, have, sig.Note)
		}
	}
	c, err := ReadConfig(l.dir)
	if err != nil || c.Signed == nil || c.Signed.Size != sig.Checkpoint.Size || c.Signed.Root != sig.Checkpoint.Root || c.Signed.Offset != uint64(c.Signed.Size)*100 {
		t.Errorf("%+v, %v", c.Signed, err)
	}
	note, cp, err := c.Newest(l.dir)
	if err != nil || string(note) != string(sig.Note) || cp != sig.Checkpoint {
		t.Errorf("%q, %+v, %v", note, cp, err)
	}
}

func policyOf(t *testing.T, l *Log) *evidence.Policy {
	t.Helper()
	p, err := evidence.KeyPolicy(l.Config().VerifierKey)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestALogIsSignedAsItGrows(t *testing.T) {
	t.Parallel()
	l, s := newLog(t), newStore()
	if sig := sign(t, l, s); sig.Note != nil || sig.New {
		t.Errorf("an empty store was signed: %+v", sig)
	}
	for _, to := range []int{1, 300, 301} {
		s.grow(records(int(s.edge.Size()), to)...)
		sig := sign(t, l, s)
		if !sig.New || sig.Checkpoint.Size != int64(to) || sig.Checkpoint.Root != s.edge.Root() {
			t.Errorf("%+v", sig)
		}
		wantSigned(t, l, sig)
		if again := sign(t, l, s); again.New || string(again.Note) != string(sig.Note) {
			t.Errorf("signed again with nothing new: %+v", again)
		}
	}
	if want := [][2]int64{{0, 1}, {1, 300}, {300, 301}}; !slices.Equal(s.checked, want) {
		t.Errorf("hashed again: %v, want %v", s.checked, want)
	}
	lines, err := History(l.dir, 2)
	if err != nil || len(lines) != 2 || !strings.Contains(lines[0].Note, "\n300\n") || !strings.Contains(lines[1].Note, "\n301\n") {
		t.Errorf("%v, %v", lines, err)
	}
}

func TestNothingIsSignedThatDoesNotExtendWhatWasSigned(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		next   *growing               // the store at the second signature
		change func(*testing.T, *Log) // before it
		want   error
	}{
		"a store that was set back":                    {newStore(records(0, 9)...), nil, ErrBehind},
		"a store with another past":                    {newStore(append([]string{"x"}, records(1, 20)...)...), nil, ErrForked},
		"the same size with another record":            {newStore(append(records(0, 9), "x")...), nil, ErrForked},
		"another past, and nothing but the memory":     {newStore(append([]string{"x"}, records(1, 20)...)...), onlyMemory, ErrForked},
		"another past, and nothing but the checkpoint": {newStore(append([]string{"x"}, records(1, 20)...)...), onlyCheckpoint, ErrNoMemory},
		"the memory is lost":                           {newStore(records(0, 20)...), func(t *testing.T, l *Log) { remove(t, MemoryOf(l.Config().Key).Path()) }, ErrNoMemory},
		"the memory is damaged": {newStore(records(0, 20)...), func(t *testing.T, l *Log) {
			write(t, MemoryOf(l.Config().Key).Path(), strings.Replace(contentOf(t, CheckpointPath(l.dir)), "\n10\n", "\n11\n", 1))
		}, ErrCheckpoint},
		"the key is lost": {newStore(records(0, 20)...), func(t *testing.T, l *Log) { remove(t, l.Config().Key) }, ErrNoKey},
		"the key is a link now": {newStore(records(0, 20)...), func(t *testing.T, l *Log) {
			moved := l.Config().Key + ".moved"
			if err := errors.Join(os.Rename(l.Config().Key, moved), os.Symlink(moved, l.Config().Key)); err != nil {
				t.Skip(err)
			}
		}, ErrNoKey},
		"the key is another one": {newStore(records(0, 20)...), func(t *testing.T, l *Log) {
			remove(t, l.Config().Key)
			if _, err := keyfile.Create(l.Config().Key, l.Config().Origin); err != nil {
				t.Fatal(err)
			}
		}, ErrNoKey},
		"a witness has another history": {newStore(records(0, 20)...), func(t *testing.T, l *Log) {
			if err := l.Stop("w has seen more"); err != nil {
				t.Fatal(err)
			}
		}, ErrStopped},
		"records that are not what was hashed": {&growing{tiles: map[[2]int64][]byte{}, bad: errBad}, nil, errBad},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			sign(t, l, newStore(records(0, 10)...))
			if c.want == errBad {
				c.next.grow(records(0, 20)...)
			}
			if c.change != nil {
				c.change(t, l)
			}
			before := allFiles(t, l)
			for range 2 { // as it is, and opened again
				sig, err := l.Sign(t.Context(), c.next)
				if !errors.Is(err, c.want) || sig.New {
					t.Errorf("got %+v, %v, want %v", sig, err, c.want)
				}
				if after := allFiles(t, l); after != before {
					t.Errorf("the refusal has changed files: %s\n%s", before, after)
				}
				l = reopen(t, l.dir)
			}
		})
	}
}

var errBad = errors.New("the records were changed")

func remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func onlyMemory(t *testing.T, l *Log) {
	t.Helper()
	remove(t, CheckpointPath(l.dir))
	forget(t, l)
}

func onlyCheckpoint(t *testing.T, l *Log) {
	t.Helper()
	remove(t, MemoryOf(l.Config().Key).Path())
	forget(t, l)
}

// forget takes what was signed out of log.json.
func forget(t *testing.T, l *Log) {
	t.Helper()
	if err := l.change(func(c *Config) { c.Signed = nil }); err != nil {
		t.Fatal(err)
	}
}

func allFiles(t *testing.T, l *Log) string {
	t.Helper()
	key := l.Config().Key
	var b strings.Builder
	for _, name := range []string{key + ".signed", Path(l.dir), CheckpointPath(l.dir), HistoryPath(l.dir)} {
		b.WriteString(contentOf(t, name) + "\n--\n")
	}
	return b.String()
}

// A store is compared with the memory, with DIR/checkpoint and with log.json, and each of them is enough.
func TestAStoreIsComparedWithAllThatSaysWhatWasSigned(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*testing.T, *Log){
		"the memory": onlyMemory, "the checkpoint": onlyCheckpoint,
		"log.json": func(t *testing.T, l *Log) {
			remove(t, CheckpointPath(l.dir))
			remove(t, MemoryOf(l.Config().Key).Path())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLog(t)
			sign(t, l, newStore(records(0, 10)...))
			leave(t, l)
			l = reopen(t, l.dir)
			var mismatch *MismatchError
			if err := l.Compare(t.Context(), newStore(records(0, 9)...)); !errors.Is(err, ErrBehind) || errors.Is(err, ErrForked) || !errors.As(err, &mismatch) || mismatch.Size != 9 || mismatch.Signed.Size != 10 {
				t.Errorf("a shorter store: %v", err)
			}
			if err := l.Compare(t.Context(), newStore(append([]string{"x"}, records(1, 10)...)...)); !errors.Is(err, ErrForked) || errors.Is(err, ErrBehind) {
				t.Errorf("another store: %v", err)
			}
			if err := l.Compare(t.Context(), newStore(records(0, 11)...)); err != nil {
				t.Errorf("the store: %v", err)
			}
		})
	}
}

// errDied is the end of a process.
var errDied = errors.New("the process has died")

// mortal is a disk on which a process dies before or after its n-th write, and writes nothing from then on.
type mortal struct {
	n     int
	after bool
	files files
}

func (m *mortal) replace(name, like string, content []byte) error {
	m.n--
	if m.n < 0 || m.n == 0 && !m.after {
		return errDied
	}
	if err := m.files.replace(name, like, content); err != nil {
		return err
	}
	if m.n == 0 {
		return errDied
	}
	return nil
}

// A process may die before and after each write. The next opening completes what was signed, and signs no other tree.
func TestADeathBetweenAnyTwoWrites(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		alive := false
		for _, after := range []bool{false, true} {
			l, s := newLog(t), newStore(records(0, 10)...)
			first := sign(t, l, s)
			s.grow(records(10, 300)...)
			l.disk = &mortal{n: n, after: after, files: durableFiles{}}
			sig, err := l.Sign(t.Context(), s)
			if alive = err == nil; alive {
				break
			}
			if !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			remembered := contentOf(t, MemoryOf(l.Config().Key).Path())
			for name, newer := range map[string]string{Path(l.dir): `"size": 300,`, CheckpointPath(l.dir): "\n300\n"} {
				// Nothing says that more was signed than the memory has.
				if strings.Contains(contentOf(t, name), newer) && !strings.Contains(remembered, "\n300\n") {
					t.Errorf("write %d, after %v: %s is newer than the memory", n, after, name)
				}
			}
			if sig.New && remembered != string(sig.Note) {
				t.Errorf("write %d, after %v: a signature was given away that is not remembered", n, after)
			}

			// Another tree than the one that was signed is refused from the moment on in which the memory has it.
			l = reopen(t, l.dir)
			other := newStore(append(records(0, 10), append([]string{"x"}, records(11, 300)...)...)...)
			if err := l.Compare(t.Context(), other); (err == nil) != (remembered == string(first.Note)) {
				t.Errorf("write %d, after %v: another tree: %v", n, after, err)
			}

			if err := l.Compare(t.Context(), s); err != nil {
				t.Errorf("write %d, after %v: %v", n, after, err)
			}
			resumed, err := l.Resume(t.Context(), s)
			if err != nil || string(resumed.Note) != remembered {
				t.Errorf("write %d, after %v: resumed with %q, %v", n, after, resumed.Note, err)
			}
			if remembered != string(first.Note) {
				wantSigned(t, l, resumed)
			}
			last := sign(t, l, s)
			if last.New != (remembered == string(first.Note)) {
				t.Errorf("write %d, after %v: %+v", n, after, last)
			}
			wantSigned(t, l, last)
		}
		if alive {
			if n != 4 { // FILE.signed, log.json, DIR/checkpoint
				t.Errorf("signing has %d writes", n-1)
			}
			return
		}
	}
}

// held is a disk on which the first write waits.
type held struct {
	files
	writing, goOn chan struct{}
}

func (h held) replace(name, like string, content []byte) error {
	h.writing <- struct{}{}
	<-h.goOn
	return h.files.replace(name, like, content)
}

// While one process signs with a key, another one waits, and then sees what was signed.
func TestTwoSignersOfOneKeyTakeTurns(t *testing.T) {
	t.Parallel()
	a := newLog(t)
	b := logWith(t, a.Config().Key)
	disk := held{durableFiles{}, make(chan struct{}), make(chan struct{})}
	a.disk = disk
	signed := make(chan error)
	go func() {
		_, err := a.Sign(context.Background(), newStore(records(0, 10)...))
		signed <- err
	}()
	<-disk.writing
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	other := newStore("x", "y")
	if _, err := b.Sign(impatient, other); !errors.Is(err, context.Canceled) {
		t.Errorf("it did not wait: %v", err)
	}
	close(disk.goOn)
	for range 2 { // log.json and DIR/checkpoint
		<-disk.writing
	}
	if err := <-signed; err != nil {
		t.Fatal(err)
	}
	if _, err := b.Sign(t.Context(), other); !errors.Is(err, ErrBehind) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Sign(t.Context(), newStore(append([]string{"x"}, records(1, 12)...)...)); !errors.Is(err, ErrForked) {
		t.Errorf("got %v", err)
	}
	if sig := sign(t, b, newStore(records(0, 12)...)); !sig.New {
		t.Errorf("%+v", sig)
	}
}

func TestTheConfigurationIsStrict(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	if _, err := ReadConfig(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	sound := contentOf(t, Path(l.dir))
	var plain map[string]any
	if err := json.Unmarshal([]byte(sound), &plain); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"an unknown member":     func(c map[string]any) { c["evry"] = "1s" },
		"a newer format":        func(c map[string]any) { c["format"] = 2 },
		"no format":             func(c map[string]any) { delete(c, "format") },
		"a relative key":        func(c map[string]any) { c["key"] = "key" },
		"another origin":        func(c map[string]any) { c["origin"] = "log.example.com/b" },
		"no verifier key":       func(c map[string]any) { delete(c, "verifier_key") },
		"a cadence of nothing":  func(c map[string]any) { c["every"] = "0s" },
		"a cadence without end": func(c map[string]any) { c["every"] = "often" },
		"a relative folder":     func(c map[string]any) { c["publish"] = []string{"log"} },
		"a negative size":       func(c map[string]any) { c["signed"] = map[string]any{"size": -1} },
	} {
		c := map[string]any{}
		for k, v := range plain {
			c[k] = v
		}
		change(c)
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		write(t, Path(l.dir), string(text))
		if _, err := ReadConfig(l.dir); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, text := range []string{"", "{}", sound[:len(sound)/2], sound + "{}"} {
		write(t, Path(l.dir), text)
		if _, err := ReadConfig(l.dir); !errors.Is(err, ErrConfig) {
			t.Errorf("%.20q…: got %v", text, err)
		}
	}
	write(t, Path(l.dir), sound)
	if _, err := ReadConfig(l.dir); err != nil {
		t.Error(err)
	}
}

// A line that a crash has cut costs that line alone.
func TestAHistoryThatWasCut(t *testing.T) {
	t.Parallel()
	l, s := newLog(t), newStore()
	for i := range 5 {
		s.grow(records(i, i+1)...)
		sign(t, l, s)
		if i == 2 {
			whole := contentOf(t, HistoryPath(l.dir))
			write(t, HistoryPath(l.dir), whole[:len(whole)-20])
		}
	}
	lines, err := History(l.dir, 100)
	if err != nil || len(lines) != 4 || !strings.Contains(lines[1].Note, "\n2\n") || !strings.Contains(lines[2].Note, "\n4\n") {
		t.Errorf("%+v, %v", lines, err)
	}
	remove(t, HistoryPath(l.dir))
	if lines, err := History(l.dir, 100); err != nil || lines != nil {
		t.Errorf("%+v, %v", lines, err)
	}
}

func TestDeliveriesAreNoted(t *testing.T) {
	t.Parallel()
	l, s := newLog(t), newStore(records(0, 10)...)
	sign(t, l, s)
	for _, step := range []struct {
		failed error
		want   Delivery
	}{
		{nil, Delivery{Size: 10}}, {errors.New("the disk is full"), Delivery{Size: 10, Error: "the disk is full"}}, {nil, Delivery{Size: 10}},
	} {
		if err := l.Delivered("publish /srv", 10, step.failed); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(l.dir)
		have := c.Delivered["publish /srv"]
		if err != nil || have.Size != step.want.Size || have.Error != step.want.Error || (have.Failed != nil) != (step.failed != nil) || have.At == nil {
			t.Errorf("%+v, %v; want %+v", have, err, step.want)
		}
	}
	// After the store is closed another process may write log.json.
	l.Close()
	before := contentOf(t, Path(l.dir))
	if err := l.Delivered("publish /srv", 11, nil); err != nil || contentOf(t, Path(l.dir)) != before {
		t.Errorf("log.json was written after the end: %v", err)
	}
}

// A store whose log.json is gone gets another key with the same name. Its checkpoint says that the name has a log already, so the key
// signs nothing, and the checkpoint stays.
func TestAnotherKeyDoesNotBeginALogThatThereIs(t *testing.T) {
	t.Parallel()
	sig := sign(t, newLog(t), newStore(records(0, 10)...))
	l := newLog(t)
	write(t, CheckpointPath(l.dir), string(sig.Note))
	for _, s := range []*growing{newStore(records(0, 10)...), newStore(records(0, 12)...), newStore(records(100, 105)...)} {
		if sig, err := l.Sign(t.Context(), s); !errors.Is(err, ErrCheckpoint) || sig.Note != nil {
			t.Errorf("%d records: signed %q, %v", s.edge.Size(), sig.Note, err)
		}
	}
	if contentOf(t, CheckpointPath(l.dir)) != string(sig.Note) || contentOf(t, MemoryOf(l.Config().Key).Path()) != "" {
		t.Error("the checkpoint was replaced, or something is remembered as signed")
	}
	if err := l.Config().CheckKey(l.dir); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("the key could sign: %v", err)
	}
}

// The last checkpoint of an earlier log does not bind the next log.
func TestACheckpointOfAnEarlierLog(t *testing.T) {
	t.Parallel()
	old := newLog(t)
	sig := sign(t, old, newStore(records(0, 10)...))
	key := filepath.Join(t.TempDir(), "next")
	if _, err := keyfile.Create(key, "log.example.com/b"); err != nil {
		t.Fatal(err)
	}
	l := logWith(t, key)
	write(t, CheckpointPath(l.dir), string(sig.Note))
	other := newStore(records(100, 105)...)
	if err := l.Compare(t.Context(), other); err != nil {
		t.Error(err) // it is signed by nobody whom this log knows
	}
	if _, _, err := l.Config().Newest(l.dir); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("got %v", err)
	}
	if err := l.change(func(c *Config) {
		c.Earlier = []Earlier{{Origin: old.Config().Origin, VerifierKey: old.Config().VerifierKey, Checkpoint: string(sig.Note), Reason: "lost", At: time.Now()}}
	}); err != nil {
		t.Fatal(err)
	}
	if note, _, err := l.Config().Newest(l.dir); err != nil || note != nil {
		t.Errorf("%q, %v", note, err)
	}
	wantSigned(t, l, sign(t, l, other))
	if _, err := os.Stat(filepath.Join(l.dir, storedir.CheckpointName)); err != nil {
		t.Error(err)
	}
}

// A holder of the lock that hangs is no reason to wait for ever: then nothing would say that the log is not signed.
func TestAnotherProcessHoldsTheKey(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	s := newStore(records(0, 10)...)
	sign(t, l, s)
	unlock, err := MemoryOf(l.Config().Key).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.patience = time.Millisecond
	s.grow(records(10, 20)...)
	const says = "another process has held it for 1ms"
	if sig, err := l.Sign(t.Context(), s); err == nil || sig.New || !strings.Contains(err.Error(), says) {
		t.Errorf("got %+v, %v", sig, err)
	}
	if _, err := l.Resume(t.Context(), s); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if sig := sign(t, l, s); !sig.New {
		t.Errorf("%+v", sig)
	}
}

// Another store may sign with the key after this one was compared. Its checkpoint is not taken over.
func TestAnotherStoreSignsWhileThisOneIsOpened(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	mine := newStore(records(0, 10)...)
	sign(t, l, mine)
	if err := l.Compare(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	theirs := newStore(append(records(0, 10), "x")...)
	sign(t, logWith(t, l.Config().Key), theirs)
	mine.grow(records(10, 20)...)
	before := allFiles(t, l)
	if sig, err := l.Resume(t.Context(), mine); !errors.Is(err, ErrForked) || sig.Note != nil {
		t.Errorf("got %+v, %v", sig, err)
	}
	if after := allFiles(t, l); after != before {
		t.Errorf("files were changed: %s\n%s", before, after)
	}
}

func TestAConfigurationThatIsLost(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	remove(t, Path(l.dir))
	if _, err := ReadConfig(l.dir); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrConfig) {
		t.Errorf("a store without a log: %v", err)
	}
	if err := l.Config().Write(l.dir); err != nil {
		t.Fatal(err)
	}
	sign(t, l, newStore(records(0, 10)...))
	remove(t, Path(l.dir))
	if _, err := ReadConfig(l.dir); !errors.Is(err, ErrLost) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store that was signed: %v", err)
	}
}

// log.json has no signature. When it alone says that more was signed, the error says so, unless the memory is missing: then
// log.json may be all that is left.
func TestLogJSONAlone(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	s := newStore(records(0, 10)...)
	sign(t, l, s)
	if err := l.change(func(c *Config) { c.Signed.Size = 11 }); err != nil {
		t.Fatal(err)
	}
	if err := l.Compare(t.Context(), s); !errors.Is(err, ErrBehind) || !strings.Contains(err.Error(), ConfigAlone) {
		t.Errorf("got %v", err)
	}
	if err := l.Compare(t.Context(), newStore(records(0, 9)...)); !errors.Is(err, ErrBehind) || strings.Contains(err.Error(), ConfigAlone) {
		t.Errorf("the memory says so too: got %v", err)
	}
	remove(t, MemoryOf(l.Config().Key).Path())
	if err := l.Compare(t.Context(), s); !errors.Is(err, ErrBehind) || strings.Contains(err.Error(), ConfigAlone) {
		t.Errorf("without the memory: got %v", err)
	}
}

// What would be refused at the next reading is not written.
func TestAConfigurationThatIsTooLong(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	before := contentOf(t, Path(l.dir))
	c := l.Config().clone()
	c.Exec = []string{strings.Repeat("x", longest)}
	if err := c.Write(l.dir); err == nil || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("got %v", err)
	}
	if contentOf(t, Path(l.dir)) != before {
		t.Error("it was written")
	}
}

func TestAFailureIsNoted(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	for _, why := range []string{"", "the disk is full", "the disk is full", "no answer", ""} {
		if err := l.Failed(why); err != nil {
			t.Fatal(err)
		}
		have := ""
		if f := reopen(t, l.dir).Config().Failed; f != nil {
			have = f.Error
		}
		if have != why {
			t.Errorf("got %q, want %q", have, why)
		}
	}
}

// The next key has the rules of the first one: no second memory, and nobody publishes it.
func TestTheNextKeyIsRefused(t *testing.T) {
	t.Parallel()
	l := newLog(t)
	s := newStore(records(0, 10)...)
	sign(t, l, s)
	next := filepath.Join(t.TempDir(), "key")
	if _, err := keyfile.Create(next, l.Config().Origin); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(next, link); err != nil {
		t.Skip(err)
	}
	if err := l.change(func(c *Config) { c.Publish = []string{filepath.Dir(next)} }); err != nil {
		t.Fatal(err)
	}
	before := allFiles(t, l)
	var linked *durable.LinkError
	if _, err := l.Rotate(t.Context(), s, link); !errors.As(err, &linked) {
		t.Errorf("a link: %v", err)
	}
	if _, err := l.Rotate(t.Context(), s, next); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "published") {
		t.Errorf("a published key: %v", err)
	}
	if after := allFiles(t, l); after != before {
		t.Errorf("files were changed: %s\n%s", before, after)
	}
}
