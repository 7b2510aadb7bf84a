package uplink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Lease is what a DHCP server has given an uplink.
type Lease struct {
	Address  netip.Prefix  // with its subnet
	Gateway  netip.Addr    // of the default route; zero: none
	Routes   []LeaseRoute  // others, in the server's order
	DNS      []netip.Addr  // name servers
	MTU      int           // 0: not said
	Server   netip.Addr    // the identifier of the server
	Duration time.Duration // from Expires back; 0: it never ends
	Expires  time.Time     // by ClientEnv.Now; zero: never

	renew, rebind time.Duration // options 58 and 59, 0 where they are not there
}

// LeaseRoute is a route that a DHCP server wants (RFC 3442).
type LeaseRoute struct {
	Destination netip.Prefix
	Via         netip.Addr // zero: on the link
}

// sameAs reports whether an uplink is the same by both leases.
func (l *Lease) sameAs(o *Lease) bool {
	return l.Address == o.Address && l.Gateway == o.Gateway && l.MTU == o.MTU &&
		slices.Equal(l.Routes, o.Routes) && slices.Equal(l.DNS, o.DNS)
}

func (l *Lease) clone() Lease {
	c := *l
	c.Routes, c.DNS = slices.Clone(l.Routes), slices.Clone(l.DNS)
	return c
}

// Bounds of what a lease may hold. A server that has more to say is not believed
// the rest.
const (
	maxLeaseRoutes  = 64
	maxLeaseServers = 8

	// minMTU is what every IPv4 host must take whole (RFC 791 clause 3.1). Option
	// 26 goes down to 68, which is of use only to someone who wants to do harm.
	minMTU = 576

	infiniteLease = 1<<32 - 1 // RFC 2131 clause 3.3
)

// Options by number (RFC 2132, RFC 3442).
const (
	optNetmask   = 1
	optRouter    = 3
	optDNS       = 6
	optHostname  = 12
	optMTU       = 26
	optRequested = 50
	optLease     = 51
	optOverload  = 52
	optType      = 53
	optServerID  = 54
	optPRL       = 55
	optMessage   = 56
	optMaxSize   = 57
	optRenewal   = 58
	optRebinding = 59
	optClientID  = 61
	optRoutes    = 121
)

// leaseOf reads what an OFFER or an ACK gives. The error says in a few words what
// no client can live with.
func leaseOf(r *reply) (*Lease, error) {
	l := &Lease{Server: r.server}
	bits, err := maskOf(r)
	if err != nil {
		return nil, err
	}
	l.Address = netip.PrefixFrom(r.yours, bits)
	if !isHost(r.yours) || !isHostOf(r.yours, l.Address) {
		return nil, fmt.Errorf("the offered address %s is none of a host", l.Address)
	}
	seconds, ok := r.number(optLease)
	if !ok || seconds == 0 {
		return nil, errors.New("the lease has no duration")
	}
	if seconds != infiniteLease {
		l.Duration = time.Duration(seconds) * time.Second
	}
	for code, d := range map[uint8]*time.Duration{optRenewal: &l.renew, optRebinding: &l.rebind} {
		if s, ok := r.number(code); ok && s != infiniteLease {
			*d = time.Duration(s) * time.Second
		}
	}
	if b := r.options[optMTU]; len(b) == 2 {
		if mtu := int(binary.BigEndian.Uint16(b)); mtu >= minMTU {
			l.MTU = mtu
		}
	}
	l.DNS = addressesOf(r.options[optDNS])
	l.readRoutes(r)
	return l, nil
}

// maskOf returns the length of the subnet's prefix. Without option 1 it is that of
// the address's class (RFC 791 clause 3.2), as other clients have it.
func maskOf(r *reply) (int, error) {
	b, ok := r.options[optNetmask]
	if !ok {
		switch first := r.yours.As4()[0]; {
		case first < 128:
			return 8, nil
		case first < 192:
			return 16, nil
		}
		return 24, nil
	}
	if len(b) != 4 {
		return 0, errors.New("the subnet mask is malformed")
	}
	mask := binary.BigEndian.Uint32(b)
	n := bits.LeadingZeros32(^mask)
	if n == 0 || mask<<n != 0 {
		return 0, fmt.Errorf("the subnet mask %s is none", netip.AddrFrom4([4]byte(b)))
	}
	return n, nil
}

// isHost reports whether an address can be that of one host.
func isHost(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] != 0 && !a.IsLoopback() && a.As4()[0] < 224
}

// isHostOf reports whether an address is neither the first nor the last one of its
// subnet. A subnet of two or one has neither (RFC 3021).
func isHostOf(a netip.Addr, subnet netip.Prefix) bool {
	if subnet.Bits() >= 31 {
		return true
	}
	b := a.As4()
	host := binary.BigEndian.Uint32(b[:]) << subnet.Bits() >> subnet.Bits()
	return host != 0 && host != 1<<(32-subnet.Bits())-1
}

func addressesOf(b []byte) []netip.Addr {
	var addrs []netip.Addr
	for ; len(b) >= 4 && len(addrs) < maxLeaseServers; b = b[4:] {
		if a := netip.AddrFrom4([4]byte(b)); isHost(a) && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// readRoutes takes the classless routes, and the routers only where there are none
// (RFC 3442: "the DHCP client MUST ignore the Router option").
func (l *Lease) readRoutes(r *reply) {
	routes, ok := classlessRoutes(r.options[optRoutes])
	if !ok || len(routes) == 0 {
		if routers := addressesOf(r.options[optRouter]); len(routers) > 0 && routers[0] != l.Address.Addr() {
			l.Gateway = routers[0]
		}
		return
	}
	for _, route := range routes {
		switch {
		case route.Via == l.Address.Addr():
			route.Via = netip.Addr{} // by ourselves: it is on the link
			fallthrough
		case route.Destination.Bits() != 0:
			l.Routes = append(l.Routes, route)
		case !l.Gateway.IsValid() && route.Via.IsValid():
			l.Gateway = route.Via
		}
	}
}

// classlessRoutes reads option 121: for each route the length of the prefix, its
// significant bytes, and the router, 0.0.0.0 for the link.
func classlessRoutes(b []byte) ([]LeaseRoute, bool) {
	var routes []LeaseRoute
	for len(b) > 0 && len(routes) < maxLeaseRoutes {
		length := int(b[0])
		significant := (length + 7) / 8
		if length > 32 || len(b) < 1+significant+4 {
			return nil, false
		}
		var dst [4]byte
		copy(dst[:], b[1:1+significant])
		via := netip.AddrFrom4([4]byte(b[1+significant:]))
		b = b[1+significant+4:]
		route := LeaseRoute{Destination: netip.PrefixFrom(netip.AddrFrom4(dst), length).Masked(), Via: via}
		if via.IsUnspecified() {
			route.Via = netip.Addr{}
		} else if !isHost(via) {
			continue
		}
		routes = append(routes, route)
	}
	return routes, true
}
