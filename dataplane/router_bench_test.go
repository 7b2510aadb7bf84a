package dataplane

import (
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/memport"
)

// routedBurst is a full burst of one flow that crosses the router, again and again.
type routedBurst struct {
	w      *worker
	frames []*frame.Frame
	fresh  []byte // what the router rewrites of each, before it does
}

func (b *routedBurst) run() {
	for _, f := range b.frames {
		copy(f.Bytes(), b.fresh)
	}
	b.w.burst(b.frames)
}

// established returns the bursts of a flow between the guest and a host far away, out
// and back, with nothing to wait for. Nobody else runs the workers.
func (l *routedLab) established(c RoutingConfig) (out, back *routedBurst) {
	c.Uplink = l.uplink
	l.lead(l.net, c)
	l.guest.port.Detach()
	l.world.port.Detach()
	for _, s := range []*station{l.guest, l.world} {
		s.port.Attach(sink{memport.New(frame.CapAll)}, 1500, func(error) {})
	}
	l.net.neighbors.learn(l.v.addr(guestIP), l.guest.mac, true, 1)
	l.uplink.Network().neighbors.learn(l.v.addr(worldIP), l.world.mac, true, 1)
	out = burstOf(l.guest, l.fromGuest(farIP, frame.ProtoUDP, udp(5000, 7, "established")))
	to := guestIP
	if c.IPv4 == Translated || c.IPv6 == Translated {
		to = "192.0.2.2"
	}
	back = burstOf(l.world, l.fromWorld(farIP, to, frame.ProtoUDP, udp(7, 5000, "established")))
	out.run()
	back.run()
	return out, back
}

func burstOf(s *station, b []byte) *routedBurst {
	if s.v.six {
		b, _ = to6(s.t, b, frame.Offload{})
	}
	r := &routedBurst{w: &worker{network: s.port.network, port: s.port}, fresh: b}
	for range ports.MaxBurst {
		r.frames = append(r.frames, wrap(append(make([]byte, frame.Headroom), b...)))
	}
	return r
}

// An established flow crosses the router without allocating, both ways, translated or
// not.
func TestRouterNoAllocation(t *testing.T) { bothFamilies(t, testRouterNoAllocation) }

func testRouterNoAllocation(t *testing.T, v family) {
	for name, c := range map[string]RoutingConfig{"nat": {IPv4: Translated, IPv6: Translated}, "route": {}} {
		l := newRoutedLab(t, v)
		out, back := l.established(c)
		before, after := l.world.port.Stats(), l.guest.port.Stats()
		for way, b := range map[string]*routedBurst{"out": out, "back": back} {
			if n := testing.AllocsPerRun(100, b.run); n != 0 {
				t.Errorf("%s, %s: %v allocations a burst", name, way, n)
			}
		}
		const sent = 101 * ports.MaxBurst
		if got := l.world.port.Stats().Tx.Frames - before.Tx.Frames; got != sent {
			t.Errorf("%s: %d frames went out, want %d", name, got, sent)
		}
		if got := l.guest.port.Stats().Tx.Frames - after.Tx.Frames; got != sent {
			t.Errorf("%s: %d frames came in, want %d", name, got, sent)
		}
	}
}

// identity is a zone whose addresses stay as they are.
var identity = nat.ZoneConfig{Prefixes: []nat.PrefixMap{{Inside: ipv6.prefix("10.0.0.0/24"), Outside: ipv6.prefix("10.0.0.0/24")}}}

func BenchmarkRouter(b *testing.B) {
	for _, way := range []struct {
		name string
		v    family
		c    RoutingConfig
	}{
		{"nat/IPv4", ipv4, RoutingConfig{IPv4: Translated}}, {"nat/IPv6", ipv6, RoutingConfig{IPv6: Translated}},
		{"tracked/IPv6", ipv6, RoutingConfig{IPv6: Tracked, Zone: identity}},
		{"route/IPv4", ipv4, RoutingConfig{}}, {"route/IPv6", ipv6, RoutingConfig{}},
	} {
		l := newRoutedLab(&testing.T{}, way.v)
		out, back := l.established(way.c)
		for _, direction := range []struct {
			name  string
			burst *routedBurst
		}{{"out", out}, {"back", back}} {
			b.Run(way.name+"/"+direction.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					direction.burst.run()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*ports.MaxBurst), "ns/frame")
			})
		}
		l.sw.Close()
	}
}
