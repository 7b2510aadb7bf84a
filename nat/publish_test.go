package nat

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

func web(first, last uint16, to string) Publish {
	return Publish{Protocol: frame.ProtoTCP, First: first, Last: last, To: endpointOf(to)}
}

func TestPublish(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Publish: []Publish{web(8080, 8089, guestA+":80"), web(22, 22, guestB+":22")}})
		l.mustIn(syn(remoteA+":5000", outsideA+":8080"), guestA+":80")
		l.mustIn(syn(remoteB+":5000", outsideA+":8089"), guestA+":89")
		l.mustIn(syn(remoteB+":5000", outsideA+":22"), guestB+":22")
		l.wantIn(syn(remoteB+":5000", outsideA+":8090"), NotMine)
		l.wantIn(udp(remoteB+":5000", outsideA+":8080"), NotMine)
		l.wantIn(tcp(remoteB+":5001", outsideA+":8080", tcpRST, 5, 0, 0), Invalid)
		for _, f := range l.flows() {
			if !f.FromOutside || f.State != SynSent {
				t.Errorf("flow %+v", f)
			}
		}
		if src := l.mustOut(tcp(guestA+":80", remoteA+":5000", tcpSYN|tcpACK, 500, 101, 0)); src != outsideA+":8080" {
			t.Errorf("the answer left as %s", src)
		}
		if src := l.mustOut(syn(guestB+":22", "203.0.113.5:1")); src != outsideA+":22" {
			t.Errorf("a flow of a published endpoint left as %s", src)
		}
		// Its port is not for others, and no port of a publish is given away.
		if src := l.mustOut(syn(guestB+":8085", remoteA+":1")); src == outsideA+":8085" {
			t.Error("a published port was given to another endpoint")
		}
	})
}

// TestPublishTwice has one endpoint at two outside ports: a peer cannot use both
// from one port.
func TestPublishTwice(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Publish: []Publish{web(8080, 8080, guestA+":80"), web(9090, 9090, guestA+":80")}})
		l.mustIn(syn(remoteA+":5000", outsideA+":8080"), guestA+":80")
		l.mustIn(syn(remoteA+":5001", outsideA+":9090"), guestA+":80")
		l.wantIn(syn(remoteA+":5000", outsideA+":9090"), PortsFull)
		if src := l.mustOut(tcp(guestA+":80", remoteA+":5001", tcpSYN|tcpACK, 500, 101, 0)); src != outsideA+":9090" {
			t.Errorf("the answer left as %s", src)
		}
	})
}

// TestPublishLive adds, moves and removes publishes under flows.
func TestPublishLive(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		dynamic := l.mustOut(syn(guestB+":8080", remoteA+":80"))
		l.zone(0, ZoneConfig{Publish: []Publish{web(8080, 8080, guestA+":80")}})
		if src := l.mustOut(syn(guestB+":8080", remoteA+":80")); src != dynamic {
			t.Errorf("the flow that had the port lost it to %s", src)
		}
		l.mustIn(syn(remoteB+":1", outsideA+":8080"), guestA+":80")
		if src := l.mustOut(syn(guestB+":8080", remoteB+":1")); src == dynamic {
			t.Error("a new flow of the old owner has the published port")
		}
		l.zone(0, ZoneConfig{Publish: []Publish{web(8080, 8080, guestB+":81")}})
		l.mustIn(syn(remoteB+":2", outsideA+":8080"), guestB+":81")
		l.mustIn(tcp(remoteB+":1", outsideA+":8080", tcpSYN, 100, 0, 0), guestA+":80")
		l.zone(0, ZoneConfig{})
		l.wantIn(syn("203.0.113.5:1", outsideA+":8080"), Filtered)
		l.mustIn(syn(remoteB+":2", outsideA+":8080"), guestB+":81")
		l.wait(241)
		l.wantIn(syn(remoteB+":2", outsideA+":8080"), NotMine)
		if c := l.counters(0, ClassTCP); c.Flows != 0 || c.Mappings != 0 {
			t.Errorf("left: %+v", c)
		}
		if src := l.mustOut(syn(guestB+":8080", remoteA+":80")); src != dynamic {
			t.Errorf("the port is not free again: %s", src)
		}
	})
}

func TestPublishSymmetric(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Symmetric: true, Publish: []Publish{web(8080, 8080, guestA+":80")}})
		l.mustIn(syn(remoteA+":5000", outsideA+":8080"), guestA+":80")
		l.mustIn(syn(remoteB+":5000", outsideA+":8080"), guestA+":80")
		if src := l.mustOut(syn(guestA+":80", remoteB+":1")); src != outsideA+":8080" {
			t.Errorf("a flow of a published endpoint left as %s", src)
		}
	})
}

