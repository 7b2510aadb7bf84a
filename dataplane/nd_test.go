package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/memport"
	"github.com/weft/weft/snooping"
)

// What IPv6 has and IPv4 has not. Stations here send and get what is on the wire.

var (
	guest6  = ipv6.addr(guestIP)
	lan6    = ipv6.addr("10.0.0.1")
	nobody6 = netip.IPv6Unspecified()
)

// newSixLab is a routedLab of IPv6, whose stations translate nothing.
func newSixLab(t *testing.T, serves func(*GatewayConfig)) *routedLab {
	l := newRoutedLab(t, ipv6)
	for _, s := range []*station{l.guest, l.server, l.world} {
		s.v = ipv4
	}
	cfg := l.net.Config()
	if serves != nil {
		serves(&cfg.Gateway)
	}
	l.net.Reconfigure(cfg, nil)
	return l
}

// nd is a message of the guest's, to a group or to the gateway.
func (s *station) nd(router frame.MAC, src, dst netip.Addr, message []byte) []byte {
	mac := router
	if dst.IsMulticast() {
		mac = ndp.GroupMAC(dst)
	}
	return append([]byte(nil), ndp.Packet(s.mac, mac, src, dst, message).Bytes()...)
}

// advertised reads a neighbour advertisement.
func advertised(t *testing.T, f memport.Frame) (dst netip.Addr, n ndp.Neighbor) {
	t.Helper()
	g := wrap(append(make([]byte, frame.Headroom), f.Bytes...))
	var p frame.Parsed
	p.Parse(g)
	if !ndp.Valid(g, &p) || g.Bytes()[p.L4] != ndp.NeighborAdvertisement {
		t.Fatalf("no advertisement: % x", f.Bytes)
	}
	return destination(g, &p), ndp.ParseNeighbor(g.Bytes()[p.L4:p.End])
}

// The gateway answers for its addresses, link-local and others, whoever asks, and for no
// others.
func TestGatewayAnswersND(t *testing.T) {
	l := newSixLab(t, nil)
	link := ndp.LinkLocal(gatewayMAC)
	sent := uint64(0)
	for _, test := range []struct {
		what   string
		src    netip.Addr
		target netip.Addr
		direct bool
		want   bool
	}{
		{"a station", guest6, lan6, false, true},
		{"by its link-local address", ndp.LinkLocal(l.guest.mac), link, false, true},
		{"again", guest6, lan6, true, true},
		{"without an address", nobody6, lan6, false, true},
		{"for another", guest6, ipv6.addr("10.0.0.9"), false, false},
		{"for one of another network's", guest6, ipv6.addr("10.1.0.1"), false, false},
	} {
		dst := ndp.SolicitedNode(test.target)
		if test.direct {
			dst = test.target
		}
		n := ndp.Neighbor{Target: test.target, MAC: l.guest.mac}
		if test.src == nobody6 {
			n.MAC = frame.MAC{}
		}
		l.guest.send(l.guest.nd(gatewayMAC, test.src, dst, n.Solicitation()))
		sent++
		l.guest.settle(sent)
		if !test.want {
			l.guest.silent()
			continue
		}
		to, got := advertised(t, l.guest.next())
		want := ndp.Neighbor{Target: test.target, MAC: gatewayMAC, Router: true, Override: true, Solicited: test.src != nobody6}
		wantTo := test.src
		if test.src == nobody6 {
			wantTo = ndp.AllNodes
		}
		if got != want || to != wantTo {
			t.Errorf("%s: %s was told %+v, want %s %+v", test.what, to, got, wantTo, want)
		}
	}
}

