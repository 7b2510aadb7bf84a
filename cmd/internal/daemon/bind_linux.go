package daemon

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weft/weft/dataplane/frame"
)

// portFree reports whether a socket of this host could have a port of an IPv4 address
// now. It opens none that anybody could reach.
func portFree(protocol uint8, addr netip.Addr, port uint16) bool {
	kind := unix.SOCK_DGRAM
	if protocol == frame.ProtoTCP {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true // nothing is known against it
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM { // what is left of former connections is in nobody's way
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	return !errors.Is(unix.Bind(fd, &unix.SockaddrInet4{Port: int(port), Addr: addr.As4()}), unix.EADDRINUSE)
}
