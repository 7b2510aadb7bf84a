package sockets

import (
	"errors"
	"math/bits"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// guestStack is the other end of the guests' TCP connections. It has no address: every
// address is its own, to receive at and to send from. It sees nothing but TCP, and what
// ICMPv6 says about the length of its packets; of neighbours and routers it knows nothing.
type guestStack struct {
	stack     *stack.Stack
	link      *link
	forwarder atomic.Pointer[tcp.Forwarder]
	class     atomic.Int32 // of the buffers: see resize
}

const nic = 1 // the number of the stack's only interface

// What one connection may hold in memory, each way. Between a guest and its switch
// there is hardly any delay, so that these are no limit to its speed; the way outside
// is in the buffers of the kernel, which bounds them itself. With many connections each
// has less, so that all of them have a few times buffersInAll at the most, until each
// has no more than the least.
const (
	maxBuffer    = 1 << 20
	minBuffer    = 16 << 10
	firstBuffer  = 128 << 10 // before it has been seen what the connection needs
	buffersInAll = 128 << 20
)

func newGuestStack(s *Sockets) (*guestStack, error) {
	g := &guestStack{link: &link{seat: s.seat, mtu: uint32(s.mtu)}}
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := g.configure(); err != nil {
		g.stack.Destroy()
		return nil, errors.New(err.String())
	}
	g.class.Store(-1)
	g.resize(s, 0)
	g.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, s.answer)
	return g, nil
}

func (g *guestStack) configure() tcpip.Error {
	moderate, sack := tcpip.TCPModerateReceiveBufferOption(true), tcpip.TCPSACKEnabled(true)
	// What is on its way between a guest and its switch arrives soon.
	wait, linger := tcpip.TCPTimeWaitTimeoutOption(time.Second), tcpip.TCPLingerTimeoutOption(time.Minute)
	syn := tcpip.TCPSynRetriesOption(4)
	for _, o := range []tcpip.SettableTransportProtocolOption{&moderate, &sack, &wait, &linger, &syn} {
		if err := g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return err
		}
	}
	if err := g.stack.CreateNIC(nic, g.link); err != nil {
		return err
	}
	if err := g.stack.SetPromiscuousMode(nic, true); err != nil {
		return err
	}
	if err := g.stack.SetSpoofing(nic, true); err != nil {
		return err
	}
	g.stack.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	return nil
}

// resize sets what the buffers of connections may grow to, when there are so many.
func (g *guestStack) resize(s *Sockets, connections int) {
	class := int32(bits.Len(uint(connections / (buffersInAll / maxBuffer))))
	if g.class.Swap(class) == class {
		return
	}
	most := max(maxBuffer>>class, minBuffer)
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4 << 10, Default: min(firstBuffer, most), Max: most}
	send := tcpip.TCPSendBufferSizeRangeOption(receive)
	_ = g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &receive) // the range is in order
	_ = g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &send)
	// The forwarder has no limit of its own to meet: see table.admit.
	g.forwarder.Store(tcp.NewForwarder(g.stack, receive.Default, 2*maxConnecting, s.begin))
}

// close ends all connections, and what waits for guests.
func (g *guestStack) close(waiting *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		waiting.Wait()
		close(done)
	}()
	for {
		g.stack.Close() // of the connections that are registered by now
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func (g *guestStack) wait() { g.stack.Wait() }

// link is the stack's interface.
type link struct {
	seat       Seat
	dispatcher stack.NetworkDispatcher
	mtu        uint32
	out        sync.Pool // of *outgoing
}

// outgoing is memory for a frame that is sent.
type outgoing struct {
	mem    []byte
	frame  frame.Frame
	frames [1]*frame.Frame
}

var (
	_ stack.LinkEndpoint = (*link)(nil)
	_ stack.GSOEndpoint  = (*link)(nil)
)

// deliver gives the stack a copy of an IP packet.
func (l *link) deliver(packet []byte) {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
	defer p.DecRef()
	l.dispatcher.DeliverNetworkPacket(familyIn(packet).network(), p)
}

// WritePackets implements stack.LinkWriter.
func (l *link) WritePackets(list stack.PacketBufferList) (int, tcpip.Error) {
	o, _ := l.out.Get().(*outgoing)
	if o == nil {
		o = &outgoing{}
		o.frames[0] = &o.frame
	}
	defer l.out.Put(o)
	for _, p := range list.AsSlice() {
		o.fill(p)
		l.seat.Resolve(o.frames[:])
	}
	return list.Len(), nil
}

func (o *outgoing) fill(p *stack.PacketBuffer) {
	o.mem = append(o.mem[:0], make([]byte, frame.Headroom+frame.HeaderLen)...)
	for _, part := range p.AsSlices() {
		o.mem = append(o.mem, part...)
	}
	putEthernet(o.mem[frame.Headroom:], familyIn(o.mem[frame.Headroom+frame.HeaderLen:]))
	o.frame.Set(o.mem, frame.Headroom)
	if p.GSOOptions.NeedsCsum {
		o.frame.Offload = offload(&p.GSOOptions, p.Size(), p.Data().Size())
	}
}

// offload says of a packet what is still to be done. A partial checksum that another
// guest on this machine takes as it is saves us the sum; a super-frame, most of the work.
func offload(g *stack.GSO, size, payload int) frame.Offload {
	o := frame.Offload{
		Flags:     frame.NeedsChecksum,
		CsumStart: frame.HeaderLen + g.L3HdrLen, CsumOffset: g.CsumOffset,
	}
	if payload > int(g.MSS) {
		o.GSOType, o.GSOSize = frame.GSOTCPv4, g.MSS
		if g.Type == stack.GSOTCPv6 {
			o.GSOType = frame.GSOTCPv6
		}
		o.HdrLen = uint16(frame.HeaderLen + size - payload)
	}
	return o
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

// Capabilities implements stack.NetworkLinkEndpoint. Checksums of what comes in have
// been looked at, or are partial: see sound.
func (l *link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// GSOMaxSize implements stack.GSOEndpoint: of an IP packet.
func (l *link) GSOMaxSize() uint32 { return 0xffff }

// SupportedGSO implements stack.GSOEndpoint.
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// ARPHardwareType implements stack.NetworkLinkEndpoint.
func (l *link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// The rest of stack.NetworkLinkEndpoint is about what does not happen here. Headers of
// Ethernet are the seat's.

func (l *link) AddHeader(*stack.PacketBuffer)        {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool { return true }
func (l *link) MaxHeaderLength() uint16              { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress       { return "" }
func (l *link) SetMTU(uint32)                        {}
func (l *link) SetLinkAddress(tcpip.LinkAddress)     {}
func (l *link) SetOnCloseAction(func())              {}
func (l *link) Wait()                                {}
func (l *link) Close()                               {}

func address(a netip.Addr) tcpip.Address {
	if a.Is4() {
		return tcpip.AddrFrom4(a.As4())
	}
	return tcpip.AddrFrom16(a.As16())
}

func addrPort(a tcpip.Address, port uint16) netip.AddrPort {
	if a.Len() == v4.size {
		return netip.AddrPortFrom(netip.AddrFrom4(a.As4()), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.As16()), port)
}
