package nat

import (
	"maps"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/weft/weft/dataplane/frame"
)

const protoESP = 50

// said is what a table says by Changed.
type said struct {
	t     reporter
	used  map[user]bool
	calls int
}

func newSaid(t reporter) *said { return &said{t: t, used: map[user]bool{}} }

func newSaidLab(t reporter) (*lab, *said) {
	s, l := newSaid(t), &lab{t: t, now: 1, six: isSix(t)}
	l.tab = New(Config{Addresses: l.addresses(outsideA, outsideB), Changed: s.changed})
	return l, s
}

func (s *said) changed(protocol uint8, port uint16, remote netip.Addr, used bool) {
	k := user{port: port, protocol: protocol}
	if remote.IsValid() {
		k.remote = endpointOf(text(Endpoint{Addr: remote.As16()})).Addr
	}
	if protocol == frame.ProtoICMPv6 {
		k.protocol = frame.ProtoICMP
	}
	if remote.Is4In6() || s.used[k] == used {
		s.t.Errorf("port %d of protocol %d with %s was said to be %v", port, protocol, remote, used)
	}
	s.calls++
	s.used[k] = used
	if !used {
		delete(s.used, k)
	}
}

// with and open return what is said of a port with a remote address, and with
// anybody.
func with(protocol uint8, port uint16, remote string) user {
	return user{remote: endpointOf(remote).Addr, port: port, protocol: protocol}
}

func open(protocol uint8, port uint16) user { return user{port: port, protocol: protocol} }

// wants fails unless these are said to be in use.
func (s *said) wants(what string, all ...user) {
	s.t.Helper()
	want := map[user]bool{}
	for _, k := range all {
		want[k] = true
	}
	if !maps.Equal(s.used, want) {
		s.t.Errorf("%s: in use are said to be %v, want %v", what, s.used, want)
	}
}

// TestChanged counts what the callback says of ports, over addresses and publishes.
func TestChanged(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l, s := newSaidLab(t)
		both := ZoneConfig{Addresses: addresses(outsideA, outsideB), Publish: []Publish{web(80, 81, guestA+":80")}}
		l.zone(0, both)
		l.zone(1, ZoneConfig{Addresses: addresses(outsideA)})
		l.zone(2, ZoneConfig{Addresses: addresses(outsideB)})
		s.wants("published", open(6, 80), open(6, 81))
		l.zone(0, both)
		l.mustIn(syn(remoteA+":1", outsideA+":80"), guestA+":80")
		l.mustIn(syn(remoteB+":1", outsideA+":80"), guestA+":80")
		s.wants("published again, and used", open(6, 80), open(6, 81))
		l.outOf(1, udp(guestA+":5000", remoteA+":1"))
		l.outOf(1, udp(guestA+":5000", remoteA+":2"))
		l.outOf(2, udp(guestA+":5000", remoteA+":1"))
		l.outOf(1, echo(guestA+":6000", remoteA))
		l.outOf(2, echo(guestA+":6000", remoteB))
		l.outOf(2, syn(guestA+":5000", remoteA+":1"))
		s.wants("flows", open(6, 80), open(6, 81), with(17, 5000, remoteA), with(1, 6000, remoteA), with(1, 6000, remoteB), with(6, 5000, remoteA))
		l.zone(0, ZoneConfig{Addresses: addresses(outsideA)})
		s.wants("not published any more", open(6, 80), with(17, 5000, remoteA), with(1, 6000, remoteA), with(1, 6000, remoteB), with(6, 5000, remoteA))
		l.tab.RemoveZone(1)
		s.wants("one zone gone", open(6, 80), with(17, 5000, remoteA), with(1, 6000, remoteB), with(6, 5000, remoteA))
		l.tab.SetAddresses(l.addresses(outsideA))
		s.wants("one address gone", open(6, 80))
		l.wait(8000)
		s.wants("all gone")
		if s.calls != 12 {
			t.Errorf("%d calls", s.calls)
		}
		if l.tab.users.counts != nil {
			t.Errorf("left: %v", l.tab.users.counts)
		}
	})
}

