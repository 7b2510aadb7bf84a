package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ports/netdev"
)

// Where networks lead to beyond themselves: the ways out, and each network's
// routing. route brings all of it in line with a configuration and with what the
// machine is like now; it is called for every change of either.

// nudge has route called soon, for what the machine is like has changed.
func (d *Daemon) nudge() {
	select {
	case d.nudges <- struct{}{}:
	default:
	}
}

// follow does so until the daemon stops.
func (d *Daemon) follow() {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	refused, states := map[string]uint64{}, map[string]string{}
	for {
		select {
		case <-d.stop:
			return
		case <-second.C:
			d.lookAround(refused, states)
			continue
		case <-d.nudges:
		}
		d.changing.Lock()
		if !d.closed {
			if err := d.route(d.running); err != nil {
				d.log.Error("routing", "error", err)
			}
		}
		d.changing.Unlock()
	}
}

// lookAround is called once a second: an uplink's link may have come or gone.
func (d *Daemon) lookAround(refused map[string]uint64, states map[string]string) {
	d.complain(refused)
	if d.machine.settle() {
		d.nudge()
	}
	if d.changing.TryLock() { // else another second does no harm
		for _, o := range d.outlets {
			o.update()
		}
		d.advertiseAll(d.running)
		d.changing.Unlock()
	}
	for _, u := range d.Uplinks() {
		if name := cmp.Or(u.Interface, u.Kind); states[name] != u.State {
			level := slog.LevelInfo
			if u.State != api.StateUp {
				level = slog.LevelWarn
			}
			d.log.Log(context.Background(), level, "uplink is "+u.State, "uplink", name, "kind", strings.Join(u.Kinds, ","), "address", u.Address, "detail", u.Detail)
			states[name] = u.State
		}
	}
}

// complain logs, once a call, which networks have refused new flows since the last
// one, and why.
func (d *Daemon) complain(told map[string]uint64) {
	for _, n := range d.config().Networks {
		v := d.describeNAT(&n)
		if v == nil {
			continue
		}
		for reason, count := range v.Refused {
			key := n.Name + "/" + reason
			if now := count - told[key]; count > told[key] {
				d.log.Warn("new flows refused", "network", n.Name, "reason", reason, "flows", now)
			}
			told[key] = count
		}
	}
}

// route brings ways out and routing in line with a configuration. It does all that it
// can, and returns what it could not; to call it again with the former configuration
// is the way back. d.changing is held.
func (d *Daemon) route(next *config.Config) error {
	wanted := d.wantedUplinks(next)
	defer d.keepShut(wanted)()
	d.closeInTheWay(next)
	var errs []error
	for u, networks := range wanted {
		o := d.outlets[u]
		if o == nil {
			var err error
			if o, err = d.openOutlet(u); err != nil {
				errs = append(errs, err)
				continue
			}
			d.setOutlet(u, o)
		}
		o.networks = networks
		o.update()
	}
	for _, n := range d.sw.Networks() {
		d.unpublish(n, next)
	}
	for _, n := range d.sw.Networks() {
		if err := d.lead(n, next); err != nil {
			errs = append(errs, err)
		}
	}
	d.holdPorts()
	d.advertiseAll(next)
	if len(errs) == 0 {
		d.closeUnwanted(next, func(*outlet) bool { return true })
	}
	return errors.Join(errs...)
}

// wantedUplinks returns the networks that lead to each way out.
func (d *Daemon) wantedUplinks(c *config.Config) map[config.Uplink][]config.Network {
	wanted := map[config.Uplink][]config.Network{}
	for _, n := range c.Networks {
		if u, ok := d.uplinkOf(&n); ok {
			wanted[u] = append(wanted[u], n)
		}
	}
	return wanted
}

// uplinkOf returns a network's way out. Where the configuration names no interface,
// it is that of the default route now.
func (d *Daemon) uplinkOf(n *config.Network) (config.Uplink, bool) {
	u, ok := n.L3Uplink()
	if ok && u.Interface == "" {
		u.Interface = d.machine.DefaultInterface()
	}
	return u, ok
}

// closeUnwanted closes those ways out among some that a configuration does not ask for,
// or that have to be opened anew. The networks that lead there lead nowhere then.
func (d *Daemon) closeUnwanted(next *config.Config, among func(*outlet) bool) {
	wanted := d.wantedUplinks(next)
	for u, o := range d.outlets {
		if (wanted[u] == nil || o.outdated()) && among(o) {
			d.closeOutlet(u, o)
		}
	}
}

