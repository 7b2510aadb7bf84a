package dhcp

import (
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dhcp/lease"
)

// from is a message of one client in the frames and by the port of another.
func (l *lab) from(thief *guest, g *guest, kind dhcpv4.MessageType, edit ...func(*dhcpv4.DHCPv4)) []heard {
	l.t.Helper()
	l.sent = nil
	r := g.request(kind, edit...)
	r.MAC, r.Port = thief.mac, thief.port
	l.server.Receive([]Request{r})
	return l.hear()
}

// TestForgedEnd: nobody ends the lease of another.
func TestForgedEnd(t *testing.T) {
	l := newLab(t)
	g, thief := newGuest(1, optString(optHostname, "payroll")), newGuest(2)
	thief.port = "other"
	a := l.lease(g)
	forged := &guest{mac: g.mac, port: "other"}  // the frame's sender too
	beside := &guest{mac: thief.mac, port: "vm"} // another one behind the port
	for _, who := range []*guest{thief, forged, beside} {
		for _, relay := range []bool{false, true} {
			with := []func(*dhcpv4.DHCPv4){serverID(lan(1))}
			if relay {
				if who == beside {
					continue // as a relay there, it is trusted
				}
				with = append(with, giaddr(lan(99)))
			}
			l.from(who, g, release, append(with, ciaddr(a))...)
			l.from(who, g, decline, append(with, requested(a))...)
		}
	}
	l.wantState(a, Active)
	l.wantName("payroll", g)
	l.wantCount("release", "unknown", 5)
	l.wantCount("decline", "unknown", 5)
	// The source address counts too.
	r := g.request(release, ciaddr(a))
	r.Src = lan(77)
	l.server.Receive([]Request{r})
	l.wantState(a, Active)
	// Where the client was is not known after a restart; its frames are.
	l.restart()
	l.from(thief, g, release, ciaddr(a))
	l.wantState(a, Active)
	g.port = "elsewhere"
	l.say(g, release, ciaddr(a))
	l.wantState(a, Expired)
	l.check()
}

// TestForgedRenewal: a REQUEST in the frames of another moves nothing.
func TestForgedRenewal(t *testing.T) {
	l := newLab(t)
	g, thief := newGuest(1, optString(optHostname, "payroll")), newGuest(2)
	thief.port = "other"
	a := l.lease(g)
	before, _ := l.at(a)
	short := opt(optLease, 0, 0, 0, 120)
	for _, edit := range [][]func(*dhcpv4.DHCPv4){
		{ciaddr(a)}, {requested(a)}, {requested(a), serverID(lan(1))}, {ciaddr(a), giaddr(lan(99))},
	} {
		l.from(thief, g, request, append(edit, short, optString(optHostname, "mine"))...)
		if x, _ := l.at(a); x.Port != "vm" || x.Hostname != "payroll" || x.Expires.Before(before.Expires) {
			t.Errorf("%+v", x)
		}
	}
	l.wantName("payroll", g)
	// Nor does it take the name to another address, as another identity of the MAC.
	l.from(thief, g, discover, opt(optClientID, 6, 6, 6), opt(optRapidCommit))
	l.wantName("payroll", g)
	if x, _ := l.at(a); x.State != Active {
		t.Errorf("%+v", x)
	}
	// The client itself may move.
	g.port = "new"
	if l.renew(g, a, short) != ack {
		t.Error("not renewed")
	}
	if x, _ := l.at(a); x.Port != "new" || !x.Expires.Equal(l.wall.Add(2*time.Minute)) {
		t.Errorf("%+v", x)
	}
	l.check()
}

// TestForgedDeclineOfAnOffer: what is offered to one is not set aside by another.
func TestForgedDeclineOfAnOffer(t *testing.T) {
	l := newLab(t)
	a := l.must(l.say(newGuest(1), discover), offered)
	l.from(&guest{mac: newGuest(1).mac, port: "other"}, newGuest(1), decline, requested(a), serverID(lan(1)))
	l.wantState(a, Offered)
	l.say(newGuest(1), decline, requested(a), serverID(lan(1)))
	l.wantState(a, Declined)
}

// TestForgedIdentity: who makes up one more identifier for the MAC address of
// another gets an address by it, and not the name: neither one that the client
// asked for, nor the one that is reserved for it.
func TestForgedIdentity(t *testing.T) {
	name := optString(optHostname, "payroll")
	for _, reserved := range []bool{false, true} {
		l := newLab(t)
		if reserved {
			l.reconfigure(withHosts(Host{MAC: newGuest(1).mac, Name: "payroll"}))
		}
		a := l.lease(newGuest(1, name, opt(optClientID, 255, 1)))
		thief := newGuest(1, name, opt(optClientID, 255, 2))
		out := l.from(&guest{mac: newGuest(2).mac, port: "other"}, thief, discover, opt(optRapidCommit))
		if len(out) != 1 || out[0].yours() == a {
			t.Fatalf("%d replies", len(out))
		}
		if got, _ := l.server.Lookup("payroll"); got != a {
			t.Errorf("reserved %v: payroll is %s, want %s", reserved, got, a)
		}
		l.check()
	}
}

// TestNameIsKept: the name of a lease that is over is its client's for a while,
// also over a restart, and nobody's at once where the administrator ends it.
func TestNameIsKept(t *testing.T) {
	name := optString(optHostname, "payroll")
	for _, restart := range []bool{false, true} {
		l := newLab(t)
		g, thief := newGuest(1, name), newGuest(2, name)
		a := l.lease(g)
		l.say(g, release, ciaddr(a))
		l.pass(lease.NameTime - time.Minute)
		if restart {
			l.restart()
		}
		l.lease(thief)
		l.wantName("payroll", nil)
		l.wantLog("another client had it a moment ago", 1)
		l.lease(g)
		l.wantName("payroll", g)
		if err := l.server.Release(a); err != nil {
			t.Fatal(err)
		}
		l.lease(thief)
		l.wantName("payroll", thief)
		l.check()
	}
}
