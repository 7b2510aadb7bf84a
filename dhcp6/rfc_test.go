package dhcp6

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dhcp"
)

// raw is the data of the first option of a reply with that code, nil without.
func (h *heard) raw(code uint16) []byte {
	options, err := walk(h.Payload[headerLen:])
	if err != nil {
		return nil
	}
	for _, o := range options {
		if uint16(o.Code()) == code {
			return append([]byte{}, o.ToBytes()...)
		}
	}
	return nil
}

// Section 7.2 and 18.3.10: an answer goes to where the message came from, and says
// whose and from whom it is.
func TestRFC8415_18_3_10_Reply(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	r := g.request(solicit, na(1))
	r.VLAN = 7
	h := l.send(r)
	if h.Dst != netip.AddrPortFrom(g.linkLocal(), 546) || h.MAC != g.mac || h.VLAN != 7 || !bytes.Equal(h.TransactionID[:], r.Payload[1:4]) {
		t.Errorf("%+v", h.Reply)
	}
	if !bytes.Equal(h.raw(optClientID), g.duid) {
		t.Errorf("client %x", h.raw(optClientID))
	}
}

// Section 11.4: the server's DUID is made of its link-layer address.
func TestRFC8415_11_4_ServerDUID(t *testing.T) {
	l := newLab(t)
	want := []byte{0, 3, 0, 1, 0x52, 0x54, 0, 1, 2, 3}
	if h := l.say(newGuest(1), solicit, na(1)); !bytes.Equal(h.raw(optServerID), want) {
		t.Errorf("%x, want %x", h.raw(optServerID), want)
	}
}

// Section 16: what is not to be looked at.
func TestRFC8415_16_Validation(t *testing.T) {
	other := opt(optServerID, 0, 3, 0, 1, 9, 9, 9, 9, 9, 9)
	for _, tt := range []struct {
		name    string
		kind    dhcpv6.MessageType
		edit    []func(*dhcpv6.Message)
		change  func(*Request)
		outcome string
	}{
		{"Solicit with a server", solicit, []func(*dhcpv6.Message){na(1), serverID}, nil, "malformed"},
		{"Confirm with a server", confirm, []func(*dhcpv6.Message){na(1, lan(20)), serverID}, nil, "malformed"},
		{"Rebind with a server", rebind, []func(*dhcpv6.Message){na(1, lan(20)), serverID}, nil, "malformed"},
		{"Request to another server", request, []func(*dhcpv6.Message){na(1), other}, nil, "other_server"},
		{"Renew to another server", renew, []func(*dhcpv6.Message){na(1), other}, nil, "other_server"},
		{"Release to another server", release, []func(*dhcpv6.Message){na(1), other}, nil, "other_server"},
		{"Decline to another server", decline, []func(*dhcpv6.Message){na(1), other}, nil, "other_server"},
		{"Information-request to another server", information, []func(*dhcpv6.Message){other}, nil, "other_server"},
		{"Information-request with an IA", information, []func(*dhcpv6.Message){na(1)}, nil, "malformed"},
		{"unicast Solicit", solicit, []func(*dhcpv6.Message){na(1)}, func(r *Request) { r.Multicast = false }, "malformed"},
		{"unicast Confirm", confirm, []func(*dhcpv6.Message){na(1)}, func(r *Request) { r.Multicast = false }, "malformed"},
		{"unicast Rebind", rebind, []func(*dhcpv6.Message){na(1)}, func(r *Request) { r.Multicast = false }, "malformed"},
		{"unicast Information-request", information, nil, func(r *Request) { r.Multicast = false }, "malformed"},
		{"an Advertise", advertise, nil, nil, "ignored"},
		{"a Reply", reply, nil, nil, "ignored"},
		{"a Reconfigure", dhcpv6.MessageTypeReconfigure, nil, nil, "ignored"},
		{"not from its link", solicit, []func(*dhcpv6.Message){na(1)}, func(r *Request) { r.Src = lan(77) }, "wrong_source"},
	} {
		l := newLab(t)
		r := newGuest(1).request(tt.kind, tt.edit...)
		if tt.change != nil {
			tt.change(&r)
		}
		if h := l.send(r); h != nil {
			t.Errorf("%s: answered by %s", tt.name, h.Message.Summary())
		}
		l.wantCount(typeName(tt.kind), tt.outcome, 1)
	}
	// Without a client or a server identifier.
	for _, kind := range []dhcpv6.MessageType{solicit, request, confirm, renew, rebind, release, decline} {
		l := newLab(t)
		g := newGuest(1)
		g.duid = nil
		if h := l.say(g, kind, na(1)); h != nil {
			t.Errorf("%s of nobody is answered", kind)
		}
	}
	for _, kind := range []dhcpv6.MessageType{request, renew, release, decline} {
		l := newLab(t)
		r := newGuest(1).request(kind, na(1))
		r.Payload = bytes.Replace(r.Payload, []byte{0, 2, 0, 10}, []byte{0, 99, 0, 10}, 1)
		if h := l.send(r); h != nil {
			t.Errorf("%s to nobody is answered", kind)
		}
	}
}

