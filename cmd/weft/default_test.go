package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/ports/porttest"
)

// builtinWeft starts weft without a file, with a /var/lib of its own: leases go
// to a path of this machine otherwise.
func builtinWeft(t *testing.T, host *porttest.NS) *weftProcess {
	t.Helper()
	w := newWeft(t, host, "")
	w.startBuiltin()
	return w
}

func (w *weftProcess) startBuiltin() {
	w.t.Helper()
	w.Process = w.host.Start(w.t, "unshare", "--mount", "sh", "-c", `mount -t tmpfs none /var/lib && exec "$@"`, "sh", w.bin, "run", "--socket", w.socket)
	w.WaitOutput(w.t, "weft: ready\n", 60*time.Second)
}

// Without a file weft runs a network that a guest can be plugged into.
func TestBuiltinNetwork(t *testing.T) {
	porttest.Require(t)
	before := machineLeases(t)
	host, h1 := porttest.NewNS(t, "host"), porttest.NewNS(t, "h1")
	w := builtinWeft(t, host)
	w.do("port", "add", "default", "h1", "--type", "internal", "--netns", h1.Name, "--interface", "eth0")
	lease := leaseOf(t, h1, "one")
	if !strings.HasPrefix(lease, "192.168.122.") {
		t.Fatalf("lease %q", lease)
	}
	h1.Addr(t, "eth0", lease+"/24")
	porttest.Ping(t, h1, "192.168.122.1")
	porttest.Ping(t, host, lease)
	porttest.TCPTransfer(t, h1, host, "192.168.122.1", 1<<20)
	if got := addressesOf(t, host, "weft0"); got != "192.168.122.1/24" {
		t.Errorf("addresses of weft0: %s", got)
	}
	builtinIPv6(t, host, h1, lease)
	if out := w.do("lease", "list"); !strings.Contains(out, "default") || !strings.Contains(out, lease) || !strings.Contains(out, "one") {
		t.Errorf("lease list:\n%s", out)
	}
	if strings.Contains(w.Output(), "/24") {
		t.Errorf("weft speaks of its address, which is the usual one:\n%s", w.Output())
	}
	var n api.Network
	w.query(&n, "network", "show", "default")
	if strings.Join(n.Addresses, " ") != "192.168.122.1/24 "+config.ULA("default").String() || n.HostPort != "weft0" || n.DHCP == nil || n.DHCP.Size != 253 || n.DNS == nil ||
		n.Forward != "nat" || n.NAT == nil || n.NAT.MaxFlows != 65536 {
		t.Errorf("the network is %+v", n)
	}

	// Another weft finds no place.
	second := newWeft(t, host, "")
	out, err := host.TryRun("unshare", "--mount", "sh", "-c", `mount -t tmpfs none /var/lib && exec "$@"`, "sh", second.bin, "run", "--socket", second.socket)
	if err == nil || strings.Contains(out, "weft: ready") {
		t.Errorf("a second built-in network: %v\n%s", err, out)
	}
	porttest.Ping(t, host, lease)

	w.Kill()
	w.startBuiltin() // weft0 of the killed one is not in the way
	if got := addressesOf(t, host, "weft0"); got != "192.168.122.1/24" {
		t.Errorf("addresses of weft0 after a kill: %s\n%s", got, w.Output())
	}
	w.stop()
	if out := host.Run(t, "ip", "-br", "link"); strings.Contains(out, "weft0") {
		t.Errorf("left:\n%s", out)
	}
	if after := machineLeases(t); after != before {
		t.Errorf("the machine's own leases were %q, are %q", before, after)
	}
}

