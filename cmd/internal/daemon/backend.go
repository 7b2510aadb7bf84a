package daemon

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// config returns the running configuration, which nobody changes.
func (d *Daemon) config() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running
}

func (d *Daemon) attachment(k portKey) *attachment {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.attachments[k]
}

// Status implements api.Backend.
func (d *Daemon) Status() api.Status {
	cfg := d.config()
	s := api.Status{
		Version:       d.opts.Version,
		PID:           os.Getpid(),
		UptimeSeconds: int64(time.Since(d.started).Seconds()),
		Socket:        d.opts.Socket,
		MetricsListen: cfg.Metrics.Listen,
		Fastpath:      api.Fastpath{State: "off", Reason: fastpathReason(d.opts.Fastpath)},
		Networks:      len(cfg.Networks),
		Notes:         slices.Clone(d.notes),
	}
	s.Notes = append(s.Notes, clashNotes(nil, cfg)...)
	uplinks := d.Uplinks()
	for _, u := range uplinks {
		s.Uplinks = append(s.Uplinks, strings.TrimSpace(u.Interface+" "+strings.Join(u.Kinds, ",")+" "+u.State))
	}
	s.Notes = append(s.Notes, uplinkNotes(uplinks)...)
	for i := range cfg.Networks {
		n := &cfg.Networks[i]
		s.Ports += len(n.Ports)
		s.Notes = slices.Concat(s.Notes, d.overlapNote(n), d.portNotes(n), hostPortNotes(n), d.publishNotes(n), d.guardNotes(n.Name))
		for _, p := range n.Ports {
			if p.Type == config.TypeRaw {
				s.Notes = append(s.Notes, deafNotes("port "+n.Name+"/"+p.Name, p.Interface)...)
			}
		}
	}
	return s
}

func fastpathReason(flag string) string {
	if flag == "off" {
		return "switched off by --fastpath=off"
	}
	return "this version switches in user space only"
}

// findNetwork returns a network of the running configuration.
func findNetwork(cfg *config.Config, name string) (*config.Network, error) {
	if n := cfg.Network(name); n != nil {
		return n, nil
	}
	return nil, api.Mark(api.ErrNotFound, fmt.Errorf("network %q does not exist: see \"weft network list\"", name))
}

// checkNetwork refuses a name that is no network's; none at all stands for all of
// them.
func checkNetwork(cfg *config.Config, name string) error {
	if name == "" {
		return nil
	}
	_, err := findNetwork(cfg, name)
	return err
}

func findPort(cfg *config.Config, network, name string) (*config.Port, error) {
	n, err := findNetwork(cfg, network)
	if err != nil {
		return nil, err
	}
	if p := n.Port(name); p != nil {
		return p, nil
	}
	return nil, api.Mark(api.ErrNotFound, fmt.Errorf("network %q: port %q does not exist: see \"weft port list\"", network, name))
}

// Ports implements api.Backend.
func (d *Daemon) Ports(network string) ([]api.Port, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, network); err != nil {
		return nil, err
	}
	list := []api.Port{}
	for i := range cfg.Networks {
		n := &cfg.Networks[i]
		if network != "" && n.Name != network {
			continue
		}
		for j := range n.Ports {
			list = append(list, d.describePort(n, &n.Ports[j]))
		}
	}
	return list, nil
}

// Port implements api.Backend.
func (d *Daemon) Port(network, name string) (api.Port, error) {
	cfg := d.config()
	p, err := findPort(cfg, network, name)
	if err != nil {
		return api.Port{}, err
	}
	return d.describePort(cfg.Network(network), p), nil
}

// change makes the configuration that edit turns the running one into the
// running one.
func (d *Daemon) change(edit func(*config.Config) error) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	next := d.config().Clone()
	if d.closed {
		return errStopping
	}
	if err := edit(next); err != nil {
		return err
	}
	next.Normalize()
	if err := config.ValidateChange(d.running, next); err != nil {
		return api.Mark(api.ErrInvalid, err)
	}
	notes := clashNotes(d.running, next)
	if err := d.reconfigure(next); err != nil {
		return err
	}
	d.warn(notes)
	return nil
}

