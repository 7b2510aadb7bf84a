package nat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// identity leaves the addresses of the guests as they are, of either family.
var identity = []PrefixMap{modelPrefix}

// frame6 returns a packet between two IPv6 endpoints, with the checksum of a wire.
func frame6(protocol uint8, src, dst string) (*frame.Frame, *frame.Parsed) {
	w := wire{six: true, protocol: protocol, head: []byte{tcpSYN, 0}[:1], payload: []byte("data")}
	if protocol == frame.ProtoICMP {
		w.head = []byte{icmpEcho, 0}
	}
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	w.sport, w.dport = s.Port(), d.Port()
	b := w.bytes()
	from, to := s.Addr().As16(), d.Addr().As16()
	copy(b[22:], from[:])
	copy(b[38:], to[:])
	if at := w.checkAt(); at >= 0 {
		b[54+at], b[54+at+1] = 0, 0
		sum := append(append(append([]byte{}, b[22:54]...), 0, w.number()), b[18:20]...)
		binary.BigEndian.PutUint16(b[54+at:], ^naiveSum(append(sum, b[54:]...)))
	}
	return wireFrame(b)
}

// TestTracked has addresses stay as they are, and outside only answer.
func TestTracked(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Prefixes: identity})
		for _, p := range []packet{udp(guestA+":5000", remoteA+":80"), syn(guestA+":5000", remoteA+":80"), echo(guestA+":7", remoteA), {protocol: protoGRE, src: guestA, dst: remoteA}} {
			if src := l.mustOut(p); addrOf(src) != guestA || p.protocol != protoGRE && portOf(src) != portOf(p.src) {
				t.Errorf("protocol %d left as %s", p.protocol, src)
			}
		}
		l.mustIn(udp(remoteA+":80", guestA+":5000"), guestA+":5000")
		l.mustIn(packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: remoteA, dst: guestA + ":7", data: 9}, guestA+":7")
		l.mustIn(packet{protocol: protoGRE, src: remoteA, dst: guestA}, guestA+":0")
		for _, p := range []packet{udp(remoteB+":80", guestA+":5000"), udp(remoteA+":80", guestB+":5000"), syn(remoteB+":80", guestA+":22"),
			echo(remoteA+":7", guestA), {protocol: protoGRE, src: remoteB, dst: guestA}, {protocol: frame.ProtoICMP, kind: 9, src: remoteA, dst: guestA}} {
			l.wantIn(p, Filtered)
		}
		l.wantIn(udp(remoteA+":80", outsideA+":5000"), NotMine)
		stranger := l.wire(udp(remoteB+":80", guestB+":5000"))
		stranger.payload = make([]byte, 40)
		for _, cut := range [][2]int{{0, 24}, {24, 48}} {
			f, p := fragmentOf(stranger, cut[0], cut[1])
			if r := l.tab.Inbound(f, p, 1); r.Verdict != Filtered {
				t.Errorf("a fragment from a stranger: %v", r.Verdict)
			}
		}
		if l.tab.Owns(l.endpoint(guestA).Addr) {
			t.Error("the table owns an address that is the guest's own")
		}
		f, p := l.frame(udp(remoteA+":80", guestA+":9"))
		if !l.tab.Maps(f, p) {
			t.Error("what is for a guest may be for the uplink's host")
		}
		if c := l.counters(0, ClassUDP); c.Flows != 1 || c.Mappings != 0 {
			t.Errorf("%+v", c)
		}
	})
}

// TestTrackedFilter lets in whom the mapping's filter lets in.
func TestTrackedFilter(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, one := range []func(src, dst string) packet{udp, syn} {
			filtered(t, one, ZoneConfig{Prefixes: identity}, Translated, Filtered)
			filtered(t, one, ZoneConfig{Prefixes: identity, Filtering: None}, Translated, Translated)
			filtered(t, one, ZoneConfig{Prefixes: identity, Filtering: ByEndpoint}, Filtered, Filtered)
			filtered(t, one, ZoneConfig{Prefixes: identity, Symmetric: true, Filtering: None}, Filtered, Filtered)
			filtered(t, one, ZoneConfig{Prefixes: identity, Open: true}, Translated, Translated)
		}
	})
}

