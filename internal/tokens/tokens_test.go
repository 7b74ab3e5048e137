package tokens_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/auditsql/auditsql/internal/tokens"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func add(t *testing.T, dir, name string, scopes ...string) string {
	t.Helper()
	secret, err := tokens.Add(t.Context(), dir, tokens.Token{Name: name, Scopes: scopes, Created: noon})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func lookup(f *tokens.File, secret string) (string, error) {
	found, err := f.Lookup(tokens.Digest(secret), noon)
	return found.Name, err
}

// A token is valid from when it is made until it is revoked or expires, for a reader that has the file open all the time.
func TestATokensLife(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, err := tokens.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if name, err := lookup(f, "asql_anything"); !errors.Is(err, tokens.ErrUnknown) {
		t.Errorf("without a file: %q, %v", name, err)
	}
	first, second := add(t, dir, "first", "read"), add(t, dir, "second", "read", "write")
	if !strings.HasPrefix(first, tokens.Prefix) || len(first) != len(tokens.Prefix)+43 || first == second {
		t.Errorf("the tokens are %s and %s", first, second)
	}
	for secret, want := range map[string]string{first: "first", second: "second"} {
		if name, err := lookup(f, secret); err != nil || name != want {
			t.Errorf("%q, %v; want %s", name, err, want)
		}
	}
	for _, wrong := range []string{"", "asql_", first[:len(first)-1], first + "A", strings.ToLower(first), " " + first} {
		if name, err := lookup(f, wrong); !errors.Is(err, tokens.ErrUnknown) {
			t.Errorf("%q gives %q, %v", wrong, name, err)
		}
	}
	if err := tokens.Revoke(t.Context(), dir, "first"); err != nil {
		t.Fatal(err)
	}
	if name, err := lookup(f, first); !errors.Is(err, tokens.ErrUnknown) {
		t.Errorf("a revoked token gives %q, %v", name, err)
	}
	if name, err := lookup(f, second); err != nil || name != "second" {
		t.Errorf("%q, %v", name, err)
	}
	if err := tokens.Revoke(t.Context(), dir, "first"); !errors.Is(err, tokens.ErrNoToken) {
		t.Errorf("got %v", err)
	}
	until := noon.Add(time.Hour)
	brief, err := tokens.Add(t.Context(), dir, tokens.Token{Name: "brief", Scopes: []string{"read"}, Expires: until})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]error{until.Add(-time.Nanosecond): nil, until: tokens.ErrExpired, until.Add(time.Hour): tokens.ErrExpired} {
		if _, err := f.Lookup(tokens.Digest(brief), at); !errors.Is(err, want) {
			t.Errorf("at %v: %v, want %v", at, err, want)
		}
	}
	content, err := os.ReadFile(filepath.Join(dir, "tokens"))
	if err != nil || strings.Contains(string(content), second) || strings.Contains(string(content), strings.TrimPrefix(second, tokens.Prefix)) {
		t.Errorf("the file has a token in it: %s, %v", content, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "tokens")); err != nil || runtime.GOOS != "windows" && st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if err := os.Remove(filepath.Join(dir, "tokens")); err != nil {
		t.Fatal(err)
	}
	if name, err := lookup(f, second); !errors.Is(err, tokens.ErrUnknown) {
		t.Errorf("without the file: %q, %v", name, err)
	}
}

// Of many that add and revoke at the same time, none is lost.
func TestManyChangesAtTheSameTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	add(t, dir, "goes", "read")
	const n = 20
	secrets := make([]string, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			var err error
			if secrets[i], err = tokens.Add(t.Context(), dir, tokens.Token{Name: fmt.Sprint("token-", i), Scopes: []string{"read"}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		if err := tokens.Revoke(t.Context(), dir, "goes"); err != nil {
			t.Error(err)
		}
	})
	all.Wait()
	list, err := tokens.List(dir)
	if err != nil || len(list) != n {
		t.Fatalf("%d tokens, %v; want %d", len(list), err, n)
	}
	f, err := tokens.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, secret := range secrets {
		if name, err := lookup(f, secret); err != nil || name != fmt.Sprint("token-", i) {
			t.Errorf("%q, %v", name, err)
		}
	}
	if _, err := tokens.Add(t.Context(), dir, tokens.Token{Name: "token-3", Scopes: []string{"read"}}); !errors.Is(err, tokens.ErrExists) {
		t.Errorf("got %v", err)
	}
}

