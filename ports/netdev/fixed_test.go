package netdev_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/ports/netdev"
)

// Fixed addresses are there at once, and no setting of the kernel's has changed; without
// IPv6 those of IPv4 are there all the same.
func TestFixedAddresses(t *testing.T) {
	ns := newNS(t)
	want := netdev.Settings{
		Fixed: true, Up: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64"), netip.MustParsePrefix("fe80::9/64")},
	}
	for _, off := range []string{"1", "0"} {
		ns.Sysctl(t, "net.ipv6.conf.va.disable_ipv6", off)
		ns.Sysctl(t, "net.ipv6.conf.va.accept_ra", "1")
		if err := netdev.Configure(ns.Name, "va", want); err != nil {
			t.Fatalf("disable_ipv6 %s: %v", off, err)
		}
		out := ns.Run(t, "ip", "addr", "show", "va")
		if !strings.Contains(out, "10.0.0.1/24") || strings.Contains(out, "fd00::1/64 scope global nodad") != (off == "0") || strings.Contains(out, "fd00::1/64 scope global nodad tentative") {
			t.Errorf("disable_ipv6 %s: addresses:\n%s", off, out)
		}
		if got := ns.Run(t, "sysctl", "-n", "net.ipv6.conf.va.accept_ra"); strings.TrimSpace(got) != "1" {
			t.Errorf("accept_ra is %s", got)
		}
	}
	want.Fixed, want.Addresses = false, []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}
	ns.Sysctl(t, "net.ipv6.conf.vb.disable_ipv6", "1")
	if err := netdev.Configure(ns.Name, "vb", want); err == nil {
		t.Error("addresses that somebody asked for are left out in silence")
	}
}

// What every link has is no subnet of anybody's.
func TestSubnetsOfBothFamilies(t *testing.T) {
	ns := newNS(t)
	ns.Sysctl(t, "net.ipv6.conf.va.disable_ipv6", "0")
	ns.Addr(t, "va", "10.5.0.1/24")
	ns.Addr(t, "va", "2001:db8:5::1/64")
	ns.Run(t, "ip", "route", "add", "2001:db8:6::/48", "via", "2001:db8:5::9")
	ns.Run(t, "ip", "route", "add", "default", "via", "2001:db8:5::9")
	var list []netdev.Subnet
	var err error
	ns.Do(func() { list, err = netdev.Subnets("weft:") })
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, s := range list {
		if s.Interface == "va" {
			got[s.Prefix.String()] = true
		}
	}
	if len(got) != 3 || !got["10.5.0.0/24"] || !got["2001:db8:5::/64"] || !got["2001:db8:6::/48"] {
		t.Errorf("%v", list)
	}
}
