package main

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/auditsql/auditsql/audit"
	"github.com/auditsql/auditsql/evidence/bundle"
	"github.com/auditsql/auditsql/internal/importing"
)

// makeBundle writes evidence to a new zip archive or a new folder. When that fails nothing is left.
func (a *app) makeBundle(out string, c *bundle.Contents) (err error) {
	if !strings.HasSuffix(out, ".zip") {
		return bundle.WriteFolder(out, c)
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 256<<10)
	if err = bundle.WriteZip(w, c); err == nil {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(out))
	}
	return err
}

// checkVacant refuses to make evidence where there is something, or within a store.
func (a *app) checkVacant(out string) error {
	if store := a.storeAround(out); store != "" {
		return trying(usage("-o %s is inside %s, the folder of a store", out, store), "another folder")
	}
	if importing.Exists(out) {
		return trying(usage("-o %s exists already, and nothing is written over", out), "another name")
	}
	return nil
}

// noteEvidence says what was made, and how it is checked.
func (a *app) noteEvidence(out, what string, p *audit.Prover) {
	c := p.Checkpoint()
	a.note("%s has %s, up to the %s that %s signed", out, what, plural(c.Size, "record", "records"), c.Origin)
	if note := p.Note(); note != "" {
		a.note("%s", note)
	}
	keys := ""
	for _, key := range p.Keys() {
		keys += " --key " + shellQuote(key)
	}
	a.note("check it: auditsql check %s%s", shellQuote(filepath.Clean(out)), keys)
}
