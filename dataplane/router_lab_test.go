package dataplane

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/memport"
)

// routedLab is a network "lan" (10.0.0.0/24) with a guest, an uplink at 192.0.2.2/24
// with the world outside at its port, and a network "dmz" (10.1.0.0/24).
type routedLab struct {
	*lab
	v             family
	dmz           *Network
	uplink        *Uplink
	guest, server *station // in lan and dmz
	world         *station // all that is outside
}

const (
	guestIP  = "10.0.0.5"
	serverIP = "10.1.0.5"
	worldIP  = "192.0.2.1" // the next router
	farIP    = "198.51.100.7"
)

var (
	dmzMAC    = frame.MAC{2, 0, 0, 0, 1, 1}
	uplinkMAC = frame.MAC{2, 0, 0, 0, 2, 1}
)

func newRoutedLab(t *testing.T, v family) *routedLab {
	l := &routedLab{lab: newLab(t), v: v}
	lan, dmz := testConfig, testConfig
	lan.Address, dmz.Address = gatewayMAC, dmzMAC
	v.address(&lan.Gateway, "10.0.0.1/24")
	v.address(&dmz.Gateway, "10.1.0.1/24")
	l.net.Reconfigure(lan, nil)
	l.dmz = l.network("dmz", dmz)
	var err error
	outside := UplinkConfig{
		MAC: uplinkMAC, MTU: 1500, Routes: []Route{{Destination: v.everywhere(), Via: v.addr(worldIP)}},
	}
	v.uplink(&outside, "192.0.2.2/24")
	l.uplink, err = l.sw.AddUplink("eth0", outside)
	if err != nil {
		t.Fatal(err)
	}
	l.guest = l.station(l.net, "guest", frame.CapAll)
	l.server = l.station(l.dmz, "server", frame.CapAll)
	l.world = l.station(l.uplink.Network(), "eth0", frame.CapAll)
	return l
}

// station makes one whose wire has the lab's family.
func (l *routedLab) station(n *Network, name string, caps frame.Caps) *station {
	s := l.lab.station(n, name, caps)
	s.v = l.v
	return s
}

func (l *routedLab) lead(n *Network, c RoutingConfig) {
	l.t.Helper()
	if err := n.SetRouting(c); err != nil {
		l.t.Fatal(err)
	}
}

// packet is an IPv4 packet in a frame, with TTL 64.
func packet(dst, src frame.MAC, from, to string, protocol byte, l4 []byte) []byte {
	b := make([]byte, 34, 34+len(l4))
	copy(b, dst[:])
	copy(b[6:], src[:])
	b[12], b[14], b[22], b[23] = 8, 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[16:], uint16(20+len(l4)))
	f, a := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	copy(b[26:], f[:])
	copy(b[30:], a[:])
	return rechecked(append(b, l4...))
}

// rechecked has the IP header's checksum put right.
func rechecked(b []byte) []byte {
	b[24], b[25] = 0, 0
	binary.BigEndian.PutUint16(b[24:], frame.Checksum(b[14:14+int(b[14]&15)*4], 0))
	return b
}

// udp is a datagram without a checksum.
func udp(from, to uint16, payload string) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// routedOnce is a packet after one router.
func routedOnce(b []byte, dst, src frame.MAC) []byte {
	b = append([]byte(nil), b...)
	copy(b, dst[:])
	copy(b[6:], src[:])
	b[22]--
	return rechecked(b)
}

// asksFor expects an ARP request of the router's, and answers it.
func (s *station) asksFor(router frame.MAC, routerIP, target string) {
	s.t.Helper()
	b := s.next().Bytes
	if len(b) < arpEnd || b[13] != 6 || b[21] != arpRequest || frame.MAC(b[6:]) != router ||
		netip.AddrFrom4([4]byte(b[arpSender:])).String() != routerIP || netip.AddrFrom4([4]byte(b[arpTarget:])).String() != target {
		s.t.Fatalf("%s received % x, want a request of %s for %s", s.mac, b, routerIP, target)
	}
	s.says(router, arpReply, target, routerIP)
}