// AddPort implements api.Backend.
func (d *Daemon) AddPort(network string, spec api.PortSpec) error {
	p, err := portConfig(spec)
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: port %q: %w", network, spec.Name, err))
	}
	return d.change(func(c *config.Config) error {
		n, err := findNetwork(c, network)
		if err != nil {
			return err
		}
		if _, err := findPort(c, network, spec.Name); err == nil {
			return api.Mark(api.ErrConflict, fmt.Errorf("network %q: port %q exists already: choose another name", network, spec.Name))
		}
		n.Ports = append(n.Ports, p)
		if len(spec.Settings) == 0 {
			return nil
		}
		c.Normalize()
		return api.Mark(api.ErrInvalid, c.PatchPort(network, p.Name, spec.Settings))
	})
}

// SetPort implements api.Backend.
func (d *Daemon) SetPort(network, name string, settings []byte) error {
	return d.change(func(c *config.Config) error {
		if _, err := findPort(c, network, name); err != nil {
			return err
		}
		return api.Mark(api.ErrInvalid, c.PatchPort(network, name, settings))
	})
}

// SetNetwork implements api.Backend.
func (d *Daemon) SetNetwork(name string, settings []byte) error {
	return d.change(func(c *config.Config) error {
		if _, err := findNetwork(c, name); err != nil {
			return err
		}
		return api.Mark(api.ErrInvalid, c.PatchNetwork(name, settings))
	})
}

func portConfig(spec api.PortSpec) (config.Port, error) {
	p := config.Port{
		Name: spec.Name, Type: spec.Type, Interface: spec.Interface,
		Netns: spec.Netns, Owner: spec.Owner, Group: spec.Group,
		Policy: config.Policy{Mode: spec.Mode},
	}
	if spec.MAC != "" {
		m, err := parseMAC(spec.MAC)
		if err != nil {
			return p, err
		}
		p.MAC = m
	}
	for _, a := range spec.Addresses {
		prefix, err := config.ParsePrefix(a)
		if err != nil {
			return p, fmt.Errorf("address %w", err)
		}
		p.Addresses = append(p.Addresses, prefix)
	}
	return p, nil
}

func parseMAC(s string) (frame.MAC, error) {
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != len(frame.MAC{}) {
		return frame.MAC{}, fmt.Errorf("MAC address %q is not of the form 02:00:00:00:00:01", s)
	}
	return frame.MAC(m), nil
}

// RemovePort implements api.Backend.
func (d *Daemon) RemovePort(network, name string) error {
	return d.change(func(c *config.Config) error {
		if _, err := findPort(c, network, name); err != nil {
			return err
		}
		n := c.Network(network)
		if up := n.UplinkPort(); up != nil && up.Name == name {
			return api.Mark(api.ErrConflict, fmt.Errorf("network %q: port %q is the uplink: change forward and uplink in the file and apply it", network, name))
		}
		if seat := n.HostSeat(); seat != nil && seat.Name == name {
			return api.Mark(api.ErrConflict, fmt.Errorf("network %q: port %q is this host's own: write host_port: false in the file and apply it", network, name))
		}
		n.Ports = slices.DeleteFunc(n.Ports, func(p config.Port) bool { return p.Name == name })
		// What was pinned to the port goes with it.
		n.FDB.Static = slices.DeleteFunc(n.FDB.Static, func(e config.StaticEntry) bool { return e.Port == name })
		return nil
	})
}

// FDB implements api.Backend.
func (d *Daemon) FDB(network string) ([]api.FDBEntry, error) {
	cfg := d.config()
	if err := checkNetwork(cfg, network); err != nil {
		return nil, err
	}
	list := []api.FDBEntry{}
	for _, n := range cfg.Networks {
		dn := d.sw.Network(n.Name)
		if dn == nil || network != "" && n.Name != network {
			continue
		}
		entries := dn.FDB()
		slices.SortFunc(entries, func(a, b dataplane.FDBEntry) int {
			return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.MAC.Uint64(), b.MAC.Uint64()))
		})
		for _, e := range entries {
			list = append(list, api.FDBEntry{
				Network: n.Name, MAC: e.MAC.String(), VLAN: e.VLAN, Port: e.Port,
				Kind: e.Kind.String(), AgeSeconds: int64(e.AgeSeconds),
			})
		}
	}
	return list, nil
}

