package daemon

// What weft says about itself without being asked: in its status, and on standard
// error.

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/stp"
)

// guardNotes tells of the ports that a guard of the spanning tree keeps out.
func (d *Daemon) guardNotes(network string) []string {
	var notes []string
	n := d.sw.Network(network)
	if n == nil {
		return nil
	}
	for _, p := range n.Ports() {
		if st, _ := p.STP(); st.Inconsistent != "" {
			notes = append(notes, fmt.Sprintf("port %s/%s carries no frames: %s", network, p.Name(), guardText[st.Inconsistent]))
		}
	}
	return notes
}

var guardText = map[string]string{
	stp.InconsistentBPDUGuard: "a BPDU came in, and stp.bpdu_guard has shut it until its link comes again",
	stp.InconsistentRootGuard: "a better root of the spanning tree is offered there, which stp.root_guard refuses",
	stp.InconsistentSelfLoop:  "what it sends comes back to it",
}

// uplinkNotes tells of networks that leave in another way than their users may expect,
// or not at all.
func uplinkNotes(uplinks []api.Uplink) []string {
	var notes []string
	for _, u := range uplinks {
		networks, verb := "network "+strings.Join(u.Networks, ", "), "leaves"
		if len(u.Networks) > 1 {
			networks, verb = "networks "+strings.Join(u.Networks, ", "), "leave"
		}
		switch {
		case u.State != api.StateUp:
			notes = append(notes, fmt.Sprintf("uplink %s of %s is %s: %s", u.Interface, networks, u.State, u.Detail))
		case u.Detail != "" && !isOwned(&u): // else it is the lease
			notes = append(notes, fmt.Sprintf("%s %s by %s: %s", networks, verb, leavesBy[u.Kind], u.Detail))
		}
		if isOwned(&u) {
			notes = append(notes, deafNotes("uplink "+u.Interface, u.Interface)...)
		}
	}
	return notes
}

var leavesBy = map[string]string{
	api.UplinkHost: "the address of this host", api.UplinkSockets: "sockets of this host",
}

// isOwned reports whether an uplink has its interface for itself.
func isOwned(u *api.Uplink) bool { return leavesBy[u.Kind] == "" }

// deafNotes warns of an interface of weft's alone, as raw ports and uplinks have, that
// the host still believes to use: the host no longer hears anything there.
func deafNotes(whose, name string) []string {
	info, err := netdev.Find("", name)
	if err != nil {
		return nil
	}
	ips, err := netdev.HostAddresses(info.Index)
	if err != nil || len(ips) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s: the host has address %s on %s, where it no longer receives anything while weft does", whose, ips[0], name)}
}

// hostPortNotes tells of addresses of a gateway that the host does not have at its
// host_port. To take one of IPv6 is refused where that is switched off.
func hostPortNotes(n *config.Network) []string {
	info, err := netdev.Find("", n.HostPort)
	if n.HostPort == "" || err != nil {
		return nil
	}
	ips, err := netdev.HostAddresses(info.Index)
	if err != nil {
		return nil
	}
	for _, p := range n.Gateway6() {
		if !slices.ContainsFunc(ips, net.IP(p.Addr().AsSlice()).Equal) {
			return []string{fmt.Sprintf("network %s: the host has no address %v on %s, so it reaches no guest there by that: write net.ipv6.conf.%s.disable_ipv6=0 where IPv6 is off, and start weft again",
				n.Name, p.Addr(), n.HostPort, n.HostPort)}
		}
	}
	return nil
}

// clashNotes warns of networks that put this host into a subnet which it uses by
// an interface that is not weft's: it reaches the one or the other there. Those
// that are in old already, and are there as in next, are left out; old may be nil.
func clashNotes(old, next *config.Config) []string {
	var notes []string
	var used []netdev.Subnet
	for i := range next.Networks {
		n := &next.Networks[i]
		if n.HostPort == "" || !hasGateway(n) {
			continue
		}
		if old != nil {
			if o := old.Network(n.Name); o != nil && o.HostPort == n.HostPort && slices.Equal(o.Addresses, n.Addresses) {
				continue
			}
		}
		if used == nil {
			var err error
			if used, err = netdev.Subnets(aliasPrefix); err != nil {
				return nil // only the note is missing
			}
		}
		for _, a := range n.Addresses {
			subnet := a.Masked()
			if owner, taken := usedBy(used, subnet); taken {
				notes = append(notes, fmt.Sprintf("network %q: this host uses %v by %s too, and can reach only one of the two there: give the network another address, or take its host_port away", n.Name, subnet, owner))
			}
		}
	}
	return notes
}

// warn prints notes about a change that has been made.
func (d *Daemon) warn(notes []string) {
	for _, note := range notes {
		fmt.Fprintf(d.opts.Stderr, "weft: %s\n", note)
	}
}
