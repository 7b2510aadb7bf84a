package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// dhcpAgain is after how long a client sends its message again.
const dhcpAgain = 2 * time.Second

// dhcpClients says whom a DHCP load stands for.
type dhcpClients struct {
	Interface string // of the host, which leads to the server
	Number    int    // of clients, who take turns
	First     int    // number of the first: runs with others have other clients
	Names     bool   // each client says what it is called: c and its number
}

// dhcpLoad has clients of a host get leases as fast as the server gives them:
// DISCOVER, OFFER, REQUEST and ACK are one exchange. The clients have MAC
// addresses of their own, in chaddr and as the sources of their frames, and none
// of the addresses that they get is used. A NAK counts as a refusal.
func dhcpLoad(ctx context.Context, h *Host, clients dhcpClients, load serviceLoad) (served, error) {
	switch {
	case load.Window < 1 || load.Count <= 0 && load.Duration <= 0:
		return served{}, fmt.Errorf("DHCP load: a window of %d, %d exchanges, %v", load.Window, load.Count, load.Duration)
	case clients.Number < load.Window:
		return served{}, fmt.Errorf("DHCP load: %d clients for a window of %d", clients.Number, load.Window)
	}
	d := &dhcpAsker{clients: clients, offers: make([]dhcpOffer, load.Window), given: map[uint32]struct{}{}}
	got, err := d.ask(ctx, h, d, func() (int, error) { return dhcpSocket(clients.Interface) }, load, dhcpAgain, dhcpFrame)
	if err != nil {
		return served{}, fmt.Errorf("DHCP load: %w", err)
	}
	got.Addresses = len(d.given)
	return got, nil
}

// dhcpAsker is a running load.
type dhcpAsker struct {
	asker
	clients dhcpClients
	next    int // number of the client whose turn it is, from 0
	offers  []dhcpOffer
	given   map[uint32]struct{}
}

// dhcpOffer is what the client at a place of the window knows.
type dhcpOffer struct {
	client          uint32
	requests        bool // the OFFER has come
	address, server uint32
}

func (d *dhcpAsker) begin(place int) {
	d.offers[place] = dhcpOffer{client: uint32(d.clients.First + d.next)}
	d.next = (d.next + 1) % d.clients.Number
}

func (d *dhcpAsker) put(b []byte, place int) int {
	return putDHCP(b, d.window.window[place].id, &d.offers[place], d.clients.Names)
}

func (d *dhcpAsker) take(frame []byte, now time.Time) error {
	answer, ok := parseDHCP(frame)
	if !ok {
		return nil
	}
	place, ok := d.window.find(answer.id)
	if !ok || d.offers[place].client != answer.client {
		return nil // late, or not ours
	}
	d.received.Add(1)
	offer := &d.offers[place]
	switch {
	case answer.kind == dhcpOfferKind && !offer.requests:
		offer.requests, offer.address, offer.server = true, answer.address, answer.server
		d.window.follow(place, now)
		return d.send(place)
	case answer.kind == dhcpAckKind && offer.requests && answer.address == offer.address:
		d.given[answer.address] = struct{}{}
		d.window.complete(place, now)
	case answer.kind == dhcpNakKind:
		d.window.refuse(place)
	}
	return nil
}

// dhcpSocket opens a packet socket that gets what is sent to clients of DHCP,
// whichever of them it is for.
func dhcpSocket(name string) (int, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("interface %s: %w", name, err)
	}
	ip := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	// No frame comes before the filter is there: without a protocol none does.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
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
		return -1, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return fd, nil
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

const (
	dhcpServerPort = 67
	dhcpClientPort = 68
	dhcpFrame      = 1514 // the longest frame of a message, without its VLAN tag
	dhcpCookie     = 0x63825363
	dhcpFixed      = 240 // header of the message with the cookie
	dhcpLeast      = 300 // bytes that a BOOTP message has (RFC 1542 section 2.1)

	dhcpDiscoverKind, dhcpOfferKind, dhcpRequestKind = 1, 2, 3
	dhcpAckKind, dhcpNakKind                         = 5, 6
)

// putDHCP writes the frame of the DISCOVER or REQUEST of a client and returns its
// length.
func putDHCP(b []byte, id uint32, o *dhcpOffer, named bool) int {
	clear(b)
	var mac [6]byte
	mac[0] = 0x02 // locally administered
	binary.BigEndian.PutUint32(mac[2:], o.client)
	m := b[14+20+8:]
	m[0], m[1], m[2] = 1, 1, 6 // BOOTREQUEST, Ethernet
	binary.BigEndian.PutUint32(m[4:], id)
	copy(m[28:], mac[:])
	binary.BigEndian.PutUint32(m[236:], dhcpCookie)
	options := m[dhcpFixed:dhcpFixed]
	kind := byte(dhcpDiscoverKind)
	if o.requests {
		kind = dhcpRequestKind
		options = binary.BigEndian.AppendUint32(append(options, 50, 4), o.address)
		options = binary.BigEndian.AppendUint32(append(options, 54, 4), o.server)
	}
	options = append(options, 53, 1, kind)
	options = append(append(options, 61, 7, 1), mac[:]...)
	options = append(options, 55, 8, 1, 3, 6, 15, 26, 28, 42, 51)
	if named {
		name := fmt.Appendf(nil, "c%d", o.client)
		options = append(append(options, 12, byte(len(name))), name...)
	}
	options = append(options, 255)
	length := max(dhcpFixed+len(options), dhcpLeast)
	putUDP(b, mac[:], length)
	return 14 + 20 + 8 + length
}

// putUDP writes the heads of a broadcast from a client that has no address yet.
func putUDP(b, mac []byte, payload int) {
	copy(b, "\xff\xff\xff\xff\xff\xff")
	copy(b[6:], mac)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IP)
	ip, udp := b[14:34], b[34:34+8+payload]
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(20+8+payload))
	copy(ip[16:], "\xff\xff\xff\xff")
	binary.BigEndian.PutUint16(ip[10:], ^sum16(0, ip))
	binary.BigEndian.PutUint16(udp, dhcpClientPort)
	binary.BigEndian.PutUint16(udp[2:], dhcpServerPort)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+payload))
	// The pseudo-header: both addresses, protocol, length (RFC 768).
	check := ^sum16(uint32(sum16(uint32(unix.IPPROTO_UDP+8+payload), ip[12:20])), udp)
	if check == 0 {
		check = 0xffff // zero says that there is none
	}
	binary.BigEndian.PutUint16(udp[6:], check)
}

// sum16 adds up 16-bit words in ones' complement (RFC 1071).
func sum16(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) > 0 {
		sum += uint32(b[0]) << 8
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// dhcpAnswer is what a server says.
type dhcpAnswer struct {
	id, client      uint32
	kind            byte
	address, server uint32
}

// parseDHCP reads a frame that the filter let through.
func parseDHCP(frame []byte) (a dhcpAnswer, ok bool) {
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
	a.id, a.client, a.address = binary.BigEndian.Uint32(m[4:]), binary.BigEndian.Uint32(m[30:]), binary.BigEndian.Uint32(m[16:])
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
			a.server = binary.BigEndian.Uint32(value)
		}
		o = o[2+int(o[1]):]
	}
	return a, a.kind != 0
}