// AddFDB implements api.Backend.
func (d *Daemon) AddFDB(network string, spec api.FDBSpec) error {
	mac, err := parseMAC(spec.MAC)
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", network, err))
	}
	return d.change(func(c *config.Config) error {
		p, err := findPort(c, network, spec.Port)
		if err != nil {
			return err
		}
		n := c.Network(network)
		if spec.VLAN == 0 {
			spec.VLAN = max(p.VLAN.Access, p.VLAN.Native) // where its untagged frames are
		}
		if isPinned(n, mac, spec.VLAN) {
			return api.Mark(api.ErrConflict, fmt.Errorf("network %q: %s in VLAN %d has a static entry already: remove it first", network, mac, spec.VLAN))
		}
		n.FDB.Static = append(n.FDB.Static, config.StaticEntry{MAC: mac, VLAN: spec.VLAN, Port: spec.Port})
		return nil
	})
}

func isPinned(n *config.Network, mac frame.MAC, vlan uint16) bool {
	return slices.ContainsFunc(n.FDB.Static, func(e config.StaticEntry) bool { return e.MAC == mac && e.VLAN == vlan })
}

// RemoveFDB implements api.Backend.
func (d *Daemon) RemoveFDB(network, address string, vlan uint16) error {
	mac, err := parseMAC(address)
	if err != nil {
		return api.Mark(api.ErrInvalid, fmt.Errorf("network %q: %w", network, err))
	}
	n, err := findNetwork(d.config(), network)
	if err != nil {
		return err
	}
	if isPinned(n, mac, vlan) {
		return d.change(func(c *config.Config) error {
			n, err := findNetwork(c, network)
			if err != nil {
				return err
			}
			n.FDB.Static = slices.DeleteFunc(n.FDB.Static, func(e config.StaticEntry) bool { return e.MAC == mac && e.VLAN == vlan })
			return nil
		})
	}
	if dn := d.sw.Network(network); dn == nil || !dn.RemoveFDB(vlan, mac) {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: %s in VLAN %d is not in the FDB", network, mac, vlan))
	}
	return nil
}

// FlushFDB implements api.Backend.
func (d *Daemon) FlushFDB(network, port string) (int, error) {
	cfg := d.config()
	if _, err := findNetwork(cfg, network); err != nil {
		return 0, err
	}
	if port != "" {
		if _, err := findPort(cfg, network, port); err != nil {
			return 0, err
		}
	}
	dn := d.sw.Network(network)
	if dn == nil {
		return 0, nil
	}
	return dn.FlushFDB(port)
}

// Apply implements api.Backend.
func (d *Daemon) Apply(name string, yaml []byte, dryRun bool) ([]string, error) {
	next, err := config.Parse(name, yaml)
	if err != nil {
		return nil, api.Mark(api.ErrInvalid, err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	if d.closed {
		return nil, errStopping
	}
	lines := []string{}
	for _, c := range config.Diff(d.config(), next) {
		lines = append(lines, c.Text)
	}
	p := newPlan(d.config(), next)
	for _, o := range p.stop {
		if find(p.start, o.key) != nil {
			lines = append(lines, fmt.Sprintf("  port %s/%s starts over: it forgets its counters and addresses", o.key.network, o.key.port))
		}
	}
	notes := clashNotes(d.running, next)
	for _, note := range notes {
		lines = append(lines, "note: "+note)
	}
	if dryRun {
		return lines, d.check(p, next)
	}
	if err := d.reconfigure(next); err != nil {
		return nil, err
	}
	d.warn(notes)
	return lines, nil
}

// Config implements api.Backend.
func (d *Daemon) Config() []byte { return d.config().YAML() }