func TestPublishRefused(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Publish: []Publish{web(8080, 8089, guestA+":80")}})
		for want, cfg := range map[string]ZoneConfig{
			"port 8085; choose another":        {Publish: []Publish{web(8085, 8095, guestA+":80")}},
			"tcp 90-95 overlaps publish tcp 9": {Publish: []Publish{web(90, 99, guestA+":80"), web(90, 95, guestB+":80")}},
			"port 0 is none":                   {Publish: []Publish{web(0, 5, guestA+":80")}},
			"ends before it starts":            {Publish: []Publish{web(9, 5, guestA+":80")}},
			"go beyond 65535":                  {Publish: []Publish{web(1, 10, guestA+":65530")}},
			"only TCP and UDP":                 {Publish: []Publish{{Protocol: 1, First: 1, Last: 1, To: endpointOf(guestA)}}},
			"5-4: the range ends before":       {First: 5, Last: 4},
		} {
			err := l.tab.SetZone(1, l.config(cfg))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q, not %v", want, err)
			}
		}
		if len(l.tab.Stats().Zones) != 1 {
			t.Error("a zone that was refused is there")
		}
		l.zone(1, ZoneConfig{Publish: []Publish{{Protocol: frame.ProtoUDP, First: 8085, Last: 8085, To: endpointOf(guestA + ":1")}}})
		l.tab.SetAddresses(l.addresses(outsideA, outsideB))
		l.zone(2, ZoneConfig{Addresses: addresses(outsideB), Publish: []Publish{web(8085, 8095, guestB+":80")}})
		// Now the two zones meet at one address: the lower zone keeps the port.
		l.tab.SetAddresses(l.addresses(outsideB))
		l.mustIn(syn(remoteA+":1", outsideB+":8085"), guestA+":85")
	})
}

// TestCatalog compares the search for a publish with a walk over all.
func TestCatalog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []published
		port := rapid.Uint16Range(1, 60)
		for range rapid.IntRange(0, 12).Draw(t, "publishes") {
			p := published{zone: Zone(rapid.IntRange(0, 1).Draw(t, "zone")), protocol: rapid.SampledFrom([]uint8{6, 17}).Draw(t, "protocol"),
				addr: [16]byte{15: rapid.Byte().Filter(func(b byte) bool { return b < 2 }).Draw(t, "addr")}}
			p.first = port.Draw(t, "first")
			p.last = p.first + rapid.Uint16Range(0, 9).Draw(t, "size")
			p.to = Endpoint{Addr: [16]byte{15: rapid.Byte().Filter(func(b byte) bool { return b < 2 }).Draw(t, "to")}, Port: port.Draw(t, "to port")}
			if !slices.ContainsFunc(all, func(q published) bool {
				return q.protocol == p.protocol && q.addr == p.addr && q.first <= p.last && p.first <= q.last
			}) {
				all = append(all, p)
			}
		}
		c := newCatalog(all, nil)
		for i := range 75 * 2 * 2 {
			e, protocol := Endpoint{Addr: [16]byte{15: byte(i & 1)}, Port: uint16(i / 4)}, []uint8{6, 17}[i>>1&1]
			var want *published
			inside := map[Zone]map[[16]byte][]uint16{0: {}, 1: {}}
			for j := range all {
				p := &all[j]
				if p.protocol == protocol && p.addr == e.Addr && p.first <= e.Port && e.Port <= p.last {
					want = p
				}
				if p.protocol == protocol && p.to.Addr == e.Addr && p.to.Port <= e.Port && e.Port-p.to.Port <= p.last-p.first {
					inside[p.zone][p.addr] = append(inside[p.zone][p.addr], p.first+e.Port-p.to.Port)
				}
			}
			got := c.outside(protocol, &e)
			if (got == nil) != (want == nil) || got != nil && (got.first != want.first || got.zone != want.zone) {
				t.Fatalf("outside %v: %+v, want %+v", e, got, want)
			}
			for z := range Zone(2) {
				for a := range byte(2) {
					addr := [16]byte{15: a}
					port, ok := c.inside(z, protocol, &e, addr)
					if ok != (len(inside[z][addr]) > 0) || ok && !slices.Contains(inside[z][addr], port) {
						t.Fatalf("inside %v: %d %v, want one of %v", e, port, ok, inside[z][addr])
					}
				}
			}
		}
	})
}