// A relay's message is dropped and counted.
func TestRFC8415_19_Relay(t *testing.T) {
	l := newLab(t)
	r := newGuest(1).request(solicit, na(1))
	r.Payload = append([]byte{12, 0}, make([]byte, 32)...)
	if l.send(r) != nil {
		t.Error("answered")
	}
	l.wantCount("relay", "relay", 1)
}

// Section 18.4: who writes to the server alone is told not to, and nothing else happens.
func TestRFC8415_18_4_UseMulticast(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	for _, kind := range []dhcpv6.MessageType{request, renew, release, decline} {
		for _, src := range []netip.Addr{g.linkLocal(), a.Addr()} {
			r := g.request(kind, na(1, a.Addr()))
			r.Multicast, r.Src = false, src
			h := l.send(r)
			if h == nil || h.MessageType != reply || h.top() != dhcpStatusUseMulticast || h.Dst.Addr() != src || len(h.Message.Options.Options) != 3 {
				t.Errorf("%s from %s: %+v", kind, src, h)
			}
		}
	}
	l.wantState(a, dhcp.Active)
}

// Section 18.3.1: a Solicit gets an Advertise, or a Reply with the option where both
// sides want that.
func TestRFC8415_18_3_1_Solicit(t *testing.T) {
	l := newLab(t)
	if h := l.say(newGuest(1), solicit, na(1)); h.MessageType != advertise || h.raw(optRapid) != nil {
		t.Errorf("%s", h.Message.Summary())
	}
	if h := l.say(newGuest(1), solicit, na(1), rapidly); h.MessageType != reply || h.raw(optRapid) == nil {
		t.Errorf("%s", h.Message.Summary())
	}
	// Where nothing can be given there is nothing to commit.
	l.reconfigure(func(c *Config) { c.Ranges = nil })
	if h := l.say(newGuest(2), solicit, na(1), rapidly); h.MessageType != advertise || h.raw(optRapid) != nil || h.status(optIANA, 1) != dhcpStatusNoAddrs {
		t.Errorf("%s", h.Message.Summary())
	}
}

// Section 18.3.2: an address of another link is answered so; a prefix is not.
func TestRFC8415_18_3_2_RequestNotOnLink(t *testing.T) {
	l := newLab(t)
	h := l.say(newGuest(1), request, na(1, ip("2001:db8:99::5")), na(2), pd(3, px("2001:db8:9900::/56")))
	if h.status(optIANA, 1) != dhcpStatusNotOnLink || h.status(optIANA, 2) != -1 || len(h.leases()) != 2 {
		t.Errorf("%s", h.Message.Summary())
	}
}

