package sockets

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// echoes has a socket send back what it gets.
func echoes(c *net.UDPConn) {
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(b[:n], from)
		}
	}()
}

func receiveUDP(t testing.TB, c net.PacketConn) ([]byte, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 1<<16)
	n, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n], addrOf(from)
}

func net4(a netip.AddrPort) net.Addr { return net.UDPAddrFromAddrPort(a) }

// Datagrams of all lengths go out and come back, in fragments where they must.
func TestUDPEcho(t *testing.T) { both(t, testUDPEcho) }

func testUDPEcho(t *testing.T, a *side) {
	l := newLab(t, a)
	far := udpIn(t, l.world, at(a.worldIP, 0))
	echoes(far)
	c := l.udp(netip.AddrPortFrom(a.guestAddr, 5000))
	fits := 1500 - a.fam.header - udpLen
	for _, n := range []int{0, 1, fits - 1, fits, fits + 1, 9000, a.fam.mostInDatagram} {
		data := content(byte(n), n)
		if _, err := c.WriteTo(data, net4(addrOf(far.LocalAddr()))); err != nil {
			t.Fatal(err)
		}
		got, from := receiveUDP(t, c)
		if !bytes.Equal(got, data) || from != addrOf(far.LocalAddr()) {
			t.Fatalf("%d bytes come back as %d from %s", n, len(got), from)
		}
	}
	v := l.s.Flows()
	if len(v) != 1 || v[0].Protocol != frame.ProtoUDP || v[0].Guest.Port() != 5000 || v[0].Packets != 14 || v[0].Expires < 290 || v[0].Local.Port() == 0 {
		t.Errorf("flows %+v", v)
	}
}

// All servers see a port of the guest as one port of the host, and only those that the
// guest has talked to can answer (RFC 4787 REQ-1, REQ-8).
func TestUDPMapping(t *testing.T) { both(t, testUDPMapping) }

func testUDPMapping(t *testing.T, a *side) {
	for _, test := range []struct {
		filtering      Filtering
		port, stranger bool // whether another port of the same address gets through; whether a stranger does
	}{
		{ByAddress, true, false}, {ByEndpoint, false, false}, {Anybody, true, true},
	} {
		l := newLab(t, a, func(c *Config) { c.Filtering = test.filtering })
		first, second := udpIn(t, l.world, at(a.worldIP, 0)), udpIn(t, l.world, at(a.worldIP, 0))
		stranger, last := udpIn(t, l.world, at(a.worldIP2, 0)), udpIn(t, l.host, at(a.hostIP, 0))
		c := l.udp(netip.AddrPortFrom(a.guestAddr, 5000))
		ask := func(far *net.UDPConn) netip.AddrPort {
			if _, err := c.WriteTo([]byte("hello"), net4(addrOf(far.LocalAddr()))); err != nil {
				t.Fatal(err)
			}
			_, from := receiveUDP(t, far)
			return from
		}
		seen := ask(first)
		if seen.Addr() != a.hostIP {
			t.Errorf("seen from %s", seen)
		}
		if again := ask(last); again.Port() != seen.Port() {
			t.Errorf("seen from %s and %s", seen, again)
		}
		want := []string{}
		for _, try := range []struct {
			from   *net.UDPConn
			text   string
			passes bool
		}{
			{first, "first", true}, {second, "second", test.port}, {stranger, "stranger", test.stranger}, {first, "end", true},
		} {
			if _, err := try.from.WriteToUDPAddrPort([]byte(try.text), seen); err != nil {
				t.Fatal(err)
			}
			if try.passes {
				want = append(want, try.text)
			}
		}
		for _, text := range want {
			if got, _ := receiveUDP(t, c); string(got) != text {
				t.Errorf("filtering %d: received %q, want %q", test.filtering, got, text)
			}
		}
		if n := l.s.Stats().Filtered; (n > 0) != (len(want) < 4) {
			t.Errorf("filtering %d: %d datagrams filtered", test.filtering, n)
		}
		if st := l.s.Stats(); st.Mappings != 1 {
			t.Errorf("%d sockets, want 1", st.Mappings)
		}
	}
}

