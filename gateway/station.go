package gateway

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
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

// minMTU6 is what every link of IPv6 carries, in bytes (RFC 8200 clause 5).
const minMTU6 = 1280

// tcpBuffers bounds what a connection may hold, in bytes; queries and answers
// have at most 64 KiB.
const tcpBuffers = 64 << 10

// backlog is how many connections may wait to be accepted.
const backlog = 64

func newStation(g *Gateway) (*station, error) {
	v4, v6 := g.own.families()
	if v6 && g.cfg.MTU < minMTU6 {
		return nil, fmt.Errorf("an MTU of %d is too small for IPv6: make it %d or more", g.cfg.MTU, minMTU6)
	}
	options := stack.Options{TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol}}
	if v4 {
		options.NetworkProtocols = append(options.NetworkProtocols, ipv4.NewProtocol, arp.NewProtocol)
		options.TransportProtocols = append(options.TransportProtocols, icmp.NewProtocol4)
	}
	if v6 {
		// The zero options: no duplicate address detection, no MLD, no solicitations and
		// nothing configured by advertisements. That is the dataplane's and the
		// configuration's.
		options.NetworkProtocols = append(options.NetworkProtocols, ipv6.NewProtocolWithOptions(ipv6.Options{}))
		options.TransportProtocols = append(options.TransportProtocols, icmp.NewProtocol6)
	}
	s := &station{
		stack:   stack.New(options),
		link:    &link{gateway: g, mtu: uint32(g.cfg.MTU)},
		origins: origins{all: map[netip.Addr]origin{}},
	}
	if err := s.configure(g.own); err != nil {
		s.stack.Destroy()
		return nil, errors.New(err.String())
	}
	return s, nil
}

func (s *station) configure(own addresses) tcpip.Error {
	if err := s.configureTCP(); err != nil {
		return err
	}
	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return err
	}
	routes := make([]tcpip.Route, len(own))
	for i, p := range own {
		address := tcpip.ProtocolAddress{
			Protocol:          protocolOf(p.Addr()),
			AddressWithPrefix: tcpip.AddressWithPrefix{Address: tcpip.AddrFromSlice(p.Addr().AsSlice()), PrefixLen: p.Bits()},
		}
		if err := s.stack.AddProtocolAddress(nic, address, stack.AddressProperties{}); err != nil {
			return err
		}
		routes[i] = tcpip.Route{Destination: address.AddressWithPrefix.Subnet(), NIC: nic}
	}
	s.stack.SetRouteTable(routes)
	return nil
}

func protocolOf(a netip.Addr) tcpip.NetworkProtocolNumber {
	if a.Is4() {
		return ipv4.ProtocolNumber
	}
	return ipv6.ProtocolNumber
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

// listen opens a TCP port at all addresses of a family.
func (s *station) listen(family tcpip.NetworkProtocolNumber, port uint16) (*listener, error) {
	l := &listener{queue: new(waiter.Queue), closed: make(chan struct{})}
	ep, err := s.stack.NewEndpoint(tcp.ProtocolNumber, family, l.queue)
	if err != nil {
		return nil, errors.New(err.String())
	}
	ep.SocketOptions().SetV6Only(family == ipv6.ProtocolNumber)
	if err := ep.Bind(tcpip.FullAddress{NIC: nic, Port: port}); err != nil {
		ep.Close()
		return nil, fmt.Errorf("bind to port %d: %s", port, err)
	}
	if err := ep.Listen(backlog); err != nil {
		ep.Close()
		return nil, fmt.Errorf("listen at port %d: %s", port, err)
	}
	l.end = ep
	return l, nil
}

// remember tells the stack where a neighbour is.
func (s *station) remember(addr netip.Addr, mac frame.MAC) {
	_ = s.stack.AddStaticNeighbor(nic, protocolOf(addr), tcpip.AddrFromSlice(addr.AsSlice()), tcpip.LinkAddress(mac[:]))
}

// forget makes it forget all neighbours. One of the families may not be there.
func (s *station) forget() {
	_ = s.stack.ClearNeighbors(nic, ipv4.ProtocolNumber)
	_ = s.stack.ClearNeighbors(nic, ipv6.ProtocolNumber)
}

func (s *station) close() {
	s.conversations.end()
	s.stack.Destroy()
}
