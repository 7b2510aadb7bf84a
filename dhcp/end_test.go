package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestRelease(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	for _, tt := range []struct {
		name string
		g    *guest
		edit []func(*dhcpv4.DHCPv4)
	}{
		{"of another client", newGuest(2), []func(*dhcpv4.DHCPv4){ciaddr(a), serverID(lan(1))}},
		{"to another server", g, []func(*dhcpv4.DHCPv4){ciaddr(a), serverID(lan(9))}},
		{"of another address", g, []func(*dhcpv4.DHCPv4){ciaddr(lan(15)), serverID(lan(1))}},
	} {
		if h := l.say(tt.g, release, tt.edit...); h != nil {
			t.Errorf("%s: an answer", tt.name)
		}
		l.wantState(a, Active)
	}
	if h := l.say(g, release, ciaddr(a), serverID(lan(1))); h != nil {
		t.Error("a RELEASE was answered")
	}
	l.wantState(a, Expired)
	l.wantCount("release", "released", 1)
	l.restart()
	l.wantState(a, Expired)
	l.check()
}

func TestDecline(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	l.say(newGuest(2), decline, requested(a), serverID(lan(1)))
	l.wantState(a, Active)
	if h := l.say(g, decline, requested(a), serverID(lan(1))); h != nil {
		t.Error("a DECLINE was answered")
	}
	l.wantState(a, Declined)
	l.wantLog("found its address in use", 1)
	b := l.lease(g)
	if b == a {
		t.Fatal("the declined address again")
	}
	if l.renew(g, a) == ack {
		t.Error("the declined address was renewed")
	}
	l.restart()
	l.wantState(a, Declined)
	l.pass(9*time.Minute + 59*time.Second)
	l.wantState(a, Declined)
	l.pass(time.Second)
	if _, ok := l.at(a); ok {
		t.Error("the quarantine does not end")
	}
	if _, ok := l.store.networks["lan"][a]; ok {
		t.Error("the quarantine is still stored")
	}
	l.check()
}

// TestDeclineFlood: who declines all that it gets takes its share and no more.
func TestDeclineFlood(t *testing.T) {
	l := newLab(t)
	for i := range 100 {
		g := newGuest(i)
		h := l.say(g, discover)
		if h == nil {
			t.Fatalf("client %d gets nothing", i)
		}
		a := h.yours()
		l.say(g, request, requested(a), serverID(lan(1)))
		l.say(g, decline, requested(a), serverID(lan(1)))
	}
	if n := l.server.Stats().Leases[Declined]; n != 5 {
		t.Errorf("%d of 10 addresses are in quarantine", n)
	}
	l.check()
}

func TestInform(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	h := l.say(g, inform, ciaddr(lan(50)))
	l.must(h, ack)
	if h.YourIPAddr.String() != "0.0.0.0" || h.IPAddressLeaseTime(0) != 0 || h.IPAddressRenewalTime(0) != 0 || h.DomainName() != "lab" || h.ClientIPAddr.String() != "192.168.7.50" {
		t.Errorf("%s", h.Summary())
	}
	if _, ok := l.at(lan(50)); ok || l.store.commits != 0 {
		t.Error("an INFORM made a lease")
	}
	if h := l.say(g, inform, ciaddr(ip("10.0.0.1"))); h != nil {
		t.Error("answered to an address of another network")
	}
}

func TestRapidCommit(t *testing.T) {
	l := newLab(t)
	h := l.say(newGuest(1), discover, opt(optRapidCommit))
	a := l.must(h, ack)
	if _, ok := h.Options[optRapidCommit]; !ok || l.store.commits != 1 {
		t.Errorf("%s", h.Summary())
	}
	l.wantState(a, Active)
}

func TestAdministratorReleases(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1))
	if err := l.server.Release(lan(19)); err != ErrNoLease {
		t.Errorf("no lease: %v", err)
	}
	if err := l.server.Release(netip.Addr{}); err != ErrNoLease {
		t.Errorf("no address: %v", err)
	}
	if err := l.server.Release(a); err != nil {
		t.Fatal(err)
	}
	l.wantState(a, Expired)
	if err := l.server.Release(a); err != ErrNoLease {
		t.Errorf("again: %v", err)
	}
	b := l.lease(newGuest(2))
	l.say(newGuest(2), decline, requested(b), serverID(lan(1)))
	if err := l.server.Release(b); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.at(b); ok {
		t.Error("the quarantine goes on")
	}
	l.check()
}
