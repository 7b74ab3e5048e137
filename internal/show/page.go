package show

import (
	"fmt"

	"github.com/auditsql/auditsql/audit/view"
)

// A page for people, in a terminal or in a browser, shows the ShownEvidence weightiest pieces of evidence, and up to as many of the
// lighter ones that nobody approved. Of each piece it shows at most ShownOthers of the agents that also used it, and at most twice as many of
// all pieces.
const (
	ShownEvidence = 20
	ShownOthers   = 8
)

// ChangedSign stands before an answer that differs from the one before it. A change may be right, so it is not the ! of what nobody approved,
// and has no colour of an alarm.
const ChangedSign = "≠"

// A Selection chooses the pieces of evidence that a page shows. The zero value has chosen nothing yet.
type Selection struct {
	Left           int // pieces that were left out
	LeftUnapproved int // those of them that nobody approved

	shown map[string]int
}

// Shows reports whether the next piece is shown. Pieces of different groups do not take each other's room: a difference has a group for each
// kind of change.
func (s *Selection) Shows(group string, unapproved bool) bool {
	if n := s.shown[group]; n >= ShownEvidence && (!unapproved || n >= 2*ShownEvidence) {
		s.Left++
		if unapproved {
			s.LeftUnapproved++
		}
		return false
	}
	if s.shown == nil {
		s.shown = map[string]int{}
	}
	s.shown[group]++
	return true
}

// Changes counts the changed pieces of evidence by their kind: view.Added, view.Changed and view.Removed.
func Changes(d *view.Diff) map[string]int {
	count := map[string]int{}
	for i := range d.Evidence {
		count[d.Evidence[i].Change]++
	}
	return count
}

// Weight is a sum of weights, without the digits that adding floats leaves at its end.
func Weight(f float64) string { return fmt.Sprintf("%.6g", f) }
