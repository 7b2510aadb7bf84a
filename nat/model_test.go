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

// The model is the table as one would write it without a thought for time: lists
// that are walked. It follows the rules of the package's documentation, and says
// of each packet what must become of it. Where the table may choose a port, the
// model checks that it is one that may be chosen, and takes it over.

type modelMapping struct {
	zone                    Zone
	protocol                uint8
	inside, outside         string
	shared, hidden, retired bool
	public                  bool // made for a publish
	flows                   int
}

type modelFlow struct {
	zone                    Zone
	protocol                uint8
	inside, outside, remote string
	inward                  bool
	expires                 uint32
	mapping                 *modelMapping
	answered                bool
}

// isOffered reports whether the flow began from outside and has not been answered. No
// TCP connection is ever made here.
func (f *modelFlow) isOffered() bool {
	return f.inward && (f.protocol == frame.ProtoTCP || !f.answered)
}

type modelHost struct {
	zone Zone
	addr string
}

type model struct {
	*lab
	addrs    []string
	zones    map[Zone]ZoneConfig
	taken    map[uint8]map[uint16]bool
	flows    []*modelFlow
	mappings []*modelMapping
	paired   map[modelHost]string
}

func addrOf(endpoint string) string { return netip.MustParseAddrPort(endpoint).Addr().String() }
func portOf(endpoint string) uint16 { return netip.MustParseAddrPort(endpoint).Port() }

// zoneAddrs returns the addresses that a zone uses.
func (m *model) zoneAddrs(z Zone) (all []string) {
	cfg := m.zones[z]
	if len(cfg.Addresses) == 0 {
		return m.addrs[:min(1, len(m.addrs))]
	}
	for _, a := range cfg.Addresses {
		if slices.Contains(m.addrs, a.String()) {
			all = append(all, a.String())
		}
	}
	return all
}

// publish is one publish at one address.
type modelPublish struct {
	zone    Zone
	outside string
	p       Publish
}

// publishes returns what is in force: a lower zone comes first where two meet.
func (m *model) publishes() (all []modelPublish) {
	for z := range Zone(3) {
		for _, a := range m.zoneAddrs(z) {
			for _, p := range m.zones[z].Publish {
				if !slices.ContainsFunc(all, func(q modelPublish) bool { return q.outside == a && overlap(p, q.p) }) {
					all = append(all, modelPublish{z, a, p})
				}
			}
		}
	}
	return all
}

func overlap(p, q Publish) bool {
	return p.Protocol == q.Protocol && p.First <= q.Last && q.First <= p.Last
}

// publishedAt returns who has an outside endpoint, and where it leads.
func (m *model) publishedAt(protocol uint8, outside string) (Zone, string, bool) {
	port := portOf(outside)
	for _, q := range m.publishes() {
		if q.p.Protocol == protocol && q.outside == addrOf(outside) && q.p.First <= port && port <= q.p.Last {
			return q.zone, guest(q.p.To.AddrPort().Addr().String(), int(q.p.To.Port+port-q.p.First)), true
		}
	}
	return 0, "", false
}

// publishedFrom returns the outside endpoints of an inside one at an address.
func (m *model) publishedFrom(z Zone, protocol uint8, inside, at string) (all []string) {
	for _, q := range m.publishes() {
		for port := int(q.p.First); port <= int(q.p.Last); port++ {
			outside := guest(q.outside, port)
			if _, to, _ := m.publishedAt(protocol, outside); q.zone == z && q.p.Protocol == protocol && q.outside == at && to == inside {
				all = append(all, outside)
			}
		}
	}
	return all
}

func (m *model) usable(x *modelMapping) bool {
	if !slices.Contains(m.zoneAddrs(x.zone), addrOf(x.outside)) {
		return false
	}
	if z, to, ok := m.publishedAt(x.protocol, x.outside); ok {
		return z == x.zone && !x.shared && to == x.inside
	}
	return !x.public && !m.taken[x.protocol][portOf(x.outside)]
}

