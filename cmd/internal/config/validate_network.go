package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

func (r *report) network(at place, n *Network) {
	r.name(at, "network", n.Name)
	r.forward(at.sub("forward"), n.Forward)
	r.networkMAC(at.sub("mac"), n.MAC)
	r.uplink(at.sub("uplink"), n)
	r.within(at.sub("mtu"), n.MTU, minMTU, maxMTU, " bytes")
	r.word(at.sub("reserved_groups"), n.ReservedGroups, ReservedSwitch, ReservedWire)
	r.stp(at.sub("stp"), &n.STP)
	r.seconds(at.sub("snooping").sub("interval"), n.Snooping.Interval, 10, 3600, "")
	r.fdb(at.sub("fdb"), n)
	r.gateway(at, n)
	r.forwarding(at, n)
	r.ra(at.sub("ra"), n)
	r.dhcp(at.sub("dhcp"), n)
	r.dhcp6(at.sub("dhcp6"), n)
	r.dns(at.sub("dns"), n)
	r.ports(n)
	r.modes(n)
}

// ports checks each port, and what two of them cannot share.
func (r *report) ports(n *Network) {
	seen := map[string]bool{}
	macs := map[frame.MAC]string{}
	addresses := map[netip.Addr]string{}
	for i := range n.Ports {
		p := &n.Ports[i]
		in := place{network: n.Name, port: p.Name}
		if seen[p.Name] {
			r.refuse(in, "is there already: give one of the two another name")
		}
		seen[p.Name] = true
		if p.Seat { // what it is made of was checked in the network
			r.policy(in, &p.Policy)
		} else {
			r.port(in, p)
		}
		r.seat(in, n, p)
		r.maxMACs(in.sub("security").sub("max_macs"), n, p)
		r.uniqueMAC(in.sub("mac"), n, p, macs)
		r.uniqueAddresses(in.sub("address"), n, p, addresses)
	}
}

func (r *report) forward(at place, s string) {
	switch s {
	case "masquerade", "snat":
		r.refuse(at, "%s is %s here: write that", quoted(s), ForwardNAT)
		return
	case "open":
		r.refuse(at, "%s is %s here: write that", quoted(s), ForwardRoute)
		return
	case "none":
		r.refuse(at, "%s is %s here: write that", quoted(s), ForwardIsolated)
		return
	}
	// Elsewhere, such as in libvirt, these are values of one key.
	if mode := nearest(s, []string{ModeVEPA, ModePrivate, ModePassthrough}); mode != "" {
		r.refuse(at, "%s belongs to a port: write forward: %s here, and mode: %s for the port", quoted(s), ForwardBridge, mode)
		return
	}
	r.word(at, s, ForwardIsolated, ForwardNAT, ForwardRoute, ForwardBridge)
}

func (r *report) networkMAC(at place, m frame.MAC) {
	switch {
	case m == frame.MAC{}:
		r.refuse(at, "%v", errZeroMAC)
	case m.IsGroup():
		r.refuse(at, "%v is a group address: a network needs a unicast one, such as 02:00:00:00:00:01", m)
	}
}

func (r *report) uplinkPort(at place, n *Network) {
	p := n.onInterface(n.Uplink.Interface)
	if p == nil && n.Port(uplinkPort) == nil {
		r.refuse(at, "no port is on %s: add one of type raw", quoted(n.Uplink.Interface))
		return
	}
	if p == nil {
		r.refuse(at, "the port on it would be named %q, as one on another interface is: rename that, or add a port of type raw on %s",
			uplinkPort, quoted(n.Uplink.Interface))
		return
	}
	if p.Type == TypeTap || p.Type == TypeInternal {
		r.refuse(at, "%s is the interface of port %s, of type %s: an uplink needs one that is there already, as ports of type raw do",
			quoted(n.Uplink.Interface), quoted(p.Name), p.Type)
	}
}

func (r *report) stp(at place, s *STP) {
	r.steps(at.sub("priority"), s.Priority, maxBridgePriority, bridgePriorityStep)
	r.seconds(at.sub("hello"), s.Hello, 1, 10, "")
	r.seconds(at.sub("max_age"), s.MaxAge, 6, 40, "")
	if s.ForwardDelay != 0 {
		r.seconds(at.sub("forward_delay"), s.ForwardDelay, 2, 30, ", or 0s to forward at once")
	}
	// IEEE 802.1D-2004 clause 17.14 asks for it; its other half, of the forward
	// delay, is a recommendation that 0s could not follow.
	if least := 2 * (s.Hello + time.Second); s.MaxAge < least && !r.refused[at.sub("hello")] {
		r.refuse(at.sub("max_age"), "%v is below twice hello and a second (%v): raise it, or lower hello", s.MaxAge, least)
	}
}

