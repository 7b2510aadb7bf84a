package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// The tests in this file, and in those of the host port, DNS and DHCP beside it,
// have real hosts use what a network with an address gives them.

const (
	gatewayAddress = "10.0.0.254"
	gatewayMAC     = "52:54:00:00:00:fe"

	// elsewhere is an address that no network of the tests has (RFC 5737).
	elsewhere = "203.0.113.9"
)

// gatewayOnly are settings of a network with a gateway and nothing else.
const gatewayOnly = "address: 10.0.0.254/24\nmac: \"52:54:00:00:00:fe\"\ndns: {enabled: false}\n"

// served is a lan whose network has settings.
type served struct {
	*lan
	dir         string // for files that the settings name
	head, ports string // of the configuration file
}

// newServed is newLAN for a network with settings: keys of YAML, which begin at
// the first column.
func newServed(t *testing.T, mtu int, settings string, kinds ...string) *served {
	t.Helper()
	s := layServed(t, mtu, kinds...)
	s.write(s.yaml(settings))
	s.start()
	return s
}

// layServed is newServed without the start.
func layServed(t *testing.T, mtu int, kinds ...string) *served {
	t.Helper()
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	s := &served{lan: &lan{}, dir: t.TempDir()}
	for i, kind := range kinds {
		h, name := porttest.NewNS(t, fmt.Sprint("h", i+1)), fmt.Sprint("p", i+1)
		s.hosts = append(s.hosts, h)
		cidr := address(i+1) + "/24"
		if kind == "internal" {
			s.ports += fmt.Sprintf("      %s: {type: internal, netns: %s, interface: eth0, address: %s}\n", name, h.Name, cidr)
			continue
		}
		options := []porttest.VethOption{porttest.VethMTU(mtu)}
		if kind == "raw-off" {
			options = append(options, porttest.VethOffloadsOff())
		}
		porttest.Veth(t, host, name, h, "eth0", options...)
		h.Addr(t, "eth0", cidr)
		s.ports += fmt.Sprintf("      %s: {type: raw}\n", name)
	}
	s.head = fmt.Sprintf("metrics: {listen: \"127.0.0.1:9820\"}\nlease_file: %s\nnetworks:\n  lan:\n    mtu: %d\n", s.file("leases.db"), mtu)
	s.weftProcess = newWeft(t, host, "")
	return s
}

// file returns the path of a file that is the test's own.
func (s *served) file(name string) string { return filepath.Join(s.dir, name) }

// yaml returns the configuration with settings of the network.
func (s *served) yaml(settings string) string {
	lines := strings.Split(strings.TrimSpace(settings), "\n")
	return s.head + "    " + strings.Join(lines, "\n    ") + "\n    ports:\n" + s.ports
}

// apply changes the settings of the running network.
func (s *served) apply(settings string) string {
	s.t.Helper()
	s.write(s.yaml(settings))
	return s.do("apply", s.config)
}

// network is what "weft network show lan" says.
func (s *served) network() (n api.Network) {
	s.t.Helper()
	s.query(&n, "network", "show", "lan")
	return n
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// dialled returns the error of a connection to an address, or, as UDP has no
// connections, of asking there.
func dialled(from *porttest.NS, network, addr string) error {
	var conn net.Conn
	var err error
	from.Do(func() { conn, err = net.DialTimeout(network, addr, 5*time.Second) })
	if err != nil {
		return err
	}
	defer conn.Close()
	if network == "tcp" {
		return nil
	}
	if _, err := conn.Write([]byte("weft")); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	_, err = conn.Read(make([]byte, 100))
	return err
}

// macOf returns the link-layer address that a host has for one of its network's.
func macOf(t *testing.T, ns *porttest.NS, addr string) string {
	t.Helper()
	out := ns.Run(t, "ip", "neigh", "show", addr)
	_, after, _ := strings.Cut(out, "lladdr ")
	mac, _, _ := strings.Cut(after, " ")
	return mac
}

// forget makes a host ask by ARP anew.
func forget(t *testing.T, ns *porttest.NS) {
	t.Helper()
	ns.Run(t, "ip", "neigh", "flush", "all")
}

// On every kind of port the gateway is an IP host with nothing open, and a router
// that leads nowhere.
func TestGatewayIsAHost(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			kinds := []string{"internal", "raw", "raw-off"}
			s := newServed(t, mtu, gatewayOnly, kinds...)
			for i, kind := range kinds {
				t.Run(kind, func(t *testing.T) { isAHost(t, s.hosts[i], mtu) })
			}
		})
	}
}

