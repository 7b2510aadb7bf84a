package uplink

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/weft/weft/ndp"
)

func optionsOf(m *dhcpv6.Message) (codes []dhcpv6.OptionCode) {
	for _, o := range m.Options.Options {
		codes = append(codes, o.Code())
	}
	return codes
}

func addressesIn(m *dhcpv6.Message) (all []netip.Addr) {
	for _, o := range m.Options.OneIANA().Options.Addresses() {
		a, _ := netip.AddrFromSlice(o.IPv6Addr)
		all = append(all, a)
	}
	return all
}

// Clauses 18.2.1, 18.2.2, 18.2.4, 18.2.5 and 21: what stands in the messages of a life.
func TestRFC8415Client_Messages(t *testing.T) {
	s := newTestServer6()
	w := newWorld6(t, Client6Config{DHCP: true}, 1)
	w.answer = s.serve
	w.start().run(10 * time.Second)
	w.has(t, hostPrefix(leasedSix)) // RFC 5942: the address alone
	w.leads(t)
	s.mute = true
	w.run(3 * time.Hour)
	const client, server, elapsed, oro, ia, rapid = dhcpv6.OptionClientID, dhcpv6.OptionServerID, dhcpv6.OptionElapsedTime, dhcpv6.OptionORO, dhcpv6.OptionIANA, dhcpv6.OptionRapidCommit
	want := map[dhcpv6.MessageType][]dhcpv6.OptionCode{
		dhcpv6.MessageTypeSolicit: {client, elapsed, ia, rapid, oro},
		dhcpv6.MessageTypeRequest: {client, server, elapsed, ia, oro},
		dhcpv6.MessageTypeRenew:   {client, server, elapsed, ia, oro},
		dhcpv6.MessageTypeRebind:  {client, elapsed, ia, oro},
	}
	seen := map[dhcpv6.MessageType]bool{}
	first := map[dhcpv6.TransactionID]sent6{}
	for _, p := range w.takeDHCP() {
		m := p.dhcp
		seen[m.Type()] = true
		if got := optionsOf(m); !slices.Equal(got, want[m.Type()]) {
			t.Fatalf("%s has the options %v, want %v", m.Type(), got, want[m.Type()])
		}
		if p.src != own6 || p.dst != netip.MustParseAddr("ff02::1:2") {
			t.Errorf("%s from %v to %v", m.Type(), p.src, p.dst)
		}
		i := m.Options.OneIANA()
		if !bytes.Equal(m.Options.ClientID().ToBytes(), []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 5}) || i.IaId != [4]byte{0, 0, 0, 5} || i.T1 != 0 || i.T2 != 0 {
			t.Errorf("%s: %s, %+v", m.Type(), m.Options.ClientID(), i)
		}
		if given := addressesIn(m); m.Type() != dhcpv6.MessageTypeSolicit && !slices.Equal(given, []netip.Addr{leasedSix}) {
			t.Errorf("%s is about %v", m.Type(), given)
		}
		if !slices.Contains(m.Options.RequestedOptions(), dhcpv6.OptionSolMaxRT) || !slices.Contains(m.Options.RequestedOptions(), dhcpv6.OptionDNSRecursiveNameServer) {
			t.Errorf("%s wants %v", m.Type(), m.Options.RequestedOptions())
		}
		// Clause 21.9: since the first of the exchange, which has a transaction of its own.
		began, again := first[m.TransactionID]
		if !again {
			began, first[m.TransactionID] = p, p
		}
		if got, want := m.Options.ElapsedTime(), min((p.at-began.at).Truncate(10*time.Millisecond), 655350*time.Millisecond); got != want || began.dhcp.Type() != m.Type() {
			t.Errorf("%s: elapsed %v, want %v", m.Type(), got, want)
		}
	}
	if len(seen) != 4 || len(first) < 5 {
		t.Errorf("sent %v in %d exchanges", seen, len(first))
	}
}

