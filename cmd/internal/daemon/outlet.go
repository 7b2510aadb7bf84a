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
	"sync"
	"sync/atomic"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/uplink"
)

// outlet is a way out of the switch. Networks that ask for the same one share it.
// Its methods are called with Daemon.changing held, but for status.
type outlet struct {
	d     *Daemon
	log   *slog.Logger
	want  config.Uplink // as configured
	kind  string        // one of api's, the first of kinds: what it is, where want leaves the choice
	why   string        // that was chosen
	waits bool          // for its interface to become shareable
	name  string        // of the interface; empty with sockets

	networks []config.Network // that lead here

	uplink *dataplane.Uplink // nil with sockets
	port   *attachment       // of an interface that is weft's alone
	shared *sharing          // of one that is the host's too
	client *uplink.Client    // with DHCP
	six    *uplink.Client6   // with SLAAC, or DHCPv6
	undo   []func()          // what has been opened, in order

	touched atomic.Bool // the interface may have been down in between

	mu     sync.Mutex // guards what follows
	lease  uplink.Lease
	lease6 uplink.Lease6
}

// open makes a way out. An error leaves nothing behind.
func (d *Daemon) openOutlet(want config.Uplink) (*outlet, error) {
	o := &outlet{d: d, want: want, name: want.Interface}
	err := o.choose()
	if other := d.outletBy(o.name); err == nil && other != nil && o.kind != api.UplinkSockets {
		err = fmt.Errorf("is the way out of network %s already (uplink.address: %s): write the same keys there, or give one of the two another interface",
			other.networks[0].Name, other.want.Address)
	}
	if err == nil {
		o.log = d.log.With("uplink", cmp.Or(o.name, o.kind))
		switch {
		case o.want.Owned():
			err = o.own()
		case o.kind == api.UplinkHost:
			err = o.share()
		}
	}
	if err != nil {
		o.close()
		if o.name != "" {
			err = fmt.Errorf("uplink %q: %w", o.name, err)
		}
		return nil, err
	}
	kinds := strings.Join(o.kinds(), ",")
	o.log.Info("uplink opened", "kind", kinds, "why", o.why)
	o.later(func() { o.log.Info("uplink closed", "kind", kinds) })
	return o, nil
}

// outletBy returns what leads out by an interface, nil where nothing does.
func (d *Daemon) outletBy(name string) *outlet {
	for _, o := range d.outlets {
		if o.name == name && o.uplink != nil {
			return o
		}
	}
	return nil
}

// choose settles what kind of uplink this is.
func (o *outlet) choose() error {
	switch {
	case o.want.Owned():
		o.kind = o.kinds()[0]
	case o.want.Address == config.AddressSockets:
		o.kind = api.UplinkSockets
	case o.name == "":
		o.kind, o.why = api.UplinkSockets, uplink.ErrNoDefault.Error()
	case o.want.Address == config.AddressHost:
		o.kind = api.UplinkHost
	default:
		s, err := stateOf(o.name)
		if err != nil {
			return err
		}
		o.kind, o.why = uplink.Probe(s)
		o.waits = o.kind == api.UplinkSockets && s.Shareable() != nil
	}
	return nil
}

// unroutable says why a network cannot be known outside by its own addresses, or
// returns nil.
func (o *outlet) unroutable(n *config.Network) error {
	if n.Forward != config.ForwardRoute || o.kind != api.UplinkSockets {
		return nil
	}
	wait := ""
	if o.waits {
		wait = "write uplink.address: host to wait for that, "
	}
	return fmt.Errorf("network %q: forward: route does not go by sockets, and no address of this host can be shared: %s; %sgive the uplink an address of its own, or write forward: nat",
		n.Name, o.why, wait)
}

// checkRoutes refuses networks that an uplink would not take, which is to be seen on
// this machine only.
func (d *Daemon) checkRoutes(u config.Uplink, networks []config.Network) error {
	routed := func(n config.Network) bool { return n.Forward == config.ForwardRoute }
	if u.Address != config.AddressAuto || !slices.ContainsFunc(networks, routed) {
		return nil
	}
	o := d.outlets[u]
	if o == nil || o.outdated() {
		o = &outlet{d: d, want: u, name: u.Interface}
		if err := o.choose(); err != nil {
			return fmt.Errorf("uplink %q: %w", o.name, err)
		}
	}
	var errs []error
	for i := range networks {
		errs = append(errs, o.unroutable(&networks[i]))
	}
	return errors.Join(errs...)
}

