package daemon

import (
	"cmp"
	"fmt"
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
	v := api.Uplink{Interface: o.name, Kind: o.kind, Detail: o.why, State: api.StateUp, Drops: map[string]uint64{}}
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
	if c.Address.IsValid() {
		v.Address = c.Address.String()
	}
	if o.lacksAddress() {
		v.State, v.Detail, v.Address = api.StateNoAddress, o.waitsFor(), ""
	}
	for _, r := range c.Routes {
		if r.Destination.Bits() == 0 && !r.Blocked && r.Via.IsValid() {
			v.Gateway = r.Via.String()
		}
	}
	if state, detail := o.state(); state != api.StateUp {
		v.State, v.Detail = state, detail
	}
	if o.client != nil && v.State == api.StateUp {
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

// lacksAddress reports whether there is none to leave by now.
func (o *outlet) lacksAddress() bool {
	switch o.kind {
	case api.UplinkHost:
		return !addressOf(o.shared.host.State()).IsValid()
	case api.UplinkDHCP:
		o.mu.Lock()
		defer o.mu.Unlock()
		return !o.lease.Address.IsValid()
	}
	return false
}

// leaseText says from where an address by DHCP is, and for how long.
func (o *outlet) leaseText() string {
	status := o.client.Status()
	o.mu.Lock()
	defer o.mu.Unlock()
	text := fmt.Sprintf("DHCP: %s by server %s", status, o.lease.Server)
	for i, a := range o.lease.DNS {
		text += []string{", DNS ", " "}[min(i, 1)] + a.String()
	}
	return text
}

// waitsFor says why there is no address.
func (o *outlet) waitsFor() string {
	if o.client != nil {
		return "DHCP: " + o.client.Status().String()
	}
	return "the host has no IPv4 address on the interface"
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
	if n.Forward != config.ForwardNAT {
		return nil
	}
	v := &api.NetworkNAT{
		MaxFlows: n.NAT.MaxFlows, Refused: map[string]uint64{}, Ports: d.outletOf(n.Name).usablePorts(n.NAT.First, n.NAT.Last),
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
