package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
	"github.com/weft/weft/dns"
	"github.com/weft/weft/gateway"
	"github.com/weft/weft/ra"
)

// services are what a network does beside switching. They change while it runs:
// each part starts, goes on with other settings, or ends.
type services struct {
	network string
	log     *slog.Logger
	cfg     config.Network // that they follow

	// The parts refer to each other, and come and go.
	gateway atomic.Pointer[gateway.Gateway]
	dhcp    atomic.Pointer[dhcp.Server]
	dhcp6   atomic.Pointer[dhcp6.Server]
	ra      atomic.Pointer[ra.Advertiser]
	dns     atomic.Pointer[dns.Resolver]

	made       madeNames
	slaac      atomic.Bool                        // dns.slaac
	delegated  atomic.Pointer[[]dhcp6.Delegation] // nil: none
	nudge      func()                             // what is delegated has changed
	advertised atomic.Pointer[ra.Config]          // by ra

	stop    chan struct{}
	stopped sync.WaitGroup
}

// servicesDiffer reports whether a network's services have to change.
func servicesDiffer(old, next *config.Network) bool {
	return !reflect.DeepEqual(gatewayConfig(old), gatewayConfig(next)) ||
		!reflect.DeepEqual(dhcpConfig(old), dhcpConfig(next)) ||
		!reflect.DeepEqual(dhcp6Config(old), dhcp6Config(next)) ||
		!reflect.DeepEqual(raConfig(old, true), raConfig(next, true)) ||
		!reflect.DeepEqual(dnsConfig(old), dnsConfig(next)) ||
		servesDHCP(old) != servesDHCP(next) || servesDHCP6(old) != servesDHCP6(next) || advertises(old) != advertises(next) ||
		old.DNS.Enabled != next.DNS.Enabled || old.DNS.SLAAC != next.DNS.SLAAC
}

// hasGateway reports whether a network is a host of its own, of whichever family.
func hasGateway(n *config.Network) bool { return len(n.Addresses) > 0 }

// What a gateway serves is of the families that it has addresses of.
func servesDHCP(n *config.Network) bool  { return n.Gateway().IsValid() && n.DHCP.Enabled() }
func servesDHCP6(n *config.Network) bool { return len(n.Gateway6()) > 0 && n.DHCP6.Enabled() }
func advertises(n *config.Network) bool  { return len(n.Gateway6()) > 0 && n.RA.Enabled }

func gatewayConfig(n *config.Network) gateway.Config {
	return gateway.Config{MAC: n.MAC, Address: n.Gateway(), Address6: n.Gateway6(), MTU: n.MTU}
}

// serve brings the services of a network in line with n, or leaves them as they
// were.
func (d *Daemon) serve(n *config.Network) error {
	s := d.servicesOf(n.Name)
	begins := s == nil
	if begins {
		if !hasGateway(n) {
			return nil
		}
		s = d.newServices(n.Name)
	}
	err := d.serveDHCP(s, n)
	if err == nil {
		err = d.serveDHCP6(s, n)
	}
	if err == nil {
		if !advertises(n) {
			s.endRA((*ra.Advertiser).Withdraw) // while its gateway can still say so
		}
		s.slaac.Store(n.DNS.SLAAC)
		s.serveDNS(n)
		err = d.serveGateway(s, n)
	}
	if err == nil {
		s.cfg = *n
	}
	if err != nil && begins || !hasGateway(n) {
		d.forgetServices(n.Name)
	}
	return err
}

func (d *Daemon) newServices(network string) *services {
	s := &services{network: network, log: d.log.With("network", network), cfg: config.NewNetwork(network), nudge: d.nudge, stop: make(chan struct{})}
	s.made.neighbors = func() []dataplane.Neighbor { return d.neighborsOf(network) }
	s.made.seek = func(list []netip.Addr) {
		if n := d.sw.Network(network); n != nil && n.Gateway() != nil {
			n.Gateway().Seek(list)
		}
	}
	s.stopped.Add(1)
	go s.tick()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services[network] = s
	return s
}

// restoreServices puts the services of a network back after a change that was
// refused.
func (d *Daemon) restoreServices(old *config.Network) {
	if err := d.serve(old); err != nil {
		d.log.Error("services not restored", "network", old.Name, "error", err)
	}
	d.advertise(d.running, old)
}

func (d *Daemon) servicesOf(network string) *services {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.services[network]
}

// forgetServices ends what is left of a network's services.
func (d *Daemon) forgetServices(network string) {
	d.mu.Lock()
	s := d.services[network]
	delete(d.services, network)
	d.mu.Unlock()
	if s == nil {
		return
	}
	close(s.stop)
	s.stopped.Wait()
	s.endRA((*ra.Advertiser).Close)
	if g := s.gateway.Swap(nil); g != nil {
		g.Close()
	}
	if r := s.dns.Swap(nil); r != nil {
		r.Close()
	}
	s.endDHCP()
	s.endDHCP6()
}

