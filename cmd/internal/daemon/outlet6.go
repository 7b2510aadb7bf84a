package daemon

import (
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/uplink"
)

// asks6 reports whether the addresses of IPv6 are what routers and servers out there
// give.
func (o *outlet) asks6() bool {
	return o.want.Address6 == config.AddressSLAAC || o.want.Address6 == config.AddressDHCP6
}

// kinds are those of each family, one where they are the same.
func (o *outlet) kinds() []string {
	if !o.want.Owned() {
		return []string{o.kind}
	}
	var list []string
	for _, a := range []string{o.want.Address, o.want.Address6} {
		switch a {
		case "", config.AddressNone:
		case config.AddressDHCP:
			list = append(list, api.UplinkDHCP)
		case config.AddressSLAAC:
			list = append(list, api.UplinkSLAAC)
		case config.AddressDHCP6:
			list = append(list, api.UplinkDHCP6)
		default:
			list = append(list, api.UplinkStatic)
		}
	}
	return slices.Compact(list)
}

// askForAddress6 listens to routers, and asks DHCPv6 where they, or the configuration,
// say so.
func (o *outlet) askForAddress6(info netdev.Info) {
	seat := o.uplink.Network().Gateway()
	o.six = uplink.NewClient6(uplink.Client6Config{MAC: info.MAC, DHCP: o.want.Address6 == config.AddressDHCP6}, uplink.Client6Env{
		Inbox: seat.Inbox(dataplane.Client6), Send: seat.Send, Log: o.log,
		Accept: func(l uplink.Lease6) error { return o.d.acceptable(l.Addresses...) },
		OnChange: func(l uplink.Lease6) {
			o.mu.Lock()
			o.lease6 = l
			o.mu.Unlock()
			o.d.nudge()
		},
	})
	o.run(o.six.Run)
}

// setLink tells the clients whether the link is there, and whether it may have been
// away since they were told last.
func (o *outlet) setLink(link bool) {
	touched := o.client != nil || o.six != nil
	touched = touched && o.touched.Swap(false) && link
	if o.client != nil {
		if o.client.SetLink(link); touched {
			o.client.LinkEvent()
		}
	}
	if o.six != nil {
		if o.six.SetLink(link); touched {
			o.six.LinkEvent()
		}
	}
}

// leaseMTU returns the smaller MTU that a DHCP server or a router has given, 0 where
// none has given one.
func (o *outlet) leaseMTU() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if six := o.lease6.MTU; six > 0 && (o.lease.MTU == 0 || six < o.lease.MTU) {
		return six
	}
	return o.lease.MTU
}

// leadsOut6 reports whether hosts of a network reach anything of IPv6 by their router
// now: the outside, or another network. d.changing is held.
func (d *Daemon) leadsOut6(all *config.Config, n *config.Network) bool {
	for _, name := range n.Reach {
		if other := all.Network(name); other != nil && len(other.Gateway6()) > 0 {
			return true
		}
	}
	u, ok := d.uplinkOf(n)
	o := d.outlets[u]
	if !ok || o == nil || o.unroutable(n) != nil {
		return false
	}
	if o.kind == api.UplinkSockets {
		return hasRoute6()
	}
	return leads6(o.uplink.Config())
}

// leads6 reports whether an uplink leads to the Internet of IPv6: hosts that have a way out
// of it would else try that in vain (RFC 7084 G-4).
func leads6(c dataplane.UplinkConfig) bool {
	return !c.Idle6 && len(c.Address6) > 0 && slices.ContainsFunc(c.Routes, func(r dataplane.Route) bool {
		return !r.Blocked && r.Destination.Contains(anywhere6)
	})
}

// anywhere6 is an address that only a default route, or one of what IANA has given to
// the Internet as a whole, leads to.
var anywhere6 = netip.MustParseAddr("2000::")

// hasRoute6 reports whether this host has a way to the Internet of IPv6.
func hasRoute6() bool {
	routes, err := netlink.RouteGet(anywhere6.AsSlice())
	return err == nil && len(routes) > 0
}
