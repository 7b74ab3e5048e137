package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Each command and each topic has a page, and the text of a page is text: nothing in it is read as a request.
func TestPagesForMan(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := new(app).root()
	n, err := writePages(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "man[17]", "auditsql*.[17]"))
	if err != nil || len(pages) != n || n < 50 {
		t.Fatalf("%d of %d pages, %v", len(pages), n, err)
	}
	requests := regexp.MustCompile(`^\.(TH|SH|PP|TP|nf|fi|BR)( |$)`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !requests.MatchString(line) {
				t.Errorf("%s: %s", filepath.Base(page), line)
			}
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		return // without it only the above is checked
	}
	if said, err := exec.Command(groff, append([]string{"-man", "-Tutf8", "-Kutf8", "-ww", "-z"}, pages...)...).CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("%v: %s", err, said)
	}
}

// What help says, a page says too, to the letter.
func TestAPageHasTheHelp(t *testing.T) {
	t.Parallel()
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip(err)
	}
	plain := regexp.MustCompile("\x1b\\[[0-9;]*m|.\b")
	words := func(text string) string { return strings.Join(strings.Fields(plain.ReplaceAllString(text, "")), " ") }
	dir := t.TempDir()
	root := new(app).root()
	if _, err := writePages(root, dir); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"export"}, {"put"}, {"wal", "dump"}, {"sql"}} {
		cmd, _, err := root.Find(args)
		if err != nil {
			t.Fatal(err)
		}
		shown, err := exec.Command(groff, "-man", "-Tutf8", "-Kutf8", "-rHY=0", filepath.Join(dir, "man1", pageName(cmd)+".1")).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{firstParagraph(cmd), cmd.Example} {
			if !strings.Contains(words(string(shown)), words(part)) {
				t.Errorf("the page of %s lacks\n%s\nin\n%s", cmd.CommandPath(), part, shown)
			}
		}
	}
}

func firstParagraph(cmd *cobra.Command) string {
	paragraph, _, _ := strings.Cut(cmd.Long, "\n\n")
	return paragraph
}
