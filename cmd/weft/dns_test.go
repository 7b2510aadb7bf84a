package main

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// labSettings are those of a network with names of every kind; %s are two files'
// names and the MAC of a host.
const labSettings = `address: 10.0.0.254/24
mac: "52:54:00:00:00:fe"
dhcp:
  range: 10.0.0.100-10.0.0.199
  probe: false
  hosts:
    - {mac: "02:00:00:00:00:50", address: 10.0.0.50, name: web}
    - {mac: "%s", name: mine}
dns:
  domain: lab
  hosts: {db: 10.0.0.60, files.lab: [10.0.0.61, "fd00::61"], six: "fd00::62", pub.example.org: 192.0.2.7}
  txt: {lab: "v=spf1 -all", note.lab: [one, "two words"]}
  srv:
    - {name: _ldap._tcp.lab, target: files.lab, port: 389, priority: 10, weight: 5}
    - {name: _ldap._tcp.lab, target: db.lab, port: 390, priority: 20}
  hosts_file: %s
  upstream: %s
`

// newLab starts a network with labSettings. Its upstream is none.
func newLab(t *testing.T, upstream string) *served {
	t.Helper()
	s := layServed(t, 1500, "internal", "raw")
	if err := os.WriteFile(s.file("hosts"), []byte("10.0.0.70 printer printer-alias\n# 10.0.0.71 nobody\nfd00::70 printer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.write(s.yaml(fmt.Sprintf(labSettings, s.hosts[1].Link(t, "eth0").Attrs().HardwareAddr, s.file("hosts"), upstream)))
	s.start()
	return s
}

// Names of every origin, by UDP and by TCP.
func TestDNSNames(t *testing.T) {
	s := newLab(t, "none")
	lease := leaseOf(t, s.hosts[0], "Laptop")
	mine := leaseOf(t, s.hosts[1], "called-otherwise")
	if lease == "" || mine == "" {
		t.Fatalf("leases %q and %q", lease, mine)
	}
	reverse := func(ip string) string {
		name, err := dns.ReverseAddr(ip)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, c := range []struct {
		query, status, answer string // answers joined by " | "
	}{
		{"web A", "NOERROR", "web. IN A 10.0.0.50"},
		{"web.lab A", "NOERROR", "web.lab. IN A 10.0.0.50"},
		{"WeB.LaB A", "NOERROR", "WeB.LaB. IN A 10.0.0.50"},
		{"web.lab AAAA", "NOERROR", ""},
		{"web.lab MX", "NOERROR", ""},
		{"web.lab HTTPS", "NOERROR", ""},
		{"-x 10.0.0.50", "NOERROR", reverse("10.0.0.50") + " IN PTR web.lab."},
		{"laptop A", "NOERROR", "laptop. IN A " + lease},
		{"laptop.lab A", "NOERROR", "laptop.lab. IN A " + lease},
		{"laptop.lab AAAA", "NOERROR", ""},
		{"-x " + lease, "NOERROR", reverse(lease) + " IN PTR laptop.lab."},
		{"mine.lab A", "NOERROR", "mine.lab. IN A " + mine},
		{"called-otherwise.lab A", "NXDOMAIN", ""},
		{"gateway A", "NOERROR", "gateway. IN A " + gatewayAddress},
		{"gateway.lab A", "NOERROR", "gateway.lab. IN A " + gatewayAddress},
		{"-x " + gatewayAddress, "NOERROR", reverse(gatewayAddress) + " IN PTR gateway.lab."},
		{"db A", "NOERROR", "db. IN A 10.0.0.60"},
		{"db.lab A", "NOERROR", "db.lab. IN A 10.0.0.60"},
		{"db.lab AAAA", "NOERROR", ""},
		{"files.lab A", "NOERROR", "files.lab. IN A 10.0.0.61"},
		{"files.lab AAAA", "NOERROR", "files.lab. IN AAAA fd00::61"},
		{"six.lab A", "NOERROR", ""},
		{"six.lab AAAA", "NOERROR", "six.lab. IN AAAA fd00::62"},
		{"-x fd00::62", "NOERROR", reverse("fd00::62") + " IN PTR six.lab."},
		{"pub.example.org A", "NOERROR", "pub.example.org. IN A 192.0.2.7"},
		{"-x 192.0.2.7", "NOERROR", reverse("192.0.2.7") + " IN PTR pub.example.org."},
		{"printer.lab A", "NOERROR", "printer.lab. IN A 10.0.0.70"},
		{"printer AAAA", "NOERROR", "printer. IN AAAA fd00::70"},
		{"printer-alias A", "NOERROR", "printer-alias. IN A 10.0.0.70"},
		{"-x 10.0.0.70", "NOERROR", reverse("10.0.0.70") + " IN PTR printer.lab."},
		{"nobody.lab A", "NXDOMAIN", ""},
		{"lab TXT", "NOERROR", `lab. IN TXT "v=spf1 -all"`},
		{"note.lab TXT", "NOERROR", `note.lab. IN TXT "one" "two words"`},
		{"_ldap._tcp.lab SRV", "NOERROR", "_ldap._tcp.lab. IN SRV 10 5 389 files.lab. | _ldap._tcp.lab. IN SRV 20 0 390 db.lab."},
		{"nothing.lab A", "NXDOMAIN", ""},
		{"nothing.lab TXT", "NXDOMAIN", ""},
		{"a.web.lab A", "NXDOMAIN", ""},
		{"nothing A", "NXDOMAIN", ""},
		{"-x 10.0.0.99", "NXDOMAIN", ""},
	} {
		for _, by := range []string{"+notcp", "+tcp"} {
			t.Run(c.query+" "+by, func(t *testing.T) {
				a := dig(t, s.hosts[0], append(strings.Fields(c.query), by)...)
				if got := strings.Join(a.answer, " | "); a.status != c.status || got != c.answer {
					t.Errorf("%s [%s], want %s [%s]\n%s", a.status, got, c.status, c.answer, a.raw)
				}
				if c.answer == "" && (len(a.authority) != 1 || !strings.Contains(a.authority[0], " SOA ")) {
					t.Errorf("a negative answer without its SOA:\n%s", a.raw)
				}
				if !strings.Contains(a.flags, "qr") || !strings.Contains(a.flags, "aa") || strings.Contains(a.flags, "tc") {
					t.Errorf("flags %q:\n%s", a.flags, a.raw)
				}
			})
		}
	}
	t.Run("a lease that ends", func(t *testing.T) {
		s.do("lease", "release", "lan", "laptop")
		if a := dig(t, s.hosts[0], "laptop.lab"); a.status != "NXDOMAIN" {
			t.Errorf("a name without a lease:\n%s", a.raw)
		}
	})
	t.Run("a reservation by command", func(t *testing.T) {
		s.do("lease", "add", "lan", "--mac", "02:00:00:00:00:77", "--address", "10.0.0.77", "--name", "seven")
		if a := dig(t, s.hosts[0], "seven.lab"); len(a.answer) != 1 {
			t.Errorf("a name that was added:\n%s", a.raw)
		}
		s.do("lease", "rm", "lan", "seven")
		if a := dig(t, s.hosts[0], "seven.lab"); a.status != "NXDOMAIN" {
			t.Errorf("a name that was removed:\n%s", a.raw)
		}
	})
	t.Run("the file of names changes", func(t *testing.T) {
		is := func(name, status string) {
			t.Helper()
			eventually(t, name+" is "+status, func() bool { return dig(t, s.hosts[0], name).status == status })
		}
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(s.file("new"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(s.file("new"), s.file("hosts")); err != nil {
				t.Fatal(err)
			}
		}
		write("10.0.0.72 scanner\n10.0.0.300 bad\n\x00\x01\x02\n10.0.0.73 web gateway camera\n")
		is("scanner.lab", "NOERROR")
		is("camera.lab", "NOERROR")
		is("printer.lab", "NXDOMAIN")
		if a := dig(t, s.hosts[0], "gateway.lab"); !slices.Contains(a.answer, "gateway.lab. IN A "+gatewayAddress) {
			t.Errorf("a line of the file takes the gateway's name:\n%s", a.raw)
		}
		for bad := range 2 {
			if want := fmt.Sprintf("%s:%d: ", s.file("hosts"), bad+2); strings.Count(s.Output(), want) != 1 {
				t.Errorf("the log does not have %q once:\n%s", want, s.Output())
			}
		}
		if err := os.Remove(s.file("hosts")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the log says that it is gone", func() bool { return strings.Contains(s.Output(), "no such file") })
		is("scanner.lab", "NOERROR") // an editor may be at it
		write("10.0.0.74 printer\n")
		is("printer.lab", "NOERROR")
		is("scanner.lab", "NXDOMAIN")
		if a := dig(t, s.hosts[0], "web.lab"); len(a.answer) != 1 {
			t.Errorf("a reservation beside the file:\n%s", a.raw)
		}
	})
	if out := s.host.Run(t, "curl", "-sS", "http://127.0.0.1:9820/metrics"); !strings.Contains(out, `weft_dns_query_duration_seconds_count{network="lan"}`) ||
		!regexp.MustCompile(`weft_dns_queries_total\{network="lan",outcome="local"\} [1-9]`).MatchString(out) {
		t.Error("the metrics lack the queries")
	}
}

// A guest cannot take a name that is somebody's: it gets its lease without one.
func TestDNSNamesAreNotStolen(t *testing.T) {
	s := newLab(t, "none")
	first := leaseOf(t, s.hosts[1], "") // the name of its reservation, mine
	for _, name := range []string{"web", "WEB", "gateway", "db", "mine", "web.lab", "printer", "files", "-bad-", "localhost"} {
		t.Run(name, func(t *testing.T) {
			lease := leaseOf(t, s.hosts[0], name)
			if lease == "" {
				t.Fatal("no lease")
			}
			if a := dig(t, s.hosts[0], "-x", lease); len(a.answer) != 0 {
				t.Errorf("the lease has the name:\n%s", a.raw)
			}
		})
	}
	for name, want := range map[string]string{
		"web.lab": "10.0.0.50", "gateway.lab": gatewayAddress, "db.lab": "10.0.0.60", "mine.lab": first, "printer.lab": "10.0.0.70", "files.lab": "10.0.0.61",
	} {
		if a := dig(t, s.hosts[0], name); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+want) {
			t.Errorf("%s is not %s:\n%s", name, want, a.raw)
		}
	}
	if lease := leaseOf(t, s.hosts[0], "free"); lease == "" || len(dig(t, s.hosts[0], "free.lab").answer) != 1 {
		t.Error("a free name is not given")
	}
}

// EDNS, sizes, classes, and what is not a query.
func TestDNSTransport(t *testing.T) {
	t.Parallel() // it waits more than it works
	var long []string
	for i := range 10 {
		long = append(long, fmt.Sprint(i)+strings.Repeat("0123456789", 20))
	}
	s := newServed(t, 1500, "address: 10.0.0.254/24\ndns:\n  domain: lab\n  hosts: {db: 10.0.0.60}\n"+
		"  txt: {long.lab: ["+strings.Join(long, ", ")+"]}\n", "raw")
	h := s.hosts[0]
	ask := func(t *testing.T, args ...string) digged {
		t.Helper()
		return dig(t, h, args...)
	}
	check := func(t *testing.T, a digged, ok bool) {
		t.Helper()
		if !ok {
			t.Errorf("dig says:\n%s", a.raw)
		}
	}
	t.Run("EDNS", func(t *testing.T) {
		a := ask(t, "db.lab", "+bufsize=4096")
		check(t, a, strings.Contains(a.raw, "; EDNS: version: 0, flags:; udp: 1232") && len(a.answer) == 1)
		a = ask(t, "db.lab", "+dnssec")
		check(t, a, strings.Contains(a.raw, "flags: do; udp: 1232") && len(a.answer) == 1 && !strings.Contains(a.flags, "ad"))
		a = ask(t, "db.lab", "+noedns")
		check(t, a, !strings.Contains(a.raw, "EDNS") && len(a.answer) == 1)
		a = ask(t, "db.lab", "+edns=1", "+noednsnegotiation")
		check(t, a, a.status == "BADVERS" && len(a.answer) == 0)
		a = ask(t, "db.lab", "+ednsopt=65001:abcd")
		check(t, a, a.status == "NOERROR" && len(a.answer) == 1)
		a = ask(t, "db.lab", "+cookie=0102030405060708")
		check(t, a, a.status == "NOERROR" && len(a.answer) == 1)
	})
	t.Run("truncation", func(t *testing.T) {
		has := func(a digged) bool { // all of it, in whatever records
			text := strings.Join(a.answer, " ")
			return !slices.ContainsFunc(long, func(part string) bool { return !strings.Contains(text, part) })
		}
		for _, size := range []string{"+noedns", "+bufsize=512", "+bufsize=1232", "+bufsize=4096"} {
			a := ask(t, "long.lab", "TXT", size, "+ignore")
			check(t, a, strings.Contains(a.flags, "tc") && a.status == "NOERROR" && len(a.answer) == 0)
			a = ask(t, "long.lab", "TXT", size)
			check(t, a, strings.Contains(a.raw, ";; Truncated, retrying in TCP mode.") && has(a))
		}
		a := ask(t, "long.lab", "TXT", "+tcp")
		check(t, a, has(a) && !strings.Contains(a.flags, "tc"))
	})
	t.Run("an MTU below what DNS may send", func(t *testing.T) {
		s := newServed(t, 600, "address: 10.0.0.254/24\ndns:\n  domain: lab\n  txt: {long.lab: ["+strings.Join(long[:5], ", ")+"]}\n", "raw")
		a := dig(t, s.hosts[0], "long.lab", "TXT", "+bufsize=1232", "+time=5", "+tries=2")
		check(t, a, strings.Contains(a.raw, ";; Truncated, retrying in TCP mode.") && strings.Contains(strings.Join(a.answer, " "), long[4]))
	})
	t.Run("TCP is kept open", func(t *testing.T) {
		out := h.Run(t, "dig", "-r", "@"+gatewayAddress, "+tcp", "+keepopen", "db.lab", "A", "db.lab", "AAAA", "gateway.lab", "A")
		if strings.Count(out, "status: NOERROR") != 3 {
			t.Errorf("dig says:\n%s", out)
		}
	})
	t.Run("odd queries", func(t *testing.T) {
		a := ask(t, "db.lab", "ANY")
		check(t, a, a.status == "NOERROR" && len(a.answer) == 1) // RFC 8482: one is enough
		a = ask(t, "version.bind", "TXT", "CH")
		check(t, a, a.status == "REFUSED" && len(a.answer) == 0)
		a = ask(t, "db.lab", "+opcode=STATUS")
		check(t, a, a.status == "NOTIMP")
		a = ask(t, "db.lab", "+opcode=UPDATE")
		check(t, a, a.status == "NOTIMP")
		a = ask(t, "lab", "AXFR", "+tcp")
		check(t, a, len(a.answer) == 0)
		a = ask(t, "db.lab", "+norecurse")
		check(t, a, len(a.answer) == 1)
		a = ask(t, "db.lab", "+cd")
		check(t, a, len(a.answer) == 1)
	})
	t.Run("no message at all", func(t *testing.T) {
		for _, junk := range []string{"", "\x00", strings.Repeat("\xff", 12), strings.Repeat("\xc0", 600), strings.Repeat("\x00", 1400)} {
			var conn net.Conn
			var err error
			h.Do(func() { conn, err = net.Dial("udp4", gatewayAddress+":53") })
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				if _, err := conn.Write([]byte(junk)); err != nil {
					t.Error(err)
				}
			}
			conn.Close()
		}
		a := ask(t, "db.lab")
		check(t, a, len(a.answer) == 1)
	})
	t.Run("connections that say nothing", func(t *testing.T) {
		for range 40 { // more than one client may have
			var conn net.Conn
			var err error
			h.Do(func() { conn, err = net.DialTimeout("tcp4", gatewayAddress+":53", 10*time.Second) })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
		}
		a := ask(t, "db.lab")
		check(t, a, len(a.answer) == 1)
		eventually(t, "TCP is served again", func() bool {
			a, err := tryDig(h, "db.lab", "+tcp", "+time=2")
			return err == nil && len(a.answer) == 1
		})
	})
}

// A real load, of answers that are local, cached and negative.
func TestDNSUnderLoad(t *testing.T) {
	s := layServed(t, 1500, "internal", "raw")
	startUpstream(t, s.host, "127.0.0.1:5301", "www.example.org. 300 A 192.0.2.1")
	s.write(s.yaml(forwarding("\"127.0.0.1:5301\"", "")))
	s.start()
	queries := s.file("queries")
	if err := os.WriteFile(queries, []byte("db.lab A\nwww.example.org A\nnothing.lab A\ngateway.lab A\n60.0.0.10.in-addr.arpa PTR\nnone.example.org A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, mode := range []string{"udp", "tcp"} {
		load := s.hosts[i].Start(t, "dnsperf", "-s", gatewayAddress, "-d", queries, "-l", "3", "-m", mode, "-c", "4", "-q", "50", "-t", "20")
		load.WaitOutput(t, "Sending queries", 30*time.Second)
		for range 10 { // the other host has its share
			if a := dig(t, s.hosts[1-i], "db.lab"); len(a.answer) != 1 {
				t.Errorf("beside load by %s:\n%s", mode, a.raw)
			}
		}
		err := load.Wait(t, 60*time.Second)
		out := load.Output()
		if err != nil || !strings.Contains(out, "Queries lost:         0 (") || !regexp.MustCompile(`Queries completed: +[1-9]\d\d`).MatchString(out) ||
			!strings.Contains(out, "NXDOMAIN") || strings.Contains(out, "SERVFAIL") || strings.Contains(out, "REFUSED") {
			t.Errorf("by %s: %v\n%s", mode, err, out)
		}
		t.Log(mode, regexp.MustCompile(`Queries per second: +(\S+)`).FindString(out))
	}
}
