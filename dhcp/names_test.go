package dhcp

import (
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// TestNameOfIPv6: a name that another machine has by IPv6 is not to be had; one's own is.
func TestNameOfIPv6(t *testing.T) {
	l := newLab(t)
	l.holder = func(name string) (frame.MAC, bool) { return newGuest(1).mac, name == "payroll" }
	l.restart()
	name := optString(optHostname, "payroll")
	l.lease(newGuest(2), name)
	l.wantName("payroll", nil)
	l.wantLog("another client has it, by IPv6", 1)
	l.lease(newGuest(1), name)
	l.wantName("payroll", newGuest(1))
	if mac, ok := l.server.Holder("payroll"); !ok || mac != newGuest(1).mac {
		t.Errorf("payroll is held by %s %v", mac, ok)
	}
	if _, ok := l.server.Holder("other"); ok {
		t.Error("other is held")
	}
}

func (l *lab) wantName(name string, g *guest) {
	l.t.Helper()
	a, ok := l.server.Lookup(name)
	if !ok {
		if g != nil {
			l.t.Errorf("%s is not known", name)
		}
		return
	}
	x, _ := l.at(a)
	if g == nil || x.MAC != g.mac {
		l.t.Errorf("%s is %s, of %s", name, a, x.MAC)
		return
	}
	if back, ok := l.server.Reverse(a); !ok || back != name {
		l.t.Errorf("%s is %q, want %q", a, back, name)
	}
}

// TestHostnames is what comes of the names that clients give themselves.
func TestHostnames(t *testing.T) {
	for _, tt := range []struct {
		name string
		code uint8
		data string
		want string
	}{
		{"plain", optHostname, "vm1", "vm1"},
		{"upper case", optHostname, "VM1", "vm1"},
		{"with a domain", optHostname, "vm1.example.com", "vm1"},
		{"with a zero byte", optHostname, "vm1\x00", "vm1"},
		{"number", optHostname, "42", "42"},
		{"longest", optHostname, strings.Repeat("a", 63), strings.Repeat("a", 63)},
		{"too long", optHostname, strings.Repeat("a", 64), ""},
		{"empty", optHostname, "", ""},
		{"only a dot", optHostname, ".lab", ""},
		{"hyphen first", optHostname, "-vm", ""},
		{"underscore", optHostname, "vm_1", "vm_1"},
		{"underscore first", optHostname, "_vm", ""},
		{"blank", optHostname, "vm 1", ""},
		{"UTF-8", optHostname, "vmü", ""},
		{"control characters", optHostname, "a\nb", ""},
		{"the gateway's", optHostname, "gateway", ""},
		{"the gateway's in upper case", optHostname, "GATEWAY", ""},
		{"of a reservation", optHostname, "web", ""},
		{"of a lease", optHostname, "taken", ""},
		{"of the machine itself", optHostname, "localhost", ""},
		{"of a proxy", optHostname, "wpad", ""},
		{"FQDN on the wire", optFQDN, "\x05\x00\x00\x03vm1\x03lab\x00", "vm1"},
		{"FQDN in text", optFQDN, "\x01\x00\x00vm1.lab", "vm1"},
		{"FQDN too short", optFQDN, "\x05\x00", ""},
		{"FQDN without a name", optFQDN, "\x05\x00\x00", ""},
		{"FQDN whose length is wrong", optFQDN, "\x05\x00\x00\x09vm1", ""},
		{"FQDN of a lease", optFQDN, "\x05\x00\x00\x05taken\x00", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, withHosts(Host{MAC: newGuest(8).mac, Name: "web", Address: lan(30)}), func(c *Config) { c.Names = []string{"gateway"} })
			l.lease(newGuest(2), optString(optHostname, "taken"))
			a := l.lease(newGuest(1), opt(tt.code, []byte(tt.data)...))
			if x, _ := l.at(a); x.Hostname != tt.want {
				t.Errorf("named %q, want %q", x.Hostname, tt.want)
			}
			if tt.want != "" {
				l.wantName(tt.want, newGuest(1))
			}
			l.wantName("taken", newGuest(2))
			if got, ok := l.server.Lookup("web"); !ok || got != lan(30) {
				t.Errorf("web is %s", got)
			}
			l.check()
		})
	}
}

