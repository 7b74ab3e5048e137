package signing

import (
	"encoding/json"
	"fmt"

	"github.com/auditsql/auditsql/evidence"
)

// nextKey is what FILE.next beside a key says: which key signs the log in its place. So a store that is put back to a moment
// before the change, and has the old key in its log.json, is compared with what the new key has signed as well.
type nextKey struct {
	Key         string `json:"key"` // the absolute path of the file
	VerifierKey string `json:"verifier_key"`
}

func (m Memory) nextPath() string { return m.key + ".next" }

func (m Memory) writeNext(f nextKey) error {
	text, err := json.Marshal(f)
	if err == nil {
		err = m.disk.replace(m.nextPath(), m.key, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("note the next key: %w", err)
	}
	return nil
}

func (m Memory) readNext() (f nextKey, err error) {
	text, err := readFile(m.nextPath())
	if err != nil {
		return f, err
	}
	if err := strictly(text, &f); err != nil {
		return f, fmt.Errorf("%s: %w", m.nextPath(), err)
	}
	return f, nil
}

// followers reads the memories of the keys that have followed the log's key, the nearest first.
func (c *Config) followers() (all []Copy) {
	seen := map[string]bool{c.Key: true}
	for m := MemoryOf(c.Key); ; {
		f, err := m.readNext()
		if missing(err) {
			return all
		}
		var policy *evidence.Policy
		if err == nil {
			policy, err = evidence.KeyPolicy(f.VerifierKey)
		}
		if err != nil {
			return append(all, Copy{Path: m.nextPath(), Err: err})
		}
		if seen[f.Key] {
			return all // the first key signs again
		}
		seen[f.Key] = true
		m = MemoryOf(f.Key)
		signed := c.read(m.Path(), policy)
		if signed.Note != nil && signed.Origin != c.Origin {
			signed = Copy{Path: m.Path(), Err: fmt.Errorf("%s: %w: it is of %s", m.Path(), ErrCheckpoint, signed.Origin)}
		}
		all = append(all, signed)
	}
}

// predecessors reads the memories of the keys that the log had before under its name. Such a key signs again when a store is put
// back to a moment before the change, and log.json then has the old key. What it signs after that counts for its followers too.
// A memory that is missing or does not count is left out: nobody has to keep a key that was replaced.
func (c *Config) predecessors(policy *evidence.Policy) (all []Copy) {
	seen := map[string]bool{"": true, c.Key: true} // an Earlier of an older version has no path
	for _, e := range c.Earlier {
		if e.Origin != c.Origin || seen[e.Key] {
			continue
		}
		seen[e.Key] = true
		if signed := c.read(MemoryOf(e.Key).Path(), policy); signed.Note != nil {
			all = append(all, signed)
		}
	}
	return all
}
