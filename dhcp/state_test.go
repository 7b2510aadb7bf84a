package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestDORA(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	offer := l.say(g, discover)
	a := l.must(offer, offered)
	if !labConfig().Ranges[0].has(a) {
		t.Fatalf("offered %s", a)
	}
	if l.store.commits != 0 {
		t.Error("an offer is stored")
	}
	l.wantState(a, Offered)
	reply := l.say(g, request, requested(a), serverID(lan(1)))
	if got := l.must(reply, ack); got != a || l.store.commits != 1 {
		t.Fatalf("%s after %d commits", got, l.store.commits)
	}
	for _, h := range []*heard{offer, reply} {
		if h.TransactionID != (dhcpv4.TransactionID{1, 2, 3, 1}) || h.OpCode != dhcpv4.OpcodeBootReply || h.ServerIdentifier().String() != "192.168.7.1" {
			t.Errorf("%s", h.Summary())
		}
		if h.IPAddressLeaseTime(0) != time.Hour || h.IPAddressRenewalTime(0) != 30*time.Minute || h.IPAddressRebindingTime(0) != 3150*time.Second {
			t.Errorf("times: %s", h.Summary())
		}
		if h.Dst != netip.AddrPortFrom(a, 68) || h.Reply.MAC != g.mac {
			t.Errorf("sent to %v %v", h.Dst, h.Reply.MAC)
		}
	}
	x, _ := l.at(a)
	if x.State != Active || x.MAC != g.mac || x.Kind != Dynamic || x.Port != "vm" || !x.Granted.Equal(l.wall) || !x.Expires.Equal(l.wall.Add(time.Hour)) {
		t.Errorf("%+v", x)
	}
	l.check()
}

func (r Range) has(a netip.Addr) bool { return r.First.Compare(a) <= 0 && a.Compare(r.Last) <= 0 }

// TestRequestStates goes through RFC 2131 tables 4 and 5 and section 4.3.2: what
// a client knows, what it fills in, and what it hears.
func TestRequestStates(t *testing.T) {
	const silence = dhcpv4.MessageType(0)
	other := newGuest(2)
	type options = []func(*dhcpv4.DHCPv4)
	for _, tt := range []struct {
		name   string
		leased bool // the client has had 192.168.7.10 for ten minutes; another one has .11
		edit   options
		want   dhcpv4.MessageType
		plain  dhcpv4.MessageType // where the server is not authoritative
	}{
		{"SELECTING, its own lease again", true, options{requested(lan(10)), serverID(lan(1))}, ack, ack},
		{"SELECTING, what was not offered", false, options{requested(lan(10)), serverID(lan(1))}, nak, nak},
		{"SELECTING, the lease of another", true, options{requested(lan(11)), serverID(lan(1))}, nak, nak},
		{"SELECTING, what another is offered", true, options{requested(lan(13)), serverID(lan(1))}, nak, nak},
		{"INIT-REBOOT, what another is offered", true, options{requested(lan(13))}, nak, nak},
		{"SELECTING, the gateway", true, options{requested(lan(1)), serverID(lan(1))}, nak, nak},
		{"SELECTING, another server", true, options{requested(lan(10)), serverID(lan(2))}, silence, silence},
		{"SELECTING, without an address", true, options{serverID(lan(1))}, silence, silence},
		{"INIT-REBOOT, right", true, options{requested(lan(10))}, ack, ack},
		{"INIT-REBOOT, another of its network", true, options{requested(lan(12))}, nak, nak},
		{"INIT-REBOOT, the lease of another", true, options{requested(lan(11))}, nak, nak},
		{"INIT-REBOOT, wrong network", true, options{requested(ip("10.9.9.9"))}, nak, nak},
		{"INIT-REBOOT, unknown client, wrong network", false, options{requested(ip("10.9.9.9"))}, nak, nak},
		{"INIT-REBOOT, unknown client", false, options{requested(lan(10))}, nak, silence},
		{"RENEWING, right", true, options{ciaddr(lan(10))}, ack, ack},
		{"RENEWING, right, with a server identifier", true, options{ciaddr(lan(10)), serverID(lan(1))}, ack, ack},
		{"RENEWING, the lease of another", true, options{ciaddr(lan(11))}, nak, silence},
		{"RENEWING, unknown client", false, options{ciaddr(lan(10))}, nak, silence},
		{"REBINDING, wrong network", true, options{ciaddr(ip("10.9.9.9")), broadcastBit}, nak, nak},
		{"REBINDING by a relay", true, options{ciaddr(lan(10)), giaddr(lan(99))}, ack, ack},
		{"a relay of another subnet", true, options{ciaddr(lan(10)), giaddr(ip("10.0.0.1"))}, silence, silence},
		{"nothing filled in", true, nil, silence, silence},
	} {
		for _, authoritative := range []bool{true, false} {
			l := newLab(t, func(c *Config) { c.Authoritative = authoritative })
			g := newGuest(1)
			l.lease(other, requested(lan(11)))
			if tt.leased {
				l.lease(g, requested(lan(10)))
			}
			l.pass(10 * time.Minute)
			l.must(l.say(newGuest(3), discover, requested(lan(13))), offered)
			want := tt.want
			if !authoritative {
				want = tt.plain
			}
			h := l.say(g, request, tt.edit...)
			got := silence
			if h != nil {
				got = h.MessageType()
			}
			if got != want {
				t.Errorf("%s, authoritative %v: %s, want %s", tt.name, authoritative, got, want)
			}
			if h != nil && got == nak && (h.YourIPAddr.String() != "0.0.0.0" || h.ServerIPAddr.String() != "0.0.0.0" || h.IPAddressLeaseTime(0) != 0 || h.Message() == "") {
				t.Errorf("%s: NAK with too much or too little: %s", tt.name, h.Summary())
			}
			x, _ := l.at(lan(10))
			if want == ack && !x.Expires.Equal(l.wall.Add(time.Hour)) {
				t.Errorf("%s: expires %v", tt.name, x.Expires)
			}
			l.wantState(lan(11), Active)
			l.check()
		}
	}
}

