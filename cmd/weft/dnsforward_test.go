package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// forwarding returns settings with upstreams.
func forwarding(upstream, more string) string {
	return "address: 10.0.0.254/24\ndns:\n  domain: lab\n  hosts: {db: 10.0.0.60}\n  upstream: " + upstream + "\n" + more
}

// What is not known here is asked of others: once, for as long as it may be kept.
func TestDNSForwarding(t *testing.T) {
	s := layServed(t, 1500, "raw")
	wide := startUpstream(t, s.host, "127.0.0.1:5301",
		"www.example.org. 300 A 192.0.2.1", "www.example.org. 300 AAAA 2001:db8::1", "short.example.org. 1 A 192.0.2.2",
		"alias.example.org. 300 CNAME www.example.org.", "alias.example.org. 300 A 192.0.2.1",
		"big.example.org. 300 TXT \""+strings.Repeat("x", 255)+"\" \""+strings.Repeat("y", 255)+"\" \""+strings.Repeat("z", 255)+
			"\" \""+strings.Repeat("x", 255)+"\" \""+strings.Repeat("y", 255)+"\" \""+strings.Repeat("z", 255)+"\"",
		"host.corp.example. 300 A 192.0.2.99", "plain. 300 A 192.0.2.98", "home.arpa. 300 TXT leaked")
	corp := startUpstream(t, s.host, "127.0.0.1:5302", "host.corp.example. 300 A 192.0.2.10", "sub.host.corp.example. 300 A 192.0.2.11")
	s.write(s.yaml(forwarding("\"127.0.0.1:5301\"", "  domains: {corp.example: [\"127.0.0.1:5302\"], home.arpa: []}\n")))
	s.start()
	h := s.hosts[0]
	one := func(t *testing.T, want string, args ...string) {
		t.Helper()
		if a := dig(t, h, args...); a.status != "NOERROR" || len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+want) {
			t.Errorf("%s: want %s\n%s", args, want, a.raw)
		}
	}
	t.Run("cached", func(t *testing.T) {
		for range 5 {
			one(t, "192.0.2.1", "www.example.org")
			one(t, "192.0.2.1", "WWW.example.ORG")
			one(t, "192.0.2.1", "www.example.org", "+tcp")
		}
		if n := wide.count("www.example.org", "A"); n != 1 {
			t.Errorf("the upstream was asked %d times", n)
		}
		one(t, "2001:db8::1", "www.example.org", "AAAA")
		a := dig(t, h, "www.example.org")
		if !strings.Contains(a.flags, "ra") || strings.Contains(a.flags, "aa") {
			t.Errorf("flags %q", a.flags)
		}
	})
	t.Run("not for longer than it may", func(t *testing.T) {
		one(t, "192.0.2.2", "short.example.org")
		eventually(t, "the upstream is asked again", func() bool {
			one(t, "192.0.2.2", "short.example.org")
			return wide.count("short.example.org", "A") > 1
		})
	})
	t.Run("negative answers too", func(t *testing.T) {
		for range 5 {
			if a := dig(t, h, "none.example.org"); a.status != "NXDOMAIN" || len(a.authority) != 1 {
				t.Errorf("no such name:\n%s", a.raw)
			}
			if a := dig(t, h, "www.example.org", "MX"); a.status != "NOERROR" || len(a.answer) != 0 || len(a.authority) != 1 {
				t.Errorf("no such type:\n%s", a.raw)
			}
		}
		if n, m := wide.count("none.example.org", "A"), wide.count("www.example.org", "MX"); n != 1 || m != 1 {
			t.Errorf("the upstream was asked %d and %d times", n, m)
		}
	})
	t.Run("large ones", func(t *testing.T) {
		if a := dig(t, h, "big.example.org", "TXT"); len(a.answer) != 1 || !strings.Contains(a.raw, "retrying in TCP") {
			t.Errorf("by UDP first:\n%s", a.raw)
		}
		if a := dig(t, h, "big.example.org", "TXT", "+tcp"); len(a.answer) != 1 {
			t.Errorf("by TCP:\n%s", a.raw)
		}
	})
	t.Run("by domain", func(t *testing.T) {
		one(t, "192.0.2.10", "host.corp.example")
		one(t, "192.0.2.11", "sub.host.corp.example")
		if a := dig(t, h, "corp.example", "SOA"); a.status != "NXDOMAIN" && a.status != "NOERROR" {
			t.Errorf("the domain itself:\n%s", a.raw)
		}
		if n := wide.count("host.corp.example", "A") + wide.count("corp.example", "SOA"); n != 0 {
			t.Errorf("the general upstream was asked for a domain with its own: %d", n)
		}
		one(t, "192.0.2.1", "alias.example.org")
		if n := corp.count("alias.example.org", "A"); n != 0 {
			t.Error("a domain's upstream was asked for another name")
		}
	})
	t.Run("what stays here", func(t *testing.T) {
		for _, args := range [][]string{
			{"nobody.lab"}, {"lab", "MX"}, {"home.arpa", "TXT"}, {"x.home.arpa"}, {"plain"}, {"plain", "AAAA"}, {"-x", "10.0.0.9"}, {"gateway", "AAAA"},
		} {
			a := dig(t, h, args...)
			if len(a.answer) != 0 || a.status != "NXDOMAIN" && a.status != "NOERROR" {
				t.Errorf("%s:\n%s", args, a.raw)
			}
		}
		wide.mu.Lock()
		defer wide.mu.Unlock()
		for asked := range wide.asked {
			if !strings.Contains(asked, ".example. ") && !strings.Contains(asked, ".example.org. ") && !strings.Contains(asked, "weft-loop.test. ") {
				t.Errorf("the upstream was asked for %s", asked)
			}
		}
	})
	t.Run("live", func(t *testing.T) {
		s.apply(forwarding("\"127.0.0.1:5302\"", "  forward_plain: true\n"))
		one(t, "192.0.2.10", "host.corp.example")
		if a := dig(t, h, "www.example.org"); a.status != "NXDOMAIN" {
			t.Errorf("the answer of an upstream that is no more:\n%s", a.raw)
		}
		s.apply(forwarding("\"127.0.0.1:5301\"", "  forward_plain: true\n"))
		one(t, "192.0.2.98", "plain")
		one(t, "192.0.2.99", "host.corp.example")
		s.apply(forwarding("none", ""))
		if a := dig(t, h, "host.corp.example"); len(a.answer) != 0 {
			t.Errorf("forwarded without an upstream:\n%s", a.raw)
		}
	})
}