// Of what a guest says in neighbour discovery the gateway believes what can be so.
func TestNDHostile(t *testing.T) {
	l := newSixLab(t, nil)
	ask := ndp.Neighbor{Target: lan6, MAC: l.guest.mac}
	all := ndp.SolicitedNode(lan6)
	changed := func(b []byte, at int, to byte) []byte { b[at] = to; return b }
	sent := uint64(0)
	for what, b := range map[string][]byte{
		"off the link":           l.guest.nd(gatewayMAC, ipv6.addr(serverIP), all, ask.Solicitation()),
		"of another MAC address": l.guest.nd(gatewayMAC, guest6, all, ndp.Neighbor{Target: lan6, MAC: mac("else")}.Solicitation()),
		"from afar":              changed(l.guest.nd(gatewayMAC, guest6, all, ask.Solicitation()), 21, 64),
		"damaged":                changed(l.guest.nd(gatewayMAC, guest6, all, ask.Solicitation()), 80, 9),
		"cut short":              l.guest.nd(gatewayMAC, guest6, all, ask.Solicitation())[:70],
		"for another":            l.guest.nd(gatewayMAC, guest6, all, ndp.Neighbor{Target: ipv6.addr("10.0.0.9"), MAC: l.guest.mac}.Solicitation()),
		"unasked":                l.guest.nd(gatewayMAC, guest6, ndp.AllNodes, ndp.Neighbor{Target: guest6, MAC: l.guest.mac, Override: true}.Advertisement()),
		"without an address":     l.guest.nd(gatewayMAC, nobody6, all, ndp.Neighbor{Target: lan6}.Solicitation()),
		"below an S-tag":         sTagged(l.guest.nd(gatewayMAC, guest6, all, ask.Solicitation()), 0),
		"in a VLAN":              tagged(l.guest.nd(gatewayMAC, guest6, all, ask.Solicitation()), 5),
	} {
		l.guest.send(b)
		sent++
		l.guest.settle(sent)
		if got := l.net.Neighbors(); len(got) != 0 {
			t.Errorf("%s: learned %v", what, got)
		}
	}
	for i := range 1000 {
		src := ipv6.addr("10.0.0.9").As16()
		binary.BigEndian.PutUint16(src[12:], uint16(i))
		l.guest.send(l.guest.nd(gatewayMAC, netip.AddrFrom16(src), all, ask.Solicitation()))
		sent++
	}
	l.guest.settle(sent)
	if got := len(l.net.Neighbors()); got < 190 || got > 600 {
		t.Errorf("learned %d strangers at once, want some %d", got, strangerRate)
	}
}

// No guest is the gateway, whatever it says.
func TestNDClaims(t *testing.T) {
	l := newSixLab(t, nil)
	other := l.lab.station(l.net, "other", frame.CapAll)
	link := ndp.LinkLocal(gatewayMAC)
	ra := (&ndp.Advertisement{Lifetime: 9}).Message()
	claim := ndp.Neighbor{Target: lan6, MAC: l.guest.mac, Override: true}
	for i, b := range [][]byte{
		l.guest.nd(gatewayMAC, guest6, ndp.AllNodes, claim.Advertisement()),
		l.guest.nd(gatewayMAC, lan6, ndp.AllNodes, ndp.Neighbor{Target: guest6, MAC: l.guest.mac}.Advertisement()),
		l.guest.nd(gatewayMAC, link, ndp.SolicitedNode(guest6), ndp.Neighbor{Target: guest6, MAC: l.guest.mac}.Solicitation()),
		l.guest.nd(gatewayMAC, link, ndp.AllNodes, ra),
		extended(l.guest.nd(gatewayMAC, guest6, ndp.AllNodes, claim.Advertisement()), frame.ExtDestination),
	} {
		l.guest.send(b)
		l.guest.drops(GatewayAddress, uint64(i+1))
	}
	claimed := l.guest.nd(gatewayMAC, guest6, ndp.AllNodes, claim.Advertisement())
	l.guest.send(extended(claimed, slices.Repeat([]byte{frame.ExtDestination}, 9)...)) // more than weft walks over
	l.guest.drops(BadPacket, 1)
	claimed[18], claimed[19] = 0xff, 0 // longer than it is
	l.guest.send(claimed)
	l.guest.drops(BadPacket, 2)
	l.guest.send(snap(l.guest.nd(gatewayMAC, guest6, ndp.AllNodes, claim.Advertisement())))
	l.guest.drops(BadPacket, 3)
	other.silent()
	ok := l.guest.nd(gatewayMAC, guest6, ndp.AllNodes, ndp.Neighbor{Target: guest6, MAC: l.guest.mac}.Advertisement())
	l.guest.send(ok)
	other.expect(ok)
}

// extended puts extension headers of 8 bytes each between the headers of a packet.
func extended(b []byte, kinds ...byte) []byte {
	const at = 14 + ipv6Len
	next := b[20]
	out := append([]byte(nil), b[:at]...)
	for i, kind := range kinds {
		if i == 0 {
			out[20] = kind
		}
		following := next
		if i+1 < len(kinds) {
			following = kinds[i+1]
		}
		h := make([]byte, 8)
		h[0], h[2], h[3] = following, 1, 4 // one option of padding
		if kind == frame.ExtRouting {
			h[2], h[3] = 0, 1 // type 0, and somewhere to go
		}
		if kind == frame.ExtFragment {
			h[2], h[3] = 0, 0
		}
		out = append(out, h...)
	}
	out = append(out, b[at:]...)
	binary.BigEndian.PutUint16(out[18:], uint16(len(out)-at))
	return out
}

