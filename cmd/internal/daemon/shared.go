package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/uplink"
)

// What weft and the host have of the ports of an address that they share.

// usablePorts says what the host leaves of those from first to last, nil where the
// address is not shared.
func (o *outlet) usablePorts(first, last int) *api.UsablePorts {
	if o == nil || o.shared == nil {
		return nil
	}
	u := o.shared.taken.Ports().Usable(uint16(first), uint16(last))
	return &api.UsablePorts{Ranges: u.Ranges, InUse: u.InUse, Free: u.Free}
}

// portNotes warns of networks that have too few.
func (d *Daemon) portNotes(n *config.Network) []string {
	o := d.outletOf(n.Name)
	if n.Forward != config.ForwardNAT || o == nil {
		return nil
	}
	p := o.usablePorts(n.NAT.First, n.NAT.Last)
	if p == nil || p.Free >= uplink.FewPorts || p.Free > (n.NAT.Last-n.NAT.First)/2 { // few are wanted, else
		return nil
	}
	return []string{fmt.Sprintf("network %s: this host leaves only %d of the ports %d-%d of %s to guests: choose other nat.ports, shorten net.ipv4.ip_local_port_range, or write uplink.address: sockets",
		n.Name, p.Free, n.NAT.First, n.NAT.Last, o.name)}
}

// takenOf returns the ports of a published one that a socket of the host has, which
// gets the connections that others begin there.
func (o *outlet) takenOf(p *config.Publish) string {
	if o == nil || o.shared == nil || p.Listen.Addr.IsValid() {
		return ""
	}
	ports, addr := o.shared.taken.Ports(), o.shared.address(p.To.Addr())
	bound := &ports.BoundTCP // seconds old, but a range may be long
	if p.Protocol == config.UDP {
		bound = &ports.BoundUDP
	}
	var list []string
	has := func(port int) bool {
		return port <= p.Listen.Last && bound.Has(uint16(port)) && o.shared.hostHas(heldPort{protocols[p.Protocol], uint16(port), addr})
	}
	for port := p.Listen.First; port <= p.Listen.Last; port++ {
		if !has(port) {
			continue
		}
		first := port
		for has(port + 1) {
			port++
		}
		list = append(list, config.Listen{First: first, Last: port}.String())
	}
	return strings.Join(list, ",")
}

// publishNotes warns of published ports that programs of the host have taken.
func (d *Daemon) publishNotes(n *config.Network) []string {
	var notes []string
	o := d.outletOf(n.Name)
	for i := range n.NAT.Publish {
		p := &n.NAT.Publish[i]
		if ports := o.takenOf(p); ports != "" {
			notes = append(notes, fmt.Sprintf("network %s: a socket of this host has %s %s of %s, which is published: what is new there gets to it, and not to %s (\"ss -lnp\" names its program)",
				n.Name, p.Protocol, ports, o.name, p.To))
		}
	}
	return notes
}

// overlapNote warns of a network whose subnet the shared interface is in as well:
// guests take the stations out there for neighbours.
func (d *Daemon) overlapNote(n *config.Network) []string {
	o := d.outletOf(n.Name)
	if o == nil || o.shared == nil {
		return nil
	}
	now := o.shared.host.State()
	for _, a := range slices.Concat(now.Addresses, now.Addresses6) {
		for _, own := range n.Addresses {
			if a.Overlaps(own) {
				return []string{fmt.Sprintf("network %s: its subnet %v overlaps %v of %s, by which it leaves: guests do not reach what is out there in both: give the network another address",
					n.Name, own.Masked(), a, o.name)}
			}
		}
	}
	return nil
}
