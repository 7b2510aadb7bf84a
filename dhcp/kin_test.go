package dhcp

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestOneMachine: firmware without an identifier, and systems with one, are one
// client, which keeps its address and its name.
func TestOneMachine(t *testing.T) {
	l := newLab(t)
	mac := newGuest(1).mac
	name := optString(optHostname, "vm")
	firmware := newGuest(1, name)
	system := newGuest(1, name, opt(optClientID, append([]byte{1}, mac[:]...)...))
	networkd := newGuest(1, name, opt(optClientID, 255, 1, 2, 3, 4, 0, 2))
	a := l.lease(firmware)
	for _, g := range []*guest{system, networkd, firmware, networkd, system} {
		if got := l.lease(g); got != a {
			t.Errorf("%s, had %s", got, a)
		}
		l.wantName("vm", g)
		l.check()
	}
	// With two identifiers of their own they are two, but the name goes along.
	l.lease(networkd)
	other := newGuest(1, name, opt(optClientID, 255, 9, 9, 9))
	if b := l.lease(other); b == a {
		t.Errorf("two identifiers have %s", b)
	} else if got, _ := l.server.Lookup("vm"); got != b {
		t.Errorf("vm is %s, want %s", got, b)
	}
	// An identifier says nothing about another MAC address.
	if b := l.lease(newGuest(2, opt(optClientID, append([]byte{1}, mac[:]...)...))); b == a {
		t.Error("got the lease of a MAC address by an identifier")
	}
	l.check()
}