// TestOpen lets outside begin, echo and protocols without ports included.
func TestOpen(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Prefixes: identity, Open: true})
		l.mustIn(syn(remoteA+":5000", guestA+":22"), guestA+":22")
		l.mustIn(packet{protocol: protoGRE, src: remoteA, dst: guestB}, guestB+":0")
		l.mustIn(echo(remoteA+":7", guestA), guestA+":7")
		reply := packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: guestA, dst: remoteA + ":7", data: 9}
		if src := l.mustOut(reply); src != guestA+":7" {
			t.Errorf("the answer left as %s", src)
		}
		l.mustOut(echo(guestA+":7", remoteA)) // the same identifier, asked from inside
		reply.src, reply.dst = remoteA, guestA+":7"
		l.mustIn(reply, guestA+":7")
		if n := len(l.flows()); n != 4 {
			t.Errorf("%d flows: %v", n, l.flows())
		}
		for _, f := range l.flows() {
			if f.Protocol == frame.ProtoICMP && f.Remote.Port != 0 {
				t.Errorf("the remote port of a query is %d", f.Remote.Port)
			}
		}
		reply.src = remoteB // nobody has asked there
		l.wantIn(reply, Filtered)
		l.wantOut(packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: guestA, dst: remoteB + ":7"}, Invalid)
		l.wantIn(packet{protocol: frame.ProtoICMP, kind: 9, src: remoteA, dst: guestA}, Filtered)
		l.zone(0, ZoneConfig{Prefixes: identity})
		l.mustIn(tcp(remoteA+":5000", guestA+":22", tcpSYN, 100, 0, 0), guestA+":22")
		l.wantIn(syn(remoteA+":5001", guestA+":23"), Filtered)
	})
}

// TestPublishTracked opens one endpoint of a network that is not translated, by its own
// port and by another one.
func TestPublishTracked(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Prefixes: identity, Publish: []Publish{web(80, 80, guestA+":80"), web(8080, 8082, guestB+":80"), web(443, 443, guestB+":443"), web(443, 443, guestA+":443")}})
		l.mustIn(syn(remoteA+":5000", guestA+":80"), guestA+":80")
		l.mustIn(syn(remoteA+":5000", guestB+":8080"), guestB+":80")
		l.mustIn(syn(remoteA+":5001", guestB+":8081"), guestB+":81")
		l.mustIn(syn(remoteA+":5000", guestA+":443"), guestA+":443")
		l.mustIn(syn(remoteA+":5000", guestB+":443"), guestB+":443")
		l.wantIn(syn(remoteB+":5000", guestB+":80"), Filtered)
		l.wantIn(udp(remoteA+":5000", guestA+":80"), Filtered)
		l.wantIn(syn(remoteA+":5000", outsideA+":80"), NotMine)
		if src := l.mustOut(tcp(guestB+":80", remoteA+":5000", tcpSA, 500, 101, 0)); src != guestB+":8080" {
			t.Errorf("the answer left as %s", src)
		}
		if src := l.mustOut(syn(guestB+":8080", remoteB+":1")); src != guestB+":8080" {
			t.Errorf("a guest's own port became %s", src)
		}
		l.mustOut(syn(guestB+":8082", remoteB+":1"))
		own := l.endpoint(guestB + ":8082")
		if m := l.tab.mappingOf(0, frame.ProtoTCP, &own); m != nil {
			t.Error("a port that is published for another endpoint has a mapping to let others in")
		}
		l.mustIn(tcp(remoteB+":1", guestB+":8080", tcpSA, 500, 101, 0), guestB+":8080")
		l.mustIn(tcp(remoteB+":1", guestB+":8082", tcpRA, 0, 101, 0), guestB+":8082")
		l.mustOut(tcp(guestB+":8082", remoteB+":1", tcpSYN, 9000, 0, 0)) // begins anew
		l.mustIn(syn(remoteB+":2", guestB+":8080"), guestB+":80")
		l.zone(0, ZoneConfig{Prefixes: identity})
		l.wantIn(syn(remoteB+":9", guestA+":80"), Filtered)
		l.mustIn(tcp(remoteA+":5000", guestA+":80", tcpSYN, 100, 0, 0), guestA+":80")
		l.wait(300)
		l.wantIn(syn(remoteA+":5000", guestA+":80"), Filtered)
		l.zone(0, ZoneConfig{})
		l.checkEmpty()
	})
}

