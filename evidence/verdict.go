package evidence

import (
	"errors"
	"fmt"
)

// Outcome is what a check found. The zero value is Undecided.
type Outcome int

const (
	Undecided Outcome = iota // this verifier cannot tell
	Proven                   // everything fits
	Refuted                  // something does not fit
)

// String returns "undecided", "proven" or "refuted".
func (o Outcome) String() string {
	switch o {
	case Proven:
		return "proven"
	case Refuted:
		return "refuted"
	}
	return "undecided"
}

// Reason is why something is not proven. Its text is stable.
type Reason string

const (
	// BadSignature refutes: a signature names a key of the policy, and that key did not sign this checkpoint.
	BadSignature Reason = "bad-signature"
	// NotIncluded refutes: the proof does not lead from this record, at this index, to the root that was signed.
	NotIncluded Reason = "not-included"
	// NotContinued refutes: the proof does not show that the older checkpoint is the beginning of the newer one. When the log
	// itself made the proof, it has two histories: a fork.
	NotContinued Reason = "not-continued"
	// OtherRecords refutes: the records are not those that the root was computed from, or some are missing.
	OtherRecords Reason = "other-records"

	// Unreadable leaves it undecided: a text is not in its format.
	Unreadable Reason = "unreadable"
	// UnknownKey leaves it undecided: no log of the policy under the checkpoint's origin signed it.
	UnknownKey Reason = "unknown-key"
	// NoQuorum leaves it undecided: too few of the policy's witnesses signed.
	NoQuorum Reason = "no-quorum"
	// OtherLog leaves it undecided: the two checkpoints are of two logs.
	OtherLog Reason = "other-log"
	// NotMatching leaves it undecided: somebody has mixed up texts of one log. The right edge is not that of the older
	// checkpoint, or the older checkpoint has more records than the newer one.
	NotMatching Reason = "not-matching"
	// NotCovered leaves it undecided: there are more records than the checkpoint has.
	NotCovered Reason = "not-covered"
	// NoProof leaves it undecided: something is there without the proof that belongs to it (package bundle).
	NoProof Reason = "no-proof"
)

// outcome returns which outcome a reason belongs to.
func (r Reason) outcome() Outcome {
	switch r {
	case BadSignature, NotIncluded, NotContinued, OtherRecords:
		return Refuted
	}
	return Undecided
}

// Verdict is what a check found. The zero Verdict is undecided.
type Verdict struct {
	Outcome Outcome
	Reason  Reason // "" when proven
	Detail  string // the reason in a sentence, with names and numbers; "" when proven

	// What was found. These are empty unless a log of the policy signed the checkpoint.
	Checkpoint   Checkpoint
	LogKey       string        // verifier key of the log
	Cosignatures []Cosignature // by witnesses of the policy, each checked
	Index        int64         // of the record, from [Verify]; of the first record, from [VerifyRange]
}

// Err returns nil when it is proven, and otherwise an error with the outcome and the detail.
func (v Verdict) Err() error {
	switch {
	case v.Outcome == Proven:
		return nil
	case v.Detail == "":
		return errors.New(v.Outcome.String())
	}
	return fmt.Errorf("%s: %s", v.Outcome, v.Detail)
}

// not returns the verdict with a reason why nothing is proven.
func (v Verdict) not(r Reason, format string, args ...any) Verdict {
	v.Outcome, v.Reason, v.Detail = r.outcome(), r, fmt.Sprintf(format, args...)
	return v
}
