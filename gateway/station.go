package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// station is the network stack of the gateway.
type station struct {
	stack         *stack.Stack
	link          *link
	origins       origins
	conversations conversations
}

// nic is the number of the stack's only interface.
const nic = 1

// tcpBuffers bounds what a connection may hold, in bytes; queries and answers
// have at most 64 KiB.
const tcpBuffers = 64 << 10

// backlog is how many connections may wait to be accepted.
const backlog = 64

func newStation(g *Gateway) (*station, error) {
	s := &station{
		link:    &link{gateway: g, mtu: uint32(g.cfg.MTU)},
		origins: origins{all: map[netip.Addr]origin{}},
	}
	s.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	if err := s.configure(g.cfg); err != nil {
		s.stack.Destroy()
		return nil, errors.New(err.String())
	}
	return s, nil
}

func (s *station) configure(cfg Config) tcpip.Error {
	if err := s.configureTCP(); err != nil {
		return err
	}
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return err
	}
	address := tcpip.ProtocolAddress{
		Protocol: ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{
			Address: tcpip.AddrFrom4(cfg.Address.Addr().As4()), PrefixLen: cfg.Address.Bits(),
		},
	}
	if err := s.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
		return err
	}
	s.stack.SetRouteTable([]tcpip.Route{{Destination: address.AddressWithPrefix.Subnet(), NIC: nic}})
	return nil
}

// configureTCP bounds what a connection holds, and makes the stack give up soon on
// clients that do not answer: all are on one link.
func (s *station) configureTCP() tcpip.Error {
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: tcpBuffers, Max: tcpBuffers}
	send := tcpip.TCPSendBufferSizeRangeOption(receive)
	linger, wait := tcpip.TCPLingerTimeoutOption(3*time.Second), tcpip.TCPTimeWaitTimeoutOption(time.Second)
	retries, syn := tcpip.TCPMaxRetriesOption(4), tcpip.TCPSynRetriesOption(2)
	for _, o := range []tcpip.SettableTransportProtocolOption{&receive, &send, &linger, &wait, &retries, &syn} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	return nil
}

// listen opens a TCP port.
func (s *station) listen(addr netip.Addr, port uint16) (*listener, error) {
	l := &listener{queue: new(waiter.Queue), closed: make(chan struct{})}
	ep, err := s.stack.NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, l.queue)
	if err != nil {
		return nil, errors.New(err.String())
	}
	if err := ep.Bind(tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(addr.As4()), Port: port}); err != nil {
		ep.Close()
		return nil, fmt.Errorf("bind to %s, port %d: %s", addr, port, err)
	}
	if err := ep.Listen(backlog); err != nil {
		ep.Close()
		return nil, fmt.Errorf("listen at %s, port %d: %s", addr, port, err)
	}
	l.end = ep
	return l, nil
}

func (s *station) close() {
	s.conversations.end()
	s.stack.Destroy()
}

// know has the stack answer an address where its packets come from, and nowhere
// else: a packet with another's address would make the gateway send to that one
// what a port may not.
func (s *station) know(addr netip.Addr, mac frame.MAC, port string) {
	forgotten, changed := s.origins.note(addr, origin{mac, port})
	if forgotten {
		_ = s.stack.ClearNeighbors(nic, ipv4.ProtocolNumber)
	}
	if changed {
		_ = s.stack.AddStaticNeighbor(nic, ipv4.ProtocolNumber, tcpip.AddrFrom4(addr.As4()), tcpip.LinkAddress(mac[:]))
	}
}

// serveStation takes what is for the gateway as an IP host.
func (g *Gateway) serveStation() {
	defer g.loops.Done()
	inbox := g.seat.Inbox(dataplane.Station)
	for m := g.next(inbox); m != nil; m = g.next(inbox) {
		g.receive(&m.Frame, m.Port())
		inbox.Done(m)
	}
}