// TestTrackedError translates errors about tracked flows: they stay as they are, the
// address of a router before the guest too.
func TestTrackedError(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Prefixes: identity, Open: true})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustIn(udp(remoteA+":80", guestA+":5000"), guestA+":5000")
		l.mustIn(echo(remoteA+":7", guestA), guestA+":7")
		for _, from := range []string{guestA, "10.1.77.1"} {
			for _, about := range []packet{udp(remoteA+":80", guestA+":5000"), echo(remoteA+":7", guestA)} {
				f, p := l.errorAbout(icmpUnreachable, from, remoteA, about, 0)
				if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated {
					t.Fatalf("from %s about protocol %d: %v", from, about.protocol, r.Verdict)
				}
				l.wantError(f, icmpUnreachable, from, remoteA, about, 0)
			}
		}
		f, p := l.errorAbout(icmpTimeExceeded, "172.16.0.1", remoteA, udp(remoteA+":80", guestA+":5000"), 0)
		if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated || addrOf(source(f)) != guestA {
			t.Errorf("from a router that nobody outside knows: %v, from %s", r.Verdict, source(f))
		}
		f, p = l.errorAbout(icmpTimeExceeded, router, guestA, udp(guestA+":5000", remoteA+":80"), 0)
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Translated {
			t.Errorf("from outside: %v", r.Verdict)
		}
		f, p = l.errorAbout(icmpTimeExceeded, router, guestA, udp(guestA+":5001", remoteA+":80"), 0)
		if r := l.tab.Inbound(f, p, 1); r.Verdict != Filtered {
			t.Errorf("about what was never sent: %v", r.Verdict)
		}
	})
}

// TestOwnAddressInPrefix keeps the uplink's own address out of the prefix that it is in.
func TestOwnAddressInPrefix(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLabAt(t, ZoneConfig{Prefixes: identity, Open: true, Publish: []Publish{web(80, 80, "10.1.0.254:80")}}, "10.1.0.254")
		l.wantIn(syn(remoteA+":5000", "10.1.0.254:80"), NotMine)
		l.wantIn(udp(remoteA+":5000", "10.1.0.254:80"), NotMine)
		l.wantOut(udp("10.1.0.254:5000", remoteA+":80"), PortsFull)
		f, p := l.frame(udp(remoteA+":80", "10.1.0.254:9"))
		if l.tab.Maps(f, p) || !l.tab.Owns(p.Dst()) {
			t.Error("the uplink's own address is taken for a guest's")
		}
	})
}

