package main

import (
	"bufio"
	"errors"
	"os"
	"strings"

	"github.com/auditsql/auditsql/evidence/bundle"
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
