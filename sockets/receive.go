package sockets

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// serve takes what guests send to elsewhere.
func (s *Sockets) serve(inbox *dataplane.Inbox) {
	defer s.loops.Done()
	for {
		select {
		case <-s.stop:
			return
		case m := <-inbox.Messages():
			s.receive(&m.Frame, m.Port())
			inbox.Done(m)
		}
	}
}

// receive takes one frame, which it may change, of a port of the switch. It is for one
// goroutine at a time.
func (s *Sockets) receive(f *frame.Frame, port string) {
	s.from = port
	var p frame.Parsed
	p.Parse(f)
	if p.Layer < frame.LayerNetwork {
		s.counters.bad.Add(1)
		return
	}
	s.joined = p.IsFragment()
	if s.joined {
		if f = s.reassembly.add(f, &p, port, s.now.Load()); f == nil {
			return
		}
		p.Parse(f)
	}
	if !sound(f, &p) || isExtension(&p) || !s.isForUs(&p) {
		s.counters.bad.Add(1)
		return
	}
	if e, ok := passable(f.Bytes()[p.L3:p.End], &p); !ok {
		s.counters.bad.Add(1)
		s.tell(f.Bytes()[p.L3:p.End], e)
		return
	}
	switch p.Protocol {
	case frame.ProtoTCP:
		s.receiveTCP(f, &p)
	case frame.ProtoUDP:
		s.receiveUDP(f, &p)
	case familyIn(f.Bytes()[p.L3:]).icmp:
		s.receiveICMP(f, &p)
	case extensionNone: // of IPv6: the packet is complete without anything
	default:
		ip := f.Bytes()[p.L3:p.End]
		s.tell(ip, notCarried(ip, &p))
	}
}

// isForUs reports whether a packet is from a guest, of a family that the network has, and
// to where guests' packets may be.
func (s *Sockets) isForUs(p *frame.Parsed) bool {
	src, dst := source(p), destination(p)
	if s.gateway.is(src) || !s.gateway.facing(src).IsValid() {
		return false
	}
	return isHost(src) && isHost(dst) || s.gateway.is(dst) && src.IsLinkLocalUnicast()
}

func (s *Sockets) receiveTCP(f *frame.Frame, p *frame.Parsed) {
	s.stack.link.deliver(bare(f.Bytes()[p.L3:p.End], p))
}

func (s *Sockets) receiveUDP(f *frame.Frame, p *frame.Parsed) {
	if !f.Offload.IsSuper() {
		s.sendUDP(f, p)
		return
	}
	var cut frame.Segmenter
	if !cut.Start(f) {
		s.counters.bad.Add(1)
		return
	}
	mem := make([]byte, frame.Headroom+f.SegmentLen())
	for part := new(frame.Frame); cut.Next(part, mem); {
		p.Parse(part)
		s.sendUDP(part, p)
	}
}

func (s *Sockets) sendUDP(f *frame.Frame, p *frame.Parsed) {
	d, ok := s.datagramOf(f, p)
	if !ok {
		return
	}
	b := f.Bytes()
	d.guest = netip.AddrPortFrom(d.guest.Addr(), p.SrcPort)
	d.remote = netip.AddrPortFrom(d.remote.Addr(), p.DstPort)
	d.payload = b[p.Payload : p.L4+int(binary.BigEndian.Uint16(b[p.L4+4:]))]
	s.outgoing(&d)
}

func (s *Sockets) receiveICMP(f *frame.Frame, p *frame.Parsed) {
	f.CompleteChecksum() // as it is sent on with it
	if s.isTooBig(f, p) {
		s.stack.link.deliver(bare(f.Bytes()[p.L3:p.End], p))
		return
	}
	d, ok := s.datagramOf(f, p)
	if ok && echoRequest(&d, f.Bytes()[p.L4:p.End]) {
		s.outgoing(&d)
	}
}

// isTooBig reports whether a message says that a segment of the guests' stack has been
// too long for a link behind a guest: nobody else can make them shorter, as routers of
// IPv6 cut none. What the stack would take for less than any link has is no such thing.
func (s *Sockets) isTooBig(f *frame.Frame, p *frame.Parsed) bool {
	icmp := f.Bytes()[p.L4:p.End]
	if p.Protocol != frame.ProtoICMPv6 || p.Layer < frame.LayerTransport || len(icmp) < icmpLen+v6.header+udpLen {
		return false
	}
	quoted := icmp[icmpLen:]
	return kindCode{icmp[0], icmp[1]} == tooBig.as[v6.index] && familyIn(quoted) == v6 && quoted[6] == frame.ProtoTCP &&
		binary.BigEndian.Uint32(icmp[4:]) >= uint32(v6.leastMTU)
}

// datagramOf makes a datagram but for what its protocol has. It returns false for one
// that may go no further.
func (s *Sockets) datagramOf(f *frame.Frame, p *frame.Parsed) (d datagram, ok bool) {
	ip := f.Bytes()[p.L3:p.End]
	fam := familyIn(ip)
	d.protocol, d.quotable, d.from = p.Protocol, ip, s.from
	d.guest, d.remote = netip.AddrPortFrom(source(p), 0), netip.AddrPortFrom(destination(p), 0)
	d.whole = fam == v6 && !s.joined || fam == v4 && ip[6]&0x40 != 0
	if ip[fam.hops] <= 1 {
		if !isEcho(p.Protocol) || ip[p.L4-p.L3] == fam.echo {
			s.tell(ip, tooOld)
		}
		return d, false
	}
	d.hops = ip[fam.hops] - 1
	return d, true
}

// source returns who a packet is from. One that IPv6 claims to be mapped stays as it is.
func source(p *frame.Parsed) netip.Addr { return addressOf(p, p.Src()) }

// destination returns who a packet is for.
func destination(p *frame.Parsed) netip.Addr { return addressOf(p, p.Dst()) }

func addressOf(p *frame.Parsed, a [16]byte) netip.Addr {
	if p.IPVersion == 4 {
		return netip.AddrFrom16(a).Unmap()
	}
	return netip.AddrFrom16(a)
}

// mayReach reports whether guests may go to an address. Published ports are there for
// guests too.
func (s *Sockets) mayReach(protocol uint8, to netip.AddrPort) bool {
	cfg := s.cfg.Load()
	if !isHost(to.Addr()) || s.gateway.contains(to.Addr()) {
		return false
	}
	return cfg.Allowed == nil || cfg.Allowed(to.Addr()) || cfg.publishes(protocol, to)
}

// publishes reports whether a port of this machine is published.
func (c *Config) publishes(protocol uint8, to netip.AddrPort) bool {
	for i := range c.Publish {
		p := &c.Publish[i]
		at, count := p.Listen.Addr(), orElse(p.Count, 1)
		if p.Protocol == protocol && int(to.Port())-int(p.Listen.Port()) < count && to.Port() >= p.Listen.Port() &&
			(at == to.Addr() || at == familyOf(to.Addr()).anywhere && c.Local != nil && c.Local(to.Addr())) {
			return true
		}
	}
	return false
}

// maySee reports whether a guest may see a client as it is, which has come to the address
// via: not one that is on this machine or on a link of it alone, or whose answers would
// not come here for another reason, or that is of the other family.
func (s *Sockets) maySee(guest, client, via netip.Addr) bool {
	cfg := s.cfg.Load()
	return isHost(client) && familyOf(client) == familyOf(guest) && client != via && !s.gateway.contains(client) &&
		(cfg.Local == nil || !cfg.Local(client))
}
