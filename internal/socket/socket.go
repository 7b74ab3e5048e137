// Package socket is how commands write to a store that a server on the same machine has open: through the socket
// DIR/serve.sock.
//
//	auditsql put, import, name, log sign ──► Dial(DIR) ──► DIR/serve.sock ──► Handler ──► *audit.DB
//
// Only the owner of the store and root can open the socket (mode 0600), and the system tells the server who has connected. So a
// command needs no token there. It speaks HTTP. What is below /local/ is for commands of this module, and may change with any
// version: the first question of a client is for the version of the protocol.
//
// What a [Client] promises about records is what audit.DB promises: a result without an Err means that the record is durable.
// When the server ends before it has answered, the error says whether nothing was stored (a [*GoneError]) or whether that is not
// known (an [*OpenError]).
//
// The package leaves to others who holds the lock of the store, and what a command prints.
package socket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/auditsql/auditsql/internal/durable"
	"github.com/auditsql/auditsql/internal/storedir"
)

// Name is the name of the socket in the folder of a store.
const Name = storedir.SocketName

var (
	// ErrNoServer says that nobody listens on the socket of a store, or that there is none.
	ErrNoServer = errors.New("no server has the store open")
	// ErrUnsupported says that the socket cannot be made or used on this system.
	ErrUnsupported = errors.New("commands cannot reach a server through a socket here")
)

// A Listener is the socket of a store. It accepts connections of the owner of the store, of root and of the user of this process.
type Listener struct {
	net.Listener
	dir  string
	once sync.Once
}

// Listen makes the socket of the store in dir. The caller must hold the writer's lock of the store, from before this call until
// after Close. So a socket that is there was left by a server that has died, and is replaced.
//
// The socket never has another mode than 0600 under its name: it is made in a folder that only its owner can enter, and moved to
// its place when it has its mode and its owner.
func Listen(dir string) (*Listener, error) {
	name := filepath.Join(dir, Name)
	switch about, err := os.Lstat(name); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case about.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there, and is no socket: move it out of the folder", name)
	}
	private := name + durable.PartSuffix
	if err := os.RemoveAll(private); err != nil {
		return nil, err
	}
	if err := durable.Mkdir(private, dir); err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	l, err := listen(made)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = giveToOwner(made, dir)
	}
	if err == nil {
		err = os.Rename(made, name)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &Listener{Listener: l, dir: dir}, nil
}

// Accept returns the next connection of somebody who may write to the store. Others are closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if checkPeer(c, l.dir) == nil {
			return c, nil
		}
		c.Close()
	}
}

// Close removes the socket, and ends Accept. Connections that were accepted stay open. It may be called more than once.
func (l *Listener) Close() (err error) {
	l.once.Do(func() {
		err = os.Remove(filepath.Join(l.dir, Name))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		err = errors.Join(err, l.Listener.Close())
	})
	return err
}
