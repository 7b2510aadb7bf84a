package main

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// prefixScripts are those in which it matters that guests have addresses of their own
// outside.
var prefixScripts = []natScript{
	{"outside addresses", prefixOutside, ""},
	{"ping", natPing, ""},
	{"HTTP", natHTTP, ""},
	{"fragments", natFragments, ""},
	{"errors", natErrors, ""},
	{"path MTU", natPathMTU, ""},
	{"published", natPublished, ""},
	{"published range", natPublishedRange, ""},
	{"published live", natPublishedLive, ""},
	{"hairpin by a published port", prefixHairpin, ""},
	{"uninvited", natUninvited, ""},
	{"forged sources", natForgedSources, ""},
	{"nobody's address", prefixNobody, ""},
	{"carrier lost", natCarrierLost, ""},
	{"killed", natKilled, ""},
	{"another address", natReaddressed, ""},
}

// TestNATByPrefix has guests of IPv6 be known outside by addresses of their own, which
// are those inside or the same in another prefix: outside begins only what is published.
func TestNATByPrefix(t *testing.T) {
	porttest.Require(t)
	for _, kind := range []string{"kernel", "own", "host"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // the scripts wait more than they work
			together(t, map[string]func(*testing.T){
				routed:   func(t *testing.T) { newNATLab(t, family6, kind, routed).play(t, prefixScripts) },
				prefixed: func(t *testing.T) { newNATLab(t, family6, kind, prefixed).play(t, prefixScripts) },
			})
		})
	}
}

// prefixOutside has all guests be somebody else outside. A prefix is changed so that no
// checksum is (RFC 6296 clause 3.1), by which weft and the kernel differ.
func prefixOutside(t *testing.T, l *natLab) {
	outside := map[string]string{routed: l.cidr("10.0.0.0/24"), prefixed: l.cidr(mappedSubnet)}[l.through]
	seen := map[string]bool{}
	for i := range l.guests {
		outer, inner := l.outer(i+1), l.ip(address(i+1))
		if seen[outer] || !netip.MustParsePrefix(outside).Contains(netip.MustParseAddr(outer)) {
			t.Errorf("guest %d is %s, want one of its own in %s", i+1, outer, outside)
		}
		seen[outer] = true
		if !l.is("kernel") && addressSum(outer) != addressSum(inner) {
			t.Errorf("guest %d is %s, which has another checksum than %s", i+1, outer, inner)
		}
	}
}

// addressSum returns the sum of an address as checksums have it (RFC 1071), 0 as 0xffff.
func addressSum(addr string) uint32 {
	b := netip.MustParseAddr(addr).As16()
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if sum %= 0xffff; sum == 0 {
		return 0xffff
	}
	return sum
}

// prefixHairpin has guests use what is published as if they were outside.
func prefixHairpin(t *testing.T, l *natLab) {
	if l.through == routed {
		t.Skip("the outside address is on the guests' own link, without the gateway between")
	}
	l.skip(t, "the kernel would have to translate twice", "kernel")
	natHairpinPublished(t, l)
}

// prefixNobody asks for an address of the prefix that no guest has: it is not to be
// seen whether there is one.
func prefixNobody(t *testing.T, l *natLab) {
	outside := map[string]string{routed: "10.0.0.99", prefixed: "198.18.5.99"}[l.through]
	for _, network := range []string{"tcp", "udp"} {
		_, err := quickEcho(l.web, network, l.at(outside, 22))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v, want silence", network, err)
		}
		if errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("%s: the gateway looks for a guest", network)
		}
	}
}
