package dhcp6

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dhcp"
)

// TestLife: a client's address and prefix from the first message to the last.
func TestLife(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	h := l.say(g, solicit, na(1), pd(2))
	if h == nil || h.MessageType != advertise || len(h.leases()) != 2 {
		t.Fatalf("%+v", h)
	}
	if len(l.server.Leases()) != 0 || l.store.commits != 0 || l.server.engine.count != [5]int{} {
		t.Errorf("an Advertise keeps %v", l.server.Leases())
	}
	want := h.leases()
	h = l.say(g, request, na(1), pd(2))
	if got := h.leases(); h.MessageType != reply || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Fatalf("advertised %v, got %v", want, got)
	}
	a, p := want[0], want[1]
	for _, x := range want {
		y, ok := l.at(x)
		if !ok || y.State != dhcp.Active || y.MAC != g.mac || y.Kind != dhcp.Dynamic || y.Port != "vm" || !y.Granted.Equal(l.wall) ||
			!y.Expires.Equal(l.wall.Add(time.Hour)) || string(y.DUID) != string(g.duid) || y.IAID == 0 {
			t.Errorf("%s: %+v", x, y)
		}
	}
	if len(l.routes) != 1 || l.routes[0] != (Delegation{Prefix: p, Via: g.linkLocal()}) {
		t.Errorf("routes %v", l.routes)
	}
	if l.store.commits != 1 || len(l.store.networks["lan"]) != 2 {
		t.Errorf("%d commits, %d records", l.store.commits, len(l.store.networks["lan"]))
	}
	l.pass(30 * time.Minute)
	h = l.say(g, renew, na(1, a.Addr()), pd(2, p))
	if got := h.leases(); len(got) != 2 || got[0] != a || got[1] != p {
		t.Errorf("renewed %v", got)
	}
	l.pass(59 * time.Minute)
	l.wantState(a, dhcp.Active)
	l.restart()
	l.wantState(p, dhcp.Active)
	l.server.Tick()
	if len(l.routes) != 1 || l.routes[0].Via != g.linkLocal() {
		t.Errorf("routes after a restart: %v", l.routes)
	}
	l.pass(time.Minute)
	l.wantState(a, dhcp.Expired)
	l.wantState(p, dhcp.Expired)
	if len(l.routes) != 0 {
		t.Errorf("routes in the end: %v", l.routes)
	}
	if again := l.lease(g); again != a {
		t.Errorf("it was %s, now %s", a, again)
	}
}

func TestRapidCommit(t *testing.T) {
	l := newLab(t)
	h := l.say(newGuest(1), solicit, na(1), rapidly)
	a := l.must(h, reply)
	if h.GetOneOption(optRapid) == nil || l.store.commits != 1 {
		t.Errorf("%s", h.Message.Summary())
	}
	l.wantState(a, dhcp.Active)
	l.reconfigure(func(c *Config) { c.Rapid = false })
	l.must(l.say(newGuest(2), solicit, na(1), rapidly), advertise)
}

// TestSameAddressAgain: by the DUID and the IAID, also where the store was lost; and
// they are different for different ones.
func TestSameAddressAgain(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::", "2001:db8:1::ffff:ffff:ffff:ffff"))
	seen := map[string]bool{}
	for i := range 50 {
		g := newGuest(i)
		for iaid := range byte(3) {
			a := l.lease(g, na(iaid))
			if seen[a.String()] {
				t.Errorf("%s twice", a)
			}
			seen[a.String()] = true
			fresh := newLab(t, withRange("2001:db8:1::", "2001:db8:1::ffff:ffff:ffff:ffff"))
			if again := fresh.lease(g, na(iaid)); again != a {
				t.Errorf("%s, and %s without the store", a, again)
			}
		}
	}
	if st := l.server.Stats(); st.Size != 1<<63-1 || st.Leases[dhcp.Active] != 150 {
		t.Errorf("%+v", st)
	}
}

// TestBlockedAddresses: what is no client's it does not get by asking for it.
func TestBlockedAddresses(t *testing.T) {
	for _, last := range []string{"2001:db8:1::ff", "2001:db8:1::ffff:ffff:ffff:ffff"} {
		l := newLab(t, withRange("2001:db8:1::", last))
		for _, a := range []netip.Addr{lan(0), lan(1), ip("2001:db8:1:0:fdff:ffff:ffff:ffff"), ip("2001:db8:2::5"), ip("ff02::1")} {
			if got := l.must(l.say(newGuest(1), solicit, na(1, a)), advertise); got == one(a) {
				t.Errorf("%s is given away", a)
			}
		}
		if got := l.must(l.say(newGuest(1), solicit, na(1, lan(0x42))), advertise); got != one(lan(0x42)) {
			t.Errorf("wished for another one, got %s", got)
		}
	}
}