// An upstream in another network, by ordinary sockets of the host; and one that
// does not answer, or fails, gives way to the next.
func TestDNSUpstreamFails(t *testing.T) {
	t.Parallel() // it waits more than it works
	s := layServed(t, 1500, "raw")
	away := porttest.NewNS(t, "away")
	porttest.Veth(t, s.host, "up0", away, "eth0")
	s.host.Addr(t, "up0", "198.51.100.1/24")
	away.Addr(t, "eth0", "198.51.100.2/24")
	first := startUpstream(t, away, "198.51.100.2:53", "www.example.org. 300 A 192.0.2.1", "two.example.org. 300 A 192.0.2.1", "four.example.org. 300 A 192.0.2.1")
	second := startUpstream(t, s.host, "127.0.0.1:5302", "two.example.org. 300 A 192.0.2.2", "three.example.org. 300 A 192.0.2.2")
	s.write(s.yaml(forwarding("[198.51.100.2, \"127.0.0.1:5302\"]", "")))
	s.start()
	h := s.hosts[0]
	is := func(name, want string) {
		t.Helper()
		if a := dig(t, h, name); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+want) {
			t.Errorf("%s is not %s:\n%s", name, want, a.raw)
		}
	}
	is("www.example.org", "192.0.2.1")
	if n := second.count("www.example.org", "A"); n != 0 {
		t.Error("the second upstream was asked beside the first")
	}
	first.set(true, false)
	is("two.example.org", "192.0.2.2")
	first.set(false, true)
	is("three.example.org", "192.0.2.2")
	is("db.lab", "10.0.0.60")
	second.set(false, true)
	start := time.Now()
	a := dig(t, h, "never.example.org")
	if took := time.Since(start); a.status != "SERVFAIL" || took > 15*time.Second {
		t.Errorf("after %v:\n%s", took, a.raw)
	}
	is("www.example.org", "192.0.2.1") // from the cache
	first.set(false, false)
	eventually(t, "the first upstream is asked again", func() bool {
		return len(dig(t, h, "four.example.org").answer) == 1
	})
	if a := dig(t, h, "never.example.org"); a.status != "NXDOMAIN" {
		t.Errorf("a failure was kept:\n%s", a.raw)
	}
	// With the way to it gone, as with the server.
	s.host.Down(t, "up0")
	if a := dig(t, h, "five.example.org"); a.status != "SERVFAIL" {
		t.Errorf("without a way:\n%s", a.raw)
	}
	is("db.lab", "10.0.0.60")
}