// TestDestinations is RFC 2131 section 4.1.
func TestDestinations(t *testing.T) {
	relay := newGuest(200)
	for _, tt := range []struct {
		name string
		kind dhcpv4.MessageType
		edit []func(*dhcpv4.DHCPv4)
		want string
		mac  func(g *guest) any
		sent dhcpv4.MessageType
	}{
		{"yiaddr", request, []func(*dhcpv4.DHCPv4){requested(lan(10))}, "192.168.7.10:68", func(g *guest) any { return g.mac }, ack},
		{"broadcast flag", request, []func(*dhcpv4.DHCPv4){requested(lan(10)), broadcastBit}, "255.255.255.255:68", func(*guest) any { return broadcastMAC }, ack},
		{"ciaddr", request, []func(*dhcpv4.DHCPv4){ciaddr(lan(10))}, "192.168.7.10:68", func(*guest) any { return relay.mac }, ack},
		{"ciaddr and the flag", request, []func(*dhcpv4.DHCPv4){ciaddr(lan(10)), broadcastBit}, "192.168.7.10:68", func(*guest) any { return relay.mac }, ack},
		{"giaddr", request, []func(*dhcpv4.DHCPv4){ciaddr(lan(10)), giaddr(lan(99))}, "192.168.7.99:67", func(*guest) any { return relay.mac }, ack},
		{"NAK", request, []func(*dhcpv4.DHCPv4){requested(lan(12))}, "255.255.255.255:68", func(*guest) any { return broadcastMAC }, nak},
		{"NAK of a renewal", request, []func(*dhcpv4.DHCPv4){ciaddr(lan(12))}, "255.255.255.255:68", func(*guest) any { return broadcastMAC }, nak},
		{"NAK by a relay", request, []func(*dhcpv4.DHCPv4){requested(lan(12)), giaddr(lan(99))}, "192.168.7.99:67", func(*guest) any { return relay.mac }, nak},
		{"INFORM", inform, []func(*dhcpv4.DHCPv4){ciaddr(lan(77))}, "192.168.7.77:68", func(*guest) any { return relay.mac }, ack},
	} {
		l := newLab(t)
		g := newGuest(1)
		l.lease(g, requested(lan(10)))
		l.sent = nil
		r := g.request(tt.kind, tt.edit...)
		r.VLAN, r.MAC = 7, relay.mac // the frame comes from a relay or a router
		l.server.Receive([]Request{r})
		out := l.hear()
		if len(out) != 1 {
			t.Errorf("%s: %d replies", tt.name, len(out))
			continue
		}
		h := out[0]
		if h.Dst.String() != tt.want || any(h.Reply.MAC) != tt.mac(g) || h.VLAN != 7 || h.MessageType() != tt.sent {
			t.Errorf("%s: %s to %s %s, VLAN %d; want %s", tt.name, h.MessageType(), h.Dst, h.Reply.MAC, h.VLAN, tt.want)
		}
		if tt.name == "NAK by a relay" && !h.IsBroadcast() {
			t.Errorf("%s: the relay is not told to broadcast", tt.name)
		}
	}
}

