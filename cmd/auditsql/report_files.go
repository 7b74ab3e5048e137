package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/auditsql/auditsql/internal/importing"
)

func isMarkdown(out string) bool { return strings.HasSuffix(out, ".md") }
func isZip(out string) bool      { return strings.HasSuffix(out, ".zip") }

// checkReportPlace refuses to write a report within a store, and over something without force.
func (a *app) checkReportPlace(out string, force bool) error {
	if store := a.storeAround(out); store != "" {
		return trying(usage("-o %s is inside %s, the folder of a store", out, store), "another folder")
	}
	about, err := os.Lstat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !force:
		return trying(usage("-o %s exists already", out), "another name, or --force to replace it")
	case about.IsDir() != (!isMarkdown(out) && !isZip(out)) || !about.IsDir() && !about.Mode().IsRegular():
		return trying(usage("-o %s exists, and is something else than a report", out), "another name")
	case !about.IsDir():
		return a.checkOverwritten("output", out, about, nil)
	}
	return checkReplaceable(out)
}

// checkReplaceable refuses a folder that has something else than a report: --force must not remove what somebody keeps there.
func checkReplaceable(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !slices.Contains([]string{reportFile, recordsFile, proofsFile}, e.Name()) {
			return trying(usage("-o %s has %s, which is no file of a report", dir, e.Name()), "another name")
		}
	}
	return nil
}

// writeReport writes a report under another name first. So a name has a whole report, or what it had before. When it fails, nothing
// is left.
func (a *app) writeReport(out string, force bool, files []namedFile) error {
	if !isMarkdown(out) && !isZip(out) {
		return writeReportFolder(out, force, files)
	}
	content := files[0].content
	if isZip(out) {
		var archive bytes.Buffer
		z := zip.NewWriter(&archive)
		// The same report is the same archive. So its files have no time of theirs, but the first one that an archive can tell.
		first := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
		for _, file := range files {
			w, err := z.CreateHeader(&zip.FileHeader{Name: file.name, Method: zip.Deflate, Modified: first})
			if err == nil {
				_, err = w.Write(file.content)
			}
			if err != nil {
				return err
			}
		}
		if err := z.Close(); err != nil {
			return err
		}
		content = archive.Bytes()
	}
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".part-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = place(f.Name(), out, force)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

// place gives a new file its name. Without force the name is reserved first, so that nothing is replaced which came there meanwhile.
func place(part, out string, force bool) error {
	if force {
		return os.Rename(part, out)
	}
	reserved, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if err = errors.Join(reserved.Close(), os.Rename(part, out)); err != nil {
			err = errors.Join(err, os.Remove(out))
		}
	}
	return err
}

func writeReportFolder(out string, force bool, files []namedFile) (err error) {
	out = filepath.Clean(out)
	part, err := os.MkdirTemp(filepath.Dir(out), "."+filepath.Base(out)+".part-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(part))
		}
	}()
	for _, file := range files {
		f, err := os.OpenFile(filepath.Join(part, file.name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_, err = f.Write(file.content)
			if err == nil {
				err = f.Sync()
			}
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return err
		}
	}
	if force && importing.Exists(out) {
		// A folder that is not empty cannot be replaced in one step. The old report stays beside the new one until that has its name.
		if err := checkReplaceable(out); err != nil {
			return err
		}
		old := part + ".old"
		if err := os.Rename(out, old); err != nil {
			return err
		}
		if err := os.Rename(part, out); err != nil {
			return errors.Join(err, os.Rename(old, out))
		}
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("the report is written, and the old one is still there: %w", err)
		}
		return nil
	}
	return os.Rename(part, out) // which never replaces a folder
}
