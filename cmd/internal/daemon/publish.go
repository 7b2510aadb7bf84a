package daemon

import (
	"cmp"
	"fmt"
	"net/netip"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
)

// Publishes implements api.Backend.
func (d *Daemon) Publishes(network string) ([]api.Publish, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, network); err != nil {
		return nil, err
	}
	list := []api.Publish{}
	for i := range cfg.Networks {
		n := &cfg.Networks[i]
		if len(n.NAT.Publish) == 0 || network != "" && n.Name != network {
			continue
		}
		flows, o := d.publishedFlows(n), d.outletOf(n.Name)
		var own []netip.Prefix
		if o != nil && o.uplink != nil {
			own = o.addresses()
		}
		for i, p := range n.NAT.Publish {
			v := api.Publish{Network: n.Name, Protocol: p.Protocol, Listen: p.Listen.String(), To: p.To.String(), Flows: flows[i], Taken: o.takenOf(&p)}
			if at := p.Listen; o != nil {
				if at.Addr = d.seenAs(n, o, &p, own); at.Addr.IsValid() {
					v.Outside = at.String()
				}
			}
			list = append(list, v)
		}
	}
	return list, nil
}

// seenAs returns the address that others write for a published port, zero while there is
// none; own are those of the uplink.
func (d *Daemon) seenAs(n *config.Network, o *outlet, p *config.Publish, own []netip.Prefix) netip.Addr {
	to := p.To.Addr()
	four, six := treatments(n)
	how := six
	if to.Is4() {
		how = four
	}
	switch {
	case p.Listen.Addr.IsValid():
		return p.Listen.Addr
	case o.unroutable(n) != nil:
		return netip.Addr{}
	case o.kind == api.UplinkSockets:
		return everywhere(to).Addr()
	case how != dataplane.Translated:
		return to
	}
	for _, m := range d.prefixMaps(n) {
		if a, ok := m.Translate(to); ok {
			return a
		}
	}
	for _, r := range n.NAT.Addresses {
		if r.First.Is4() == to.Is4() {
			return r.First
		}
	}
	for _, a := range ofFamily(own, to.Is4()) {
		return a.Addr()
	}
	return netip.Addr{}
}

// publishedFlows counts the flows that have come in by each published port.
func (d *Daemon) publishedFlows(n *config.Network) []int {
	counts := make([]int, len(n.NAT.Publish))
	for f := range d.flowsOf(n.Name) {
		by := -1
		for i, p := range n.NAT.Publish {
			if protocols[p.Protocol] == f.protocol && leads(p, f.original[1], f.translated[1]) && (by < 0 || p.Listen.Addr.IsValid()) {
				by = i // a socket at that address before the same port of the uplink
			}
		}
		if by >= 0 {
			counts[by]++
		}
	}
	return counts
}

// AddPublish implements api.Backend.
func (d *Daemon) AddPublish(network string, spec api.PublishSpec) error {
	p, err := config.ParsePublish(cmp.Or(spec.Protocol, config.TCP), spec.Listen, spec.To)
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", network, err))
	}
	err = d.change(func(c *config.Config) error {
		if _, err := findNetwork(c, network); err != nil {
			return err
		}
		if _, _, clash := c.PublishClash(network, p); clash {
			return api.Mark(api.ErrConflict, c.AddPublish(network, p))
		}
		return api.Mark(api.ErrInvalid, c.AddPublish(network, p))
	})
	if err == nil {
		d.log.Info("port published", "network", network, "protocol", p.Protocol, "listen", p.Listen, "to", p.To)
	}
	return err
}

// RemovePublish implements api.Backend.
func (d *Daemon) RemovePublish(network, protocol, listen, to string) error {
	l, err := config.ParseListen(listen)
	var target netip.AddrPort
	if err == nil && to != "" {
		var p config.Publish
		p, err = config.ParsePublish(config.TCP, listen, to)
		target = p.To
	}
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", network, err))
	}
	protocol = cmp.Or(protocol, config.TCP)
	err = d.change(func(c *config.Config) error {
		n, err := findNetwork(c, network)
		if err != nil {
			return err
		}
		switch {
		case to == "" && c.RemovePublish(network, protocol, l), to != "" && c.RemovePublishTo(network, protocol, l, target):
			return nil
		case to != "" && n.PublishOf(protocol, l) >= 0:
			return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s %s is published to others than %s: see \"weft publish list %s\"", network, protocol, listen, to, network))
		}
		if whole := wholeOf(n, protocol, l); whole != "" {
			return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s %s is published as part of %s: remove that", network, protocol, listen, whole))
		}
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s %s is not published: see \"weft publish list %s\"", network, protocol, listen, network))
	})
	if err == nil {
		d.log.Info("port published no longer", "network", network, "protocol", protocol, "listen", l)
	}
	return err
}

// wholeOf returns what is published and has these ports among others, empty where
// nothing has.
func wholeOf(n *config.Network, protocol string, l config.Listen) string {
	for _, p := range n.NAT.Publish {
		o := p.Listen
		if p.Protocol == protocol && o.Addr == l.Addr && o.First <= l.First && l.Last <= o.Last {
			return o.String()
		}
	}
	return ""
}

// leads reports whether a flow has come in by a published port.
func leads(p config.Publish, original, translated netip.AddrPort) bool {
	if p.Listen.Addr.IsValid() && original.Addr() != p.Listen.Addr {
		return false
	}
	port := int(original.Port())
	return port >= p.Listen.First && port <= p.Listen.Last && translated.Addr() == p.To.Addr() &&
		int(translated.Port()) == int(p.To.Port())+port-p.Listen.First
}