// Section 18.3.3: a Confirm is about the link and about nothing else.
func TestRFC8415_18_3_3_Confirm(t *testing.T) {
	l := newLab(t)
	for _, tt := range []struct {
		edit func(*dhcpv6.Message)
		want int
	}{
		{na(1, lan(0x77)), dhcpStatusSuccess}, {na(1, lan(0x77), ip("2001:db8:2::1")), dhcpStatusNotOnLink}, {na(1), -1}, {pd(1, px("2001:db8:9900::/56")), -1},
	} {
		switch h := l.say(newGuest(1), confirm, tt.edit); {
		case h == nil && tt.want == -1:
		case h == nil || h.top() != tt.want:
			t.Errorf("%+v, want %d", h, tt.want)
		}
	}
	if l.store.commits != 0 {
		t.Error("a Confirm made a lease")
	}
}

// Section 18.3.4: a Renew of what is not known gets NoBinding; addresses that the
// server does not know of as the client's are to be given up.
func TestRFC8415_18_3_4_Renew(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	a := l.lease(g)
	l.pass(30 * time.Minute)
	h := l.say(g, renew, na(1, a.Addr(), lan(0x99)), na(2, lan(0x55)), pd(3, px("2001:db8:100:100::/56")))
	if h.status(optIANA, 2) != dhcpStatusNoBinding || h.status(optIAPD, 3) != dhcpStatusNoBinding {
		t.Errorf("%s", h.Message.Summary())
	}
	if d := h.lifetimes(); d[a] != time.Hour || d[one(lan(0x99))] != 0 || len(d) != 2 {
		t.Errorf("%v", d)
	}
	if x, _ := l.at(a); !x.Expires.Equal(l.wall.Add(time.Hour)) {
		t.Errorf("%+v", x)
	}
}

// Section 18.3.5: a Rebind of an address of another link says that it is over; of one
// that nobody has the lease is made anew, of another's it is over.
func TestRFC8415_18_3_5_Rebind(t *testing.T) {
	l := newLab(t)
	taken := l.lease(newGuest(9))
	free := lan(0x10)
	if taken == one(free) {
		free = lan(0x11)
	}
	h := l.say(newGuest(1), rebind, na(1, ip("2001:db8:99::5")), na(2, taken.Addr()), na(3, free), na(4))
	d := h.lifetimes()
	if v, ok := d[px("2001:db8:99::5/128")]; !ok || v != 0 {
		t.Errorf("of another link: %v", d)
	}
	if v, ok := d[taken]; !ok || v != 0 {
		t.Errorf("of another client: %v", d)
	}
	if d[one(free)] != time.Hour || h.status(optIANA, 4) != dhcpStatusNoBinding {
		t.Errorf("%s", h.Message.Summary())
	}
	l.wantState(one(free), dhcp.Active)
}

// Section 18.3.6 and 21.23.
func TestRFC8415_18_3_6_InformationRequest(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	h := l.say(g, information, oro(optDNS, optRefresh, optInfMaxRT))
	if h.MessageType != reply || h.raw(optDNS) == nil || !bytes.Equal(h.raw(optRefresh), []byte{0, 0, 0x0e, 0x10}) || !bytes.Equal(h.raw(optInfMaxRT), []byte{0, 0, 0x0e, 0x10}) || h.raw(optSearch) != nil {
		t.Errorf("%s", h.Message.Summary())
	}
	g.duid = nil // it need not say who it is
	if h := l.say(g, information, oro(optSearch)); h == nil || h.raw(optClientID) != nil || h.raw(optSearch) == nil {
		t.Errorf("%+v", h)
	}
	if h := l.say(newGuest(1), solicit, na(1), oro(optRefresh)); h.raw(optRefresh) != nil {
		t.Error("21.23: the refresh time is for this answer only")
	}
	// A server for this alone has no lease time.
	l.reconfigure(func(c *Config) { c.Ranges, c.Delegate, c.Lease = nil, nil, 0 })
	if h := l.say(g, information, oro(optRefresh)); !bytes.Equal(h.raw(optRefresh), []byte{0, 1, 0x51, 0x80}) {
		t.Errorf("%s", h.Message.Summary())
	}
	if len(l.server.Leases()) != 0 {
		t.Error("it made a lease")
	}
}