// closeInTheWay does so where the interface is wanted for something else. The others
// go on until all that may fail has been done.
func (d *Daemon) closeInTheWay(next *config.Config) {
	claimed := map[string]bool{}
	for u := range d.wantedUplinks(next) {
		claimed[u.Interface] = true
	}
	for _, c := range portsOf(next) {
		if c.cfg.Netns == "" {
			claimed[c.cfg.Interface] = true
		}
	}
	d.closeUnwanted(next, func(o *outlet) bool { return claimed[o.name] })
}

// keepShut keeps frames from the host's stack at interfaces that are weft's before and
// after a change, until the returned function is called: it would take a router's word in
// between, and believe it for long.
func (d *Daemon) keepShut(wanted map[config.Uplink][]config.Network) func() {
	var undo []func() error
	for u := range wanted {
		o := d.outletBy(u.Interface)
		if d.guard == nil || o == nil || o.port == nil || o.want == u || !u.Owned() {
			continue
		}
		if info, err := netdev.Find("", u.Interface); err == nil {
			if detach, err := d.guard.Attach(info.Index); err == nil {
				undo = append(undo, detach)
			}
		}
	}
	return func() {
		for _, detach := range undo {
			_ = detach()
		}
	}
}

// unpublish takes away what a network publishes no more: another one may want it.
func (d *Daemon) unpublish(n *dataplane.Network, next *config.Config) {
	c, old := next.Network(n.Name()), d.routings[n.Name()]
	if c == nil || old.Uplink == nil {
		return
	}
	was, now := old.Zone.Publish, d.zoneOf(c).Publish
	stays := slices.DeleteFunc(slices.Clone(was), func(p nat.Publish) bool { return !slices.Contains(now, p) })
	if len(stays) == len(was) {
		return
	}
	old.Zone.Publish = stays
	if n.SetRouting(old.RoutingConfig) == nil { // less of the same is always possible
		d.routings[n.Name()] = old
	}
}

func (d *Daemon) closeOutlet(u config.Uplink, o *outlet) {
	for _, n := range d.sw.Networks() {
		if r, ok := d.routings[n.Name()]; ok && o.uplink != nil && r.Uplink == o.uplink {
			_ = n.SetRouting(dataplane.RoutingConfig{}) // nowhere is always possible
			delete(d.routings, n.Name())
		}
	}
	d.setOutlet(u, nil)
	o.close()
}

// leadNowhere ends all routing.
func (d *Daemon) leadNowhere() {
	for _, n := range d.sw.Networks() {
		_ = d.relay(n, nil, &dataplane.RoutingConfig{})
	}
	for u, o := range d.outlets {
		d.closeOutlet(u, o)
	}
}

func (d *Daemon) setOutlet(u config.Uplink, o *outlet) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o == nil {
		delete(d.outlets, u)
	} else {
		d.outlets[u] = o
	}
}

// lead sets the routing of one network, if it has changed.
func (d *Daemon) lead(n *dataplane.Network, next *config.Config) error {
	c := next.Network(n.Name())
	var r dataplane.RoutingConfig
	if c != nil {
		r = d.routing(next, c)
	}
	if err := d.relay(n, c, &r); err != nil {
		return fmt.Errorf("network %q: %w", n.Name(), err)
	}
	now := routed{r, n.Config().MTU, n.Config().Gateway}
	if old, ok := d.routings[n.Name()]; ok && old.sameAs(now) {
		return nil
	}
	if err := d.portsFree(c, r); err != nil {
		return fmt.Errorf("network %q: %w", n.Name(), err)
	}
	if err := n.SetRouting(r); err != nil {
		return fmt.Errorf("network %q: %w", n.Name(), err)
	}
	d.routings[n.Name()] = now
	return nil
}

// holdPorts keeps the ports that networks publish at shared addresses from programs of
// this host.
func (d *Daemon) holdPorts() {
	for _, o := range d.outlets {
		if o.shared == nil {
			continue
		}
		var published []nat.Publish
		for _, r := range d.routings {
			if r.Uplink == o.uplink {
				published = append(published, atUplink(r.Zone)...)
			}
		}
		o.shared.hold(published)
	}
}

// atUplink returns what a zone publishes at the addresses of its uplink: what leads to
// an address that is known outside is published there.
func atUplink(z nat.ZoneConfig) []nat.Publish {
	return slices.DeleteFunc(slices.Clone(z.Publish), func(p nat.Publish) bool {
		to := p.To.AddrPort().Addr()
		return slices.ContainsFunc(z.Prefixes, func(m nat.PrefixMap) bool { return m.Inside.Contains(to) })
	})
}

