package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weft/weft/ports/porttest"
)

// advertising are settings of which nothing is the default.
const advertising = `address: [10.0.0.254/24, "2001:db8:1::1/64", ula]
mac: "52:54:00:00:00:fe"
ra:
  lifetime: 1800s
  preference: high
  mtu: 1400
  hop_limit: 61
  valid: 2h
  preferred: 1h
  routes: ["2001:db8:9::/48"]
  dnssl: [lab, corp.example]
dns: {domain: lab}
`

// ulaOfLAN is the subnet that the word ula stands for in a network called lan.
const ulaOfLAN = "fd6f:f1e1:44ca::/64"

// Hosts on every kind of port come with nothing, and have what the advertisements
// say: by rdisc6, in their kernels, and in what these hand on.
func TestSLAAC(t *testing.T) {
	t.Parallel() // it waits more than it works
	kinds := []string{"internal", "raw", "raw-off"}
	s := layServed6(t, 1500, kinds...)
	var options []*nl.NetlinkSocket
	for _, h := range s.hosts {
		conf6(t, h, "accept_ra_rt_info_max_plen", 64)
		options = append(options, userOptions(t, h))
	}
	s.write(s.yaml(advertising))
	s.start()
	for i, h := range s.hosts {
		t.Run(kinds[i], func(t *testing.T) { configuredByRA(t, h, options[i]) })
	}
	first := s.hosts[0]
	for _, h := range s.hosts[1:] {
		for _, prefix := range []string{subnet6, ulaOfLAN} {
			a := address6(t, h, prefix)
			porttest.Ping(t, first, a)
			porttest.TCPTransfer(t, first, h, a, 1<<20)
			porttest.TCPTransfer(t, h, first, address6(t, first, prefix), 1<<20)
		}
	}
	ra := s.network().RA
	if ra == nil || ra.Sent < 4 || ra.Received < 3 || fmt.Sprint(ra.Prefixes) != "[2001:db8:1::/64 fd6f:f1e1:44ca::/64]" ||
		ra.LifetimeSeconds != 1800 || ra.Preference != "high" || fmt.Sprint(ra.Search) != "[lab corp.example]" {
		t.Errorf("network show: %+v", ra)
	}
}

func configuredByRA(t *testing.T, h *porttest.NS, options *nl.NetlinkSocket) {
	for _, prefix := range []string{subnet6, ulaOfLAN} {
		address6(t, h, prefix)
		a := addresses6(t, h, prefix)[0]
		if a.ValidLft < 7000 || a.ValidLft > 7200 || a.PreferedLft < 3400 || a.PreferedLft > 3600 {
			t.Errorf("%s is good for %d and %d seconds", a.IP, a.ValidLft, a.PreferedLft)
		}
		hasRoute(t, h, prefix, "proto kernel")
	}
	hasRoute(t, h, "default", "via "+gatewayLocal+" ", "pref high")
	hasRoute(t, h, "2001:db8:9::/48", "via "+gatewayLocal+" ", "pref high")
	for key, want := range map[string]string{"mtu": "1400", "hop_limit": "61"} {
		if got := ofEth0(t, h, key); got != want {
			t.Errorf("the kernel has %s %s, want %s", key, got, want)
		}
	}
	solicit(t, h).expect(t, `
		from: fe80::5054:ff:fe00:fe
		Hop limit: 61
		Stateful address conf: no
		Stateful other conf: no
		Router preference: high
		Router lifetime: 1800 seconds
		Source link-layer address: 52:54:00:00:00:fe
		MTU: 1400 bytes (valid)
		Prefix: 2001:db8:1::/64, fd6f:f1e1:44ca::/64
		On-link: yes, yes
		Autonomous address conf: yes, yes
		Valid time: 7200 seconds, 7200 seconds
		Pref. time: 3600 seconds, 3600 seconds
		Route: 2001:db8:9::/48
		Recursive DNS server: 2001:db8:1::1
		DNS server lifetime: 1800 seconds
		DNS search list: lab corp.example`)
	seen := handedOn(t, options)
	if want := "2001:db8:1::1 for 1800"; seen[optionRDNSS] != want {
		t.Errorf("the kernel hands on RDNSS %q, want %q", seen[optionRDNSS], want)
	}
	if want := "\x03lab\x00\x04corp\x07example\x00"; !strings.HasPrefix(seen[optionDNSSL], want) {
		t.Errorf("the kernel hands on DNSSL %q, want %q", seen[optionDNSSL], want)
	}
	porttest.Ping(t, h, gateway6)
	porttest.Ping(t, h, gatewayLocal+"%eth0")
}

// Options of RFC 8106.
const (
	optionRDNSS = 25
	optionDNSSL = 31
)