// TestOneAddress: a client that moves gives up what it had.
func TestOneAddress(t *testing.T) {
	for _, with := range [][]func(*dhcpv4.DHCPv4){nil, {optString(optHostname, "vm")}} {
		l := newLab(t)
		g := newGuest(1, with...)
		a := l.lease(g)
		l.reconfigure(func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.60", "192.168.7.69")} })
		// A DISCOVER alone, which may be an old one, moves nothing.
		offer := l.must(l.say(g, discover, opt(optRapidCommit)), offered)
		l.wantState(a, Active)
		// Nor does who only says that it is the client.
		thief := &guest{mac: newGuest(2).mac, port: "other"}
		if out := l.from(thief, g, request, requested(offer), serverID(lan(1))); len(out) != 1 || out[0].MessageType() != ack {
			t.Fatalf("%d replies", len(out))
		}
		l.wantState(a, Active)
		if err := l.server.Release(offer); err != nil {
			t.Fatal(err)
		}
		l.must(l.say(g, discover), offered)
		l.store.fail = errDisk
		l.say(g, request, requested(offer), serverID(lan(1)))
		l.wantState(a, Active) // it holds, as the other one does not
		l.check()
		l.store.fail = nil
		l.must(l.say(g, request, requested(offer), serverID(lan(1))), ack)
		if x, ok := l.at(a); ok {
			t.Errorf("%+v", x)
		}
		if with != nil {
			l.wantName("vm", g)
		}
		l.restart()
		if n := l.server.Stats().Leases[Active]; n != 1 {
			t.Errorf("%d leases after a restart", n)
		}
		l.check()
	}
}

// TestOldRequest: what was sent before a client moved does not bring it back.
func TestOldRequest(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	l.reconfigure(withHosts(Host{MAC: g.mac, Address: lan(40)}))
	if b := l.lease(g); b != lan(40) {
		t.Fatalf("got %s", b)
	}
	l.wantState(a, Expired)
	l.reconfigure(withHosts(Host{ClientID: []byte{1}, Address: lan(40)}))
	for _, edit := range [][]func(*dhcpv4.DHCPv4){{ciaddr(a)}, {requested(a)}, {requested(a), serverID(lan(1))}} {
		if h := l.say(g, request, edit...); l.must(h, nak).IsValid() && h.yours() == a {
			t.Error("an old REQUEST moved the client back")
		}
		l.wantState(lan(40), Active)
	}
	if got := l.lease(g); got != a {
		t.Errorf("got %s", got)
	}
	// The same for a reserved address that nobody has a lease of.
	l.reconfigure(withHosts(Host{MAC: g.mac, Address: lan(41)}))
	l.must(l.say(g, request, requested(lan(41))), nak)
	l.wantState(a, Active)
	if got := l.lease(g); got != lan(41) {
		t.Errorf("got %s", got)
	}
	l.check()
}

// TestOtherSubnet: leases of another subnet do not count, and are found again.
func TestOtherSubnet(t *testing.T) {
	l := newLab(t)
	g := newGuest(1, optString(optHostname, "vm"))
	a := l.lease(g)
	gone := l.lease(newGuest(2))
	l.say(newGuest(2), release, ciaddr(gone))
	old := l.cfg
	move := func(c *Config) {
		c.Server, c.Ranges = netip.MustParsePrefix("192.168.8.1/24"), []Range{ipRange("192.168.8.10", "192.168.8.19")}
	}
	for _, restart := range []bool{false, true} {
		l.reconfigure(move)
		if restart {
			l.restart()
		}
		if list := l.server.Leases(); len(list) != 0 || l.server.Stats().Leases[Active] != 0 {
			t.Errorf("%+v", list)
		}
		l.wantName("vm", nil)
		until := l.store.networks["lan"][a].Expires
		l.wall = l.wall.Add(time.Minute) // the clock is set, and all is stored anew
		l.server.Tick()
		if got := l.store.networks["lan"][a].Expires; !got.Equal(until.Add(time.Minute)) {
			t.Errorf("stored until %v, want %v", got, until.Add(time.Minute))
		}
		l.check()
		l.reconfigure(func(c *Config) { *c = old })
		if restart {
			l.restart()
		}
		l.wantState(a, Active)
		l.wantName("vm", g)
		l.check()
	}
	// One that ends meanwhile is forgotten.
	l.reconfigure(move)
	l.pass(2 * time.Hour)
	l.restart()
	l.server.Tick()
	if n := len(l.store.networks["lan"]); n != 0 {
		t.Errorf("%d records", n)
	}
	l.reconfigure(func(c *Config) { *c = old })
	if _, ok := l.at(a); ok {
		t.Error("the lease is back, and was over")
	}
	l.check()
}

// TestReservationsAreListed: each of them, whoever has what it reserves.
func TestReservationsAreListed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("02:00:00:00:00:07,infinite\n02:00:00:00:00:08,192.168.7.40,db\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.HostsFile = path })
	alpha, bravo, charlie := newGuest(1), newGuest(2), newGuest(3)
	a := l.lease(alpha)
	l.reconfigure(withHosts(Host{MAC: bravo.mac, Address: a, Name: "bravo"}, Host{MAC: charlie.mac, Name: "charlie"}, Host{ClientID: []byte{5}, Ignore: true}))
	type line struct {
		address netip.Addr
		mac     byte
		state   State
		kind    Kind
		source  string
	}
	want := func(lines ...line) {
		t.Helper()
		var got []line
		for _, x := range l.server.Leases() {
			got = append(got, line{x.Address, x.MAC[5], x.State, x.Kind, x.Source})
		}
		if len(got) != len(lines) {
			t.Fatalf("%v, want %v", got, lines)
		}
		for i := range got {
			if got[i] != lines[i] {
				t.Errorf("%d: %v, want %v", i, got[i], lines[i])
			}
		}
		n := 0
		for _, x := range lines {
			n += num(x.state == Reserved)
		}
		if st := l.server.Stats(); st.Leases[Reserved] != n {
			t.Errorf("%d reserved, want %d", st.Leases[Reserved], n)
		}
	}
	none := netip.Addr{}
	want(line{a, 1, Active, Dynamic, ""}, line{a, 2, Reserved, Static, "config"}, line{lan(40), 8, Reserved, Static, "file"},
		line{none, 0, Reserved, Static, "config"}, line{none, 3, Reserved, Static, "config"}, line{none, 7, Reserved, Static, "file"})
	l.say(alpha, release, ciaddr(a))
	l.lease(bravo)
	l.lease(newGuest(8))
	c := l.lease(charlie, requested(lan(19)))
	first, second := line{a, 2, Active, Static, "config"}, line{c, 3, Active, Static, "config"}
	if c.Less(a) {
		first, second = second, first
	}
	want(first, second, line{lan(40), 8, Active, Static, "file"},
		line{none, 0, Reserved, Static, "config"}, line{none, 7, Reserved, Static, "file"})
	l.check()
}

// TestNameComesBack: a reservation takes a name from a lease only as long as it
// is there.
func TestNameComesBack(t *testing.T) {
	for _, restart := range []bool{false, true} {
		l := newLab(t)
		g := newGuest(1, optString(optHostname, "charlie"))
		a := l.lease(g)
		if restart {
			l.restart()
		}
		l.reconfigure(withHosts(Host{ClientID: []byte("foo"), Name: "charlie"}))
		l.wantName("charlie", nil)
		if !restart && l.renew(g, a) != ack {
			t.Error("not renewed")
		}
		l.wantName("charlie", nil)
		l.reconfigure(withHosts())
		l.wantName("charlie", g)
		if !restart && l.store.networks["lan"][a].Hostname != "charlie" {
			t.Error("not stored")
		}
		l.check()
	}
}

// TestPoolFigures: they are of the ranges.
func TestPoolFigures(t *testing.T) {
	l := newLab(t, withHosts(Host{MAC: newGuest(1).mac, Address: lan(12)}, Host{MAC: newGuest(2).mac, Address: lan(40)}))
	l.lease(newGuest(2))
	l.lease(newGuest(3))
	if st := l.server.Stats(); st.Size != 10 || st.Free != 8 {
		t.Errorf("%d of %d are free", st.Free, st.Size)
	}
}

// TestHostsFileLine: what contradicts something else is named by its line, too.
func TestHostsFileLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte("# x\n02:00:00:00:00:07,web\n\n02:00:00:00:00:08,web\n02:00:00:00:00:09,10.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(c *Config) { c.HostsFile = path })
	l.wantLog(path+":4: reservation of 02:00:00:00:00:08: the name web is reserved already", 1)
	l.wantLog(path+":5: reservation of 02:00:00:00:00:09: 10.0.0.1 is not an address for a client", 1)
}
