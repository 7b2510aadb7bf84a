package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// The way of a packet that a station of one network sends to elsewhere, in the
// order of the functions below:
//
//	passOn       what came to the gateway's MAC address, for another IP address
//	  forwardable  is it well-formed, and may any router forward it?
//	  source       does its sender belong to this network?
//	  way          which network is it for?
//	  leave        to the uplink: translate it, or not
//	comeIn       what came to the uplink's MAC address
//	  inward       translate it back
//	visit        into another network
//	  fit          is it short enough?
//	cross        TTL, and the next hop's MAC address: then it is queued there
//
// A packet is rewritten where it lies: it goes to one station only, so that no
// other port sees its bytes. door.go says how a worker queues in another network.

// RoutingConfig says where the packets of a network's stations may go beyond it.
// The zero value is nowhere.
type RoutingConfig struct {
	Uplink  *Uplink        // nil: no way out
	NAT     bool           // what leaves by the uplink is translated
	Zone    nat.ZoneConfig // how
	Sockets bool           // what would leave goes to the inbox Outside; there is no Uplink

	Routes []Route // to what is behind stations of this network
	Reach  []Reach // other networks, which are never translated

	// HostAddresses are those of this machine; what is for one of them goes to
	// the host port where ReachHost is set, and is refused elsewhere.
	HostAddresses []netip.Addr
	ReachHost     bool

	// Relay gives TCP and UDP to the gateway's ports from RelayFirst on to the
	// inbox Outside.
	Relay bool
}

// Route is a way to a part of the address space.
type Route struct {
	Destination netip.Prefix
	Via         netip.Addr // the next hop; zero: the destination itself, on the link
	Blocked     bool       // it is not to be reached this way
}

// Reach is another network with what belongs to it.
type Reach struct {
	Network  *Network
	Prefixes []netip.Prefix
}

// RelayFirst is the first of the gateway's ports that are for connections from
// sockets of this machine, up to 65535: Linux takes none of them by itself, so that
// the host at the same address does not either (ip_local_port_range).
const RelayFirst = 61000

// router is what a snapshot knows of the ways out of its network.
type router struct {
	ways *bart.Table[way]
	host map[netip.Addr]bool // this machine's addresses

	exit      int // the door to the uplink
	zone      nat.Zone
	nat       bool
	reachHost bool

	narrowest int // the longest frame that every network behind an uplink takes
}

// way is what becomes of packets for a part of the address space.
type way struct {
	kind wayKind
	door int        // with toNetwork
	via  netip.Addr // with here and out: the next hop; zero for the destination
}

type wayKind uint8

const (
	nowhere   wayKind = iota
	here              // a station of the network itself
	behind            // by a station of the network, via
	toNetwork         // another network
	toUplink          // by the uplink
	toSockets         // by sockets of this machine
	out               // of an uplink: into the world outside
)

// next returns the next hop to dst.
func (y way) next(dst netip.Addr) netip.Addr {
	if y.via.IsValid() {
		return y.via
	}
	return dst
}

// everywhere is the default route of IPv4.
var everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

// targets returns the networks that packets may go to from here, in the order of
// the doors. n.mu is held.
func (n *Network) targets() []*Network {
	targets := []*Network{n}
	add := func(other *Network) {
		if !slices.Contains(targets, other) {
			targets = append(targets, other)
		}
	}
	if u := n.routing.Uplink; u != nil {
		add(u.network)
	}
	for _, r := range n.routing.Reach {
		add(r.Network)
	}
	if n.uplink != nil {
		for _, u := range n.uplink.users {
			add(u.network)
		}
	}
	return targets
}

