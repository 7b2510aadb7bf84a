package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane/frame"
)

// booking is a reservation of either family: id is the client identifier of DHCP, or
// the DUID of DHCPv6.
type booking struct {
	six     bool
	id      []byte
	mac     frame.MAC
	address netip.Addr
	name    string
	lease   time.Duration
}

func (b *booking) host() config.DHCPHost {
	return config.DHCPHost{MAC: b.mac, ClientID: b.id, Address: b.address, Name: b.name, Lease: b.lease}
}

func (b *booking) host6() config.DHCP6Host {
	return config.DHCP6Host{MAC: b.mac, DUID: b.id, Address: b.address, Name: b.name, Lease: b.lease}
}

// bookings returns the reservations of a network, those of IPv4 first, each family in
// the order of the configuration.
func bookings(n *config.Network) []booking {
	var list []booking
	for _, h := range n.DHCP.Hosts {
		list = append(list, booking{id: h.ClientID, mac: h.MAC, address: h.Address, name: h.Name, lease: h.Lease})
	}
	for _, h := range n.DHCP6.Hosts {
		list = append(list, booking{six: true, id: h.DUID, mac: h.MAC, address: h.Address, name: h.Name, lease: h.Lease})
	}
	return list
}

// AddLease implements api.Backend.
func (d *Daemon) AddLease(network string, spec api.LeaseSpec) error {
	b, err := reservation(spec)
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", network, err))
	}
	return d.change(func(c *config.Config) error {
		n, err := findNetwork(c, network)
		if err != nil {
			return err
		}
		if err := b.needsGateway(n); err != nil {
			return api.Mark(api.ErrConflict, err)
		}
		for _, o := range bookings(n) {
			if taken := clash(&o, &b); taken != "" {
				return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %s is reserved already: remove that with \"weft lease rm %s %s\"", network, taken, network, o.key()))
			}
		}
		if b.six {
			err = n.CheckReservation6(b.host6())
		} else {
			err = n.CheckReservation(b.host())
		}
		if err != nil {
			return api.Mark(api.ErrInvalid, err)
		}
		if b.six {
			n.DHCP6.Hosts = append(n.DHCP6.Hosts, b.host6())
		} else {
			n.DHCP.Hosts = append(n.DHCP.Hosts, b.host())
		}
		return nil
	})
}

// needsGateway refuses what nobody would serve.
func (b *booking) needsGateway(n *config.Network) error {
	switch {
	case !hasGateway(n), !b.six && !n.Gateway().IsValid():
		return fmt.Errorf("network %q has no gateway to serve DHCP: write its address in the file and apply it", n.Name)
	case b.six && len(n.Gateway6()) == 0:
		return fmt.Errorf("network %q has no IPv6 address to serve DHCPv6: write one in the file, or the word ula, and apply it", n.Name)
	}
	return nil
}

// key is what "weft lease rm" takes for a reservation, and no other one has.
func (b *booking) key() string {
	switch {
	case b.address.IsValid():
		return b.address.String()
	case b.id != nil:
		return hexBytes(b.id)
	case b.name != "":
		return b.name
	}
	return b.mac.String()
}

// clash returns what two reservations of one family have in common, empty where nothing.
// A machine may have one of each.
func clash(a, b *booking) string {
	switch {
	case a.six != b.six:
	case a.mac == b.mac && a.mac != frame.MAC{}:
		return a.mac.String()
	case a.id != nil && bytes.Equal(a.id, b.id):
		return hexBytes(a.id)
	case a.address == b.address && a.address.IsValid():
		return a.address.String()
	case a.name == strings.ToLower(b.name) && a.name != "":
		return a.name
	}
	return ""
}

// reservation reads what a command asks for. It is of DHCPv6 where its address is of
// IPv6, or where a DUID says for whom.
func reservation(spec api.LeaseSpec) (b booking, err error) {
	if spec.Address != "" {
		if b.address, err = netip.ParseAddr(spec.Address); err != nil || b.address.Zone() != "" {
			return b, fmt.Errorf("address %q is not of the form 10.0.0.10 or 2001:db8::10", spec.Address)
		}
		if b.address.Is4In6() {
			return b, fmt.Errorf("address %q is an IPv4 address in IPv6 form: write %v", spec.Address, b.address.Unmap())
		}
	}
	b.six = b.address.Is6() || spec.DUID != ""
	if spec.MAC != "" {
		if b.mac, err = parseMAC(spec.MAC); err != nil {
			return b, err
		}
	}
	switch {
	case spec.ClientID != "" && b.six:
		return b, errors.New("client id: a reservation of DHCPv6 has a DUID in its place")
	case spec.ClientID != "":
		if b.id, err = config.ParseClientID(spec.ClientID); err != nil {
			return b, fmt.Errorf("client id %w", err)
		}
	case spec.DUID != "" && b.address.Is4():
		return b, fmt.Errorf("duid: %v is an IPv4 address, and a DUID of DHCPv6: give one of the two up", b.address)
	case spec.DUID != "":
		if b.id, err = config.ParseDUID(spec.DUID); err != nil {
			return b, fmt.Errorf("duid %w", err)
		}
	}
	b.name = spec.Name
	switch {
	case spec.LeaseSeconds == api.LeaseForever:
		b.lease = config.InfiniteLease
	case spec.LeaseSeconds < 0 || spec.LeaseSeconds > api.LeaseForever:
		return b, fmt.Errorf("a lease of %d seconds is out of range: give 120-31536000, or %d for ever", spec.LeaseSeconds, int64(api.LeaseForever))
	default:
		b.lease = time.Duration(spec.LeaseSeconds) * time.Second
	}
	return b, nil
}

// RemoveLease implements api.Backend.
func (d *Daemon) RemoveLease(network, who string) error {
	return d.change(func(c *config.Config) error {
		n, err := findNetwork(c, network)
		if err != nil {
			return err
		}
		var fit []int
		var keys []string
		all := bookings(n)
		for i := range all {
			if all[i].isOf(who) {
				fit, keys = append(fit, i), append(keys, all[i].key())
			}
		}
		switch len(fit) {
		case 0:
			return d.notReserved(n, who)
		case 1:
			if i := fit[0] - len(n.DHCP.Hosts); i >= 0 {
				n.DHCP6.Hosts = slices.Delete(n.DHCP6.Hosts, i, i+1)
			} else {
				n.DHCP.Hosts = slices.Delete(n.DHCP.Hosts, fit[0], fit[0]+1)
			}
			return nil
		}
		return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %q is a word of several reservations, %s: name one of these", network, who, strings.Join(keys, " and ")))
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

func (b *booking) isOf(who string) bool {
	l := api.Lease{Hostname: b.name, ClientID: hexBytes(b.id)}
	if b.address.IsValid() {
		l.Address = b.address.String()
	}
	if b.mac != (frame.MAC{}) {
		l.MAC = b.mac.String()
	}
	return isLeaseOf(l, who)
}
