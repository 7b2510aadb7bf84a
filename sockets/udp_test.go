package sockets

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// udpPacket makes an IP packet.
func udpPacket(from netip.Addr, to netip.AddrPort, port uint16, payload []byte) []byte {
	udp := append(make([]byte, udpLen), payload...)
	putUDP(udp, port, to.Port(), len(udp))
	ip := ipPacket(from, to.Addr(), frame.ProtoUDP, udp)
	sum := frame.Checksum(udp, frame.PseudoHeader(ip[12:16], ip[16:20], frame.ProtoUDP, len(udp)))
	binary.BigEndian.PutUint16(ip[ipLen+6:], sum)
	return ip
}

func synPacket(from netip.Addr, to netip.AddrPort, port uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, port)
	binary.BigEndian.PutUint16(b[2:], to.Port())
	b[12], b[13], b[14] = 0x50, 2, 0xff
	ip := ipPacket(from, to.Addr(), frame.ProtoTCP, b)
	sum := frame.Checksum(b, frame.PseudoHeader(ip[12:16], ip[16:20], frame.ProtoTCP, len(b)))
	binary.BigEndian.PutUint16(ip[ipLen+16:], sum)
	return ip
}

func echoPacket(from, to netip.Addr, id, seq uint16, payload []byte) []byte {
	b := append(make([]byte, icmpLen), payload...)
	b[0] = icmpEcho
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	binary.BigEndian.PutUint16(b[2:], frame.Checksum(b, 0))
	return ipPacket(from, to, frame.ProtoICMP, b)
}

func ipPacket(from, to netip.Addr, protocol uint8, l4 []byte) []byte {
	ip := make([]byte, ipLen, ipLen+len(l4))
	putIP(ip, ipLen+len(l4), 1, protocol, from, to)
	return append(ip, l4...)
}

