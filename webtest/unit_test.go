package webtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd takes the unit of the guide as it is: it knows each line of it, and the program and the user are all that it wants.
func TestUnit(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
	}
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	unit := configuration(t, "ini", "ExecStart=")
	for _, program := range []string{"ExecStartPre=/usr/local/bin/auditsql init", "ExecStart=/usr/local/bin/auditsql serve"} {
		unit = replaced(t, unit, program, strings.Replace(program, "/usr/local/bin/auditsql", name, 1))
	}
	file := filepath.Join(t.TempDir(), "auditsql.service")
	save(t, file, []byte(unit))
	verify := func() string {
		out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput()
		said := ""
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, filepath.Base(file)) { // it looks at what is installed as well
				said += line
			}
		}
		if err != nil && said == "" {
			t.Fatalf("%v: %s", err, out)
		}
		return said
	}
	if said := verify(); said != "" {
		t.Errorf("systemd says %s", said)
	}
	// It would say so if a line were unknown to it.
	save(t, file, []byte(strings.Replace(unit, "RestartSec=", "RestartSecs=", 1)))
	if said := verify(); said == "" {
		t.Error("systemd says nothing of a line that it cannot know")
	}
	save(t, file, []byte(unit))
	if out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", file).CombinedOutput(); err == nil {
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "Overall exposure") {
				t.Log(strings.TrimSpace(line))
			}
		}
	} else if os.Getenv("CI") == "true" {
		t.Logf("%v: %s", err, out)
	}
}
