package gateway

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/memport"
)

// lab is a network with a gateway, and one guest on a port in memory.
type lab struct {
	t       *testing.T
	net     *dataplane.Network
	gateway *Gateway
	io      *memport.Port
}

var (
	gatewayMAC = frame.MAC{2, 0, 0, 0, 0, 0xfe}
	guestMAC   = frame.MAC{2, 0, 0, 0, 0, 0x05}
	config     = Config{
		MAC: gatewayMAC, Address: netip.MustParsePrefix("10.0.0.1/24"), MTU: 1500,
		Address6: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("fd00:2::1/64")},
	}

	// own are the gateway's addresses, each with what a guest has beside it.
	own = []struct{ gateway, guest, nobody string }{
		{"10.0.0.1", "10.0.0.5", "10.0.0.9"},
		{ndp.LinkLocal(gatewayMAC).String(), "fe80::5", ""},
		{"2001:db8:1::1", "2001:db8:1::5", "2001:db8:1::9"},
		{"fd00:2::1", "fd00:2::5", "fd00:2::9"},
	}
)

// guestOf is the guest's address for packets to another one: of its subnet, or the
// first of its family.
func guestOf(to string) string {
	a := netip.MustParseAddr(to)
	for i, p := range config.addresses() {
		if p.Contains(a) {
			return own[i].guest
		}
	}
	if a.Is4() {
		return own[0].guest
	}
	return own[2].guest
}

func newLab(t *testing.T) *lab { return newLabOf(t, config) }

