package durable

import (
	"fmt"
	"io/fs"
	"os"
)

// LinkError says that a file of a store is a symbolic link, and is refused.
type LinkError struct {
	Path   string
	Target string // where the link leads; "" when that cannot be read
}

func (e *LinkError) Error() string {
	if e.Target == "" {
		return fmt.Sprintf("%s is a symbolic link, and no part of a store is opened through one", e.Path)
	}
	return fmt.Sprintf("%s is a symbolic link to %s, and no part of a store is opened through one", e.Path, e.Target)
}

func newLinkError(name string) error {
	target, _ := os.Readlink(name) // for the message only
	return &LinkError{Path: name, Target: target}
}

// CheckLink returns a *LinkError when the last element of a path is a link. For anything else it returns nil, also when
// the name does not exist.
func CheckLink(name string) error {
	if st, err := os.Lstat(name); err == nil && st.Mode()&fs.ModeSymlink != 0 {
		return newLinkError(name)
	}
	return nil
}
