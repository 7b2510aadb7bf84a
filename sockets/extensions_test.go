package sockets

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// chain is some extension headers, and what becomes of a packet that has them.
type chain struct {
	name    string
	kinds   []uint8
	headers [][]byte
	passes  bool
	told    icmpError // else: the zero value is nothing
	pointer int       // from the IP header on
}

// options makes a header of options, filled up to a multiple of 8 bytes.
func options(b ...byte) []byte {
	h := append([]byte{0, 0}, b...)
	for len(h)%8 != 0 {
		h = append(h, 0)
	}
	h[1] = byte(len(h)/8 - 1)
	return h
}

func chains() []chain {
	pad, routed := options(1, 4, 0, 0, 0, 0), []byte{0, 0, 4, 0, 0, 0, 0, 0}
	one := func(name string, kind uint8, header []byte, passes bool, told icmpError, pointer int) chain {
		return chain{name, []uint8{kind}, [][]byte{header}, passes, told, pointer}
	}
	none := icmpError{}
	cs := []chain{
		one("padding for every hop", frame.ExtHopByHop, pad, true, none, 0),
		one("padding for the destination", frame.ExtDestination, pad, true, none, 0),
		one("an option to be skipped", frame.ExtDestination, options(4, 1, 8), true, none, 0),
		one("a route that has been gone", frame.ExtRouting, routed, true, none, 0),
		one("a whole packet in one fragment", frame.ExtFragment, make([]byte, 8), true, none, 0),
		one("a route that leads on", frame.ExtRouting, []byte{0, 0, 0, 1, 0, 0, 0, 0}, false, badHeader, 42),
		one("an option to be dropped for", frame.ExtDestination, options(0x40, 0), false, none, 0),
		one("an option to be told of", frame.ExtDestination, options(0, 0x80, 0), false, badOption, 43),
		one("an option to be told one host of", frame.ExtHopByHop, options(0xc2, 4, 0, 1, 0, 0), false, badOption, 42),
		one("an option cut short", frame.ExtDestination, options(5, 40), false, none, 0),
		one("what has been signed", frame.ExtAuth, make([]byte, 16), false, noProtocol, 6),
	}
	cs[len(cs)-1].headers[0][1] = 2 // in words of 4 bytes, less 2
	cs = append(cs,
		chain{"many", []uint8{frame.ExtHopByHop, frame.ExtDestination, frame.ExtRouting, frame.ExtFragment, frame.ExtDestination},
			[][]byte{pad, pad, routed, make([]byte, 8), pad}, true, none, 0},
		chain{"the last of them to be told of", []uint8{frame.ExtHopByHop, frame.ExtAuth}, [][]byte{pad, append([]byte{0, 2}, make([]byte, 14)...)}, false, noProtocol, 40})
	long := chain{name: "more than may be"}
	for range 9 {
		long.kinds, long.headers = append(long.kinds, frame.ExtDestination), append(long.headers, pad)
	}
	return append(cs, long)
}

// on puts them into a packet.
func (c *chain) on(ip []byte) []byte { return extend(ip, c.kinds, c.headers...) }

// Packets go on without their extension headers, or not at all, and who has sent them is
// told what was wrong with them.
func TestExtensions(t *testing.T) {
	a := sides()[v6.index]
	l := newLab(t, a)
	far := udpIn(t, l.world, at(a.worldIP, 0))
	to := addrOf(far.LocalAddr())
	bad := uint64(0)
	for _, c := range chains() {
		packet := c.on(udpPacket(a.guestAddr, to, 5000, []byte(c.name)))
		l.guest.send(packet, frame.Offload{})
		if c.passes {
			if got, _ := receiveUDP(t, far); string(got) != c.name {
				t.Errorf("%s: received %q", c.name, got)
			}
		} else {
			bad++
			l.eventually(c.name+": it is dropped", func() bool { return l.s.Stats().Bad == bad })
		}
		if c.told != (icmpError{}) {
			icmp := l4(l.nextICMP())
			if (kindCode{icmp[0], icmp[1]}) != c.told.as[v6.index] || int(binary.BigEndian.Uint32(icmp[4:])) != c.pointer || string(icmp[icmpLen:]) != string(packet) {
				t.Errorf("%s: % x, want %d at %d", c.name, icmp, c.told.as[v6.index], c.pointer)
			}
		}
	}
	l.guest.mu.Lock()
	if n := len(l.guest.icmp); n != 0 {
		t.Errorf("%d errors too many", n)
	}
	l.guest.mu.Unlock()
	for _, c := range chains() { // echoes and connections likewise
		if !c.passes {
			continue
		}
		l.guest.send(c.on(echoPacket(a.guestAddr, a.worldIP, 1, 2, []byte(c.name))), frame.Offload{})
		echoReply(t, l.nextICMP(), a.guestAddr, a.worldIP, 1, 2, []byte(c.name))
	}
	l.guest.headers.Store(true)
	c, _, other := l.pair()
	exchange(t, c, other)
}