// errorAbout checks an ICMP error and what it quotes. The port of an echo message is its
// identifier, and it is for port 0.
func errorAbout(t testing.TB, b []byte, want icmpError, from netip.Addr, protocol uint8, guest, remote netip.AddrPort) {
	t.Helper()
	fam := familyIn(b)
	icmp := l4(b)
	if (kindCode{icmp[0], icmp[1]}) != want.as[fam.index] || fam.source(b) != from || fam.destination(b) != guest.Addr() {
		t.Errorf("error % x, want %d from %s", b, want.as[fam.index], from)
	}
	q := icmp[icmpLen:]
	carried := q[9]
	if fam == v6 {
		carried = q[6]
	} else if frame.Checksum(q[:fam.header], 0) != 0 {
		t.Errorf("the header that the error quotes is damaged: % x", q)
	}
	if carried != protocol || fam.source(q) != guest.Addr() || fam.destination(q) != remote.Addr() {
		t.Errorf("error quotes % x", q)
	}
	h := l4(q)
	if isEcho(protocol) {
		if h[0] != fam.echo || binary.BigEndian.Uint16(h[4:]) != guest.Port() {
			t.Errorf("error quotes % x, want an echo request of %d", q, guest.Port())
		}
	} else if binary.BigEndian.Uint16(h) != guest.Port() || binary.BigEndian.Uint16(h[2:]) != remote.Port() {
		t.Errorf("error quotes % x, want ports %d and %d", q, guest.Port(), remote.Port())
	}
}

// What the network says about a datagram its sender hears: a closed port, a path that
// is too long, one that is too narrow, and where there is none.
func TestUDPErrors(t *testing.T) { both(t, testUDPErrors) }

func testUDPErrors(t *testing.T, a *side) {
	l := newLab(t, a)
	guest, to, far := netip.AddrPortFrom(a.guestAddr, 5000), netip.AddrPortFrom(a.worldIP, 9), netip.AddrPortFrom(a.far, 9)
	l.guest.send(udpPacket(a.guestAddr, to, 5000, []byte("discard")), frame.Offload{})
	errorAbout(t, l.nextICMP(), noPort, a.worldIP, frame.ProtoUDP, guest, to)

	l.guest.send(udpPacket(a.guestAddr, far, 5000, []byte("no route")), frame.Offload{})
	errorAbout(t, l.nextICMP(), noNetwork, a.gatewayIP, frame.ProtoUDP, guest, far)

	l.guest.send(withHops(udpPacket(a.guestAddr, to, 5000, []byte("first hop")), 1), frame.Offload{})
	errorAbout(t, l.nextICMP(), tooOld, a.gatewayIP, frame.ProtoUDP, guest, to)

	l.routeFar()
	l.guest.send(withHops(udpPacket(a.guestAddr, far, 5000, []byte("second hop")), 2), frame.Offload{})
	errorAbout(t, l.nextICMP(), tooOld, a.worldIP, frame.ProtoUDP, guest, far)

	l.host.MTU(t, "eth0", 1300)
	l.guest.send(whole(udpPacket(a.guestAddr, to, 5000, make([]byte, 1400))), frame.Offload{})
	b := l.nextICMP()
	errorAbout(t, b, tooBig, a.gatewayIP, frame.ProtoUDP, guest, to)
	if mtu := binary.BigEndian.Uint32(l4(b)[4:]); mtu != 1300 {
		t.Errorf("the path's MTU is said to be %d", mtu)
	}
	server := udpIn(t, l.world, at(a.worldIP, 9))
	if a.fam == v6 { // who cuts a packet itself has no more to hear about its length
		for _, part := range cut(udpPacket(a.guestAddr, to, 5000, make([]byte, 1400)), 1300) {
			l.guest.send(part, frame.Offload{})
		}
	} else {
		l.guest.send(udpPacket(a.guestAddr, to, 5000, make([]byte, 1400)), frame.Offload{}) // without DF it fits
	}
	if got, _ := receiveUDP(t, server); len(got) != 1400 {
		t.Errorf("%d bytes have arrived", len(got))
	}
	l.guest.send(ipPacket(a.guestAddr, a.worldIP, 132, make([]byte, 20)), frame.Offload{})
	errorAbout(t, l.nextICMP(), noProtocol, a.gatewayIP, 132, netip.AddrPortFrom(a.guestAddr, 0), netip.AddrPortFrom(a.worldIP, 0))
}

