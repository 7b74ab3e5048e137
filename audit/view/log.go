package view

import (
	"maps"
	"slices"
	"time"

	"github.com/auditsql/auditsql/audit"
)

// Log is the state of a store's log.
type Log struct {
	Origin      string `json:"origin"`
	Key         string `json:"key"`
	KeyID       string `json:"key_id"`
	VerifierKey string `json:"verifier_key"`
	Every       string `json:"every"`

	Signed   uint64     `json:"signed"`    // records that the newest checkpoint covers; 0: nothing is signed
	Root     *string    `json:"root"`      // of the newest checkpoint, in base64
	SignedAt *time.Time `json:"signed_at"` // of the newest checkpoint
	Unsigned uint64     `json:"unsigned"`  // records after the newest checkpoint

	Problem *string      `json:"problem"` // why nothing can be signed now
	Places  []LogPlace   `json:"places"`
	Earlier []EarlierLog `json:"earlier"`
}

// LogPlace is a place outside of the store that gets checkpoints.
type LogPlace struct {
	Name     string     `json:"name"`
	Signed   uint64     `json:"signed"` // records that the newest checkpoint there covers; 0: it got none
	At       *time.Time `json:"at"`
	Error    *string    `json:"error"` // why the last delivery failed
	FailedAt *time.Time `json:"failed_at"`
}

// EarlierLog is a log that the store had before, or a key that its log had.
type EarlierLog struct {
	Origin      string    `json:"origin"`
	VerifierKey string    `json:"verifier_key"`
	Checkpoint  *string   `json:"checkpoint"` // the last signed one that is known
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"`
}

// LogOf returns the state of a log for readers. records is how many records the store has.
func LogOf(s *audit.LogState, records uint64) *Log {
	v := &Log{
		Origin: s.Origin, Key: s.Key, KeyID: s.KeyID, VerifierKey: s.VerifierKey, Every: s.Every.String(),
		Signed: s.Size, SignedAt: moment(s.SignedAt),
		Places: []LogPlace{}, Earlier: []EarlierLog{},
	}
	if s.Problem != nil {
		v.Problem = known(s.Problem.Error())
	}
	if s.Size > 0 {
		root := s.Root.String()
		v.Root = &root
	}
	if records > s.Size {
		v.Unsigned = records - s.Size
	}
	for _, p := range s.Places {
		v.Places = append(v.Places, LogPlace{p.Name, p.Size, moment(p.At), known(p.Error), moment(p.FailedAt)})
	}
	for _, e := range s.Earlier {
		v.Earlier = append(v.Earlier, EarlierLog{e.Origin, e.VerifierKey, known(e.Checkpoint), e.Reason, e.At.UTC()})
	}
	return v
}

// known is nil for the empty text.
func known(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// moment is nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// Checkpoint is a checkpoint that was signed.
type Checkpoint struct {
	At     time.Time `json:"at"`
	Origin string    `json:"origin"`
	Size   int64     `json:"size"`
	Root   string    `json:"root"`
	Note   string    `json:"note"`
}

// CheckpointOf returns a signed checkpoint for readers.
func CheckpointOf(c *audit.SignedCheckpoint) *Checkpoint {
	return &Checkpoint{c.At.UTC(), c.Origin, c.Size, c.Root.String(), c.Note}
}

// Signature is what became of a signature of the log.
type Signature struct {
	Origin string        `json:"origin"`
	Size   uint64        `json:"size"`
	Root   string        `json:"root"`
	New    bool          `json:"new"`    // signed now; else there was nothing new
	Failed []Undelivered `json:"failed"` // places that do not have it
}

// Undelivered is a place that did not get a checkpoint.
type Undelivered struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// SignatureOf returns a signature for readers.
func SignatureOf(s *audit.Signature) *Signature {
	v := &Signature{Origin: s.Origin, Size: s.Size, Root: s.Root.String(), New: s.New, Failed: []Undelivered{}}
	for _, name := range slices.Sorted(maps.Keys(s.Failed)) {
		v.Failed = append(v.Failed, Undelivered{name, s.Failed[name].Error()})
	}
	return v
}