// routed is a routing with what else goes into it.
type routed struct {
	dataplane.RoutingConfig
	mtu     int
	gateway dataplane.GatewayConfig
}

// portsFree refuses to publish a port of a shared address where the host listens. One
// that is published already stays: the host's socket gets what is for it all the same.
func (d *Daemon) portsFree(c *config.Network, r dataplane.RoutingConfig) error {
	if c == nil || r.Uplink == nil {
		return nil
	}
	u, _ := d.uplinkOf(c)
	o := d.outlets[u]
	if o == nil || o.shared == nil {
		return nil
	}
	was := d.routings[c.Name].Zone.Publish
	for _, p := range atUplink(r.Zone) {
		if slices.Contains(was, p) {
			continue
		}
		addr := o.shared.address(p.To.AddrPort().Addr())
		for port := int(p.First); port <= int(p.Last); port++ {
			if o.shared.hostHas(heldPort{p.Protocol, uint16(port), addr}) {
				return fmt.Errorf("nat.publish: %s port %d: a socket of this host has it on %s: publish another, or end that program (\"ss -lnp\" names it)",
					api.ProtocolName(p.Protocol), port, o.name)
			}
		}
	}
	return nil
}

// sameAs compares the values; networks and uplinks are the same where they are one.
func (r routed) sameAs(o routed) bool {
	if r.Uplink != o.Uplink || !slices.EqualFunc(r.Reach, o.Reach, func(a, b dataplane.Reach) bool {
		return a.Network == b.Network && slices.Equal(a.Prefixes, b.Prefixes)
	}) {
		return false
	}
	r.Uplink, o.Uplink, r.Reach, o.Reach = nil, nil, nil, nil
	return reflect.DeepEqual(r, o)
}

// routing is that of a network in the words of the dataplane.
func (d *Daemon) routing(all *config.Config, n *config.Network) dataplane.RoutingConfig {
	r := dataplane.RoutingConfig{
		HostAddresses: d.machine.Addresses(),
		ReachHost:     slices.Contains(n.Reach, config.ReachHost),
	}
	if r.ReachHost && n.HostPort == "" ||
		slices.ContainsFunc(n.NAT.Publish, func(p config.Publish) bool { return p.Listen.Addr.IsValid() }) {
		r.Relay = d.relayPorts(n.Name)
	}
	r.Routes = d.routesInside(n)
	for _, name := range n.Reach {
		if other := all.Network(name); other != nil && d.sw.Network(name) != nil {
			r.Reach = append(r.Reach, dataplane.Reach{Network: d.sw.Network(name), Prefixes: d.prefixesOf(other)})
		}
	}
	for _, pool := range n.DHCP6.Delegate {
		// What nobody has of it is not to be found outside either (RFC 7084 WPD-5).
		r.Barred = append(r.Barred, pool.Prefix.Masked())
	}
	for i := range all.Networks {
		if other := &all.Networks[i]; other.Name != n.Name && !slices.Contains(n.Reach, other.Name) {
			for _, a := range other.Addresses {
				r.Barred = append(r.Barred, a.Masked())
			}
		}
	}
	u, ok := d.uplinkOf(n)
	if !ok {
		return r
	}
	o := d.outlets[u]
	switch {
	case o == nil || o.unroutable(n) != nil:
	case o.kind == api.UplinkSockets:
		r.Sockets, r.Relay = true, d.relayPorts(n.Name)
	default:
		r.Uplink = o.uplink
		if r.IPv4, r.IPv6 = treatments(n); r.IPv4 != dataplane.Plain || r.IPv6 != dataplane.Plain {
			r.Zone = d.zoneOf(n)
		}
	}
	return r
}

// addressesIn returns all addresses of some ranges.
func addressesIn(ranges []config.Range) []netip.Addr {
	var list []netip.Addr
	for _, r := range ranges {
		for a := r.First; a.Compare(r.Last) <= 0; a = a.Next() {
			list = append(list, a)
		}
	}
	return list
}

var filterings = map[string]nat.Filtering{
	config.FilterAddress: nat.ByAddress, config.FilterEndpoint: nat.ByEndpoint, config.FilterNone: nat.None,
}

var protocols = map[string]uint8{config.TCP: frame.ProtoTCP, config.UDP: frame.ProtoUDP}
