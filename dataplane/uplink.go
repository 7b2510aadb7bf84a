package dataplane

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
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
	Extra   []netip.Addr // more outside addresses
	Routes  []Route      // into the world outside

	// Shared says that this machine has the address too: it answers ARP and echo.
	Shared bool
	// Client gives UDP to the port of a DHCP client to the inbox Client.
	Client bool
	// ProxyARP is what the uplink answers ARP for in the name of others.
	ProxyARP []netip.Prefix

	// Changed is told which outside ports are in use; see nat.Config. It is taken
	// from the first configuration.
	Changed func(protocol uint8, port uint16, used bool)
}

// Uplink is a way out of the switch, by layer 3. Inside it is a network of its own,
// whose one port is the interface to the world outside, and whose gateway has the
// uplink's address. Networks lead to it by their RoutingConfig.
type Uplink struct {
	network *Network
	table   *nat.Table

	// Guarded by network.mu.
	cfg   UplinkConfig
	users map[nat.Zone]user

	stop, done chan struct{}
}

// user is a network that leads to an uplink.
type user struct {
	network *Network
	routed  []netip.Prefix // what is reached there untranslated
	longest int            // frame that the network takes
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
	n := u.network
	n.mu.Lock()
	old := u.cfg
	u.cfg = cfg
	n.mu.Unlock()
	u.table.SetAddresses(cfg.addresses())
	n.Reconfigure(cfg.network(), nil)
	if old.Address != cfg.Address || old.MAC != cfg.MAC {
		n.neighbors.flush()
		u.announce()
	}
}

// announce tells the neighbours where the uplink's addresses are now (RFC 5227 clause
// 2.3), unless this machine does so.
func (u *Uplink) announce() {
	s := u.network.snapshot.Load()
	cfg := u.Config()
	if cfg.Shared {
		return
	}
	var frames []*frame.Frame
	for _, a := range cfg.addresses() {
		frames = append(frames, s.gateway.arp(arpRequest, broadcast, a, a))
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
	if !c.Address.IsValid() {
		return nil
	}
	return append([]netip.Addr{c.Address.Addr()}, c.Extra...)
}

func (c *UplinkConfig) network() NetworkConfig {
	return NetworkConfig{Address: c.MAC, MTU: c.MTU, FDB: outsideFDB, Gateway: GatewayConfig{Address: c.Address}}
}

// join lets a network lead to the uplink, or changes how.
func (u *Uplink) join(n *Network, c *RoutingConfig, prefixes []netip.Prefix) error {
	if c.NAT {
		if err := u.table.SetZone(n.zone, c.Zone); err != nil {
			return err
		}
		prefixes = nil
	} else {
		u.table.RemoveZone(n.zone)
	}
	u.network.mu.Lock()
	defer u.network.mu.Unlock()
	u.users[n.zone] = user{network: n, routed: prefixes, longest: n.cfg.MTU + frame.HeaderLen}
	u.network.swap()
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
	add := func(p netip.Prefix, y way) { r.ways.Insert(p.Masked(), y) }
	for _, route := range u.cfg.Routes {
		y := way{kind: out, via: route.Via}
		if route.Blocked {
			y.kind = nowhere
		}
		add(route.Destination, y)
	}
	if u.cfg.Address.IsValid() {
		add(u.cfg.Address, way{kind: out})
	}
	r.narrowest = math.MaxInt
	for _, user := range u.users {
		r.narrowest = min(r.narrowest, user.longest)
		for _, p := range user.routed {
			add(p, way{kind: toNetwork, door: door(user.network)})
		}
	}
}

// links returns what the uplink reaches without another router.
func (c *UplinkConfig) links() []netip.Prefix {
	var links []netip.Prefix
	if c.Address.IsValid() {
		links = append(links, c.Address.Masked())
	}
	for _, r := range c.Routes {
		switch {
		case r.Blocked:
		case r.Via.IsValid():
			links = append(links, netip.PrefixFrom(r.Via, r.Via.BitLen()))
		case r.Destination.Bits() > 0:
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
		var prefixes []netip.Prefix
		if a := n.cfg.Gateway.Address; a.IsValid() {
			prefixes = append(prefixes, a.Masked())
		}
		for _, r := range c.Routes {
			prefixes = append(prefixes, r.Destination)
		}
		if err := c.Uplink.join(n, &c, prefixes); err != nil {
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