// Clauses 7.6, 15 and 18.2: how often messages are sent that nobody answers.
func TestRFC8415Client_Retransmission(t *testing.T) {
	type timing struct {
		first, most time.Duration
		count       int // 0: any
	}
	want := map[dhcpv6.MessageType]timing{
		dhcpv6.MessageTypeSolicit:            {time.Second, time.Hour, 0},
		dhcpv6.MessageTypeRequest:            {time.Second, 30 * time.Second, 10},
		dhcpv6.MessageTypeRenew:              {10 * time.Second, 600 * time.Second, 0},
		dhcpv6.MessageTypeRebind:             {10 * time.Second, 600 * time.Second, 0},
		dhcpv6.MessageTypeConfirm:            {time.Second, 4 * time.Second, 0},
		dhcpv6.MessageTypeDecline:            {time.Second, time.Hour, 4},
		dhcpv6.MessageTypeInformationRequest: {time.Second, time.Hour, 0},
	}
	deaf := func(s *testServer6, kind dhcpv6.MessageType) func(sent6) []event6 {
		return func(p sent6) []event6 {
			if p.dhcp != nil && p.dhcp.Type() == kind {
				return nil
			}
			return s.serve(p)
		}
	}
	arrange := map[dhcpv6.MessageType]func(t *testing.T) *world6{
		dhcpv6.MessageTypeSolicit: func(t *testing.T) *world6 { return ready(t, Client6Config{DHCP: true}) },
		dhcpv6.MessageTypeRequest: func(t *testing.T) *world6 {
			w := ready(t, Client6Config{DHCP: true})
			w.answer = deaf(newTestServer6(), dhcpv6.MessageTypeRequest)
			return w
		},
		dhcpv6.MessageTypeRenew: func(t *testing.T) *world6 {
			s := newTestServer6()
			s.preferred, s.valid = 100*time.Hour, 200*time.Hour
			w := bound6(t, s)
			s.mute = true
			return w
		},
		dhcpv6.MessageTypeConfirm: func(t *testing.T) *world6 {
			s := newTestServer6()
			w := bound6(t, s)
			s.mute = true
			w.m.setLink(w.now, false)
			w.m.setLink(w.now, true)
			return w
		},
		dhcpv6.MessageTypeDecline: func(t *testing.T) *world6 {
			s := newTestServer6()
			w := newWorld6(t, Client6Config{DHCP: true}, 1)
			w.answer = s.serve
			for w.start(); len(w.m.leasedAddresses()) == 0; w.run(time.Millisecond) {
			}
			s.mute = true
			w.do(func(now time.Time) { w.m.claimed(now, leasedSix, otherMAC) })
			return w
		},
		dhcpv6.MessageTypeInformationRequest: func(t *testing.T) *world6 {
			w := ready(t, Client6Config{})
			w.hears(router1, plain(func(a *ndp.Advertisement) { a.Other = true }))
			return w
		},
	}
	arrange[dhcpv6.MessageTypeRebind] = arrange[dhcpv6.MessageTypeRenew]
	for kind, timing := range want {
		t.Run(kind.String(), func(t *testing.T) {
			w := arrange[kind](t)
			w.run(150 * time.Hour)
			var all []time.Duration
			var id dhcpv6.TransactionID
			for _, p := range w.takeDHCP() {
				if p.dhcp.Type() != kind || len(all) > 0 && p.dhcp.TransactionID != id {
					continue
				}
				id = p.dhcp.TransactionID
				all = append(all, p.at)
			}
			if len(all) < 3 || timing.count > 0 && len(all) != timing.count {
				t.Fatalf("sent %d times", len(all))
			}
			wait := time.Duration(0)
			for i, at := range all[1:] {
				gap, least, most := at-all[i], wait*19/10, wait*21/10
				if i == 0 {
					least, most = timing.first*9/10, timing.first*11/10
					if kind == dhcpv6.MessageTypeSolicit {
						least = timing.first
					}
				}
				least, most = min(least, timing.most*9/10), min(most, timing.most*11/10)
				if gap < least || gap > most {
					t.Errorf("%d: after %v, want %v to %v", i+1, gap, least, most)
				}
				wait = gap
			}
		})
	}
}