func isAHost(t *testing.T, h *porttest.NS, mtu int) {
	porttest.Ping(t, h, gatewayAddress)
	if mac := macOf(t, h, gatewayAddress); mac != gatewayMAC {
		t.Errorf("the gateway is at %q, want %s", mac, gatewayMAC)
	}
	full := fmt.Sprint(mtu - 28)
	h.Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-M", "do", "-s", full, gatewayAddress)
	h.Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", gatewayAddress)
	h.Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", "20000", gatewayAddress)
	for _, port := range []string{"9", "53", "67"} {
		for _, network := range []string{"udp", "tcp"} {
			if err := dialled(h, network, net.JoinHostPort(gatewayAddress, port)); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s port %s, which is closed: %v", network, port, err)
			}
		}
	}
	h.Run(t, "ip", "route", "add", "default", "via", gatewayAddress)
	eventually(t, "the gateway says that it leads nowhere", func() bool { // it says so at a limited rate
		out, err := h.TryRun("ping", "-n", "-c", "1", "-w", "2", elsewhere)
		if err == nil {
			t.Fatalf("somebody is at %s:\n%s", elsewhere, out)
		}
		return strings.Contains(out, "From "+gatewayAddress) && strings.Contains(out, "Net Unreachable")
	})
	eventually(t, "who connects elsewhere is told", func() bool {
		return errors.Is(dialled(h, "tcp", elsewhere+":80"), syscall.ENETUNREACH)
	})
	out := h.Run(t, "busybox", "traceroute", "-n", "-q", "1", "-w", "5", "-m", "3", elsewhere)
	if hops := strings.Split(strings.TrimSpace(out), "\n"); len(hops) < 2 || !strings.Contains(hops[1], " "+gatewayAddress+" ") {
		t.Errorf("the gateway is not the first hop:\n%s", out)
	}
}

// What a station must not answer: broadcast pings, ARP for others, and unicast IP
// that came as a broadcast.
func TestGatewayStaysSilent(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := newServed(t, 1500, gatewayOnly, "raw", "raw")
	for _, h := range s.hosts {
		h.Quiet(t)
	}
	h := s.hosts[0]
	porttest.Ping(t, h, gatewayAddress)
	if out, err := h.TryRun("ping", "-n", "-b", "-c", "2", "-w", "2", "10.0.0.255"); err == nil {
		t.Errorf("a broadcast is answered:\n%s", out)
	}
	for _, absent := range []string{"10.0.0.77", "10.0.1.254"} {
		if out, err := h.TryRun("busybox", "arping", "-c", "2", "-w", "2", "-I", "eth0", absent); err == nil {
			t.Errorf("somebody answers ARP for %s:\n%s", absent, out)
		}
	}
	if out, err := h.TryRun("busybox", "arping", "-c", "1", "-w", "10", "-I", "eth0", gatewayAddress); err != nil {
		t.Errorf("the gateway does not answer ARP: %v\n%s", err, out)
	}
}

// The gateway's MAC address is the configured one, else one that follows from the
// network's name: guests that outlive weft find it where it was.
func TestGatewayKeepsItsMAC(t *testing.T) {
	s := newServed(t, 1500, "address: 10.0.0.254/24", "raw")
	h := s.hosts[0]
	seen := func() string {
		t.Helper()
		forget(t, h)
		porttest.Ping(t, h, gatewayAddress)
		return macOf(t, h, gatewayAddress)
	}
	derived := seen()
	if mac, err := net.ParseMAC(derived); err != nil || mac[0]&3 != 2 {
		t.Fatalf("%q is no locally administered unicast address", derived)
	}
	s.stop()
	s.start()
	if mac := seen(); mac != derived {
		t.Errorf("%s after a restart, %s before", mac, derived)
	}
	s.Kill()
	s.start()
	if mac := seen(); mac != derived {
		t.Errorf("%s after a kill, %s before", mac, derived)
	}
	s.do("network", "set", "lan", "mac="+gatewayMAC)
	// Who knows the old one is told: nothing is flushed here.
	eventually(t, "the host knows the new address", func() bool { return macOf(t, h, gatewayAddress) == gatewayMAC })
	porttest.Ping(t, h, gatewayAddress)
	s.write(strings.Replace(s.yaml("address: 10.0.0.254/24"), "  lan:", "  other:", 1))
	s.stop()
	s.start()
	if mac := seen(); mac == derived || mac == gatewayMAC {
		t.Errorf("another network's gateway has the address %s too", mac)
	}
}

