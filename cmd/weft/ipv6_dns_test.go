package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/weft/weft/ports/porttest"
)

// namingBoth are settings of a network that names its hosts by both families.
const namingBoth = both + `ra: {lifetime: 1800s}
dhcp:
  range: 10.0.0.100-10.0.0.199
  probe: false
  hosts: [{mac: "02:00:00:00:00:50", address: 10.0.0.50, name: web}]
dhcp6:
  range: "` + pool6 + `"
  hosts: [{mac: "02:00:00:00:00:50", address: "2001:db8:1::50", name: web}, {duid: "00:01:02:03", address: "2001:db8:1::51", name: six}]
dns: {domain: lab, upstream: none, hosts: {db: [10.0.0.60, "2001:db8:1::60"]}}
`

// askers are the ways to the gateway's names: each family, the link-local address,
// and UDP and TCP.
func askers() (all [][]string) {
	for _, at := range []string{gatewayAddress, gateway6, gatewayLocal + "%eth0"} {
		for _, by := range []string{"+notcp", "+tcp"} {
			all = append(all, []string{"@" + at, by})
		}
	}
	return all
}

func reverseOf(t *testing.T, ip string) string {
	t.Helper()
	name, err := dns.ReverseAddr(ip)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// Names of reservations, of leases and of the configuration are the same in both
// families, asked for by each of them.
func TestDNSNamesOfBothFamilies(t *testing.T) {
	t.Parallel()
	s := newServed6(t, namingBoth, "raw", "internal")
	asking := s.hosts[0]
	asking.Addr(t, "eth0", address(1)+"/24")
	address6(t, asking, subnet6)
	lease := newRawClient6(t, s.hosts[1], 9).obtain(called("laptop.lab")).address
	for _, c := range []struct{ query, status, answer string }{
		{"gateway.lab AAAA", "NOERROR", "gateway.lab. IN AAAA 2001:db8:1::1"},
		{"gateway AAAA", "NOERROR", "gateway. IN AAAA 2001:db8:1::1"},
		{"gateway.lab A", "NOERROR", "gateway.lab. IN A 10.0.0.254"},
		{"-x 2001:db8:1::1", "NOERROR", reverseOf(t, gateway6) + " IN PTR gateway.lab."},
		{"web.lab AAAA", "NOERROR", "web.lab. IN AAAA 2001:db8:1::50"},
		{"web.lab A", "NOERROR", "web.lab. IN A 10.0.0.50"},
		{"-x 2001:db8:1::50", "NOERROR", reverseOf(t, "2001:db8:1::50") + " IN PTR web.lab."},
		{"six.lab AAAA", "NOERROR", "six.lab. IN AAAA 2001:db8:1::51"},
		{"six.lab A", "NOERROR", ""},
		{"LapTop.lab AAAA", "NOERROR", "LapTop.lab. IN AAAA " + lease},
		{"laptop.lab A", "NOERROR", ""},
		{"-x " + lease, "NOERROR", reverseOf(t, lease) + " IN PTR laptop.lab."},
		{"db.lab AAAA", "NOERROR", "db.lab. IN AAAA 2001:db8:1::60"},
		{"-x 2001:db8:1::60", "NOERROR", reverseOf(t, "2001:db8:1::60") + " IN PTR db.lab."},
		{"nobody.lab AAAA", "NXDOMAIN", ""},
		{"-x 2001:db8:1::99", "NXDOMAIN", ""},
	} {
		for _, by := range askers() {
			a := dig(t, asking, append(strings.Fields(c.query), by...)...)
			if got := strings.Join(a.answer, " | "); a.status != c.status || got != c.answer {
				t.Errorf("%s %v: %s [%s], want %s [%s]\n%s", c.query, by, a.status, got, c.status, c.answer, a.raw)
			}
		}
	}
	s.do("lease", "release", "lan", "laptop")
	if a := dig(t, asking, "@"+gateway6, "laptop.lab", "AAAA"); a.status != "NXDOMAIN" {
		t.Errorf("a name without a lease:\n%s", a.raw)
	}
}

// A name that a machine has by DHCP stands for the addresses too that it has made
// itself, as far as neighbour discovery shows them, unless that is off.
func TestDNSNamesOfSLAAC(t *testing.T) {
	t.Parallel()
	s := newServed6(t, namingBoth, "raw", "raw")
	named, asking := s.hosts[0], s.hosts[1]
	asking.Addr(t, "eth0", address(2)+"/24")
	own := address6(t, named, subnet6)
	local := strings.TrimSuffix(local6(t, named), "%eth0")
	v4 := leaseOf(t, named, "laptop")
	porttest.Ping(t, named, gateway6)
	eventually(t, "laptop.lab has the address that it made itself", func() bool {
		return slices.Contains(dig(t, asking, "laptop.lab", "AAAA").answer, "laptop.lab. IN AAAA "+own)
	})
	for _, by := range askers() {
		local6(t, asking)
		address6(t, asking, subnet6)
		if a := dig(t, asking, append(by, "-x", own)...); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " laptop.lab.") {
			t.Errorf("-x %s %v: %s", own, by, a.raw)
		}
		a := dig(t, asking, append(by, "laptop.lab", "AAAA")...)
		if len(a.answer) != 1 { // not by its link-local address, which means nothing elsewhere
			t.Errorf("%v, local %s: %s", by, local, a.raw)
		}
		if a := dig(t, asking, append(by, "laptop.lab", "A")...); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+v4) {
			t.Errorf("laptop.lab A %v: %s", by, a.raw)
		}
	}
	asking.Run(t, "ping", "-6", "-n", "-c", "1", "-w", "20", own)
	// Names of machines without a lease are nobody's.
	if a := dig(t, asking, "-x", address6(t, asking, subnet6)); a.status != "NXDOMAIN" {
		t.Errorf("an address without a name: %s", a.raw)
	}
	s.apply(strings.Replace(namingBoth, "dns: {", "dns: {slaac: false, ", 1))
	eventually(t, "slaac: false, and laptop.lab has an address of IPv4 alone", func() bool {
		a := dig(t, asking, "laptop.lab", "AAAA")
		return a.status == "NOERROR" && len(a.answer) == 0 && dig(t, asking, "-x", own).status == "NXDOMAIN"
	})
	s.apply(namingBoth)
	eventually(t, "laptop.lab has its address again", func() bool {
		return len(dig(t, asking, "laptop.lab", "AAAA").answer) == 1
	})
	s.do("lease", "release", "lan", "laptop")
	eventually(t, "laptop.lab is gone with its lease", func() bool {
		return dig(t, asking, "laptop.lab", "AAAA").status == "NXDOMAIN"
	})
}
