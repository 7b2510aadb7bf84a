package fastpath

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// onlyIPv6 are the rules that have no like in IPv4.
func (s *sharing) onlyIPv6(t *testing.T) []rule {
	link := netip.MustParseAddr
	chained := func(h head, chain ...byte) head {
		h.chain = chain
		return h
	}
	five := s.head(layers.IPProtocolTCP)
	five.options = 5
	source := s.frame(t, chained(s.head(layers.IPProtocolTCP), 43), tcpHeader(4444, 40000, "A"))
	source[14+40+3] = 1 // segments left
	laterOptions, aheadOfFragment := s.head(60), chained(s.head(layers.IPProtocolUDP), 0, 60)
	laterOptions.offset, aheadOfFragment.offset = 10, 10
	toNeighbor, fromNeighbor := s.head(layers.IPProtocolTCP), s.head(layers.IPProtocolTCP)
	toNeighbor.dst, fromNeighbor.src = link("fe80::1"), link("fe80::2")
	before := s.head(layers.IPProtocolTCP)
	before.dst = before.dst.Prev()
	tcp := tcpHeader(40000, 4444, "A")
	quote := func(chain ...byte) []byte { return s.quote(t, chained(s.head(layers.IPProtocolTCP), chain...), tcp) }
	behind := func(chain ...byte) []byte {
		return s.frame(t, chained(s.head(layers.IPProtocolICMPv6), chain...), append(s.icmp("too big", 0), gopacket.Payload(quote()))...)
	}
	group := []byte{0x33, 0x33, 0, 0, 0, 1}
	solicited := s.neighbor(t, 135, s.farAddr, link("ff02::1:ff00:1"))
	advertised := s.neighbor(t, 136, s.farAddr, s.hostAddr)
	withOptions := s.frame(t, chained(s.head(layers.IPProtocolICMPv6), 0), gopacket.Payload(advertised[14+40:]))
	otherICMP := s.echo(t, "echo reply", 40000)
	otherICMP[14+6] = byte(layers.IPProtocolICMPv4)
	return []rule{
		{"behind four extension headers", s.frame(t, chained(s.head(layers.IPProtocolTCP), 0, 43, 44, 60), tcpHeader(4444, 40000, "A")), weft},
		{"behind five", s.frame(t, five, tcpHeader(4444, 40000, "A")), host},
		{"with segments left", source, host},
		{"behind an authentication header", s.frame(t, chained(s.head(layers.IPProtocolTCP), 51), tcpHeader(4444, 40000, "A")), host},
		{"extension headers cut short", s.frame(t, chained(s.head(layers.IPProtocolTCP), 0, 60))[:14+40+8+3], host},
		{"nothing behind extension headers", s.frame(t, chained(s.head(layers.IPProtocolTCP), 0, 60)), host},
		{"atomic fragment", s.frame(t, chained(s.head(layers.IPProtocolTCP), 44), tcpHeader(4444, 40000, "A")), weft},
		{"later fragment behind options", s.frame(t, aheadOfFragment, gopacket.Payload("what has no ports")), both},
		{"later fragment of options", s.frame(t, laterOptions, gopacket.Payload("what has no ports")), both},
		{"echo reply behind options", s.frame(t, chained(s.head(layers.IPProtocolICMPv6), 60), s.icmp("echo reply", 40000)...), both},
		{"to a link-local address", s.frame(t, toNeighbor, tcpHeader(4444, 40020, "S")), host},
		{"from one, without a flow", s.frame(t, fromNeighbor, tcpHeader(4444, 40000, "S")), host},
		{"to an address that differs in a bit", s.frame(t, before, tcpHeader(4444, 40000, "A")), host},
		{"error that quotes extension headers", s.icmpError(t, "too big", quote(0, 60, 43, 44)), weft},
		{"error that quotes five", s.icmpError(t, "too big", quote(0, 60, 60, 60, 60)), host},
		{"error behind extension headers", behind(0, 60), weft},
		{"ICMP of the other family", otherICMP, host},
		{"to the MAC address of a group", toMAC(s.tcp(t, 4444, 40000, "A"), group...), host},
		{"solicitation to all", toMAC(solicited, group...), host},
		{"solicitation to the host", s.neighbor(t, 135, s.farAddr, s.hostAddr), host},
		{"advertisement to the host", advertised, both},
		{"advertisement to its link-local address", s.neighbor(t, 136, s.farAddr, link("fe80::1")), both},
		{"advertisement to all", toMAC(s.neighbor(t, 136, s.farAddr, link("ff02::1")), group...), both},
		{"advertisement to another", toMAC(advertised, 2, 0, 0, 0, 0, 9), host},
		{"advertisement behind options", withOptions, host},
		{"router advertisement", toMAC(s.neighbor(t, 134, link("fe80::2"), link("ff02::1")), group...), host},
		{"report of a group", toMAC(s.neighbor(t, 143, link("fe80::2"), link("ff02::16")), group...), host},
	}
}

