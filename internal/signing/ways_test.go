package signing

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/tree"
)

// past are records that only stores of this past have.
func past(n int, name string) (rs []string) {
	for i := range n {
		rs = append(rs, fmt.Sprint(name, i))
	}
	return rs
}

// dyingFiles are the writes of a process that dies: so many are done, and all later ones fail.
type dyingFiles struct {
	left    int
	written *[]string // the notes that were written anywhere
}

var errDead = errors.New("the process is dead")

func (d *dyingFiles) replace(name, like string, content []byte) error {
	if d.left--; d.left < 0 {
		return errDead
	}
	if strings.Contains(string(content), "\n\n— ") {
		*d.written = append(*d.written, string(content))
	}
	return durableFiles{}.replace(name, like, content)
}

// house is a folder of a store with a log, and of keys.
type house struct {
	t     *testing.T
	dir   string
	store *growing
	notes []string // all that were ever written
}

func newHouse(t *testing.T) *house {
	return &house{t: t, dir: t.TempDir(), store: newStore()}
}

func (h *house) key(name, origin string) string {
	h.t.Helper()
	file := filepath.Join(h.dir, name)
	if _, err := keyfile.Create(file, origin); err != nil {
		h.t.Fatal(err)
	}
	return file
}

func (h *house) config(key string) *Config {
	h.t.Helper()
	signer, err := keyfile.Read(key)
	if err != nil {
		h.t.Fatal(err)
	}
	return NewConfig(key, signer)
}

// life is the log in a process that does so many writes before it dies.
func (h *house) life(writes int) *Log {
	h.t.Helper()
	l, err := Open(h.dir, slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		h.t.Fatal(err)
	}
	l.disk = &dyingFiles{writes, &h.notes}
	return l
}

const forEver = 1 << 30

func (h *house) sign() Signature {
	h.t.Helper()
	l := h.life(forEver)
	if err := l.Compare(h.t.Context(), h.store); err != nil {
		h.t.Fatal(err)
	}
	sig, err := l.Sign(h.t.Context(), h.store)
	if err != nil {
		h.t.Fatal(err)
	}
	return sig
}

// wantOnePast checks that no origin has two roots: all that was ever signed is of the store's tree, or was signed before.
func (h *house) wantOnePast(what string, stores ...*growing) {
	h.t.Helper()
	roots := map[string]tree.Hash{}
	for _, note := range h.notes {
		cp, err := evidence.ReadUnverified([]byte(note))
		if err != nil {
			h.t.Fatal(err)
		}
		key := fmt.Sprint(cp.Origin, " ", cp.Size)
		if was, ok := roots[key]; ok && was != cp.Root {
			h.t.Errorf("%s: two roots of %s", what, key)
		}
		roots[key] = cp.Root
	}
	// And the checkpoints of one origin extend each other.
	for key, root := range maps.All(roots) {
		origin, size, _ := strings.Cut(key, " ")
		fits := false
		for _, s := range stores {
			var n int64
			fmt.Sscan(size, &n)
			_, tiles, _ := s.Tree(h.t.Context())
			if got, err := tree.Root(tiles, n); err == nil && n <= s.edge.Size() && got == root {
				fits = true
			}
		}
		if !fits {
			h.t.Errorf("%s: a root of %d records of %s is of no store", what, len(size), origin)
		}
	}
}

const origin = "log.example.com"

