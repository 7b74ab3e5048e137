package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// document returns the text of a file of docs.
func documentText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the code blocks of a text that begin with a language.
func blocks(text, language string) (found []string) {
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	return found
}

// The clients in the guide store a record and find it, each in its language.
func TestTheClientsOfTheGuide(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	if testing.Short() {
		t.Skip("it starts interpreters")
	}
	guide := documentText(t, "serving.md")
	s := serveStore(t)
	token := s.token(t, "client", "--scope", "read,write")
	ids := map[string]bool{}
	for language, c := range map[string]struct {
		program string
		args    []string
		file    string
		always  bool // CI has it
	}{
		"sh curl": {"sh", []string{"-e"}, "client.sh", false},
		"python":  {"python3", nil, "client.py", true},
		"js":      {"node", nil, "client.mjs", false},
	} {
		needs := c.program
		if language == "sh curl" {
			needs = "curl"
		}
		if _, err := exec.LookPath(needs); err != nil && !(c.always && os.Getenv("CI") == "true") {
			t.Logf("%s is not here", needs)
			continue
		}
		found := blocks(guide, language)
		if len(found) != 1 {
			t.Fatalf("%d blocks of %s, want one", len(found), language)
		}
		file := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(file, []byte(found[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		run := func(token string) (string, error) {
			cmd := exec.CommandContext(t.Context(), c.program, append(c.args, file)...)
			cmd.Env = append(os.Environ(), "AUDITSQL_URL="+s.url, "AUDITSQL_TOKEN="+token)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		out, err := run(token)
		if err != nil {
			t.Errorf("%s: %v: %s", language, err, out)
			continue
		}
		// The id that the put was answered with, and the record in the list.
		all := regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(out, -1)
		if len(all) < 2 {
			t.Errorf("%s prints %s", language, out)
			continue
		}
		ids[all[0]] = true
		if all[0] != all[len(all)-1] {
			t.Errorf("%s stored %s and finds %s", language, all[0], all[len(all)-1])
		}
		if out, err := run("asql_wrong"); err == nil {
			t.Errorf("%s ends well without a valid token: %s", language, out)
		}
	}
	if len(ids) != 1 { // all of them store the same record
		t.Errorf("the clients stored %v", ids)
	}
	s.stop(t)
}

// Each metric that the guide, its alarms and the dashboard name is one that a server has. The names of all of them begin with auditsql_,
// and the guide names each, except those of the Go runtime and the process.
func TestTheMetricsOfTheGuide(t *testing.T) {
	t.Parallel()
	skipWithoutSignals(t)
	dir := filepath.Join(t.TempDir(), "store")
	key := filepath.Join(t.TempDir(), "key")
	for _, args := range [][]string{
		{"key", "new", "log.example.com/served", "-o", key},
		{"-d", dir, "init"},
		{"-d", dir, "log", "init", "--key", key, "--exec", "true"},
	} {
		if _, said, code := auditsql(args...); code != exitDone {
			t.Fatal(said)
		}
	}
	s := serveDir(t, dir, "--otlp", "127.0.0.1:0")
	token := s.token(t, "all", "--scope", "read,write,metrics")
	line, _ := record(1)
	if status, answer := s.ask(t, token, http.MethodPost, "/v1/audits", strings.NewReader(line)); status != http.StatusCreated {
		t.Fatalf("status %d: %s", status, answer)
	}
	if _, said, code := auditsql("-d", dir, "log", "sign"); code != exitDone {
		t.Fatal(said)
	}
	// A checkpoint is delivered after it was signed, and a kind of delivery is counted from the first one on.
	var text string
	for begun := time.Now(); !strings.Contains(text, "\nauditsql_log_deliveries_total{"); {
		status, now := s.ask(t, token, http.MethodGet, "/metrics", nil)
		if status != http.StatusOK {
			t.Fatalf("status %d: %s", status, now)
		}
		if text = now; time.Since(begun) > time.Minute {
			t.Fatalf("nothing was delivered: %s", text)
		}
	}
	has := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9_]+)[ {]`).FindAllStringSubmatch(text, -1) {
		has[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE ([a-z0-9_]+) `).FindAllStringSubmatch(text, -1) {
		has[m[1]] = true
	}
	name := regexp.MustCompile(`\b(?:auditsql|process|go)_[a-z0-9_]*[a-z0-9]`)
	guide, dashboard := documentText(t, "serving.md"), documentText(t, "grafana.json")
	for from, text := range map[string]string{"serving.md": strings.NewReplacer("`auditsql_process_*`", "", "`auditsql_go_*`", "").Replace(guide), "grafana.json": dashboard} {
		n := 0
		for _, metric := range name.FindAllString(text, -1) {
			n++
			if !has[metric] {
				t.Errorf("%s names %s, which the server does not have", from, metric)
			}
		}
		if n < 20 {
			t.Errorf("only %d metrics were found in %s", n, from)
		}
	}
	for metric := range has {
		base := metric
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			base = strings.TrimSuffix(base, suffix)
		}
		runtime := strings.HasPrefix(metric, "auditsql_go_") || strings.HasPrefix(metric, "auditsql_process_")
		switch {
		case !strings.HasPrefix(metric, "auditsql_"):
			t.Errorf("%s is no name of this program's", metric)
		case !runtime && !strings.Contains(guide, "`"+base+"`"):
			t.Errorf("the guide does not name %s", metric)
		}
	}
	var parsed struct {
		Panels []struct {
			Type    string `json:"type"`
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(dashboard))).Decode(&parsed); err != nil {
		t.Fatal(err)
	}
	for _, p := range parsed.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Error("a panel of the dashboard shows nothing")
		}
		for _, target := range p.Targets {
			if strings.Count(target.Expr, "(") != strings.Count(target.Expr, ")") || !name.MatchString(target.Expr) {
				t.Errorf("an expression of the dashboard is %s", target.Expr)
			}
		}
	}
	s.stop(t)
}
