package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/auditsql/auditsql/audit"
)

// After a reindex that was interrupted no command shows a part of the forensic tables as the whole.
func TestNothingIsShownOfAnInterruptedReindex(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	if _, said, code := auditsql("-d", dir, "put", "--subject", "one", "--confidence", "1"); code != exitDone {
		t.Fatal(said)
	}
	db, err := audit.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := db.Reindex(ctx, func(uint64, uint64) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"recent"}, {"sql", "SELECT count(*) FROM audits"}, {"sql", "SELECT count(*) FROM audit"},
	} {
		args = append(append([]string{"-d", dir}, args...), "--read-only")
		if out, said, code := auditsql(args...); code != exitFailed || out != "" || !strings.Contains(said, audit.ErrReindexing.Error()) {
			t.Errorf("%q: exit code %d: %s%s", args, code, out, said)
		}
	}
	if out, said, code := auditsql("-d", dir, "sql", "SELECT count(*) FROM audits"); code != exitDone || out != "1\n" {
		t.Errorf("exit code %d: %s%s", code, out, said)
	}
	if out, said, code := auditsql("-d", dir, "verify"); code != exitDone {
		t.Errorf("verify: %s%s", out, said)
	}
}