// outdated reports whether what was chosen would be chosen otherwise now: the
// interface whose address was to be shared has come.
func (o *outlet) outdated() bool {
	if !o.waits {
		return false
	}
	s, err := stateOf(o.name)
	return err == nil && s.Shareable() == nil
}

// close takes everything away that open has made. No network leads here any more.
func (o *outlet) close() {
	for _, undo := range slices.Backward(o.undo) {
		undo()
	}
	o.undo = nil
}

func (o *outlet) later(undo func()) { o.undo = append(o.undo, undo) }

// add makes the uplink, as yet without an address.
func (o *outlet) add(cfg dataplane.UplinkConfig) (err error) {
	if o.uplink, err = o.d.sw.AddUplink(o.name, cfg); err == nil {
		o.later(func() { o.d.sw.RemoveUplink(o.name) })
	}
	return err
}

// ownedDevice is the interface of an uplink that is weft's alone.
func (d *Daemon) ownedDevice(name string) *device {
	return &device{network: "uplink", cfg: config.Port{Name: name, Type: config.TypeRaw, Interface: name}, guard: d.guard}
}

// own takes the interface for weft alone.
func (o *outlet) own() error {
	dev := o.d.ownedDevice(o.name)
	info, err := netdev.Find("", o.name)
	if err != nil {
		return err
	}
	if err := o.add(dataplane.UplinkConfig{MAC: info.MAC, MTU: info.MTU, Client: o.want.Address == config.AddressDHCP, Client6: o.asks6()}); err != nil {
		return err
	}
	port, err := o.uplink.Network().AddPort(o.name, dataplane.Policy{})
	if err != nil {
		return err
	}
	a := newAttachment(o.log, dev, port)
	if err := a.start(); err != nil {
		return err
	}
	o.port = a
	o.later(func() { a.stop(false) })
	if o.want.Address == config.AddressDHCP {
		o.askForAddress(info)
	}
	if o.asks6() {
		o.askForAddress6(info)
	}
	return nil
}

// askForAddress runs a DHCP client.
func (o *outlet) askForAddress(info netdev.Info) {
	seat := o.uplink.Network().Gateway()
	o.client = uplink.NewClient(uplink.ClientConfig{MAC: info.MAC}, uplink.ClientEnv{
		Inbox: seat.Inbox(dataplane.Client), Send: seat.Send, Resolve: seat.Resolve, Log: o.log,
		Accept: o.accept,
		OnChange: func(l uplink.Lease, ok bool) {
			o.mu.Lock()
			if o.lease = l; !ok {
				o.lease = uplink.Lease{}
			}
			o.mu.Unlock()
			o.d.nudge()
		},
	})
	o.run(o.client.Run)
}

// run has a client work until the outlet is closed.
func (o *outlet) run(client func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		client(ctx)
	}()
	o.later(func() { cancel(); <-done })
}

// update brings the uplink in line with the networks that lead to it and with what
// the machine, or a server or router out there, says.
func (o *outlet) update() {
	if o.uplink == nil {
		return
	}
	was := o.uplink.Config()
	cfg := was
	cfg.Extra, cfg.Routes, cfg.ProxyARP = nil, nil, nil
	if o.kind == api.UplinkHost {
		o.shared.describe(&cfg)
	} else {
		o.describe(&cfg)
	}
	state, _ := o.state()
	down := state != api.StateUp
	if o.port != nil {
		if info, err := netdev.Find("", o.name); err == nil {
			cfg.MAC = info.MAC
			link := info.Up && info.Carrier
			down = down || !link // guests are told so
			o.setLink(link)
			cfg.MTU = info.MTU
			if lease := o.leaseMTU(); lease > 0 {
				cfg.MTU = min(cfg.MTU, lease)
			}
		}
	}
	cfg.Idle, cfg.Idle6 = down, down
	if !cfg.Address.IsValid() {
		cfg.Address, cfg.Idle = was.Address, true // for the flows: it may come back
	}
	if len(cfg.Address6) == 0 {
		cfg.Address6, cfg.Idle6 = was.Address6, true
	}
	for i := range o.networks {
		o.lead(&cfg, &o.networks[i])
	}
	was.Changed, cfg.Changed = nil, nil // taken already
	if !reflect.DeepEqual(was, cfg) {
		o.uplink.Reconfigure(cfg)
		o.log.Info("uplink changed", "address", cfg.Address, "address6", cfg.Address6, "mac", cfg.MAC, "mtu", cfg.MTU, "routes", len(cfg.Routes))
	}
}