// A guest that takes the MAC or the IP address of the gateway for its own hurts
// only itself.
func TestGatewayIsNotReplaced(t *testing.T) {
	s := newServed(t, 1500, gatewayOnly+"fdb: {static: []}\n", "raw", "raw")
	victim, thief := s.hosts[0], s.hosts[1]
	works := func(when string) {
		t.Helper()
		for range 10 {
			forget(t, victim)
			porttest.Ping(t, victim, gatewayAddress)
			time.Sleep(20 * time.Millisecond) // for a second answer
			if mac := macOf(t, victim, gatewayAddress); mac != gatewayMAC {
				t.Errorf("%s the gateway is at %s", when, mac)
				return
			}
		}
	}
	t.Run("MAC", func(t *testing.T) {
		own := thief.Link(t, "eth0").Attrs().HardwareAddr.String()
		thief.Run(t, "ip", "link", "set", "eth0", "address", gatewayMAC)
		if porttest.TryPing(thief, address(1), 2*time.Second) == nil {
			t.Error("a guest speaks with the gateway's address")
		}
		waitDrops(t, s.weftProcess, "p2", "gateway-address", 1)
		works("beside a guest with its MAC address")
		if macs := s.fdbOf("p2"); len(macs) != 0 {
			t.Errorf("addresses at the guest's port: %v", macs)
		}
		thief.Run(t, "ip", "link", "set", "eth0", "address", own)
		porttest.Ping(t, thief, address(1))
	})
	t.Run("IP", func(t *testing.T) {
		thief.Addr(t, "eth0", gatewayAddress+"/32")
		works("beside a guest with its IP address")
		for range 5 {
			thief.Run(t, "busybox", "arping", "-U", "-c", "1", "-I", "eth0", "-s", gatewayAddress, gatewayAddress)
			thief.Run(t, "busybox", "arping", "-A", "-c", "1", "-I", "eth0", "-s", gatewayAddress, gatewayAddress)
			time.Sleep(300 * time.Millisecond)
			if mac := macOf(t, victim, gatewayAddress); mac != gatewayMAC {
				t.Fatalf("a guest says that the gateway is at %s, and is believed", mac)
			}
		}
		works("after a guest has claimed its IP address")
	})
}

// An isolated network: its guests reach each other and the services, and nothing
// else; not even this machine.
func TestIsolatedNetwork(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := newServed(t, 1500, "address: 10.0.0.254/24\nforward: isolated\ndns: {domain: lab, hosts: {db.lab: 10.0.0.60}}\n"+
		"dhcp: {range: 10.0.0.100-10.0.0.199}\n", "internal", "raw", "raw")
	s.host.Addr(t, "lo", "198.51.100.1/32")
	for _, h := range s.hosts {
		h.Run(t, "ip", "route", "add", "default", "via", gatewayAddress)
		porttest.Ping(t, h, gatewayAddress)
		if a := dig(t, h, "db.lab"); len(a.answer) != 1 {
			t.Errorf("DNS in %s: %s", h.Name, a.raw)
		}
	}
	porttest.Ping(t, s.hosts[0], address(2))
	porttest.TCPTransfer(t, s.hosts[1], s.hosts[2], address(3), 1<<20)
	for _, outside := range []string{"198.51.100.1", elsewhere} {
		if porttest.TryPing(s.hosts[0], outside, 2*time.Second) == nil {
			t.Errorf("a guest reaches %s", outside)
		}
	}
	if a := dig(t, s.hosts[0], "www.example.org"); a.status != "REFUSED" && a.status != "SERVFAIL" && a.status != "NXDOMAIN" {
		t.Errorf("a name from outside: %s", a.raw)
	}
	// Nor does the machine have a way in.
	if out := s.host.Run(t, "ip", "-br", "address"); strings.Contains(out, "10.0.0.") {
		t.Errorf("addresses of the host:\n%s", out)
	}
	s.host.Run(t, "ip", "route", "add", "10.0.0.0/24", "dev", "p2") // by the port's own interface
	if porttest.TryPing(s.host, address(2), 2*time.Second) == nil {
		t.Error("the host reaches a guest")
	}
	// A port that is isolated from others still has the services.
	for _, port := range []string{"p1", "p2"} {
		s.set(port, "isolated=true")
	}
	if porttest.TryPing(s.hosts[0], address(2), time.Second) == nil {
		t.Error("isolated ports reach each other")
	}
	for _, h := range s.hosts[:2] {
		forget(t, h)
		porttest.Ping(t, h, gatewayAddress)
		if a := dig(t, h, "db.lab"); len(a.answer) != 1 {
			t.Errorf("DNS in %s, an isolated port: %s", h.Name, a.raw)
		}
		if lease := leaseOf(t, h, ""); !strings.HasPrefix(lease, "10.0.0.1") {
			t.Errorf("DHCP in %s, an isolated port: %q", h.Name, lease)
		}
	}
}

