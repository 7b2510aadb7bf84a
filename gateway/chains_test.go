package gateway

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// What becomes of a packet: the gateway answers, says what is wrong with it, or is
// silent.
type outcome uint8

const (
	answered outcome = iota
	refused
	silent
)

// padding is an extension header with options that do nothing, of 8 bytes times n.
func padding(next byte, n int) []byte {
	b := make([]byte, 8*n)
	b[0], b[1] = next, byte(n-1)
	for at := 2; at < len(b); {
		take := min(len(b)-at, 255)
		b[at], b[at+1] = 1, byte(take-2) // PadN (RFC 8200 clause 4.2)
		at += take
	}
	return b
}

func hello() []byte { return echo(own[2].gateway, "hello") }

// repeated puts an extension header before an echo several times.
func repeated(kind byte, times int) func() []byte {
	return func() []byte {
		var b []byte
		for i := range times {
			next := kind
			if i == times-1 {
				next = frame.ProtoICMPv6
			}
			b = append(b, padding(next, 1)...)
		}
		return append(b, hello()...)
	}
}

// behind puts headers before an echo.
func behind(headers ...byte) func() []byte {
	return func() []byte { return append(slices.Clone(headers), hello()...) }
}

// message is an ICMPv6 message that is no echo.
func message(kind byte, rest ...byte) func() []byte {
	return func() []byte {
		return summed(own[2].guest, own[2].gateway, frame.ProtoICMPv6, 2, append([]byte{kind, 0, 0, 0}, rest...))
	}
}

const none = 59 // no next header (RFC 8200 clause 4.7)

