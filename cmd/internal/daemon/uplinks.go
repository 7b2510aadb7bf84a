package daemon

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/sockets"
)

// Uplinks implements api.Backend.
func (d *Daemon) Uplinks() []api.Uplink {
	d.mu.Lock()
	outlets := make([]*outlet, 0, len(d.outlets))
	for _, o := range d.outlets {
		outlets = append(outlets, o)
	}
	d.mu.Unlock()
	list := []api.Uplink{}
	for _, o := range outlets {
		list = append(list, d.describeOutlet(o))
	}
	slices.SortFunc(list, func(a, b api.Uplink) int {
		return cmp.Or(strings.Compare(a.Interface, b.Interface), strings.Compare(a.Kind, b.Kind))
	})
	return list
}

// outletOf returns the way out of a network, nil where it has none.
func (d *Daemon) outletOf(network string) *outlet {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.running.Network(network)
	if n == nil {
		return nil
	}
	u, ok := d.uplinkOf(n)
	if !ok {
		return nil
	}
	return d.outlets[u]
}

// uplinkNetwork returns the network that an uplink is inside, by the name of its
// interface, nil where there is none.
func (d *Daemon) uplinkNetwork(name string) *dataplane.Network {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o := d.outletBy(name); o != nil {
		return o.uplink.Network()
	}
	return nil
}

func (d *Daemon) describeOutlet(o *outlet) api.Uplink {
	v := api.Uplink{Interface: o.name, Kind: o.kind, Kinds: o.kinds(), Detail: o.why, State: api.StateUp, Drops: map[string]uint64{}}
	cfg := d.config()
	for i := range cfg.Networks {
		if d.outletOf(cfg.Networks[i].Name) == o {
			if err := o.unroutable(&cfg.Networks[i]); err != nil {
				v.State, v.Detail = api.StateFailed, err.Error()
			}
			v.Networks = append(v.Networks, cfg.Networks[i].Name)
			v.Flows += d.flowCount(cfg.Networks[i].Name)
		}
	}
	if o.uplink == nil {
		return v
	}
	c := o.uplink.Config()
	v.MAC, v.MTU = c.MAC.String(), c.MTU
	addresses := o.addresses()
	describeWays(&v, &c, addresses)
	for _, a := range addresses {
		v.Addresses = append(v.Addresses, a.String())
	}
	if len(addresses) == 0 {
		v.State, v.Detail = api.StateNoAddress, o.waitsFor()
	} else {
		v.Address = v.Addresses[0]
	}
	if state, detail := o.state(); state != api.StateUp {
		v.State, v.Detail = state, detail
	}
	if v.State == api.StateUp && (o.client != nil || o.six != nil) {
		v.Detail = o.leaseText()
	}
	for _, n := range o.uplink.Network().Neighbors() {
		if n.MAC != (frame.MAC{}) {
			v.Neighbors++
		}
	}
	for _, p := range o.uplink.Network().Ports() {
		countPort(&v, p)
	}
	if first, last := portsWanted(cfg, v.Networks); first > 0 {
		v.Ports = o.usablePorts(first, last)
	}
	return v
}

// describeWays fills in the gateways by which an uplink leads everywhere, that of IPv4
// first. One of a family without an address leads nowhere.
func describeWays(v *api.Uplink, c *dataplane.UplinkConfig, addresses []netip.Prefix) {
	for _, four := range []bool{true, false} {
		if len(addresses) > 0 && len(ofFamily(addresses, four)) == 0 {
			continue
		}
		for _, r := range c.Routes {
			if r.Destination.Bits() == 0 && !r.Blocked && r.Via.IsValid() && r.Destination.Addr().Is4() == four {
				v.Gateways = append(v.Gateways, r.Via.String())
			}
		}
	}
	if len(v.Gateways) > 0 {
		v.Gateway = v.Gateways[0]
	}
}

// portsWanted returns the lowest and the highest port that guests of some networks may
// have, zeroes where none is translated.
func portsWanted(cfg *config.Config, networks []string) (first, last int) {
	for _, name := range networks {
		if n := cfg.Network(name); n != nil && n.Forward == config.ForwardNAT {
			if first == 0 || n.NAT.First < first {
				first = n.NAT.First
			}
			last = max(last, n.NAT.Last)
		}
	}
	return first, last
}

func countPort(v *api.Uplink, p *dataplane.Port) {
	st := p.Stats()
	v.RX, v.TX = api.Counters(st.Rx), api.Counters(st.Tx)
	for reason, n := range st.Drops {
		v.Drops[reason.String()] = n
	}
}