// Services have what is for them, and nothing else.
func TestGatewayInboxesIPv6(t *testing.T) {
	link := ndp.LinkLocal(mac("guest"))
	servers, site := netip.MustParseAddr("ff02::1:2"), netip.MustParseAddr("ff05::1:3")
	wire := func(dst netip.Addr, port uint16) []byte {
		b := ndp.Packet(mac("guest"), gatewayMAC, link, dst, make([]byte, 13)).Bytes()
		if dst.IsMulticast() {
			copy(b, group(dst))
		}
		b[20], b[21] = frame.ProtoUDP, 1
		copy(b[54:], udp(546, port, "hello"))
		b[60], b[61] = 0, 0
		binary.BigEndian.PutUint16(b[60:], frame.Checksum(b[54:], frame.PseudoHeader(b[22:38], b[38:54], frame.ProtoUDP, 13)))
		return append([]byte(nil), b...)
	}
	solicit := func(b []byte) []byte {
		f := ndp.Packet(mac("guest"), ndp.GroupMAC(ndp.AllRouters), link, ndp.AllRouters, b)
		return append([]byte(nil), f.Bytes()...)
	}
	damaged := solicit(ndp.Solicitation(mac("guest")))
	damaged[60]++
	for _, serves := range []bool{true, false} {
		l := newSixLab(t, func(c *GatewayConfig) { c.RA, c.DHCPv6, c.DNS = serves, serves, serves })
		l.meet(l.net, l.guest, guestIP)
		sent := uint64(0)
		for _, test := range []struct {
			what string
			b    []byte
			to   Service
			want bool
		}{
			{"a router solicitation", solicit(ndp.Solicitation(mac("guest"))), Solicit, serves},
			{"a damaged one", damaged, Solicit, false},
			{"DHCPv6 to the servers of the link", wire(servers, 547), DHCPv6, serves},
			{"of the site", wire(site, 547), DHCPv6, serves},
			{"to the gateway", wire(lan6, 547), DHCPv6, serves},
			{"another port", wire(servers, 548), DHCPv6, false},
			{"DNS", wire(ndp.LinkLocal(gatewayMAC), 53), DNS, serves},
			{"any other", wire(lan6, 5353), Station, true},
		} {
			l.guest.send(test.b)
			sent++
			l.guest.settle(sent)
			got := 0
			for s := Service(0); s < numServices; s++ {
				inbox := l.net.Gateway().Inbox(s)
				for m := inbox.Poll(); m != nil; m = inbox.Poll() {
					if s == test.to && string(m.Frame.Bytes()) == string(test.b) {
						got++
					} else if test.want {
						t.Errorf("%s: inbox %d has % x", test.what, s, m.Frame.Bytes())
					}
					inbox.Done(m)
				}
			}
			if (got == 1) != test.want {
				t.Errorf("%s (served: %v): delivered %d times, want %v", test.what, serves, got, test.want)
			}
		}
	}
}

