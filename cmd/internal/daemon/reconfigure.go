package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/ports/netdev"
)

// A change of configuration is a list of steps, each with its undoing. They run
// in order; when one fails, those before it are undone in reverse, and the old
// configuration goes on. What is removed for good goes last, when nothing can
// fail any more.

type step struct {
	do   func() error
	undo func()
}

type portKey struct{ network, port string }

// plan is what lies between two configurations. Ports are started, stopped and
// removed in three groups, so that interfaces may change hands among them.
type plan struct {
	addNetworks, changeNetworks, removeNetworks []config.Network
	changeServices                              []config.Network // of changed networks

	add    []portChange // on interfaces that no port has
	stop   []portChange // changed, or on an interface that another port gets
	start  []portChange // changed, or on an interface of a stopped port
	remove []portChange // gone, and nobody wants the interface
}

type portChange struct {
	key    portKey
	cfg    config.Port
	mtu    int
	policy dataplane.Policy
}

// place is where a port's interface is: no two ports share one.
func (c portChange) place() [2]string { return [2]string{c.cfg.Netns, c.cfg.Interface} }

// sameDevice reports whether two ports differ in nothing but their policy, which
// changes while the port runs.
func (c portChange) sameDevice(o portChange) bool {
	a, b := c.cfg, o.cfg
	a.Policy, b.Policy = config.Policy{}, config.Policy{}
	return reflect.DeepEqual(a, b)
}

// samePolicies reports whether the ports that are in both may do the same.
func samePolicies(old, next map[string]dataplane.Policy) bool {
	for name, o := range old {
		if n, ok := next[name]; ok && !reflect.DeepEqual(o, n) {
			return false
		}
	}
	return true
}

func newPlan(old, next *config.Config) plan {
	var p plan
	for _, n := range next.Networks {
		switch o := old.Network(n.Name); {
		case o == nil:
			p.addNetworks = append(p.addNetworks, n)
		case servicesDiffer(o, &n):
			p.changeServices = append(p.changeServices, n)
			p.changeNetworks = append(p.changeNetworks, n)
		case !reflect.DeepEqual(networkConfig(o), networkConfig(&n)) || !samePolicies(policies(o), policies(&n)):
			p.changeNetworks = append(p.changeNetworks, n)
		}
	}
	for _, n := range old.Networks {
		if next.Network(n.Name) == nil {
			p.removeNetworks = append(p.removeNetworks, n)
		}
	}
	p.planPorts(portsOf(old), portsOf(next))
	return p
}

func (p *plan) planPorts(before, after []portChange) {
	taken := map[[2]string]bool{} // places of old ports
	for _, o := range before {
		taken[o.place()] = true
	}
	wanted := map[[2]string]bool{} // places of ports to come
	for _, c := range after {
		o := find(before, c.key)
		if o != nil && o.sameDevice(c) {
			continue
		}
		wanted[c.place()] = true
		if o == nil && !taken[c.place()] {
			p.add = append(p.add, c)
		} else {
			p.start = append(p.start, c)
		}
	}
	for _, o := range before {
		c := find(after, o.key)
		switch {
		case c != nil && o.sameDevice(*c):
		case c != nil || wanted[o.place()]:
			p.stop = append(p.stop, o)
		default:
			p.remove = append(p.remove, o)
		}
	}
}

// inherits reports whether a port takes over the interface of a stopped one.
func (p *plan) inherits(c portChange) bool {
	return slices.ContainsFunc(p.stop, func(o portChange) bool { return o.place() == c.place() })
}

// hasHeir reports whether another port takes over the interface of a stopped one.
func (p *plan) hasHeir(o portChange) bool {
	return slices.ContainsFunc(p.start, func(c portChange) bool { return c.place() == o.place() })
}

func portsOf(c *config.Config) []portChange {
	var list []portChange
	for i := range c.Networks {
		n := &c.Networks[i]
		policy := policies(n)
		for _, p := range n.Ports {
			list = append(list, portChange{portKey{n.Name, p.Name}, p, n.MTU, policy[p.Name]})
		}
	}
	return list
}

func find(list []portChange, k portKey) *portChange {
	for i := range list {
		if list[i].key == k {
			return &list[i]
		}
	}
	return nil
}

