package dhcp

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// TestProbeAnswers: who answers for all addresses keeps a few from the others.
func TestProbeAnswers(t *testing.T) {
	for _, tt := range []struct {
		name string
		mac  func(i int) frame.MAC
		want int
	}{
		{"one MAC address", func(int) frame.MAC { return newGuest(999).mac }, maxAnswered},
		{"one port", func(i int) frame.MAC { return newGuest(1000 + i).mac }, 25},
	} {
		l := newLab(t, func(c *Config) { c.Probe, c.Ranges = true, []Range{ipRange("192.168.7.100", "192.168.7.199")} })
		n := 0
		l.arp = func(a netip.Addr) { n++; l.server.Heard(a, tt.mac(n), "liar") }
		for i := range 60 {
			l.server.Receive([]Request{newGuest(i).request(discover)})
			for range maxTries {
				l.pass(probeTime)
			}
			if out := l.hear(); len(out) == 1 {
				l.must(l.say(newGuest(i), request, requested(out[0].yours()), serverID(lan(1))), ack)
			}
		}
		st := l.server.Stats()
		if st.Leases[Declined] != tt.want || st.Leases[Active] < 50 {
			t.Errorf("%s: %d in quarantine, want %d; %d leases", tt.name, st.Leases[Declined], tt.want, st.Leases[Active])
		}
		if n := strings.Count(l.logged.String(), "answers for too many"); n < 1 || n > 3 {
			t.Errorf("%s: told %d times in two minutes", tt.name, n)
		}
		// An honest answer counts beside the others.
		l.arp = func(a netip.Addr) {
			port := "honest"
			if tt.want == maxAnswered {
				port = "liar" // behind it too
			}
			l.server.Heard(a, newGuest(5000).mac, port)
			l.server.Heard(a, tt.mac(2000), "liar")
		}
		l.server.Receive([]Request{newGuest(200).request(discover)})
		l.pass(probeTime)
		if n := l.server.Stats().Leases[Declined]; n != tt.want+1 {
			t.Errorf("%s: an honest answer was hidden: %d", tt.name, n)
		}
		l.arp = nil
		// What was set aside in their name ends with the quarantine.
		l.pass(quarantineTime + time.Minute)
		if len(l.server.engine.setAside) != 0 {
			t.Errorf("%s: %v", tt.name, l.server.engine.setAside)
		}
		l.check()
	}
}

// TestBroadcastLimits: what one port makes the server send to all is bounded, and
// does not touch other ports nor what is sent to one.
func TestBroadcastLimits(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Lease = Infinite })
	burst := func(port string, n int, r Request) (sent int) {
		r.Port = port
		l.sent = nil
		for range n {
			l.server.Receive([]Request{r})
		}
		return len(l.sent)
	}
	unknown := newGuest(1).request(request, ciaddr(lan(12)))
	if n := burst("a", 300, unknown); n != nakBurst {
		t.Errorf("%d NAKs", n)
	}
	l.wantCount("request", outcomeLimited, 300-nakBurst)
	if n := burst("b", 50, unknown); n != 50 {
		t.Errorf("%d NAKs for another port", n)
	}
	l.pass(time.Second)
	if n := burst("a", 300, unknown); n != 50 {
		t.Errorf("%d NAKs in the next second", n)
	}
	if n := burst("a", 300, newGuest(1).request(request, ciaddr(lan(12)), giaddr(lan(99)))); n != 300 {
		t.Errorf("%d NAKs by a relay", n)
	}
	g := newGuest(2)
	if n := burst("a", 3*groupBurst, g.request(discover, broadcastBit)); n != groupBurst {
		t.Errorf("%d OFFERs to all", n)
	}
	commits := l.store.commits
	if n := burst("a", 10, g.request(discover, broadcastBit, opt(optRapidCommit))); n != 0 || l.store.commits != commits {
		t.Errorf("%d ACKs to all, %d commits", n, l.store.commits-commits)
	}
	if n := burst("a", 3*groupBurst, g.request(discover)); n != 3*groupBurst {
		t.Errorf("%d OFFERs to one", n)
	}
	for i := range 2 * manyBuckets {
		l.mono += time.Second
		burst(fmt.Sprint(i), 1, unknown)
	}
	if n := len(l.server.engine.sent); n > manyBuckets {
		t.Errorf("%d ports are remembered", n)
	}
	l.check()
}