// userOptions opens the socket by which resolvers hear of options that a kernel does
// not use itself.
func userOptions(t *testing.T, ns *porttest.NS) (s *nl.NetlinkSocket) {
	t.Helper()
	var err error
	ns.Do(func() { s, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_ND_USEROPT) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.SetReceiveTimeout(&unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	return s
}

// handedOn returns what has come there, by option, until both have.
func handedOn(t *testing.T, s *nl.NetlinkSocket) map[byte]string {
	t.Helper()
	seen := map[byte]string{}
	for end := deadline(); seen[optionRDNSS] == "" || seen[optionDNSSL] == ""; {
		messages, _, err := s.Receive()
		if err != nil && !errors.Is(err, syscall.EAGAIN) || end() {
			t.Fatalf("the kernel has handed on %q: %v", seen, err)
		}
		for _, m := range messages {
			// struct nduseroptmsg (include/uapi/linux/rtnetlink.h), then the option.
			o := m.Data[16:]
			switch o = o[:int(o[1])*8]; o[0] {
			case optionRDNSS:
				a, _ := netip.AddrFromSlice(o[8:24])
				seen[o[0]] = fmt.Sprintf("%s for %d", a, binary.BigEndian.Uint32(o[4:]))
			default:
				seen[o[0]] = string(o[8:])
			}
		}
	}
	return seen
}

// deadline is when a condition that must come to hold is given up.
func deadline() (over func() bool) {
	end := time.Now().Add(60 * time.Second)
	return func() bool { return time.Now().After(end) }
}

func pause() { time.Sleep(50 * time.Millisecond) }

// What is advertised follows the configuration at once, and the kernels of hosts
// follow that.
func TestAdvertisementsChangeLive(t *testing.T) {
	t.Parallel()
	way := both + "ra: {lifetime: 1800s%s}\n"
	s := newServed6(t, fmt.Sprintf(way, ""), "raw")
	h := s.hosts[0]
	old := address6(t, h, subnet6)
	hasRoute(t, h, "default", "pref medium")

	s.apply(fmt.Sprintf(way, ", preference: low, mtu: none, rdnss: none, hop_limit: 0"))
	hasRoute(t, h, "default", "pref low")
	solicit(t, h).expect(t, `
		Router preference: low
		MTU: -
		Recursive DNS server: -
		Hop limit: undefined`)

	t.Run("another subnet", func(t *testing.T) {
		s.apply(strings.Replace(fmt.Sprintf(way, ""), gateway6, "2001:db8:2::1", 1))
		address6(t, h, "2001:db8:2::/64")
		eventually(t, "the old address is deprecated", func() bool {
			list := addresses6(t, h, subnet6)
			return len(list) == 1 && list[0].PreferedLft == 0 && list[0].IP.String() == old
		})
		porttest.Ping(t, h, "2001:db8:2::1")
	})
	t.Run("no default router", func(t *testing.T) {
		s.apply(both + "ra: {lifetime: 0s}\n")
		hasRoute(t, h, "default")
		eventually(t, "the first subnet is back", func() bool { return addresses6(t, h, subnet6)[0].PreferedLft > 0 })
	})
	t.Run("off", func(t *testing.T) {
		s.apply(fmt.Sprintf(way, ""))
		hasRoute(t, h, "default", "via "+gatewayLocal)
		s.apply(both + "ra: {enabled: false}\n")
		hasRoute(t, h, "default") // it says goodbye (RFC 4861 section 6.2.5)
		if a := solicits(t, h, "1"); a != nil {
			t.Errorf("advertised although that is off: %v", a)
		}
		if ra := s.network().RA; ra != nil {
			t.Errorf("network show: %+v", ra)
		}
		// What was said is taken back, and the gateway is there all the same.
		hasRoute(t, h, subnet6)
		eventually(t, "the address is deprecated", func() bool { return addresses6(t, h, subnet6)[0].PreferedLft == 0 })
		porttest.Ping(t, h, gatewayLocal+"%eth0")
	})
}

// Whether hosts ask DHCPv6, and for what, follows from whether there is any.
func TestAdvertisedFlags(t *testing.T) {
	t.Parallel()
	s := newServed6(t, both, "raw")
	for _, c := range []struct{ name, settings, managed, other string }{
		{"no DHCPv6", "", "no", "no"},
		{"a range", "dhcp6: {range: \"" + pool6 + "\"}\n", "yes", "yes"},
		{"reservations", "dhcp6: {hosts: [{mac: \"02:00:00:00:00:01\", address: \"2001:db8:1::10\"}]}\n", "yes", "yes"},
		{"stateless", "dhcp6: {stateless: true}\n", "no", "yes"},
		{"said", "dhcp6: {stateless: true}\nra: {managed: true, other: false}\n", "yes", "no"},
		{"no SLAAC", "dhcp6: {range: \"" + pool6 + "\"}\nra: {autonomous: false}\n", "yes", "yes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.apply(both + c.settings)
			a := solicit(t, s.hosts[0])
			a.expect(t, "Stateful address conf: "+c.managed+"\nStateful other conf: "+c.other)
			autonomous := "yes"
			if c.name == "no SLAAC" {
				autonomous = "no"
			}
			a.expect(t, "Prefix: 2001:db8:1::/64\nAutonomous address conf: "+autonomous)
			a.expect(t, "Router lifetime: 0 seconds") // the network is isolated
		})
	}
}

// A stop says goodbye, so that hosts do not send into the void; a kill cannot, and
// the next weft is the same router.
func TestRouterGoesAndComes(t *testing.T) {
	t.Parallel()
	s := newServed6(t, both+"ra: {lifetime: 1800s}\n", "raw")
	h := s.hosts[0]
	a := address6(t, h, subnet6)
	hasRoute(t, h, "default", "via "+gatewayLocal)
	s.stop()
	hasRoute(t, h, "default")
	s.start()
	hasRoute(t, h, "default", "via "+gatewayLocal)
	s.Kill()
	hasRoute(t, h, "default", "via "+gatewayLocal)
	s.start()
	porttest.Ping(t, h, gateway6)
	hasRoute(t, h, "default", "via "+gatewayLocal)
	if now := address6(t, h, subnet6); now != a {
		t.Errorf("the host had %s, has %s", a, now)
	}
}

// The word ula stands for a subnet that follows from the name of the network: the
// same at every start, and another's is another one. Who wants a service of IPv6 and
// names no address has it too.
func TestUniqueLocalSubnet(t *testing.T) {
	t.Parallel()
	s := newServed6(t, "address: [10.0.0.254/24, ula]\n", "raw")
	h := s.hosts[0]
	a := address6(t, h, ulaOfLAN)
	porttest.Ping(t, h, "fd6f:f1e1:44ca::1")
	if got := fmt.Sprint(s.network().Addresses); got != "[10.0.0.254/24 fd6f:f1e1:44ca::1/64]" {
		t.Errorf("network show: %s", got)
	}
	s.Kill()
	s.write(s.yaml("ra: {interval: 600s}\n"))
	s.start()
	porttest.Ping(t, h, "fd6f:f1e1:44ca::1")
	if now := address6(t, h, ulaOfLAN); now != a {
		t.Errorf("the host had %s, has %s", a, now)
	}
	s.stop()
	s.write(strings.Replace(s.yaml("dhcp6: {stateless: true}\n"), "  lan:", "  other:", 1))
	s.start()
	eventually(t, "the host has an address of the other network", func() bool { return len(addresses6(t, h, "fd00::/8")) == 2 })
	if err := porttest.TryPing(h, "fd6f:f1e1:44ca::1", time.Second); err == nil {
		t.Error("another network has the same subnet")
	}
}

// A network of IPv6 alone: all services, and nothing of IPv4.
func TestIPv6Alone(t *testing.T) {
	t.Parallel()
	s := newServed6(t, `address: "2001:db8:1::1/64"
mac: "52:54:00:00:00:fe"
host_port: weft0
ra: {lifetime: 1800s}
dhcp6: {range: "`+pool6+`"}
dns: {domain: lab, hosts: {db: "2001:db8:1::60"}}
`, "internal", "raw")
	for _, h := range s.hosts {
		address6(t, h, subnet6)
		hasRoute(t, h, "default", "via "+gatewayLocal)
		porttest.Ping(t, h, gateway6)
		for _, by := range []string{"+notcp", "+tcp"} {
			if a := dig(t, h, "@"+gateway6, "db.lab", "AAAA", by); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " 2001:db8:1::60") {
				t.Errorf("db.lab %s: %s", by, a.raw)
			}
		}
		if a := dig(t, h, "@"+gateway6, "gateway.lab", "A"); a.status != "NOERROR" || len(a.answer) != 0 {
			t.Errorf("gateway.lab A: %s", a.raw)
		}
	}
	porttest.TCPTransfer(t, s.hosts[0], s.hosts[1], address6(t, s.hosts[1], subnet6), 1<<20)
	porttest.TCPTransfer(t, s.hosts[0], s.host, gateway6, 1<<20)
	porttest.TCPTransfer(t, s.host, s.hosts[1], address6(t, s.hosts[1], subnet6), 1<<20)
	if c := newRawClient6(t, s.hosts[1], 1); !strings.HasPrefix(c.obtain().address, "2001:db8:1::1") {
		t.Errorf("DHCPv6 gives %v", c.address)
	}
	if out := s.host.Run(t, "ip", "-4", "-br", "addr", "show", "weft0"); strings.Contains(out, "/") {
		t.Errorf("IPv4 addresses of the host port: %s", out)
	}
	n := s.network()
	if fmt.Sprint(n.Addresses) != "[2001:db8:1::1/64]" || n.DHCP != nil || n.DHCP6 == nil || n.RA == nil {
		t.Errorf("network show: %+v", n)
	}
	s.hosts[1].Addr(t, "eth0", "10.0.0.2/24")
	for _, a := range []string{gatewayAddress, address(1), "0.0.0.0"} {
		if out, err := s.hosts[1].TryRun("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", a); err == nil {
			t.Errorf("somebody answers ARP for %s:\n%s", a, out)
		}
	}
	if lease := s.hosts[1].Run(t, "sh", "-c", "busybox udhcpc -i eth0 -f -q -n -t 1 -T 1 -s /bin/true 2>&1 || true"); !strings.Contains(lease, "no lease") {
		t.Errorf("udhcpc: %s", lease)
	}
}
