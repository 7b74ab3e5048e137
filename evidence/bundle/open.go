package bundle

import (
	"archive/zip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Files are the files of a bundle. Close them.
type Files struct {
	fs.FS
	close func() error
}

// Close closes the folder or the archive.
func (f *Files) Close() error { return f.close() }

// Open opens a folder or a zip archive, which it reads by the directory at its end, as unzip does. It refuses an archive in
// which two programs could see different files: with a name that is absolute, leads out of the archive or is there twice, or
// with data that two files share. For such an archive the error is a *FormatError, and also for a file that is no archive.
func Open(path string) (*Files, error) {
	about, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case about.IsDir():
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, err
		}
		return &Files{root.FS(), root.Close}, nil
	case !about.Mode().IsRegular():
		return nil, &FormatError{path, errors.New("it is neither a folder nor a file")}
	}
	z, err := zip.OpenReader(path)
	switch {
	case errors.Is(err, zip.ErrFormat):
		return nil, &FormatError{path, errors.New("it is neither a folder nor a zip archive")}
	case err != nil:
		return nil, err
	}
	if err := checkArchive(&z.Reader, about.Size()); err != nil {
		return nil, errors.Join(&FormatError{path, err}, z.Close())
	}
	return &Files{z, z.Close}, nil
}

// FormatError says why a file is no bundle.
type FormatError struct {
	Path string
	Err  error
}

func (e *FormatError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// checkArchive refuses what no archive of evidence needs. Its files do not overlap, so all of them together unpack to at most
// a thousand times its size, which is the most that deflate can do.
func checkArchive(z *zip.Reader, size int64) error {
	names := map[string]bool{}
	stored := uint64(0)
	for _, f := range z.File {
		name := strings.TrimSuffix(f.Name, "/")
		if !fs.ValidPath(name) || name == "." || strings.ContainsAny(f.Name, `\:`) {
			return fmt.Errorf("the name %q leads out of the archive, or not to one place on each system", f.Name)
		}
		// Some systems do not tell upper case from lower case: there one file would take the place of the other.
		folded := strings.ToLower(name)
		if names[folded] {
			return fmt.Errorf("the name %q is there twice", f.Name)
		}
		names[folded] = true
		if f.Method != zip.Store && f.Method != zip.Deflate {
			return fmt.Errorf("%s is compressed in a way that is not supported (method %d)", f.Name, f.Method)
		}
		if f.Flags&1 != 0 {
			return fmt.Errorf("%s is encrypted", f.Name)
		}
		if stored += f.CompressedSize64; stored > uint64(size) || f.CompressedSize64 > uint64(size) {
			return fmt.Errorf("%s overlaps another file of the archive", f.Name)
		}
	}
	return nil
}
