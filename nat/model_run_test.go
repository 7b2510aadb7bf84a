package nat

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// compare compares the whole table with the model, and looks for what must never
// be, whatever the model says.
func (m *model) compare() {
	m.t.Helper()
	var got, want []string
	tuples, owners := map[string]bool{}, map[string]string{}
	for _, f := range m.lab.flows() {
		got = append(got, fmt.Sprint(f.Zone, f.Protocol, text(f.Inside), text(f.Outside), text(f.Remote), f.FromOutside, f.Expires))
		tuple := fmt.Sprint(f.Protocol, f.Outside, f.Remote)
		if tuples[tuple] {
			m.t.Fatalf("two flows share %s -> %s", text(f.Outside), text(f.Remote))
		}
		tuples[tuple] = true
	}
	for _, f := range m.flows {
		want = append(want, fmt.Sprint(f.zone, f.protocol, f.inside, f.outside, f.remote, f.inward, f.expires-m.now))
		if x := f.mapping; x != nil && !x.shared && !x.retired {
			at := fmt.Sprint(f.protocol, f.outside)
			if o, ok := owners[at]; ok && o != fmt.Sprint(f.zone, f.inside) {
				m.t.Fatalf("%s belongs to %s and %s", f.outside, o, f.inside)
			}
			owners[at] = fmt.Sprint(f.zone, f.inside)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		m.t.Fatalf("the table has\n%s\nand should have\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for z := range m.zones {
		for c := range NumClasses {
			k, flows, mappings := m.counters(z, c), 0, 0
			for _, f := range m.flows {
				if f.zone == z && classOf(f.protocol) == c {
					flows++
				}
			}
			for _, x := range m.mappings {
				if x.zone == z && classOf(x.protocol) == c && !x.direct {
					mappings++
				}
			}
			if k.Flows != flows || k.Mappings != mappings {
				m.t.Fatalf("zone %d %v: %+v, want %d flows and %d mappings", z, c, k, flows, mappings)
			}
		}
	}
}

var (
	modelProtocols = []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoUDP, frame.ProtoICMP, protoGRE}
	modelRemotes   = []string{remoteA + ":80", remoteA + ":81", remoteB + ":80"}
	modelInsides   = []string{guestA + ":40000", guestA + ":40001", guestB + ":40000", guestB + ":7", "10.1.0.3:40003"}
)

// packetOf makes a packet of a protocol, with the ports that it has.
func packetOf(protocol uint8, src, dst string) packet {
	p := packet{protocol: protocol, src: src, dst: dst, flags: tcpSYN, seq: 100, window: 1000, scale: -1, kind: icmpEcho, data: 3}
	if protocol == frame.ProtoTCP {
		p.data = 0
	}
	return p
}

// endsOf returns two endpoints with the ports that a protocol has, the asker's
// first.
func endsOf(protocol uint8, near, far string) (string, string) {
	switch classOf(protocol) {
	case ClassICMP:
		far = addrOf(far) + ":0"
	case ClassOther:
		near, far = addrOf(near)+":0", addrOf(far)+":0"
	}
	return near, far
}

// sendOut sends a packet out, and the answer to it back at once: its bytes must
// be those of the packet, turned round.
func (m *model) sendOut(t *rapid.T) {
	z := Zone(rapid.IntRange(0, 2).Draw(t, "zone"))
	protocol := rapid.SampledFrom(modelProtocols).Draw(t, "protocol")
	inside, remote := endsOf(protocol, rapid.SampledFrom(modelInsides).Draw(t, "inside"), rapid.SampledFrom(modelRemotes).Draw(t, "remote"))
	v, src := m.outOf(z, packetOf(protocol, inside, remote))
	m.checkOut(z, protocol, inside, remote, v, src)
	if v != Translated {
		return
	}
	back, want := packetOf(protocol, remote, src), packetOf(protocol, remote, inside)
	back.kind, want.kind = icmpEchoReply, icmpEchoReply
	if protocol == frame.ProtoTCP {
		back.flags, back.ack, want.flags, want.ack = tcpACK, 7, tcpACK, 7 // passes, and changes nothing
	}
	f, p := m.frame(back)
	if r := m.tab.Inbound(f, p, m.now); r.Verdict != Translated || r.Zone != z {
		m.t.Fatalf("the answer to %s: %+v", src, r)
	}
	if w, _ := m.frame(want); !bytes.Equal(f.Bytes(), w.Bytes()) {
		m.t.Fatalf("the answer came as\n%x, want\n%x", f.Bytes(), w.Bytes())
	}
}

func (m *model) sendIn(t *rapid.T) {
	protocol := rapid.SampledFrom(modelProtocols).Draw(t, "protocol")
	outside := guest(rapid.SampledFrom([]string{outsideA, outsideB, guestA, guestB}).Draw(t, "outside"), rapid.SampledFrom([]int{40000, 40001, 40002, 40003, 8080, 8081}).Draw(t, "port"))
	if len(m.flows) > 0 && rapid.Bool().Draw(t, "known") {
		f := rapid.SampledFrom(m.flows).Draw(t, "flow")
		protocol, outside = f.protocol, f.outside
	}
	outside, remote := endsOf(protocol, outside, rapid.SampledFrom(modelRemotes).Draw(t, "remote"))
	p := packetOf(protocol, remote, outside)
	p.kind = icmpEchoReply
	if f := m.flowIn(protocol, outside, remote); f != nil && protocol == frame.ProtoTCP && !f.inward {
		return // the second SYN would open it
	}
	v, dst := m.in(p)
	want, to := m.wantInbound(protocol, outside, remote)
	if v != want || dst != to {
		m.t.Fatalf("in %s -> %s (%d): %v to %s, want %v to %s", remote, outside, protocol, v, dst, want, to)
	}
}

// configure draws a configuration, and expects an error where publishes meet.
func (m *model) configure(t *rapid.T) {
	z := Zone(rapid.IntRange(0, 1).Draw(t, "zone"))
	cfg := ZoneConfig{First: 40000, Last: uint16(40000 + rapid.IntRange(0, 7).Draw(t, "ports")),
		Addresses: rapid.SampledFrom([][]netip.Addr{nil, addresses(outsideA), addresses(outsideB), addresses(outsideA, outsideB)}).Draw(t, "addresses"),
		Symmetric: rapid.IntRange(0, 3).Draw(t, "symmetric") == 0,
		Filtering: rapid.SampledFrom([]Filtering{ByAddress, ByEndpoint, None}).Draw(t, "filtering"),
		MaxFlows:  rapid.IntRange(1, 14).Draw(t, "flows"), MaxPerHost: rapid.IntRange(1, 7).Draw(t, "per host")}
	if z == 0 && rapid.IntRange(0, 2).Draw(t, "prefix") == 0 { // two zones cannot have one
		cfg.Prefixes, cfg.Open = []PrefixMap{modelPrefix}, rapid.Bool().Draw(t, "open")
	}
	for range rapid.IntRange(0, 2).Draw(t, "publishes") {
		first := rapid.SampledFrom([]uint16{8080, 8081, 40001}).Draw(t, "published")
		cfg.Publish = append(cfg.Publish, Publish{Protocol: rapid.SampledFrom([]uint8{6, 17}).Draw(t, "of"), First: first,
			Last: first + rapid.Uint16Range(0, 1).Draw(t, "more"), To: endpointOf(rapid.SampledFrom(modelInsides).Draw(t, "to"))})
	}
	clash := len(cfg.Publish) == 2 && overlap(cfg.Publish[0], cfg.Publish[1]) &&
		(cfg.Prefixes == nil || cfg.Publish[0].To.Addr == cfg.Publish[1].To.Addr)
	before, was := m.zones[z]
	others := m.publishes()
	m.zones[z] = cfg
	for _, p := range cfg.Publish {
		for _, q := range others {
			clash = clash || q.zone != z && overlap(p, q.p) && cfg.Prefixes == nil && slices.Contains(m.zoneAddrs(z), q.outside)
		}
	}
	if err := m.tab.SetZone(z, m.config(cfg)); (err != nil) != clash {
		m.t.Fatalf("SetZone: %v, want an error %v", err, clash)
	}
	if clash {
		if m.zones[z] = before; !was {
			delete(m.zones, z)
		}
	}
}

func (m *model) setAddresses(t *rapid.T) {
	m.addrs = rapid.SampledFrom([][]string{{outsideA}, {outsideB}, {outsideA, outsideB}, {outsideB, outsideA}, nil}).Draw(t, "addresses")
	m.tab.SetAddresses(m.addresses(m.addrs...))
	m.drop(func(f *modelFlow) bool { return !f.direct && !slices.Contains(m.addrs, addrOf(f.outside)) })
	maps.DeleteFunc(m.paired, func(_ modelHost, a string) bool { return !slices.Contains(m.addrs, a) })
}

func (m *model) setTaken(t *rapid.T) {
	protocol := rapid.SampledFrom([]uint8{6, 17}).Draw(t, "protocol")
	m.taken[protocol] = map[uint16]bool{}
	set := new(PortSet)
	for _, p := range rapid.SliceOfN(rapid.Uint16Range(40000, 40005), 0, 3).Draw(t, "taken") {
		m.taken[protocol][p] = true
		set.Add(p)
	}
	m.tab.SetTaken(protocol, set)
}

func (m *model) flush(t *rapid.T) {
	inside := m.endpoint(rapid.SampledFrom(modelInsides).Draw(t, "of"))
	before := len(m.flows)
	m.drop(func(f *modelFlow) bool { return addrOf(f.inside) == addrOf(text(inside)) })
	n := m.tab.Flush(func(f *Flow) bool { return f.Inside.Addr == inside.Addr })
	if n != before-len(m.flows) {
		m.t.Fatalf("flushed %d of %d", n, before-len(m.flows))
	}
}

// TestModel does random things to a table and to the model.
func TestModel(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T) { rapid.Check(t, modelled) })
}