// routerView returns what workers need to know of the ways out. n.mu is held.
func (n *Network) routerView(targets []*Network) *router {
	r := &router{ways: new(bart.Table[way]), host: map[netip.Addr]bool{}, exit: -1, zone: n.zone}
	door := func(to *Network) int { return slices.Index(targets, to) }
	if n.uplink != nil {
		n.uplink.view(r, door)
		return r
	}
	c := &n.routing
	switch {
	case c.Sockets:
		r.ways.Insert(everywhere, way{kind: toSockets})
	case c.Uplink != nil:
		r.exit, r.nat = door(c.Uplink.network), c.NAT
		r.ways.Insert(everywhere, way{kind: toUplink})
	}
	for _, other := range c.Reach {
		for _, p := range other.Prefixes {
			r.ways.Insert(p.Masked(), way{kind: toNetwork, door: door(other.Network)})
		}
	}
	for _, route := range c.Routes {
		r.ways.Insert(route.Destination.Masked(), way{kind: behind, via: route.Via})
	}
	if a := n.cfg.Gateway.Address; a.IsValid() {
		r.ways.Insert(a.Masked(), way{kind: here})
	}
	for _, a := range c.HostAddresses {
		r.host[a] = true
	}
	r.reachHost = c.ReachHost
	return r
}

// passOn takes a packet to the gateway's MAC address that is for another host.
func (w *worker) passOn(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed) Verdict {
	r := s.router
	if v := forwardable(f, p); v.IsDrop() {
		return v
	}
	src, dst := source(p), destination(p)
	if y, _ := r.ways.Lookup(src); y.kind != here && y.kind != behind || src == s.gateway.own {
		return SourceAddress
	}
	if ttl(f, p) <= 1 {
		return w.refuse(s, f, p, timeExceeded, TTLExceeded)
	}
	y, _ := r.ways.Lookup(dst)
	switch y.kind {
	case behind:
		return w.cross(w.through(s, 0), f, p, y.via, Forwarded)
	case toNetwork:
		return w.visit(s, f, p, y.door, dst)
	case toUplink:
		return w.leave(s, in, f, p, dst)
	case toSockets:
		if r.host[dst] && !r.reachHost {
			return w.refuse(s, f, p, prohibited, Prohibited)
		}
		return w.punt(s.gateway.inboxes[Outside], nil, f, s.gateway.vlan)
	case here:
		return w.refuse(s, f, p, noHost, NoRoute)
	}
	return w.refuse(s, f, p, noNetwork, NoRoute)
}

// forwardable reports why no router may forward a packet: its header is damaged, it
// tells routers where to go, or it is not from one host to another (RFC 1812 clauses
// 5.2.2, 5.3.7 and, against source routes, RFC 7126 clause 4.3).
func forwardable(f *frame.Frame, p *frame.Parsed) Verdict {
	b := f.Bytes()
	if frame.Checksum(b[p.L3:p.L4], 0) != 0 || p.L4-p.L3 > ipv4Len && sourceRouted(b[p.L3+ipv4Len:p.L4]) {
		return BadPacket
	}
	if !isHost(b[p.L3+12]) || !isHost(b[p.L3+16]) {
		return BadPacket
	}
	return Forwarded
}

// isHost reports whether an IPv4 address with this first byte may be one host's that
// can be reached: neither of this network, of the host itself, nor of a group.
func isHost(first byte) bool { return first != 0 && first != 127 && first < 224 }

const ipv4Len = 20 // of a header without options

// sourceRouted looks for loose and strict source routes among IPv4 options, and takes
// what it cannot read for one.
func sourceRouted(options []byte) bool {
	const end, nop, loose, strict = 0, 1, 131, 137
	for len(options) > 0 && options[0] != end {
		switch {
		case options[0] == nop:
			options = options[1:]
			continue
		case options[0] == loose || options[0] == strict:
			return true
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options):
			return true
		}
		options = options[options[1]:]
	}
	return false
}

func source(p *frame.Parsed) netip.Addr      { return netip.AddrFrom16(p.Src()).Unmap() }
func destination(p *frame.Parsed) netip.Addr { return netip.AddrFrom16(p.Dst()).Unmap() }

func ttl(f *frame.Frame, p *frame.Parsed) byte { return f.Bytes()[p.L3+8] }

// visit takes a packet into another network of the switch.
func (w *worker) visit(s *snapshot, f *frame.Frame, p *frame.Parsed, door int, dst netip.Addr) Verdict {
	d := w.through(s, door)
	if d.s.gateway == nil {
		return w.refuse(s, f, p, noNetwork, NoRoute)
	}
	y, _ := d.s.router.ways.Lookup(dst)
	if y.kind != here && y.kind != behind || dst == d.s.gateway.own {
		return w.refuse(s, f, p, noHost, NoRoute)
	}
	return w.cross(d, f, p, y.next(dst), w.fit(s, d, f, p))
}