// eligible reports whether a port may be chosen.
func (m *model) eligible(protocol uint8, outside string) bool {
	_, _, published := m.publishedAt(protocol, outside)
	return !published && !m.taken[protocol][portOf(outside)] &&
		!slices.ContainsFunc(m.mappings, func(x *modelMapping) bool { return x.protocol == protocol && x.outside == outside })
}

func (m *model) flowOut(z Zone, protocol uint8, inside, remote string) *modelFlow {
	for _, f := range m.flows {
		if f.zone == z && f.protocol == protocol && f.inside == inside && f.remote == remote {
			return f
		}
	}
	return nil
}

func (m *model) flowIn(protocol uint8, outside, remote string) *modelFlow {
	for _, f := range m.flows {
		if f.protocol == protocol && f.outside == outside && f.remote == remote {
			return f
		}
	}
	return nil
}

func (m *model) mappingAt(protocol uint8, outside string) *modelMapping {
	for _, x := range m.mappings {
		if !x.retired && x.protocol == protocol && x.outside == outside {
			return x
		}
	}
	return nil
}

func (m *model) mappingOf(z Zone, protocol uint8, inside string) *modelMapping {
	for _, x := range m.mappings {
		if !x.retired && !x.hidden && x.zone == z && x.protocol == protocol && x.inside == inside {
			return x
		}
	}
	return nil
}

func (m *model) timeout(protocol uint8) uint32 {
	switch protocol {
	case frame.ProtoTCP:
		return 240
	case frame.ProtoUDP:
		return 300
	case frame.ProtoICMP:
		return 60
	}
	return 600
}

// makeRoom lets a new flow take the place of one that was only offered: the oldest of
// its host, or, where the zone is full, one that the table has chosen.
func (m *model) makeRoom(z Zone, inside string) {
	m.t.Helper()
	if m.full(z, inside) == HostFull {
		i := slices.IndexFunc(m.flows, func(f *modelFlow) bool {
			return f.zone == z && addrOf(f.inside) == addrOf(inside) && f.isOffered()
		})
		if i >= 0 {
			oldest := m.flows[i]
			m.drop(func(f *modelFlow) bool { return f == oldest })
		}
	}
	if m.full(z, inside) != TableFull {
		return
	}
	there := map[string]bool{}
	for _, f := range m.lab.flows() {
		there[fmt.Sprint(f.Zone, f.Protocol, text(f.Inside), text(f.Remote))] = true
	}
	var gone []*modelFlow
	for _, f := range m.flows {
		if f.zone == z && f.isOffered() && !there[fmt.Sprint(f.zone, f.protocol, f.inside, f.remote)] {
			gone = append(gone, f)
		}
	}
	if len(gone) > 1 {
		m.t.Fatalf("%d flows have made room for one", len(gone))
	}
	m.drop(func(f *modelFlow) bool { return slices.Contains(gone, f) })
}

// full returns the limit that keeps a new flow out, or Translated.
func (m *model) full(z Zone, inside string) Verdict {
	cfg := m.zones[z]
	zone, host := 0, 0
	for _, f := range m.flows {
		if f.zone == z {
			zone++
			if addrOf(f.inside) == addrOf(inside) {
				host++
			}
		}
	}
	switch {
	case host >= cfg.MaxPerHost:
		return HostFull
	case zone >= cfg.MaxFlows:
		return TableFull
	}
	return Translated
}

// add makes a flow; mapping may be nil.
func (m *model) add(z Zone, protocol uint8, inside, outside, remote string, inward bool, x *modelMapping) {
	m.flows = append(m.flows, &modelFlow{z, protocol, inside, outside, remote, inward, m.now + m.timeout(protocol), x, false})
	if x != nil {
		x.flows++
	}
}