// Whatever stands between the headers: weft gets a segment where Parse of package
// frame, which has nothing in common with the program, finds its port behind at
// most four extension headers, and the host anything else.
func TestShareExtensions(t *testing.T) {
	s := newSharing(t, family{v6: true})
	s.attach(t, attachShare)
	s.use(40000, 40000)
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, true)
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []byte{0, 43, 60, 60, 44, 44, 51}
	carried := []layers.IPProtocol{layers.IPProtocolTCP, layers.IPProtocolUDP, layers.IPProtocolGRE, layers.IPProtocolNoNextHeader}
	var redirected, kept int
	for range 5000 {
		h := s.head(carried[r.IntN(len(carried))])
		for range r.IntN(7) {
			h.chain = append(h.chain, kinds[r.IntN(len(kinds))])
		}
		if r.IntN(4) == 0 {
			h.more = true
		}
		f := s.frame(t, h, gopacket.Payload([]byte{4444 >> 8, 4444 & 255, 40000 >> 8, 40000 & 255, 0, 8, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0}))
		for range r.IntN(3) { // of the lengths, offsets and numbers
			f[14+40+r.IntN(len(f)-54)] = byte(r.Uint32() >> r.IntN(32))
		}
		f = f[:len(f)-r.IntN(len(f)-54)*r.IntN(2)]
		got, want := s.judge(t, f) == tcxRedirect, s.modelWeft(f)
		if got != want {
			t.Fatalf("weft's: %v, want %v: chain %d, protocol %d: % x", got, want, h.chain, h.protocol, f)
		}
		if got {
			redirected++
		} else {
			kept++
		}
	}
	if redirected < 500 || kept < 500 {
		t.Errorf("%d frames are weft's, %d are not: too few to tell", redirected, kept)
	}
}

// modelWeft says by Parse whether a frame to the shared address is weft's alone.
func (s *sharing) modelWeft(b []byte) bool {
	b = append([]byte(nil), b...)
	b[14+4], b[14+5] = byte((len(b)-54)>>8), byte(len(b)-54) // Parse believes the length
	n, left, auth := countExtensions(b)
	if n > 4 || left || auth {
		return false
	}
	var f frame.Frame
	f.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
	var p frame.Parsed
	p.Parse(&f)
	if p.Protocol == uint8(layers.IPProtocolGRE) {
		return true
	}
	if p.FragOffset != 0 {
		return false
	}
	switch end := len(b) - p.L4; p.Protocol {
	case frame.ProtoTCP:
		return end >= 20 && int(b[p.L4+2])<<8|int(b[p.L4+3]) == 40000
	case frame.ProtoUDP:
		return end >= 4 && int(b[p.L4+2])<<8|int(b[p.L4+3]) == 40000
	}
	return false
}

// countExtensions says how many extension headers a packet has in front of its
// data, whether one of them has another destination in it, and whether one is an
// authentication header.
func countExtensions(b []byte) (n int, left, auth bool) {
	kind, at := b[14+6], 54
	for at+8 <= len(b) {
		switch kind {
		case 0, 43, 60, 44:
		case 51:
			return n, left, true
		default:
			return n, left, false
		}
		n++
		if kind == 44 {
			if b[at+2] != 0 || b[at+3]&^7 != 0 {
				return n, left, false
			}
			kind, at = b[at], at+8
			continue
		}
		left = left || kind == 43 && b[at+3] != 0
		kind, at = b[at], at+8*(int(b[at+1])+1)
	}
	return n, left, false
}
