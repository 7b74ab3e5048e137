//go:build unix

package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// noFollow makes an open fail when the last element of the path is a link.
const noFollow = syscall.O_NOFOLLOW

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// sameDevice reports whether two files are on one file system.
func sameDevice(a, b fs.FileInfo) bool {
	return a.Sys().(*syscall.Stat_t).Dev == b.Sys().(*syscall.Stat_t).Dev
}

// CheckOwner returns an *OwnerError when this process cannot give new files the owner of the file or folder at name:
// that is another user, and this process is not root, or a root without that right. It returns nil when the name does
// not exist.
func CheckOwner(name string) error {
	st, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s := st.Sys().(*syscall.Stat_t)
	me := os.Geteuid()
	foreign := &OwnerError{Path: name, UID: int(s.Uid), GID: int(s.Gid), Euid: me}
	switch {
	case foreign.UID == me:
		return nil
	case me != 0:
		return foreign
	}
	// root in a container may lack the right. Giving the file to its own owner changes nothing, and shows that.
	err = os.Lchown(name, foreign.UID, foreign.GID)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) {
		return foreign
	}
	return err
}

// give gives a new file or folder the user and group of owner, and reports whether it has that group now.
//
// Only root can change the user. Another user who makes a file in a folder of somebody else, as in a mount that belongs
// to root and is open to a group, stays its owner. With must that is an *OwnerError. A member of a group can give a
// file to it.
func give(f *os.File, owner fs.FileInfo, must bool) (group bool, err error) {
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	have, want := st.Sys().(*syscall.Stat_t), owner.Sys().(*syscall.Stat_t)
	me := os.Geteuid()
	foreign := &OwnerError{Path: f.Name(), UID: int(want.Uid), GID: int(want.Gid), Euid: me}
	switch {
	case have.Uid == want.Uid && have.Gid == want.Gid:
		return true, nil
	case me != 0 && have.Uid == want.Uid:
		return f.Chown(-1, int(want.Gid)) == nil, nil
	case me != 0 && must:
		return false, foreign
	case me != 0:
		return false, nil
	}
	err = f.Chown(int(want.Uid), int(want.Gid))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) {
		err = foreign
	}
	return err == nil, err
}