func (m *model) drop(gone func(*modelFlow) bool) {
	m.flows = slices.DeleteFunc(m.flows, func(f *modelFlow) bool {
		if !gone(f) {
			return false
		}
		if f.mapping != nil {
			f.mapping.flows--
		}
		return true
	})
	m.mappings = slices.DeleteFunc(m.mappings, func(x *modelMapping) bool { return x.flows == 0 })
	for h := range m.paired {
		if !slices.ContainsFunc(m.flows, func(f *modelFlow) bool { return f.zone == h.zone && addrOf(f.inside) == h.addr }) {
			delete(m.paired, h)
		}
	}
}

func (m *model) newMapping(x modelMapping) *modelMapping {
	m.mappings = append(m.mappings, &x)
	return &x
}

// mapTo returns the mapping of a published endpoint.
func (m *model) mapTo(z Zone, protocol uint8, inside, outside string) *modelMapping {
	if x := m.mappingAt(protocol, outside); x != nil {
		if x.zone == z && x.inside == inside {
			return x
		}
		x.retired = true
	}
	return m.newMapping(modelMapping{zone: z, protocol: protocol, inside: inside, outside: outside, public: true,
		hidden: m.mappingOf(z, protocol, inside) != nil})
}

// checkOut says of a packet from inside whether the verdict and the outside
// endpoint are right, and takes them over.
func (m *model) checkOut(z Zone, protocol uint8, inside, remote string, v Verdict, outside string) {
	m.t.Helper()
	want := func(w Verdict) bool {
		m.t.Helper()
		if v != w {
			m.t.Fatalf("out of %d, %s -> %s (%d): %v, want %v", z, inside, remote, protocol, v, w)
		}
		return v == Translated
	}
	cfg, there := m.zones[z]
	if !there {
		want(PortsFull)
		return
	}
	if f := m.flowOut(z, protocol, inside, remote); f != nil {
		if want(Translated) && outside != f.outside {
			m.t.Fatalf("the flow of %s has moved from %s to %s", inside, f.outside, outside)
		}
		f.expires = m.now + m.timeout(protocol)
		f.answered = true
		return
	}
	m.makeRoom(z, inside)
	if full := m.full(z, inside); full != Translated {
		want(full)
		return
	}
	if classOf(protocol) == ClassOther {
		m.checkOther(z, protocol, inside, remote, outside, want)
		return
	}
	if x := m.mappingOf(z, protocol, inside); x != nil && !cfg.Symmetric {
		if m.usable(x) && m.flowIn(protocol, x.outside, remote) == nil {
			if want(Translated) && outside != x.outside {
				m.t.Fatalf("%s has %s and %s", inside, x.outside, outside)
			}
			m.pair(z, inside, outside)
			m.add(z, protocol, inside, outside, remote, false, x)
			return
		}
		x.retired = true
	}
	m.checkChoice(z, protocol, inside, remote, v, outside, want)
}

// checkOther is checkOut of a protocol without ports.
func (m *model) checkOther(z Zone, protocol uint8, inside, remote, outside string, want func(Verdict) bool) {
	at := m.candidates(z, inside)
	var free []string
	for _, a := range at {
		if m.flowIn(protocol, guest(a, 0), remote) == nil {
			free = append(free, a)
		}
	}
	switch {
	case len(at) == 0:
		want(PortsFull)
	case len(free) == 0:
		want(Unsupported)
	case slices.Contains(free, addrOf(outside)):
		want(Translated)
		m.pair(z, inside, outside)
		m.add(z, protocol, inside, outside, remote, false, nil)
	case len(free) == len(at):
		m.t.Fatalf("%s left as %s", inside, outside)
	}
}

// pair has an inside host keep the address of its first flow.
func (m *model) pair(z Zone, inside, outside string) {
	h := modelHost{z, addrOf(inside)}
	if a, ok := m.paired[h]; !ok || !slices.Contains(m.zoneAddrs(z), a) {
		m.paired[h] = addrOf(outside)
	}
}

// candidates returns the outside addresses that an inside host may get.
func (m *model) candidates(z Zone, inside string) []string {
	at := m.zoneAddrs(z)
	if a, ok := m.paired[modelHost{z, addrOf(inside)}]; ok && slices.Contains(at, a) {
		return []string{a}
	}
	return at
}

