package main

import (
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

var (
	// beside is a block of commands, with the addresses of the pages that answer the same.
	beside  = regexp.MustCompile("(?ms)^```console\n((?:[^`]|`[^`])*?)^```\n\nIn the browser: (.*?)\n\n")
	inTicks = regexp.MustCompile("`([^`]+)`")
	// asCommand is what a page says that one can type for the same. The page has it again where a button copies it.
	asCommand = regexp.MustCompile(`auditsql -d \S+ ([^<"]+)`)
)

// The page beside a command in docs/investigating.md answers what the command answers: each page says which command does the same,
// and that command prints what the one in the document prints.
func TestThePagesInTheDocumentsAreTrue(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the tools beside auditsql print otherwise elsewhere")
	}
	if testing.Short() {
		t.Skip("dozens of processes, which take long to start under the race detector")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "investigating.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("AUDITSQL_DIR", "./incident")
	t.Setenv("GORACE", withoutNap)
	t.Setenv(testTime, noon.Format(time.RFC3339Nano))
	shell(t, "auditsql demo --keep ./incident > /dev/null")
	serveIncident(t)
	compared := 0
	for _, block := range beside.FindAllStringSubmatch(string(text), -1) {
		screens, addresses := screensOf(t, block[1]), inTicks.FindAllStringSubmatch(block[2], -1)
		if len(screens) != len(addresses) {
			t.Errorf("%d commands and %d addresses: %s", len(screens), len(addresses), block[0])
			continue
		}
		for i, address := range addresses {
			compared++
			page := pageOfIncident(t, address[1])
			same := asCommand.FindStringSubmatch(page)
			if same == nil {
				t.Errorf("%s names no command: %s", address[1], page)
				continue
			}
			shown, typed := html.UnescapeString(same[1]), strings.TrimPrefix(strings.TrimSpace(screens[i].command), "auditsql ")
			if got, want := rowsOf(t, shown), rowsOf(t, typed); got != want {
				t.Errorf("%s is auditsql %s, which prints\n%s\nand auditsql %s prints\n%s", address[1], shown, got, typed, want)
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d addresses were found", compared)
	}
}

// pageOfIncident gets a page of the server that serveIncident has started.
func pageOfIncident(t *testing.T, address string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, os.Getenv("URL")+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	name, value, _ := strings.Cut(os.Getenv("AUTH"), ": ")
	request.Header.Set(name, value)
	request.Header.Set("Accept", "text/html")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v: %s", address, answer.StatusCode, err, page)
	}
	return string(page)
}

// rowsOf is what a command prints for a program.
func rowsOf(t *testing.T, command string) string {
	t.Helper()
	return shell(t, "auditsql "+command+" -o ndjson")
}