// Clause 18.2.9: the best of the offers of the first second, or at once the one that wants
// to be; later the first to come. And by rapid commit without an offer.
func TestRFC8415Client_Offers(t *testing.T) {
	addr := netip.MustParseAddr
	offer := func(n byte, preference byte, after time.Duration) *testServer6 {
		s := newTestServer6()
		s.duid = append(slices.Clone(s.duid[:9]), n)
		s.addr, s.late = addr("2001:db8:a::1:0"), after
		b := s.addr.As16()
		b[15] = n
		s.addr = netip.AddrFrom16(b)
		if preference != 0 {
			s.options = []dhcpv6.Option{generic(dhcpv6.OptionPreference, preference)}
		}
		return s
	}
	for _, tt := range []struct {
		name    string
		servers []*testServer6
		want    byte
		within  time.Duration // of the solicitation
		asked   int           // before it takes one
	}{
		{"the first of equals", []*testServer6{offer(1, 0, 1), offer(2, 0, 2)}, 1, 2 * time.Second, 1},
		{"the better one", []*testServer6{offer(1, 0, 1), offer(2, 7, 900*time.Millisecond), offer(3, 5, 1)}, 2, 2 * time.Second, 1},
		{"too late", []*testServer6{offer(1, 0, 1), offer(2, 7, 5*time.Second)}, 1, 2 * time.Second, 1},
		{"at once", []*testServer6{offer(1, 7, 1), offer(2, 255, 10*time.Millisecond)}, 2, 20 * time.Millisecond, 1},
		{"late, and the only one", []*testServer6{offer(4, 0, 1500*time.Millisecond)}, 4, 2 * time.Second, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := ready(t, Client6Config{DHCP: true})
			w.answer = func(p sent6) (all []event6) {
				for _, s := range tt.servers {
					all = append(all, s.serve(p)...)
				}
				return all
			}
			w.run(20 * time.Second)
			var solicit time.Duration
			asked := 0
			for _, p := range w.takeDHCP() {
				if p.dhcp.Type() == dhcpv6.MessageTypeSolicit {
					if asked++; asked == 1 {
						solicit = p.at
					}
					continue
				}
				if id := p.dhcp.Options.ServerID().ToBytes(); id[9] != tt.want || p.at-solicit > tt.within || asked != tt.asked {
					t.Errorf("%s of server %d after %v and %d solicitations", p.dhcp.Type(), id[9], p.at-solicit, asked)
				}
				break
			}
			if l := w.lease(); len(l.Addresses) != 1 || l.Addresses[0].Addr().As16()[15] != tt.want {
				t.Errorf("lease %+v", l)
			}
		})
	}
	t.Run("rapid", func(t *testing.T) {
		s := newTestServer6()
		s.rapid = true
		w := bound6(t, s)
		if w.m.dhcp.failed != 0 {
			t.Error("it failed before")
		}
		s.change = func(m *dhcpv6.Message) {} // a Reply to a Solicit without the option is none
		other := ready(t, Client6Config{DHCP: true})
		other.answer = func(p sent6) []event6 {
			if p.dhcp == nil {
				return nil
			}
			return []event6{{1, give6(router1, s.message(p.dhcp, dhcpv6.MessageTypeReply).ToBytes())}}
		}
		other.run(time.Minute)
		other.isAt(t, dhcp6Soliciting)
	})
}

// Clauses 14.2, 18.2.4, 18.2.5 and 21.4: T1, T2 and the end.
func TestRFC8415Client_Times(t *testing.T) {
	for _, tt := range []struct {
		name             string
		preferred, valid time.Duration
		t1, t2           time.Duration
		renew, rebind    time.Duration // 0: never
	}{
		{"the server's", time.Hour, 2 * time.Hour, 10 * time.Minute, 20 * time.Minute, 10 * time.Minute, 20 * time.Minute},
		{"the client's", time.Hour, 2 * time.Hour, 0, 0, 30 * time.Minute, 48 * time.Minute},
		{"deprecated", 0, 2 * time.Hour, 0, 0, time.Hour, 96 * time.Minute},
		{"T2 alone", time.Hour, 2 * time.Hour, 0, 20 * time.Minute, 20 * time.Minute, 20 * time.Minute},
		{"T1 after what T2 is then", time.Hour, 2 * time.Hour, 50 * time.Minute, 0, 30 * time.Minute, 48 * time.Minute},
		{"after the end", time.Hour, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour, 30 * time.Minute, 48 * time.Minute},
		{"never", time.Hour, 2 * time.Hour, infinite6, infinite6, 0, 0},
		{"for ever", infinite6, infinite6, 0, 0, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newTestServer6()
			s.preferred, s.valid, s.t1, s.t2 = tt.preferred, tt.valid, tt.t1, tt.t2
			w := bound6(t, s)
			given := w.now
			for _, a := range w.m.addresses {
				given = a.valid.Add(-min(tt.valid, eternity))
			}
			s.mute = true
			w.run(given.Add(min(tt.valid, eternity/200)).Sub(w.now) - 1)
			w.has(t, hostPrefix(leasedSix))
			var renew, rebind time.Duration
			for _, p := range w.takeDHCP() {
				at := epoch.Add(p.at).Sub(given)
				switch {
				case p.dhcp.Type() == dhcpv6.MessageTypeRenew && renew == 0:
					renew = at
				case p.dhcp.Type() == dhcpv6.MessageTypeRebind && rebind == 0:
					rebind = at
				}
			}
			if tt.renew == tt.rebind && tt.renew != 0 {
				renew = tt.renew // it goes on to all at once
			}
			if renew != tt.renew || rebind != tt.rebind {
				t.Errorf("renewed after %v, want %v; rebound after %v, want %v", renew, tt.renew, rebind, tt.rebind)
			}
			w.run(1)
			if tt.valid < eternity {
				w.has(t)
				w.isAt(t, dhcp6Soliciting)
			}
		})
	}
}

