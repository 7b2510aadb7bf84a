package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/ports/porttest"
)

// The tests in dhcp*_test.go put DHCP clients to weft, made by others and
// written here, and look at what they get and what weft says it gave.

// dhcpLAN is a weft whose network lan serves DHCP, with namespace hosts that
// have eth0 without an address.
type dhcpLAN struct {
	*lan
	ports  string // lines of the configuration
	leases string // file
}

// newDHCPLAN starts weft with one port for each kind, as newLAN does. dhcp and
// the settings are YAML: the inside of that key, and lines of the network.
func newDHCPLAN(t *testing.T, dhcp string, kinds ...string) *dhcpLAN {
	t.Helper()
	l := makeDHCPLAN(t, kinds...)
	l.write(l.yaml(dhcp))
	l.start()
	return l
}

// makeDHCPLAN makes all but a configuration and a process.
func makeDHCPLAN(t *testing.T, kinds ...string) *dhcpLAN {
	t.Helper()
	porttest.Require(t)
	l := &dhcpLAN{lan: &lan{}, leases: filepath.Join(t.TempDir(), "leases.db")}
	host := porttest.NewNS(t, "host")
	host.Quiet(t)
	for i, kind := range kinds {
		h := porttest.NewNS(t, fmt.Sprint("h", i+1))
		h.Quiet(t)
		l.hosts = append(l.hosts, h)
		name := fmt.Sprint("p", i+1)
		switch kind {
		case "internal":
			l.ports += fmt.Sprintf("      %s: {type: internal, netns: %s, interface: eth0}\n", name, h.Name)
		case "raw":
			porttest.Veth(t, host, name, h, "eth0")
			l.ports += fmt.Sprintf("      %s: {type: raw}\n", name)
		default:
			t.Fatalf("no kind of port: %s", kind)
		}
	}
	l.weftProcess = newWeft(t, host, "")
	return l
}

// yaml returns the configuration with this DHCP. A line that is not indented
// belongs to dhcp, and the lines after a lone "---" to the network.
func (l *dhcpLAN) yaml(dhcp string) string {
	dhcp, network, _ := strings.Cut(dhcp, "---\n")
	indent := func(text, by string) (out string) {
		for line := range strings.Lines(text) {
			out += by + strings.TrimRight(line, "\n") + "\n"
		}
		return out
	}
	if !strings.Contains(network, "address:") {
		network += "address: 10.0.0.1/24\n"
	}
	return "metrics: {listen: \"127.0.0.1:9820\"}\nlease_file: " + l.leases + "\nnetworks:\n  lan:\n" + indent(network, "    ") +
		"    dhcp:\n" + indent(dhcp, "      ") + "    ports:\n" + l.ports
}

// apply changes the DHCP of the running weft.
func (l *dhcpLAN) apply(dhcp string) {
	l.t.Helper()
	l.write(l.yaml(dhcp))
	l.do("apply", l.config)
}

// list is "weft lease list lan" without a process of its own.
func (l *dhcpLAN) list() []api.Lease {
	l.t.Helper()
	c := client.New(l.socket)
	defer c.Close()
	leases, err := c.Leases(l.t.Context(), "lan")
	if err != nil {
		l.t.Fatal(err)
	}
	return leases
}

// leaseOf returns the lease of an address, or of a MAC, or false.
func (l *dhcpLAN) leaseOf(who string) (api.Lease, bool) {
	l.t.Helper()
	list := l.list()
	i := slices.IndexFunc(list, func(v api.Lease) bool { return v.Address == who || v.MAC == who })
	if i < 0 {
		return api.Lease{}, false
	}
	return list[i], true
}

// waitLease waits until somebody's lease is in a state; "" is for none at all.
func (l *dhcpLAN) waitLease(who, state string) api.Lease {
	l.t.Helper()
	var v api.Lease
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if v, _ = l.leaseOf(who); v.State == state {
			return v
		}
	}
	l.t.Fatalf("lease of %s: %+v, want it %q; all: %+v\n%s", who, v, state, l.list(), l.Output())
	panic("unreachable")
}

// messages returns how many messages of a type ended one way.
func (l *dhcpLAN) messages(kind, outcome string) uint64 {
	l.t.Helper()
	c := client.New(l.socket)
	defer c.Close()
	n, err := c.Network(l.t.Context(), "lan")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, m := range n.DHCP.Messages {
		if m.Type == kind && m.Outcome == outcome {
			return m.Count
		}
	}
	return 0
}

// waitMessages waits until there are so many.
func (l *dhcpLAN) waitMessages(kind, outcome string, n uint64) {
	l.t.Helper()
	var got uint64
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = l.messages(kind, outcome); got >= n {
			return
		}
	}
	l.t.Fatalf("%d messages %s %s, want %d; %s", got, kind, outcome, n, l.do("network", "show", "lan", "-o", "json"))
}

// within checks that an address is one of a range.
func within(t *testing.T, addr, first, last string) {
	t.Helper()
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Less(netip.MustParseAddr(first)) || netip.MustParseAddr(last).Less(a) {
		t.Errorf("address %q, want one of %s-%s", addr, first, last)
	}
}

// replaceFile writes a file as an editor does: under another name first.
func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}
