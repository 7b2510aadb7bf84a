package nat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// TestConcurrent has guests talk in both directions while flows expire, and
// while zones, addresses, publishes and the host's ports change. Each goroutine
// has a guest and a remote address of its own, so that whatever comes in from
// there is for that guest, and at an endpoint that it had.
func TestConcurrent(t *testing.T) {
	said := newSaid(t) // the race detector looks whether the table's lock guards it
	tab := New(Config{Addresses: bothFamilies(outsideA, outsideB), Changed: said.changed})
	const guests, rounds = 4, 4000
	var now atomic.Uint32
	now.Store(1)
	both := ZoneConfig{Addresses: bothFamilies(outsideA, outsideB), First: 20000, Last: 20999, MaxPerHost: 600}
	for z := range Zone(2) {
		if err := tab.SetZone(z, both); err != nil {
			t.Fatal(err)
		}
	}
	var work, rest sync.WaitGroup
	var stop atomic.Bool
	for i := range guests {
		work.Go(func() { chatter(t, tab, Zone(i%2), i, rounds, &now) })
	}
	rest.Go(func() {
		for !stop.Load() {
			tab.Expire(now.Add(1))
		}
	})
	rest.Go(func() {
		for i := 0; !stop.Load(); i++ {
			disturb(tab, i, both)
			for f := range tab.Flows {
				if f.Outside.Port != 0 && (f.Outside.Port < 8080 || f.Outside.Port > 20999) {
					t.Errorf("%+v", f)
				}
			}
			tab.Stats()
		}
	})
	work.Wait()
	stop.Store(true)
	rest.Wait()
	l := &lab{t: t, tab: tab, now: now.Load()}
	l.checkTuples()
	l.wait(8000)
	l.zone(0, both)
	l.zone(1, both)
	l.checkEmpty()
	said.wants("at the end")
}

// chatter sends packets of one guest, and answers.
func chatter(t *testing.T, tab *Table, z Zone, i, rounds int, now *atomic.Uint32) {
	rnd := rand.New(rand.NewPCG(uint64(i), 1))
	l := &lab{six: i/2%2 == 1} // both families at once
	remoteAddr := fmt.Sprintf("198.51.100.%d", i+1)
	for range rounds {
		protocol := []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP, protoGRE}[rnd.IntN(4)]
		inside := guest(fmt.Sprintf("10.1.0.%d", i+1), 20000+rnd.IntN(200))
		remote := guest(remoteAddr, 80+rnd.IntN(3))
		inside, remote = endsOf(protocol, inside, remote)
		f, p := l.frame(packetOf(protocol, inside, remote))
		if r := tab.Outbound(z, 0, f, p, now.Load()); r.Verdict != Translated {
			continue
		}
		checkWire(t, f.Bytes())
		back := packetOf(protocol, remote, source(f))
		back.kind, back.flags, back.seq, back.ack = icmpEchoReply, tcpRST|tcpACK, 0, 101
		if rnd.IntN(2) == 0 {
			back.flags, back.seq = tcpSYN|tcpACK, 500
		}
		f, p = l.frame(back)
		if r := tab.Inbound(f, p, now.Load()); r.Verdict == Translated && (destination(f) != inside || r.Zone != z) {
			t.Errorf("what came for %s went to %s in zone %d", inside, destination(f), r.Zone)
		}
	}
}

// bothFamilies returns IPv4 addresses and those of IPv6 that stand for them.
func bothFamilies(names ...string) []netip.Addr {
	six := &lab{six: true}
	return append(addresses(names...), six.addresses(names...)...)
}

// disturb changes something.
func disturb(tab *Table, i int, cfg ZoneConfig) {
	switch i % 8 {
	case 0:
		tab.SetAddresses(bothFamilies(outsideA))
	case 1:
		tab.SetAddresses(bothFamilies(outsideB, outsideA))
	case 2:
		taken := new(PortSet)
		taken.AddRange(20000, 20400)
		tab.SetTaken(frame.ProtoUDP, taken)
	case 3:
		tab.SetTaken(frame.ProtoUDP, nil)
	case 4:
		cfg.Symmetric, cfg.Filtering = true, None
		cfg.Publish = []Publish{web(8080, 8090, guestA+":20000")}
		_ = tab.SetZone(0, cfg)
	case 5:
		cfg.Filtering = Filtering(i / 8 % 3)
		_ = tab.SetZone(0, cfg)
	case 6:
		tab.RemoveZone(1)
		_ = tab.SetZone(1, cfg)
	case 7:
		tab.Flush(func(f *Flow) bool { return f.Inside.Port%7 == 0 })
	}
}

// checkTuples looks for two flows with one outside tuple.
func (l *lab) checkTuples() {
	l.t.Helper()
	type key struct {
		protocol        uint8
		outside, remote Endpoint
	}
	seen := map[key]bool{}
	for _, f := range l.flows() {
		k := key{f.Protocol, f.Outside, f.Remote}
		if seen[k] {
			l.t.Errorf("two flows have %+v", k)
		}
		seen[k] = true
	}
}

// checkEmpty looks for anything that is left of flows that have gone.
func (l *lab) checkEmpty() {
	l.t.Helper()
	tab := l.tab
	left := 0
	for i := range tab.out.shards {
		left += tab.out.shards[i].count + tab.in.shards[i].count
	}
	for i := range tab.byInside.shards {
		left += tab.byInside.shards[i].count + tab.byOutside.shards[i].count
	}
	for i := range tab.peers.shards {
		left += tab.peers.shards[i].used
	}
	if left != 0 {
		l.t.Errorf("%d entries are left in the indexes", left)
	}
	for _, a := range tab.addresses {
		for c, p := range a.pools {
			if p != nil && (p.used != PortSet{} || len(p.further) != 0) {
				l.t.Errorf("ports of %v are left in use", Class(c))
			}
		}
	}
	for _, s := range tab.Stats().Zones {
		z := tab.zone(s.Zone)
		if z.flows != 0 || len(z.hosts) != 0 || z.over.head != nil {
			l.t.Errorf("zone %d: %d flows, %d hosts", s.Zone, z.flows, len(z.hosts))
		}
		for c, k := range s.Classes {
			if k.Flows != 0 || k.Mappings != 0 {
				l.t.Errorf("zone %d, %v: %+v", s.Zone, Class(c), k)
			}
		}
	}
}

// TestOneFlowForMany has many workers send the first packets of one flow at once.
func TestOneFlowForMany(t *testing.T) {
	l := newLab(t, ZoneConfig{})
	var all sync.WaitGroup
	var sources sync.Map
	for range 4 {
		all.Go(func() {
			for port := range 500 {
				f, p := l.frame(udp(guest(guestA, 2000+port), remoteA+":80"))
				if r := l.tab.Outbound(0, 0, f, p, 1); r.Verdict != Translated {
					t.Errorf("%v", r.Verdict)
				}
				if was, ok := sources.LoadOrStore(port, source(f)); ok && was != source(f) {
					t.Errorf("port %d left as %v and %s", port, was, source(f))
				}
			}
		})
	}
	all.Wait()
	if c := l.counters(0, ClassUDP); c.Made != 500 || c.Flows != 500 {
		t.Errorf("%+v", c)
	}
	for _, f := range l.flows() {
		if f.Packets != 4 || f.Bytes != 4*33 {
			t.Errorf("%+v", f)
		}
	}
}
