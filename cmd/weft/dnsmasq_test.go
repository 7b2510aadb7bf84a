package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// The test in this file holds weft's answers against those of dnsmasq, which is
// what libvirt serves names by.

// disagreement is where the two mean to answer otherwise: what each says, and why
// that is weft's choice.
type disagreement struct{ weft, dnsmasq, why string }

// comparedQueries are asked of both. The answers are the same but for those of
// disagreements.
var comparedQueries = []string{
	// Leases and reservations with one.
	"laptop A", "laptop.lab A", "LapTop.LAB A", "laptop.lab AAAA", "laptop.lab TXT", "laptop.lab MX", "-x 10.0.0.150", "sub.laptop.lab A",
	"web A", "web.lab A", "-x 10.0.0.50",
	// Of the configuration and its file.
	"gateway A", "gateway.lab A", "gateway.lab AAAA", "-x 10.0.0.254",
	"db A", "db.lab A", "db.lab AAAA", "db.lab SRV", "-x 10.0.0.60",
	"files.lab A", "files.lab AAAA", "-x 10.0.0.61", "-x fd00::61",
	"six.lab A", "six.lab AAAA", "-x fd00::62",
	"two.lab A", "-x 10.0.0.63", "-x 10.0.0.64",
	"printer A", "printer.lab A", "printer-alias.lab A", "printer.lab AAAA", "-x 10.0.0.70", "-x fd00::70",
	"pub.example.org A", "pub.example.org MX", "-x 192.0.2.7",
	"lab TXT", "note.lab TXT", "note.lab A", "_ldap._tcp.lab SRV", "_ldap._tcp.lab TXT", "_none._tcp.lab SRV",
	// Nobody's.
	"lab A", "lab SOA", "lab NS", "nothing.lab A", "nothing.lab TXT", "nothing.lab ANY", "nothing A", "nothing AAAA", "nothing MX", "-x 10.0.0.99", "-x fd00::99",
	"home.arpa A", "x.home.arpa A", "x.home.arpa MX",
	// Of others.
	"www.example.org A", "WWW.Example.org A", "www.example.org AAAA", "www.example.org MX", "www.example.org TXT",
	"alias.example.org A", "alias.example.org AAAA", "alias.example.org CNAME", "none.example.org A", "many.example.org A",
	"mail.example.org MX", "mail.example.org HTTPS", "-x 198.51.100.7", "host.corp.example A", "none.corp.example A", "corp.example A",
	"db.lab ANY", "version.bind TXT CH", "something CH",
	"www.example.org A +norecurse", "db.lab A +norecurse", "db.lab A +noedns", "www.example.org A +dnssec",
}

var disagreements = map[string]disagreement{
	"lab SOA": {"NOERROR aa [lab. IN SOA gateway.lab. hostmaster.gateway.lab. 1 3600 600 86400 10]", "NOERROR []",
		"a domain that is answered for has one (RFC 1035 clause 4.3.4): the same that stands in its negative answers"},
	"home.arpa A": {"NOERROR []", "NXDOMAIN []",
		"a domain is there, even where no name in it is"},
	"pub.example.org MX": {"NOERROR []", "NOERROR [pub.example.org. IN MX 10 www.example.org.]",
		"a name of the configuration is the network's own: no upstream is asked for the rest of it"},
	"version.bind TXT CH": {"REFUSED []", "NOERROR aa [version.bind. CH TXT \"dnsmasq-2.90\"]",
		"who runs what is no guest's business"},
	"something CH": {"REFUSED []", "NXDOMAIN []",
		"a class that nobody serves is not asked of others"},
}

// ownNegative reports whether an answer says no, with authority.
func ownNegative(a digged) bool {
	return len(a.answer) == 0 && strings.Contains(a.flags, "aa") && len(a.authority) == 1 && strings.Contains(a.authority[0], " SOA gateway.lab. ")
}

// compared writes an answer so that two of them compare. That dnsmasq says no
// with authority or without depends on what it was asked before.
func compared(a digged) string {
	aa := ""
	if len(a.answer) > 0 && slices.Contains(strings.Fields(a.flags), "aa") {
		aa = " aa"
	}
	return fmt.Sprintf("%s%s [%s]", a.status, aa, strings.Join(a.answer, " | "))
}