func (r *report) fdb(at place, n *Network) {
	f := &n.FDB
	if f.Ageing != 0 && (f.Ageing < minAgeing || f.Ageing > maxAgeing) {
		r.refuse(at.sub("ageing"), "%v is out of range: give 1s-12h, or 0s for never", f.Ageing)
	}
	r.within(at.sub("limit"), f.Limit, 1, maxLimit, " entries")
	if !r.refused[at.sub("limit")] {
		r.within(at.sub("port_limit"), f.PortLimit, 0, f.Limit, " entries (0 means the limit of the network)")
	}
	type address struct {
		mac  frame.MAC
		vlan uint16
	}
	seen := map[address]bool{}
	for i, s := range f.Static {
		in := at.sub("static").index(i)
		r.static(in, s, n)
		if a := (address{s.MAC, s.VLAN}); seen[a] {
			r.refuse(in.sub("mac"), "%v with VLAN %d is there already: remove one of the two", s.MAC, s.VLAN)
		} else {
			seen[a] = true
		}
	}
}

func (r *report) static(at place, s StaticEntry, n *Network) {
	switch {
	case s.MAC == frame.MAC{}:
		r.refuse(at.sub("mac"), "is missing or zero: write the address to pin, such as 02:00:00:00:00:01")
	case s.MAC.IsGroup():
		r.refuse(at.sub("mac"), "%v is a group address: only a unicast address can be pinned", s.MAC)
	}
	if s.VLAN > maxVLAN {
		r.refuse(at.sub("vlan"), "%v", badVLAN(int(s.VLAN)))
	}
	if s.Port == "" {
		r.refuse(at.sub("port"), "is missing: write the name of a port of this network")
	} else if p := n.Port(s.Port); p == nil {
		r.refuse(at.sub("port"), "there is no port %s in this network%s", quoted(s.Port), nearPort(s.Port, n))
	} else {
		r.staticVLAN(at.sub("vlan"), s, p.VLAN.only())
	}
}

// staticVLAN refuses an entry that would lead nowhere: in a VLAN that its port,
// which is in those only, is not in.
func (r *report) staticVLAN(at place, s StaticEntry, only []VLANRange) {
	if len(only) == 0 || slices.ContainsFunc(only, func(v VLANRange) bool { return v.has(s.VLAN) }) {
		return
	}
	const most = 8 // of the ranges of a trunk; more flood a terminal
	list := make([]string, 0, most+1)
	for _, v := range only[:min(len(only), most)] {
		list = append(list, v.String())
	}
	if len(only) > most {
		list = append(list, "…")
	}
	write := "vlan: " + list[0]
	if len(only) > 1 || only[0].First != only[0].Last {
		write = "a vlan of " + strings.Join(list, ", ")
	}
	r.refuse(at, "port %s is not in VLAN %d: write %s, or remove the entry", quoted(s.Port), s.VLAN, write)
}

// maxMACs refuses a number that the port could not reach: at the port_limit the
// table lets go of older addresses.
func (r *report) maxMACs(at place, n *Network, p *Port) {
	most := n.FDB.PortLimit
	if most > 0 && p.Security.MaxMACs > most && !r.refused[place{network: n.Name, key: "fdb.port_limit"}] {
		r.refuse(at, "%d is above the fdb.port_limit of %d: lower it, or raise that", p.Security.MaxMACs, most)
	}
}

func nearPort(name string, n *Network) string {
	known := make([]string, len(n.Ports))
	for i := range n.Ports {
		known[i] = n.Ports[i].Name
	}
	if near := nearest(name, known); near != "" {
		return "; did you mean " + quoted(near) + "?"
	}
	return ": add it, or name another one"
}

func badVLAN(v int) error {
	return fmt.Errorf("%d is out of range: give 1-%d, or 0 for untagged", v, maxVLAN)
}

func (r *report) uniqueMAC(at place, n *Network, p *Port, seen map[frame.MAC]string) {
	if p.MAC == (frame.MAC{}) || p.Seat {
		return
	}
	if p.MAC == n.MAC {
		r.refuse(at, "%v is the address of the network itself: give the port its own", p.MAC)
		return
	}
	if other, twice := seen[p.MAC]; twice {
		r.refuse(at, "%v is the address of port %s already: give each port its own", p.MAC, quoted(other))
		return
	}
	seen[p.MAC] = p.Name
}

func (r *report) uniqueAddresses(at place, n *Network, p *Port, seen map[netip.Addr]string) {
	if p.Seat {
		return
	}
	for i, a := range p.Addresses {
		if a.IsValid() && holder(n.Addresses, a.Addr()).Addr() == a.Addr() {
			r.refuse(r.item(at, i, len(p.Addresses)), "%v is the address of the gateway: give the port its own", a.Addr())
			continue
		}
		if other, twice := seen[a.Addr()]; twice && a.IsValid() {
			r.refuse(r.item(at, i, len(p.Addresses)), "%v is an address of port %s already: use each one once", a.Addr(), quoted(other))
			continue
		}
		seen[a.Addr()] = p.Name
	}
}
