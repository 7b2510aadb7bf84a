package daemon

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp6"
	"github.com/weft/weft/ra"
)

// What a network serves to hosts of IPv6 beside what it does for both families.

// serveDHCP6 starts, changes or ends the DHCPv6 server, as serveDHCP does that of IPv4.
func (d *Daemon) serveDHCP6(s *services, n *config.Network) error {
	server := s.dhcp6.Load()
	switch {
	case !servesDHCP6(n):
		if g := s.gateway.Load(); g != nil {
			g.SetDHCP6(nil)
		}
		s.endDHCP6()
	case server != nil:
		if err := server.Reconfigure(dhcp6Config(n)); err != nil {
			return fmt.Errorf("network %q: dhcp6: %w", n.Name, err)
		}
	default:
		store, err := d.leaseStore()
		if err != nil {
			return fmt.Errorf("network %q: dhcp6: %w", n.Name, err)
		}
		server, err := dhcp6.New(n.Name, dhcp6Config(n), store, dhcp6.Env{
			Now: time.Now, Send: s.sendDHCP6, Routes: s.delegate, Holder: s.holder, Log: d.log,
		})
		if err != nil {
			return fmt.Errorf("network %q: dhcp6: %w", n.Name, err)
		}
		s.dhcp6.Store(server)
	}
	return nil
}

func (s *services) endDHCP6() {
	if old := s.dhcp6.Swap(nil); old != nil {
		if err := old.Close(); err != nil {
			s.log.Error("dhcp6", "error", err)
		}
		s.delegate(nil)
	}
}

func (s *services) sendDHCP6(replies []dhcp6.Reply) {
	if g := s.gateway.Load(); g != nil {
		g.SendDHCP6(replies)
	}
}

// delegate is told of all prefixes that routers inside have now: they become routes.
func (s *services) delegate(all []dhcp6.Delegation) {
	was := s.delegated.Swap(&all)
	if len(all) > 0 || was != nil && len(*was) > 0 {
		s.nudge()
	}
}

// delegations returns what the routers in a network have prefixes of.
func (d *Daemon) delegations(network string) []dhcp6.Delegation {
	s := d.servicesOf(network)
	if s == nil {
		return nil
	}
	if all := s.delegated.Load(); all != nil {
		return *all
	}
	return nil
}

// advertise starts, changes or ends the advertising of a network's router, by what
// leads out of it now. d.changing is held.
func (d *Daemon) advertise(all *config.Config, n *config.Network) {
	s := d.servicesOf(n.Name)
	switch {
	case s == nil:
		return
	case !advertises(n):
		s.endRA((*ra.Advertiser).Withdraw)
		return
	}
	cfg := raConfig(n, d.leadsOut6(all, n))
	s.advertised.Store(&cfg)
	if a := s.ra.Load(); a != nil {
		a.Reconfigure(cfg) // which does nothing where it is as before
		return
	}
	a := ra.New(cfg, ra.Env{Send: s.sendRA, Now: time.Now, Log: s.log})
	s.ra.Store(a)
	if g := s.gateway.Load(); g != nil {
		g.SetRA(a)
	}
}

// advertiseAll does so for all networks of a configuration.
func (d *Daemon) advertiseAll(c *config.Config) {
	for i := range c.Networks {
		d.advertise(c, &c.Networks[i])
	}
}

// endRA ends the advertising, with last words by the gateway.
func (s *services) endRA(end func(*ra.Advertiser)) {
	a := s.ra.Swap(nil)
	if a == nil {
		return
	}
	end(a)
	if g := s.gateway.Load(); g != nil {
		g.SetRA(nil)
	}
}

func (s *services) sendRA(dst netip.Addr, mac frame.MAC, message []byte) {
	if g := s.gateway.Load(); g != nil {
		g.SendRA(dst, mac, message)
	}
}