// checkChoice is checkOut of a flow that needs a mapping.
func (m *model) checkChoice(z Zone, protocol uint8, inside, remote string, v Verdict, outside string, want func(Verdict) bool) {
	m.t.Helper()
	cfg := m.zones[z]
	possible := map[string]bool{} // outside endpoints, and whether they exclude others of their address
	for _, a := range m.candidates(z, inside) {
		for _, o := range m.publishedFrom(z, protocol, inside, a) {
			if m.flowIn(protocol, o, remote) == nil {
				possible[o] = true
			}
		}
		if slices.ContainsFunc(m.publishedFrom(z, protocol, inside, a), func(o string) bool { return possible[o] }) {
			continue
		}
		for port := int(cfg.First); port <= int(cfg.Last); port++ {
			if o := guest(a, port); m.eligible(protocol, o) || cfg.Symmetric && m.joinable(z, protocol, inside, o, remote, false) {
				possible[o] = uint16(port) == portOf(inside)
			}
		}
		some := slices.ContainsFunc(slices.Collect(maps.Keys(possible)), func(o string) bool { return addrOf(o) == a })
		for port := int(cfg.First); port <= int(cfg.Last) && cfg.Symmetric && !some; port++ {
			if o := guest(a, port); m.joinable(z, protocol, inside, o, remote, true) {
				possible[o] = false
			}
		}
	}
	if v == PortsFull && len(m.candidates(z, inside)) > 1 {
		return // one of the addresses may have had none
	}
	if len(possible) == 0 {
		want(PortsFull)
		return
	}
	if !want(Translated) {
		return
	}
	exclusive, ok := possible[outside]
	if !ok {
		m.t.Fatalf("%s towards %s left as %s; possible are %v", inside, remote, outside, possible)
	}
	for o, only := range possible {
		if only && addrOf(o) == addrOf(outside) && !exclusive {
			m.t.Fatalf("%s left as %s, though %s was possible", inside, outside, o)
		}
	}
	m.pair(z, inside, outside)
	m.add(z, protocol, inside, outside, remote, false, m.choose(z, protocol, inside, outside))
}

// choose returns the mapping that the table has chosen.
func (m *model) choose(z Zone, protocol uint8, inside, outside string) *modelMapping {
	if _, to, ok := m.publishedAt(protocol, outside); ok && to == inside {
		return m.mapTo(z, protocol, inside, outside)
	}
	if !m.zones[z].Symmetric {
		return m.newMapping(modelMapping{zone: z, protocol: protocol, inside: inside, outside: outside})
	}
	if x := m.mappingAt(protocol, outside); x != nil {
		return x
	}
	return m.newMapping(modelMapping{zone: z, protocol: protocol, outside: outside, shared: true, hidden: true})
}

// joinable reports whether a flow may share a port, which its inside endpoint may
// have towards another destination only where that is said.
func (m *model) joinable(z Zone, protocol uint8, inside, outside, remote string, again bool) bool {
	x := m.mappingAt(protocol, outside)
	if x == nil || !x.shared || x.zone != z || !m.usable(x) || m.flowIn(protocol, outside, remote) != nil {
		return false
	}
	return again || !slices.ContainsFunc(m.flows, func(f *modelFlow) bool { return f.mapping == x && f.inside == inside })
}