// TestChangedFiltering has mappings open to all where nothing is filtered, which
// they stay, and only those.
func TestChangedFiltering(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			cfg  ZoneConfig
			open bool
		}{
			"by address":  {ZoneConfig{}, false},
			"by endpoint": {ZoneConfig{Filtering: ByEndpoint}, false},
			"none":        {ZoneConfig{Filtering: None}, true},
			"symmetric":   {ZoneConfig{Filtering: None, Symmetric: true}, false},
		} {
			t.Run(name, func(t *testing.T) {
				l, s := newSaidLab(t)
				l.zone(0, tt.cfg)
				l.mustOut(udp(guestA+":5000", remoteA+":1"))
				l.mustOut(echo(guestA+":5000", remoteA))
				want := with(17, 5000, remoteA)
				if tt.open {
					want = open(17, 5000)
				}
				s.wants("a flow", want, with(1, 5000, remoteA))
				tt.cfg.Filtering = None - tt.cfg.Filtering
				l.zone(0, tt.cfg)
				if !tt.cfg.Symmetric { // there each destination has a port of its own
					l.mustOut(udp(guestA+":5000", remoteA+":2"))
				}
				s.wants("a flow after the change", want, with(1, 5000, remoteA))
				l.wait(1000)
				s.wants("at the end")
			})
		}
	})
}

// TestChangedFirst: the callback has been told of a flow before its first packet
// has its verdict, by either way in.
func TestChangedFirst(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l, s := newSaidLab(t)
		l.zone(0, ZoneConfig{Filtering: ByAddress})
		l.mustOut(udp(guestA+":5000", remoteA+":1"))
		calls := s.calls
		l.mustIn(udp(remoteA+":2", outsideA+":5000"), guestA+":5000")
		if calls != 1 || s.calls != 1 {
			t.Errorf("%d and %d calls", calls, s.calls)
		}
		l.tab.Flush(func(f *Flow) bool { return f.Remote.Port == 1 })
		s.wants("one of two gone", with(17, 5000, remoteA))
		l.tab.Flush(func(*Flow) bool { return true })
		s.wants("both gone")
	})
}

func other(protocol uint8, src, dst string) packet {
	return packet{protocol: protocol, src: src, dst: dst, data: 20}
}

// TestChangedOther has flows without ports of two zones, each at an outside address of
// its own, come and go in each way that there is.
func TestChangedOther(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l, s := newSaidLab(t)
		gre, esp, greB := with(protoGRE, 0, remoteA), with(protoESP, 0, remoteA), with(protoGRE, 0, remoteB)
		wants := func(what string, calls int, all ...user) {
			t.Helper()
			if s.wants(what, all...); s.calls != calls {
				t.Errorf("%s: %d calls, want %d", what, s.calls, calls)
			}
		}
		l.zone(0, ZoneConfig{Addresses: addresses(outsideA), Filtering: None})
		l.zone(1, ZoneConfig{Addresses: addresses(outsideB)})
		l.outOf(0, other(protoGRE, guestA, remoteA))
		l.outOf(1, other(protoGRE, guestA, remoteA))
		wants("two zones", 1, gre)
		l.outOf(0, other(protoESP, guestA, remoteA))
		l.outOf(0, other(protoGRE, guestA, remoteB))
		wants("each protocol and remote address", 3, gre, esp, greB)

		l.wantOut(other(protoGRE, guestB, remoteA), Unsupported)
		l.wantIn(other(protoSCTP, remoteA, outsideA), NotMine)
		l.mustIn(other(protoGRE, remoteA, outsideA), guestA+":0")
		wants("nothing new", 3, gre, esp, greB)

		l.tab.RemoveZone(0)
		wants("a zone gone", 5, gre)
		l.tab.SetAddresses(l.addresses(outsideA))
		wants("an address gone", 6)

		l.zone(0, ZoneConfig{})
		l.outOf(0, other(protoGRE, guestA, remoteA))
		if n := l.tab.Flush(func(*Flow) bool { return true }); n != 1 {
			t.Errorf("%d flows flushed", n)
		}
		wants("flushed", 8)
		l.outOf(0, other(protoGRE, guestA, remoteA))
		l.now += DefaultTimeouts.Other + 1
		l.outOf(0, other(protoGRE, guestB, remoteA)) // takes the place of one that is over
		wants("taken over", 11, gre)
		l.wait(int(DefaultTimeouts.Other) + 1)
		wants("expired", 12)
	})
}