// The host's own resolvers are asked, and followed when they change. weft has a
// resolv.conf of its own here.
func TestDNSFollowsTheHost(t *testing.T) {
	s := layServed(t, 1500, "raw")
	startUpstream(t, s.host, "127.0.0.1:53", "www.example.org. 300 A 192.0.2.1")
	startUpstream(t, s.host, "127.0.0.2:53", "www.example.org. 300 A 192.0.2.2")
	file := s.file("resolv.conf")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("# none\nsearch example.org\nnameserver 127.0.0.1\n")
	s.write(s.yaml(forwarding("host", "")))
	s.Process = s.host.Start(t, "unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file,
		s.bin, "run", "-c", s.config, "--socket", s.socket)
	s.WaitOutput(t, "weft: ready\n", 60*time.Second)
	follows := func(want string) {
		t.Helper()
		eventually(t, "the answer is "+want, func() bool {
			a := dig(t, s.hosts[0], "www.example.org")
			return a.status+strings.Join(a.answer, "") == want
		})
	}
	follows("NOERRORwww.example.org. IN A 192.0.2.1")
	write("nameserver 127.0.0.2\noptions edns0\n")
	follows("NOERRORwww.example.org. IN A 192.0.2.2")
	write("nameserver 127.0.0.3\nnameserver 127.0.0.1\n") // the first has no server
	follows("NOERRORwww.example.org. IN A 192.0.2.1")
	write("")
	eventually(t, "nobody is asked", func() bool { return len(dig(t, s.hosts[0], "www.example.org").answer) == 0 })
	write("nameserver 127.0.0.2\n")
	follows("NOERRORwww.example.org. IN A 192.0.2.2")
}

// An upstream that asks the gateway in its turn is found out, told of, and left
// aside.
func TestDNSLoop(t *testing.T) {
	s := layServed(t, 1500, "raw")
	good := startUpstream(t, s.host, "127.0.0.1:5301", "www.example.org. 300 A 192.0.2.1")
	guest := hostDnsmasq(t, s.hosts[0], "--listen-address="+address(1), "--server="+gatewayAddress, "--cache-size=0")
	s.write(s.yaml(forwarding("["+address(1)+", \"127.0.0.1:5301\"]", "host_port: weft0\n")))
	s.start()
	state := func(addr string) string {
		for _, u := range s.network().DNS.Upstreams {
			if strings.HasPrefix(u.Address, addr) {
				return u.State
			}
		}
		return "not there"
	}
	eventually(t, "the loop is found", func() bool { return state(address(1)) == "loop" })
	if got := state("127.0.0.1"); got != "ok" {
		t.Errorf("the other upstream is %s", got)
	}
	if out := s.Output(); !strings.Contains(out, address(1)) || strings.Count(out, "loop") > 3 {
		t.Errorf("the log:\n%s", out)
	}
	before := strings.Count(guest.Output(), "query[")
	if a := dig(t, s.hosts[0], "www.example.org"); len(a.answer) != 1 {
		t.Errorf("beside the loop:\n%s", a.raw)
	}
	if good.count("www.example.org", "A") != 1 || strings.Count(guest.Output(), "query[") != before {
		t.Errorf("the looping upstream is still asked:\n%s", guest.Output())
	}
	// Alone, it is as if there was none.
	s.apply(forwarding(address(1), "host_port: weft0\n"))
	eventually(t, "the loop is found again", func() bool { return state(address(1)) == "loop" })
	before = strings.Count(guest.Output(), "query[")
	start := time.Now()
	if a := dig(t, s.hosts[0], "www.example.org"); a.status != "SERVFAIL" && a.status != "REFUSED" || time.Since(start) > 15*time.Second {
		t.Errorf("after %v:\n%s", time.Since(start), a.raw)
	}
	if n := strings.Count(guest.Output(), "query[") - before; n > 1 {
		t.Errorf("a query went round %d times", n)
	}
}