// A day of renewals, each of the server that gave the address; then that is gone, and
// another one goes on with it.
func TestRFC8415Client_RenewRebind(t *testing.T) {
	s := newTestServer6()
	w := bound6(t, s)
	for range 24 * 12 {
		w.run(5 * time.Minute)
		w.has(t, hostPrefix(leasedSix))
	}
	if n := len(w.takeDHCP()); n < 46 || n > 50 {
		t.Errorf("%d messages in a day", n)
	}
	s.duid = append([]byte{0}, s.duid...) // another one now, which does not hear what is the first's
	w.run(29 * time.Minute)
	w.isAt(t, dhcp6Bound)
	w.run(20 * time.Minute)
	w.isAt(t, dhcp6Bound)
	rebound := w.takeDHCP()
	if len(rebound) < 2 || rebound[len(rebound)-1].dhcp.Type() != dhcpv6.MessageTypeRebind || w.m.problem() != "" {
		t.Errorf("%d messages; problem %q", len(rebound), w.m.problem())
	}
	w.run(time.Hour)
	w.has(t, hostPrefix(leasedSix))
	if got := w.takeDHCP(); len(got) == 0 || got[0].dhcp.Type() != dhcpv6.MessageTypeRenew || !bytes.Equal(got[0].dhcp.Options.ServerID().ToBytes(), s.duid) {
		t.Errorf("then it sends %v", got)
	}
}

// Clause 18.2.10.1: what servers say no to.
func TestRFC8415Client_Status(t *testing.T) {
	t.Run("no addresses offered", func(t *testing.T) {
		s := newTestServer6()
		s.status[dhcpv6.MessageTypeSolicit] = iana.StatusNoAddrsAvail
		s.options = []dhcpv6.Option{generic(dhcpv6.OptionSolMaxRT, 0, 0, 0, 100)}
		w := ready(t, Client6Config{DHCP: true})
		w.answer = s.serve
		w.run(time.Hour)
		w.isAt(t, dhcp6Soliciting)
		if got, want := w.m.problem(), "DHCPv6: server fe80::1 offers no address: NoAddrsAvail (no[31m!)"; got != "no router answers; "+want {
			t.Errorf("problem %q, want %q", got, want)
		}
		if n := len(w.takeDHCP()); n < 36 { // clause 21.24: every 100 s
			t.Errorf("asked %d times", n)
		}
		s.options = []dhcpv6.Option{generic(dhcpv6.OptionSolMaxRT, 0, 0, 0, 59)}
		w.run(5 * time.Minute)
		if w.m.dhcp.solMax != 100*time.Second {
			t.Errorf("SOL_MAX_RT is %v", w.m.dhcp.solMax)
		}
	})
	for _, code := range []iana.StatusCode{iana.StatusNoAddrsAvail, iana.StatusNotOnLink, iana.StatusNoBinding} {
		t.Run("request: "+code.String(), func(t *testing.T) {
			s := newTestServer6()
			s.status[dhcpv6.MessageTypeRequest] = code
			w := ready(t, Client6Config{DHCP: true})
			w.answer = s.serve
			w.run(time.Hour)
			if n := len(w.takeDHCP()); n < 20 || n > 300 { // ever more seldom
				t.Errorf("%d messages in an hour", n)
			}
			delete(s.status, dhcpv6.MessageTypeRequest)
			w.run(3 * time.Minute)
			w.has(t, hostPrefix(leasedSix))
		})
	}
	t.Run("request: failed", func(t *testing.T) {
		s := newTestServer6()
		s.overall[dhcpv6.MessageTypeRequest] = iana.StatusUnspecFail
		w := ready(t, Client6Config{DHCP: true})
		w.answer = s.serve
		w.run(10 * time.Second)
		w.isAt(t, dhcp6Requesting)
		delete(s.overall, dhcpv6.MessageTypeRequest)
		w.run(20 * time.Second)
		w.has(t, hostPrefix(leasedSix))
	})
	t.Run("renew: no binding", func(t *testing.T) {
		s := newTestServer6()
		w := bound6(t, s)
		s.status[dhcpv6.MessageTypeRenew] = iana.StatusNoBinding
		w.run(31 * time.Minute)
		w.isAt(t, dhcp6Bound)
		got := w.takeDHCP()
		if len(got) != 2 || got[1].dhcp.Type() != dhcpv6.MessageTypeRequest || !slices.Equal(addressesIn(got[1].dhcp), []netip.Addr{leasedSix}) {
			t.Errorf("sent %v", got)
		}
		w.has(t, hostPrefix(leasedSix))
	})
	t.Run("renew: taken back", func(t *testing.T) {
		s := newTestServer6()
		w := bound6(t, s)
		s.preferred, s.valid = 0, 0
		w.run(30*time.Minute + 500*time.Millisecond)
		w.has(t)
		if got, want := w.m.problem(), "DHCPv6: server fe80::1 gives no address that will do"; !strings.HasSuffix(got, want) {
			t.Errorf("problem %q, want %q", got, want)
		}
		w.isAt(t, dhcp6Soliciting)
	})
	t.Run("renew: another address", func(t *testing.T) {
		s := newTestServer6()
		w := bound6(t, s)
		s.addr = s.addr.Next()
		w.run(32 * time.Minute)
		w.has(t, hostPrefix(leasedSix), hostPrefix(leasedSix.Next()))
		w.run(90 * time.Minute)
		w.has(t, hostPrefix(leasedSix.Next()))
	})
}

