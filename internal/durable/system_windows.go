package durable

import (
	"io/fs"
	"os"
)

// noFollow is 0: Windows has no such flag for os.OpenFile. Only the check before the open finds a link.
const noFollow = 0

// syncDir does nothing: Windows has no way to sync a folder.
func syncDir(string) error { return nil }

// sameDevice reports true: Windows does not say of a folder on which file system it is. The rename fails then.
func sameDevice(fs.FileInfo, fs.FileInfo) bool { return true }

// CheckOwner does nothing: on Windows a new file gets its access rights from the folder.
func CheckOwner(string) error { return nil }

func give(*os.File, fs.FileInfo, bool) (group bool, err error) { return true, nil }
