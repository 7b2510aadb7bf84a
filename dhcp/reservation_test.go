package dhcp

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func withHosts(hosts ...Host) func(*Config) { return func(c *Config) { c.Hosts = hosts } }

func TestReservations(t *testing.T) {
	id := []byte{0, 'u', 'u', 'i', 'd'}
	l := newLab(t, withHosts(
		Host{MAC: newGuest(1).mac, Address: lan(100), Name: "web", Lease: 5 * time.Minute},
		Host{ClientID: id, Address: lan(12)},
		Host{MAC: newGuest(3).mac, Name: "named"},
		Host{MAC: newGuest(4).mac, Ignore: true},
		Host{MAC: newGuest(5).mac, Address: lan(13)},
	))
	if x, _ := l.at(lan(100)); x.State != Reserved || x.Kind != Static || x.Hostname != "web" || x.MAC != newGuest(1).mac {
		t.Errorf("%+v", x)
	}
	h := l.say(newGuest(1), discover)
	if a := l.must(h, offered); a != lan(100) || h.IPAddressLeaseTime(0) != 5*time.Minute || h.HostName() != "web" {
		t.Errorf("%s", h.Summary())
	}
	if a := l.lease(newGuest(1), optString(optHostname, "mine")); a != lan(100) {
		t.Errorf("got %s", a)
	}
	if x, _ := l.at(lan(100)); x.Kind != Static || x.Hostname != "web" {
		t.Errorf("%+v", x)
	}
	// The client identifier goes before the MAC address.
	if a := l.lease(newGuest(5), opt(optClientID, id...)); a != lan(12) {
		t.Errorf("client identifier: %s", a)
	}
	if a := l.lease(newGuest(5)); a != lan(13) {
		t.Errorf("MAC address: %s", a)
	}
	a := l.lease(newGuest(3), optString(optHostname, "other"))
	if got, ok := l.server.Lookup("named"); !ok || got != a {
		t.Errorf("named is %s", got)
	}
	if h := l.say(newGuest(4), discover); h != nil {
		t.Error("answered to who is to be ignored")
	}
	// Nobody else gets what is reserved: not even when nothing else is free.
	for i := range 20 {
		if h := l.say(newGuest(50+i), discover, requested(lan(12))); h != nil && (h.yours() == lan(12) || h.yours() == lan(13)) {
			t.Errorf("offered %s", h.yours())
		}
	}
	l.check()
}

// TestReservedReboot: a reservation is known also where the lease is not.
func TestReservedReboot(t *testing.T) {
	l := newLab(t, withHosts(Host{MAC: newGuest(1).mac, Address: lan(12)}), func(c *Config) { c.Authoritative = false })
	if h := l.say(newGuest(1), request, requested(lan(12))); l.must(h, ack) != lan(12) {
		t.Errorf("%s", h.Summary())
	}
	if l.renew(newGuest(2), lan(12)) != 0 {
		t.Error("another one was answered")
	}
}

// TestReservationBeatsLease: the client that has the address keeps it until its
// lease is over and hears at its renewal that it has to go; the
// reserved one gets another address meanwhile, and moves.
func TestReservationBeatsLease(t *testing.T) {
	l := newLab(t)
	stale, owner := newGuest(1), newGuest(2)
	a := l.lease(stale)
	l.reconfigure(withHosts(Host{MAC: owner.mac, Address: a, Name: "web"}))
	meanwhile := l.lease(owner)
	if meanwhile == a {
		t.Fatal("two clients have one address")
	}
	if got, _ := l.server.Lookup("web"); got != meanwhile {
		t.Errorf("web is %s, and has %s", got, meanwhile)
	}
	if l.renew(stale, a) != nak {
		t.Error("renewed what is reserved for another")
	}
	l.wantState(a, Active) // it may not have heard it
	if l.renew(owner, meanwhile) != ack {
		t.Error("its own is not free, and the other was refused")
	}
	l.pass(time.Hour)
	l.wantState(a, Expired)
	if l.renew(owner, meanwhile) != nak {
		t.Error("it stays although its own is free")
	}
	if got := l.lease(owner); got != a {
		t.Errorf("moved to %s", got)
	}
	if got, _ := l.server.Lookup("web"); got != a {
		t.Errorf("web is %s", got)
	}
	l.check()
}

// TestReserveWhatItHas: a reservation for the address that the client has
// disturbs nothing, also where the lease is known by a client identifier.
func TestReserveWhatItHas(t *testing.T) {
	l := newLab(t)
	g := newGuest(1, opt(optClientID, 9, 9, 9))
	a := l.lease(g)
	l.reconfigure(withHosts(Host{MAC: g.mac, Address: a}))
	if l.renew(g, a) != ack {
		t.Error("not renewed")
	}
	if x, _ := l.at(a); x.Kind != Static || x.State != Active {
		t.Errorf("%+v", x)
	}
	l.check()
}