// Sections 18.3.7 and 18.3.8: success for all of it, NoBinding for what is not known.
func TestRFC8415_18_3_7_Release(t *testing.T) {
	for _, kind := range []dhcpv6.MessageType{release, decline} {
		l := newLab(t)
		g := newGuest(1)
		a := l.lease(g)
		h := l.say(g, kind, na(1, a.Addr()), na(2, lan(0x55)))
		if h.MessageType != reply || h.top() != dhcpStatusSuccess || len(h.Message.Options.IANA()) != 1 || h.status(optIANA, 2) != dhcpStatusNoBinding {
			t.Errorf("%s: %s", kind, h.Message.Summary())
		}
	}
}

// Section 18.3.9: what will not be given is said in the IA; the preference makes a
// client not wait for others (18.2.1).
func TestRFC8415_18_3_9_Advertise(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Delegate = nil })
	h := l.say(newGuest(1), solicit, na(1), pd(2))
	if h.status(optIAPD, 2) != dhcpStatusNoPrefix || len(h.leases()) != 1 || h.top() != -1 || !bytes.Equal(h.raw(optPreference), []byte{255}) {
		t.Errorf("%s", h.Message.Summary())
	}
	l.reconfigure(func(c *Config) { c.Options = []Option{{Code: optPreference, Data: []byte{7}}} })
	if h := l.say(newGuest(1), solicit, na(1)); !bytes.Equal(h.raw(optPreference), []byte{7}) {
		t.Errorf("preference %v", h.raw(optPreference))
	}
	l.reconfigure(func(c *Config) { c.Options = []Option{{Code: optPreference}} })
	if h := l.say(newGuest(1), solicit, na(1)); h.raw(optPreference) != nil {
		t.Error("a preference, although it is left out")
	}
	if h := l.say(newGuest(1), request, na(1), oro(optPreference)); h.raw(optPreference) != nil {
		t.Error("a preference in a Reply")
	}
}

// Section 21.5: there are no temporary addresses.
func TestRFC8415_21_5_TemporaryAddresses(t *testing.T) {
	l := newLab(t)
	for _, kind := range []dhcpv6.MessageType{solicit, request, renew, rebind} {
		h := l.say(newGuest(1), kind, opt(optIATA, 0, 0, 0, 5), na(1))
		if h == nil || h.status(optIATA, 5) != dhcpStatusNoAddrs {
			t.Errorf("%s: %+v", kind, h)
		}
	}
}

// Section 21.4 and 21.6: T1 and T2 are half and four fifths of the preferred lifetime,
// and that is no longer than the valid one; 7.7: all ones are for ever.
func TestRFC8415_21_4_Times(t *testing.T) {
	for _, lease := range []time.Duration{time.Second, 3 * time.Second, time.Hour, 90 * 24 * time.Hour, dhcp.Infinite} {
		l := newLab(t, func(c *Config) { c.Lease = lease })
		h := l.say(newGuest(1), solicit, na(1), pd(2))
		x, y := h.Message.Options.OneIANA(), h.Message.Options.OneIAPD()
		a := x.Options.OneAddress()
		want := min(lease, infiniteOnTheWire*time.Second)
		if a.ValidLifetime != want || a.PreferredLifetime > a.ValidLifetime || a.PreferredLifetime == 0 || x.T1 > x.T2 || x.T2 > a.PreferredLifetime {
			t.Errorf("lease %v: T1 %v, T2 %v, preferred %v, valid %v", lease, x.T1, x.T2, a.PreferredLifetime, a.ValidLifetime)
		}
		if lease == time.Hour && (a.PreferredLifetime != 45*time.Minute || x.T1 != 22*time.Minute+30*time.Second || x.T2 != 36*time.Minute) {
			t.Errorf("T1 %v, T2 %v, preferred %v", x.T1, x.T2, a.PreferredLifetime)
		}
		if y.T1 != x.T1 || y.T2 != x.T2 {
			t.Error("14.2: the times of the IAs differ, and a client renews all at once")
		}
	}
}