// reconfigure brings the switch from the running configuration to next, or
// leaves it as it was and says why. d.changing is held.
func (d *Daemon) reconfigure(next *config.Config) error {
	p := newPlan(d.running, next)
	if err := d.check(p, next); err != nil {
		return err
	}
	was := d.leaseFile
	d.leaseFile = d.leasePath(next)
	if err := d.execute(d.steps(p, next)); err != nil {
		d.leaseFile = was
		d.dropLeaseStore()
		// Ports that were put back have lost their static entries.
		for _, n := range d.running.Networks {
			_ = d.pin(n.Name, nil, n.FDB.Static)
		}
		return err
	}
	for _, o := range p.stop {
		if !p.hasHeir(o) {
			d.discard(o)
		}
	}
	for _, o := range p.remove {
		d.removePort(o.key, true)
	}
	for _, n := range p.removeNetworks {
		d.forgetServices(n.Name)
		d.sw.RemoveNetwork(n.Name)
		delete(d.routings, n.Name)
	}
	d.dropLeaseStore()
	d.mu.Lock()
	d.running = next
	d.mu.Unlock()
	return nil
}

// check finds everything that can be known to be wrong beforehand, all of it
// at once.
func (d *Daemon) check(p plan, next *config.Config) error {
	var errs []error
	if err := d.checkLeaseFile(next); err != nil {
		errs = append(errs, err)
	}
	for _, c := range slices.Concat(p.add, p.start) {
		if err := d.device(c).check(); err != nil {
			errs = append(errs, c.errorf(err))
		}
	}
	for u, networks := range d.wantedUplinks(next) {
		if err := d.checkRoutes(u, networks); err != nil {
			errs = append(errs, err)
		}
		if d.outlets[u] != nil || u.Interface == "" || u.Address == config.AddressSockets {
			continue
		}
		_, err := netdev.Find("", u.Interface)
		if u.Owned() {
			err = d.ownedDevice(u.Interface).check()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("uplink %q: %w", u.Interface, err))
		}
	}
	errs = append(errs, d.checkListeners(next)...)
	return errors.Join(errs...)
}

func (c portChange) errorf(err error) error {
	return fmt.Errorf("network %q: port %q: %w", c.key.network, c.key.port, err)
}

func (d *Daemon) execute(steps []step) error {
	for i, s := range steps {
		if err := s.do(); err != nil {
			for j := i - 1; j >= 0; j-- {
				steps[j].undo()
			}
			return err
		}
	}
	return nil
}

func (d *Daemon) steps(p plan, next *config.Config) []step {
	was := d.metrics.address
	list := []step{{
		do:   func() error { return d.metrics.move(next.Metrics.Listen) },
		undo: func() { _ = d.metrics.move(was) },
	}}
	for _, n := range p.addNetworks {
		list = append(list, step{
			do: func() error {
				_, err := d.sw.AddNetwork(n.Name, networkConfig(&n))
				return err
			},
			undo: func() { d.sw.RemoveNetwork(n.Name) },
		}, step{
			do:   func() error { return d.serve(&n) },
			undo: func() { d.forgetServices(n.Name) },
		})
	}
	for _, n := range p.changeNetworks {
		old := *d.running.Network(n.Name)
		list = append(list, step{
			do:   func() error { return d.setNetwork(n.Name, early(&old, &n)) },
			undo: func() { _ = d.setNetwork(n.Name, networkConfig(&old)) },
		})
	}
	for _, n := range p.changeServices {
		old := *d.running.Network(n.Name)
		list = append(list, step{
			do:   func() error { return d.serve(&n) },
			undo: func() { d.restoreServices(&old) },
		})
	}
	back := func() { _ = d.route(d.running) } // which was possible before
	list = append(list, step{do: func() error { d.closeInTheWay(next); return nil }, undo: back})
	for _, c := range p.add {
		list = append(list, step{
			do:   func() error { return d.addPort(c) },
			undo: func() { d.removePort(c.key, true) },
		})
	}
	for _, o := range p.stop {
		list = append(list, step{
			do:   func() error { d.removePort(o.key, false); return nil },
			undo: func() { d.restore(o) },
		})
	}
	for _, c := range p.start {
		list = append(list, step{
			do:   func() error { d.inherit(p.stop, c); return d.addPort(c) },
			undo: func() { d.removePort(c.key, !p.inherits(c)) },
		})
	}
	list = append(list, step{do: func() error { return d.route(next) }, undo: back})
	for _, n := range next.Networks {
		var before []config.StaticEntry
		if o := d.running.Network(n.Name); o != nil {
			before = o.FDB.Static
		}
		list = append(list, step{
			do:   func() error { return d.pin(n.Name, before, n.FDB.Static) },
			undo: func() { _ = d.pin(n.Name, n.FDB.Static, before) },
		})
	}
	// Last, as it cannot fail: what ports may do, and what a network forgets
	// when it changes, is not touched by a change that is refused.
	for _, n := range p.changeNetworks {
		list = append(list, step{do: func() error {
			d.sw.Network(n.Name).Reconfigure(networkConfig(&n), policies(&n))
			return nil
		}})
	}
	return list
}

