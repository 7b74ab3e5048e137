package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
	"github.com/auditsql/auditsql/tree"
)

const format = 1

// DefaultEvery is how often a log is signed unless a flag says otherwise.
const DefaultEvery = time.Minute

// Config is what DIR/log.json says: who signs the log of the store in DIR, how often, and where checkpoints go.
type Config struct {
	Format int `json:"format"`
	// Key is the absolute path of the file with the private key.
	Key string `json:"key"`
	// Origin is the name of the log, and that of its key.
	Origin string `json:"origin"`
	// KeyID is the id of the key, as 8 hex digits. VerifierKey is the public key in note format.
	KeyID       string   `json:"key_id"`
	VerifierKey string   `json:"verifier_key"`
	Every       Duration `json:"every"`

	// Publish are folders, Exec are shell commands, and Policy is the file with the policy that names the witnesses.
	// The paths are absolute.
	Publish []string `json:"publish,omitempty"`
	Exec    []string `json:"exec,omitempty"`
	Policy  string   `json:"policy,omitempty"`

	// Signed is what was signed last; nil when nothing was.
	Signed *Signed `json:"signed,omitempty"`
	// Stopped says why nothing more may be signed, or is "": a witness has another history of the log.
	Stopped string `json:"stopped,omitempty"`
	// Failed says why the log was not signed when that was tried last; nil when it was, or there was nothing to sign.
	Failed *Failure `json:"failed,omitempty"`
	// Earlier are the logs and the keys that the store had before, the oldest first.
	Earlier []Earlier `json:"earlier,omitempty"`
	// Delivered is what each place outside of the store got last, by the name of the place.
	Delivered map[string]Delivery `json:"delivered,omitempty"`
}

// Signed is a checkpoint that was signed.
type Signed struct {
	Size int64     `json:"size"`
	Root tree.Hash `json:"root"`
	// Offset is an offset of the journal. It is after the last record of the checkpoint, and everything before it was synced.
	Offset uint64    `json:"offset"`
	At     time.Time `json:"at"`
}

// Failure says why the log was not signed.
type Failure struct {
	Error string    `json:"error"`
	At    time.Time `json:"at"` // when this error was seen first
}

// Earlier is a log that the store had before, or a key that its log had.
type Earlier struct {
	Origin      string    `json:"origin"`
	Key         string    `json:"key,omitempty"` // where the file with the private key was
	VerifierKey string    `json:"verifier_key"`
	Checkpoint  string    `json:"checkpoint,omitempty"` // the last signed one that is known, as it is
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"`
}

// Delivery is what a place outside of the store got.
type Delivery struct {
	Size  int64      `json:"size"`            // of the last checkpoint that it got
	At    *time.Time `json:"at,omitempty"`    // when; nil: it never got one
	Error string     `json:"error,omitempty"` // why it did not get the newest one; "" when it did
	// Failed is when it failed last; nil when the last delivery succeeded.
	Failed *time.Time `json:"failed,omitempty"`
}

// Duration is a time.Duration that is a text like 1m0s in JSON.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText is String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what String returns.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Path returns the path of log.json in the store's folder.
func Path(dir string) string { return filepath.Join(dir, storedir.LogName) }

// CheckpointPath returns the path of the newest signed checkpoint in the store's folder.
func CheckpointPath(dir string) string { return filepath.Join(dir, storedir.CheckpointName) }

// NewConfig returns the configuration of a log that is signed with the key in a file, and has signed nothing. The path must be
// absolute.
func NewConfig(file string, key *evidence.Signer) *Config {
	return &Config{
		Format: format, Key: file, Origin: key.Name(), KeyID: fmt.Sprintf("%08x", key.KeyHash()), VerifierKey: key.VerifierKey(),
		Every: Duration(DefaultEvery),
	}
}

// longest is how long a file may be that is read here. log.json has a checkpoint for each change of the log.
const longest = 1 << 20

