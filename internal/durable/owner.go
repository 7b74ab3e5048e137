package durable

import (
	"fmt"
	"io/fs"
	"os/user"
	"strconv"
)

// OwnerError refuses to write to what belongs to another user: the files that are made and replaced would be
// this one's, and lock the other one out. It is a fs.ErrPermission.
type OwnerError struct {
	Path     string
	UID, GID int // whose it is
	Euid     int // who this process is
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s belongs to %s, and this process runs as %s, who cannot make files for another user", e.Path, userName(e.UID), userName(e.Euid))
}

// Is makes it a fs.ErrPermission.
func (e *OwnerError) Is(target error) bool { return target == fs.ErrPermission }

// Owner is the owner as sudo -u takes it: a name, or # and the number.
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