// The guests' stack is given packets without the headers that have been looked at.
func TestBare(t *testing.T) {
	a := sides()[v6.index]
	packet := synPacket(a.guestAddr, netip.AddrPortFrom(a.worldIP, 80), 7)
	for _, c := range chains() {
		var p frame.Parsed
		f := frameOf(c.on(packet))
		if p.Parse(f); !isExtension(&p) && string(bare(f.Bytes()[p.L3:p.End], &p)) != string(packet) {
			t.Errorf("%s: % x", c.name, bare(f.Bytes()[p.L3:p.End], &p))
		}
	}
}

// A packet that is of no protocol is told about where it says so.
func TestNotCarried(t *testing.T) {
	a := sides()[v6.index]
	l := newLab(t, a)
	for _, c := range chains()[:2] {
		l.guest.send(c.on(ipPacket(a.guestAddr, a.worldIP, 132, make([]byte, 20))), frame.Offload{})
		if icmp := l4(l.nextICMP()); (kindCode{icmp[0], icmp[1]}) != noProtocol.as[v6.index] || binary.BigEndian.Uint32(icmp[4:]) != 40 {
			t.Errorf("%s: % x", c.name, icmp)
		}
	}
	l.guest.send(ipPacket(a.guestAddr, a.worldIP, extensionNone, nil), frame.Offload{}) // nothing is no reason
	l.guest.send(ipPacket(a.guestAddr, a.worldIP, 132, nil), frame.Offload{})
	if icmp := l4(l.nextICMP()); binary.BigEndian.Uint32(icmp[4:]) != 6 || icmp[icmpLen+6] != 132 {
		t.Errorf("% x", icmp)
	}
}

// The first fragment has all headers, which those that follow need not have, and together
// they are no longer than a packet can be (RFC 7112, RFC 8200 clause 4.5).
func TestFragmentHeaders(t *testing.T) {
	a := sides()[v6.index]
	pad := chains()[0]
	packet := udpPacket(a.guestAddr, netip.AddrPortFrom(a.worldIP, 9), 5000, content(1, 64))
	first, second := fragmentOf(packet, 1, 0, true, l4(packet)[:40]), fragmentOf(packet, 1, 40, false, l4(packet)[40:])
	add := func(r *reassembly, ip []byte) *frame.Frame {
		f, p := frameOf(ip), new(frame.Parsed)
		p.Parse(f)
		return r.add(f, p, "a", 1)
	}
	var r reassembly
	add(&r, pad.on(first))
	whole := add(&r, second)
	if whole == nil || string(whole.Bytes()[frame.HeaderLen:]) != string(pad.on(packet)) {
		t.Errorf("joined to %+v", whole)
	}
	inner := extend(packet, []uint8{frame.ExtDestination}, options(1, 4, 0, 0, 0, 0)) // behind the fragment header
	for _, n := range []int{8, 16, 24} {
		r = reassembly{}
		add(&r, fragmentOf(inner, 1, 0, true, l4(inner)[:n]))
		whole := add(&r, fragmentOf(inner, 1, n, false, l4(inner)[n:]))
		if enough := n >= 16; (whole != nil) != enough || enough && string(whole.Bytes()[frame.HeaderLen:]) != string(inner) {
			t.Errorf("%d bytes in the first: joined to %+v", n, whole)
		}
	}
	inner = extend(packet, []uint8{frame.ExtDestination}, options(1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
	r = reassembly{}
	if add(&r, fragmentOf(inner, 1, 0, true, l4(inner)[:8])); len(r.all) != 0 {
		t.Error("a header cut short is kept")
	}
	r = reassembly{}
	long := extend(first, []uint8{frame.ExtDestination}, options(append([]byte{1, 100}, make([]byte, 100)...)...))
	add(&r, fragmentOf(packet, 1, 40, true, make([]byte, 65000)))
	add(&r, fragmentOf(packet, 1, 65040, false, make([]byte, 490)))
	if whole := add(&r, long); whole != nil {
		t.Errorf("joined to %d bytes", len(whole.Bytes()))
	}
	if len(r.all) != 0 || r.bytes != 0 {
		t.Errorf("%d bytes are left", r.bytes)
	}
}