// TestLogOfLeases is what a journal says of the life of a lease.
func TestLogOfLeases(t *testing.T) {
	l := newLab(t, withHosts(Host{MAC: newGuest(9).mac, Name: "web"}, Host{MAC: newGuest(4).mac, Address: lan(15)}))
	g := newGuest(1, optString(optHostname, "vm"))
	a := l.lease(g, requested(lan(15)))
	if l.renew(g, a) != ack {
		t.Fatal("not renewed")
	}
	l.wantLog(fmt.Sprintf(`level=INFO msg="dhcp: lease is given" network=lan address=%s mac=%s name=vm lease=1h0m0s port=vm`, a, g.mac), 1)
	l.wantLog("renewed", 0)
	l.say(g, release, ciaddr(a))
	l.wantLog(fmt.Sprintf(`"dhcp: lease is released" network=lan address=%s mac=%s name=vm port=vm`, a, g.mac), 1)
	l.renew(newGuest(3), lan(16))
	l.wantLog(`"dhcp: client is refused: the lease is not known" network=lan address=192.168.7.16`, 1)
	b := l.lease(newGuest(5), optString(optHostname, "web"))
	l.wantLog(`"dhcp: the client does not get its name: it is reserved" network=lan name=web`, 1)
	l.renew(newGuest(5), b, optString(optHostname, "web"))
	l.wantLog("does not get its name", 1)
	l.lease(newGuest(6), optString(optHostname, "bad name"))
	l.wantLog(`"dhcp: the client does not get its name: it is no host name" network=lan name="bad name"`, 1)
	l.pass(time.Hour)
	l.wantLog("dhcp: lease is over", 2)
	// A lease that is not stored is not told of.
	l.store.fail = errDisk
	before := strings.Count(l.logged.String(), "lease is given")
	l.say(newGuest(7), discover, opt(optRapidCommit))
	l.wantLog("lease is given", before)
}

// TestReservedAddressHeld: the log says why a client gets another address.
func TestReservedAddressHeld(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1))
	l.reconfigure(withHosts(Host{MAC: newGuest(2).mac, Address: a}))
	b := l.lease(newGuest(2))
	l.wantLog(fmt.Sprintf(`level=WARN msg="dhcp: the client does not get its reserved address: it is not free" network=lan reserved=%s mac=%s address=%s holder=%s`, a, newGuest(2).mac, b, newGuest(1).mac), 1)
	l.renew(newGuest(2), b)
	l.wantLog("reserved address", 1)
}

// TestLogIsBounded: what clients do fills no disk, and costs nothing where nobody
// reads it.
func TestLogIsBounded(t *testing.T) {
	l := newLab(t)
	for i := range 3 * lease.MaxTold {
		l.server.Receive([]Request{{Port: fmt.Sprint(i), MAC: newGuest(i).mac, Src: lan(12), Payload: newGuest(i).payload(request, ciaddr(lan(12)))}})
	}
	l.wantLog("client is refused", lease.MaxTold)
	l.pass(time.Second)
	l.wantLog(`"dhcp: lines about clients were left out" network=lan lines=200`, 1)
	l.renew(newGuest(1), lan(12))
	l.wantLog("client is refused", lease.MaxTold+1)
	var quiet bytes.Buffer
	l.server.log = slog.New(slog.NewTextHandler(&quiet, &slog.HandlerOptions{Level: slog.LevelError}))
	l.renew(newGuest(1), lan(12))
	if e := l.server.engine; quiet.Len() != 0 || e.telling.Lines() != 1 {
		t.Errorf("%d lines, %q", e.telling.Lines(), quiet.String())
	}
}