func TestReleaseAndDecline(t *testing.T) {
	l := newLab(t)
	g, thief := newGuest(1), newGuest(2)
	a := l.lease(g)
	thief.duid = g.duid
	thief.port = "other"
	for _, kind := range []dhcpv6.MessageType{release, decline} {
		if h := l.say(thief, kind, na(1, a.Addr())); h == nil || h.status(optIANA, 1) != dhcpStatusNoBinding {
			t.Errorf("a thief's %s: %+v", kind, h)
		}
		if h := l.say(g, kind, na(1, lan(0x99))); h.status(optIANA, 1) != dhcpStatusNoBinding {
			t.Errorf("%s of another address", kind)
		}
		if h := l.say(g, kind, na(9, a.Addr())); h.status(optIANA, 9) != dhcpStatusNoBinding {
			t.Errorf("%s of another IA", kind)
		}
		l.wantState(a, dhcp.Active)
	}
	if h := l.say(g, release, na(1, a.Addr())); h.top() != dhcpStatusSuccess || h.status(optIANA, 1) != -1 {
		t.Errorf("release: %s", h.Message.Summary())
	}
	l.wantState(a, dhcp.Expired)
	l.wantCount("release", "released", 1)
	l.restart()
	l.wantState(a, dhcp.Expired)
	a = l.lease(g)
	if h := l.say(g, decline, na(1, a.Addr())); h.top() != dhcpStatusSuccess {
		t.Errorf("decline: %s", h.Message.Summary())
	}
	l.wantState(a, dhcp.Declined)
	l.wantLog("found its address in use", 1)
	if b := l.lease(g); b == a {
		t.Error("the declined address again")
	}
	l.restart()
	l.wantState(a, dhcp.Declined)
	l.pass(quarantineTime)
	l.wantGone(a)
	// A prefix is in use by nobody.
	p := l.lease(g, pd(7))
	l.say(g, decline, pd(7, p))
	l.wantState(p, dhcp.Active)
}

// TestForgedRenewal: who only knows a DUID makes a lease longer and changes nothing
// else of it, above all not where its prefix leads.
func TestForgedRenewal(t *testing.T) {
	l := newLab(t)
	g, thief := newGuest(1, fqdn(1, "payroll")), newGuest(2, fqdn(1, "evil"))
	p := l.lease(g, pd(1))
	a := l.lease(g, na(1))
	thief.duid, thief.port = g.duid, "other"
	for _, kind := range []dhcpv6.MessageType{renew, rebind, request} {
		l.say(thief, kind, pd(1, p), na(1, a.Addr()))
		if len(l.routes) != 1 || l.routes[0].Via != g.linkLocal() {
			t.Errorf("%s: routes %v", kind, l.routes)
		}
		if x, _ := l.at(a); x.MAC != g.mac || x.Port != "vm" || x.Hostname != "payroll" {
			t.Errorf("%s: %+v", kind, x)
		}
	}
	// The machine itself may move.
	g.port = "vm7"
	l.say(g, renew, pd(1, p), na(1, a.Addr()))
	if x, _ := l.at(a); x.Port != "vm7" {
		t.Errorf("%+v", x)
	}
}

func TestReservations(t *testing.T) {
	g := newGuest(1)
	llt := newGuest(2)
	llt.duid = append([]byte{0, 1, 0, 1, 9, 9, 9, 9}, llt.mac[:]...)
	other := newGuest(3)
	other.duid = append([]byte{0, 3, 0, 1}, 2, 9, 9, 9, 9, 9)
	l := newLab(t, withHosts(
		Host{DUID: g.duid, Address: lan(0x12), Name: "web"},
		Host{MAC: llt.mac, Address: lan(0x80), Lease: 10 * time.Minute},
		Host{MAC: [6]byte{2, 9, 9, 9, 9, 9}, Address: lan(0x81)},
		Host{MAC: newGuest(9).mac, Ignore: true},
	))
	for _, tt := range []struct {
		g    *guest
		want byte
	}{{g, 0x12}, {llt, 0x80}, {other, 0x81}} {
		if a := l.lease(tt.g); a != one(lan(tt.want)) {
			t.Errorf("%s got %s", tt.g.mac, a)
		}
	}
	if x, _ := l.at(one(lan(0x80))); x.Kind != dhcp.Static || x.Source != dhcp.SourceConfig || !x.Expires.Equal(l.wall.Add(10*time.Minute)) {
		t.Errorf("%+v", x)
	}
	if h := l.say(newGuest(9), solicit, na(1)); h != nil {
		t.Error("who is ignored is answered")
	}
	// Nobody else gets it, and its client one of the others for a second IA.
	for i := range 7 {
		g := newGuest(20 + i)
		g.port = g.mac.String()
		if a := l.lease(g, na(1, lan(0x12))); a == one(lan(0x12)) {
			t.Error("a reserved address is given away")
		}
	}
	h := l.say(g, request, na(1), na(2))
	if got := h.leases(); len(got) != 2 || got[0] == got[1] {
		t.Errorf("two IAs: %v", got)
	}
	// What is configured now draws its client there at its next renewal, and the old
	// address stays nobody else's.
	m := newGuest(50)
	l = newLab(t)
	old := l.lease(m)
	l.reconfigure(withHosts(Host{DUID: m.duid, Address: lan(0x80)}))
	h = l.say(m, renew, na(1, old.Addr()))
	if a := l.must(h, reply); a != one(lan(0x80)) || len(h.lifetimes()) != 2 {
		t.Errorf("%v", h.lifetimes())
	}
	l.wantState(old, dhcp.Active)
	l.pass(time.Hour)
	l.wantState(old, dhcp.Expired)
}

