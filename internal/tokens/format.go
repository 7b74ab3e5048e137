package tokens

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"time"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/durable"
)

// version is that of the format which this package writes, and the only one that it reads.
const version = 1

// longest is how long the file may be: some thousands of tokens.
const longest = 4 << 20

// A DamagedError says that the file with the tokens cannot be used. No token is valid then.
type DamagedError struct {
	Path   string
	Reason error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s cannot be used, and no token is valid until it can: %v", e.Path, e.Reason)
}

func (e *DamagedError) Unwrap() error { return e.Reason }

// The JSON of the file.
type (
	fileJSON struct {
		Version int         `json:"version"`
		Tokens  []tokenJSON `json:"tokens"`
	}
	tokenJSON struct {
		Name    string         `json:"name"`
		SHA256  string         `json:"sha256"`
		Scopes  []string       `json:"scopes"`
		Agent   *audit.AgentID `json:"agent,omitempty"`
		Created time.Time      `json:"created"`
		Expires *time.Time     `json:"expires,omitempty"`
	}
)

func encode(all []Token) ([]byte, error) {
	f := fileJSON{Version: version, Tokens: []tokenJSON{}}
	for _, t := range all {
		j := tokenJSON{Name: t.Name, SHA256: hex.EncodeToString(t.Digest[:]), Scopes: t.Scopes, Agent: t.Agent, Created: t.Created.UTC()}
		if !t.Expires.IsZero() {
			expires := t.Expires.UTC()
			j.Expires = &expires
		}
		f.Tokens = append(f.Tokens, j)
	}
	b, err := json.MarshalIndent(f, "", " ")
	return append(b, '\n'), err
}

func decode(content []byte) ([]Token, error) {
	// The version comes first: a newer format may have members that this program does not know.
	var v struct{ Version *int }
	if err := json.Unmarshal(content, &v); err != nil {
		return nil, err
	}
	switch {
	case v.Version == nil:
		return nil, errors.New("it has no version")
	case *v.Version > version:
		return nil, fmt.Errorf("it has version %d, and this auditsql knows version %d: use the newer auditsql", *v.Version, version)
	case *v.Version != version:
		return nil, fmt.Errorf("it has version %d, which never was", *v.Version)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	var f fileJSON
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	names, digests := map[string]bool{}, map[[sha256.Size]byte]string{}
	var all []Token
	for i, j := range f.Tokens {
		t := Token{Name: j.Name, Scopes: j.Scopes, Agent: j.Agent, Created: j.Created}
		if j.Expires != nil {
			t.Expires = *j.Expires
			if t.Expires.IsZero() {
				return nil, fmt.Errorf("tokens[%d]: it expires at the zero time", i)
			}
		}
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("tokens[%d]: %w", i, err)
		}
		digest, err := hex.DecodeString(j.SHA256)
		if err != nil || len(digest) != len(t.Digest) {
			return nil, fmt.Errorf("tokens[%d]: sha256 is no SHA-256 in hex", i)
		}
		t.Digest = [sha256.Size]byte(digest)
		if names[t.Name] {
			return nil, fmt.Errorf("tokens[%d]: a second token %s", i, t.Name)
		}
		if other, ok := digests[t.Digest]; ok {
			return nil, fmt.Errorf("tokens[%d]: %s and %s have the same sha256", i, other, t.Name)
		}
		names[t.Name], digests[t.Digest] = true, t.Name
		all = append(all, t)
	}
	return all, nil
}

// read reads the file, and returns its status unless it could not be read. Without a file there are no tokens. keep, if not nil, gets the open file, which it has to close.
func read(name string, keep func(*os.File)) ([]Token, fs.FileInfo, error) {
	f, err := durable.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &DamagedError{name, err}
	}
	if keep == nil {
		defer f.Close()
	} else {
		keep(f)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, &DamagedError{name, err}
	}
	content, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err != nil {
		// The file itself may be right, and be readable the next time. Without info that is tried: nobody would be let in otherwise
		// until the file changes.
		return nil, nil, &DamagedError{name, err}
	}
	all, err := checked(content, info)
	if err != nil {
		return nil, info, &DamagedError{name, err}
	}
	return all, info, nil
}

// checked decodes what the file has, if nobody but its owner can have written that.
func checked(content []byte, info fs.FileInfo) ([]Token, error) {
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o022 != 0 {
		return nil, fmt.Errorf("others than its owner can write to it (mode %04o): chmod 600 corrects that", mode)
	}
	if len(content) > longest {
		return nil, fmt.Errorf("it is longer than %d MiB", longest>>20)
	}
	return decode(content)
}
