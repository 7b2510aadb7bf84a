package daemon

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
)

// Leases implements api.Backend.
func (d *Daemon) Leases(network string) ([]api.Lease, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, network); err != nil {
		return nil, err
	}
	list := []api.Lease{}
	for _, n := range cfg.Networks {
		server := d.dhcpOf(n.Name)
		if server == nil || network != "" && n.Name != network {
			continue
		}
		for _, l := range server.Leases() {
			list = append(list, describeLease(n.Name, l))
		}
	}
	return list, nil
}

// dhcpOf returns the DHCP server of a network, nil where it has none.
func (d *Daemon) dhcpOf(network string) *dhcp.Server {
	if s := d.servicesOf(network); s != nil {
		return s.dhcp.Load()
	}
	return nil
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
		return api.Lease{}, api.Mark(api.ErrNotFound, fmt.Errorf("network %q: nobody with the address, MAC, name or client identifier %q has a lease: see \"weft lease list %s\"", network, who, network))
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

// isLeaseOf reports whether who is the address, the MAC, the name or the client
// identifier of a lease.
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
	return l.Address == who || l.MAC == who || l.Hostname == strings.ToLower(who)
}

func (d *Daemon) mustServeDHCP(network string) error {
	if _, err := findNetwork(d.config(), network); err != nil {
		return err
	}
	if d.dhcpOf(network) == nil {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q has no DHCP server: write dhcp: {range: …} in the file and apply it", network))
	}
	return nil
}

// ReleaseLease implements api.Backend.
func (d *Daemon) ReleaseLease(network, who string) error {
	l, err := d.Lease(network, who)
	if err != nil {
		return err
	}
	server := d.dhcpOf(network)
	addr, _ := netip.ParseAddr(l.Address)
	if server != nil {
		err = server.Release(addr)
	}
	if errors.Is(err, dhcp.ErrNoLease) {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s has no lease to release", network, who))
	}
	return err
}

// AddLease implements api.Backend.
func (d *Daemon) AddLease(network string, spec api.LeaseSpec) error {
	h, err := reservation(spec)
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", network, err))
	}
	return d.change(func(c *config.Config) error {
		n, err := findNetwork(c, network)
		if err != nil {
			return err
		}
		if !n.Gateway().IsValid() {
			return api.Mark(api.ErrConflict, fmt.Errorf("network %q has no gateway to serve DHCP: write its address in the file and apply it", network))
		}
		for _, o := range n.DHCP.Hosts {
			if taken := clash(o, h); taken != "" {
				return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %s is reserved already: remove that with \"weft lease rm %s %s\"", network, taken, network, taken))
			}
		}
		if err := n.CheckReservation(h); err != nil {
			return api.Mark(api.ErrInvalid, err)
		}
		n.DHCP.Hosts = append(n.DHCP.Hosts, h)
		return nil
	})
}

// clash returns what two reservations have in common, empty where nothing.
func clash(a, b config.DHCPHost) string {
	switch {
	case a.MAC == b.MAC && a.MAC != frame.MAC{}:
		return a.MAC.String()
	case a.ClientID != nil && bytes.Equal(a.ClientID, b.ClientID):
		return hexBytes(a.ClientID)
	case a.Address == b.Address && a.Address.IsValid():
		return a.Address.String()
	case a.Name == strings.ToLower(b.Name) && a.Name != "":
		return a.Name
	}
	return ""
}

func reservation(spec api.LeaseSpec) (h config.DHCPHost, err error) {
	if spec.MAC != "" {
		if h.MAC, err = parseMAC(spec.MAC); err != nil {
			return h, err
		}
	}
	if spec.ClientID != "" {
		if h.ClientID, err = config.ParseClientID(spec.ClientID); err != nil {
			return h, fmt.Errorf("client id %w", err)
		}
	}
	if spec.Address != "" {
		if h.Address, err = netip.ParseAddr(spec.Address); err != nil {
			return h, fmt.Errorf("address %q is not of the form 10.0.0.10", spec.Address)
		}
	}
	h.Name = spec.Name
	switch {
	case spec.LeaseSeconds == api.LeaseForever:
		h.Lease = config.InfiniteLease
	case spec.LeaseSeconds < 0 || spec.LeaseSeconds > api.LeaseForever:
		return h, fmt.Errorf("a lease of %d seconds is out of range: give 120-31536000, or %d for ever", spec.LeaseSeconds, int64(api.LeaseForever))
	default:
		h.Lease = time.Duration(spec.LeaseSeconds) * time.Second
	}
	return h, nil
}

// RemoveLease implements api.Backend.
func (d *Daemon) RemoveLease(network, who string) error {
	return d.change(func(c *config.Config) error {
		n, err := findNetwork(c, network)
		if err != nil {
			return err
		}
		var fit []int
		for i, h := range n.DHCP.Hosts {
			if isReservationOf(h, who) {
				fit = append(fit, i)
			}
		}
		switch len(fit) {
		case 0:
			return d.notReserved(n, who)
		case 1:
			n.DHCP.Hosts = slices.Delete(n.DHCP.Hosts, fit[0], fit[0]+1)
			return nil
		}
		return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %q is a word of %d reservations: name the one by its address, MAC or host name", network, who, len(fit)))
	})
}

// notReserved says why there is no reservation to remove.
func (d *Daemon) notReserved(n *config.Network, who string) error {
	list, _ := d.Leases(n.Name) // of a network that there is
	ofFile := func(l api.Lease) bool { return l.Kind == api.LeaseStatic && isLeaseOf(l, who) }
	if n.DHCP.HostsFile != "" && slices.ContainsFunc(list, ofFile) {
		return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %s is reserved in the hosts_file %s: remove it there", n.Name, who, n.DHCP.HostsFile))
	}
	return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: nothing is reserved for %q in the running configuration: see \"weft lease list %s\"", n.Name, who, n.Name))
}

func isReservationOf(h config.DHCPHost, who string) bool {
	l := api.Lease{Hostname: h.Name, ClientID: hexBytes(h.ClientID)}
	if h.Address.IsValid() {
		l.Address = h.Address.String()
	}
	if h.MAC != (frame.MAC{}) {
		l.MAC = h.MAC.String()
	}
	return isLeaseOf(l, who)
}