// receive takes a frame that has come in by a port.
func (g *Gateway) receive(f *frame.Frame, port string) {
	if f.EtherType() == frame.TypeARP {
		if addr, mac, ok := arpSender(f); ok {
			if s := g.dhcp.Load(); s != nil {
				s.Heard(addr, mac, port)
			}
		}
		g.stack.link.deliver(f)
		return
	}
	var p frame.Parsed
	p.Parse(f)
	if p.IPVersion != 4 || p.Layer < frame.LayerNetwork {
		return
	}
	if p.IsFragment() && p.Protocol == frame.ProtoTCP {
		// No sender on this link has a reason to send such. The stack reads memory that it
		// has given back already where the first fragment is shorter than the header of
		// TCP; the headers of UDP and ICMP are as short as a first fragment can be.
		return
	}
	b := f.Bytes()
	src := addr4(b[p.L3+12:])
	if addr4(b[p.L3+16:]) == g.cfg.Address.Addr() && intact(f, &p) && g.cfg.Address.Contains(src) && src != g.cfg.Address.Addr() {
		g.stack.know(src, f.Src(), port)
		g.stack.link.deliver(f)
	}
}

// link is the stack's interface. Frames come in by deliver and leave by the
// gateway's seat.
type link struct {
	gateway    *Gateway
	dispatcher stack.NetworkDispatcher
	mtu        uint32
}

var _ stack.LinkEndpoint = (*link)(nil)

// deliver gives the stack a copy of a frame.
func (l *link) deliver(f *frame.Frame) {
	b := f.Bytes()
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
	defer p.DecRef()
	if _, ok := p.LinkHeader().Consume(frame.HeaderLen); ok {
		l.dispatcher.DeliverNetworkPacket(tcpip.NetworkProtocolNumber(f.EtherType()), p)
	}
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	for _, p := range list.AsSlice() {
		b := make([]byte, frame.Headroom, frame.Headroom+p.Size())
		for _, part := range p.AsSlices() {
			b = append(b, part...)
		}
		l.gateway.send(framed(b))
	}
	return list.Len(), nil
}

// AddHeader implements stack.NetworkLinkEndpoint.
func (l *link) AddHeader(p *stack.PacketBuffer) {
	header.Ethernet(p.LinkHeader().Push(frame.HeaderLen)).Encode(&header.EthernetFields{
		SrcAddr: l.LinkAddress(), DstAddr: p.EgressRoute.RemoteLinkAddress, Type: p.NetworkProtocolNumber,
	})
}

// ParseHeader implements stack.NetworkLinkEndpoint.
func (l *link) ParseHeader(p *stack.PacketBuffer) bool {
	_, ok := p.LinkHeader().Consume(frame.HeaderLen)
	return ok
}

// Attach implements stack.NetworkLinkEndpoint.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d != nil {
		l.dispatcher = d // before any frame comes
	}
}

// IsAttached implements stack.NetworkLinkEndpoint.
func (l *link) IsAttached() bool { return l.dispatcher != nil }

// MTU implements stack.NetworkLinkEndpoint.
func (l *link) MTU() uint32 { return l.mtu }

// LinkAddress implements stack.NetworkLinkEndpoint.
func (l *link) LinkAddress() tcpip.LinkAddress { return tcpip.LinkAddress(l.gateway.cfg.MAC[:]) }

// Capabilities implements stack.NetworkLinkEndpoint. Checksums of what comes in
// have been looked at, or are partial: see intact.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityResolutionRequired
}

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// MaxHeaderLength implements stack.NetworkLinkEndpoint.
func (l *link) MaxHeaderLength() uint16 { return frame.HeaderLen }

// The rest of stack.NetworkLinkEndpoint is about what does not happen here.

func (l *link) SetMTU(uint32)                    {}
func (l *link) SetLinkAddress(tcpip.LinkAddress) {}
func (l *link) SetOnCloseAction(func())          {}
func (l *link) Wait()                            {}
func (l *link) Close()                           {}