func (s *services) endDHCP() {
	if old := s.dhcp.Swap(nil); old != nil {
		if err := old.Close(); err != nil {
			s.log.Error("dhcp", "error", err)
		}
	}
}

// serveDHCP starts, changes or ends the DHCP server. This is the part that may
// fail, so it comes first.
func (d *Daemon) serveDHCP(s *services, n *config.Network) error {
	server := s.dhcp.Load()
	switch {
	case !servesDHCP(n):
		if g := s.gateway.Load(); g != nil {
			g.SetDHCP(nil)
		}
		s.endDHCP()
	case server != nil:
		if err := server.Reconfigure(dhcpConfig(n)); err != nil {
			return fmt.Errorf("network %q: dhcp: %w", n.Name, err)
		}
	default:
		store, err := d.leaseStore()
		if err != nil {
			return fmt.Errorf("network %q: dhcp: %w", n.Name, err)
		}
		server, err := dhcp.New(n.Name, dhcpConfig(n), store, dhcp.Env{
			Now: time.Now, Send: s.sendDHCP, Probe: s.probe, Holder: s.holder6, Log: d.log,
		})
		if err != nil {
			return fmt.Errorf("network %q: dhcp: %w", n.Name, err)
		}
		s.dhcp.Store(server)
	}
	return nil
}

// leaseStore opens the lease file when the first network needs it.
func (d *Daemon) leaseStore() (*dhcp.File, error) {
	if d.leases == nil {
		store, err := dhcp.OpenFile(d.leaseFile)
		if err != nil {
			return nil, err
		}
		d.leases = store
	}
	return d.leases, nil
}

// dropLeaseStore closes the lease file once no network keeps leases in it.
func (d *Daemon) dropLeaseStore() {
	if d.leases == nil {
		return
	}
	for _, s := range d.allServices() {
		if s.dhcp.Load() != nil || s.dhcp6.Load() != nil {
			return
		}
	}
	if err := d.leases.Close(); err != nil {
		d.log.Error("lease file", "error", err)
	}
	d.leases = nil
}

func (d *Daemon) allServices() []*services {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.services))
}

func (s *services) serveDNS(n *config.Network) {
	r := s.dns.Load()
	switch enabled := hasGateway(n) && n.DNS.Enabled; {
	case !enabled:
		if g := s.gateway.Load(); g != nil {
			_ = g.SetDNS(nil) // only to open the port can fail
		}
		if r != nil {
			s.dns.Store(nil)
			r.Close()
		}
	case r != nil:
		r.Reconfigure(dnsConfig(n))
	default:
		s.dns.Store(dns.New(dnsConfig(n), s, dns.Env{Log: s.log}))
	}
}

// serveGateway gives the network a gateway with the parts that there are. One
// whose address changes is another one.
func (d *Daemon) serveGateway(s *services, n *config.Network) error {
	g := s.gateway.Load()
	if g != nil && !reflect.DeepEqual(gatewayConfig(&s.cfg), gatewayConfig(n)) {
		s.gateway.Store(nil)
		g.Close()
		g = nil
	}
	if !hasGateway(n) {
		return nil
	}
	if g == nil {
		var err error
		if g, err = gateway.New(d.sw.Network(n.Name).Gateway(), gatewayConfig(n)); err != nil {
			return fmt.Errorf("network %q: %w", n.Name, err)
		}
		s.gateway.Store(g)
	}
	g.SetDHCP(s.dhcp.Load())
	g.SetDHCP6(s.dhcp6.Load())
	g.SetRA(s.ra.Load())
	if err := g.SetDNS(s.dns.Load()); err != nil {
		return fmt.Errorf("network %q: %w", n.Name, err)
	}
	return nil
}

// tick wakes the resolver once a second.
func (s *services) tick() {
	defer s.stopped.Done()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if r := s.dns.Load(); r != nil {
				r.Tick()
			}
		case <-s.stop:
			return
		}
	}
}

func (s *services) sendDHCP(replies []dhcp.Reply) {
	if g := s.gateway.Load(); g != nil {
		g.SendDHCP(replies)
	}
}

func (s *services) probe(addr netip.Addr, _ uint16) {
	if g := s.gateway.Load(); g != nil {
		g.Probe(addr)
	}
}

// leasePath returns where leases are kept. A weft with a socket of its own has a
// file of its own beside that, unless the configuration names one: several may run
// on a machine.
func (d *Daemon) leasePath(c *config.Config) string {
	if c.LeaseFile != config.DefaultLeaseFile || d.opts.Socket == api.DefaultSocket {
		return c.LeaseFile
	}
	socket, err := filepath.Abs(d.opts.Socket)
	if err != nil {
		return c.LeaseFile
	}
	return strings.TrimSuffix(socket, ".sock") + ".leases.db"
}

// checkLeaseFile refuses to change the lease file under servers that use it.
func (d *Daemon) checkLeaseFile(next *config.Config) error {
	if d.leases != nil && d.leasePath(next) != d.leaseFile {
		return errors.New("lease_file: cannot change while leases are kept in the present one: stop weft, and start it with the new file")
	}
	return nil
}
