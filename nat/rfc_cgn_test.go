package nat

import (
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 6888: what applies of the requirements for carriers. A subscriber is an
// inside host here.

// TestRFC6888REQ1 has the protocols that are carried by address alone: one inside
// host at a time talks to a remote one by them.
func TestRFC6888REQ1(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		const dccp = 33
		for _, protocol := range []uint8{dccp, protoSCTP} {
			l := newLab(t, ZoneConfig{})
			a := packet{protocol: protocol, src: guestA + ":5000", dst: remoteA + ":80"}
			if v, _ := l.out(a); v != Translated {
				t.Errorf("protocol %d: %v", protocol, v)
			}
			a.src = guestB + ":6000"
			l.wantOut(a, Unsupported)
		}
	})
}

func TestRFC6888REQ2(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		all := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}
		l := newLabAt(t, ZoneConfig{Addresses: addresses(all...)}, all...)
		for host := range 30 {
			src := fmt.Sprintf("10.1.7.%d", host)
			first := rfcHost(l.mustOut(udp(src+":1000", remoteA+":80")))
			for i := range 30 {
				if got := rfcHost(l.mustOut(udp(guest(src, 2000+i), guest(remoteB, i+1)))); got != first {
					t.Fatalf("%s has two addresses", src)
				}
			}
		}
	})
}

// TestRFC6888REQ3 has a pool of addresses of many ranges, with gaps.
func TestRFC6888REQ3(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		var all []string
		for i := range 200 {
			all = append(all, fmt.Sprintf("203.%d.%d.%d", i%7, i%31, i+1))
		}
		l := newLabAt(t, ZoneConfig{Addresses: addresses(all...), First: 1024, Last: 1027}, all...)
		used := map[[16]byte]bool{}
		for host := range 4000 {
			if v, out := l.out(udp(fmt.Sprintf("10.2.%d.%d:9", host>>8, host&255), remoteA+":80")); v == Translated {
				used[rfcHost(out)] = true
			}
		}
		if len(used) != len(all) {
			t.Errorf("%d of %d addresses are used", len(used), len(all))
		}
	})
}

// TestRFC6888REQ4 bounds the outside ports and identifiers of one host. Others
// have theirs.
func TestRFC6888REQ4(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 10})
		ports := map[string]bool{}
		for i := range 30 {
			for name, p := range map[string]packet{"udp": udp(guest(guestA, 2000+i), remoteA+":80"), "tcp": syn(guest(guestA, 2000+i), remoteA+":80"), "icmp": echo(guest(guestA, 2000+i), remoteA)} {
				if v, out := l.out(p); v == Translated {
					ports[name+out] = true
				} else if v != HostFull {
					t.Fatalf("%v", v)
				}
			}
		}
		if len(ports) != 10 {
			t.Errorf("one host has %d ports and identifiers", len(ports))
		}
		l.mustOut(udp(guestB+":5000", remoteA+":80"))
	})
}

func TestRFC6888REQ4a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 1})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.wantOut(udp(guestA+":5001", remoteA+":80"), HostFull)
		l.zone(0, ZoneConfig{MaxPerHost: 2})
		l.mustOut(udp(guestA+":5001", remoteA+":80"))
		l.wantOut(udp(guestA+":5002", remoteA+":80"), HostFull)
	})
}

// TestRFC6888REQ5 counts what takes memory: flows, which are the filters too,
// whichever side began them, and whether or not they have a port.
func TestRFC6888REQ5(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 3, Filtering: None})
		out := l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustIn(udp(remoteB+":80", out), guestA+":5000")
		l.mustOut(udp(guestA+":5000", remoteB+":80")) // or it would make room
		l.mustOut(packet{protocol: protoGRE, src: guestA, dst: remoteA})
		l.wantOut(udp(guestA+":5000", remoteA+":81"), HostFull)
		l.wantIn(udp(remoteB+":81", out), HostFull)
		l.wantOut(packet{protocol: protoGRE, src: guestA, dst: remoteB}, HostFull)
		if n := len(l.flows()); n != 3 {
			t.Errorf("%d flows", n)
		}
	})
}

func TestRFC6888REQ5a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxFlows: 2})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustOut(udp(guestB+":5000", remoteA+":80"))
		l.wantOut(udp(guestB+":5001", remoteA+":80"), TableFull)
		l.zone(0, ZoneConfig{MaxFlows: 3})
		l.mustOut(udp(guestB+":5001", remoteA+":80"))
	})
}

func TestRFC6888REQ7(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		filtered(t, udp, ZoneConfig{Filtering: None}, Translated, Translated)
		filtered(t, syn, ZoneConfig{Filtering: None}, Translated, Translated)
		filtered(t, udp, ZoneConfig{}, Translated, Filtered)
	})
}

// TestRFC6888REQ8 has ports in use one after another. A port that has just become
// free is taken last.
func TestRFC6888REQ8(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 40000, Last: 40999, Timeouts: Timeouts{UDP: 1}})
		freed := map[uint16]uint32{}
		for i := range 1500 {
			out := rfcPort(l.mustOut(udp(guest("10.1.8."+fmt.Sprint(i&127), 100+i), remoteA+":80")))
			if at, was := freed[out]; was && l.now-at < 900 {
				t.Fatalf("flow %d has port %d, which became free %d s ago, though others are free for longer", i, out, l.now-at)
			}
			l.wait(2)
			freed[out] = l.now
		}
	})
}

