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
	if p.IPVersion != 4 || p.Layer < frame.LayerNetwork {
		s.counters.bad.Add(1)
		return
	}
	if p.IsFragment() {
		if f = s.reassembly.add(f, &p, s.now.Load()); f == nil {
			return
		}
		p.Parse(f)
	}
	if !sound(f, &p) || !isHost(source(&p)) || source(&p) == s.gateway.Addr() || !isHost(destination(&p)) {
		s.counters.bad.Add(1)
		return
	}
	switch p.Protocol {
	case frame.ProtoTCP:
		s.receiveTCP(f, &p)
	case frame.ProtoUDP:
		s.receiveUDP(f, &p)
	case frame.ProtoICMP:
		s.receiveICMP(f, &p)
	default:
		s.tell(f.Bytes()[p.L3:p.End], noProtocol)
	}
}

func (s *Sockets) receiveTCP(f *frame.Frame, p *frame.Parsed) {
	ip := f.Bytes()[p.L3:p.End]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip))) // which a super-frame may have left to us
	s.stack.link.deliver(ip)
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
	d, ok := s.datagramOf(f, p)
	if ok && echoRequest(&d, f.Bytes()[p.L4:p.End]) {
		s.outgoing(&d)
	}
}

// datagramOf makes a datagram but for what its protocol has. It returns false for one
// that may go no further.
func (s *Sockets) datagramOf(f *frame.Frame, p *frame.Parsed) (d datagram, ok bool) {
	ip := f.Bytes()[p.L3:p.End]
	d.protocol, d.quotable, d.from = p.Protocol, ip, s.from
	d.guest, d.remote = netip.AddrPortFrom(source(p), 0), netip.AddrPortFrom(destination(p), 0)
	d.whole = ip[6]&0x40 != 0
	if ip[8] <= 1 {
		if p.Protocol != frame.ProtoICMP || ip[p.L4-p.L3] == icmpEcho {
			s.tell(ip, tooOld)
		}
		return d, false
	}
	d.ttl = ip[8] - 1
	return d, true
}

func source(p *frame.Parsed) netip.Addr      { return netip.AddrFrom16(p.Src()).Unmap() }
func destination(p *frame.Parsed) netip.Addr { return netip.AddrFrom16(p.Dst()).Unmap() }

// isHost reports whether an IPv4 address may be one host's that can be reached from
// another: neither of this network, of the host itself, nor of a group or reserved.
func isHost(a netip.Addr) bool {
	b := a.As4()
	return b[0] != 0 && b[0] != 127 && b[0] < 224
}

// mayReach reports whether guests may go to an address. Published ports are there for
// guests too.
func (s *Sockets) mayReach(protocol uint8, to netip.AddrPort) bool {
	cfg := s.cfg.Load()
	if !isHost(to.Addr()) || s.gateway.Contains(to.Addr()) {
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
			(at == to.Addr() || at.IsUnspecified() && c.Local != nil && c.Local(to.Addr())) {
			return true
		}
	}
	return false
}

// isLocal reports whether a client that has come to the address via is on this machine,
// or may not be shown to a guest for another reason: its answers would not come here.
func (s *Sockets) isLocal(client, via netip.Addr) bool {
	cfg := s.cfg.Load()
	return !isHost(client) || client == via || s.gateway.Contains(client) || cfg.Local != nil && cfg.Local(client)
}