func TestDNSLikeDnsmasq(t *testing.T) {
	s := layServed(t, 1500, "raw", "raw")
	ref := porttest.NewNS(t, "ref")
	porttest.Veth(t, ref, "virbr0", ref, "other")
	ref.Addr(t, "virbr0", gatewayAddress+"/24")
	for _, ns := range []*porttest.NS{s.host, ref} {
		startUpstream(t, ns, "127.0.0.1:5301",
			"www.example.org. 300 A 192.0.2.1", "www.example.org. 300 AAAA 2001:db8::1", "www.example.org. 300 TXT \"a text\"",
			"alias.example.org. 300 CNAME www.example.org.", "alias.example.org. 300 A 192.0.2.1",
			"many.example.org. 300 A 192.0.2.21", "many.example.org. 300 A 192.0.2.22", "many.example.org. 300 A 192.0.2.23",
			"mail.example.org. 300 MX 10 www.example.org.", "pub.example.org. 300 MX 10 www.example.org.", "7.100.51.198.in-addr.arpa. 300 PTR seven.example.org.",
			"host.corp.example. 300 A 192.0.2.99", "nothing. 300 A 192.0.2.98", "x.home.arpa. 300 A 192.0.2.97")
		startUpstream(t, ns, "127.0.0.1:5302", "host.corp.example. 300 A 192.0.2.10")
	}
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(s.file(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return s.file(name)
	}
	more := write("more", "10.0.0.70 printer printer-alias\nfd00::70 printer\n")
	mac := func(i int) string { return s.hosts[i].Link(t, "eth0").Attrs().HardwareAddr.String() }
	s.write(s.yaml(fmt.Sprintf(`address: 10.0.0.254/24
dhcp:
  range: 10.0.0.150
  probe: false
  hosts: [{mac: "%s", address: 10.0.0.50, name: web}]
dns:
  domain: lab
  hosts: {db: 10.0.0.60, files.lab: [10.0.0.61, "fd00::61"], six: "fd00::62", two: [10.0.0.63, 10.0.0.64], pub.example.org: 192.0.2.7}
  txt: {lab: "v=spf1 -all", note.lab: "two words"}
  srv: [{name: _ldap._tcp.lab, target: files.lab, port: 389, priority: 10, weight: 5}]
  hosts_file: %s
  upstream: "127.0.0.1:5301"
  domains: {corp.example: ["127.0.0.1:5302"], home.arpa: []}
`, mac(1), more)))
	s.start()
	if lease, web := leaseOf(t, s.hosts[0], "laptop"), leaseOf(t, s.hosts[1], ""); lease != "10.0.0.150" || web != "10.0.0.50" {
		t.Fatalf("leases %q and %q", lease, web)
	}
	// What libvirt writes for the same network: local=, expand-hosts and
	// domain-needed among them. Leases are as if it had given them.
	hosts := write("hosts", "10.0.0.254 gateway\n10.0.0.60 db\n10.0.0.61 files.lab\nfd00::61 files.lab\nfd00::62 six\n10.0.0.63 two\n10.0.0.64 two\n192.0.2.7 pub.example.org\n")
	leases := write("leases", fmt.Sprintf("0 %s 10.0.0.150 laptop *\n0 %s 10.0.0.50 web *\n", mac(0), mac(1)))
	hostDnsmasq(t, ref, "--interface=virbr0", "--dhcp-range=10.0.0.150,10.0.0.150,255.255.255.0", "--dhcp-host="+mac(1)+",10.0.0.50,web",
		"--dhcp-leasefile="+leases, "--domain=lab", "--local=/lab/", "--expand-hosts", "--domain-needed", "--strict-order",
		"--addn-hosts="+hosts, "--addn-hosts="+more, "--local=/0.0.10.in-addr.arpa/", "--local=/home.arpa/",
		"--txt-record=lab,v=spf1 -all", "--txt-record=note.lab,two words", "--srv-host=_ldap._tcp.lab,files.lab,389,10,5",
		"--server=127.0.0.1#5301", "--server=/corp.example/127.0.0.1#5302")
	left := map[string]bool{}
	for query := range disagreements {
		left[query] = true
	}
	for _, query := range comparedQueries {
		for _, by := range []string{"+notcp", "+tcp"} {
			words := append(strings.Fields(query), by)
			weft, dnsmasq := dig(t, s.hosts[0], words...), dig(t, ref, words...)
			got, want := compared(weft), compared(dnsmasq)
			d, meant := disagreements[query]
			delete(left, query)
			switch {
			case meant:
				if got != d.weft || want != d.dnsmasq {
					t.Errorf("%s %s:\n   weft says %s\n     want %s\ndnsmasq says %s\n     want %s", query, by, got, d.weft, want, d.dnsmasq)
				}
				continue
			case ownNegative(weft) && len(dnsmasq.authority) == 0:
				// dnsmasq's own has no SOA and no authority, so nobody can keep it
				// (RFC 2308 clause 3).
				weft.authority = nil
			}
			if got != want || !slices.Equal(weft.authority, dnsmasq.authority) {
				t.Errorf("%s %s:\n   weft says %s and %v\ndnsmasq says %s and %v", query, by, got, weft.authority, want, dnsmasq.authority)
			}
			if !slices.Equal(weft.additional, dnsmasq.additional) {
				t.Errorf("%s %s: additional records\n   weft %v\ndnsmasq %v", query, by, weft.additional, dnsmasq.additional)
			}
		}
	}
	for query := range left {
		t.Errorf("%s is answered otherwise and not asked", query)
	}
}