func TestOtherServerFreesOffer(t *testing.T) {
	l := newLab(t)
	a := l.must(l.say(newGuest(1), discover), offered)
	if h := l.say(newGuest(1), request, requested(ip("192.168.7.200")), serverID(lan(200))); h != nil {
		t.Fatalf("%s", h.Summary())
	}
	if _, ok := l.at(a); ok {
		t.Error("the offer still stands")
	}
	l.wantCount("request", "other_server", 1)
	if h := l.say(newGuest(1), request, requested(a), serverID(lan(1))); l.must(h, nak).IsValid() && h.yours() != netip.IPv4Unspecified() {
		t.Errorf("%s", h.Summary())
	}
}

func TestOfferEnds(t *testing.T) {
	l := newLab(t)
	a := l.must(l.say(newGuest(1), discover), offered)
	l.pass(29 * time.Second)
	l.wantState(a, Offered)
	l.pass(time.Second)
	if x, ok := l.at(a); ok {
		t.Errorf("still there: %+v", x)
	}
	if l.renewOffer(newGuest(1), a) != nak {
		t.Error("granted an offer that was over")
	}
	l.check()
}

func (l *lab) renewOffer(g *guest, a netip.Addr) dhcpv4.MessageType {
	h := l.say(g, request, requested(a), serverID(lan(1)))
	if h == nil {
		return 0
	}
	return h.MessageType()
}

func TestExpiry(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	l.pass(50 * time.Minute)
	if l.renew(g, a) != ack {
		t.Fatal("not renewed")
	}
	l.pass(59 * time.Minute)
	l.wantState(a, Active)
	l.pass(time.Minute)
	l.wantState(a, Expired)
	// Nobody needed it, so it is still its own: on request and on DISCOVER.
	if got := l.must(l.say(g, discover), offered); got != a {
		t.Errorf("offered %s, had %s", got, a)
	}
	if l.renew(g, a) != ack {
		t.Error("not renewed after it was over")
	}
	l.wantState(a, Active)
	l.check()
}

func TestInfinite(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Lease = Infinite })
	a := l.lease(newGuest(1))
	h := l.say(newGuest(1), request, requested(a))
	if l.must(h, ack); h.IPAddressRenewalTime(7) != 7 || h.IPAddressLeaseTime(0) != infiniteOnTheWire*time.Second {
		t.Errorf("%s", h.Summary())
	}
	l.restart()
	l.mono += 100 * 365 * 24 * time.Hour
	l.wall = l.wall.AddDate(100, 0, 0)
	l.server.Tick()
	if x, _ := l.at(a); x.State != Active || !x.Expires.IsZero() {
		t.Errorf("%+v", x)
	}
	// What the last answer said holds, also where that is less.
	l.reconfigure(func(c *Config) { c.Lease = time.Hour })
	if h := l.say(newGuest(1), request, ciaddr(a)); h.IPAddressLeaseTime(0) != time.Hour {
		t.Errorf("%s", h.Summary())
	}
	if x, _ := l.at(a); !x.Expires.Equal(l.wall.Add(time.Hour)) {
		t.Errorf("%+v", x)
	}
	l.restart()
	if x, _ := l.at(a); !x.Expires.Equal(l.wall.Add(time.Hour)) {
		t.Errorf("after a restart: %+v", x)
	}
	l.pass(time.Hour)
	l.wantState(a, Expired)
}

func TestShorterWish(t *testing.T) {
	for _, tt := range []struct{ wish, want time.Duration }{
		{10 * time.Minute, 10 * time.Minute}, {time.Second, 2 * time.Minute}, {5 * time.Hour, time.Hour}, {0, time.Hour},
	} {
		l := newLab(t)
		h := l.say(newGuest(1), discover, opt(optLease, 0, 0, byte(tt.wish/time.Second>>8), byte(tt.wish/time.Second)))
		if l.must(h, offered); h.IPAddressLeaseTime(0) != tt.want {
			t.Errorf("asked for %v: %v, want %v", tt.wish, h.IPAddressLeaseTime(0), tt.want)
		}
	}
}

// TestShortenedPromise: a lease ends when the last answer said.
func TestShortenedPromise(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	l.reconfigure(func(c *Config) { c.Lease = 2 * time.Minute })
	if l.renew(g, a) != ack {
		t.Fatal("not renewed")
	}
	l.restart()
	l.pass(2*time.Minute - time.Second)
	l.wantState(a, Active)
	l.pass(time.Second)
	l.wantState(a, Expired)
}