// A rotation that dies before any of its writes leaves the one key or the other, which signs on, and can be run again.
func TestARotationThatDies(t *testing.T) {
	t.Parallel()
	for writes := range 8 {
		h := newHouse(t)
		old, next := h.key("old", origin), h.key("new", origin)
		h.store.grow(past(5, "r")...)
		if err := h.config(old).Write(h.dir); err != nil {
			t.Fatal(err)
		}
		h.sign()
		h.store.grow("not signed yet")
		_, err := h.life(writes).Rotate(t.Context(), h.store, next)
		done := err == nil
		if !done && !errors.Is(err, errDead) {
			t.Fatalf("%d writes: %v", writes, err)
		}
		h.store.grow("after")
		sig := h.sign()
		if c := h.life(0).Config(); done != (c.Key == next) || c.Key != old && c.Key != next {
			t.Errorf("%d writes, done %v: the key is %s", writes, done, c.Key)
		}
		if !done {
			h.store.grow("later")
			if sig, err = h.life(forEver).Rotate(t.Context(), h.store, next); err != nil {
				t.Fatalf("%d writes: again: %v", writes, err)
			}
			// Both keys have signed it.
			for _, key := range []string{old, next} {
				policy, err := evidence.KeyPolicy(h.config(key).VerifierKey)
				if err != nil {
					t.Fatal(err)
				}
				if v := evidence.VerifyCheckpoint(sig.Note, policy); v.Outcome != evidence.Proven {
					t.Errorf("%d writes: %v", writes, v)
				}
			}
		}
		h.store.grow("last")
		h.sign()
		if c := h.life(0).Config(); c.Key != next || len(c.Earlier) != 1 || c.Earlier[0].VerifierKey != h.config(old).VerifierKey || c.Earlier[0].Origin != origin {
			t.Errorf("%d writes: %+v", writes, c)
		}
		h.wantOnePast(fmt.Sprint(writes, " writes"), h.store)
		if done {
			if writes < 4 {
				t.Errorf("done with %d writes", writes)
			}
			return
		}
	}
	t.Error("no number of writes is enough")
}

// save returns what a backup of the store has of its log, for putBack.
func (h *house) save() (texts []string) {
	for _, name := range []string{Path(h.dir), CheckpointPath(h.dir)} {
		texts = append(texts, contentOf(h.t, name))
	}
	return texts
}

func (h *house) putBack(texts []string) {
	for i, name := range []string{Path(h.dir), CheckpointPath(h.dir)} {
		write(h.t, name, texts[i])
	}
}

// A store that is put back to the moment before a rotation has the old key in its log.json. What the new key has signed since
// counts for it.
func TestTheOldKeyKnowsWhatTheNewOneHasSigned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old, next := h.key("old", origin), h.key("new", origin)
	h.store.grow(past(5, "r")...)
	if err := h.config(old).Write(h.dir); err != nil {
		t.Fatal(err)
	}
	h.sign()
	backup := h.save()
	if _, err := h.life(forEver).Rotate(t.Context(), h.store, next); err != nil {
		t.Fatal(err)
	}
	back := newStore(past(5, "r")...)
	h.store.grow("by the new key")
	h.sign()
	h.putBack(backup)
	if err := h.life(0).Compare(t.Context(), back); !errors.Is(err, ErrBehind) {
		t.Errorf("the restored store is accepted: %v", err)
	}
	back.grow("another one")
	if sig, err := h.life(forEver).Sign(t.Context(), back); !errors.Is(err, ErrForked) {
		t.Errorf("the old key has signed another past: %+v, %v", sig, err)
	}
	// The new key's memory is away.
	if err := os.Rename(MemoryOf(next).Path(), MemoryOf(next).Path()+".away"); err != nil {
		t.Fatal(err)
	}
	if sig, err := h.life(forEver).Sign(t.Context(), back); !errors.Is(err, ErrNoMemory) {
		t.Errorf("without the new key's memory: %+v, %v", sig, err)
	}
	h.wantOnePast("in the end", h.store)
}

// The old key goes on signing for a store that is put back to the moment before a rotation. The new key then knows what the old one
// has signed: a store that is put back to the moment after the rotation is no way to another past.
func TestTheNewKeyKnowsWhatTheOldOneSignsAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	old, next := h.key("old", origin), h.key("new", origin)
	h.store.grow(past(5, "r")...)
	if err := h.config(old).Write(h.dir); err != nil {
		t.Fatal(err)
	}
	h.sign()
	before := h.save()
	if _, err := h.life(forEver).Rotate(t.Context(), h.store, next); err != nil {
		t.Fatal(err)
	}
	after := h.save()
	h.putBack(before)
	h.store.grow("by the old key")
	h.sign()
	h.putBack(after)
	back := newStore(past(5, "r")...)
	if err := h.life(0).Compare(t.Context(), back); !errors.Is(err, ErrBehind) {
		t.Errorf("the restored store is accepted: %v", err)
	}
	back.grow("another one")
	if sig, err := h.life(forEver).Sign(t.Context(), back); !errors.Is(err, ErrForked) {
		t.Errorf("the new key has signed another past: %+v, %v", sig, err)
	}
	h.store.grow("by the new key")
	h.sign()
	h.wantOnePast("in the end", h.store)
	// Nobody has to keep the old key or its memory.
	remove(t, MemoryOf(old).Path())
	h.store.grow("without the old key's memory")
	h.sign()
}