// A path that is narrow further away is learned from who says so.
func TestUDPPathMTU(t *testing.T) { both(t, testUDPPathMTU) }

func testUDPPathMTU(t *testing.T, a *side) {
	l := newLab(t, a)
	far := netip.AddrPortFrom(a.far, 9)
	l.world.Sysctl(t, "net.ipv4.ip_forward", "1")
	l.world.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	l.host.Run(t, "ip", "route", "add", a.farNet, "via", a.worldIP.String())
	beyond := porttest.NewNS(t, "beyond")
	porttest.Veth(t, l.world, "eth1", beyond, "eth0", porttest.VethMTU(1290))
	near := netip.PrefixFrom(last(netip.MustParsePrefix(a.farNet), 2), a.link.Bits())
	l.world.Addr(t, "eth1", near.String())
	beyond.Addr(t, "eth0", netip.PrefixFrom(a.far, a.link.Bits()).String())
	beyond.Run(t, "ip", "route", "add", a.link.Masked().String(), "via", near.Addr().String())
	server := udpIn(t, beyond, far.String())
	packet := whole(udpPacket(a.guestAddr, far, 5000, make([]byte, 1400)))
	for _, from := range []netip.Addr{a.worldIP, a.gatewayIP} { // the second time it is known here
		l.guest.send(packet, frame.Offload{})
		b := l.nextICMP()
		errorAbout(t, b, tooBig, from, frame.ProtoUDP, netip.AddrPortFrom(a.guestAddr, 5000), far)
		if mtu := binary.BigEndian.Uint32(l4(b)[4:]); mtu != 1290 {
			t.Errorf("the path's MTU is said to be %d", mtu)
		}
	}
	l.guest.send(whole(udpPacket(a.guestAddr, far, 5000, make([]byte, 1200))), frame.Offload{})
	if got, _ := receiveUDP(t, server); len(got) != 1200 {
		t.Errorf("%d bytes have arrived", len(got))
	}
}

// A socket of the host that is told of an error by one peer still talks to others.
func TestUDPErrorIsNotOthers(t *testing.T) { both(t, testUDPErrorIsNotOthers) }

func testUDPErrorIsNotOthers(t *testing.T, a *side) {
	l := newLab(t, a)
	far := udpIn(t, l.world, at(a.worldIP, 0))
	echoes(far)
	c := l.udp(netip.AddrPortFrom(a.guestAddr, 5000))
	for range 20 {
		_, _ = c.WriteTo([]byte("closed"), net4(netip.AddrPortFrom(a.worldIP, 9)))
		if _, err := c.WriteTo([]byte("open"), net4(addrOf(far.LocalAddr()))); err != nil {
			t.Fatal(err)
		}
		if got, _ := receiveUDP(t, c); string(got) != "open" {
			t.Fatalf("received %q", got)
		}
	}
}

// Flows end when they are silent, and their sockets with them.
func TestUDPExpiry(t *testing.T) { both(t, testUDPExpiry) }

func testUDPExpiry(t *testing.T, a *side) {
	l := newLab(t, a)
	far := udpIn(t, l.world, at(a.worldIP, 0))
	c := l.udp(netip.AddrPortFrom(a.guestAddr, 5000))
	if _, err := c.WriteTo([]byte("x"), net4(addrOf(far.LocalAddr()))); err != nil {
		t.Fatal(err)
	}
	receiveUDP(t, far)
	if l.s.sweep(l.s.now.Add(290)); len(l.s.Flows()) != 1 {
		t.Error("the flow has ended too soon")
	}
	l.s.sweep(l.s.now.Add(20))
	l.eventually("the socket is closed", func() bool { st := l.s.Stats(); return st.UDP.Flows == 0 && st.Mappings == 0 })
	if n := l.s.Stats().UDP.Expired; n != 1 {
		t.Errorf("%d flows have expired", n)
	}
}

