package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/sockets"
)

// relay starts, changes or ends the sockets of a network: by which its guests leave,
// or reach this machine, or others come in. c is nil for a network that goes away.
func (d *Daemon) relay(n *dataplane.Network, c *config.Network, routing *dataplane.RoutingConfig) error {
	r := d.relayOf(n.Name())
	publish := published(c, routing.Sockets)
	if c == nil {
		delete(d.relayed, n.Name())
	}
	switch needed := routing.Relay != nil && c != nil && hasGateway(c); {
	case !needed && r != nil:
		d.setRelay(n.Name(), nil)
		r.Close()
		return nil
	case !needed:
		return nil
	}
	cfg := d.relayConfig(c, publish)
	cfg.Relay = routing.Relay
	if was := d.seats[n.Name()]; r != nil && was.sameAs(seatOf(&cfg)) {
		return r.Reconfigure(cfg)
	}
	if r != nil {
		d.setRelay(n.Name(), nil)
		r.Close()
	}
	r, err := sockets.New(n.Gateway(), cfg, d.log.With("network", n.Name()))
	if err != nil {
		return err
	}
	d.setRelay(n.Name(), r)
	d.seats[n.Name()] = seatOf(&cfg)
	return nil
}

// relayPorts returns what a network's sockets tell the dataplane of the gateway's ports
// that they use.
func (d *Daemon) relayPorts(network string) *dataplane.RelayPorts {
	p := d.relayed[network]
	if p == nil {
		p = new(dataplane.RelayPorts)
		d.relayed[network] = p
	}
	return p
}

// seat is what the sockets of a network cannot change while they are open.
type seat struct {
	gateway netip.Prefix
	six     []netip.Prefix
	mac     frame.MAC
	mtu     int
}

func seatOf(c *sockets.Config) seat { return seat{c.Address, c.Address6, c.MAC, c.MTU} }

func (s seat) sameAs(o seat) bool {
	return s.gateway == o.gateway && slices.Equal(s.six, o.six) && s.mac == o.mac && s.mtu == o.mtu
}

func (d *Daemon) relayOf(network string) *sockets.Sockets {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.relays[network]
}

func (d *Daemon) setRelay(network string, r *sockets.Sockets) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r == nil {
		delete(d.relays, network)
	} else {
		d.relays[network] = r
	}
}

// published returns the ports that are sockets of this machine: all of them where
// guests leave by such, else those with an address.
func published(c *config.Network, leaves bool) []sockets.Publish {
	if c == nil || !c.Forwards() {
		return nil
	}
	var list []sockets.Publish
	for _, p := range c.NAT.Publish {
		if !leaves && !p.Listen.Addr.IsValid() {
			continue
		}
		s := sockets.Publish{
			Protocol: protocols[p.Protocol], Listen: netip.AddrPortFrom(p.Listen.Addr, uint16(p.Listen.First)),
			Count: p.Listen.Last - p.Listen.First + 1, To: p.To, KeepSource: !p.Listen.Addr.IsValid(),
		}
		if s.KeepSource {
			s.Listen = netip.AddrPortFrom(everywhere(p.To.Addr()).Addr(), uint16(p.Listen.First))
		}
		list = append(list, s)
	}
	return list
}

// checkListeners finds published ports that cannot be listened at, where there is no
// socket yet.
func (d *Daemon) checkListeners(next *config.Config) []error {
	var errs []error
	for _, n := range next.Networks {
		old := d.running.Network(n.Name)
		for _, p := range n.NAT.Publish {
			if !p.Listen.Addr.IsValid() || old != nil && old.PublishOf(p.Protocol, p.Listen) >= 0 {
				continue
			}
			for port := p.Listen.First; port <= p.Listen.Last; port++ {
				err := tryHold(heldPort{protocols[p.Protocol], uint16(port), p.Listen.Addr})
				if err == nil {
					continue
				}
				remedy := "choose another port, or end the program that has it"
				if errors.Is(err, syscall.EADDRNOTAVAIL) {
					remedy = "write an address that this host has"
				}
				errs = append(errs, fmt.Errorf("network %q: nat.publish: %s %s: %w: %s", n.Name, p.Protocol, p.Listen, err, remedy))
				break
			}
		}
	}
	return errs
}

var socketFilterings = map[string]sockets.Filtering{
	config.FilterAddress: sockets.ByAddress, config.FilterEndpoint: sockets.ByEndpoint, config.FilterNone: sockets.Anybody,
}

func (d *Daemon) relayConfig(c *config.Network, publish []sockets.Publish) sockets.Config {
	return sockets.Config{
		Address: c.Gateway(), Address6: c.Gateway6(), MAC: c.MAC, MTU: c.MTU, Budget: d.budget, Publish: publish,
		Allowed:   d.allowed(c),
		Local:     func(a netip.Addr) bool { return slices.Contains(d.machine.Addresses(), a) },
		Filtering: socketFilterings[c.NAT.Filtering],
		MaxFlows:  c.NAT.MaxFlows, MaxPerHost: c.NAT.MaxFlowsPerHost,
		Timeouts: sockets.Timeouts{
			UDP: c.NAT.Timeouts.UDP, ICMP: c.NAT.Timeouts.ICMP, TCP: c.NAT.Timeouts.TCP, Transitory: c.NAT.Timeouts.TCPTransitory,
		},
	}
}

// allowed says where the guests of a network may go by sockets: to this machine if it
// is to be reached, to no other network of weft, which the machine may be in.
func (d *Daemon) allowed(c *config.Network) func(netip.Addr) bool {
	reachHost := slices.Contains(c.Reach, config.ReachHost)
	return func(a netip.Addr) bool {
		if d.machine.IsLocal(a) {
			return reachHost
		}
		for _, n := range d.config().Networks {
			if slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return p.Contains(a) }) {
				return false
			}
		}
		return true
	}
}

// trackedByRelay shows a flow by the addresses on both sides of the sockets.
func trackedByRelay(f *sockets.Flow) tracked {
	t := tracked{
		protocol: f.Protocol, state: relayState(f), packets: f.Packets, bytes: f.Bytes, expires: f.Expires,
		original: flowEnds{f.Guest, f.Remote}, translated: flowEnds{f.Local, f.Remote},
	}
	if f.FromOutside {
		t.original, t.translated = flowEnds{f.Remote, f.Local}, flowEnds{f.Seen, f.Guest}
	}
	return t
}

// relayState has the words of a table of flows. A socket does not say who has sent: one
// datagram alone is without an answer.
func relayState(f *sockets.Flow) string {
	switch {
	case f.State == "closing":
		return api.FlowFinWait
	case f.State == "open" && f.Packets < 2:
		return api.FlowUnreplied
	case f.State == "open":
		return api.FlowReplied
	}
	return f.State
}

// addRelay adds the counters of sockets to those of a table.
func addRelay(c *[nat.NumClasses]nat.Counters, st sockets.Stats) {
	for class, s := range map[nat.Class]sockets.ProtocolStats{nat.ClassTCP: st.TCP, nat.ClassUDP: st.UDP, nat.ClassICMP: st.ICMP} {
		c[class].Flows += s.Flows
		c[class].Made += s.Made
		c[class].Expired += s.Expired
	}
	c[nat.ClassUDP].Mappings += st.Mappings
}
