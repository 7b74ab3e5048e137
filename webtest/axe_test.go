package webtest

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/chromedp/chromedp"
)

// axeVersion is the version of axe-core that the pages are checked with. It comes from the npm registry, and stays in the user's
// cache for the next run.
const axeVersion = "4.14.1"

var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = scratch
	}
	dir := filepath.Join(cache, "auditsql-webtest")
	archive := filepath.Join(dir, "axe-core-"+axeVersion+".tgz")
	if _, err := os.Stat(archive); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", err
		}
		pack := exec.Command("npm", "pack", "--silent", "axe-core@"+axeVersion)
		pack.Dir = dir
		if out, err := pack.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm pack axe-core: %w\n%s", err, out)
		}
	}
	return inArchive(archive, "package/axe.min.js")
})

// inArchive returns the text of a file in a .tgz archive.
func inArchive(archive, name string) (string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return "", err
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if err != nil {
			return "", fmt.Errorf("%s in %s: %w", name, archive, err)
		}
		if h.Name == name {
			text, err := io.ReadAll(files)
			return string(text), err
		}
	}
}

// accessible fails the test for each violation of WCAG 2.2 AA, and of what axe calls best practice, on the page.
func (b *tab) accessible(where string) {
	b.t.Helper()
	script, err := axe()
	if errors.Is(err, exec.ErrNotFound) {
		missing(b.t, err.Error())
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.do(chromedp.Evaluate[chromedp.Void](script + ";0"))
	found := eval[string](b, `axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r))`)
	var report struct {
		Violations []struct {
			ID, Help string
			Nodes    []struct {
				HTML           string
				FailureSummary string
			}
		}
		Passes []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(found), &report); err != nil {
		b.t.Fatalf("axe answered %q: %v", found, err)
	}
	if len(report.Passes) == 0 {
		b.t.Errorf("%s: axe has checked nothing", where)
	}
	for _, v := range report.Violations {
		var nodes []string
		for _, n := range v.Nodes {
			nodes = append(nodes, n.HTML+"\n\t"+n.FailureSummary)
		}
		b.t.Errorf("%s: axe: %s: %s\n\t%s", where, v.ID, v.Help, strings.Join(nodes, "\n\t"))
	}
}