// leave takes a packet out by the uplink, in the uplink's name where it is
// translated. What is for the uplink itself may be for a station behind it.
func (w *worker) leave(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed, dst netip.Addr) Verdict {
	r := s.router
	d := w.through(s, r.exit)
	g := d.s.gateway
	switch {
	case g == nil:
		return w.refuse(s, f, p, noNetwork, NoRoute)
	case r.nat && g.table.Owns(p.Dst()) && g.table.Maps(f, p):
		return w.hairpin(s, d, f, p)
	case r.host[dst] || dst == g.own:
		return w.toHost(s, in, f, p, dst)
	}
	y, _ := d.s.router.ways.Lookup(dst)
	if y.kind == toNetwork && r.nat {
		return w.refuse(s, f, p, prohibited, Prohibited) // of the same uplink, but not in Reach
	}
	if y.kind != out {
		return w.refuse(s, f, p, noNetwork, NoRoute)
	}
	if v := w.fit(s, d, f, p); v.IsDrop() || !r.nat {
		return w.cross(d, f, p, y.next(dst), v)
	}
	res := g.table.Outbound(r.zone, f, p, d.now)
	v := w.cross(d, f, p, y.next(dst), natVerdicts[res.Verdict])
	for _, f := range res.Released {
		p.Parse(f)
		w.cross(d, f, p, y.next(dst), Forwarded)
	}
	return v
}

// toHost takes a packet for an address of this machine, by the host port if that is
// allowed: there the host finds it to be its own. It never goes by the wire, from
// where it would not come back. The address of an uplink that is weft's alone answers
// to echo, and to nothing else.
func (w *worker) toHost(s *snapshot, in *ingress, f *frame.Frame, p *frame.Parsed, dst netip.Addr) Verdict {
	switch ofHost := s.router.host[dst]; {
	case ofHost && s.router.reachHost && s.gateway.host != noPort:
		return w.policy(s, in, f, s.gateway.vlan, s.gateway.host)
	case !ofHost && isEcho(f, p):
		return w.answerEcho(s, f, p)
	}
	return w.refuse(s, f, p, prohibited, Prohibited)
}

// hairpin takes a packet to a station that is behind the same uplink, from the
// outside address of its sender (RFC 4787 REQ-9).
func (w *worker) hairpin(s *snapshot, d *door, f *frame.Frame, p *frame.Parsed) Verdict {
	t := d.s.gateway.table
	res := t.Outbound(s.router.zone, f, p, d.now)
	v := natVerdicts[res.Verdict]
	if v == Forwarded {
		v = w.inward(s, t, f, p, d.now)
	}
	for _, f := range res.Released {
		p.Parse(f)
		w.inward(s, t, f, p, d.now)
	}
	return v
}

// comeIn takes a packet that has come to the uplink's MAC address.
func (w *worker) comeIn(s *snapshot, f *frame.Frame, p *frame.Parsed) Verdict {
	g, dst := s.gateway, destination(p)
	if g.client && isForClient(p) {
		return w.punt(g.inboxes[Client], nil, f, g.vlan)
	}
	if v := forwardable(f, p); v.IsDrop() {
		return v
	}
	if g.table.Owns(p.Dst()) {
		if ttl(f, p) <= 1 && g.table.Maps(f, p) {
			return w.refuse(s, f, p, timeExceeded, TTLExceeded)
		}
		return w.inward(s, g.table, f, p, w.now)
	}
	y, _ := s.router.ways.Lookup(dst)
	switch {
	case y.kind != toNetwork:
		return NoRoute // the senders are not told: they may be anybody
	case ttl(f, p) <= 1:
		return w.refuse(s, f, p, timeExceeded, TTLExceeded)
	}
	return w.visit(s, f, p, y.door, dst)
}