// The keys of a gateway and its services in a file that cannot be.
func TestCheckOfServices(t *testing.T) {
	porttest.Require(t)
	w := newWeft(t, porttest.NewNS(t, "host"), "")
	for name, c := range map[string]struct {
		settings string
		line     int // 0: that of the first setting
		want     string
	}{
		"gateway of the link":  {"address: fe80::1/64", 3, "fe80::1"},
		"the subnet itself":    {"address: 10.0.0.0/24", 3, "10.0.0.0/24"},
		"two addresses":        {"address: [10.0.0.1/24, 10.1.0.1/24]", 3, "second IPv4 address"},
		"outside the subnet":   {"address: 10.0.0.1/24\ndhcp: {range: 10.0.1.2-10.0.1.9}", 4, "10.0.1.2"},
		"over the gateway":     {"address: 10.0.0.1/24\ndhcp:\n  range: 10.0.0.1-10.0.0.9", 5, "gateway"},
		"overlapping ranges":   {"address: 10.0.0.1/24\ndhcp: {range: [10.0.0.10-10.0.0.19, 10.0.0.15-10.0.0.29]}", 4, "overlap"},
		"a backward range":     {"address: 10.0.0.1/24\ndhcp: {range: 10.0.0.9-10.0.0.2}", 4, "10.0.0.9"},
		"a reservation twice":  {"address: 10.0.0.1/24\ndhcp:\n  hosts:\n    - {mac: \"02:00:00:00:00:01\", address: 10.0.0.9}\n    - {mac: \"02:00:00:00:00:01\", address: 10.0.0.8}", 7, "02:00:00:00:00:01"},
		"a short lease":        {"address: 10.0.0.1/24\ndhcp: {range: 10.0.0.2, lease: 1s}", 4, "lease"},
		"an unknown option":    {"address: 10.0.0.1/24\ndhcp: {range: 10.0.0.2, options: {no-such: 1}}", 4, "no-such"},
		"the server's option":  {"address: 10.0.0.1/24\ndhcp: {range: 10.0.0.2, options: {\"53\": 1}}", 4, "server itself"},
		"services nowhere":     {"dns: {domain: lab}", 3, "needs an address"},
		"a port nowhere":       {"host_port: weft0", 3, "needs an address"},
		"a long interface":     {"address: 10.0.0.1/24\nhost_port: a-name-that-is-too-long", 4, "a-name-that-is-too-long"},
		"the gateway's name":   {"address: 10.0.0.1/24\ndns: {hosts: {gateway: 10.0.0.9}}", 4, "gateway"},
		"itself as upstream":   {"address: 10.0.0.1/24\ndns: {upstream: 10.0.0.1}", 4, "loop"},
		"a relative hosts":     {"address: 10.0.0.1/24\ndns: {hosts_file: hosts}", 4, "absolute"},
		"an unknown key":       {"address: 10.0.0.1/24\ndns: {domian: lab}", 4, "domain"},
		"a gateway on a cable": {"address: 10.0.0.1/24\nforward: bridge\nuplink: {interface: eth0}", 3, "forward: bridge"},
	} {
		t.Run(name, func(t *testing.T) {
			w.write("networks:\n  lan:\n    " + strings.ReplaceAll(c.settings, "\n", "\n    ") + "\n")
			out, err := w.host.TryRun(w.bin, "check", w.config)
			if want := fmt.Sprintf("weft: %s:%d: ", w.config, c.line); err == nil || !strings.HasPrefix(out, want) ||
				!strings.Contains(out, c.want) || strings.Count(out, "\n") != 1 || !strings.Contains(err.Error(), "exit status 1") {
				t.Errorf("want one line that begins with %q and holds %q, got %v:\n%s", want, c.want, err, out)
			}
		})
	}
}