// builtinIPv6 has a guest with a lease be reached by what it makes of advertisements
// too, under the same name.
func builtinIPv6(t *testing.T, host, h1 *porttest.NS, lease string) {
	t.Helper()
	ula := config.ULA("default")
	six := address6(t, h1, ula.Masked().String())
	porttest.Ping(t, h1, ula.Addr().String())
	porttest.Ping(t, host, six)
	porttest.TCPTransfer(t, h1, host, ula.Addr().String(), 1<<20)
	for _, server := range []string{"192.168.122.1", ula.Addr().String()} {
		for _, c := range []struct{ name, kind, want string }{
			{"gateway", "A", "192.168.122.1"}, {"one", "A", lease}, {"gateway", "AAAA", ula.Addr().String()}, {"one", "AAAA", six},
		} {
			if a := dig(t, h1, "@"+server, c.name, c.kind); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+c.want) {
				t.Errorf("%s %s is not %s:\n%s", c.name, c.kind, c.want, a.raw)
			}
		}
	}
}

// machineLeases tells what is where a weft of this machine would have its leases.
func machineLeases(t *testing.T) string {
	t.Helper()
	info, err := os.Stat("/var/lib/weft/leases.db")
	if err != nil {
		return err.Error()
	}
	return info.ModTime().String()
}