// TestSystemsOfOneMachine: what is reserved for a MAC address is for whatever boots
// behind it.
func TestSystemsOfOneMachine(t *testing.T) {
	firmware, system := newGuest(1), newGuest(1)
	firmware.duid = []byte{0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	l := newLab(t, withHosts(Host{MAC: system.mac, Address: lan(0x80), Name: "web"}))
	for range 3 {
		for _, g := range []*guest{firmware, system} {
			if a := l.lease(g); a != one(lan(0x80)) {
				t.Errorf("got %s", a)
			}
			if a := l.lease(g, na(7)); a != one(lan(0x80)) {
				t.Errorf("got %s by another IAID", a)
			}
		}
	}
	// Another machine that says it is this one does not.
	thief := newGuest(1)
	thief.mac = newGuest(2).mac
	if a := l.lease(thief, na(8)); a == one(lan(0x80)) {
		t.Error("a thief has it")
	}
}

func TestAdministratorReleases(t *testing.T) {
	l := newLab(t)
	g := newGuest(1, fqdn(1, "web"))
	a, p := l.lease(g), l.lease(g, pd(1))
	for _, x := range []string{"2001:db8:1::99/128", "2001:db8::/32"} {
		if err := l.server.Release(px(x)); err != dhcp.ErrNoLease {
			t.Errorf("%s: %v", x, err)
		}
	}
	for range 1 {
		if err := l.server.Release(a); err != nil {
			t.Error(err)
		}
		if err := l.server.Release(p); err != nil {
			t.Error(err)
		}
	}
	l.wantState(a, dhcp.Expired)
	if err := l.server.Release(a); err != dhcp.ErrNoLease {
		t.Errorf("again: %v", err)
	}
	if len(l.routes) != 0 {
		t.Errorf("routes %v", l.routes)
	}
	if b := l.lease(newGuest(2, fqdn(1, "web"))); l.server.Lookup("web")[0] != b.Addr() {
		t.Error("the name is not free")
	}
}

// TestIdleAddressIsReused: the one whose lease is over for the longest time.
func TestIdleAddressIsReused(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::10", "2001:db8:1::11"))
	a := l.lease(newGuest(1))
	l.pass(time.Minute)
	g2 := newGuest(2)
	g2.port = "b"
	b := l.lease(g2)
	l.pass(59 * time.Minute)
	l.wantState(a, dhcp.Expired)
	if h := l.say(newGuest(3), solicit, na(1)); h.status(optIANA, 1) != dhcpStatusNoAddrs {
		t.Error("given away before its client is sure to know")
	}
	l.wantLog("a client gets no lease", 1)
	l.pass(graceTime)
	if got := l.lease(newGuest(3)); got != a {
		t.Errorf("got %s, want %s", got, a)
	}
	l.wantState(b, dhcp.Active)
}

// TestSubnetThatGoes: leases of a subnet that there is no more are neither listed nor
// counted, until it comes back; what is reserved is listed as such. A prefix that is not
// delegated any more still leads to its client, and is.
func TestSubnetThatGoes(t *testing.T) {
	named := newGuest(1)
	l := newLab(t, withHosts(Host{MAC: named.mac, Name: "web"}))
	a, b, p := l.lease(named), l.lease(newGuest(2)), l.lease(newGuest(3), pd(1))
	for range 2 {
		l.reconfigure(func(c *Config) {
			c.Links, c.Ranges, c.Delegate = []netip.Prefix{px("2001:db8:9::1/64")}, []dhcp.Range{addrRange("2001:db8:9::10", "2001:db8:9::19")}, nil
		})
		l.check()
		if list := l.server.Leases(); len(list) != 2 || list[0].Prefix != p || list[1].State != dhcp.Reserved || list[1].Hostname != "web" {
			t.Errorf("%+v", list)
		}
		if st := l.server.Stats(); st.Leases[dhcp.Active] != 1 || st.Leases[dhcp.Reserved] != 1 {
			t.Errorf("%v", st.Leases)
		}
		l.restart()
	}
	l.reconfigure(func(c *Config) {
		c.Links, c.Ranges, c.Delegate = labConfig().Links, labConfig().Ranges, labConfig().Delegate
	})
	for _, x := range []netip.Prefix{a, b, p} {
		l.wantState(x, dhcp.Active)
	}
	if st := l.server.Stats(); len(l.server.Leases()) != 3 || st.Leases[dhcp.Active] != 3 || st.Leases[dhcp.Reserved] != 0 {
		t.Errorf("%v", st.Leases)
	}
	l.wantName("web", a)
}
