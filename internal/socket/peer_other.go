//go:build unix && !linux

package socket

import "net"

// peer returns the user at the other end of a connection, where the system tells it in a way that is known here.
func peer(net.Conn) (uid uint32, known bool, err error) { return 0, false, nil }