func modelled(t *rapid.T) {
	l := &lab{t: t, now: 1, six: isSix(t)}
	l.tab = New(Config{Addresses: l.addresses(outsideA, outsideB)})
	m := &model{lab: l, addrs: []string{outsideA, outsideB}, zones: map[Zone]ZoneConfig{},
		taken: map[uint8]map[uint16]bool{}, paired: map[modelHost]string{}}
	m.configure(t)
	t.Repeat(map[string]func(*rapid.T){
		"out": m.sendOut, "out again": m.sendOut, "out once more": m.sendOut, "in": m.sendIn, "in again": m.sendIn,
		"wait": func(t *rapid.T) {
			m.wait(rapid.SampledFrom([]int{1, 30, 61, 150, 301}).Draw(t, "seconds"))
			m.drop(func(f *modelFlow) bool { return m.now > f.expires })
		},
		"configure": m.configure, "taken": m.setTaken, "addresses": m.setAddresses, "flush": m.flush,
		"remove zone": func(t *rapid.T) {
			z := Zone(rapid.IntRange(0, 1).Draw(t, "zone"))
			m.tab.RemoveZone(z)
			delete(m.zones, z)
			m.drop(func(f *modelFlow) bool { return f.zone == z })
		},
		"": func(*rapid.T) { m.compare() },
	})
}