// A file that is not exactly what the package writes lets nobody in, names itself, and is not replaced by a change.
func TestADamagedFileOpensNoDoor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := add(t, dir, "first", "read")
	name := filepath.Join(dir, "tokens")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := tokens.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	edit := func(old, changed string) string {
		if !strings.Contains(string(good), old) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return strings.Replace(string(good), old, changed, 1)
	}
	digest := fmt.Sprintf("%x", tokens.Digest(secret))
	for what, content := range map[string]string{
		"nothing":                ``,
		"cut":                    string(good[:len(good)-3]),
		"no JSON":                `tokens`,
		"a list":                 `[]`,
		"no version":             edit(`"version": 1,`, ``),
		"version 0":              edit(`"version": 1`, `"version": 0`),
		"a newer version":        edit(`"version": 1`, `"version": 2`),
		"an unknown member":      edit(`"name"`, `"all": true, "name"`),
		"an unknown scope":       edit(`"read"`, `"root"`),
		"no scope":               edit(`"read"`, ``),
		"a scope twice":          edit(`"read"`, `"read", "read"`),
		"a digest that is short": edit(digest, digest[2:]),
		"a digest that is none":  edit(digest, strings.Repeat("z", 64)),
		"no name":                edit(`"first"`, `""`),
		"an agent without write": edit(`"read"`+"\n   ],", `"read"],"agent":"`+digest+`",`),
		"a token twice":          strings.Replace(string(good), `"tokens": [`, `"tokens": [{"name":"first","sha256":"`+strings.Repeat("0", 64)+`","scopes":["read"],"created":"2026-11-23T12:00:00Z"},`, 1),
		"a digest twice":         strings.Replace(string(good), `"tokens": [`, `"tokens": [{"name":"other","sha256":"`+digest+`","scopes":["read"],"created":"2026-11-23T12:00:00Z"},`, 1),
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var damaged *tokens.DamagedError
		if got, err := lookup(f, secret); !errors.As(err, &damaged) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
		if _, err := tokens.Open(dir); !errors.As(err, &damaged) {
			t.Errorf("%s: opened: %v", what, err)
		}
		if _, err := tokens.Add(t.Context(), dir, tokens.Token{Name: "more", Scopes: []string{"read"}}); !errors.As(err, &damaged) {
			t.Errorf("%s: added: %v", what, err)
		}
		if is, err := os.ReadFile(name); err != nil || string(is) != content {
			t.Errorf("%s: the file was changed to %q, %v", what, is, err)
		}
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := lookup(f, secret); err != nil || got != "first" {
		t.Errorf("put right again: %q, %v", got, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, mode := range []os.FileMode{0o620, 0o602} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		if got, err := lookup(f, secret); err == nil {
			t.Errorf("mode %v: %q is valid", mode, got)
		}
	}
	if err := errors.Join(os.Chmod(name, 0o600), os.Rename(name, name+".elsewhere"), os.Symlink(name+".elsewhere", name)); err != nil {
		t.Fatal(err)
	}
	if got, err := lookup(f, secret); err == nil {
		t.Errorf("through a link: %q is valid", got)
	}
}

// What cannot be a token is refused before anything is written.
func TestTokensThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for what, bad := range map[string]tokens.Token{
		"no name":         {Scopes: []string{"read"}},
		"a long name":     {Name: strings.Repeat("x", 65), Scopes: []string{"read"}},
		"a name in words": {Name: "two words", Scopes: []string{"read"}},
		"a control":       {Name: "a\x1bb", Scopes: []string{"read"}},
		"no scope":        {Name: "a"},
		"another scope":   {Name: "a", Scopes: []string{"admin"}},
		"a scope twice":   {Name: "a", Scopes: []string{"read", "read"}},
	} {
		if _, err := tokens.Add(t.Context(), dir, bad); !errors.Is(err, tokens.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

// Two files in a row that have the same size and time are told apart.
func TestAFileOfTheSameSizeAndTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "tokens")
	f, err := tokens.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := ""
	for i := range 5 {
		secret := add(t, dir, fmt.Sprint("token-", i), "read")
		if err := os.Chtimes(name, noon, noon); err != nil {
			t.Fatal(err)
		}
		if got, err := lookup(f, secret); err != nil {
			t.Fatalf("round %d: %q, %v", i, got, err)
		}
		if last != "" {
			if got, err := lookup(f, last); !errors.Is(err, tokens.ErrUnknown) {
				t.Fatalf("round %d: the revoked one gives %q, %v", i, got, err)
			}
		}
		last = secret
		if err := tokens.Revoke(t.Context(), dir, fmt.Sprint("token-", i)); err != nil {
			t.Fatal(err)
		}
	}
}