// wantIn returns what must become of a packet from outside, and takes it over.
func (m *model) wantInbound(protocol uint8, outside, remote string) (Verdict, string) {
	if f := m.flowIn(protocol, outside, remote); f != nil {
		f.expires = m.now + m.timeout(protocol)
		return Translated, f.inside
	}
	if classOf(protocol) == ClassOther {
		return NotMine, outside
	}
	z, inside, published := m.publishedAt(protocol, outside)
	x := m.mappingAt(protocol, outside)
	if !published {
		if x == nil || m.taken[protocol][portOf(outside)] {
			return NotMine, outside
		}
		if !m.admits(x, remote) {
			return Filtered, outside
		}
		if !m.usable(x) {
			x.retired = true
			return NotMine, outside
		}
		z, inside = x.zone, x.inside
	}
	m.makeRoom(z, inside)
	if full := m.full(z, inside); full != Translated {
		return full, outside
	}
	if !published && x.flows == 0 {
		return NotMine, outside // its last flow made room for this one
	}
	if m.flowOut(z, protocol, inside, remote) != nil {
		return PortsFull, outside
	}
	if published {
		x = m.mapTo(z, protocol, inside, outside)
	}
	m.add(z, protocol, inside, outside, remote, true, x)
	return Translated, inside
}

// admits is the filter.
func (m *model) admits(x *modelMapping, remote string) bool {
	cfg := m.zones[x.zone]
	if x.public || x.protocol == frame.ProtoICMP || x.shared || cfg.Symmetric || cfg.Filtering == ByEndpoint {
		return false
	}
	return cfg.Filtering == None || slices.ContainsFunc(m.flows, func(f *modelFlow) bool {
		return f.mapping == x && addrOf(f.remote) == addrOf(remote)
	})
}

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
				if x.zone == z && classOf(x.protocol) == c {
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
	f, p := back.frame()
	if r := m.tab.Inbound(f, p, m.now); r.Verdict != Translated || r.Zone != z {
		m.t.Fatalf("the answer to %s: %+v", src, r)
	}
	if w, _ := want.frame(); !bytes.Equal(f.Bytes(), w.Bytes()) {
		m.t.Fatalf("the answer came as\n%x, want\n%x", f.Bytes(), w.Bytes())
	}
}

func (m *model) sendIn(t *rapid.T) {
	protocol := rapid.SampledFrom(modelProtocols).Draw(t, "protocol")
	outside := guest(rapid.SampledFrom([]string{outsideA, outsideB}).Draw(t, "outside"), rapid.SampledFrom([]int{40000, 40001, 40002, 40003, 8080, 8081}).Draw(t, "port"))
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
	for range rapid.IntRange(0, 2).Draw(t, "publishes") {
		first := rapid.SampledFrom([]uint16{8080, 8081, 40001}).Draw(t, "published")
		cfg.Publish = append(cfg.Publish, Publish{Protocol: rapid.SampledFrom([]uint8{6, 17}).Draw(t, "of"), First: first,
			Last: first + rapid.Uint16Range(0, 1).Draw(t, "more"), To: endpointOf(rapid.SampledFrom(modelInsides).Draw(t, "to"))})
	}
	clash := len(cfg.Publish) == 2 && overlap(cfg.Publish[0], cfg.Publish[1])
	before, was := m.zones[z]
	others := m.publishes()
	m.zones[z] = cfg
	for _, p := range cfg.Publish {
		for _, q := range others {
			clash = clash || q.zone != z && overlap(p, q.p) && slices.Contains(m.zoneAddrs(z), q.outside)
		}
	}
	if err := m.tab.SetZone(z, cfg); (err != nil) != clash {
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
	m.tab.SetAddresses(addresses(m.addrs...))
	m.drop(func(f *modelFlow) bool { return !slices.Contains(m.addrs, addrOf(f.outside)) })
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
	inside := endpointOf(rapid.SampledFrom(modelInsides).Draw(t, "of"))
	before := len(m.flows)
	m.drop(func(f *modelFlow) bool { return addrOf(f.inside) == addrOf(text(inside)) })
	n := m.tab.Flush(func(f *Flow) bool { return f.Inside.Addr == inside.Addr })
	if n != before-len(m.flows) {
		m.t.Fatalf("flushed %d of %d", n, before-len(m.flows))
	}
}

// TestModel does random things to a table and to the model.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{lab: &lab{t: t, tab: New(Config{Addresses: addresses(outsideA, outsideB)}), now: 1},
			addrs: []string{outsideA, outsideB}, zones: map[Zone]ZoneConfig{},
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
	})
}