// What IPv6 has no use for at a router goes nowhere, under its reason.
func TestRouterRefusesIPv6(t *testing.T) {
	l := newSixLab(t, nil)
	l.introduce()
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	good := func() []byte {
		b, _ := to6(t, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x")), frame.Offload{})
		return b
	}
	with := func(at int, a netip.Addr) []byte {
		b, raw := good(), a.As16()
		copy(b[at:], raw[:])
		return b
	}
	const src, dst = 14 + 8, 14 + 24
	many := []byte{frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination}
	firstOnly := extended(good(), frame.ExtFragment)
	firstOnly = firstOnly[:len(firstOnly)-9+4] // of UDP, 4 bytes
	binary.BigEndian.PutUint16(firstOnly[18:], uint16(len(firstOnly)-54))
	firstOnly[14+ipv6Len+3] = 1
	endless := extended(good(), frame.ExtDestination)
	endless[14+ipv6Len+1] = 200
	old := good()
	old[21] = 1
	count := map[Verdict]uint64{}
	for _, test := range []struct {
		what    string
		b       []byte
		verdict Verdict
		answer  [2]byte // of the error; zero: none
	}{
		{"to a group", with(dst, netip.MustParseAddr("ff0e::1")), BadPacket, [2]byte{}},
		{"to loopback", with(dst, netip.IPv6Loopback()), BadPacket, [2]byte{}},
		{"to nobody", with(dst, nobody6), BadPacket, [2]byte{}},
		{"to an IPv4 address in disguise", with(dst, netip.MustParseAddr("::ffff:198.51.100.7")), BadPacket, [2]byte{}},
		{"to a neighbour's link-local address", with(dst, netip.MustParseAddr("fe80::9")), BadPacket, [2]byte{}},
		{"from a link-local address", with(src, netip.MustParseAddr("fe80::9")), BadPacket, [2]byte{}},
		{"from another network", with(src, ipv6.addr(serverIP)), SourceAddress, [2]byte{}},
		{"from the gateway", with(src, lan6), SourceAddress, [2]byte{}},
		{"with more headers than anybody needs", extended(good(), many...), BadPacket, [2]byte{}},
		{"with a header beyond its end", endless, BadPacket, [2]byte{}},
		{"the first fragment without all headers", firstOnly, BadPacket, [2]byte{}},
		{"with a routing header of type 0", extended(good(), frame.ExtRouting), BadPacket, [2]byte{}},
		{"behind others", extended(good(), frame.ExtDestination, frame.ExtRouting), BadPacket, [2]byte{}},
		{"at the end of its time", old, TTLExceeded, [2]byte{3, 0}},
	} {
		l.guest.send(test.b)
		count[test.verdict]++
		l.guest.drops(test.verdict, count[test.verdict])
		if test.answer != [2]byte{} {
			if b := l.guest.next().Bytes; b[20] != frame.ProtoICMPv6 || [2]byte(b[54:]) != test.answer || string(b[62:]) != string(test.b[14:]) {
				t.Errorf("%s: answered % x", test.what, b)
			}
		}
	}
	for _, b := range [][]byte{good(), extended(good(), frame.ExtHopByHop, frame.ExtDestination), extended(good(), 50)} { // ESP, at last
		l.guest.send(b)
		b = append([]byte(nil), b...)
		copy(b, l.world.mac[:])
		copy(b[6:], uplinkMAC[:])
		b[21]--
		l.world.expect(b)
	}
	l.guest.silent()
}

// What is too long is its sender's to cut, however it asks (RFC 8200 clause 5), and the
// error has as much of it as fits.
func TestPacketTooBig(t *testing.T) {
	l := newSixLab(t, nil)
	l.introduce()
	cfg := l.uplink.Config()
	cfg.MTU = 1400
	l.uplink.Reconfigure(cfg)
	l.meet(l.uplink.Network(), l.world, worldIP)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	long, _ := to6(t, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 1440)))), frame.Offload{})
	for range 2 {
		l.guest.send(long)
		b := l.guest.next().Bytes
		if [2]byte(b[54:]) != [2]byte{2, 0} || binary.BigEndian.Uint32(b[58:]) != 1400 || len(b) != 14+errorLen6 || string(b[62:]) != string(long[14:14+1280-48]) {
			t.Errorf("answered % x", b[:80])
		}
		if frame.Checksum(b[54:], frame.PseudoHeader(b[22:38], b[38:54], frame.ProtoICMPv6, len(b)-54)) != 0 {
			t.Error("the checksum of the error is wrong")
		}
		long = extended(long, frame.ExtFragment) // a piece
		long[14+ipv6Len+2], long[14+ipv6Len+3] = 5, 1
	}
	l.guest.drops(TooBig, 2)
	fits, _ := to6(t, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, string(make([]byte, 1400-48)))), frame.Offload{})
	l.guest.send(fits)
	if b := l.world.next().Bytes; len(b) != 1414 {
		t.Errorf("%d bytes came, want 1414", len(b))
	}
	l.world.silent()
}

// From outside comes what answers, and what is published; else a routed network is not
// reached where it is tracked (RFC 6092), and is where it is plain.
func TestRouteTracked(t *testing.T) {
	for _, by := range []Treatment{Plain, Tracked} {
		l := newSixLab(t, nil)
		for _, s := range []*station{l.guest, l.server, l.world} {
			s.v = ipv6
		}
		l.introduce()
		zone := ipv6.published(frame.ProtoTCP, 22, 22, guestIP+":22")
		zone.Prefixes = identity.Prefixes
		l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv6: by, Zone: zone})
		open := by == Plain
		uninvited := l.fromWorld(farIP, guestIP, frame.ProtoTCP, segment(999, 80, 1, 0, syn, "", ""))
		l.world.send(uninvited)
		if open {
			l.guest.expect(routedOnce(uninvited, l.guest.mac, gatewayMAC))
		} else {
			l.world.drops(NATFiltered, 1)
		}
		invited := l.fromWorld(farIP, guestIP, frame.ProtoTCP, segment(999, 22, 1, 0, syn, "", ""))
		l.world.send(invited)
		l.guest.expect(routedOnce(invited, l.guest.mac, gatewayMAC))
		out := l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "x"))
		l.guest.send(out)
		l.world.expect(routedOnce(out, l.world.mac, uplinkMAC))
		back := l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "y"))
		l.world.send(back)
		l.guest.expect(routedOnce(back, l.guest.mac, gatewayMAC))
		about := l.fromWorld("203.0.113.9", guestIP, frame.ProtoICMP, icmpAbout(3, 4, 1280, out))
		l.world.send(about)
		l.guest.expect(routedOnce(about, l.guest.mac, gatewayMAC))
		l.world.silent()
		l.guest.silent()
	}
}

