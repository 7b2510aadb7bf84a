package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// dualLab is a guest with addresses of both families, a gateway, and an internet that
// is one host.
type dualLab struct {
	*weftProcess
	guest, isp *porttest.NS
}

// dualCase is a way outside, and which families it has.
type dualCase struct {
	uplink     string // of the configuration file; OWN4 and OWN6 stand for addresses
	ipv4, ipv6 bool
	// addressed has the host have an address of each family that there is; what it has
	// not is switched off there, or only not configured.
	addressed, off bool
}

// TestNATOfBothFamilies has guests use both at once, and one that there is where the
// other one is missing: of that they hear so at once.
func TestNATOfBothFamilies(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // it waits more than it works
	tests := map[string]func(*testing.T){}
	for name, c := range map[string]dualCase{
		"own":                    {uplink: "[OWN4, OWN6]", ipv4: true, ipv6: true},
		"own, IPv4 alone":        {uplink: "OWN4", ipv4: true},
		"own, IPv6 alone":        {uplink: "OWN6", ipv6: true},
		"asking":                 {uplink: "[dhcp, slaac]", ipv4: true, ipv6: true},
		"asking for one in vain": {uplink: "[dhcp, slaac]", ipv4: true},
		"host":                   {uplink: "host", ipv4: true, ipv6: true, addressed: true},
		"host without IPv6":      {uplink: "host", ipv4: true, addressed: true, off: true},
		"host without IPv4":      {uplink: "host", ipv6: true, addressed: true},
		"sockets":                {uplink: "sockets", ipv4: true, ipv6: true, addressed: true},
		"sockets without IPv6":   {uplink: "sockets", ipv4: true, addressed: true, off: true},
		"sockets, IPv4 alone":    {uplink: "sockets", ipv4: true, addressed: true},
		"sockets without IPv4":   {uplink: "sockets", ipv6: true, addressed: true},
	} {
		tests[name] = c.run
	}
	together(t, tests)
}

func (c dualCase) run(t *testing.T) {
	l := c.lay(t)
	for f, there := range map[family]bool{family4: c.ipv4, family6: c.ipv6} {
		porttest.Ping(t, l.guest, f.ip(gatewayAddress)) // in any case
		if there {
			l.goes(t, f)
		} else {
			l.says(t, f)
		}
		if c.off && f == family6 {
			continue
		}
		for _, network := range []string{"tcp", "udp"} {
			other := map[family]family{family4: family6, family6: family4}[f]
			if seen, err := askEcho(l.host, network, f.at("127.0.0.1", 19889)); err != nil || hostOf(seen) != other.ip(gatewayAddress) {
				t.Errorf("%s from the host by %s to the guest's other address: the guest sees %q, %v", network, f, seen, err)
			}
		}
	}
}

// lay makes the lab, and waits until weft is ready.
func (c dualCase) lay(t *testing.T) *dualLab {
	t.Helper()
	host := porttest.NewNS(t, "host")
	l := &dualLab{guest: porttest.NewNS(t, "guest"), isp: porttest.NewNS(t, "isp")}
	for _, ns := range []*porttest.NS{host, l.guest, l.isp} {
		family6.prepare(t, ns)
	}
	if c.off {
		host.Quiet(t)
	}
	porttest.Veth(t, host, "wan0", l.isp, "eth0")
	porttest.Veth(t, host, "p1", l.guest, "eth0")
	for f, there := range map[family]bool{family4: c.ipv4, family6: c.ipv6} {
		f.routes(t, l.isp)
		l.guest.Addr(t, "eth0", f.cidr("10.0.0.1/24"))
		l.guest.Run(t, "ip", "route", "add", "default", "via", f.ip(gatewayAddress))
		startEcho(t, l.guest, f.at(address(1), 22))
		if !there {
			continue
		}
		l.isp.Addr(t, "eth0", f.cidr(ispAddress+"/24"))
		l.isp.Addr(t, "lo", f.cidr(farAddress+"/32"))
		startEcho(t, l.isp, f.at(farAddress, 7))
		if c.addressed {
			(&internet{family: f}).addressHost(t, host, f.ip(outsideAddress))
		}
	}
	args := []string{"--port=0", "--interface=eth0", "--except-interface=lo", "--no-ping", "--dhcp-leasefile=" + t.TempDir() + "/leases",
		fmt.Sprintf("--dhcp-range=%s,%[1]s,255.255.255.0,2m", outsideAddress), "--dhcp-option=3," + ispAddress}
	if c.ipv6 {
		args = append(args, "--enable-ra", "--dhcp-range=::,constructor:eth0,ra-only,64,2m")
	}
	if c.ipv4 {
		hostDnsmasq(t, l.isp, args...)
	}
	l.weftProcess = startWeft(t, host, c.yaml(t))
	return l
}

