package audit

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/keyfile"
	"github.com/auditsql/auditsql/internal/signing"
	"github.com/auditsql/auditsql/tree"
)

var (
	// ErrBehind says that the store has fewer records than were signed: a backup was restored, or a machine was rolled back.
	// Opening such a store for writing is refused, and so is a signature.
	ErrBehind = signing.ErrBehind
	// ErrForked is ErrBehind for a store that has other records than were signed.
	ErrForked = signing.ErrForked
	// ErrNoLog says that the store has no log: nothing says with which key it is to be signed.
	ErrNoLog = errors.New("the store has no log that is signed")
)

// Why a log is not signed.
var (
	// ErrNoKey says that the private key of the log cannot be read, or is another one. Puts go on without it.
	ErrNoKey = signing.ErrNoKey
	// ErrNoMemory says that FILE.signed beside the key is missing, although something was signed. Puts go on without it.
	ErrNoMemory = signing.ErrNoMemory
	// ErrStopped says that a witness has seen another history of the log. Puts go on, nothing is signed.
	ErrStopped = signing.ErrStopped
	// ErrLogFile says that log.json, or a file with a signed checkpoint, is not what the store has written.
	ErrLogFile = errors.New("a file of the log cannot be used")
)

// A MismatchError says which checkpoint the store's records do not extend. It is an ErrBehind or an ErrForked.
type MismatchError = signing.MismatchError

// LogOptions say how the log of a store is signed.
type LogOptions struct {
	// Key is the file with the private key (auditsql key new). It must not be in the store. FILE.signed is written beside it,
	// so this process must be able to write in its folder.
	Key string
	// Origin is the name of the log, which must be that of the key. "" is that name.
	Origin string
	// Every is how often the log is signed while records come; 0 is a minute.
	Every time.Duration
	// Publish are folders for static hosting (c2sp.org/tlog-tiles).
	Publish []string
	// Exec are shell commands that get each checkpoint on standard input.
	Exec []string
	// Policy is the file with a policy (c2sp.org/tlog-policy), whose witnesses are asked to cosign. "" is none.
	Policy string
	// Resume signs the log again after a witness has seen another history of it (ErrStopped). A person has to have found out why.
	Resume bool
}

// WithSigner makes the store sign its log, for this opening and all later ones: it writes DIR/log.json. A store that has
// DIR/log.json is signed without this option. For such a store it replaces everything but the key. Another key than that of the
// log is an ErrInvalid.
//
// The log is signed when it has grown, every LogOptions.Every and when the store is closed. No put waits for it.
func WithSigner(l LogOptions) Option { return func(o *options) { o.signer = &l } }

// WithSignEvery says how often the log is signed during this opening. It changes nothing when the store has no log.
func WithSignEvery(d time.Duration) Option { return func(o *options) { o.signEvery = d } }

// A Signature is a checkpoint of the log that was signed.
type Signature struct {
	Origin string    `json:"origin"`
	Size   uint64    `json:"size"` // records that it covers; 0 when nothing is signed yet, since the store is empty
	Root   tree.Hash `json:"root"`
	Note   []byte    `json:"-"` // the signed note, without cosignatures
	// New says that it was signed now. Otherwise there was nothing new since the last one.
	New bool `json:"new"`
	// Failed are the places outside of the store that do not have it, by name, and why.
	Failed map[string]error `json:"-"`
}

// Sign signs the log as it is now, if it has grown since the last signature, and brings the checkpoint to all places that do not
// have it yet. It waits for these as long as ctx lets it: those that fail or hang are in Signature.Failed, and are tried again
// later.
//
// Nothing is signed when the error is ErrNoLog, ErrBehind, ErrForked, ErrNoKey, ErrNoMemory or ErrStopped.
func (db *DB) Sign(ctx context.Context) (Signature, error) {
	done, err := db.begin()
	if err != nil {
		return Signature{}, fmt.Errorf("sign the log: %w", err)
	}
	defer done()
	if db.signer == nil {
		return Signature{}, fmt.Errorf("sign the log: %w", ErrNoLog)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(db.quit, func() { cancel(ErrClosed) })()
	if err := db.caughtUp(ctx); err != nil {
		return Signature{}, fmt.Errorf("sign the log: %w", err)
	}
	return db.signer.signNow(ctx)
}

// configure returns what log.json is to say after WithSigner. had is what it says, nil when the store has no log.
func (l *LogOptions) configure(dir string, had *signing.Config) (*signing.Config, error) {
	invalid := func(format string, args ...any) (*signing.Config, error) {
		return nil, fmt.Errorf("%w: the log: %w", ErrInvalid, fmt.Errorf(format, args...))
	}
	if l.Key == "" {
		return invalid("no key is given")
	}
	if strings.HasPrefix(l.Key, keyfile.Prefix) {
		return invalid("a private key is given in place of the file that has it")
	}
	file, err := filepath.Abs(l.Key)
	if err != nil {
		return nil, err
	}
	if signing.Within(file, dir) {
		return invalid("the key %s lies in the store, and its backups would have it", l.Key)
	}
	c := &signing.Config{}
	switch key, err := signing.ReadKey(file); {
	case errors.As(err, new(*LinkError)):
		return invalid("the key %s is a link, and the memory of what is signed would be beside the link: name the file that it leads to", l.Key)
	case err == nil:
		c = signing.NewConfig(file, key)
	case had == nil || had.Key != file:
		return nil, fmt.Errorf("%w: %w", ErrNoKey, err)
	default:
		// Puts go on without the key of a log that exists.
		*c = *had
		c.Publish, c.Exec, c.Policy, c.Stopped = nil, nil, "", ""
	}
	if l.Origin != "" && l.Origin != c.Origin {
		return invalid("its name is %q, and that of the key %s is %q: both must be the same", l.Origin, l.Key, c.Origin)
	}
	if had != nil {
		if had.VerifierKey != c.VerifierKey {
			return invalid("it is signed with the key %s+%s, and %s is %s+%s", had.Origin, had.KeyID, l.Key, c.Origin, c.KeyID)
		}
		c.Signed, c.Earlier, c.Delivered = had.Signed, had.Earlier, had.Delivered // the file with the key may have moved
		if !l.Resume {
			c.Stopped = had.Stopped
		}
	}
	if l.Every < 0 {
		return invalid("every %v is less than nothing", l.Every)
	}
	if l.Every > 0 {
		c.Every = signing.Duration(l.Every)
	}
	for _, folder := range l.Publish {
		abs, err := filepath.Abs(folder)
		if err != nil {
			return nil, err
		}
		if signing.Within(filepath.Join(abs, "checkpoint"), dir) {
			return invalid("the folder %s lies in the store", folder)
		}
		if signing.Within(file, abs) {
			return invalid("the key %s lies in the folder %s, and would be published", l.Key, folder)
		}
		c.Publish = append(c.Publish, abs)
	}
	for _, command := range l.Exec {
		if strings.TrimSpace(command) == "" {
			return invalid("a command is empty")
		}
	}
	c.Exec = slices.Clone(l.Exec)
	if l.Policy != "" {
		if c.Policy, err = filepath.Abs(l.Policy); err != nil {
			return nil, err
		}
		policy, err := signing.ReadPolicy(c.Policy)
		if err != nil {
			return invalid("%w", err)
		}
		if len(policy.Witnesses()) == 0 {
			return invalid("the policy %s names no witness", l.Policy)
		}
	}
	return c, nil
}