// TestRFC6888REQ8a has the port of a TCP connection that is over used at once.
func TestRFC6888REQ8a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 40000, Last: 40000})
		l.reset(guestA+":5000", remoteA+":80")
		if out := l.mustOut(syn(guestB+":6000", remoteA+":80")); out != outsideA+":40000" {
			t.Errorf("%s", out)
		}
	})
}

// TestRFC6888REQ8b has a published port: it is that of its guest after the loss of
// all state, and nobody else gets it.
func TestRFC6888REQ8b(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for range 2 {
			l := newLab(t, ZoneConfig{First: 40000, Last: 40001, Publish: []Publish{{Protocol: frame.ProtoUDP, First: 40000, Last: 40000, To: endpointOf(guestA + ":53")}}})
			if out := l.mustOut(udp(guestB+":40000", remoteA+":80")); out != outsideA+":40001" {
				t.Errorf("a published port went to another guest: %s", out)
			}
			l.mustIn(udp(remoteA+":80", outsideA+":40000"), guestA+":53")
			l.tab.Flush(func(*Flow) bool { return true })
			if out := l.mustOut(udp(guestA+":53", remoteB+":80")); out != outsideA+":40000" {
				t.Errorf("the guest left as %s", out)
			}
		}
	})
}

// TestRFC6888REQ8c has the only port go to another host at once. Who talked to the
// first one does not reach the second.
func TestRFC6888REQ8c(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 40000, Last: 40000})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.wait(301)
		if out := l.mustOut(udp(guestB+":6000", remoteB+":80")); out != outsideA+":40000" {
			t.Fatalf("%s", out)
		}
		l.wantIn(udp(remoteA+":80", outsideA+":40000"), Filtered)
	})
}

// TestRFC6888REQ10 reads and ends flows, as the API and the commands do.
func TestRFC6888REQ10(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp(guestA+":5000", remoteA+":80"))
		l.mustOut(syn(guestB+":5000", remoteA+":80"))
		if c := l.counters(0, ClassUDP); c.Flows != 1 || c.Mappings != 1 || c.Made != 1 {
			t.Errorf("counters: %+v", c)
		}
		if n := l.tab.Flush(func(f *Flow) bool { return f.Protocol == frame.ProtoUDP }); n != 1 {
			t.Errorf("%d flows were ended", n)
		}
		if f := l.only(); text(f.Inside) != guestB+":5000" || text(f.Outside) != outsideA+":5000" || text(f.Remote) != remoteA+":80" {
			t.Errorf("%+v", f)
		}
	})
}

// TestRFC6888REQ11d has each limit reached: the new flow is refused, and all that
// live go on.
func TestRFC6888REQ11d(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for want, cfg := range map[Verdict]ZoneConfig{
			TableFull: {MaxFlows: 20}, HostFull: {MaxPerHost: 20}, PortsFull: {First: 40000, Last: 40019},
		} {
			l := newLab(t, cfg)
			out := map[string]string{}
			for i := range 20 {
				src := guest(guestA, 1100+i)
				out[src] = l.mustOut(udp(src, remoteA+":80"))
			}
			for i := range 200 {
				l.wantOut(udp(guest(guestA, 2000+i), remoteA+":80"), want)
			}
			for src, e := range out {
				l.mustIn(udp(remoteA+":80", e), src)
			}
		}
	})
}

// TestRFC6888REQ13 uses every port of the range.
func TestRFC6888REQ13(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{First: 50000, Last: 65535})
		var used PortSet
		for i := range 65536 - 50000 {
			src := guest(fmt.Sprintf("10.3.%d.%d", i>>8&0xff, i&0xff), 1+i*31%65535)
			l.via = uint16(i / 3000) // no place may use all of them
			v, out := l.out(udp(src, remoteA+":80"))
			if v != Translated || used.Has(rfcPort(out)) {
				t.Fatalf("flow %d: %v, %s", i, v, out)
			}
			used.Add(rfcPort(out))
		}
		l.wantOut(udp("10.4.0.1:5000", remoteA+":80"), PortsFull)
	})
}

func TestRFC6888REQ15(t *testing.T) {
	eachFamily(t, func(t *testing.T) { obfuscated(t) })
}

// obfuscated has many guests use the same port. What they get is spread over the
// range, follows no order, and is not the same in another table.
func obfuscated(t *testing.T) {
	const guests, parts = 2048, 16
	var first, second []uint16
	for _, ports := range []*[]uint16{&first, &second} {
		l := newLab(t, ZoneConfig{})
		l.mustOut(udp("10.9.9.9:5000", remoteA+":80"))
		for i := range guests {
			*ports = append(*ports, rfcPort(l.mustOut(udp(guest(fmt.Sprintf("10.5.%d.%d", i>>8, i&255), 5000), remoteA+":80"))))
		}
	}
	var in [parts]int
	rising, same := 0, 0
	for i, port := range first {
		in[int(port-1024)*parts/(65536-1024)]++
		if i > 0 && port > first[i-1] {
			rising++
		}
		if port == second[i] {
			same++
		}
	}
	for part, n := range in {
		if n < guests/parts/2 {
			t.Errorf("part %d of the range has %d of %d ports", part, n, guests)
		}
	}
	if rising < guests/3 || rising > guests*2/3 || same > guests/10 {
		t.Errorf("%d of %d ports are above the one before, and %d are as in another table", rising, guests, same)
	}
}