// The key may be changed again, and back. A FILE.next that cannot be read keeps the key from signing, and no store from being opened.
func TestTheKeyIsChangedAgain(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	keys := []string{h.key("a", origin), h.key("b", origin), h.key("c", origin)}
	h.store.grow(past(5, "r")...)
	if err := h.config(keys[0]).Write(h.dir); err != nil {
		t.Fatal(err)
	}
	h.sign()
	for _, next := range []string{keys[1], keys[2], keys[0], keys[1]} {
		h.store.grow("before " + next)
		if _, err := h.life(forEver).Rotate(t.Context(), h.store, next); err != nil {
			t.Fatalf("%s: %v", next, err)
		}
		h.store.grow("after " + next)
		if sig := h.sign(); sig.Checkpoint.Size != h.store.edge.Size() || h.life(0).Config().Key != next {
			t.Errorf("%s: %+v", next, sig)
		}
	}
	h.wantOnePast("in the end", h.store)
	for _, text := range []string{"garbage", `{"key":"/nowhere","verifier_key":"none"}`, `{"key":"` + keys[2] + `","verifier_key":"` + h.config(h.key("d", "other.example.com")).VerifierKey + `"}`} {
		if err := os.WriteFile(keys[1]+".next", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		h.store.grow("more")
		if sig, err := h.life(forEver).Sign(t.Context(), h.store); err == nil {
			t.Errorf("%s: signed: %+v", text, sig)
		}
		if err := h.life(0).Compare(t.Context(), h.store); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestKeysThatCannotBeTheNext(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.key("key", origin)
	h.store.grow(past(5, "r")...)
	if err := h.config(key).Write(h.dir); err != nil {
		t.Fatal(err)
	}
	h.sign()
	if _, err := h.life(forEver).Rotate(t.Context(), h.store, key); !errors.Is(err, ErrKey) {
		t.Errorf("the same key: %v", err)
	}
	if _, err := h.life(forEver).Rotate(t.Context(), h.store, h.key("other", "other.example.com")); !errors.Is(err, ErrKey) {
		t.Errorf("another name: %v", err)
	}
	if _, err := h.life(forEver).Rotate(t.Context(), h.store, filepath.Join(h.dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no key: %v", err)
	}
	// A key that signs the log of another store.
	other := newHouse(t)
	shared := other.key("shared", origin)
	other.store.grow(past(3, "other")...)
	if err := other.config(shared).Write(other.dir); err != nil {
		t.Fatal(err)
	}
	other.sign()
	if _, err := h.life(forEver).Rotate(t.Context(), h.store, shared); !errors.Is(err, ErrForked) {
		t.Errorf("another store's key: %v", err)
	}
	if c := h.life(0).Config(); c.Key != key {
		t.Errorf("the key is %s", c.Key)
	}
}

// A successor that dies before any of its writes leaves the old log or the new one, and can be run again.
func TestASuccessorThatDies(t *testing.T) {
	t.Parallel()
	for writes := range 8 {
		h := newHouse(t)
		old, next := h.key("old", origin), h.key("new", "log.example.com/2")
		h.store.grow(past(5, "r")...)
		if err := h.config(old).Write(h.dir); err != nil {
			t.Fatal(err)
		}
		last := h.sign()
		memory, err := MemoryOf(old).Read()
		if err != nil {
			t.Fatal(err)
		}
		// The last two records are lost, and others came.
		was := h.store
		h.store = newStore(past(3, "r")...)
		succeed := func(writes int) error {
			_, err := h.life(writes).Succeed(t.Context(), h.store, h.config(next), last.Note, "two records are lost")
			return err
		}
		err = succeed(writes)
		done := err == nil
		if !done && !errors.Is(err, errDead) {
			t.Fatalf("%d writes: %v", writes, err)
		}
		if c := h.life(0).Config(); c.Origin == origin {
			if err := h.life(0).Compare(t.Context(), h.store); done || !errors.Is(err, ErrBehind) {
				t.Errorf("%d writes: the old log, and %v", writes, err)
			}
			if err := succeed(forEver); err != nil {
				t.Errorf("%d writes: again: %v", writes, err)
			}
		}
		h.store.grow("later")
		h.sign()
		c := h.life(0).Config()
		if c.Origin != "log.example.com/2" || len(c.Earlier) != 1 || c.Earlier[0].Checkpoint != string(last.Note) || c.Earlier[0].Reason != "two records are lost" || c.Earlier[0].Origin != origin {
			t.Errorf("%d writes: %+v", writes, c)
		}
		if text, err := MemoryOf(old).Read(); err != nil || string(text) != string(memory) {
			t.Errorf("%d writes: the old key's memory was changed: %q, %v", writes, text, err)
		}
		h.wantOnePast(fmt.Sprint(writes, " writes"), was, h.store)
		if done {
			return
		}
	}
	t.Error("no number of writes is enough")
}

func TestWhatIsNoSuccessor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key, next := h.key("key", origin), h.key("next", "log.example.com/2")
	h.store.grow(past(5, "r")...)
	if err := h.config(key).Write(h.dir); err != nil {
		t.Fatal(err)
	}
	older := h.sign().Note
	h.store.grow("more")
	last := h.sign().Note
	succeed := func(file string, after []byte) error {
		_, err := h.life(forEver).Succeed(t.Context(), h.store, h.config(file), after, "a reason")
		return err
	}
	for name, c := range map[string]struct {
		key   string
		after []byte
		want  error
	}{
		"an older checkpoint":  {next, older, ErrNewer},
		"no checkpoint":        {next, []byte("nothing"), ErrCheckpoint},
		"a changed checkpoint": {next, []byte(strings.Replace(string(last), "\n6\n", "\n7\n", 1)), ErrCheckpoint},
		"the same name":        {h.key("again", origin), last, ErrKey},
	} {
		if err := succeed(c.key, c.after); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c := h.life(0).Config(); c.Origin != origin || len(c.Earlier) > 0 {
		t.Errorf("%+v", c)
	}
	if err := succeed(next, last); err != nil {
		t.Fatal(err)
	}
	// No name comes again.
	last = h.sign().Note
	if err := succeed(h.key("third", origin), last); !errors.Is(err, ErrKey) {
		t.Errorf("the first name again: %v", err)
	}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.key("key", origin)
	h.store.grow(past(5, "r")...)
	if err := h.config(key).Write(h.dir); err != nil {
		t.Fatal(err)
	}
	older := h.sign().Note
	h.store.grow("more")
	last := h.sign().Note
	adopt := func(note []byte, s *growing) error {
		_, err := h.life(forEver).Adopt(t.Context(), s, note)
		return err
	}
	if err := adopt(last, h.store); !errors.Is(err, ErrMemory) {
		t.Errorf("the memory is there: %v", err)
	}
	if err := os.Remove(MemoryOf(key).Path()); err != nil {
		t.Fatal(err)
	}
	h.store.grow("unsigned")
	if _, err := h.life(forEver).Sign(t.Context(), h.store); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("signed without a memory: %v", err)
	}
	short, other := newStore(past(5, "r")...), newStore(past(9, "other")...)
	for name, c := range map[string]struct {
		note []byte
		s    *growing
		want error
	}{
		"an older checkpoint":  {older, h.store, ErrNewer},
		"no checkpoint":        {[]byte("nothing"), h.store, ErrCheckpoint},
		"a changed checkpoint": {[]byte(strings.Replace(string(last), "\n6\n", "\n7\n", 1)), h.store, ErrCheckpoint},
		"a smaller tree":       {last, short, ErrBehind},
		"another tree":         {last, other, ErrForked},
	} {
		if err := adopt(c.note, c.s); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := MemoryOf(key).Read(); !missing(err) {
		t.Errorf("something was adopted: %v", err)
	}
	if err := adopt(last, h.store); err != nil {
		t.Fatal(err)
	}
	if sig := h.sign(); sig.Checkpoint.Size != 7 {
		t.Errorf("%+v", sig)
	}
	// A damaged memory is replaced as well.
	if err := os.WriteFile(MemoryOf(key).Path(), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.life(forEver).Sign(t.Context(), h.store); !errors.Is(err, ErrCheckpoint) {
		t.Errorf("signed with a damaged memory: %v", err)
	}
	newest, err := os.ReadFile(CheckpointPath(h.dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := adopt(newest, h.store); err != nil {
		t.Error(err)
	}
	h.store.grow("again")
	h.sign()
}