// snap has what a frame carries behind a length and the header of RFC 1042.
func snap(b []byte) []byte {
	out := append(append([]byte(nil), b[:12]...), byte((len(b)-6)>>8), byte(len(b)-6), 0xaa, 0xaa, 3, 0, 0, 0)
	return append(out, b[12:]...)
}

// A guest that may not configure the others does not, however it hides that.
func TestGuard(t *testing.T) {
	l := newLab(t)
	guest := l.stationWith(l.net, "guest", frame.CapAll, Policy{Guard: Guard{RA: true, DHCP: true}})
	other := l.station(l.net, "other", frame.CapAll)
	link := ndp.LinkLocal(guest.mac)
	ra := guest.nd(gatewayMAC, link, ndp.AllNodes, (&ndp.Advertisement{Lifetime: 9}).Message())
	redirect := append([]byte{ndp.Redirect, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 32)...)
	hidden := extended(ra, frame.ExtFragment)
	hidden[14+ipv6Len+3] = 1
	cut := append([]byte(nil), extended(hidden[:62], frame.ExtDestination)...)
	cut[14+ipv6Len] = 44
	many := []byte{0, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination, frame.ExtDestination}
	server4 := packet(broadcast, guest.mac, guestIP, "255.255.255.255", frame.ProtoUDP, udp(67, 68, "offer"))
	server6, _ := to6(t, packet(other.mac, guest.mac, guestIP, "10.0.0.6", frame.ProtoUDP, udp(547, 546, "advertise")), frame.Offload{})
	n := map[Verdict]uint64{}
	for _, test := range []struct {
		what string
		b    []byte
		want Verdict
	}{
		{"an advertisement", ra, RAGuard},
		{"in a VLAN", tagged(ra, 5), RAGuard},
		{"a redirect", guest.nd(other.mac, link, ndp.LinkLocal(other.mac), redirect), RAGuard},
		{"behind a header", extended(ra, frame.ExtDestination), RAGuard},
		{"behind many", extended(ra, many...), RAGuard},
		{"in a first fragment", hidden, RAGuard},
		{"in one that hides it", cut, RAGuard},
		{"below tags without end", tagged(tagged(tagged(tagged(ra, 5), 5), 5), 5), RAGuard},
		{"in a frame with a length", snap(ra), RAGuard},
		{"below a tag of no VLAN", tagged(tagged(ra, 0), 0), VLANDenied},
		{"a DHCP server", server4, DHCPGuard},
		{"a DHCPv6 server", server6, DHCPGuard},
		{"a DHCPv6 server, behind a header", extended(server6, frame.ExtDestination), DHCPGuard},
	} {
		guest.send(test.b)
		n[test.want]++
		guest.drops(test.want, n[test.want])
		other.silent()
	}
	later := extended(ra, frame.ExtFragment)
	later[14+ipv6Len+3] = 8
	ask6, _ := to6(t, packet(other.mac, guest.mac, guestIP, "10.0.0.6", frame.ProtoUDP, udp(546, 547, "solicit")), frame.Offload{})
	for _, b := range [][]byte{
		later, ask6, guest.nd(other.mac, link, ndp.AllRouters, ndp.Solicitation(guest.mac)),
		packet(broadcast, guest.mac, "0.0.0.0", "255.255.255.255", frame.ProtoUDP, udp(68, 67, "discover")),
		packet(other.mac, guest.mac, guestIP, "10.0.0.6", frame.ProtoTCP, segment(67, 68, 1, 0, syn, "", "")),
	} {
		guest.send(b)
		other.expect(b)
	}
}