// Section 21.7: what is asked for, once and in that order; 21.24: the maximum of
// retransmission.
func TestRFC8415_21_7_OptionRequest(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.NTP = []netip.Addr{ip("2001:db8:1::1"), ip("ff05::101"), ip("192.0.2.1")}
		c.Search = []string{"Lab.example", "example.org."}
		c.Options = []Option{{Code: 41, Data: []byte("Europe/Berlin")}, {Code: optSearch}}
	})
	codes := func(h *heard) (got []uint16) {
		options, _ := walk(h.Payload[headerLen:])
		for _, o := range options[2:] {
			if uint16(o.Code()) != optIANA && uint16(o.Code()) != optPreference {
				got = append(got, uint16(o.Code()))
			}
		}
		return got
	}
	h := l.say(newGuest(1), solicit, na(1), oro(optSolMaxRT, optNTP, 9999, optDNS, optSNTP, optDNS, optSearch, optClientID), oro(41))
	if got, want := codes(h), []uint16{optSolMaxRT, optNTP, optDNS, optSNTP, 41}; !slices.Equal(got, want) {
		t.Errorf("options %v, want %v", got, want)
	}
	if ntp := h.Message.Options.NTPServers(); len(ntp) != 1 || !bytes.Equal(h.raw(optNTP)[20:24], []byte{0, 2, 0, 16}) || len(h.raw(optNTP)) != 40 { // RFC 5908
		t.Errorf("NTP %x", h.raw(optNTP))
	}
	if !bytes.Equal(h.raw(optSolMaxRT), []byte{0, 0, 0x0e, 0x10}) {
		t.Errorf("SOL_MAX_RT %x", h.raw(optSolMaxRT))
	}
	if got := codes(l.say(newGuest(1), solicit, na(1), oro())); len(got) != 0 {
		t.Errorf("an empty list gets %v", got)
	}
	if got := codes(l.say(newGuest(1), solicit, na(1))); len(got) < 5 {
		t.Errorf("no list gets %v", got)
	}
	l.reconfigure(func(c *Config) { c.Options = nil })
	if h := l.say(newGuest(1), solicit, na(1), oro(optSearch)); string(h.raw(optSearch)) != "\x03lab\x07example\x00\x07example\x03org\x00" { // RFC 3646
		t.Errorf("search %q", h.raw(optSearch))
	}
}

// What does not fit into one packet is left out, and never a lease.
func TestRFC8415_7_1_OnePacket(t *testing.T) {
	l := newLab(t, func(c *Config) {
		for i := range 20 {
			c.Options = append(c.Options, Option{Code: uint16(2000 + i), Data: make([]byte, 200)})
		}
	})
	h := l.say(newGuest(1), solicit, na(1))
	if len(h.Payload) > maxReply || len(h.Payload) < maxReply-204 || len(h.leases()) != 1 {
		t.Errorf("%d bytes, leases %v", len(h.Payload), h.leases())
	}
}

// Section 6.3 and RFC 8168: the same as TestPrefixLengths, and a delegated prefix is
// renewed as it is, whatever length is wished for then.
func TestRFC8415_6_3_Delegation(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	p := l.lease(g, pd(1, px("::/60")))
	if got := l.must(l.say(g, renew, pd(1, px("::/56"), p)), reply); got != p {
		t.Errorf("renewed %s, it was %s", got, p)
	}
	if len(l.routes) != 1 || l.routes[0].Prefix != p {
		t.Errorf("routes %v", l.routes)
	}
}
