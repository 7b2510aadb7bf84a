package nat

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
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
	direct                  bool // of a prefix
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
	direct                  bool
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
		for _, p := range m.zones[z].Publish {
			at := m.zoneAddrs(z)
			if m.direct(z) {
				at = []string{p.To.AddrPort().Addr().String()}
			}
			for _, a := range at {
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
	if m.direct(x.zone) != x.direct && !x.shared {
		return false
	}
	if x.direct {
		z, to, ok := m.publishedAt(x.protocol, x.outside)
		return ok && z == x.zone && to == x.inside || !ok && !x.public
	}
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
	m.flows = append(m.flows, &modelFlow{z, protocol, inside, outside, remote, inward, m.now + m.timeout(protocol), x, false, m.direct(z) && (x == nil || x.direct)})
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
	return m.newMapping(modelMapping{zone: z, protocol: protocol, inside: inside, outside: outside, public: true, direct: m.direct(z),
		hidden: m.mappingOf(z, protocol, inside) != nil})
}

// wantIn returns what must become of a packet from outside, and takes it over.
func (m *model) wantInbound(protocol uint8, outside, remote string) (Verdict, string) {
	if f := m.flowIn(protocol, outside, remote); f != nil {
		f.expires = m.now + m.timeout(protocol)
		return Translated, f.inside
	}
	z, inside, published := m.publishedAt(protocol, outside)
	x := m.mappingAt(protocol, outside)
	at, covered := m.covering(outside)
	open := !published && covered && m.zones[at].Open && protocol != frame.ProtoICMP
	switch {
	case published:
	case open:
		z, inside = at, outside
	case classOf(protocol) == ClassOther, x == nil, !x.direct && m.taken[protocol][portOf(outside)]:
		return m.unclaimed(NotMine, covered), outside
	case !m.admits(x, remote):
		return Filtered, outside
	case !m.usable(x):
		x.retired = true
		return m.unclaimed(NotMine, covered), outside
	default:
		z, inside = x.zone, x.inside
	}
	m.makeRoom(z, inside)
	if full := m.full(z, inside); full != Translated {
		return full, outside
	}
	if !published && !open && x.flows == 0 {
		return m.unclaimed(NotMine, covered), outside // its last flow made room for this one
	}
	if m.flowOut(z, protocol, inside, remote) != nil {
		return PortsFull, outside
	}
	switch {
	case published:
		x = m.mapTo(z, protocol, inside, outside)
	case open:
		x = m.mapDirect(z, protocol, inside, outside)
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