// TestPrefixChanges takes prefixes away from under flows, and adds them: flows go on,
// new ones are as the configuration says.
func TestPrefixChanges(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		said := newSaid(t)
		l := &lab{t: t, now: 1, six: isSix(t)}
		l.tab = New(Config{Addresses: l.addresses(outsideA), Changed: said.changed})
		l.zone(0, ZoneConfig{Prefixes: identity})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustOut(syn(guestA+":5000", remoteA+":80"))
		said.wants("of prefixes")
		l.zone(0, ZoneConfig{})
		if src := l.mustOut(udp(guestA+":5000", remoteA+":80")); src != guestA+":5000" {
			t.Errorf("the flow became %s", src)
		}
		if src := l.mustOut(udp(guestA+":5000", remoteB+":80")); src != outsideA+":5000" {
			t.Errorf("a new flow left as %s", src)
		}
		l.tab.SetAddresses(l.addresses(outsideB))
		if n := len(l.flows()); n != 2 {
			t.Errorf("%d flows are left: %v", n, l.flows())
		}
		l.mustOut(udp(guestA+":5000", remoteB+":80"))
		l.zone(0, ZoneConfig{Prefixes: identity})
		if src := l.mustOut(udp(guestA+":5000", remoteB+":81")); src != guestA+":5000" {
			t.Errorf("a new flow left as %s", src)
		}
		l.tab.RemoveZone(0)
		if n := len(l.flows()); n != 0 {
			t.Errorf("%d flows are left", n)
		}
		said.wants("at the end")
		l.checkEmpty()
	})
}

// TestPrefixLikeIdentity does the same things to a table that translates a prefix and
// to one that leaves it as it is: but for the addresses outside, nothing differs.
func TestPrefixLikeIdentity(t *testing.T) {
	const inside = "2001:db8:5:1::/64"
	rapid.Check(t, func(t *rapid.T) {
		cfg := ZoneConfig{Open: rapid.Bool().Draw(t, "open"), MaxPerHost: 5, Filtering: rapid.SampledFrom([]Filtering{ByAddress, ByEndpoint, None}).Draw(t, "filtering")}
		if rapid.Bool().Draw(t, "publish") {
			cfg.Publish = []Publish{{Protocol: 6, First: 8080, Last: 8081, To: EndpointOf(netip.MustParseAddrPort("[2001:db8:5:1::1]:1000"))}}
		}
		m := prefixMap(inside, rapid.SampledFrom([]string{"2001:db8:9:7::/64", "fd12:3456:789a:1::/64", "2600::/64"}).Draw(t, "outside"))
		var tabs [2]*Table
		for i, one := range []PrefixMap{prefixMap(inside, inside), m} {
			cfg.Prefixes = []PrefixMap{one}
			tabs[i] = New(Config{Addresses: bothFamilies(outsideA)})
			if err := tabs[i].SetZone(0, cfg); err != nil {
				t.Fatal(err)
			}
		}
		port := rapid.SampledFrom([]int{1000, 1001, 8080})
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			guest := fmt.Sprintf("2001:db8:5:1::%d", rapid.IntRange(1, 2).Draw(t, "guest"))
			remote := fmt.Sprintf("[2001:db8:77::%d]:%d", rapid.IntRange(1, 2).Draw(t, "remote"), port.Draw(t, "remote port"))
			protocol := rapid.SampledFrom([]uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP, protoGRE, 33}).Draw(t, "protocol")
			own, inward := port.Draw(t, "port"), rapid.Bool().Draw(t, "inward")
			var got [2]string
			for i := range tabs {
				seen := guest
				if i == 1 {
					seen = m.translated(guest)
				}
				if inward {
					f, p := frame6(protocol, remote, fmt.Sprintf("[%s]:%d", seen, own))
					r := tabs[i].Inbound(f, p, 1)
					got[i] = fmt.Sprint(r.Verdict)
					if r.Verdict == Translated {
						checkWire(t, f.Bytes())
						got[i] += destination(f)
					}
					continue
				}
				f, p := frame6(protocol, fmt.Sprintf("[%s]:%d", guest, own), remote)
				r := tabs[i].Outbound(0, 0, f, p, 1)
				got[i] = fmt.Sprint(r.Verdict)
				if r.Verdict == Translated {
					checkWire(t, f.Bytes())
					if addrOf(source(f)) != seen {
						t.Fatalf("%s left as %s, want %s", guest, source(f), seen)
					}
					got[i] += fmt.Sprint(portOf(source(f)))
				}
			}
			if got[0] != got[1] {
				t.Fatalf("%s, inward %v: %s as it is, %s translated", guest, inward, got[0], got[1])
			}
		}
	})
}