// TestNameOfALease: it lives as long as the lease, goes along to another
// address, and is kept by a client that does not repeat it.
func TestNameOfALease(t *testing.T) {
	l := newLab(t)
	g, h := newGuest(1), newGuest(2)
	name := optString(optHostname, "vm")
	if l.say(g, discover, name); l.server.engine.names["vm"] != nil {
		t.Error("an offer has a name")
	}
	a := l.lease(g, name)
	l.wantName("vm", g)
	if l.renew(g, a) != ack {
		t.Fatal("not renewed")
	}
	l.wantName("vm", g)
	l.restart()
	l.wantName("vm", g)
	// To another address, while the old lease lasts.
	l.reconfigure(func(c *Config) { c.Ranges = []Range{ipRange("192.168.7.60", "192.168.7.69")} })
	b := l.lease(g, name)
	if got, _ := l.server.Lookup("vm"); got != b {
		t.Errorf("vm is %s, want %s", got, b)
	}
	l.say(g, release, ciaddr(b), serverID(lan(1)))
	l.wantName("vm", nil)
	// It is kept for its client for a while.
	l.lease(h, name)
	l.wantName("vm", nil)
	l.pass(lease.NameTime)
	l.lease(h, name)
	l.wantName("vm", h)
	// The former owner comes back without a word: it is not its any more.
	l.lease(g)
	l.wantName("vm", h)
	l.pass(2 * time.Hour)
	l.wantName("vm", nil)
	l.check()
}

// TestNameEndsWithLease: an offer that reaches beyond the end of a lease does not
// make the lease longer.
func TestNameEndsWithLease(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1), optString(optHostname, "vm"))
	l.pass(time.Hour - 10*time.Second)
	l.must(l.say(newGuest(1), discover), offered)
	l.wantState(a, Active)
	l.wantName("vm", newGuest(1))
	l.pass(10 * time.Second)
	l.wantState(a, Offered)
	l.wantName("vm", nil)
	l.pass(20 * time.Second)
	l.wantState(a, Expired)
	l.check()
}

// TestNameTakenLater: a name that becomes a reservation's, or the gateway's, is
// taken from the lease that has it.
func TestNameTakenLater(t *testing.T) {
	l := newLab(t)
	g, h := newGuest(1), newGuest(2)
	a := l.lease(g, optString(optHostname, "web"))
	l.lease(h, optString(optHostname, "db"))
	l.reconfigure(func(c *Config) {
		c.Names = []string{"db"}
		c.Hosts = []Host{{MAC: newGuest(9).mac, Name: "web"}}
	})
	l.wantName("web", nil)
	l.wantName("db", nil)
	if l.renew(g, a, optString(optHostname, "web")) != ack {
		t.Error("not renewed")
	}
	l.wantName("web", nil)
	l.lease(newGuest(9))
	l.wantName("web", newGuest(9))
	l.restart()
	l.wantName("web", newGuest(9))
	l.check()
}

func TestFQDNReply(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct{ sent, want string }{
		{"\x05\x00\x00\x03vm1\x00", "\x05\xff\xff\x03vm1\x03lab\x00"},
		{"\x04\x00\x00\x03vm1\x00", "\x07\xff\xff\x03vm1\x03lab\x00"},
		{"\x01\x00\x00vm1", "\x01\xff\xffvm1.lab"},
		{"\x05\x00\x00\x05wpad \x00", "\x0c\xff\xff"},
	} {
		h := l.say(newGuest(1), discover, opt(optFQDN, []byte(tt.sent)...))
		if got := string(h.Options[optFQDN]); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.sent, got, tt.want)
		}
	}
	if h := l.say(newGuest(1), discover); h.Options[optFQDN] != nil {
		t.Error("option 81 to who did not send it")
	}
}
