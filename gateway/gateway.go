// Package gateway is a network's own host: it answers ARP, ICMP and TCP at the
// gateway's addresses, of both families, and carries the datagrams of the DHCP servers
// (packages dhcp and dhcp6) and the resolver (package dns), and the advertisements of
// the router (package ra).
//
// What guests send arrives in the inboxes of a dataplane.Gateway, and leaves by
// it: no socket of this machine is bound. TCP and whatever else an IP host must
// do is gVisor's network stack; UDP is taken past it, as the services want many
// small datagrams of clients that the stack would have to resolve by ARP first.
// Neighbour discovery is the dataplane's; the stack hears nothing of it, and has
// each neighbour where its last packet came from.
//
// The trap: services answer from goroutines of their own, even after Close. Send
// of a closed Gateway does nothing.
package gateway

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
	"github.com/weft/weft/dns"
	"github.com/weft/weft/ra"
)

// Config is what a gateway is made of. Another one needs another Gateway. Compare it
// with reflect.DeepEqual.
type Config struct {
	MAC      frame.MAC
	Address  netip.Prefix   // with the subnet, IPv4; zero for none
	Address6 []netip.Prefix // with their subnets, IPv6: with any, the link-local one is there too
	MTU      int            // of the network, in bytes; at least 1280 for IPv6
}

// Gateway is the host behind one network's gateway addresses.
type Gateway struct {
	cfg   Config
	own   addresses
	seat  *dataplane.Gateway
	stack *station

	dhcp  atomic.Pointer[dhcp.Server]   // nil where there is none
	dhcp6 atomic.Pointer[dhcp6.Server]  // nil where there is none
	ra    atomic.Pointer[ra.Advertiser] // nil where there is none
	dns   atomic.Pointer[dns.Resolver]  // nil where there is none
	wake  chan struct{}                 // the DHCP server has been changed
	wake6 chan struct{}                 // the DHCPv6 server has been changed

	closed atomic.Bool
	stop   chan struct{}
	loops  sync.WaitGroup
	tcp    []*listener // for DNS, one a family; nil where the port is closed
}

// New starts the gateway of a network, without services, and announces it.
func New(seat *dataplane.Gateway, cfg Config) (*Gateway, error) {
	g := &Gateway{
		cfg: cfg, own: cfg.addresses(), seat: seat,
		wake: make(chan struct{}, 1), wake6: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	var err error
	if g.stack, err = newStation(g); err != nil {
		return nil, fmt.Errorf("gateway %s: %w", g.own, err)
	}
	for _, loop := range []func(){g.serveStation, g.serveDHCP, g.serveDHCP6, g.serveSolicit, g.serveDNS} {
		g.loops.Go(loop)
	}
	g.announce()
	return g, nil
}

// SetDHCP makes s the DHCP server, none where it is nil. The former one is the
// caller's to close.
func (g *Gateway) SetDHCP(s *dhcp.Server) {
	g.dhcp.Store(s)
	nudge(g.wake)
}

// SetDHCP6 makes s the DHCPv6 server, none where it is nil. The former one is the
// caller's to close.
func (g *Gateway) SetDHCP6(s *dhcp6.Server) {
	g.dhcp6.Store(s)
	nudge(g.wake6)
}

// SetRA makes a answer router solicitations, nobody where it is nil. The former one is
// the caller's to close: before the Gateway, as nobody hears its last word otherwise.
func (g *Gateway) SetRA(a *ra.Advertiser) { g.ra.Store(a) }

// SetDNS makes r the resolver, none where it is nil: then its port is closed.
// It must not be called by two goroutines at once, nor beside Close.
func (g *Gateway) SetDNS(r *dns.Resolver) error {
	g.dns.Store(r)
	return g.listenTCP(r != nil)
}

// Close ends the gateway. Its services may go on, unheard.
func (g *Gateway) Close() {
	g.closed.Store(true)
	close(g.stop)
	_ = g.listenTCP(false)
	g.stack.close()
	g.loops.Wait()
}

// send takes frames of the gateway's own into the network.
func (g *Gateway) send(frames ...*frame.Frame) {
	if !g.closed.Load() {
		g.seat.Send(frames)
	}
}

// next waits for a message of an inbox. It returns nil once the gateway closes.
func (g *Gateway) next(b *dataplane.Inbox) *dataplane.Message {
	select {
	case m := <-b.Messages():
		return m
	case <-g.stop:
		return nil
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