// lead fills in what a network that leads here wants of the uplink.
func (o *outlet) lead(cfg *dataplane.UplinkConfig, n *config.Network) {
	for _, r := range n.Routes {
		if !isInside(n, r.Via) {
			cfg.Routes = append(cfg.Routes, dataplane.Route{Destination: r.To, Via: r.Via})
		}
	}
	if o.want.ProxyARP && n.Forward == config.ForwardRoute {
		for _, a := range n.Addresses {
			cfg.ProxyARP = append(cfg.ProxyARP, a.Masked())
		}
		for _, p := range o.d.delegations(n.Name) {
			cfg.ProxyARP = append(cfg.ProxyARP, p.Prefix)
		}
	}
	for _, a := range addressesIn(n.NAT.Addresses) {
		if a != cfg.Address.Addr() && !slices.Contains(cfg.Extra, a) && !holds(cfg.Address6, a) {
			cfg.Extra = append(cfg.Extra, a)
		}
	}
}

// isInside reports whether a next hop is a station of a network. Link-local ones are,
// as an uplink has its own by configuration.
func isInside(n *config.Network, via netip.Addr) bool {
	return via.IsLinkLocalUnicast() || slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return p.Contains(via) })
}

// holds reports whether an address is one of a list.
func holds(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Addr() == a })
}

// everywhere is the default route of the family of an address.
func everywhere(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

// describe fills in the addresses that an uplink has for itself: what the file says, and
// what servers and routers have given.
func (o *outlet) describe(cfg *dataplane.UplinkConfig) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cfg.Address, cfg.Address6 = o.want.Prefix(), nil
	if p := o.want.Prefix6(); p.IsValid() {
		cfg.Address6 = []netip.Prefix{p}
	}
	gateways := []netip.Addr{o.want.Gateway, o.want.Gateway6}
	if o.client != nil {
		cfg.Address, gateways[0] = o.lease.Address, o.lease.Gateway
		for _, r := range o.lease.Routes {
			cfg.Routes = append(cfg.Routes, dataplane.Route{Destination: r.Destination, Via: r.Via})
		}
	}
	if o.six != nil {
		cfg.Address6 = o.lease6.Addresses
		cfg.Routes = append(cfg.Routes, o.lease6.Routes...)
	}
	for _, via := range gateways {
		if via.IsValid() {
			cfg.Routes = append(cfg.Routes, dataplane.Route{Destination: everywhere(via), Via: via})
		}
	}
}

// accept refuses an address from a DHCP server in a subnet of weft's own: what is to
// go there would not leave.
func (o *outlet) accept(l uplink.Lease) error { return o.d.acceptable(l.Address) }

// acceptable does so for addresses of either family. What networks have beside their
// subnets is theirs as well: what is routed there, or for their routers to have.
func (d *Daemon) acceptable(addresses ...netip.Prefix) error {
	for _, n := range d.config().Networks {
		for _, own := range d.prefixesOf(&n) {
			for _, a := range addresses {
				if own.Overlaps(a) {
					return fmt.Errorf("%v overlaps %v of network %q", a, own, n.Name)
				}
			}
		}
	}
	return nil
}

// changed is told of interfaces that have changed.
func (o *outlet) changed(name string, index int) {
	if o.port != nil {
		o.port.changed(name, index)
	}
	if name == "" || name == o.name {
		o.touched.Store(true) // update follows: the client's lock is not to be waited for here
	}
}