// change edits an IP header, and makes its checksum right.
func change(ip []byte, edit func(ip []byte)) []byte {
	edit(ip)
	ip[10], ip[11] = 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:ipLen], 0))
	return ip
}

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
func TestUDPEcho(t *testing.T) {
	l := newLab(t)
	far := udpIn(t, l.world, "198.51.100.2:0")
	echoes(far)
	c := l.udp(netip.AddrPortFrom(guestAddr, 5000))
	for _, n := range []int{0, 1, 1471, 1472, 1473, 9000, 65507} { // as much as there can be
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
func TestUDPMapping(t *testing.T) {
	for _, test := range []struct {
		filtering      Filtering
		port, stranger bool // whether another port of the same address gets through; whether a stranger does
	}{
		{ByAddress, true, false}, {ByEndpoint, false, false}, {Anybody, true, true},
	} {
		l := newLab(t, func(c *Config) { c.Filtering = test.filtering })
		first, second := udpIn(t, l.world, "198.51.100.2:0"), udpIn(t, l.world, "198.51.100.2:0")
		stranger, last := udpIn(t, l.world, "198.51.100.3:0"), udpIn(t, l.host, "198.51.100.1:0")
		c := l.udp(netip.AddrPortFrom(guestAddr, 5000))
		ask := func(far *net.UDPConn) netip.AddrPort {
			if _, err := c.WriteTo([]byte("hello"), net4(addrOf(far.LocalAddr()))); err != nil {
				t.Fatal(err)
			}
			_, from := receiveUDP(t, far)
			return from
		}
		seen := ask(first)
		if seen.Addr() != hostIP {
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

// errorAbout checks an ICMP error and what it quotes.
func errorAbout(t testing.TB, b []byte, kind, code byte, from netip.Addr, protocol uint8, remote netip.Addr, ports [4]byte) {
	t.Helper()
	q := b[28:]
	if b[20] != kind || b[21] != code || addr4(b[12:]) != from || addr4(b[16:]) != guestAddr {
		t.Errorf("error % x, want %d/%d from %s", b, kind, code, from)
	}
	if q[9] != protocol || addr4(q[12:]) != guestAddr || addr4(q[16:]) != remote || [4]byte(q[20:]) != ports || frame.Checksum(q[:20], 0) != 0 {
		t.Errorf("error quotes % x", q)
	}
}

// What the network says about a datagram its sender hears: a closed port, a path that
// is too long, one that is too narrow, and where there is none.
func TestUDPErrors(t *testing.T) {
	l := newLab(t)
	to := netip.AddrPortFrom(worldIP, 9)
	ports := [4]byte{0x13, 0x88, 0, 9}
	l.guest.send(udpPacket(guestAddr, to, 5000, []byte("discard")), frame.Offload{})
	errorAbout(t, l.nextICMP(), 3, 3, worldIP, frame.ProtoUDP, worldIP, ports)

	far := netip.MustParseAddrPort("203.0.113.1:9")
	l.guest.send(udpPacket(guestAddr, far, 5000, []byte("no route")), frame.Offload{})
	errorAbout(t, l.nextICMP(), 3, 0, gatewayIP, frame.ProtoUDP, far.Addr(), ports)

	l.guest.send(change(udpPacket(guestAddr, to, 5000, []byte("first hop")), func(ip []byte) { ip[8] = 1 }), frame.Offload{})
	errorAbout(t, l.nextICMP(), 11, 0, gatewayIP, frame.ProtoUDP, worldIP, ports)

	l.world.Sysctl(t, "net.ipv4.ip_forward", "1")
	l.host.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.2")
	l.world.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
	l.guest.send(change(udpPacket(guestAddr, far, 5000, []byte("second hop")), func(ip []byte) { ip[8] = 2 }), frame.Offload{})
	errorAbout(t, l.nextICMP(), 11, 0, worldIP, frame.ProtoUDP, far.Addr(), ports)

	l.host.MTU(t, "eth0", 1000)
	l.guest.send(change(udpPacket(guestAddr, to, 5000, make([]byte, 1200)), func(ip []byte) { ip[6] = 0x40 }), frame.Offload{})
	b := l.nextICMP()
	errorAbout(t, b, 3, 4, gatewayIP, frame.ProtoUDP, worldIP, ports)
	if mtu := binary.BigEndian.Uint32(b[24:]); mtu != 1000 {
		t.Errorf("the path's MTU is said to be %d", mtu)
	}
	udpIn(t, l.world, "198.51.100.2:9")
	l.guest.send(udpPacket(guestAddr, to, 5000, make([]byte, 1200)), frame.Offload{}) // without DF it fits
	l.guest.send(ipPacket(guestAddr, worldIP, 132, make([]byte, 20)), frame.Offload{})
	errorAbout(t, l.nextICMP(), 3, 2, gatewayIP, 132, worldIP, [4]byte{})
}

// A socket of the host that is told of an error by one peer still talks to others.
func TestUDPErrorIsNotOthers(t *testing.T) {
	l := newLab(t)
	far := udpIn(t, l.world, "198.51.100.2:0")
	echoes(far)
	c := l.udp(netip.AddrPortFrom(guestAddr, 5000))
	for range 20 {
		_, _ = c.WriteTo([]byte("closed"), net4(netip.AddrPortFrom(worldIP, 9)))
		if _, err := c.WriteTo([]byte("open"), net4(addrOf(far.LocalAddr()))); err != nil {
			t.Fatal(err)
		}
		if got, _ := receiveUDP(t, c); string(got) != "open" {
			t.Fatalf("received %q", got)
		}
	}
}

// Flows end when they are silent, and their sockets with them.
func TestUDPExpiry(t *testing.T) {
	l := newLab(t)
	far := udpIn(t, l.world, "198.51.100.2:0")
	c := l.udp(netip.AddrPortFrom(guestAddr, 5000))
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
func TestUDPChecksums(t *testing.T) {
	l := newLab(t)
	far := udpIn(t, l.world, "198.51.100.2:0")
	to := addrOf(far.LocalAddr())
	bad := udpPacket(guestAddr, to, 5000, []byte("bad"))
	bad[len(bad)-1]++
	l.guest.send(bad, frame.Offload{})
	header := udpPacket(guestAddr, to, 5000, []byte("header"))
	header[10]++
	l.guest.send(header, frame.Offload{})
	none := udpPacket(guestAddr, to, 5000, []byte("none"))
	none[26], none[27] = 0, 0
	l.guest.send(none, frame.Offload{})
	partial := udpPacket(guestAddr, to, 5000, []byte("partial"))
	partial[26]++
	o := frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 6}
	l.guest.send(partial, o)
	super := udpPacket(guestAddr, to, 5000, []byte("onetwothr"))
	binary.BigEndian.PutUint16(super[26:], ^frame.Checksum(nil, frame.PseudoHeader(super[12:16], super[16:20], frame.ProtoUDP, len(super)-ipLen)))
	o.GSOType, o.GSOSize, o.HdrLen = frame.GSOUDPL4, 3, 42
	l.guest.send(super, o)
	for _, want := range []string{"none", "partial", "one", "two", "thr"} {
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
		testPing(t, raw)
	}
}

func testPing(t *testing.T, raw bool) {
	l := newLab(t, func(c *Config) {}) // the group range is set before the next one
	if !raw {
		l.host.Sysctl(t, "net.ipv4.ping_group_range", "0 2147483647")
	}
	l.s.echo = l.s.env.probeEcho()
	if l.s.Echo() != nil || raw != (l.s.echo.kind == 3) {
		t.Fatalf("raw %v: kind %d, %v", raw, l.s.echo.kind, l.s.Echo())
	}
	for i, n := range []int{0, 56, 1472, 1473, 4000} {
		payload := content(byte(n), n)
		sendCut(l, echoPacket(guestAddr, worldIP, 77, uint16(i), payload))
		got := reassembled(l)
		if got[20] != icmpEchoReply || binary.BigEndian.Uint16(got[24:]) != 77 || binary.BigEndian.Uint16(got[26:]) != uint16(i) ||
			!bytes.Equal(got[28:], payload) || addr4(got[12:]) != worldIP || frame.Checksum(got[20:], 0) != 0 {
			t.Fatalf("raw %v: %d bytes come back as % x", raw, n, got[:28])
		}
	}
	l.guest.send(echoPacket(otherGuest, worldIP, 77, 1, []byte("other")), frame.Offload{})
	if b := l.nextICMP(); addr4(b[16:]) != otherGuest || string(b[28:]) != "other" || binary.BigEndian.Uint16(b[24:]) != 77 {
		t.Errorf("raw %v: the other guest gets % x", raw, b)
	}
	if v := l.s.Flows(); len(v) == 2 && v[0].Local == v[1].Local {
		t.Errorf("raw %v: both guests have the identifier %d outside", raw, v[0].Local.Port())
	}
	if st := l.s.Stats(); st.ICMP.Flows != 2 || st.Mappings != 2 {
		t.Errorf("raw %v: stats %+v", raw, st)
	}
	l.world.Sysctl(t, "net.ipv4.ip_forward", "1")
	l.host.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.2")
	l.world.Run(t, "ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
	far := netip.MustParseAddr("203.0.113.1")
	l.guest.send(change(echoPacket(guestAddr, far, 77, 9, []byte("hop")), func(ip []byte) { ip[8] = 2 }), frame.Offload{})
	b := l.nextICMP()
	errorAbout(t, b, 11, 0, worldIP, frame.ProtoICMP, far, [4]byte(b[28+20:]))
	if q := b[28+20:]; q[0] != icmpEcho || binary.BigEndian.Uint16(q[4:]) != 77 || binary.BigEndian.Uint16(q[6:]) != 9 {
		t.Errorf("raw %v: the error quotes % x", raw, q)
	}
	l.s.sweep(l.s.now.Add(70))
	l.eventually("the sockets are closed", func() bool { return l.s.Stats().Mappings == 0 })
	if len(l.s.table.echoes) != 0 {
		t.Errorf("identifiers %v are left", l.s.table.echoes)
	}
}

// sendCut sends a packet as a guest does.
func sendCut(l *lab, ip []byte) {
	var f, part frame.Frame
	f.Set(append(append([]byte(nil), emptyHeader[:]...), ip...), frame.Headroom)
	var cut frame.Fragmenter
	if !cut.Start(&f, 1500) {
		l.t.Fatal("the packet cannot be cut")
	}
	for mem := make([]byte, 2000); cut.Next(&part, mem); {
		l.guest.send(part.Bytes()[frame.HeaderLen:], frame.Offload{})
	}
}

// reassembled returns the next ICMP packet, whole.
func reassembled(l *lab) []byte {
	var r reassembly
	for {
		b := l.nextICMP()
		var f frame.Frame
		var p frame.Parsed
		f.Set(append(append([]byte(nil), emptyHeader[:]...), b...), frame.Headroom)
		if p.Parse(&f); !p.IsFragment() {
			return b
		}
		if whole := r.add(&f, &p, 1); whole != nil {
			return whole.Bytes()[frame.HeaderLen:]
		}
	}
}

// Where the machine allows no ping the guest is told, and whoever asks is told why.
func TestNoPing(t *testing.T) {
	l := newLab(t, func(c *Config) {
		socket := c.Env.Socket
		c.Env.Socket = func(family, kind, protocol int) (int, error) {
			if protocol == frame.ProtoICMP {
				return -1, errPermission
			}
			return socket(family, kind, protocol)
		}
	})
	if l.s.Echo() == nil {
		t.Error("ping is said to work")
	}
	l.guest.send(echoPacket(guestAddr, worldIP, 77, 1, nil), frame.Offload{})
	b := l.nextICMP()
	errorAbout(t, b, 3, 13, gatewayIP, frame.ProtoICMP, worldIP, [4]byte(b[28+20:]))
}
