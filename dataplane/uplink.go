package dataplane

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/fdb"
	"github.com/weft/weft/nat"
)

// UplinkConfig is what can be set on an uplink.
type UplinkConfig struct {
	MAC     frame.MAC
	MTU     int
	Address netip.Prefix // IPv4; zero while there is none

	// Address6 are those of IPv6, the one that guests leave by first. An uplink with any
	// has the link-local one of its MAC address too.
	Address6 []netip.Prefix

	Extra  []netip.Addr // more outside addresses, of both families
	Routes []Route      // into the world outside

	// Neighbors are stations on the link whose MAC addresses are not asked for.
	Neighbors []Neighbor

	// Idle says that the address of IPv4 is not there now: nothing leaves, and its flows
	// wait. Idle6 says so of IPv6.
	Idle, Idle6 bool
	// Shared says that this machine has the addresses too: it answers ARP, neighbour
	// solicitations and echo.
	Shared bool
	// Client gives UDP to the port of a DHCP client to the inbox Client, and Client6
	// what a host of IPv6 is configured by to the inbox Client6.
	Client, Client6 bool
	// ProxyARP is what the uplink answers ARP and neighbour solicitations for in the name
	// of others.
	ProxyARP []netip.Prefix

	// Changed is told which outside ports are in use, and with whom; see nat.Config.
	// It is taken from the first configuration.
	Changed func(protocol uint8, port uint16, remote netip.Addr, used bool)
}

// Uplink is a way out of the switch, by layer 3. Inside it is a network of its own,
// whose one port is the interface to the world outside, and whose gateway has the
// uplink's address. Networks lead to it by their RoutingConfig.
type Uplink struct {
	network *Network
	table   *nat.Table

	changing sync.Mutex // held by Reconfigure; before network.mu

	// Guarded by network.mu.
	cfg   UplinkConfig
	users map[nat.Zone]user

	stop, done chan struct{}
}

// user is a network that leads to an uplink.
type user struct {
	network *Network
	routed  []routed // what is reached there untranslated
	longest int      // frame that the network takes
}

// routed is a part of the address space that an uplink leads to.
type routed struct {
	prefix netip.Prefix
	by     Treatment
}

// uplinkPrefix marks the networks that uplinks are; no other may have such a name.
const uplinkPrefix = "uplink:"

// outsideFDB bounds what is learned of the world outside, which one port leads to.
var outsideFDB = fdb.Config{Ageing: 300 * time.Second, Limit: 1024}

// AddUplink makes an uplink without an interface: its network gets one port.
func (sw *Switch) AddUplink(name string, cfg UplinkConfig) (*Uplink, error) {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	if sw.uplinks[name] != nil {
		return nil, fmt.Errorf("uplink %q: %w", name, ErrExists)
	}
	u := &Uplink{cfg: cfg, users: map[nat.Zone]user{}, stop: make(chan struct{}), done: make(chan struct{})}
	u.table = nat.New(nat.Config{Addresses: cfg.addresses(), Changed: cfg.Changed})
	u.network = makeNetwork(sw, uplinkPrefix+name, cfg.network())
	u.network.uplink = u
	u.network.start()
	u.fixNeighbors(&cfg)
	sw.uplinks[name] = u
	go u.expire()
	return u, nil
}

// RemoveUplink removes an uplink that no network leads to any more. It does nothing
// where there is none.
func (sw *Switch) RemoveUplink(name string) {
	sw.mu.Lock()
	u := sw.uplinks[name]
	delete(sw.uplinks, name)
	sw.mu.Unlock()
	if u == nil {
		return
	}
	close(u.stop)
	<-u.done
	u.network.remove()
}

// Uplinks returns all uplinks, sorted by name.
func (sw *Switch) Uplinks() []*Uplink {
	sw.mu.Lock()
	defer sw.mu.Unlock()
	list := make([]*Uplink, 0, len(sw.uplinks))
	for _, u := range sw.uplinks {
		list = append(list, u)
	}
	slices.SortFunc(list, func(a, b *Uplink) int { return strings.Compare(a.network.name, b.network.name) })
	return list
}