// Neighbour discovery and MLD pass a port whose limit of multicast is used up, though not
// without end.
func TestStormSparesND(t *testing.T) {
	l := newLab(t)
	guest := l.stationWith(l.net, "guest", frame.CapAll, Policy{Storm: Storm{Multicast: 1}})
	other := l.station(l.net, "other", frame.CapAll)
	stream, _ := to6(t, packet(broadcast, guest.mac, guestIP, "224.1.2.3", frame.ProtoUDP, udp(1, 2, "x")), frame.Offload{})
	copy(stream, group(netip.MustParseAddr("ff0e::1")))
	for range 50 {
		guest.send(stream)
	}
	guest.settle(50)
	for _, ok := other.poll(); ok; _, ok = other.poll() {
	}
	mld := guest.nd(gatewayMAC, ndp.LinkLocal(guest.mac), netip.MustParseAddr("ff02::16"), append([]byte{143, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0}, make([]byte, 16)...))
	for _, b := range [][]byte{
		guest.nd(gatewayMAC, guest6, ndp.SolicitedNode(lan6), ndp.Neighbor{Target: lan6, MAC: guest.mac}.Solicitation()),
		guest.nd(gatewayMAC, ndp.LinkLocal(guest.mac), ndp.AllRouters, ndp.Solicitation(guest.mac)), mld, extended(mld, frame.ExtHopByHop),
	} {
		guest.send(b)
		other.expect(b)
	}
	for range 3 * vitalRate {
		guest.send(mld)
	}
	eventually(t, func() bool { return guest.port.Stats().Drops[StormMulticast] > 49 }, func() { t.Error("a storm of MLD passes") })
}

// The world outside an uplink finds the addresses that are behind it, and the uplink the
// router that only has a link-local one.
func TestUplinkND(t *testing.T) {
	l := newSixLab(t, nil)
	router := netip.MustParseAddr("fe80::1")
	cfg := l.uplink.Config()
	cfg.Routes = []Route{{Destination: everywhere[1], Via: router}}
	cfg.Client6 = true
	cfg.ProxyARP = []netip.Prefix{ipv6.prefix("10.0.0.0/24")}
	cfg.Extra = []netip.Addr{ipv6.addr("192.0.2.3")}
	l.uplink.Reconfigure(cfg)
	for range 2 {
		if to, n := advertised(t, l.world.next()); to != ndp.AllNodes || !n.Override || n.MAC != uplinkMAC {
			t.Errorf("announced %+v to %s", n, to)
		}
	}
	expectReport(t, l.world, changeToExclude, ndp.AllRouters, ndp.SolicitedNode(ndp.LinkLocal(uplinkMAC)), ndp.SolicitedNode(ipv6.addr(outsideIP)))
	sent := uint64(0)
	for target, want := range map[netip.Addr]bool{
		ipv6.addr(outsideIP): true, ipv6.addr("192.0.2.3"): true, guest6: true, ndp.LinkLocal(uplinkMAC): true,
		ipv6.addr("192.0.2.4"): false, ipv6.addr(serverIP): false,
	} {
		b := l.world.nd(uplinkMAC, router, ndp.SolicitedNode(target), ndp.Neighbor{Target: target, MAC: l.world.mac}.Solicitation())
		l.world.send(b)
		sent++
		l.world.settle(sent)
		m := l.uplink.Network().Gateway().Inbox(Client6).Poll()
		if m == nil || string(m.Frame.Bytes()) != string(b) {
			t.Fatalf("%s: the client has %v", target, m)
		}
		l.uplink.Network().Gateway().Inbox(Client6).Done(m)
		if !want {
			l.world.silent()
			continue
		}
		if to, n := advertised(t, l.world.next()); to != router || n.Target != target || n.MAC != uplinkMAC || n.Override != (target != guest6) {
			t.Errorf("%s: answered %+v to %s", target, n, to)
		}
	}
	l.meet(l.net, l.guest, guestIP)
	l.lead(l.net, RoutingConfig{Uplink: l.uplink})
	b, _ := to6(t, l.fromGuest(farIP, frame.ProtoUDP, udp(1, 2, "x")), frame.Offload{})
	l.guest.send(b)
	if got := l.world.next().Bytes; string(got[22:]) != string(b[22:]) { // it is known, as it has asked
		t.Errorf("received % x", got)
	}
	router = netip.MustParseAddr("fe80::2")
	cfg.Routes[0].Via = router
	l.uplink.Reconfigure(cfg)
	l.guest.send(b)
	asked := l.world.next().Bytes
	if asked[54] != ndp.NeighborSolicitation || netip.AddrFrom16([16]byte(asked[62:])) != router {
		t.Fatalf("asked % x", asked)
	}
	l.world.send(l.world.nd(uplinkMAC, router, ipv6.addr(outsideIP), ndp.Neighbor{Target: router, MAC: l.world.mac, Solicited: true, Override: true, Router: true}.Advertisement()))
	if got := l.world.next().Bytes; string(got[22:]) != string(b[22:]) || got[21] != 63 {
		t.Errorf("received % x", got)
	}
}