// Its guests leave by the interface of the host's default route, whichever that is at
// the time, from the host's own address of each family.
func TestBuiltinNetworkLeadsOut(t *testing.T) {
	porttest.Require(t)
	families := []family{family4, family6}
	host, isp, h1 := porttest.NewNS(t, "host"), porttest.NewNS(t, "isp"), porttest.NewNS(t, "h1")
	for name, subnet := range map[string]string{"wan0": "198.51.100.", "wan1": "203.0.113."} {
		porttest.Veth(t, host, name, isp, name)
		for _, f := range families {
			host.Addr(t, name, f.cidr(subnet+"2/24"))
			isp.Addr(t, name, f.cidr(subnet+"1/24"))
		}
	}
	for _, f := range families {
		isp.Addr(t, "lo", f.cidr("192.0.2.1/32"))
	}
	startEcho(t, isp, ":7")
	w := builtinWeft(t, host)
	w.do("port", "add", "default", "h1", "--type", "internal", "--netns", h1.Name, "--interface", "eth0")
	lease := leaseOf(t, h1, "")
	h1.Addr(t, "eth0", lease+"/24")
	h1.Run(t, "ip", "route", "add", "default", "via", "192.168.122.1") // that of IPv6 is advertised
	startEcho(t, h1, ":22")
	guest := map[family]string{family4: lease, family6: address6(t, h1, config.ULA("default").Masked().String())}
	for _, f := range families {
		w.do("publish", "add", "default", "19888", f.at(guest[f], 22)) // by sockets as yet
		w.do("publish", "add", "default", "19888", f.at(guest[f], 22), "--protocol", "udp")
		if _, err := quickEcho(h1, "tcp", f.at("192.0.2.1", 7)); err == nil {
			t.Errorf("by %s a guest reaches where the host has no way to", f)
		}
	}
	for _, c := range []struct{ name, subnet string }{{"wan0", "198.51.100."}, {"wan1", "203.0.113."}} {
		for _, f := range families {
			host.Run(t, "ip", "route", "replace", "default", "via", f.ip(c.subnet+"1"))
		}
		eventually(t, "the network leaves by "+c.name, func() bool {
			var n api.Network
			w.query(&n, "network", "show", "default")
			return n.Uplink == c.name
		})
		for _, f := range families {
			leadsOut(t, h1, isp, f, f.ip(c.subnet+"2"))
		}
		if out, want := w.do("network", "list"), "default   nat       "+c.name; !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
		if out, want := w.do("status"), `network default leaves by the address of this host: interface "`+c.name+`" has an IPv4 and an IPv6 address`; !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	for _, address := range []string{"sockets", "", "sockets", "host"} {
		w.do("network", "set", "default", "uplink.address="+address) // at once, though a port changes hands
		for _, f := range families {
			if _, err := askEcho(isp, "tcp", f.at("203.0.113.2", 19888)); err != nil {
				t.Errorf("what is published by %s, with address %q: %v", f, address, err)
			}
		}
	}
	w.stop()
	if strings.Contains(w.Output(), "level=ERROR") {
		t.Errorf("weft says:\n%s", w.Output())
	}
}

// leadsOut waits until a guest leaves by an address of the host's, and has its server
// be reached there.
func leadsOut(t *testing.T, h1, isp *porttest.NS, f family, addr string) {
	t.Helper()
	eventually(t, "guests leave by "+addr, func() bool {
		seen, err := quickEcho(h1, "tcp", f.at("192.0.2.1", 7))
		return err == nil && hostOf(seen) == addr
	})
	porttest.Ping(t, h1, f.ip("192.0.2.1"))
	for _, protocol := range []string{"tcp", "udp"} {
		if _, err := askEcho(isp, protocol, f.at(addr, 19888)); err != nil {
			t.Errorf("%s to what is published at %s: %v", protocol, addr, err)
		}
	}
}

// Where the host is in the usual subnet already, as by libvirt, the network has
// the next one, and says so.
func TestBuiltinNetworkGivesWay(t *testing.T) {
	porttest.Require(t)
	for name, c := range map[string]struct {
		setUp func(*porttest.NS)
		want  string // third byte
		by    string
	}{
		"an address":           {func(host *porttest.NS) { host.Addr(t, "virbr0", "192.168.122.1/24") }, "123", "virbr0"},
		"a part of the subnet": {func(host *porttest.NS) { host.Addr(t, "virbr0", "192.168.122.129/30") }, "123", "virbr0"},
		"a route": {func(host *porttest.NS) {
			host.Addr(t, "virbr0", "10.9.9.1/24")
			host.Run(t, "ip", "route", "add", "192.168.122.0/24", "via", "10.9.9.2")
		}, "123", "virbr0"},
		"two subnets": {func(host *porttest.NS) {
			host.Addr(t, "virbr0", "192.168.122.1/24")
			host.Addr(t, "virbr0", "192.168.123.77/24")
		}, "124", "virbr0"},
		"a default route alone": {func(host *porttest.NS) {
			host.Addr(t, "virbr0", "10.9.9.1/24")
			host.Run(t, "ip", "route", "add", "default", "via", "10.9.9.2")
		}, "122", ""},
	} {
		t.Run(name, func(t *testing.T) {
			host, h1 := porttest.NewNS(t, "host"), porttest.NewNS(t, "h1")
			porttest.Veth(t, host, "virbr0", host, "other")
			c.setUp(host)
			w := builtinWeft(t, host)
			subnet := "192.168." + c.want + "."
			var n api.Network
			w.query(&n, "network", "show", "default")
			if strings.Join(n.Addresses, " ") != subnet+"1/24 "+config.ULA("default").String() || len(n.DHCP.Ranges) != 1 || n.DHCP.Ranges[0] != subnet+"2-"+subnet+"254" {
				t.Errorf("the network is %+v with %+v", n, n.DHCP)
			}
			if got := addressesOf(t, host, "weft0"); got != subnet+"1/24" {
				t.Errorf("addresses of weft0: %s", got)
			}
			w.do("port", "add", "default", "h1", "--type", "internal", "--netns", h1.Name, "--interface", "eth0")
			if lease := leaseOf(t, h1, ""); !strings.HasPrefix(lease, subnet) {
				t.Errorf("lease %q", lease)
			}
			for what, said := range map[string]string{"stderr": w.Output(), "weft status": w.do("status")} {
				var note string
				for _, line := range strings.Split(said, "\n") {
					if strings.Contains(line, "192.168.122.0/24") {
						note = line
					}
				}
				if c.by == "" && note != "" || c.by != "" && (!strings.Contains(note, subnet) || !strings.Contains(note, c.by)) {
					t.Errorf("%s says %q", what, note)
				}
			}
			w.stop()
		})
	}
}