// ReadConfig reads DIR/log.json. The error is fs.ErrNotExist when the store has no log. It is ErrConfig when the file is not
// what Write writes, and ErrLost when it is missing although DIR/checkpoint exists.
func ReadConfig(dir string) (*Config, error) {
	name := Path(dir)
	text, err := readFile(name)
	if missing(err) {
		if _, err := os.Lstat(CheckpointPath(dir)); err == nil {
			return nil, fmt.Errorf("%s: %w", name, ErrLost)
		}
	}
	if err != nil {
		return nil, err
	}
	c, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrConfig, err)
	}
	return c, nil
}

// readFile reads a small file of the store or beside the key.
func readFile(name string) ([]byte, error) {
	f, err := durable.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(text) > longest {
		err = fmt.Errorf("%s: it is longer than %d bytes", name, longest)
	}
	return text, err
}

func parse(text []byte) (*Config, error) {
	// The format first: the members of a newer one are not known here.
	var about struct{ Format int }
	if err := json.Unmarshal(text, &about); err != nil {
		return nil, err
	}
	if about.Format != format {
		return nil, fmt.Errorf("it has format %d, and this version reads format %d", about.Format, format)
	}
	c := &Config{}
	if err := strictly(text, c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// strictly reads JSON, and refuses members that this version does not know.
func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// check refuses values that Write never writes.
func (c *Config) check() error {
	switch {
	case !filepath.IsAbs(c.Key):
		return fmt.Errorf("key is %q, which is no absolute path", c.Key)
	case c.Every <= 0:
		return fmt.Errorf("every is %v, and must be more than 0", c.Every)
	case c.Signed != nil && (c.Signed.Size <= 0 || c.Signed.Size > tree.MaxSize):
		return fmt.Errorf("signed.size is %d", c.Signed.Size)
	}
	policy, err := evidence.KeyPolicy(c.VerifierKey)
	if err != nil {
		return fmt.Errorf("verifier_key: %w", err)
	}
	if have := policy.Logs()[0].Origin; have != c.Origin {
		return fmt.Errorf("origin is %q, and the name of the key is %q", c.Origin, have)
	}
	for _, path := range append(slices.Clone(c.Publish), c.Policy) {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%q is no absolute path", path)
		}
	}
	return nil
}

// Write replaces DIR/log.json as a whole. It is durable when Write returns. Only the writer of the store may call it.
func (c *Config) Write(dir string) error { return c.write(dir, durableFiles{}) }

func (c *Config) write(dir string, to files) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("write %s: %w", Path(dir), err)
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	if len(text) >= longest { // no reader would take it
		return fmt.Errorf("write %s: it would be longer than %d bytes: use fewer or shorter names of places and commands", Path(dir), longest)
	}
	if err := to.replace(Path(dir), storedir.OwnedLike(dir), append(text, '\n')); err != nil {
		return fmt.Errorf("write %s: %w", Path(dir), err)
	}
	return nil
}

// clone returns a copy that shares nothing that this package changes.
func (c *Config) clone() *Config {
	d := *c
	if c.Signed != nil {
		signed := *c.Signed
		d.Signed = &signed
	}
	d.Delivered = make(map[string]Delivery, len(c.Delivered))
	for name, delivery := range c.Delivered {
		d.Delivered[name] = delivery
	}
	return &d
}

// policy trusts the key of the log, and the keys that the log had before under the same origin.
func (c *Config) policy() (*evidence.Policy, error) {
	keys := []string{c.VerifierKey}
	for _, e := range c.Earlier {
		if e.Origin == c.Origin && !slices.Contains(keys, e.VerifierKey) {
			keys = append(keys, e.VerifierKey)
		}
	}
	return evidence.KeyPolicy(keys...)
}

// files are the writes of this package that must last. A test takes their place to find out what a process leaves that dies
// between two of them.
type files interface {
	// replace replaces a file as a whole. The new content is durable when it returns.
	replace(name, like string, content []byte) error
}

type durableFiles struct{}

func (durableFiles) replace(name, like string, content []byte) error {
	return durable.WriteBytes(name, like, content)
}

// missing reports whether a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