// expectReport expects an MLDv2 report of some groups, which a snooping switch takes.
func expectReport(t *testing.T, s *station, record byte, groups ...netip.Addr) {
	t.Helper()
	b := s.next().Bytes
	f := wrap(append(make([]byte, frame.Headroom), b...))
	if kind := snooping.Parse(f); kind != snooping.Report {
		t.Fatalf("no report (%d): % x", kind, b)
	}
	var p frame.Parsed
	p.Parse(f)
	var got []netip.Addr
	for m := b[p.L4+8 : p.End]; len(m) >= 20; m = m[20:] {
		if m[0] != record {
			t.Errorf("a record of type %d, want %d", m[0], record)
		}
		got = append(got, netip.AddrFrom16([16]byte(m[4:])))
	}
	if !slices.Equal(got, groups) {
		t.Errorf("reported %v, want %v", got, groups)
	}
}

// Whoever asks which groups the gateway listens to is told, and nobody else is.
func TestGatewayAnswersMLD(t *testing.T) {
	l := newSixLab(t, func(c *GatewayConfig) { c.DHCPv6 = true })
	other := l.lab.station(l.net, "other", frame.CapAll)
	query := append([]byte{mldQuery, 0, 0, 0, 0x27, 0x10, 0, 0}, make([]byte, 20)...)
	ask := extended(l.guest.nd(gatewayMAC, ndp.LinkLocal(l.guest.mac), ndp.AllNodes, query), frame.ExtHopByHop)
	l.guest.send(ask) // forwarded
	other.expect(ask)
	l.guest.silent()
	ask[21] = 1
	l.guest.send(ask)
	other.expect(ask)
	expectReport(t, l.guest, modeIsExclude, ndp.AllRouters, dhcp6Servers, ndp.SolicitedNode(ndp.LinkLocal(gatewayMAC)), ndp.SolicitedNode(lan6))
	other.silent()
}

// A station that takes an address is asked for it where all are watched, and known from
// then on, for as long as it answers.
func TestGatewayWatches(t *testing.T) {
	for _, watch := range []bool{true, false} {
		l := newSixLab(t, func(c *GatewayConfig) { c.Watch = watch })
		take := ndp.Neighbor{Target: guest6}
		l.guest.send(l.guest.nd(gatewayMAC, nobody6, ndp.SolicitedNode(guest6), take.Solicitation()))
		elsewhere := ipv6.addr(serverIP)
		l.guest.send(l.guest.nd(gatewayMAC, nobody6, ndp.SolicitedNode(elsewhere), ndp.Neighbor{Target: elsewhere}.Solicitation()))
		l.guest.settle(2)
		if !watch {
			l.net.seekNeighbors()
			l.guest.silent()
			continue
		}
		b := l.guest.next().Bytes
		if b[54] != ndp.NeighborSolicitation || netip.AddrFrom16([16]byte(b[62:])) != guest6 {
			t.Fatalf("asked % x", b)
		}
		l.guest.send(l.guest.nd(gatewayMAC, guest6, lan6, ndp.Neighbor{Target: guest6, MAC: l.guest.mac, Solicited: true}.Advertisement()))
		l.guest.settle(3)
		if got := l.net.Neighbors(); len(got) != 1 || got[0] != (Neighbor{guest6, l.guest.mac}) {
			t.Errorf("knows %v", got)
		}
	}
	n := newNeighbors()
	n.watch.Store(true)
	n.learn(guest6, mac("a"), true, 1)
	n.learn(addr(guestIP), mac("a"), true, 1)
	n.tick(1)
	asked := n.tick(1 + watchTime)
	if len(asked) != 1 || asked[0].addr != guest6 {
		t.Errorf("asked %v", asked)
	}
	for i := range uint32(maxTries + 1) {
		n.tick(2 + watchTime + i)
	}
	if n.get(guest6) != nil || n.get(addr(guestIP)) == nil {
		t.Error("one that is silent stays, or one of IPv4 is watched")
	}
}