// state is that of the interface.
func (o *outlet) state() (state, detail string) {
	switch {
	case o.port != nil:
		state, detail, _ = o.port.status()
	case o.shared != nil:
		state, detail = o.shared.state()
	}
	return state, detail
}

// addresses returns those that there are to leave by now, of IPv4 first.
func (o *outlet) addresses() []netip.Prefix {
	var cfg dataplane.UplinkConfig
	if o.kind == api.UplinkHost {
		four, six := shareable(o.shared.host.State())
		cfg.Address, cfg.Address6 = four, []netip.Prefix{six}
	} else {
		o.describe(&cfg)
	}
	return slices.DeleteFunc(append([]netip.Prefix{cfg.Address}, cfg.Address6...), func(p netip.Prefix) bool { return !p.IsValid() })
}

// leaseText says from where addresses are that others have given, and for how long.
func (o *outlet) leaseText() string {
	var parts []string
	o.mu.Lock()
	four, six := o.lease, o.lease6
	o.mu.Unlock()
	if o.client != nil {
		text := fmt.Sprintf("DHCP: %s", o.client.Status())
		if four.Address.IsValid() {
			text += fmt.Sprintf(" by server %s", four.Server)
		}
		parts = append(parts, text+resolversText(four.DNS))
	}
	if o.six != nil {
		status := o.six.Status()
		text := fmt.Sprintf("IPv6: %s", status)
		if status.Router.IsValid() {
			text += fmt.Sprintf(" by router %s", status.Router)
		}
		parts = append(parts, text+resolversText(six.DNS))
	}
	return strings.Join(parts, "; ")
}

func resolversText(list []netip.Addr) (text string) {
	for i, a := range list {
		text += []string{", DNS ", " "}[min(i, 1)] + a.String()
	}
	return text
}

// waitsFor says why there is no address.
func (o *outlet) waitsFor() string {
	if o.client != nil || o.six != nil {
		return o.leaseText()
	}
	return "the host has no address on the interface that others may talk to"
}

// natStats are the counters of a network's flows, with those of its sockets.
func (d *Daemon) natStats(network string) [nat.NumClasses]nat.Counters {
	var c [nat.NumClasses]nat.Counters
	if t, zone := d.tableOf(network); t != nil {
		for _, z := range t.Stats().Zones {
			if z.Zone == zone {
				c = z.Classes
			}
		}
	}
	if r := d.relayOf(network); r != nil {
		addRelay(&c, r.Stats())
	}
	return c
}

func (d *Daemon) flowCount(network string) int {
	sum := 0
	for _, c := range d.natStats(network) {
		sum += c.Flows
	}
	return sum
}

// describeNAT fills in what is tracked for a network whose flows go on beyond it.
func (d *Daemon) describeNAT(n *config.Network) *api.NetworkNAT {
	if !n.Forwards() {
		return nil
	}
	four, six := treatments(n)
	if four == dataplane.Plain && six == dataplane.Plain {
		return nil
	}
	v := &api.NetworkNAT{MaxFlows: n.NAT.MaxFlows, Refused: map[string]uint64{}}
	if n.Forward == config.ForwardNAT {
		v.Ports = d.outletOf(n.Name).usablePorts(n.NAT.First, n.NAT.Last)
	}
	switch {
	case len(n.Gateway6()) == 0:
	case n.Forward == config.ForwardNAT:
		v.IPv6 = n.NAT.IPv6
	default:
		v.IPv6 = api.NATRoute
	}
	for class, c := range d.natStats(n.Name) {
		v.Protocols = append(v.Protocols, api.NATProtocol{
			Protocol: nat.Class(class).String(), Flows: c.Flows, Mappings: c.Mappings, Created: c.Made, Expired: c.Expired,
		})
		for reason, count := range map[nat.Verdict]uint64{
			nat.TableFull: c.TableFull, nat.HostFull: c.HostFull, nat.PortsFull: c.PortsFull, nat.Unsupported: c.Unsupported,
		} {
			if count > 0 {
				v.Refused[reason.String()] += count
			}
		}
	}
	if r := d.relayOf(n.Name); r != nil {
		st := r.Stats()
		for _, reason := range sockets.Reasons() {
			if count := st.Refused[reason]; count > 0 {
				v.Refused["socket-"+reason.String()] += count
			}
		}
	}
	return v
}