// Name returns the name of the uplink.
func (u *Uplink) Name() string { return strings.TrimPrefix(u.network.name, uplinkPrefix) }

// Network returns the network that the uplink is, for its port.
func (u *Uplink) Network() *Network { return u.network }

// NAT returns the table of the flows that are translated here.
func (u *Uplink) NAT() *nat.Table { return u.table }

// Config returns the uplink's present settings.
func (u *Uplink) Config() UplinkConfig {
	u.network.mu.Lock()
	defer u.network.mu.Unlock()
	return u.cfg
}

// Reconfigure changes the uplink's settings while packets flow. Flows of an address
// that is gone end.
func (u *Uplink) Reconfigure(cfg UplinkConfig) {
	u.changing.Lock()
	defer u.changing.Unlock()
	n := u.network
	n.mu.Lock()
	old := u.cfg
	u.cfg = cfg
	n.mu.Unlock()
	u.table.SetAddresses(cfg.addresses())
	n.Reconfigure(cfg.network(), nil)
	u.fixNeighbors(&cfg)
	if old.MAC != cfg.MAC || old.Client6 != cfg.Client6 || !slices.Equal(old.addresses(), cfg.addresses()) {
		u.announce(&cfg)
	}
}

// fixNeighbors makes the neighbours known that need not be asked, and sends what has
// waited for them.
func (u *Uplink) fixNeighbors(cfg *UplinkConfig) {
	var frames []*frame.Frame
	for _, h := range u.network.neighbors.fix(cfg.Neighbors, u.network.now.Load()) {
		frames = append(frames, h.frame)
	}
	u.network.gateway.Resolve(frames)
}

// announce tells the neighbours where the uplink's addresses are now, unless this
// machine does so.
func (u *Uplink) announce(cfg *UplinkConfig) {
	s := u.network.snapshot.Load()
	if cfg.Shared || s.gateway == nil {
		return
	}
	var frames []*frame.Frame
	for _, a := range cfg.addresses() {
		frames = append(frames, announcement(cfg.MAC, a))
	}
	if s.gateway.six.link.IsValid() {
		frames = append(frames, s.gateway.mldReport(changeToExclude))
	}
	u.network.gateway.Send(frames)
}

// expire lets flows end in time.
func (u *Uplink) expire() {
	defer close(u.done)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			u.table.Expire(u.network.now.Load())
		case <-u.stop:
			return
		}
	}
}

func (c *UplinkConfig) addresses() []netip.Addr {
	var list []netip.Addr
	if c.Address.IsValid() {
		list = append(list, c.Address.Addr())
	}
	for _, a := range c.Address6 {
		list = append(list, a.Addr())
	}
	return append(list, c.Extra...)
}

func (c *UplinkConfig) network() NetworkConfig {
	return NetworkConfig{Address: c.MAC, MTU: c.MTU, FDB: outsideFDB, Gateway: GatewayConfig{Address: c.Address, Address6: c.Address6}}
}

// join lets a network lead to the uplink, or changes how. n.mu is held, which comes
// before that of the uplink's network.
func (u *Uplink) join(n *Network, c *RoutingConfig) error {
	u.network.mu.Lock()
	defer u.network.mu.Unlock()
	as := n.asUser(c)
	if err := u.clash(&as); err != nil {
		return err
	}
	if !c.tracks() {
		u.table.RemoveZone(n.zone)
	} else if err := u.table.SetZone(n.zone, c.Zone); err != nil {
		return err
	}
	u.users[n.zone] = as
	u.network.swap()
	return nil
}

// update notes that a network is another one now. n.mu is held.
func (u *Uplink) update(n *Network) {
	u.network.mu.Lock()
	defer u.network.mu.Unlock()
	u.users[n.zone] = n.asUser(&n.routing)
	u.network.swap()
}

// asUser returns what an uplink has to know of the network. n.mu is held.
func (n *Network) asUser(c *RoutingConfig) user {
	as := user{network: n, longest: n.cfg.MTU + frame.HeaderLen}
	inside := n.cfg.Gateway.subnets()
	for _, r := range c.Routes {
		inside = append(inside, r.Destination.Masked())
	}
	for _, p := range inside {
		if by := c.treatment(p.Addr()); by != Translated {
			as.routed = append(as.routed, routed{p, by})
		}
	}
	return as
}

