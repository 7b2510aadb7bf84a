package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// reserved is a reservation of either family. The identifier of the client has a
// key of its own in each.
type reserved struct {
	family  family
	id      []byte
	idKey   string
	idText  string
	badID   string // what is wrong with it, else empty
	mac     frame.MAC
	address netip.Addr
	name    string
	lease   time.Duration
	ignore  bool
}

func (h *DHCPHost) reserved() reserved {
	v := reserved{ipv4, h.ClientID, "client_id", formatClientID(h.ClientID), "", h.MAC, h.Address, h.Name, h.Lease, h.Ignore}
	if l := len(h.ClientID); l > 0 && (l < minClientID || l > maxClientID) {
		v.badID = fmt.Sprintf("has %d bytes: give %d-%d", l, minClientID, maxClientID)
	}
	return v
}

func (h *DHCP6Host) reserved() reserved {
	v := reserved{ipv6, h.DUID, "duid", FormatDUID(h.DUID), "", h.MAC, h.Address, h.Name, h.Lease, h.Ignore}
	if err := badDUID(h.DUID); len(h.DUID) > 0 && err != nil {
		v.badID = err.Error()
	}
	return v
}

// CheckReservation checks one that a command would add to n, by itself: the keys in
// the error are those of the reservation.
func (n *Network) CheckReservation(h DHCPHost) error { return n.checkReserved(h.reserved()) }

// CheckReservation6 is CheckReservation for DHCPv6.
func (n *Network) CheckReservation6(h DHCP6Host) error { return n.checkReserved(h.reserved()) }

func (n *Network) checkReserved(h reserved) error {
	h.name = strings.ToLower(h.name)
	gateways := n.gateways(h.family)
	if len(gateways) == 0 {
		return nil // nothing can be held against it
	}
	r := newReport("")
	r.reservation(place{network: n.Name}, n, h, gateways)
	return r.err()
}

func (r *report) reservations(at place, n *Network, hosts []reserved) {
	seen := map[string]int{}
	gateways := map[family][]netip.Prefix{ipv4: n.gateways(ipv4), ipv6: n.gateways(ipv6)}
	unique := func(in place, i int, what, value string) {
		if first, twice := seen[what+value]; twice {
			r.refuse(in, "%s is that of hosts[%d] already: give each client its own", quoted(value), first)
			return
		}
		seen[what+value] = i
	}
	for i, h := range hosts {
		in := at.index(i)
		r.reservation(in, n, h, gateways[h.family])
		if h.mac != (frame.MAC{}) {
			unique(in.sub("mac"), i, "mac ", h.mac.String())
		}
		if len(h.id) > 0 {
			unique(in.sub(h.idKey), i, "client ", h.idText)
		}
		if h.address.IsValid() {
			unique(in.sub("address"), i, "address ", h.address.String())
		}
		if h.name != "" {
			unique(in.sub("name"), i, "name ", h.name)
		}
	}
}

func (r *report) reservation(at place, n *Network, h reserved, gateways []netip.Prefix) {
	switch {
	case h.mac == frame.MAC{} && len(h.id) == 0 && !r.refused[at.sub("mac")] && !r.refused[at.sub(h.idKey)]:
		r.refuse(at, "is for nobody: write the mac or the %s of the client", h.idKey)
	case h.ignore && (h.address.IsValid() || h.name != "" || h.lease != 0):
		r.refuse(at.sub("ignore"), "is true, so the client gets nothing: remove its address, name and lease, or this")
	case h.ignore:
	case !h.address.IsValid() && h.name == "" && h.lease == 0 && !r.refused[at.sub("address")] && !r.refused[at.sub("name")] && !r.refused[at.sub("lease")]:
		r.refuse(at, "says nothing about the client: write an address, a name, a lease or ignore: true")
	}
	if h.mac.IsGroup() {
		r.refuse(at.sub("mac"), "%v is a group address: a client has a unicast one, such as 02:00:00:00:00:01", h.mac)
	}
	if h.badID != "" {
		r.refuse(at.sub(h.idKey), "%s", h.badID)
	}
	if h.address.IsValid() {
		r.outsideULA(at.sub("address"), n, h.address)
		if why := badClient(h.address, h.family, gateways); why != "" {
			r.refuse(at.sub("address"), "%v %s", h.address, why)
		}
	}
	switch why := badLabel(h.name); {
	case h.name == "":
	case why != "":
		r.refuse(at.sub("name"), "%s %s", quoted(h.name), why)
	case h.name == n.DNS.Name:
		r.refuse(at.sub("name"), "%s is the name of the gateway: choose another one, or another dns.name", quoted(h.name))
	}
	if h.lease != 0 {
		r.lease(at.sub("lease"), h.lease)
	}
}
