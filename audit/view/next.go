package view

import (
	"context"
	"errors"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/internal/legible"
)

// A Step is a command that may be worth running next.
type Step struct {
	Args  []string // after the name of the program, not quoted
	About string   // what it answers
}

// lengths are those to which ids and hashes are cut in commands.
var lengths = []int{8, 12, 16, 24, 32}

// Query is as much of the id of a record as is unambiguous.
func (v *Viewer) Query(ctx context.Context, id audit.QueryID) string {
	s := id.String()
	for _, n := range lengths {
		if found, err := v.store.Resolve(ctx, s[:n]); err == nil && len(found) == 1 {
			return s[:n]
		}
	}
	return s
}

// Name is how a hash is best typed: its label, if no other hash has that label and no command takes it for a flag, or as much of it as is
// unambiguous.
func (v *Viewer) Name(ctx context.Context, h audit.Hash, kinds audit.HashKind) string {
	if label := v.labels.Of(h); label != "" && len(v.labels.Hashes(label)) == 1 && legible.Visible(label) == label && !strings.HasPrefix(label, "-") {
		return label
	}
	s := h.String()
	for _, n := range lengths {
		found, err := v.store.ResolveHash(ctx, s[:n], kinds)
		var ambiguous *audit.AmbiguousError
		if err == nil && found == h {
			return s[:n]
		}
		if err != nil && !errors.As(err, &ambiguous) {
			break
		}
	}
	return s
}

// typable reports whether a text can be pasted into a shell as it is shown.
func typable(s string) bool { return len(s) <= 100 && legible.Visible(s) == s }

// answersArgs is the command answers for a question, also when that looks like a flag.
func answersArgs(subject, predicate string) []string {
	if strings.HasPrefix(subject, "-") || strings.HasPrefix(predicate, "-") {
		return []string{"answers", "--", subject, predicate}
	}
	return []string{"answers", subject, predicate}
}