// chains are packets to an address of IPv6: the first next header, and what follows.
var chains = []struct {
	what  string
	first byte
	l4    func() []byte
	want  outcome
}{
	{"options for the destination", frame.ExtDestination, repeated(frame.ExtDestination, 1), answered},
	{"options for all hops", frame.ExtHopByHop, repeated(frame.ExtHopByHop, 1), answered},
	{"long options", frame.ExtDestination, func() []byte { return append(padding(frame.ProtoICMPv6, 100), hello()...) }, answered},
	{"as many headers as are walked over", frame.ExtDestination, repeated(frame.ExtDestination, 8), answered},
	{"one more", frame.ExtDestination, repeated(frame.ExtDestination, 9), silent},
	{"many more", frame.ExtDestination, repeated(frame.ExtDestination, 150), silent},
	{"options for all hops at the wrong place", frame.ExtDestination, func() []byte {
		return append(append(padding(frame.ExtHopByHop, 1), padding(frame.ProtoICMPv6, 1)...), hello()...)
	}, refused},
	{"a header that ends beyond the packet", frame.ExtDestination, behind(frame.ProtoICMPv6, 200, 1, 4, 0, 0, 0, 0), silent},
	{"a header of no length left", frame.ExtDestination, func() []byte { return []byte{frame.ProtoICMPv6, 0, 1} }, silent},
	{"an option that must be known", frame.ExtDestination, behind(frame.ProtoICMPv6, 0, 0x80, 4, 0, 0, 0, 0), refused},
	{"an option beyond its header", frame.ExtDestination, behind(frame.ProtoICMPv6, 0, 1, 200, 0, 0, 0, 0), silent},
	{"a route that goes on", frame.ExtRouting, behind(frame.ProtoICMPv6, 0, 4, 1, 0, 0, 0, 0), refused},
	{"a route that ends here", frame.ExtRouting, behind(frame.ProtoICMPv6, 0, 0, 0, 0, 0, 0, 0), answered},
	{"an authentication header", frame.ExtAuth, behind(frame.ProtoICMPv6, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0), refused},
	{"an authentication header beyond the packet", frame.ExtAuth, behind(frame.ProtoICMPv6, 250, 0, 0, 0, 0, 0, 1), silent},
	{"an atomic fragment (RFC 6946)", frame.ExtFragment, func() []byte { return fragmentPart(frame.ProtoICMPv6, hello(), 0, false) }, answered},
	{"a first fragment without what it is of (RFC 7112)", frame.ExtFragment, func() []byte {
		return fragmentPart(frame.ExtDestination, padding(frame.ProtoICMPv6, 1), 0, true)
	}, silent},
	{"a first fragment of nothing", frame.ExtFragment, func() []byte { return fragmentPart(frame.ProtoICMPv6, nil, 0, true) }, silent},
	{"a fragment in a fragment", frame.ExtFragment, func() []byte {
		return fragmentPart(frame.ExtFragment, fragmentPart(frame.ProtoICMPv6, hello()[:8], 0, true), 0, true)
	}, silent},
	{"an atomic fragment in another", frame.ExtFragment, func() []byte {
		return fragmentPart(frame.ExtFragment, fragmentPart(frame.ProtoICMPv6, hello(), 0, false), 0, false)
	}, silent},
	{"a later fragment in a first one", frame.ExtFragment, func() []byte {
		return fragmentPart(frame.ExtFragment, fragmentPart(frame.ExtDestination, hello(), 8, false), 0, true)
	}, silent},
	{"a fragment beyond the longest packet", frame.ExtFragment, func() []byte { return fragmentPart(frame.ProtoICMPv6, hello(), 0xfff8, true) }, refused},
	{"a fragment of an odd length", frame.ExtFragment, func() []byte { return fragmentPart(frame.ProtoICMPv6, append(hello(), 1), 0, true) }, refused},
	{"TCP in a fragment", frame.ExtFragment, func() []byte {
		return fragmentPart(frame.ProtoTCP, segment(own[2].gateway, 1, 0, 0, tcpSYN, ""), 0, true)
	}, silent},
	{"nothing", none, func() []byte { return nil }, silent},
	{"ICMP of IPv4", frame.ProtoICMP, func() []byte { return echoFrom(own[0].guest, own[0].gateway, "hello") }, silent},
	{"UDP without a checksum", frame.ProtoUDP, func() []byte { return []byte{0xc0, 0, 0, 9, 0, 8, 0, 0} }, silent},
	{"ICMPv6 that nobody knows", frame.ProtoICMPv6, message(77, 0, 0, 0, 0), silent},
	{"an echo reply", frame.ProtoICMPv6, message(129, 0, 0, 0, 0), silent},
	{"an error about nothing", frame.ProtoICMPv6, message(1, 0, 0, 0, 0), silent},
	{"an MTU of zero", frame.ProtoICMPv6, message(2, append([]byte{0, 0, 0, 0}, packetFrom(own[2].gateway, own[2].guest, frame.ProtoTCP, 64,
		segment(own[2].gateway, 53, 0, 0, tcpACK, ""))[frame.HeaderLen:]...)...), silent},
	{"a question for groups", frame.ProtoICMPv6, message(130, make([]byte, 20)...), silent},
	{"an advertisement of a router, of all routers", frame.ProtoICMPv6, message(ndp.RouterAdvertisement, make([]byte, 12)...), silent},
	{"a redirect", frame.ProtoICMPv6, message(ndp.Redirect, make([]byte, 36)...), silent},
}

// Whatever headers a guest makes, the gateway goes on, and takes those that are right:
// also by itself, should the dataplane let more through.
func TestExtensionHeaders(t *testing.T) {
	l := newLab(t)
	to := own[2].gateway
	direct := func(b []byte) { l.gateway.receive(framed(append(make([]byte, frame.Headroom), b...)), "a") }
	for way, send := range map[string]func([]byte){"by a port": l.send, "past the dataplane": direct} {
		for _, c := range chains {
			send(packet(to, c.first, 64, c.l4()))
			send(ping(to, "end"))
			b := l.next()
			if c.want != silent {
				_, p := l.parsed(b)
				switch {
				case c.want == answered && !l.isEcho(b, to, "hello"):
					t.Errorf("%s, %s: received % x, want an answer", c.what, way, b)
				case c.want == refused && (p.Protocol != frame.ProtoICMPv6 || b[p.L4] != icmpParameter):
					t.Errorf("%s, %s: received % x, want it refused", c.what, way, b)
				}
				b = l.next()
			}
			if !l.isEcho(b, to, "end") {
				t.Errorf("%s, %s: received % x", c.what, way, b)
				l.aliveAt(to)
			}
		}
	}
}