// This machine has of ICMPv6 what answers it, at the gateway's addresses, and nothing that
// would configure it.
func TestHostPortICMPv6(t *testing.T) {
	l := newSixLab(t, func(c *GatewayConfig) { c.HostPort = "host" })
	host := l.lab.station(l.net, "host", frame.CapAll)
	l.meet(l.net, l.guest, guestIP)
	link, elsewhere := ndp.LinkLocal(gatewayMAC), netip.MustParseAddr("2001:db8:ffff::9")
	own := ndp.LinkLocal(l.guest.mac)
	na := func(target netip.Addr) []byte {
		return ndp.Neighbor{Target: target, MAC: l.guest.mac, Solicited: true}.Advertisement()
	}
	message := func(kind byte) []byte { return append([]byte{kind, 0, 0, 0}, make([]byte, 44)...) }
	sent := uint64(0)
	for _, test := range []struct {
		what string
		b    []byte
		want bool
	}{
		{"an answer about a guest", l.guest.nd(gatewayMAC, own, lan6, na(guest6)), true},
		{"to the link-local address", l.guest.nd(gatewayMAC, own, link, na(own)), true},
		{"to another address", l.guest.nd(gatewayMAC, own, elsewhere, na(guest6)), false},
		{"about somebody beyond", l.guest.nd(gatewayMAC, own, lan6, na(elsewhere)), false},
		{"an error", l.guest.nd(gatewayMAC, guest6, lan6, message(1)), true},
		{"an echo reply", l.guest.nd(gatewayMAC, guest6, lan6, message(129)), true},
		{"an echo request", l.guest.nd(gatewayMAC, guest6, lan6, message(128)), false},
		{"an MLD query", l.guest.nd(gatewayMAC, own, link, message(130)), false},
		{"an MLD report", l.guest.nd(gatewayMAC, own, link, message(143)), false},
		{"router renumbering", l.guest.nd(gatewayMAC, guest6, lan6, message(138)), false},
		{"an unknown error", l.guest.nd(gatewayMAC, guest6, lan6, message(100)), false},
	} {
		l.guest.send(test.b)
		sent++
		l.guest.settle(sent)
		if got := host.receives(test.b); got != test.want {
			t.Errorf("%s: the host has it: %v, want %v", test.what, got, test.want)
		}
	}
}

// A router out there does not take what is inside, by however narrow a route.
func TestUplinkRouteInside(t *testing.T) {
	l := newSixLab(t, nil)
	for _, s := range []*station{l.guest, l.world} {
		s.v = ipv6
	}
	l.introduce()
	l.lead(l.net, RoutingConfig{Uplink: l.uplink, IPv6: Plain})
	cfg := l.uplink.Config()
	narrow := netip.PrefixFrom(guest6, 128)
	cfg.Routes = append(cfg.Routes, Route{Destination: narrow, Via: ipv6.addr(worldIP)}, Route{Destination: netip.PrefixFrom(guest6, 127), Blocked: true})
	l.uplink.Reconfigure(cfg)
	b := l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 5000, "y"))
	l.world.send(b)
	l.guest.expect(routedOnce(b, l.guest.mac, gatewayMAC))
	l.lead(l.net, RoutingConfig{})
	l.world.send(b)
	l.world.drops(NoRoute, 1) // and to nowhere else
}

// Nobody outside has an address of a network that others here reach, translated as it may
// be out there.
func TestUplinkForgedNeighbor(t *testing.T) { bothFamilies(t, testUplinkForgedNeighbor) }

func testUplinkForgedNeighbor(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.introduce()
	for i, c := range []RoutingConfig{
		{Uplink: l.uplink, Reach: []Reach{{l.dmz, v.prefixes("10.1.0.0/24")}}},
		{Uplink: l.uplink, Barred: v.prefixes("10.1.0.0/24")},
		{Uplink: l.uplink, HostAddresses: []netip.Addr{v.addr(serverIP)}},
	} {
		l.lead(l.net, c)
		l.world.send(l.fromWorld(serverIP, guestIP, frame.ProtoUDP, udp(7, 53, "forged")))
		l.world.drops(SourceAddress, uint64(i+1))
		l.world.send(l.fromWorld(farIP, guestIP, frame.ProtoUDP, udp(7, 53, "true")))
		l.guest.expect(l.toGuest(farIP, frame.ProtoUDP, udp(7, 53, "true")))
	}
	l.guest.silent()
}

// Whoever is sought is asked for, and known once he answers.
func TestGatewaySeek(t *testing.T) { bothFamilies(t, testGatewaySeek) }

func testGatewaySeek(t *testing.T, v family) {
	l := newRoutedLab(t, v)
	l.net.Gateway().Seek([]netip.Addr{v.addr("10.0.0.1"), v.addr(serverIP), v.addr(guestIP)})
	l.guest.asksFor(gatewayMAC, "10.0.0.1", guestIP)
	eventually(t, func() bool {
		got := l.net.Neighbors()
		return len(got) == 1 && got[0] == (Neighbor{v.addr(guestIP), l.guest.mac})
	}, func() { t.Errorf("knows %v", l.net.Neighbors()) })
}
