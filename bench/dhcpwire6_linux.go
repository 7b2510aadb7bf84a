package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// Of RFC 8415, clauses 7 and 21.
const (
	dhcp6ClientPort = 546
	dhcp6ServerPort = 547

	dhcp6Solicit, dhcp6Advertise, dhcp6Request, dhcp6Reply = 1, 2, 3, 7

	dhcp6ClientID, dhcp6ServerID, dhcp6NonTemporary, dhcp6Address = 1, 2, 3, 5
	dhcp6Wanted, dhcp6Elapsed, dhcp6Status, dhcp6Name             = 6, 8, 13, 39

	// dhcp6IDs is what the numbers of transactions fit into. An exchange that
	// has a higher one finds no answer, after sixteen million others.
	dhcp6IDs = 1<<24 - 1
)

// openDHCP6 opens an ordinary socket of the host's link-local address, and returns
// the group of all relay agents and servers.
func openDHCP6(h *Host, name string) (fd int, to netip.AddrPort, err error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, to, fmt.Errorf("interface %s: %w", name, err)
	}
	local := linkLocal(h.Address).WithZone(strconv.Itoa(link.Index))
	fd, err = socket(unix.SOCK_DGRAM, netip.AddrPortFrom(local, dhcp6ClientPort))
	if err != nil {
		return -1, to, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, floodBuffer); err != nil {
		unix.Close(fd)
		return -1, to, fmt.Errorf("receive buffer: %w", err)
	}
	group := netip.AddrFrom16([16]byte{0xff, 2, 13: 1, 15: 2})
	return fd, netip.AddrPortFrom(group, dhcp6ServerPort), nil
}

// putDHCP6 writes the SOLICIT or REQUEST of a client and returns its length.
func putDHCP6(b []byte, id uint32, o *dhcpOffer, named bool) int {
	mac := clientMAC(o.client)
	m := b[:0]
	kind := uint32(dhcp6Solicit)
	if o.requests {
		kind = dhcp6Request
	}
	m = binary.BigEndian.AppendUint32(m, kind<<24|id&dhcp6IDs)
	m = append(option6(m, dhcp6ClientID, 10), 0, 3, 0, 1) // of the MAC address: DUID-LL
	m = append(m, mac[:]...)
	association := 12
	if o.requests {
		m = append(option6(m, dhcp6ServerID, len(o.server)), o.server...)
		association += 4 + 24
	}
	m = option6(m, dhcp6NonTemporary, association)
	m = binary.BigEndian.AppendUint32(m, o.client)
	m = append(m, 0, 0, 0, 0, 0, 0, 0, 0) // times are for the server to choose
	if o.requests {
		address := o.address.As16()
		m = append(option6(m, dhcp6Address, 24), address[:]...)
		m = append(m, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	m = append(option6(m, dhcp6Elapsed, 2), 0, 0)
	m = append(option6(m, dhcp6Wanted, 4), 0, 23, 0, 24) // DNS servers and domains
	if named {
		name := fmt.Appendf(nil, "c%d", o.client)
		m = append(option6(m, dhcp6Name, 2+len(name)), 0, byte(len(name))) // a label (RFC 4704)
		m = append(m, name...)
	}
	return len(m)
}

// option6 begins an option with length bytes of value.
func option6(b []byte, code uint16, length int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, code), uint16(length))
}

// nextOption6 takes the first option off a list; ok is false where the list does
// not begin with a whole one.
func nextOption6(b []byte) (code uint16, value, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	end := 4 + int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < end {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint16(b), b[4:end], b[end:], true
}

// parseDHCP6 reads a message.
func parseDHCP6(m []byte) (a dhcpAnswer, ok bool) {
	if len(m) < 4 {
		return a, false
	}
	a.id = binary.BigEndian.Uint32(m) & dhcp6IDs
	known := false
	for o := m[4:]; len(o) > 0; {
		code, value, rest, ok := nextOption6(o)
		if !ok {
			return a, false
		}
		switch {
		case code == dhcp6ClientID && len(value) == 10 && bytes.HasPrefix(value, []byte{0, 3, 0, 1, 2, 0}):
			a.client, known = binary.BigEndian.Uint32(value[6:]), true
		case code == dhcp6ServerID:
			a.server = value
		case code == dhcp6NonTemporary && len(value) >= 12:
			a.address = addressOf6(value[12:])
		}
		o = rest
	}
	switch m[0] {
	case dhcp6Advertise:
		a.kind = dhcpOfferKind
	case dhcp6Reply:
		a.kind = dhcpAckKind
	default:
		return a, false
	}
	if !a.address.IsValid() {
		a.kind = dhcpNakKind // what is there in place of an address says why
	}
	return a, known && len(a.server) > 0
}

// addressOf6 is the first address that the options of an association have.
func addressOf6(o []byte) netip.Addr {
	for len(o) > 0 {
		code, value, rest, ok := nextOption6(o)
		if ok && code == dhcp6Address && len(value) >= 24 && binary.BigEndian.Uint32(value[20:]) > 0 {
			return netip.AddrFrom16([16]byte(value))
		}
		if !ok {
			break
		}
		o = rest
	}
	return netip.Addr{}
}