// What the dataplane keeps from the stack, the gateway does too: by itself it takes no
// guest's word for where others are.
func TestStackHearsNoNeighbors(t *testing.T) {
	l := newLab(t)
	other := frame.MAC{2, 0, 0, 0, 0, 9}
	gateway, guest := netip.MustParseAddr(own[1].gateway), netip.MustParseAddr(own[1].guest)
	n := ndp.Neighbor{Target: guest, MAC: other, Solicited: true, Override: true}
	l.aliveAt(own[1].gateway)
	for _, m := range [][]byte{n.Solicitation(), n.Advertisement()} {
		f := ndp.Packet(other, gatewayMAC, netip.MustParseAddr("fe80::9"), gateway, m)
		l.gateway.receive(f, "b")
	}
	stranger := ndp.Neighbor{Target: gateway, MAC: other}
	l.gateway.receive(ndp.Packet(guestMAC, gatewayMAC, guest, gateway, stranger.Solicitation()), "a")
	l.send(ping(own[1].gateway, "me"))
	l.expectEcho(own[1].gateway, "me")
}

// A checksum that is still to be made, as guests leave it to their machine, is made.
func TestPartialChecksum(t *testing.T) {
	l := newLab(t)
	for _, o := range own[1:] {
		f := framed(append(make([]byte, frame.Headroom), ping(o.gateway, "partial")...))
		at := frame.HeaderLen + ip6Len
		b := f.Bytes()
		src, dst := netip.MustParseAddr(o.guest).AsSlice(), netip.MustParseAddr(o.gateway).AsSlice()
		sum := ^frame.Checksum(nil, frame.PseudoHeader(src, dst, frame.ProtoICMPv6, len(b)-at))
		b[at+2], b[at+3] = byte(sum>>8), byte(sum)
		f.Offload.Flags, f.Offload.CsumStart, f.Offload.CsumOffset = frame.NeedsChecksum, uint16(at), 2
		l.gateway.receive(f, "a")
		l.expectEcho(o.gateway, "partial")
	}
}

// What the stack may get, and what it must not see at all.
func TestPlain(t *testing.T) {
	v4, v6 := own[0].gateway, own[2].gateway
	cut := append(padding(frame.ProtoUDP, 1), udpPacket(v6, 9, "x")[frame.HeaderLen+ip6Len:]...)
	for _, tt := range []struct {
		what          string
		packet        []byte
		plain, intact bool
	}{
		{"a ping", ping(v4, "x"), true, true},
		{"a ping of IPv6", ping(v6, "x"), true, true},
		{"ICMPv6 over IPv4", packet(v4, frame.ProtoICMPv6, 64, make([]byte, 8)), false, true},
		{"ICMP over IPv6", packet(v6, frame.ProtoICMP, 64, make([]byte, 8)), false, true},
		{"another protocol", packet(v4, 47, 64, make([]byte, 8)), true, true},
		{"another protocol over IPv6", packet(v6, 47, 64, make([]byte, 8)), true, true},
		{"short ICMP", packet(v4, frame.ProtoICMP, 64, make([]byte, 7)), true, false},
		{"short ICMPv6", packet(v6, frame.ProtoICMPv6, 64, make([]byte, 7)), true, false},
		{"short UDP", packet(v6, frame.ProtoUDP, 64, make([]byte, 7)), true, false},
		{"short TCP", packet(v6, frame.ProtoTCP, 64, make([]byte, 19)), true, false},
		{"a first fragment", packet(v6, frame.ExtFragment, 64, fragmentPart(frame.ExtDestination, cut[:16], 0, true)), true, true},
		{"one without the header of UDP", packet(v6, frame.ExtFragment, 64, fragmentPart(frame.ExtDestination, cut[:8], 0, true)), false, true},
		{"its rest", packet(v6, frame.ExtFragment, 64, fragmentPart(frame.ExtDestination, cut[8:], 8, false)), true, true},
		{"the rest of a fragment in a fragment", packet(v6, frame.ExtFragment, 64, fragmentPart(frame.ExtFragment, cut[8:], 8, false)), false, true},
		{"a later fragment", packet(v6, frame.ExtFragment, 64, fragmentPart(frame.ProtoUDP, cut[8:], 8, false)), true, true},
	} {
		var p frame.Parsed
		f := framed(append(make([]byte, frame.Headroom), tt.packet...))
		p.Parse(f)
		if plain, ok := isPlain(f, &p), intact(f, &p); plain != tt.plain || ok != tt.intact {
			t.Errorf("%s: plain %v, intact %v, want %v, %v", tt.what, plain, ok, tt.plain, tt.intact)
		}
	}
}
