package main

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// pinging is a ping that runs beside changes.
type pinging struct {
	*porttest.Process
	t *testing.T
}

func startPinging(t *testing.T, from *porttest.NS, to string) *pinging {
	t.Helper()
	porttest.Ping(t, from, to)
	p := from.Start(t, "ping", "-n", "-q", "-i", "0.02", to)
	p.WaitOutput(t, "PING ", 30*time.Second)
	return &pinging{p, t}
}

// lost ends it and returns how many were not answered.
func (p *pinging) lost() int {
	p.t.Helper()
	p.Signal(p.t, syscall.SIGINT)
	_ = p.Wait(p.t, 30*time.Second)
	var sent, got int
	_, after, _ := strings.Cut(p.Output(), "ping statistics ---\n")
	if _, err := fmt.Fscanf(strings.NewReader(after), "%d packets transmitted, %d received", &sent, &got); err != nil && err != io.EOF {
		p.t.Fatalf("%v in %q", err, after)
	}
	if sent < 20 {
		p.t.Errorf("only %d pings", sent)
	}
	return sent - got
}

// Everything about a gateway changes while frames between guests go on.
func TestGatewayChangesLive(t *testing.T) {
	services := "dhcp: {range: 10.0.0.100-10.0.0.109}\ndns: {domain: %s, hosts: {db: 10.0.0.60}}\n"
	settings := func(address, domain string) string {
		return "address: " + address + "\nmac: \"52:54:00:00:00:fe\"\n" + fmt.Sprintf(services, domain)
	}
	s := newServed(t, 1500, settings("10.0.0.254/24", "lab"), "internal", "raw", "raw", "raw-off")
	ping := startPinging(t, s.hosts[0], address(2))
	stream := porttest.TCPStream(t, s.hosts[1], s.hosts[2], address(3))
	lease := leaseOf(t, s.hosts[3], "three")
	knows := func(name, want string, at ...string) {
		t.Helper()
		if a := dig(t, s.hosts[0], append([]string{name}, at...)...); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+want) {
			t.Errorf("%s is not %s: %s", name, want, a.raw)
		}
	}
	keptLease := func() {
		t.Helper()
		if out := s.do("lease", "list", "lan"); !strings.Contains(out, lease) || !strings.Contains(out, "three") {
			t.Errorf("the lease of %s is lost:\n%s", lease, out)
		}
	}
	knows("three.lab", lease)

	t.Run("another domain", func(t *testing.T) {
		s.apply(settings("10.0.0.254/24", "home"))
		knows("three.home", lease)
		knows("db.home", "10.0.0.60")
		if a := dig(t, s.hosts[0], "db.lab"); len(a.answer) != 0 {
			t.Errorf("the old domain is still there: %s", a.raw)
		}
		keptLease()
	})
	t.Run("another address", func(t *testing.T) {
		s.apply(settings("10.0.0.253/24", "home"))
		porttest.Ping(t, s.hosts[0], "10.0.0.253")
		if porttest.TryPing(s.hosts[0], gatewayAddress, time.Second) == nil {
			t.Error("the old address still answers")
		}
		knows("db.home", "10.0.0.60", "@10.0.0.253")
		knows("gateway.home", "10.0.0.253", "@10.0.0.253")
		if again := leaseOf(t, s.hosts[3], "three"); again != lease {
			t.Errorf("the lease was %s, is %s\n%s", lease, again, s.do("network", "show", "lan"))
		}
		s.apply(settings("10.0.0.254/24", "lab"))
		porttest.Ping(t, s.hosts[0], gatewayAddress)
		knows("gateway.lab", gatewayAddress)
		keptLease()
	})
	t.Run("a host port", func(t *testing.T) {
		for range 2 {
			s.apply(settings("10.0.0.254/24", "lab") + "host_port: weft0\n")
			porttest.Ping(t, s.host, address(1))
			porttest.Ping(t, s.hosts[0], gatewayAddress)
			porttest.TCPTransfer(t, s.hosts[0], s.host, gatewayAddress, 1<<20)
			knows("db.lab", "10.0.0.60")
			s.apply(settings("10.0.0.253/24", "lab") + "host_port: weft0\n") // it moves with the gateway
			if got := addressesOf(t, s.host, "weft0"); got != "10.0.0.253/24" {
				t.Errorf("addresses of weft0: %s", got)
			}
			porttest.Ping(t, s.host, address(1))
			s.apply(settings("10.0.0.254/24", "lab"))
			if _, err := s.host.Handle().LinkByName("weft0"); err == nil {
				t.Error("weft0 is left")
			}
			porttest.Ping(t, s.hosts[0], gatewayAddress)
			keptLease()
		}
	})
	t.Run("another interface, MTU and MAC", func(t *testing.T) {
		s.apply(settings("10.0.0.254/24", "lab") + "host_port: weft0\n")
		s.do("network", "set", "lan", "host_port=weft1")
		s.do("network", "set", "lan", "mtu=1400", "mac=52:54:00:00:00:fd")
		link := s.host.Link(t, "weft1").Attrs()
		if link.MTU != 1400 || link.HardwareAddr.String() != "52:54:00:00:00:fd" {
			t.Errorf("weft1 has MTU %d and MAC %s", link.MTU, link.HardwareAddr)
		}
		if _, err := s.host.Handle().LinkByName("weft0"); err == nil {
			t.Error("weft0 is left")
		}
		porttest.Ping(t, s.host, address(1))
		porttest.Ping(t, s.hosts[0], gatewayAddress)
		s.hosts[0].Run(t, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", gatewayAddress)
		s.apply(settings("10.0.0.254/24", "lab"))
		porttest.Ping(t, s.hosts[0], gatewayAddress)
		keptLease()
	})
	t.Run("services off and on", func(t *testing.T) {
		s.apply(gatewayOnly)
		if err := dialled(s.hosts[0], "udp", gatewayAddress+":53"); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("DNS that is off: %v", err)
		}
		if lease := leaseOf(t, s.hosts[0], ""); lease != "" {
			t.Errorf("DHCP that is off gives %s", lease)
		}
		n := s.network()
		if n.DHCP != nil || n.DNS != nil {
			t.Errorf("services that are off are shown: %+v", n)
		}
		s.apply("stp: {enabled: false}\n") // no gateway at all
		if porttest.TryPing(s.hosts[0], gatewayAddress, time.Second) == nil {
			t.Error("a gateway that is not there answers")
		}
		s.apply(settings("10.0.0.254/24", "lab"))
		porttest.Ping(t, s.hosts[0], gatewayAddress)
		keptLease()
		knows("three.lab", lease)
	})
	t.Run("a refused change", func(t *testing.T) {
		s.write(s.yaml("address: 10.0.0.254/24\nhost_port: p2\n")) // which is no tap
		if out, err := s.host.TryRun(s.bin, "apply", s.config, "--socket", s.socket); err == nil || strings.Count(out, "\n") != 1 {
			t.Errorf("a host port on a port's interface: %v\n%s", err, out)
		}
		knows("three.lab", lease)
		keptLease()
	})
	if lost := ping.lost(); lost > 1 { // the last one may be on its way
		t.Errorf("%d pings between guests were lost", lost)
	}
	stream.Stop(t)
}

