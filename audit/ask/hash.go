package ask

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/auditsql/auditsql/audit"
)

// Found is the hash that somebody meant.
type Found struct {
	Hash audit.Hash

	// Other is set when the hash is known, but as none of the kinds that were asked for. Nothing will be found with
	// it, and that would look as if nothing had been recorded.
	Other audit.HashKind
}

// OtherKinds writes Other for a sentence, as in "an agent and a source".
func (f Found) OtherKinds() string {
	var kinds []string
	for _, k := range []struct {
		kind audit.HashKind
		name string
	}{{audit.AgentHash, "an agent"}, {audit.AssertionHash, "an assertion"}, {audit.SourceHash, "a source"}} {
		if f.Other&k.kind != 0 {
			kinds = append(kinds, k.name)
		}
	}
	return strings.Join(kinds, " and ")
}

// Hash finds the hash of these kinds that somebody meant: by all of its digits, by its label, or by its first 8 or
// more digits. Where several begin with these digits, asOf leaves those that the store had at that moment; nil leaves all. What the hash
// is known as is that of the same moment.
// Its errors are those of audit.DB.ResolveHash: *audit.UnknownError, *audit.AmbiguousError, an
// audit.ErrInvalid for what cannot be a hash or a label, and any other from the store.
func Hash(ctx context.Context, db Store, typed string, kinds audit.HashKind, asOf *uint64) (Found, error) {
	h, err := db.ResolveHashAsOf(ctx, typed, kinds, asOf)
	if err != nil {
		return Found{}, err
	}
	found := Found{Hash: h}
	if len(typed) < hexDigits && CheckID(typed) == nil {
		return found, nil // ResolveHash looks for first digits among these kinds alone
	}
	is, err := db.IdentifyAsOf(ctx, h, asOf)
	if err != nil {
		return Found{}, err
	}
	var known audit.HashKind
	if is.Agent != nil {
		known |= audit.AgentHash
	}
	if is.Assertion.Answers > 0 {
		known |= audit.AssertionHash
	}
	if is.Source.Answers > 0 {
		known |= audit.SourceHash
	}
	if known&kinds == 0 {
		found.Other = known
	}
	return found, nil
}

// Refused reports whether an error of Hash or ID is about what was typed, and not about the store.
func Refused(err error) bool {
	var unknown *audit.UnknownError
	var ambiguous *audit.AmbiguousError
	var ambiguousID *AmbiguousIDError
	return errors.As(err, &unknown) || errors.As(err, &ambiguous) || errors.As(err, &ambiguousID) ||
		errors.Is(err, audit.ErrInvalid) || errors.Is(err, audit.ErrNotFound)
}

// hexDigits is how many hex digits a hash has.
const hexDigits = 2 * len(audit.Hash{})

// CheckID refuses, with audit.ErrInvalid, what can be neither an id nor the beginning of one.
func CheckID(typed string) error {
	even := typed + strings.Repeat("0", len(typed)%2)
	switch _, err := hex.DecodeString(even); {
	case err != nil:
		return invalid("%q is no id: want hex digits", typed)
	case len(typed) < audit.MinPrefix:
		return invalid("%q is too short: want %d hex digits or more", typed, audit.MinPrefix)
	case len(typed) > hexDigits:
		return invalid("%q is too long: an id has %d hex digits", typed, hexDigits)
	}
	return nil
}

// invalid is an audit.ErrInvalid with this text.
func invalid(format string, args ...any) error {
	return &audit.FieldError{Reason: fmt.Sprintf(format, args...)}
}

// An AmbiguousIDError says that several ids begin with what was typed.
type AmbiguousIDError struct {
	Typed string
	IDs   []audit.QueryID // at most audit.MaxResolved
}

// Error implements error.
func (e *AmbiguousIDError) Error() string {
	names := make([]string, len(e.IDs))
	for i, id := range e.IDs {
		names[i] = id.String()
	}
	return e.Typed + " is ambiguous: " + strings.Join(names, ", ")
}

// ID finds the one query id that begins with what was typed, 8 or more digits. It returns all 64 digits as they are,
// and does not look whether there is such a record. asOf is that of Hash. Its errors are an audit.ErrInvalid as CheckID returns it, an
// *AmbiguousIDError, audit.ErrNotFound, and any other from the store.
func ID(ctx context.Context, db Store, typed string, asOf *uint64) (audit.QueryID, error) {
	if err := CheckID(typed); err != nil {
		return audit.QueryID{}, err
	}
	if id, err := audit.ParseHash(typed); err == nil {
		return id, nil
	}
	ids, err := db.ResolveAsOf(ctx, strings.ToLower(typed), asOf)
	switch {
	case err != nil:
		return audit.QueryID{}, err
	case len(ids) == 0:
		return audit.QueryID{}, audit.ErrNotFound
	case len(ids) > 1:
		return audit.QueryID{}, &AmbiguousIDError{typed, ids}
	}
	return ids[0], nil
}