// TestFirmwareAndSystem: both boot behind one MAC address, with an identifier
// each, and the reservation is for both.
func TestFirmwareAndSystem(t *testing.T) {
	l := newLab(t, withHosts(Host{MAC: newGuest(1).mac, Address: lan(12)}))
	firmware, system := newGuest(1, opt(optClientID, 0, 1, 2)), newGuest(1, opt(optClientID, 255, 3, 4))
	for range 2 {
		if a := l.lease(firmware); a != lan(12) {
			t.Errorf("firmware: %s", a)
		}
		if a := l.lease(system); a != lan(12) {
			t.Errorf("system: %s", a)
		}
	}
	l.check()
}

// TestOneOffer: a client is offered one address at a time.
func TestOneOffer(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.must(l.say(g, discover), offered)
	l.reconfigure(withHosts(Host{MAC: g.mac, Address: lan(40)}))
	if b := l.must(l.say(g, discover), offered); b != lan(40) {
		t.Errorf("offered %s", b)
	}
	if x, ok := l.at(a); ok {
		t.Errorf("%+v", x)
	}
	l.check()
}

// TestReservationOfTwo: a reservation with an identifier and the MAC address of
// another machine is for one of them at a time.
func TestReservationOfTwo(t *testing.T) {
	l := newLab(t, withHosts(Host{MAC: newGuest(2).mac, ClientID: []byte{5, 5}, Address: lan(12)}))
	byID, byMAC := newGuest(1, opt(optClientID, 5, 5)), newGuest(2)
	if a := l.must(l.say(byID, discover), offered); a != lan(12) {
		t.Fatalf("offered %s", a)
	}
	if a := l.must(l.say(byMAC, discover), offered); a == lan(12) {
		t.Error("offered to both")
	}
	l.lease(byID)
	if l.renew(byMAC, lan(12)) == ack {
		t.Error("both have it")
	}
	l.check()
}

