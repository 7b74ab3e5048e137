//go:build unix

package socket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// longestPath is how long the path of a socket can be on every system that has them: 104 bytes with the zero at the end. Linux
// has 108.
const longestPath = 103

// reachable returns a name of the file at path that is short enough for a socket, until done is called. On Linux a folder that is
// open has a short name below /proc.
func reachable(path string) (short string, done func(), err error) {
	if len(path) <= longestPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("%w: the path %s has %d bytes, and a socket can have %d", ErrUnsupported, path, len(path), longestPath)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(path)), func() { folder.Close() }, nil
}

func listen(path string) (net.Listener, error) {
	short, done, err := reachable(path)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
	if err != nil {
		return nil, err
	}
	// The socket gets another name, under which Listener.Close removes it.
	l.SetUnlinkOnClose(false)
	return l, nil
}

// dial connects to the socket of the store in dir.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	short, done, err := reachable(filepath.Join(dir, Name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrUnsupported) {
			err = fmt.Errorf("%w: %w", ErrNoServer, err)
		}
		return nil, err
	}
	defer done()
	c, err := new(net.Dialer).DialContext(ctx, "unix", short)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOTSOCK):
		return nil, fmt.Errorf("%w: %w", ErrNoServer, err)
	case err != nil:
		return nil, err
	}
	if err := checkPeer(c, dir); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// giveToOwner gives a file that root has made to the owner of the store: that user's commands have to reach it.
func giveToOwner(name, dir string) error {
	about, err := os.Stat(dir)
	if err != nil {
		return err
	}
	owner := about.Sys().(*syscall.Stat_t)
	if os.Geteuid() != 0 || owner.Uid == 0 {
		return nil
	}
	return os.Lchown(name, int(owner.Uid), int(owner.Gid))
}

// checkPeer refuses a connection to somebody who is neither root, nor this user, nor the owner of the store. Where the system does
// not tell who it is, the mode of the socket has to do.
func checkPeer(c net.Conn, dir string) error {
	uid, known, err := peer(c)
	if err != nil || !known {
		return err
	}
	if uid == 0 || uid == uint32(os.Geteuid()) {
		return nil
	}
	about, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if about.Sys().(*syscall.Stat_t).Uid == uid {
		return nil
	}
	return fmt.Errorf("%w: the other end of %s belongs to user %d, who does not own the store", fs.ErrPermission, filepath.Join(dir, Name), uid)
}
