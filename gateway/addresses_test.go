package gateway

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dhcp"
)

// What the gateway speaks from, and whom it speaks to.
func TestAddresses(t *testing.T) {
	all := config.addresses()
	for _, tt := range []struct {
		addr, from string
		reached    bool
	}{
		{"10.0.0.5", own[0].gateway, true},
		{"10.0.1.5", own[0].gateway, false},
		{"255.255.255.255", own[0].gateway, false},
		{"fe80::5", own[1].gateway, true},
		{"ff02::1", own[1].gateway, false},
		{"::", own[1].gateway, false},
		{"2001:db8:1::5", own[2].gateway, true},
		{"2001:db8:2::5", own[1].gateway, false},
		{"fd00:2::ffff:5", own[3].gateway, true},
		{"::ffff:10.0.0.5", own[1].gateway, false},
		{own[0].gateway, own[0].gateway, false},
		{own[1].gateway, own[1].gateway, false},
		{own[2].gateway, own[2].gateway, false},
	} {
		a := netip.MustParseAddr(tt.addr)
		if from, reached := all.toward(a), all.reach(a); from.String() != tt.from || reached != tt.reached {
			t.Errorf("%v: from %v, reached %v, want %s, %v", a, from, reached, tt.from, tt.reached)
		}
	}
	two := addresses{netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("2001:db8:1::2/64")}
	for _, p := range two {
		if two.reach(p.Addr()) || !two.has(p.Addr()) {
			t.Errorf("of %v the gateway has both, and %v is another station", two, p.Addr())
		}
	}
	if from := (addresses{config.Address}).link(); from.IsValid() {
		t.Errorf("a gateway of IPv4 has the link-local address %v", from)
	}
}

// What the servers of leases answer leaves from the address that fits, whole and right.
func TestReplies(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		from, to string
		port     uint16
	}{
		{"10.0.0.1:67", "10.0.0.5:68", dhcpPort},
		{"10.0.0.1:67", "255.255.255.255:68", dhcpPort},
		{"[" + own[1].gateway + "]:547", "[fe80::5]:546", dhcp6Port},
		{"[2001:db8:1::1]:547", "[2001:db8:1::5]:547", dhcp6Port},
	} {
		to := netip.MustParseAddrPort(tt.to)
		for n := range 5 { // of bytes
			l.gateway.send(l.gateway.reply(guestMAC, tt.port, to, []byte("four")[:n]))
			f, p := l.parsed(l.next())
			d, ok := datagramOf(f)
			if !ok || d.src.String() != tt.from || d.dst != to || string(d.payload) != "four"[:n] || p.End != len(f.Bytes()) {
				t.Errorf("received % x, want %d bytes from %s to %s", f.Bytes(), n, tt.from, tt.to)
			}
		}
	}
	for _, o := range own { // a checksum of zero says that there is none
		send := func(payload []byte) uint16 {
			l.gateway.send(l.gateway.reply(guestMAC, 1, netip.AddrPortFrom(netip.MustParseAddr(o.guest), 2), payload))
			f, p := l.parsed(l.next())
			return binary.BigEndian.Uint16(f.Bytes()[p.L4+6:])
		}
		sum := send([]byte{0, 0})
		if got := send([]byte{byte(sum >> 8), byte(sum)}); got != 0xffff {
			t.Errorf("the checksum of zero is sent as %#x", got)
		}
	}
	l.gateway.SendDHCP([]dhcp.Reply{{MAC: guestMAC, Dst: netip.MustParseAddrPort("10.0.0.5:68"), Payload: []byte("offer")}})
	f, _ := l.parsed(l.next())
	if d, ok := datagramOf(f); !ok || d.src.Port() != dhcpPort || string(d.payload) != "offer" {
		t.Errorf("received % x", f.Bytes())
	}
}
