package config

// uplinkPort is the name of the port that Normalize adds for an uplink.
const uplinkPort = "uplink"

// UplinkPort returns the raw port on the uplink's interface, nil where the
// network has no uplink. The result points into n.
func (n *Network) UplinkPort() *Port {
	if n.Forward != ForwardBridge {
		return nil
	}
	if p := n.onInterface(n.Uplink.Interface); p != nil && p.Type == TypeRaw {
		return p
	}
	return nil
}

// onInterface returns the port on that interface of the host, nil without one.
func (n *Network) onInterface(name string) *Port {
	for i := range n.Ports {
		p := &n.Ports[i]
		if p.Interface == name && (p.Type != TypeInternal || p.Netns == "") {
			return p
		}
	}
	return nil
}

// addUplink adds the port of an uplink that no port is on. What stands in its
// way is for Validate to refuse.
func (n *Network) addUplink() {
	name := n.Uplink.Interface
	if n.Forward != ForwardBridge || badInterface(name) != "" || n.onInterface(name) != nil || n.Port(uplinkPort) != nil {
		return
	}
	p := Port{Name: uplinkPort, Type: TypeRaw, Interface: name}
	p.fill(n.Name)
	n.Ports = append(n.Ports, p)
}