// says sends an ARP packet.
func (s *station) says(to frame.MAC, operation byte, sender, target string) {
	b := []byte{0, 1, 8, 0, 6, 4, 0, operation}
	from, a := netip.MustParseAddr(sender).As4(), netip.MustParseAddr(target).As4()
	b = append(append(b, s.mac[:]...), from[:]...)
	b = append(append(b, make([]byte, 6)...), a[:]...)
	s.send(append(append(append(append([]byte(nil), to[:]...), s.mac[:]...), 8, 6), b...))
}

// newNATLab is a routedLab whose networks know their neighbours, and with "lan" behind
// the uplink, translated.
func newNATLab(t *testing.T, v family, c RoutingConfig) *routedLab {
	l := newRoutedLab(t, v)
	l.introduce()
	c.Uplink, c.IPv4, c.IPv6 = l.uplink, Translated, Translated
	l.lead(l.net, c)
	return l
}

// introduce spares the stations ARP.
func (l *routedLab) introduce() {
	l.meet(l.net, l.guest, guestIP)
	l.meet(l.dmz, l.server, serverIP)
	l.meet(l.uplink.Network(), l.world, worldIP)
}

// meet has a network know where a station is.
func (l *routedLab) meet(n *Network, s *station, ip string) {
	n.neighbors.learn(l.v.addr(ip), s.mac, true, 1)
	_ = n.AddStatic(0, s.mac, s.port.Name()) // again, perhaps
}

// addr and prefixes read addresses.
func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// segment is one of TCP, without a checksum; options are words of 4 bytes.
func segment(from, to uint16, seq, ack uint32, flags byte, options, payload string) []byte {
	b := make([]byte, 20, 20+len(options)+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13], b[14] = byte(20+len(options))<<2, flags, 0xff
	return append(append(b, options...), payload...)
}

const (
	fin, syn, rst, ack = 1, 2, 4, 16
)

// echo is an echo request or reply without a checksum.
func echo(kind byte, id uint16, payload string) []byte {
	return append([]byte{kind, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}, payload...)
}

// icmpAbout is an ICMP error that quotes the start of a packet, which is in a frame.
func icmpAbout(kind, code byte, mtu uint16, quoted []byte) []byte {
	b := []byte{kind, code, 0, 0, 0, 0, byte(mtu >> 8), byte(mtu)}
	return append(b, quoted[14:min(len(quoted), 14+28)]...)
}

// sealed has the checksum of the transport header put right, if it has one.
func sealed(b []byte) []byte {
	at, seed := 34, frame.PseudoHeader(b[26:30], b[30:34], b[23], len(b)-34)
	switch b[23] {
	case frame.ProtoTCP:
		at += 16
	case frame.ProtoUDP:
		at += 6
	case frame.ProtoICMP:
		at, seed = at+2, 0
	}
	b[at], b[at+1] = 0, 0
	binary.BigEndian.PutUint16(b[at:], frame.Checksum(b[34:], seed))
	return b
}

// The packets of a lab: what the guest sends to its gateway, what the world has of it,
// what the world sends to an outside address, and what the guest has of that.
func (l *routedLab) fromGuest(to string, protocol byte, l4 []byte) []byte {
	return sealed(packet(gatewayMAC, l.guest.mac, guestIP, to, protocol, l4))
}

func (l *routedLab) toWorld(from, to string, protocol byte, l4 []byte) []byte {
	return routedOnce(sealed(packet(l.world.mac, uplinkMAC, from, to, protocol, l4)), l.world.mac, uplinkMAC)
}

func (l *routedLab) fromWorld(from, to string, protocol byte, l4 []byte) []byte {
	return sealed(packet(uplinkMAC, l.world.mac, from, to, protocol, l4))
}

func (l *routedLab) toGuest(from string, protocol byte, l4 []byte) []byte {
	return routedOnce(sealed(packet(l.guest.mac, gatewayMAC, from, guestIP, protocol, l4)), l.guest.mac, gatewayMAC)
}

// newIO attaches other I/O to the port of a station.
func newIO(l *routedLab, s *station, caps frame.Caps) *memport.Port {
	io := memport.New(caps)
	s.port.Attach(io, 1500, func(err error) { l.t.Errorf("port %s failed: %v", s.port.Name(), err) })
	return io
}

// treatmentOf is that of a network which is translated, or not.
func treatmentOf(nat bool) Treatment {
	if nat {
		return Translated
	}
	return Plain
}