// inward translates a packet to an outside address, and takes it into the network
// that it is for. What nobody behind the uplink waits for may be for the uplink.
func (w *worker) inward(s *snapshot, t *nat.Table, f *frame.Frame, p *frame.Parsed, now uint32) Verdict {
	if tooLong(f, s.router.narrowest) {
		w.quote(f, p) // as the sender knows it
	}
	res := t.Inbound(f, p, now)
	v := natVerdicts[res.Verdict]
	switch {
	case res.Verdict == nat.NotMine && s.gateway.uplink != nil && !s.gateway.shared && isEcho(f, p):
		return w.answerEcho(s, f, p)
	case v != Forwarded:
		w.quoted = w.quoted[:0]
		return v
	}
	i := slices.IndexFunc(s.in[w.port.index].doors, func(d *door) bool { return d.network.zone == res.Zone })
	if i < 0 {
		w.quoted = w.quoted[:0]
		return Prohibited // behind the same uplink, but not in Reach
	}
	v = w.visit(s, f, p, i, destination(p))
	w.quoted = w.quoted[:0]
	for _, f := range res.Released {
		p.Parse(f)
		w.visit(s, f, p, i, destination(p))
	}
	return v
}

// fit sees to it that a packet can be carried where a door leads to. One that is too
// long and must not be fragmented goes back as an error (RFC 1191 clause 4); a TCP
// connection is kept from sending such.
func (w *worker) fit(s *snapshot, d *door, f *frame.Frame, p *frame.Parsed) Verdict {
	longest := d.s.maxLen
	if longest != s.maxLen && p.Protocol == frame.ProtoTCP {
		const headers = frame.HeaderLen + ipv4Len + 20
		nat.ClampMSS(f, p, uint16(max(min(longest, s.maxLen)-headers, 0)))
	}
	if tooLong(f, longest) && f.Bytes()[p.L3+6]&dontFragment != 0 {
		return w.refuse(s, f, p, tooBig(longest-frame.HeaderLen), TooBig)
	}
	return Forwarded
}

const dontFragment = 0x40 // in the first byte of IPv4's flags

// cross queues a packet in the network behind a door, for the station that is the
// next hop. A verdict other than Forwarded, of what came before, is returned as it is.
func (w *worker) cross(d *door, f *frame.Frame, p *frame.Parsed, next netip.Addr, v Verdict) Verdict {
	if v != Forwarded {
		return v
	}
	b := f.Bytes()
	before := binary.BigEndian.Uint16(b[p.L3+8:])
	b[p.L3+8]--
	check := b[p.L3+10:]
	binary.BigEndian.PutUint16(check, frame.UpdateChecksum16(binary.BigEndian.Uint16(check), before, before-0x100))
	f.Tag = frame.Tag{}
	if tooLong(f, d.s.maxLen) {
		return d.inFragments(f, next)
	}
	return d.hand(f, next)
}

// hand gives a packet to a station.
func (d *door) hand(f *frame.Frame, next netip.Addr) Verdict {
	g := d.s.gateway
	mac, known := d.network.neighbors.lookup(next, d.now)
	if !known {
		v, ask := d.network.neighbors.await(next, f, d.now)
		if ask {
			d.route(d.s, &g.routes, g.arpRequest(question{addr: next}), g.vlan)
		}
		return v
	}
	f.SetAddresses(mac, g.mac)
	return d.route(d.s, &g.routes, f, g.vlan)
}

// inFragments hands a packet over in pieces (RFC 791 clause 3.2), each with memory of
// its own, which the few that need it may cost.
func (d *door) inFragments(f *frame.Frame, next netip.Addr) Verdict {
	var fr frame.Fragmenter
	if !fr.Start(f, d.s.maxLen-frame.HeaderLen) {
		return TooBig
	}
	v := TooBig
	for {
		piece := new(frame.Frame)
		if !fr.Next(piece, make([]byte, frame.Headroom+d.s.maxLen)) {
			return v
		}
		v = d.hand(piece, next)
	}
}

// natVerdicts says what the verdict of a translation is for the frame.
var natVerdicts = [...]Verdict{
	nat.Translated:  Forwarded,
	nat.Held:        Consumed,
	nat.NotMine:     NoService,
	nat.Filtered:    NATFiltered,
	nat.Invalid:     NATInvalid,
	nat.TableFull:   NATTableFull,
	nat.HostFull:    NATHostFull,
	nat.PortsFull:   NATPortsFull,
	nat.Unsupported: NATUnsupported,
	nat.Fragmented:  NATFragment,
}
