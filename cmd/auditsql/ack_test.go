package main

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A program in any language writes through one import - --ack: each id that it read back is there, also when
// the import is killed.
func TestWhatWasAnsweredSurvivesAKill(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	p := start(t, "-d", store, "import", "-", "--ack")
	go func() {
		for i := 0; ; i++ {
			line := fmt.Sprintf(`{"timestamp":%d,"params":{"subject":"record %d"},"result_confidence":0.5}`+"\n", i, i)
			if _, err := io.WriteString(p.in, line); err != nil {
				return // killed
			}
		}
	}()
	var ids []string
	for line, err := p.answers.ReadString('\n'); err == nil; line, err = p.answers.ReadString('\n') {
		if ids = append(ids, strings.TrimSpace(line)); len(ids) == 300 {
			// What it answers until it is dead counts as well.
			if err := p.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = p.Wait()
	if len(ids) < 300 {
		t.Fatalf("only %d answers: %s", len(ids), p.said)
	}
	for len(ids) > 0 {
		some := ids[:min(500, len(ids))]
		ids = ids[len(some):]
		out, err := exec.Command("auditsql", append([]string{"-d", store, "get", "--raw"}, some...)...).Output()
		if err != nil || strings.Count(string(out), `{"query_id":`) != len(some) {
			t.Fatalf("of %d answered ids, %d are there: %v", len(some), strings.Count(string(out), `{"query_id":`), err)
		}
	}
	if out, err := exec.Command("auditsql", "-d", store, "verify").CombinedOutput(); err != nil {
		t.Fatalf("verify: %v\n%s", err, out)
	}
}
