package audit_test

import (
	"errors"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// AddLabels names only what has no name, and gives no name twice.
func TestAddLabelsLeavesWhatAPersonNamed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	db, err := audit.Open(dir, audit.WithReads(audit.Acknowledged))
	if err != nil {
		t.Fatal(err)
	}
	a, b, c := audit.Hash{1}, audit.Hash{2}, audit.Hash{3}
	if err := db.PutLabels(ctx, []audit.Label{{Hash: a, Label: "planner"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.AddLabels(ctx, []audit.Label{{Hash: a, Label: "other"}, {Hash: b, Label: "planner"}, {Hash: c, Label: "writer"}, {Hash: c, Label: "again"}}); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", "two\nlines", "deadbeef"} {
		if err := db.AddLabels(ctx, []audit.Label{{Hash: b, Label: "fine"}, {Hash: a, Label: wrong}}); !errors.Is(err, audit.ErrInvalid) {
			t.Errorf("label %q: %v", wrong, err)
		}
	}
	labels, err := db.Labels(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if labels.Of(a) != "planner" || labels.Of(b) != "" || labels.Of(c) != "writer" || len(labels.All()) != 2 {
		t.Errorf("the labels are %v", labels.All())
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	reader, err := audit.Open(dir, audit.ReadOnly())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := reader.AddLabels(ctx, []audit.Label{{Hash: b, Label: "fine"}}); !errors.Is(err, audit.ErrReadOnly) {
		t.Errorf("a reader adds labels: %v", err)
	}
}