func (c dualCase) yaml(t *testing.T) string {
	t.Helper()
	uplink := "{interface: wan0, address: " + strings.NewReplacer(
		"OWN4", family4.cidr(outsideAddress+"/24"), "OWN6", fmt.Sprintf("%q", family6.cidr(outsideAddress+"/24"))).Replace(c.uplink)
	if strings.Contains(c.uplink, "OWN") {
		var gateways []string
		for f, there := range map[family]bool{family4: c.ipv4, family6: c.ipv6} {
			if there {
				gateways = append(gateways, fmt.Sprintf("%q", f.ip(ispAddress)))
			}
		}
		uplink += ", gateway: [" + strings.Join(gateways, ", ") + "]"
	}
	return fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: nat
    address: [%q, %q]
    dns: {enabled: false}
    uplink: %s}
    nat: {publish: [%s]}
    ports: {p1: {type: raw}}
`, t.TempDir(), family4.cidr(gatewayAddress+"/24"), family6.cidr(gatewayAddress+"/24"), uplink, c.publish())
}

// publish has the guest's server be reached outside by each family, and from the host
// by the other one.
func (c dualCase) publish() string {
	four, six := family4.at(address(1), 22), family6.at(address(1), 22)
	var all []string
	for _, p := range []published{
		{"tcp", "19888", four}, {"tcp", "19888", six},
		{"tcp", family6.at("127.0.0.1", 19889), four}, {"udp", family6.at("127.0.0.1", 19889), four},
		{"tcp", family4.at("127.0.0.1", 19889), six}, {"udp", family4.at("127.0.0.1", 19889), six},
	} {
		if !c.off || !strings.HasPrefix(p.listen, "[") { // where the host has no ::1
			all = append(all, fmt.Sprintf("{protocol: %s, listen: %q, to: %q}", p.protocol, p.listen, p.to))
		}
	}
	return strings.Join(all, ", ")
}

// goes fails the test unless the guest reaches the internet, and is reached where it
// is seen to be.
func (l *dualLab) goes(t *testing.T, f family) {
	t.Helper()
	var seen string
	eventually(t, "the guest gets out by "+string(f), func() (ok bool) {
		var err error
		seen, err = quickEcho(l.guest, "tcp", f.at(farAddress, 7))
		return err == nil
	})
	for _, network := range []string{"tcp", "udp"} {
		if again, err := askEcho(l.guest, network, f.at(farAddress, 7)); err != nil || hostOf(again) != hostOf(seen) {
			t.Errorf("by %s the server sees %q, %v; want %s", network, again, err, hostOf(seen))
		}
	}
	porttest.Ping(t, l.guest, f.ip(farAddress))
	if _, err := askEcho(l.isp, "tcp", f.at(hostOf(seen), 19888)); err != nil {
		t.Errorf("published by %s: %v", f, err)
	}
}

// says fails the test unless the guest is told that there is no way.
func (l *dualLab) says(t *testing.T, f family) {
	t.Helper()
	if err := dialled(l.guest, "tcp", f.at(farAddress, 7)); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("TCP by %s, which there is not: %v", f, err)
	}
	told(t, l.guest, f.ip(gatewayAddress), f.of("Destination Net Unreachable", "Destination unreachable: No route"), f.ip(farAddress))
}