// clash returns an error where another network has a subnet of the user's, untranslated:
// packets from outside would not know where to go. u.network.mu is held.
func (u *Uplink) clash(as *user) error {
	for _, other := range u.users {
		for _, r := range other.routed {
			if other.network != as.network && slices.ContainsFunc(as.routed, func(own routed) bool { return own.prefix == r.prefix }) {
				return fmt.Errorf("uplink %q: network %q has the subnet %s already: choose another, or translate one of them", u.Name(), other.network.name, r.prefix)
			}
		}
	}
	return nil
}

// leave ends that, and the flows of the network.
func (u *Uplink) leave(n *Network) {
	u.table.RemoveZone(n.zone)
	u.network.mu.Lock()
	defer u.network.mu.Unlock()
	delete(u.users, n.zone)
	u.network.swap()
	u.network.grace()
	u.network.wallUp()
}

// view fills in the ways of an uplink. network.mu is held.
func (u *Uplink) view(r *router, door func(*Network) int) {
	add := func(p netip.Prefix, y *way) {
		if !u.cfg.isIdle(p.Addr()) {
			r.ways.Insert(p.Masked(), y)
		}
	}
	r.narrowest = math.MaxInt
	for _, route := range u.cfg.Routes {
		y := &way{kind: out, via: route.Via}
		if route.Blocked {
			y.kind = nowhere
		}
		if !u.isInside(route.Destination) {
			add(route.Destination, y)
		}
	}
	for _, a := range u.cfg.prefixes() {
		if !u.isInside(a) {
			add(a, &way{kind: out})
		}
	}
	for _, user := range u.users {
		r.narrowest = min(r.narrowest, user.longest)
		r.routed = r.routed || len(user.routed) > 0
		for _, p := range user.routed {
			add(p.prefix, &way{kind: toNetwork, door: door(user.network), by: p.by})
		}
	}
}

// isInside reports whether a part of the address space is in what the uplink leads to: a
// router out there that has a way to it would take the packets of others. network.mu is
// held.
func (u *Uplink) isInside(part netip.Prefix) bool {
	for _, user := range u.users {
		for _, r := range user.routed {
			if r.prefix.Bits() <= part.Bits() && r.prefix.Contains(part.Addr()) {
				return true
			}
		}
	}
	return false
}

// isIdle reports whether the uplink is out of use for the family of an address.
func (c *UplinkConfig) isIdle(a netip.Addr) bool { return a.Is4() && c.Idle || a.Is6() && c.Idle6 }

// prefixes returns the subnets of all addresses.
func (c *UplinkConfig) prefixes() []netip.Prefix {
	g := c.network().Gateway
	return g.subnets()
}

// links returns what the uplink reaches without another router.
func (c *UplinkConfig) links() []netip.Prefix {
	links := c.prefixes()
	for _, r := range c.Routes {
		switch {
		case r.Blocked:
		case r.Via.IsValid():
			links = append(links, netip.PrefixFrom(r.Via, r.Via.BitLen()))
		default:
			links = append(links, r.Destination)
		}
	}
	return links
}

// SetRouting changes where the network's packets may go. On an error, which says
// what two networks of an uplink both want, nothing has changed.
func (n *Network) SetRouting(c RoutingConfig) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c.Uplink != nil {
		if err := c.Uplink.join(n, &c); err != nil {
			return err
		}
	}
	old := n.routing.Uplink
	n.routing = c
	n.swap()
	n.grace()
	n.wallUp()
	if old != nil && old != c.Uplink {
		old.leave(n)
	}
	return nil
}

// wallUp takes away the doors that lead nowhere now. n.mu is held, and nobody uses an
// older snapshot.
func (n *Network) wallUp() {
	targets := n.targets()
	for _, p := range n.ports {
		if p != nil {
			p.wallUp(targets)
		}
	}
}

// Zone returns the number of the network in the tables of uplinks.
func (n *Network) Zone() nat.Zone { return n.zone }
