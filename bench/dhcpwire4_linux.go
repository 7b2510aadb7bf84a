package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	dhcpFrame      = 1514 // the longest frame, without its VLAN tag
	dhcpCookie     = 0x63825363
	dhcpFixed      = 240 // header of the message with the cookie
	dhcpLeast      = 300 // bytes that a BOOTP message has (RFC 1542 section 2.1)

	dhcpDiscoverKind, dhcpOfferKind, dhcpRequestKind = 1, 2, 3
	dhcpAckKind, dhcpNakKind                         = 5, 6
)

// openDHCP4 opens a packet socket that gets what is sent to clients of DHCP,
// whichever of them it is for.
func openDHCP4(_ *Host, name string) (fd int, to netip.AddrPort, err error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, to, fmt.Errorf("interface %s: %w", name, err)
	}
	ip := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	// No frame comes before the filter is there: without a protocol none does.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, to, fmt.Errorf("packet socket: %w", err)
	}
	timeout := unix.NsecToTimeval(ioTimeout.Nanoseconds())
	filter := unix.SockFprog{Len: uint16(len(dhcpFilter)), Filter: &dhcpFilter[0]}
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, floodBuffer),
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &filter),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(link.Index), Type: unix.PACKET_MR_PROMISC}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: link.Index}),
	)
	if err != nil {
		unix.Close(fd)
		return -1, to, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return fd, to, nil
}

// dhcpFilter takes UDP over IPv4 to port 68, unless it is a later fragment.
var dhcpFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 14 + 9},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 6, K: unix.IPPROTO_UDP},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 14 + 6},
	{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 4, K: 0x1fff},
	{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 14},
	{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 14 + 2},
	{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: dhcpClientPort},
	{Code: unix.BPF_RET | unix.BPF_K, K: dhcpFrame},
	{Code: unix.BPF_RET | unix.BPF_K},
}

// clientMAC is the address of a client, which is locally administered.
func clientMAC(client uint32) [6]byte {
	mac := [6]byte{0x02}
	binary.BigEndian.PutUint32(mac[2:], client)
	return mac
}

// putDHCP4 writes the frame of the DISCOVER or REQUEST of a client and returns its
// length.
func putDHCP4(b []byte, id uint32, o *dhcpOffer, named bool) int {
	clear(b)
	mac := clientMAC(o.client)
	m := b[IPv4.udpStart():]
	m[0], m[1], m[2] = 1, 1, 6 // BOOTREQUEST, Ethernet
	binary.BigEndian.PutUint32(m[4:], id)
	copy(m[28:], mac[:])
	binary.BigEndian.PutUint32(m[236:], dhcpCookie)
	options := m[dhcpFixed:dhcpFixed]
	kind := byte(dhcpDiscoverKind)
	if o.requests {
		kind = dhcpRequestKind
		address := o.address.As4()
		options = append(append(options, 50, 4), address[:]...)
		options = append(append(options, 54, byte(len(o.server))), o.server...)
	}
	options = append(options, 53, 1, kind)
	options = append(append(options, 61, 7, 1), mac[:]...)
	options = append(options, 55, 8, 1, 3, 6, 15, 26, 28, 42, 51)
	if named {
		name := fmt.Appendf(nil, "c%d", o.client)
		options = append(append(options, 12, byte(len(name))), name...)
	}
	options = append(options, 255)
	return putUDP(b, []byte("\xff\xff\xff\xff\xff\xff"), mac[:],
		netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpClientPort),
		netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), dhcpServerPort),
		max(dhcpFixed+len(options), dhcpLeast))
}

// parseDHCP4 reads a frame that the filter let through.
func parseDHCP4(frame []byte) (a dhcpAnswer, ok bool) {
	if len(frame) < 14+20 {
		return a, false
	}
	start := 14 + int(frame[14]&15)*4 + 8
	if len(frame) < start+dhcpFixed {
		return a, false
	}
	m := frame[start:]
	if m[0] != 2 || m[28] != 0x02 || m[29] != 0 || binary.BigEndian.Uint32(m[236:]) != dhcpCookie {
		return a, false
	}
	a.id, a.client = binary.BigEndian.Uint32(m[4:]), binary.BigEndian.Uint32(m[30:])
	a.address = netip.AddrFrom4([4]byte(m[16:]))
	for o := m[dhcpFixed:]; len(o) > 0 && o[0] != 255; {
		if o[0] == 0 {
			o = o[1:]
			continue
		}
		if len(o) < 2 || len(o) < 2+int(o[1]) {
			return a, false
		}
		switch value := o[2 : 2+o[1]]; {
		case o[0] == 53 && len(value) == 1:
			a.kind = value[0]
		case o[0] == 54 && len(value) == 4:
			a.server = value
		}
		o = o[2+int(o[1]):]
	}
	return a, a.kind != 0
}