// early returns of a network's next settings what has to come before its ports
// and its services: the MTU, a spanning tree, as a port to come may close a loop,
// and the gateway.
func early(old, next *config.Network) dataplane.NetworkConfig {
	cfg := networkConfig(old)
	cfg.MTU = next.MTU
	if next.STP.Enabled {
		cfg.STP, cfg.Address = networkConfig(next).STP, next.MAC
	}
	if servicesDiffer(old, next) {
		cfg.Gateway, cfg.Address = networkConfig(next).Gateway, next.MAC
	}
	return cfg
}

// setNetwork changes a network's settings, and the MTU of its interfaces.
func (d *Daemon) setNetwork(name string, cfg dataplane.NetworkConfig) error {
	n := d.sw.Network(name)
	was := n.Config()
	n.Reconfigure(cfg, nil)
	if was.MTU == cfg.MTU {
		return nil
	}
	var changed []*attachment
	for key, a := range d.attachments {
		if key.network != name {
			continue
		}
		changed = append(changed, a)
		if err := a.setMTU(cfg.MTU); err != nil {
			for _, a := range changed {
				_ = a.setMTU(was.MTU)
			}
			n.Reconfigure(was, nil)
			return fmt.Errorf("network %q: port %q: %w", name, key.port, err)
		}
	}
	return nil
}

func (d *Daemon) device(c portChange) *device {
	return &device{network: c.key.network, cfg: c.cfg, mtu: c.mtu, guard: d.guard}
}

func (d *Daemon) addPort(c portChange) error {
	n := d.sw.Network(c.key.network)
	port, err := n.AddPort(c.key.port, c.policy)
	if err != nil {
		return err
	}
	a := newAttachment(d.log.With("network", c.key.network, "port", c.key.port), d.device(c), port)
	if err := a.start(); err != nil {
		n.RemovePort(c.key.port)
		return c.errorf(err)
	}
	d.mu.Lock()
	d.attachments[c.key] = a
	d.mu.Unlock()
	return nil
}

// removePort takes a port away; remove tells whether the interface goes with
// it, if weft made it.
func (d *Daemon) removePort(k portKey, remove bool) {
	d.mu.Lock()
	a := d.attachments[k]
	delete(d.attachments, k)
	d.mu.Unlock()
	if a == nil {
		return
	}
	a.stop(remove)
	d.sw.Network(k.network).RemovePort(k.port)
}

// restore puts a stopped port back. Its interface is still there.
func (d *Daemon) restore(o portChange) {
	if err := d.addPort(o); err != nil {
		d.log.Error("port not restored", "network", o.key.network, "port", o.key.port, "error", err)
	}
}

// inherit takes from an interface that changes hands the addresses that its
// last port gave it and the next one does not want. Those that somebody else
// gave it stay.
func (d *Daemon) inherit(stopped []portChange, c portChange) {
	for _, o := range stopped {
		if o.place() != c.place() {
			continue
		}
		gone := slices.DeleteFunc(slices.Clone(o.cfg.Addresses), func(p netip.Prefix) bool {
			return slices.Contains(c.cfg.Addresses, p)
		})
		if err := netdev.RemoveAddresses(c.cfg.Netns, c.cfg.Interface, gone); err != nil {
			d.log.Warn("address left behind", "network", c.key.network, "port", c.key.port, "error", err)
		}
	}
}

// discard removes the interface of a stopped port that no other port has taken
// over, if weft made it.
func (d *Daemon) discard(o portChange) {
	dev := d.device(o)
	dev.made = true // as far as its alias says so: see release
	if err := dev.release(true); err != nil {
		d.log.Warn("interface left behind", "network", o.key.network, "port", o.key.port, "error", err)
	}
}

// pin brings the static FDB entries of a network from before to after. Those
// that stay are not touched, except that adding one that is there is no error:
// a port that was replaced has lost its own.
func (d *Daemon) pin(network string, before, after []config.StaticEntry) error {
	n := d.sw.Network(network)
	for _, e := range before {
		if !slices.Contains(after, e) {
			n.RemoveFDB(e.VLAN, e.MAC)
		}
	}
	for _, e := range after {
		if err := n.AddStatic(e.VLAN, e.MAC, e.Port); err != nil {
			return fmt.Errorf("network %q: fdb entry %s: %w", network, e.MAC, err)
		}
	}
	return nil
}
