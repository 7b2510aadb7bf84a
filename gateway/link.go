package gateway

import (
	"github.com/weft/weft/dataplane/frame"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

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
