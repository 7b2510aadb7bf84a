package nat

import (
	"bytes"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 6092, where it is about what is neither TCP nor UDP nor IPsec. Such packets are known
// by their addresses and protocol.

const (
	protoHIP   = 139
	protoShim6 = 140
)

// goesBoth has a flow of a protocol begin inside, pass both ways, and be closed to others.
func goesBoth(t *testing.T, protocol uint8) {
	t.Helper()
	l := simple(t, ZoneConfig{})
	l.wantIn(packet{protocol: protocol, src: remoteA, dst: guestA}, Filtered)
	for range 3 {
		l.mustOut(packet{protocol: protocol, src: guestA, dst: remoteA})
		l.mustIn(packet{protocol: protocol, src: remoteA, dst: guestA}, guestA+":0")
	}
	l.wantIn(packet{protocol: protocol, src: remoteB, dst: guestA}, Filtered)
	l = simple(t, ZoneConfig{Open: true})
	l.mustIn(packet{protocol: protocol, src: remoteA, dst: guestA}, guestA+":0")
	l.mustOut(packet{protocol: protocol, src: guestA, dst: remoteA})
}

// errorsOf has errors about a protocol pass, and end nothing.
func errorsOf(t *testing.T, protocol uint8) {
	t.Helper()
	errorsPass(t, packet{protocol: protocol, src: guestA, dst: remoteA}, packet{protocol: protocol, src: remoteA, dst: guestA})
}

// TestRFC6092REC15 has services that everybody knows last as long as all others.
func TestRFC6092REC15(t *testing.T) {
	for _, port := range []string{":53", ":123"} {
		if !idles(t, udp(guestA+port, remoteA+port), udp(remoteA+port, guestA+port), 300) {
			t.Errorf("%s is gone within five minutes", port)
		}
	}
}

func TestRFC6092REC26(t *testing.T) { goesBoth(t, protoHIP) }

// TestRFC6092REC27 has what a home agent sends to a mobile node: a packet to its care-of
// address, with the home address in a routing header of type 2. It is of the flow to the
// care-of address, and its checksum covers the home address.
func TestRFC6092REC27(t *testing.T) {
	l := simple(t, ZoneConfig{})
	b := routed(2, 1, [4]byte{203, 0, 113, 9})
	inside, outside := l.endpoint(guestA).Addr, l.endpoint(remoteA).Addr
	copy(b[22:], outside[:])
	copy(b[38:], inside[:])
	before := bytes.Clone(b)
	f, p := wireFrame(bytes.Clone(b))
	if r := l.tab.Inbound(f, p, 1); r.Verdict != Filtered {
		t.Fatalf("unasked: %v", r.Verdict)
	}
	l.mustOut(udp(guestA+":80", remoteA+":5000"))
	f, p = wireFrame(b)
	if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated || !bytes.Equal(f.Bytes(), before) {
		t.Errorf("of a flow: %v, or it has changed", r.Verdict)
	}
}

func TestRFC6092REC28(t *testing.T) { goesBoth(t, protoMobility) }
func TestRFC6092REC30(t *testing.T) { errorsOf(t, protoMobility) }

func TestRFC6092REC38(t *testing.T) { goesBoth(t, protoSCTP) }
func TestRFC6092REC41(t *testing.T) { errorsOf(t, protoSCTP) }
func TestRFC6092REC42(t *testing.T) { errorsOf(t, protoSCTP) }

func TestRFC6092REC43(t *testing.T) { goesBoth(t, protoDCCP) }
func TestRFC6092REC45(t *testing.T) { errorsOf(t, protoDCCP) }
func TestRFC6092REC46(t *testing.T) { errorsOf(t, protoDCCP) }

// TestRFC6092REC47 has a flow of nothing but packets with the header of Shim6.
func TestRFC6092REC47(t *testing.T) { goesBoth(t, protoShim6) }

// TestRFC6296Clause43 has what NATs owe to programs (RFC 4787): whom a guest talks to
// changes nothing of its outside address and port, and nobody else has them.
func TestRFC6296Clause43(t *testing.T) {
	l := newLab(t, ZoneConfig{Prefixes: []PrefixMap{prefixMap("fd01:203:405::/48", "2001:db8:1::/48")}})
	for _, protocol := range []uint8{frame.ProtoUDP, frame.ProtoTCP} {
		for guest, want := range map[string]string{"[fd01:203:405:1::1]:5000": "[2001:db8:1:d550::1]:5000", "[fd01:203:405:1::2]:5000": "[2001:db8:1:d550::2]:5000"} {
			for _, remote := range []string{"[2001:db8:77::1]:80", "[2001:db8:77::1]:81", "[2001:db8:78::9]:80"} {
				f, p := frame6(protocol, guest, remote)
				if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated || source(f) != want {
					t.Errorf("%s to %s left as %s: %v, want %s", guest, remote, source(f), r.Verdict, want)
				}
				checkWire(t, f.Bytes())
			}
		}
	}
}
