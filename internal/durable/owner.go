package durable

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
)

// OwnerError says that a file belongs to another user, and that writing is refused: files that are made or replaced would
// belong to this process's user, and lock the owner out. It is a fs.ErrPermission.
type OwnerError struct {
	Path     string
	UID, GID int // of the file
	Euid     int // of this process
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to %s, and this process runs as %s, who cannot make files for another user", e.Path, userName(e.UID), userName(e.Euid))
}

// Is makes an OwnerError a fs.ErrPermission.
func (e *OwnerError) Is(target error) bool { return target == fs.ErrPermission }

// Owner returns the owner as sudo -u accepts it: a name, or # and the number.
func (e *OwnerError) Owner() string {
	if u, err := user.LookupId(strconv.Itoa(e.UID)); err == nil {
		return u.Username
	}
	return "#" + strconv.Itoa(e.UID)
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return fmt.Sprintf("user %s (%d)", u.Username, uid)
	}
	return fmt.Sprintf("user %d", uid)
}
