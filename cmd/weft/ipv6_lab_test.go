package main

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft/weft/ports/porttest"
)

// The tests in ipv6*_test.go and dhcp6*_test.go have hosts that come without any
// address find out by IPv6 what there is: what their kernels make of router
// advertisements, and what programs of others say of them.

const (
	gateway6     = "2001:db8:1::1"
	gatewayLocal = "fe80::5054:ff:fe00:fe" // which follows from gatewayMAC

	// elsewhere6 is an address that no network of the tests has (RFC 3849).
	elsewhere6 = "2001:db8:ffff::9"

	subnet6 = "2001:db8:1::/64"
	pool6   = "2001:db8:1::1000-2001:db8:1::1fff"
)

// both are settings of a network of both families, and lead nowhere.
const both = `address: [10.0.0.254/24, "2001:db8:1::1/64"]
mac: "52:54:00:00:00:fe"
`

// layServed6 is layServed with hosts that have no address but the link-local ones
// that they make themselves.
func layServed6(t *testing.T, mtu int, kinds ...string) *served {
	t.Helper()
	s := layServed(t, mtu, kinds...)
	s.ports = regexp.MustCompile(`, address: [0-9./]+`).ReplaceAllString(s.ports, "")
	for i, kind := range kinds {
		if kind != "internal" { // whose interface is not there yet
			s.hosts[i].Run(t, "ip", "-4", "addr", "flush", "dev", "eth0")
		}
	}
	return s
}

// newServed6 is layServed6 with the start.
func newServed6(t *testing.T, settings string, kinds ...string) *served {
	t.Helper()
	s := layServed6(t, 1500, kinds...)
	s.write(s.yaml(settings))
	s.start()
	return s
}

// conf6 sets a key of eth0, or of what will be eth0, in /proc/sys/net/ipv6/conf.
func conf6(t *testing.T, ns *porttest.NS, key string, value int) {
	t.Helper()
	names := []string{"default"}
	if _, err := ns.Handle().LinkByName("eth0"); err == nil {
		names = append(names, "eth0")
	}
	for _, name := range names {
		ns.Sysctl(t, "net.ipv6.conf."+name+"."+key, fmt.Sprint(value))
	}
}

// ofEth0 reads a key of eth0 there.
func ofEth0(t *testing.T, ns *porttest.NS, key string) string {
	t.Helper()
	return strings.TrimSpace(ns.Run(t, "cat", "/proc/sys/net/ipv6/conf/eth0/"+key))
}

// addresses6 returns those of eth0 that are in a prefix. Addresses that are not, or
// must not be, in use yet are left out.
func addresses6(t *testing.T, ns *porttest.NS, prefix string) (list []netlink.Addr) {
	t.Helper()
	link, err := ns.Handle().LinkByName("eth0")
	if err != nil {
		return nil // weft is about to make it
	}
	all, err := ns.Handle().AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		t.Fatal(err)
	}
	in := netip.MustParsePrefix(prefix)
	return slices.DeleteFunc(all, func(a netlink.Addr) bool {
		addr, _ := netip.AddrFromSlice(a.IP)
		return !in.Contains(addr) || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0
	})
}

// address6 waits until eth0 has an address in a prefix, and returns it.
func address6(t *testing.T, ns *porttest.NS, prefix string) string {
	t.Helper()
	var list []netlink.Addr
	eventually(t, ns.Name+" has an address in "+prefix, func() bool {
		list = addresses6(t, ns, prefix)
		return len(list) > 0
	})
	return list[0].IP.String()
}

// local6 is the link-local address of eth0, with the zone that commands want.
func local6(t *testing.T, ns *porttest.NS) string {
	t.Helper()
	return address6(t, ns, "fe80::/10") + "%eth0"
}

// hardwareOf returns the MAC address of eth0.
func hardwareOf(t *testing.T, ns *porttest.NS) string {
	t.Helper()
	return ns.Link(t, "eth0").Attrs().HardwareAddr.String()
}

// hasRoute waits until the routes of a host to a destination are one that all of
// these texts are part of, or none where there is no text.
func hasRoute(t *testing.T, ns *porttest.NS, to string, parts ...string) {
	t.Helper()
	var out string
	missing := func(part string) bool { return !strings.Contains(out, part) }
	for holds, end := false, deadline(); !holds; pause() {
		out = ns.Run(t, "ip", "-6", "route", "show", to, "dev", "eth0")
		lines := strings.Count(out, "\n")
		holds = len(parts) == 0 && lines == 0 || len(parts) > 0 && lines == 1 && !slices.ContainsFunc(parts, missing)
		if end() {
			t.Fatalf("route of %s to %s: want one with %q, got\n%s", ns.Name, to, parts, out)
		}
	}
}

// advertised is what rdisc6 prints of a router advertisement: values by name. A name
// that comes several times, as that of a prefix does, has several.
type advertised map[string][]string

// solicit asks for a router advertisement. Without an answer it returns nil.
func solicit(t *testing.T, ns *porttest.NS) advertised {
	t.Helper()
	return solicits(t, ns, "5")
}

// solicits asks so often, for two seconds each time.
func solicits(t *testing.T, ns *porttest.NS, attempts string) advertised {
	t.Helper()
	local6(t, ns) // to ask from
	out, err := ns.TryRun("rdisc6", "-1", "-n", "-r", attempts, "-w", "2000", "eth0")
	if err != nil {
		if !strings.Contains(out, "No response") {
			t.Fatal(err)
		}
		return nil
	}
	a := advertised{}
	hex := regexp.MustCompile(` *\( *0x[0-9a-f]+\)`)
	for _, line := range strings.Split(out, "\n") {
		if from, ok := strings.CutPrefix(line, " from "); ok {
			a["from"] = append(a["from"], from)
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.HasPrefix(line, "Soliciting") {
			continue
		}
		name, value = strings.Trim(name, " ."), strings.TrimSpace(hex.ReplaceAllString(value, ""))
		a[name] = append(a[name], strings.ToLower(value))
	}
	return a
}

// expect compares some of an advertisement: lines of "name: values", several with
// commas between them. A value of - is for a name that must not be there.
func (a advertised) expect(t *testing.T, lines string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		name, want, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if got := strings.Join(a[name], ", "); got != want && (want != "-" || got != "") {
			t.Errorf("advertised %s %q, want %q", name, got, want)
		}
	}
	if t.Failed() {
		t.Logf("advertised: %v", a)
	}
}
