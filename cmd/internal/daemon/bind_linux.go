package daemon

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// A published port of an address that the host has too would be open to any program
// here: its socket would get what is for the guest, as no flow of the host is ever
// taken. So weft binds it as a program does, to a socket that hears nothing.

// heldPort is such a port.
type heldPort struct {
	protocol uint8
	port     uint16
}

// maxHeld bounds the descriptors that a range of published ports may cost. One that is
// larger is held by nobody.
const maxHeld = 256

// heldPorts returns those of published ports.
func heldPorts(list []nat.Publish) []heldPort {
	var ports []heldPort
	for _, p := range list {
		for port := int(p.First); port <= int(p.Last) && p.Last-p.First < maxHeld; port++ {
			ports = append(ports, heldPort{p.Protocol, uint16(port)})
		}
	}
	return ports
}

// hold binds a port of an address, and returns the descriptor that keeps it. The socket
// of TCP does not listen, and that of UDP is connected to itself: neither is found for a
// packet that comes in.
func hold(at heldPort, addr netip.Addr) (int, error) {
	kind := unix.SOCK_DGRAM
	if at.protocol == frame.ProtoTCP {
		kind = unix.SOCK_STREAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	own := &unix.SockaddrInet4{Port: int(at.port), Addr: addr.As4()}
	if kind == unix.SOCK_STREAM { // what is left of former connections is in nobody's way
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	err = unix.Bind(fd, own)
	switch {
	case err != nil:
	case kind == unix.SOCK_DGRAM:
		err = unix.Connect(fd, own)
	default: // or another program could say that it does not mind either, and listen
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// tryHold returns why a socket of this host could not have a port now, nil where it
// could.
func tryHold(at heldPort, addr netip.Addr) error {
	fd, err := hold(at, addr)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// portFree reports whether no socket of this host has a port now.
func portFree(at heldPort, addr netip.Addr) bool {
	return !errors.Is(tryHold(at, addr), unix.EADDRINUSE)
}