// A change of the lease file that is refused is as if it had not been asked for,
// and one of a file that no network uses any more is none.
func TestLeaseFileChanges(t *testing.T) {
	s := newServed(t, 1500, "address: 10.0.0.254/24\n", "raw")
	first, second := s.file("first.db"), s.file("second.db")
	with := func(lease, settings, port string) string {
		text := strings.Replace(s.yaml(settings), "lease_file: ", "lease_file: "+lease+" # ", 1)
		if !strings.Contains(text, lease) {
			t.Fatalf("no lease file in\n%s", text)
		}
		return text + port
	}
	apply := func(text string) (string, error) {
		s.write(text)
		return s.host.TryRun(s.bin, "apply", s.config, "--socket", s.socket)
	}
	served := "address: 10.0.0.254/24\ndhcp: {range: 10.0.0.10-10.0.0.20}\n"
	other := porttest.NewNS(t, "other")
	other.Run(t, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	impossible := "      p9: {type: internal, netns: " + other.Name + ", address: \"fd00::9/64\"}\n"
	if out, err := apply(with(second, served, impossible)); err == nil {
		t.Fatalf("a port with an impossible address was made\n%s", out)
	}
	for _, text := range []string{
		with(first, served, ""),                     // DHCP begins
		with(first, "address: 10.0.0.254/24\n", ""), // and ends
		with(second, served, ""),                    // and begins in another file
	} {
		if out, err := apply(text); err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, text)
		}
	}
	if out, err := apply(with(first, served, "")); err == nil || !strings.Contains(out, "lease_file: cannot change") {
		t.Errorf("a lease file was changed under its leases: %v\n%s", err, out)
	}
}
