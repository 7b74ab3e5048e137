package signing

import (
	"context"
	"fmt"
	"slices"

	"github.com/auditsql/auditsql/evidence"
	"github.com/auditsql/auditsql/internal/durable"
)

// Memory is the file beside a key that has the last checkpoint that was signed with it: FILE.signed.
type Memory struct {
	key  string // the file with the key
	disk files
}

// MemoryOf returns the memory of the key in a file.
func MemoryOf(key string) Memory { return Memory{key, durableFiles{}} }

// Path returns the path of the file.
func (m Memory) Path() string { return m.key + ".signed" }

// Lock makes other processes that would sign with the key wait, until unlock.
func (m Memory) Lock(ctx context.Context) (unlock func() error, err error) {
	return durable.Lock(ctx, m.Path()+".lock", m.key)
}

// Read returns the signed checkpoint as it is. The error is fs.ErrNotExist when nothing was signed with the key, or the memory
// was lost. No signature is checked.
func (m Memory) Read() ([]byte, error) { return readFile(m.Path()) }

// Write replaces the memory as a whole. The caller has the lock, and has found that the tree of the checkpoint extends what
// the memory has.
func (m Memory) Write(note []byte) error {
	if err := m.disk.replace(m.Path(), m.key, note); err != nil {
		return fmt.Errorf("remember what is signed: %w", err)
	}
	return nil
}

// Known is what is known of the checkpoints that a log has signed.
type Known struct {
	Memory Copy   // FILE.signed
	Store  Copy   // DIR/checkpoint
	Next   []Copy // the memories of the keys that have followed the log's key (FILE.next)
	Before []Copy // the memories of the keys that the log had before, as far as they are still there
}

// Copy is a file with a signed checkpoint.
type Copy struct {
	Path string
	Note []byte // nil: there is none, or it does not count
	evidence.Checkpoint
	// Err says why the file does not count: it is fs.ErrNotExist, another error of reading it, or ErrCheckpoint.
	Err error
	// alone says that this is log.json, and that the memory is whole: when the memory says less, log.json was changed.
	alone bool
}

// Known reads FILE.signed and DIR/checkpoint, and checks their signatures.
func (c *Config) Known(dir string) (Known, error) {
	policy, err := c.policy()
	if err != nil {
		return Known{}, fmt.Errorf("%s: %w: %w", Path(dir), ErrConfig, err)
	}
	return Known{c.read(MemoryOf(c.Key).Path(), policy), c.read(CheckpointPath(dir), policy), c.followers(), c.predecessors(policy)}, nil
}

func (c *Config) read(path string, policy *evidence.Policy) Copy {
	note, err := readFile(path)
	if err != nil {
		return Copy{Path: path, Err: err}
	}
	if said, err := evidence.ReadUnverified(note); err == nil && said.Origin != c.Origin && c.hadLog(said.Origin) {
		// The last checkpoint of an earlier log of this store.
		return Copy{Path: path}
	}
	v := evidence.VerifyCheckpoint(note, policy)
	if v.Outcome != evidence.Proven {
		return Copy{Path: path, Err: fmt.Errorf("%s: %w: %s", path, ErrCheckpoint, v.Detail)}
	}
	return Copy{Path: path, Note: note, Checkpoint: v.Checkpoint}
}

// hadLog reports whether the store had a log of this name before.
func (c *Config) hadLog(origin string) bool {
	return slices.ContainsFunc(c.Earlier, func(e Earlier) bool { return e.Origin == origin })
}

// newest returns the one of the larger checkpoint. At equal sizes that is DIR/checkpoint, which has the cosignatures.
func (k Known) newest() Copy {
	if k.Store.Note == nil || k.Memory.Note != nil && k.Memory.Size > k.Store.Size {
		return k.Memory
	}
	return k.Store
}

// Newest returns the larger one of the checkpoints in FILE.signed and DIR/checkpoint, with its signature checked, and nil when
// there is none. A FILE.signed that cannot be read is left out: the key may be on another machine.
func (c *Config) Newest(dir string) (note []byte, cp evidence.Checkpoint, err error) {
	known, err := c.Known(dir)
	if err != nil {
		return nil, cp, err
	}
	newest := known.newest()
	if newest.Note == nil && known.Store.Err != nil && !missing(known.Store.Err) {
		return nil, cp, known.Store.Err
	}
	return newest.Note, newest.Checkpoint, nil
}
