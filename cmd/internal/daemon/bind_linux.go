package daemon

import (
	"errors"
	"net/netip"
	"slices"

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
	addr     netip.Addr
}

// maxHeld bounds the descriptors that a range of published ports may cost. One that is
// larger is held by nobody.
const maxHeld = 256

// heldPorts returns those of published ports, which are at the shared address of the
// family that they lead to; a port without such an address is none of this host's.
func heldPorts(list []nat.Publish, at addressPair) []heldPort {
	var ports []heldPort
	for _, p := range list {
		addr := at.like(p.To.AddrPort().Addr())
		for port := int(p.First); addr.IsValid() && port <= int(p.Last) && p.Last-p.First < maxHeld; port++ {
			ports = append(ports, heldPort{p.Protocol, uint16(port), addr})
		}
	}
	return ports
}

// addressPair is an address of each family; a zero one is not there.
type addressPair struct{ four, six netip.Addr }

// like returns the one of the family of another address.
func (p addressPair) like(a netip.Addr) netip.Addr {
	if a.Is4() {
		return p.four
	}
	return p.six
}

// list returns those that are there.
func (p addressPair) list() []netip.Addr {
	return slices.DeleteFunc([]netip.Addr{p.four, p.six}, func(a netip.Addr) bool { return !a.IsValid() })
}

// hold binds a port, and returns the descriptor that keeps it. The socket
// of TCP does not listen, and that of UDP is connected to itself: neither is found for a
// packet that comes in.
func hold(at heldPort) (int, error) {
	kind := unix.SOCK_DGRAM
	if at.protocol == frame.ProtoTCP {
		kind = unix.SOCK_STREAM
	}
	family, own := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.port), Addr: at.addr.As16()})
	if at.addr.Is4() {
		family, own = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.port), Addr: at.addr.As4()}
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if family == unix.AF_INET6 { // :: is not every address of IPv4
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
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
func tryHold(at heldPort) error {
	fd, err := hold(at)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// portFree reports whether no socket of this host has a port of an address now.
func portFree(at heldPort) bool {
	return !errors.Is(tryHold(at), unix.EADDRINUSE)
}
