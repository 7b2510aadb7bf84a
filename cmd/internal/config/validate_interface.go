package config

// A device is an interface of this machine.
type device struct{ netns, name string }

// interfaces refuses an interface that two ports of any networks would open, or a
// port and an uplink.
func (r *report) interfaces(c *Config) {
	ports, uplinks := map[device]*Network{}, map[string]*Network{}
	names := map[device]string{}
	for _, n := range r.byAge(c) {
		for _, p := range n.Ports {
			d := p.device()
			at := r.blameInterface(n, &p)
			if ports[d] != nil {
				r.refuse(at, "%s is the interface of port %s already: give each port its own", quoted(p.Interface), names[d])
				continue
			}
			if o := uplinks[p.Interface]; o != nil && d.netns == "" {
				r.refuse(at, "%s is the uplink of network %s: give the port another one", quoted(p.Interface), quoted(o.Name))
			}
			ports[d], names[d] = n, n.Name+"/"+p.Name
		}
		u, ok := n.L3Uplink()
		if !ok || u.Interface == "" {
			continue
		}
		d := device{name: u.Interface}
		at := place{network: n.Name, key: "uplink.interface"}
		switch o := ports[d]; {
		case o != nil && o.Forward == ForwardBridge && o.Uplink.Interface == u.Interface:
			r.refuse(at, "%s is the uplink of network %s, which bridges all of it: give this network another one", quoted(u.Interface), quoted(o.Name))
		case o != nil:
			r.refuse(at, "%s is the interface of port %s, which takes all that comes in there: give the uplink another one", quoted(u.Interface), names[d])
		default:
			uplinks[u.Interface] = n
		}
	}
}

// device returns what the port opens; only an internal one may have a namespace.
func (p *Port) device() device {
	if p.Type != TypeInternal {
		return device{name: p.Interface}
	}
	return device{p.Netns, p.Interface}
}

// blameInterface returns the place where the interface of a port stands: that
// of an uplink or of a host_port, where the port was made for it.
func (r *report) blameInterface(n *Network, p *Port) place {
	at := place{network: n.Name, port: p.Name}
	if p.Seat {
		return place{network: n.Name, key: "host_port"}
	}
	if p.Name == uplinkPort && p.Interface == n.Uplink.Interface && n.Forward == ForwardBridge && r.lines[at] == 0 {
		return place{network: n.Name, key: "uplink.interface"}
	}
	return at.sub("interface")
}
