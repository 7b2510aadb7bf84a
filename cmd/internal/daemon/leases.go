package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
)

// Leases implements api.Backend.
func (d *Daemon) Leases(network string) ([]api.Lease, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, network); err != nil {
		return nil, err
	}
	list := []api.Lease{}
	for _, n := range cfg.Networks {
		s := d.servicesOf(n.Name)
		if s == nil || network != "" && n.Name != network {
			continue
		}
		if server := s.dhcp.Load(); server != nil {
			for _, l := range server.Leases() {
				list = append(list, describeLease(n.Name, l))
			}
		}
		if server := s.dhcp6.Load(); server != nil {
			for _, l := range server.Leases() {
				list = append(list, describeLease6(n.Name, l))
			}
		}
	}
	return list, nil
}

func describeLease(network string, l dhcp.Lease) api.Lease {
	v := api.Lease{
		Network: network, Hostname: l.Hostname, ClientID: hexBytes(l.ClientID),
		Kind: l.Kind.String(), State: l.State.String(), Port: l.Port,
	}
	if l.Address.IsValid() {
		v.Address = l.Address.String()
	}
	if l.MAC != (frame.MAC{}) {
		v.MAC = l.MAC.String()
	}
	if !l.Expires.IsZero() {
		v.Expires = &l.Expires
	}
	return v
}

func describeLease6(network string, l dhcp6.Lease) api.Lease {
	v := describeLease(network, dhcp.Lease{
		MAC: l.MAC, ClientID: l.DUID, Hostname: l.Hostname, Expires: l.Expires, State: l.State, Kind: l.Kind, Port: l.Port,
	})
	switch {
	case !l.Prefix.IsValid():
	case l.Prefix.IsSingleIP():
		v.Address = l.Prefix.Addr().String()
	default:
		v.Address = l.Prefix.String()
	}
	if l.State != dhcp.Reserved {
		v.IAID = &l.IAID
	}
	return v
}

func hexBytes(b []byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% x", b), " ", ":")
}

// Lease implements api.Backend.
func (d *Daemon) Lease(network, who string) (api.Lease, error) {
	if err := d.mustServeDHCP(network); err != nil {
		return api.Lease{}, err
	}
	list, err := d.Leases(network)
	if err != nil {
		return api.Lease{}, err
	}
	return chooseLease(list, network, who)
}

// chooseLease returns the only lease that who fits, or of several the only one that
// is active: a client that moved leaves others behind it.
func chooseLease(list []api.Lease, network, who string) (api.Lease, error) {
	var fit, active []api.Lease
	for _, l := range list {
		if !isLeaseOf(l, who) {
			continue
		}
		fit = append(fit, l)
		if l.State == api.LeaseActive {
			active = append(active, l)
		}
	}
	switch {
	case len(fit) == 0:
		return api.Lease{}, api.Mark(api.ErrNotFound, fmt.Errorf("network %q: nobody with the address, prefix, MAC, name, client identifier or DUID %q has a lease: see \"weft lease list %s\"", network, who, network))
	case len(fit) == 1:
		return fit[0], nil
	case len(active) == 1:
		return active[0], nil
	}
	names := make([]string, len(fit))
	for i, l := range fit {
		names[i] = fmt.Sprintf("%s (%s)", cmp.Or(l.Address, l.Hostname, l.MAC, l.ClientID), l.State)
	}
	return api.Lease{}, api.Mark(api.ErrConflict, fmt.Errorf("network %q: %q fits several: %s: say which by its address", network, who, strings.Join(names, ", ")))
}

// isLeaseOf reports whether who is the address or prefix, the MAC, the name, the client
// identifier or the DUID of a lease.
func isLeaseOf(l api.Lease, who string) bool {
	if who == "" {
		return false
	}
	if id, err := config.ParseClientID(who); err == nil && l.ClientID == hexBytes(id) {
		return true
	}
	if m, err := parseMAC(who); err == nil {
		who = m.String()
	}
	if p, err := netip.ParsePrefix(who); err == nil {
		who = p.String()
	} else if a, err := netip.ParseAddr(who); err == nil {
		who = a.Unmap().String()
	}
	return l.Address == who || l.MAC == who || l.Hostname == strings.ToLower(who)
}

func (d *Daemon) mustServeDHCP(network string) error {
	if _, err := findNetwork(d.config(), network); err != nil {
		return err
	}
	if s := d.servicesOf(network); s == nil || s.dhcp.Load() == nil && s.dhcp6.Load() == nil {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q has no DHCP server: write dhcp: {range: …} or dhcp6: {range: …} in the file and apply it", network))
	}
	return nil
}

// ReleaseLease implements api.Backend.
func (d *Daemon) ReleaseLease(network, who string) error {
	l, err := d.Lease(network, who)
	if err != nil {
		return err
	}
	err = d.release(network, l.Address)
	if errors.Is(err, dhcp.ErrNoLease) {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s has no lease to release", network, who))
	}
	return err
}

// release ends the lease of an address or of a prefix.
func (d *Daemon) release(network, address string) error {
	s := d.servicesOf(network)
	if s == nil {
		return dhcp.ErrNoLease // the network is being removed
	}
	p, err := netip.ParsePrefix(address)
	addr, err2 := netip.ParseAddr(address)
	if err2 == nil {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch server, server6 := s.dhcp.Load(), s.dhcp6.Load(); {
	case err != nil: // a reservation of a name only
	case addr.Is4() && server != nil:
		return server.Release(addr)
	case p.Addr().Is6() && server6 != nil:
		return server6.Release(p)
	}
	return dhcp.ErrNoLease
}