func newLabOf(t *testing.T, cfg Config) *lab {
	sw := dataplane.New()
	t.Cleanup(sw.Close)
	n, err := sw.AddNetwork("lan", dataplane.NetworkConfig{
		Address: gatewayMAC, MTU: 1500, FDB: fdb.Config{Limit: 100, Ageing: time.Minute},
		Gateway: dataplane.GatewayConfig{Address: cfg.Address, Address6: cfg.Address6, DHCP: true, DHCPv6: true, DNS: true, RA: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.AddPort("a", dataplane.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, net: n, io: memport.New(0)}
	p.Attach(l.io, 1500, func(error) {})
	if l.gateway, err = New(n.Gateway(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.gateway.Close)
	l.expectAnnouncements(cfg)
	return l
}

// expectAnnouncements expects each address of a gateway to be announced.
func (l *lab) expectAnnouncements(cfg Config) {
	l.t.Helper()
	for _, p := range cfg.addresses() {
		a := p.Addr()
		if a.Is4() {
			l.expect(arpPacket(broadcast, gatewayMAC, arpRequest, gatewayMAC, a.String(), frame.MAC{}, a.String()))
			continue
		}
		n := ndp.Neighbor{Target: a, MAC: gatewayMAC, Router: true, Override: true}
		l.expect(ndp.Packet(gatewayMAC, frame.MAC{0x33, 0x33, 0, 0, 0, 1}, a, ndp.AllNodes, n.Advertisement()).Bytes())
	}
}

func (l *lab) send(b []byte) {
	l.t.Helper()
	if !l.io.Inject(memport.Frame{Bytes: b}) {
		l.t.Fatal("the guest cannot send")
	}
}

func (l *lab) next() []byte {
	l.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if f, ok := l.io.Poll(); ok {
			return f.Bytes
		}
	}
	l.t.Fatal("nothing came")
	return nil
}

func (l *lab) expect(want []byte) {
	l.t.Helper()
	if got := l.next(); !bytes.Equal(got, want) {
		l.t.Fatalf("received\n% x, want\n% x", got, want)
	}
}

// parsed reads a frame that the guest has received. Its checksums must be right.
func (l *lab) parsed(b []byte) (*frame.Frame, *frame.Parsed) {
	l.t.Helper()
	f, p := new(frame.Frame), new(frame.Parsed)
	f.Set(b, 0)
	if p.Parse(f); !intact(f, p) || f.Dst() != guestMAC || f.Src() != gatewayMAC {
		l.t.Fatalf("received % x", b)
	}
	return f, p
}

func arpPacket(dst, src frame.MAC, operation byte, sender frame.MAC, from string, target frame.MAC, to string) []byte {
	b := append(append(append([]byte(nil), dst[:]...), src[:]...), 8, 6, 0, 1, 8, 0, 6, 4, 0, operation)
	f, a := netip.MustParseAddr(from).As4(), netip.MustParseAddr(to).As4()
	b = append(append(b, sender[:]...), f[:]...)
	return append(append(b, target[:]...), a[:]...)
}

// packet builds an IP packet of the guest's.
func packet(to string, protocol, ttl byte, l4 []byte) []byte {
	return packetFrom(guestOf(to), to, protocol, ttl, l4)
}

func packetFrom(from, to string, protocol, ttl byte, l4 []byte) []byte {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	b := append(append([]byte(nil), gatewayMAC[:]...), guestMAC[:]...)
	if src.Is6() {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, byte(len(l4)>>8), byte(len(l4)), protocol, ttl)
		return append(append(append(b, src.AsSlice()...), dst.AsSlice()...), l4...)
	}
	ip := make([]byte, 20)
	ip[0], ip[8], ip[9] = 0x45, ttl, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(l4)))
	copy(ip[12:], src.AsSlice())
	copy(ip[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	return append(append(append(b, 8, 0), ip...), l4...)
}

// headerLen is that of Ethernet and IP in what packet builds.
func headerLen(to string) int {
	if netip.MustParseAddr(to).Is4() {
		return frame.HeaderLen + ip4Len
	}
	return frame.HeaderLen + ip6Len
}

// summed fills in the checksum of what is to follow an IP header.
func summed(from, to string, protocol byte, at int, l4 []byte) []byte {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	pseudo := uint64(0)
	if protocol != frame.ProtoICMP {
		pseudo = frame.PseudoHeader(src.AsSlice(), dst.AsSlice(), protocol, len(l4))
	}
	l4[at], l4[at+1] = 0, 0
	sum := frame.Checksum(l4, pseudo)
	if sum == 0 && protocol == frame.ProtoUDP {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(l4[at:], sum)
	return l4
}

// icmp is the protocol, and the types of an echo and its reply, for an address.
func icmpOf(to string) (protocol, echo, reply byte) {
	if netip.MustParseAddr(to).Is4() {
		return frame.ProtoICMP, 8, 0
	}
	return frame.ProtoICMPv6, 128, 129
}

// echo is the message of a ping from the guest.
func echo(to, text string) []byte { return echoFrom(guestOf(to), to, text) }

func echoFrom(from, to, text string) []byte {
	protocol, kind, _ := icmpOf(to)
	return summed(from, to, protocol, 2, append([]byte{kind, 0, 0, 0, 1, 2, 0, 1}, text...))
}

// ping is the packet of a ping.
func ping(to, text string) []byte { return pingFrom(guestOf(to), to, text) }

func pingFrom(from, to, text string) []byte {
	protocol, _, _ := icmpOf(to)
	return packetFrom(from, to, protocol, 64, echoFrom(from, to, text))
}

// expectEcho expects the reply to a ping.
func (l *lab) expectEcho(from, text string) {
	l.t.Helper()
	if b := l.next(); !l.isEcho(b, from, text) {
		l.t.Fatalf("received % x, want the echo of %q from %s", b, text, from)
	}
}

func (l *lab) isEcho(b []byte, from, text string) bool {
	l.t.Helper()
	f, p := l.parsed(b)
	protocol, _, reply := icmpOf(from)
	src, _ := endsOf(f, p)
	return p.Protocol == protocol && b[p.L4] == reply && src.String() == from && string(b[p.Payload:p.End]) == text
}

func udpPacket(to string, port uint16, payload string) []byte {
	return udpFrom(guestOf(to), to, port, payload)
}

func udpFrom(from, to string, port uint16, payload string) []byte {
	b := append([]byte{0xc0, 0, byte(port >> 8), byte(port), 0, byte(8 + len(payload)), 0, 0}, payload...)
	return packetFrom(from, to, frame.ProtoUDP, 64, summed(from, to, frame.ProtoUDP, 6, b))
}

// segment is a TCP segment of the guest's to the port of DNS.
func segment(to string, from uint16, seq, ack uint32, flags byte, payload string) []byte {
	b := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], dnsPort)
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12], b[13], b[14] = 0x50, flags, 0xff
	return summed(guestOf(to), to, frame.ProtoTCP, 16, append(b, payload...))
}
