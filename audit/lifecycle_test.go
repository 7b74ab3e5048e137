package audit_test

import (
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

func TestLifecycleNames(t *testing.T) {
	for l, name := range map[audit.Lifecycle]string{
		audit.Proposed: "Proposed", audit.UnderReview: "UnderReview", audit.Approved: "Approved",
		audit.Deprecated: "Deprecated", audit.Rejected: "Rejected", audit.Unstated: "Unstated",
	} {
		if l.String() != name {
			t.Errorf("%d is called %s, want %s", l, l, name)
		}
		if text, err := l.MarshalText(); err != nil || string(text) != name {
			t.Errorf("%s is written %q, %v", name, text, err)
		}
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got, err := audit.ParseLifecycle(spelling); err != nil || got != l {
				t.Errorf("ParseLifecycle(%q) = %v, %v", spelling, got, err)
			}
			var got audit.Lifecycle
			if err := got.UnmarshalText([]byte(spelling)); err != nil || got != l {
				t.Errorf("UnmarshalText(%q) = %v, %v", spelling, got, err)
			}
		}
	}
	for _, spelling := range []string{"under_review", "UNDER_REVIEW", "Under_Review"} {
		if got, err := audit.ParseLifecycle(spelling); err != nil || got != audit.UnderReview {
			t.Errorf("ParseLifecycle(%q) = %v, %v", spelling, got, err)
		}
	}
}

func TestLifecycleRefuses(t *testing.T) {
	for _, name := range []string{"", "approve", "Approved ", " Approved", "under-review", "under review", "under__review",
		"2", "null", "Propo\u017fed", "Approved\x00", strings.Repeat("Approved", 1000)} {
		_, err := audit.ParseLifecycle(name)
		wantInvalid(t, err, "")
		l := audit.Approved
		wantInvalid(t, l.UnmarshalText([]byte(name)), "")
		if l != audit.Approved {
			t.Errorf("a refused text left %s", l)
		}
	}
	// What an error repeats is cut between characters.
	_, err := audit.ParseLifecycle("a" + strings.Repeat("é", 100))
	wantInvalid(t, err, "")
	if strings.Contains(err.Error(), `\x`) || !strings.Contains(err.Error(), `\u00e9`) {
		t.Errorf("a character is cut in half: %v", err)
	}
	if _, err := audit.Lifecycle(6).MarshalText(); err == nil {
		t.Error("a lifecycle without a name is written")
	}
	if got := audit.Lifecycle(9).String(); got != "Lifecycle(9)" {
		t.Errorf("a lifecycle without a name is called %q", got)
	}
	if audit.Lifecycle(6).Valid() || !audit.Unstated.Valid() {
		t.Error("Valid does not end at Unstated")
	}
}