// TestChangedNil keeps no count where nobody asks.
func TestChangedNil(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Publish: []Publish{web(80, 81, guestA+":80")}})
		l.mustOut(udp(guestA+":5000", remoteA+":1"))
		l.mustOut(other(protoGRE, guestA, remoteA))
		if l.tab.users.counts != nil {
			t.Errorf("counted: %v", l.tab.users.counts)
		}
		l.wait(1000)
	})
}

// TestChangedAgrees compares what was said with the flows and publishes that there
// are, after whatever happens.
func TestChangedAgrees(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			l, s := newSaidLab(t)
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				stepSaid(t, l)
				l.sweep() // what is over counts until it is looked at
				s.wants("now", l.users()...)
			}
		})
	})
}

func stepSaid(t *rapid.T, l *lab) {
	z := Zone(rapid.IntRange(0, 2).Draw(t, "zone"))
	switch rapid.IntRange(0, 11).Draw(t, "what") {
	case 0:
		all := [][]string{{outsideA}, {outsideB}, {outsideA, outsideB}}
		l.tab.SetAddresses(l.addresses(rapid.SampledFrom(all).Draw(t, "addresses")...))
	case 1:
		l.tab.RemoveZone(z)
	case 2:
		l.wait(rapid.IntRange(0, 700).Draw(t, "seconds"))
	case 3, 4:
		cfg := ZoneConfig{Addresses: addresses(outsideA, outsideB), MaxFlows: 6, First: 5000, Last: 5003}
		cfg.Filtering = rapid.SampledFrom([]Filtering{ByAddress, ByEndpoint, None}).Draw(t, "filtering")
		cfg.Symmetric = rapid.Bool().Draw(t, "symmetric")
		if rapid.Bool().Draw(t, "publish") {
			cfg.Publish = []Publish{web(5000, 5001, guestA+":5000")}
		}
		_ = l.tab.SetZone(z, l.config(cfg)) // another may have published it
	case 5:
		from := rapid.SampledFrom([]string{remoteA, remoteB}).Draw(t, "from") + ":80"
		f, p := l.frame(syn(from, outsideA+":5000"))
		l.tab.Inbound(f, p, l.now)
	default:
		from := rapid.SampledFrom([]string{guestA, guestB}).Draw(t, "from")
		to := rapid.SampledFrom([]string{remoteA, remoteB}).Draw(t, "to")
		protocol := rapid.SampledFrom([]uint8{protoGRE, protoSCTP, frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP}).Draw(t, "protocol")
		if classOf(protocol) != ClassOther {
			from += rapid.SampledFrom([]string{":5000", ":5001"}).Draw(t, "port")
		}
		if protocol == frame.ProtoTCP || protocol == frame.ProtoUDP {
			to += rapid.SampledFrom([]string{":80", ":81"}).Draw(t, "remote port")
		}
		p := other(protocol, from, to)
		switch protocol {
		case frame.ProtoTCP:
			p = syn(from, to)
		case frame.ProtoICMP:
			p = echo(from, to)
		}
		l.outOf(z, p)
	}
}

// users returns who uses what by the flows that there are, each of a mapping that is
// open or not, and by the publishes.
func (l *lab) users() (all []user) {
	for _, p := range l.tab.catalog.Load().byOutside {
		for port := int(p.first); port <= int(p.last); port++ {
			all = append(all, open(p.protocol, uint16(port)))
		}
	}
	l.tab.sweep(func(f *flow) bool {
		k := user{remote: endpointOf(text(f.remote)).Addr, port: f.outside.Port, protocol: f.protocol}
		if k.protocol == frame.ProtoICMPv6 {
			k.protocol = frame.ProtoICMP
		}
		if f.mapping != nil && f.mapping.open {
			k = open(f.protocol, f.outside.Port)
		}
		all = append(all, k)
		return false
	})
	return all
}