// Clauses 18.2.3 and 18.2.10.3: after the link was down.
func TestRFC8415Client_Confirm(t *testing.T) {
	replug := func(t *testing.T, s *testServer6) *world6 {
		w := bound6(t, s)
		w.m.setLink(w.now, false)
		w.m.setLink(w.now, true)
		return w
	}
	t.Run("holds", func(t *testing.T) {
		w := replug(t, newTestServer6())
		w.run(5 * time.Second)
		w.isAt(t, dhcp6Bound)
		got := w.takeDHCP()
		if len(got) != 1 || got[0].dhcp.Type() != dhcpv6.MessageTypeConfirm || !slices.Equal(addressesIn(got[0].dhcp), []netip.Addr{leasedSix}) ||
			got[0].dhcp.Options.ServerID() != nil || got[0].dhcp.Options.RequestedOptions() != nil {
			t.Errorf("sent %v", got)
		}
		w.has(t, hostPrefix(leasedSix))
	})
	t.Run("nobody knows", func(t *testing.T) {
		s := newTestServer6()
		w := bound6(t, s)
		s.mute = true
		w.m.setLink(w.now, false)
		w.m.setLink(w.now, true)
		w.run(15 * time.Second)
		w.isAt(t, dhcp6Bound)
		w.has(t, hostPrefix(leasedSix))
	})
	t.Run("is not for this link", func(t *testing.T) {
		s := newTestServer6()
		s.overall[dhcpv6.MessageTypeConfirm] = iana.StatusNotOnLink
		w := bound6(t, s)
		s.addr = netip.MustParseAddr("2001:db8:b::50")
		w.m.setLink(w.now, false)
		w.m.setLink(w.now, true)
		w.run(20 * time.Second)
		w.has(t, hostPrefix(s.addr))
	})
}

