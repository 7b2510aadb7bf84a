package dhcp6

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// wantName checks whose addresses a name has; of nobody: none.
func (l *lab) wantName(name string, want ...netip.Prefix) {
	l.t.Helper()
	var got []netip.Prefix
	for _, a := range l.server.Lookup(name) {
		got = append(got, one(a))
		if back, ok := l.server.Reverse(a); !ok || back != name {
			l.t.Errorf("%s is %s %v, want %s", a, back, ok, name)
		}
	}
	slices.SortFunc(want, comparePrefixes)
	if !slices.Equal(got, want) {
		l.t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestNames(t *testing.T) {
	l := newLab(t)
	g := newGuest(1, fqdn(1, "Web.example.com"))
	a := l.lease(g)
	l.wantName("web", a)
	b := l.lease(g, na(2))
	l.wantName("web", a, b) // two addresses of one machine
	p := l.lease(g, pd(3))
	if x, _ := l.at(p); x.Hostname != "web" {
		t.Errorf("%+v", x)
	}
	if name, ok := l.server.Reverse(p.Addr()); ok {
		t.Errorf("a prefix has the name %s", name)
	}
	l.restart()
	l.wantName("web", a, b)
	// Who says nothing keeps it, who says another name has that.
	quiet := newGuest(1)
	l.say(quiet, renew, na(1, a.Addr()))
	l.wantName("web", a, b)
	l.say(newGuest(1, fqdn(1, "other")), renew, na(1, a.Addr()))
	l.wantName("web", b)
	l.wantName("other", a)
	l.pass(time.Hour)
	l.wantName("other")
}

func TestNamesAreNotStolen(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.Names = []string{"gateway"}
		c.Hosts = []Host{{MAC: newGuest(7).mac, Name: "printer", Address: lan(0x80)}, {DUID: newGuest(8).duid, Name: "nas"}}
	})
	l.wantName("printer", one(lan(0x80)))
	owner := newGuest(1, fqdn(1, "payroll"))
	a := l.lease(owner)
	thief := newGuest(2)
	thief.port = "other"
	for name, why := range map[string]string{
		"payroll": "another client has it", "gateway": "it is reserved", "printer": "it is reserved", "nas": "it is reserved",
		"wpad": "programs trust it", "-x": "it is no host name",
	} {
		l.logged.Reset()
		thief.with = []func(*dhcpv6.Message){fqdn(1, name)}
		h := l.say(thief, solicit, na(1), rapidly)
		if o := h.Message.Options.FQDN(); o == nil || o.Flags != fqdnNone {
			t.Errorf("%s: %+v", name, o)
		}
		l.wantLog(why, 1)
		l.say(thief, release, na(1, l.must(h, reply).Addr()))
	}
	l.wantName("payroll", a)
	// With the DUID of the owner neither.
	forged := &guest{mac: thief.mac, port: "other", duid: owner.duid, with: owner.with}
	l.say(forged, request, na(9))
	l.wantName("payroll", a)
	// Another system of the same machine does.
	system := &guest{mac: owner.mac, port: owner.port, duid: []byte{0, 2, 0, 0, 0, 9, 1}, with: owner.with}
	b := l.lease(system)
	l.wantName("payroll", b)
	// The reservation's client has its name, whatever it calls itself.
	h := l.say(newGuest(8, fqdn(0, "mine")), solicit, na(1), rapidly)
	l.wantName("nas", l.must(h, reply))
	if o := h.Message.Options.FQDN(); o.Flags != fqdnServer|fqdnChanged || o.DomainName.Labels[0] != "nas.lab" {
		t.Errorf("%+v", o)
	}
}

// TestNameIsKept: the name of a lease that is over is its client's for a while, also
// over a restart.
func TestNameIsKept(t *testing.T) {
	for _, restart := range []bool{false, true} {
		l := newLab(t)
		g, thief := newGuest(1, fqdn(1, "payroll")), newGuest(2, fqdn(1, "payroll"))
		a := l.lease(g)
		l.say(g, release, na(1, a.Addr()))
		l.pass(lease.NameTime - time.Minute)
		if restart {
			l.restart()
		}
		l.lease(thief)
		l.wantName("payroll")
		l.wantLog("another client had it a moment ago", 1)
		l.lease(g)
		l.wantName("payroll", a)
	}
}

// TestNameOfIPv4: a name that another machine has by IPv4 is not to be had, also not
// where a change of the configuration gives names back; one's own is.
func TestNameOfIPv4(t *testing.T) {
	l := newLab(t)
	l.holder = func(name string) (frame.MAC, bool) { return newGuest(1).mac, name == "payroll" }
	l.restart()
	l.lease(newGuest(2, fqdn(1, "payroll")))
	l.wantName("payroll")
	l.wantLog("another client has it, by IPv4", 1)
	l.reconfigure()
	l.wantName("payroll")
	a := l.lease(newGuest(1, fqdn(1, "payroll")))
	l.wantName("payroll", a)
	for name, want := range map[string]bool{"payroll": true, "other": false} {
		if mac, ok := l.server.Holder(name); ok != want || ok && mac != newGuest(1).mac {
			t.Errorf("%s is held by %s %v", name, mac, ok)
		}
	}
}

// TestNamesOfReconfiguration: a name that becomes reserved is taken, and given back.
func TestNamesOfReconfiguration(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1, fqdn(1, "web")))
	l.reconfigure(func(c *Config) { c.Names = []string{"web"} })
	l.wantName("web")
	l.reconfigure(func(c *Config) { c.Names = nil })
	l.wantName("web", a)
	l.reconfigure(func(c *Config) { c.Links = []netip.Prefix{px("2001:db8:9::1/64")}; c.Ranges = nil })
	l.wantName("web") // nobody reaches the address
}

// TestManyNames: one client's leases of one name are no work without bound.
func TestManyNames(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::", "2001:db8:1::ffff:ffff:ffff:ffff"))
	for i := range 3 * maxPerClient {
		l.say(newGuest(1, fqdn(1, "web")), solicit, na(byte(i)), rapidly)
	}
	if n := len(l.server.Lookup("web")); n != maxPerClient {
		t.Errorf("%d addresses", n)
	}
}

// TestTwoFamiliesAsk: two servers that ask each other for names never wait for each
// other for ever.
func TestTwoFamiliesAsk(t *testing.T) {
	var servers [2]*Server
	for i := range servers {
		cfg := labConfig()
		env := Env{Log: slog.New(slog.DiscardHandler), Holder: func(name string) (frame.MAC, bool) { return servers[1-i].Holder(name) }}
		var err error
		if servers[i], err = New("lan", cfg, newMemStore(), env); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	for i := range servers {
		go func() {
			for n := range 500 {
				g := newGuest(n%5, fqdn(1, fmt.Sprint("vm", n%3)))
				servers[i].Receive([]Request{g.request(solicit, na(1), rapidly)})
				if n%50 == 0 {
					if err := servers[i].Reconfigure(labConfig()); err != nil {
						t.Error(err)
					}
				}
			}
			done <- struct{}{}
		}()
	}
	for range servers {
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("they wait for each other")
		}
	}
}