func TestReconfigureRange(t *testing.T) {
	l := newLab(t)
	g, h := newGuest(1), newGuest(2)
	a := l.lease(g)
	gone := l.lease(h)
	l.say(h, release, ciaddr(gone), serverID(lan(1)))
	offer := l.must(l.say(newGuest(3), discover), offered)
	l.reconfigure(func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.50", "192.168.7.60")} })
	l.wantState(a, Active)
	if _, ok := l.at(gone); ok {
		t.Error("a lease that was over is kept, and nobody can have it")
	}
	if _, ok := l.at(offer); ok {
		t.Error("an offer is kept that can not be taken")
	}
	if l.renew(g, a) != nak {
		t.Error("renewed outside the range")
	}
	if b := l.lease(g); !l.cfg.Ranges[0].has(b) {
		t.Errorf("got %s", b)
	}
	l.pass(time.Hour)
	if _, ok := l.at(a); ok {
		t.Error("the old lease is still there")
	}
	if n := len(l.store.networks["lan"]); n != 1 {
		t.Errorf("%d records are stored", n)
	}
	l.check()
	// Where it has leases in two ranges, the later one counts.
	b := l.lease(g)
	for range 8 {
		l.pass(time.Second)
		l.reconfigure(func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.70", "192.168.7.79")} })
		last := l.lease(g)
		l.reconfigure(func(c *Config) {
			c.Ranges = []Range{ipRange("192.168.7.50", "192.168.7.60"), ipRange("192.168.7.70", "192.168.7.79")}
		})
		if got := l.must(l.say(g, discover), offered); got != last || got == b {
			t.Fatalf("offered %s, had %s and then %s", got, b, last)
		}
		l.say(g, release, ciaddr(last))
	}
	l.say(g, release, ciaddr(b))
	// And back: the client, whose lease is over, has it as before.
	l.reconfigure(func(c *Config) { c.Ranges = labConfig().Ranges })
	l.lease(g)
	l.check()
}

func TestReconfigureRefused(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1))
	for _, tt := range []struct {
		edit func(*Config)
		want string
	}{
		{func(c *Config) { c.Server = ip6Prefix }, "an IPv4 address with its subnet"},
		{func(c *Config) { c.Ranges = []Range{ipRange("192.168.8.1", "192.168.8.2")} }, "outside the subnet 192.168.7.0/24"},
		{func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.9", "192.168.7.2")} }, "the lower one first"},
		{func(c *Config) {
			c.Ranges = []Range{ipRange("192.168.7.2", "192.168.7.9"), ipRange("192.168.7.9", "192.168.7.10")}
		}, "overlaps 192.168.7.2-192.168.7.9"},
		{func(c *Config) { c.Lease = 0 }, "whole seconds"},
		{func(c *Config) { c.Lease = time.Second + 1 }, "whole seconds"},
		{func(c *Config) { c.MaxLeases = -1 }, "max leases -1"},
		{func(c *Config) { c.MTU = 67 }, "mtu 67"},
		{withHosts(Host{Address: lan(9)}), "a MAC address or a client identifier is needed"},
		{withHosts(Host{MAC: newGuest(1).mac, Address: lan(1)}), "192.168.7.1 is not an address for a client"},
		{withHosts(Host{MAC: newGuest(1).mac, Address: lan(0)}), "192.168.7.0 is not an address for a client"},
		{withHosts(Host{MAC: newGuest(1).mac, Address: lan(255)}), "192.168.7.255 is not an address for a client"},
		{withHosts(Host{MAC: newGuest(1).mac, Address: ip("10.0.0.1")}), "10.0.0.1 is not an address for a client"},
		{withHosts(Host{MAC: newGuest(1).mac, Address: lan(9)}, Host{MAC: newGuest(2).mac, Address: lan(9)}), "192.168.7.9 is reserved already"},
		{withHosts(Host{MAC: newGuest(1).mac, Name: "a"}, Host{MAC: newGuest(2).mac, Name: "a"}), "the name a is reserved already"},
		{withHosts(Host{MAC: newGuest(1).mac, Name: "Not A Name"}), "is not a name"},
	} {
		cfg := l.cfg
		tt.edit(&cfg)
		err := l.server.Reconfigure(cfg)
		if err == nil || !contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
		if _, err2 := New("lan", cfg, newMemStore(), Env{}); err2 == nil || err2.Error() != err.Error() {
			t.Errorf("New: %v", err2)
		}
	}
	if l.renew(newGuest(1), a) != ack {
		t.Error("the server does not go on after an error")
	}
}

func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	g := newGuest(1)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := newLab(t, func(c *Config) { c.HostsFile = path }, withHosts(Host{MAC: newGuest(9).mac, Address: lan(30)}))
	l.wantLog("hosts file is not read", 1)
	l.pass(10 * time.Second)
	l.wantLog("hosts file is not read", 1)
	a := l.lease(g)
	if a == lan(20) {
		t.Fatal("no reservation yet")
	}
	// The second line contradicts the configuration: it is left out, the others hold.
	write(g.mac.String() + ",192.168.7.20,web\n02:00:00:00:00:07,192.168.7.30\n02:00:00:00:00:08,192.168.7.40,db\n")
	l.pass(hostsEvery)
	l.wantLog("192.168.7.30 is reserved already", 1)
	if got, ok := l.server.Lookup("db"); !ok || got != lan(40) {
		t.Errorf("db is %s", got)
	}
	if l.renew(g, a) != nak {
		t.Error("the reservation does not draw the client to it")
	}
	if b := l.lease(g); b != lan(20) {
		t.Errorf("got %s", b)
	}
	write("02:00:00:00:00:08,192.168.7.41,db\n")
	l.pass(hostsEvery)
	if got, _ := l.server.Lookup("db"); got != lan(41) {
		t.Errorf("db is %s", got)
	}
	// A change of the configuration keeps what the file says.
	l.reconfigure(func(c *Config) { c.Domain = "other" })
	if got, _ := l.server.Lookup("db"); got != lan(41) {
		t.Errorf("db is %s", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.pass(hostsEvery)
	if got, ok := l.server.Lookup("db"); ok {
		t.Errorf("db is %s, and the file is gone", got)
	}
	write("02:00:00:00:00:08,192.168.7.42,db\n")
	l.reconfigure(func(c *Config) { c.HostsFile = "" })
	if _, ok := l.server.Lookup("db"); ok {
		t.Error("the file is not configured any more")
	}
	l.reconfigure(func(c *Config) { c.HostsFile = path })
	if got, _ := l.server.Lookup("db"); got != lan(42) {
		t.Errorf("db is %s", got)
	}
	l.check()
}

// TestHostsFileProblem: what is wrong with a file is told of once.
func TestHostsFileProblem(t *testing.T) {
	dir := t.TempDir()
	l := newLab(t, func(c *Config) { c.HostsFile = dir })
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		l.pass(hostsEvery)
	}
	l.wantLog("is not a regular file", 1)
	l.lease(newGuest(1))
}

func TestForeignHardware(t *testing.T) {
	l := newLab(t)
	token := func(p *dhcpv4.DHCPv4) { p.HWType, p.ClientHWAddr = 32, nil } // InfiniBand, RFC 4390
	if h := l.say(newGuest(1, token), discover); h != nil {
		t.Error("answered to who can not be told from others")
	}
	h := l.say(newGuest(1, token, opt(optClientID, 1, 2, 3)), discover)
	if l.must(h, offered); h.Dst.Addr() != ip("255.255.255.255") || len(h.ClientHWAddr) != 0 {
		t.Errorf("%s to %s", h.Summary(), h.Dst)
	}
	for _, mac := range [][]byte{{1, 0, 0, 0, 0, 1}, {0, 0, 0, 0, 0, 0}, {2, 0, 0, 1}} {
		if h := l.say(newGuest(1, func(p *dhcpv4.DHCPv4) { p.ClientHWAddr = mac }), discover); h != nil {
			t.Errorf("answered to %x", mac)
		}
	}
}