// Clause 18.2.8: an address that somebody else has goes back, and another one is asked
// for after a while.
func TestRFC8415Client_Decline(t *testing.T) {
	s := newTestServer6()
	w := newWorld6(t, Client6Config{DHCP: true}, 1)
	w.answer = s.serve
	for w.start(); len(w.m.leasedAddresses()) == 0; w.run(time.Millisecond) {
	}
	w.take()
	w.do(func(now time.Time) { w.m.claimed(now, leasedSix, otherMAC) })
	w.run(time.Second)
	got := w.takeDHCP()
	if len(got) != 1 || got[0].dhcp.Type() != dhcpv6.MessageTypeDecline || !slices.Equal(addressesIn(got[0].dhcp), []netip.Addr{leasedSix}) ||
		!bytes.Equal(got[0].dhcp.Options.ServerID().ToBytes(), s.duid) {
		t.Fatalf("sent %v", got)
	}
	if got, want := w.m.problem(), "DHCPv6: 02:00:00:00:00:09 has the address 2001:db8:a::1:50, which server fe80::1 has given"; got != want {
		t.Errorf("problem %q, want %q", got, want)
	}
	w.do(w.m.linkEvent)
	w.run(declineWait - 2*time.Second)
	if w.has(t); len(w.takeDHCP()) != 0 {
		t.Error("it does not wait")
	}
	s.addr = s.addr.Next()
	w.run(10 * time.Second)
	w.has(t, hostPrefix(s.addr))
}

// Clause 18.2.7.
func TestRFC8415Client_Release(t *testing.T) {
	s := newTestServer6()
	w := bound6(t, s)
	w.hears(router1, plain())
	w.do(w.m.release)
	w.has(t)
	w.leads(t)
	w.do(func(now time.Time) { w.m.setLink(now, false) })
	w.do(func(now time.Time) { w.m.setLink(now, true) })
	w.do(w.m.start)
	w.do(w.m.linkEvent)
	w.hears(router1, plain())
	w.run(time.Hour)
	got := w.take()
	if len(got) != 1 || got[0].dhcp.Type() != dhcpv6.MessageTypeRelease || !slices.Equal(addressesIn(got[0].dhcp), []netip.Addr{leasedSix}) ||
		!bytes.Equal(got[0].dhcp.Options.ServerID().ToBytes(), s.duid) {
		t.Errorf("sent %v", got)
	}
	if got := w.m.state(w.now); got != Client6Stopped {
		t.Errorf("state %s", got)
	}
}

// Clauses 18.2.6 and 21.23: name servers alone, and again in their time; and RFC 4861
// clause 4.2: what of DHCPv6 routers want.
func TestRFC8415Client_Information(t *testing.T) {
	s := newTestServer6()
	server := netip.MustParseAddr("2001:db8::53")
	s.options = []dhcpv6.Option{dhcpv6.OptDNS(net.IP(server.AsSlice()), net.IPv6loopback, net.IP(server.AsSlice()))}
	w := ready(t, Client6Config{})
	w.answer = s.serve
	w.hears(router1, plain())
	w.run(time.Minute)
	w.isAt(t, dhcp6Off)
	says := func(managed, other bool) {
		w.hears(router1, plain(func(a *ndp.Advertisement) {
			a.Managed, a.Other, a.DNS, a.DNSLifetime = managed, other, []netip.Addr{router1, server}, ndp.Infinite
		}))
	}
	says(false, true)
	w.run(3 * time.Second)
	w.isAt(t, dhcp6Informed)
	got := w.takeDHCP()
	if len(got) != 1 || !slices.Equal(optionsOf(got[0].dhcp), []dhcpv6.OptionCode{dhcpv6.OptionClientID, dhcpv6.OptionElapsedTime, dhcpv6.OptionORO}) ||
		!slices.Contains(got[0].dhcp.Options.RequestedOptions(), dhcpv6.OptionInformationRefreshTime) ||
		!slices.Contains(got[0].dhcp.Options.RequestedOptions(), dhcpv6.OptionInfMaxRT) {
		t.Fatalf("sent %v", got)
	}
	if got, want := w.lease().DNS, []netip.Addr{server, router1}; !slices.Equal(got, want) { // RFC 8106 clause 5.3.1
		t.Errorf("servers %v, want %v", got, want)
	}
	s.options = append(s.options, generic(dhcpv6.OptionInformationRefreshTime, 0, 0, 0, 9)) // less than IRT_MINIMUM
	refreshes := func(d time.Duration, least, most int) {
		t.Helper()
		for end := w.now.Add(d); w.now.Before(end); w.run(10 * time.Minute) {
			says(false, true)
		}
		if n := len(w.takeDHCP()); n < least || n > most {
			t.Errorf("asked %d times in %v, want %d to %d", n, d, least, most)
		}
	}
	refreshes(24*time.Hour-10*time.Minute, 0, 0)
	refreshes(40*time.Minute, 3, 5)
	says(true, false)
	w.run(5 * time.Second)
	w.isAt(t, dhcp6Bound)
	w.has(t, addressA, hostPrefix(leasedSix))
}
