//go:build unix && !solaris && !illumos && !aix

package sqlstore

import (
	"os"
	"syscall"
)

// lockDir keeps other processes and goroutines from making a database in dir until unlock is called. It
// leaves no file, not even after a crash. On a file system without such locks it does nothing.
func lockDir(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return func() { d.Close() }, nil
		}
	}
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