// A datagram with a wrong checksum goes nowhere, one with a partial one, one without
// and a super-frame do.
func TestUDPChecksums(t *testing.T) { both(t, testUDPChecksums) }

func testUDPChecksums(t *testing.T, a *side) {
	l := newLab(t, a)
	far := udpIn(t, l.world, at(a.worldIP, 0))
	to := addrOf(far.LocalAddr())
	bad := udpPacket(a.guestAddr, to, 5000, []byte("bad"))
	bad[len(bad)-1]++
	l.guest.send(bad, frame.Offload{})
	wants := []string{"none", "partial", "one", "two", "thr"}
	none := udpPacket(a.guestAddr, to, 5000, []byte("none"))
	l4(none)[6], l4(none)[7] = 0, 0
	l.guest.send(none, frame.Offload{})
	if a.fam == v4 {
		header := udpPacket(a.guestAddr, to, 5000, []byte("header"))
		header[10]++
		l.guest.send(header, frame.Offload{})
	} else {
		wants = wants[1:] // there has to be one (RFC 8200 clause 8.1)
	}
	partial := udpPacket(a.guestAddr, to, 5000, []byte("partial"))
	l4(partial)[6]++
	start := uint16(frame.HeaderLen + a.fam.header)
	o := frame.Offload{Flags: frame.NeedsChecksum, CsumStart: start, CsumOffset: 6}
	l.guest.send(partial, o)
	super := udpPacket(a.guestAddr, to, 5000, []byte("onetwothr"))
	binary.BigEndian.PutUint16(l4(super)[6:], ^frame.Checksum(nil, a.fam.pseudo(super, frame.ProtoUDP, len(l4(super)))))
	o.GSOType, o.GSOSize, o.HdrLen = frame.GSOUDPL4, 3, start+udpLen
	l.guest.send(super, o)
	for _, want := range wants {
		if got, _ := receiveUDP(t, far); string(got) != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	if n := l.s.Stats().Bad; n != 2 {
		t.Errorf("%d bad packets", n)
	}
}

// A ping is answered, by whatever kind of socket the machine allows, and its errors
// come back.
func TestPing(t *testing.T) {
	for _, raw := range []bool{false, true} {
		both(t, func(t *testing.T, a *side) { testPing(t, a, raw) })
	}
}

func testPing(t *testing.T, a *side, raw bool) {
	l := newLab(t, a) // the group range is set before the next one
	if !raw {
		l.host.Sysctl(t, "net.ipv4.ping_group_range", "0 2147483647")
	}
	l.s.probeEcho()
	if l.s.Echo() != nil || raw != (l.s.echo[a.fam.index].kind == unix.SOCK_RAW) {
		t.Fatalf("raw %v: kind %d, %v", raw, l.s.echo[a.fam.index].kind, l.s.Echo())
	}
	fits := 1500 - a.fam.header - icmpLen
	for i, n := range []int{0, 56, fits, fits + 1, 4000} {
		payload := content(byte(n), n)
		for _, part := range cut(echoPacket(a.guestAddr, a.worldIP, 77, uint16(i), payload), 1500) {
			l.guest.send(part, frame.Offload{})
		}
		echoReply(t, reassembled(l), a.guestAddr, a.worldIP, 77, uint16(i), payload)
	}
	l.guest.send(echoPacket(a.otherGuest, a.worldIP, 77, 1, []byte("other")), frame.Offload{})
	echoReply(t, l.nextICMP(), a.otherGuest, a.worldIP, 77, 1, []byte("other"))
	if v := l.s.Flows(); len(v) != 2 || v[0].Local == v[1].Local || v[0].Protocol != a.fam.icmp || v[0].Remote != netip.AddrPortFrom(a.worldIP, 0) {
		t.Errorf("raw %v: flows %+v", raw, v)
	}
	if st := l.s.Stats(); st.ICMP.Flows != 2 || st.Mappings != 2 {
		t.Errorf("raw %v: stats %+v", raw, st)
	}
	testPingErrors(t, l, a)
	l.s.sweep(l.s.now.Add(70))
	l.eventually("the sockets are closed", func() bool { return l.s.Stats().Mappings == 0 })
	if len(l.s.table.echoes) != 0 {
		t.Errorf("identifiers %v are left", l.s.table.echoes)
	}
}

func testPingErrors(t *testing.T, l *lab, a *side) {
	l.routeFar()
	guest := netip.AddrPortFrom(a.guestAddr, 77)
	l.guest.send(withHops(echoPacket(a.guestAddr, a.far, 77, 9, []byte("hop")), 2), frame.Offload{})
	b := l.nextICMP()
	errorAbout(t, b, tooOld, a.worldIP, a.fam.icmp, guest, netip.AddrPortFrom(a.far, 0))
	if q := l4(l4(b)[icmpLen:]); binary.BigEndian.Uint16(q[6:]) != 9 {
		t.Errorf("the error quotes % x", q)
	}
	l.host.MTU(t, "eth0", 1300)
	l.guest.send(whole(echoPacket(a.guestAddr, a.worldIP, 77, 10, make([]byte, 1400))), frame.Offload{})
	b = l.nextICMP()
	errorAbout(t, b, tooBig, a.gatewayIP, a.fam.icmp, guest, netip.AddrPortFrom(a.worldIP, 0))
	if mtu := binary.BigEndian.Uint32(l4(b)[4:]); mtu != 1300 {
		t.Errorf("the path's MTU is said to be %d", mtu)
	}
}

// echoReply checks one.
func echoReply(t testing.TB, b []byte, guest, from netip.Addr, id, seq uint16, payload []byte) {
	t.Helper()
	fam, icmp := familyIn(b), l4(b)
	if icmp[0] != fam.echoReply || binary.BigEndian.Uint16(icmp[4:]) != id || binary.BigEndian.Uint16(icmp[6:]) != seq ||
		!bytes.Equal(icmp[icmpLen:], payload) || fam.source(b) != from || fam.destination(b) != guest ||
		frame.Checksum(icmp, fam.pseudoICMP(b, len(icmp))) != 0 {
		t.Fatalf("%d bytes come back as % x", len(payload), b[:fam.header+icmpLen])
	}
}

// reassembled returns the next ICMP packet, whole.
func reassembled(l *lab) []byte {
	var r reassembly
	for {
		b := l.nextICMP()
		var p frame.Parsed
		f := frameOf(b)
		if p.Parse(f); !p.IsFragment() {
			return b
		}
		if whole := r.add(f, &p, "", 1); whole != nil {
			return whole.Bytes()[frame.HeaderLen:]
		}
	}
}

// Where the machine allows no ping the guest is told, and whoever asks is told why.
func TestNoPing(t *testing.T) { both(t, testNoPing) }

func testNoPing(t *testing.T, a *side) {
	l := newLab(t, a, func(c *Config) {
		socket := c.Env.Socket
		c.Env.Socket = func(family, kind, protocol int) (int, error) {
			if protocol == int(a.fam.icmp) {
				return -1, errPermission
			}
			return socket(family, kind, protocol)
		}
	})
	if l.s.Echo() == nil {
		t.Error("ping is said to work")
	}
	l.guest.send(echoPacket(a.guestAddr, a.worldIP, 77, 1, nil), frame.Offload{})
	errorAbout(t, l.nextICMP(), prohibited, a.gatewayIP, a.fam.icmp, netip.AddrPortFrom(a.guestAddr, 77), netip.AddrPortFrom(a.worldIP, 0))
}
