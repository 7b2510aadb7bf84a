package uplink

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"pgregory.net/rapid"

	"github.com/weft/weft/ndp"
)

func without(code dhcpv6.OptionCode) func(*dhcpv6.Message) {
	return func(m *dhcpv6.Message) { m.Options.Del(code) }
}

func with(code dhcpv6.OptionCode, data ...byte) func(*dhcpv6.Message) {
	return func(m *dhcpv6.Message) { m.UpdateOption(generic(code, data...)) }
}

// forgeries6 are changes to a right answer that make it none (RFC 8415 clause 16).
var forgeries6 = map[string]func(*dhcpv6.Message){
	"transaction":     func(m *dhcpv6.Message) { m.TransactionID[2]++ },
	"no client":       without(dhcpv6.OptionClientID),
	"another client":  with(dhcpv6.OptionClientID, 0, 3, 0, 1, 2, 0, 0, 0, 0, 6),
	"no server":       without(dhcpv6.OptionServerID),
	"short server":    with(dhcpv6.OptionServerID, 0, 3),
	"long server":     with(dhcpv6.OptionServerID, make([]byte, 131)...),
	"request":         func(m *dhcpv6.Message) { m.MessageType = dhcpv6.MessageTypeRequest },
	"reconfigure":     func(m *dhcpv6.Message) { m.MessageType = dhcpv6.MessageTypeReconfigure },
	"malformed IA":    with(dhcpv6.OptionIANA, 1, 2, 3),
	"truncated":       func(m *dhcpv6.Message) { m.AddOption(generic(99, make([]byte, 2000)...)) },
	"empty status":    func(m *dhcpv6.Message) { m.AddOption(generic(dhcpv6.OptionStatusCode)) },
	"malformed inner": with(dhcpv6.OptionIANA, append([]byte{0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0}, 0, 5, 0, 99)...),
}

func inIA(f func(*dhcpv6.OptIANA)) func(*dhcpv6.Message) {
	return func(m *dhcpv6.Message) { f(m.Options.OneIANA()) }
}

func inAddress(f func(*dhcpv6.OptIAAddress)) func(*dhcpv6.Message) {
	return inIA(func(ia *dhcpv6.OptIANA) { f(ia.Options.OneAddress()) })
}

// unfit6 are changes to an answer with an address that no client can live with.
var unfit6 = map[string]func(*dhcpv6.Message){
	"no addresses":     without(dhcpv6.OptionIANA),
	"of another":       inIA(func(ia *dhcpv6.OptIANA) { ia.IaId[3]++ }),
	"T1 after T2":      inIA(func(ia *dhcpv6.OptIANA) { ia.T1, ia.T2 = 20*time.Second, 10*time.Second }), // clause 21.4
	"empty":            inIA(func(ia *dhcpv6.OptIANA) { ia.Options.Options = nil }),
	"preferred longer": inAddress(func(a *dhcpv6.OptIAAddress) { a.PreferredLifetime = a.ValidLifetime + time.Second }), // clause 21.6
	"zero lifetime":    inAddress(func(a *dhcpv6.OptIAAddress) { a.PreferredLifetime, a.ValidLifetime = 0, 0 }),
	"group address":    inAddress(func(a *dhcpv6.OptIAAddress) { a.IPv6Addr = netip.MustParseAddr("ff02::1").AsSlice() }),
	"link-local":       inAddress(func(a *dhcpv6.OptIAAddress) { a.IPv6Addr = router1.AsSlice() }),
	"loopback":         inAddress(func(a *dhcpv6.OptIAAddress) { a.IPv6Addr = netip.IPv6Loopback().AsSlice() }),
	"none":             inAddress(func(a *dhcpv6.OptIAAddress) { a.IPv6Addr = netip.IPv6Unspecified().AsSlice() }),
	"of IPv4":          inAddress(func(a *dhcpv6.OptIAAddress) { a.IPv6Addr = netip.MustParseAddr("::ffff:192.0.2.1").AsSlice() }),
	"status": inAddress(func(a *dhcpv6.OptIAAddress) {
		a.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNotOnLink})
	}),
}

// No forged or unfit offer is taken, and no forged answer; the right one is.
func TestRFC8415Client_Validation(t *testing.T) {
	s := newTestServer6()
	w := ready(t, Client6Config{DHCP: true})
	w.run(1500 * time.Millisecond)
	w.isAt(t, dhcp6Soliciting)
	last := func() *dhcpv6.Message { sent := w.sent[len(w.sent)-1]; return sent.dhcp }
	give := func(kind dhcpv6.MessageType, change func(*dhcpv6.Message)) {
		m := s.message(last(), kind)
		if change != nil {
			change(m)
		}
		w.do(func(now time.Time) { give6(router1, m.ToBytes())(w.m, now) })
	}
	offers := func(changes map[string]func(*dhcpv6.Message)) {
		t.Helper()
		for name, change := range changes {
			if give(dhcpv6.MessageTypeAdvertise, change); w.m.dhcp.offer != nil || w.m.dhcp.state != dhcp6Soliciting {
				t.Fatalf("offer %q is taken", name)
			}
		}
	}
	offers(forgeries6)
	offers(unfit6)
	give(dhcpv6.MessageTypeReply, nil)
	w.isAt(t, dhcp6Soliciting)
	give(dhcpv6.MessageTypeAdvertise, nil)
	w.run(time.Second)
	w.isAt(t, dhcp6Requesting)
	answers := func(state dhcp6State) {
		t.Helper()
		give(dhcpv6.MessageTypeAdvertise, nil)
		if state != dhcp6Rebinding {
			give(dhcpv6.MessageTypeReply, with(dhcpv6.OptionServerID, 0, 3, 0, 1, 2, 0, 0, 0, 0, 2))
		}
		for name, change := range forgeries6 {
			if give(dhcpv6.MessageTypeReply, change); w.m.dhcp.state != state {
				t.Fatalf("answer %q makes it %d", name, w.m.dhcp.state)
			}
		}
	}
	answers(dhcp6Requesting)
	give(dhcpv6.MessageTypeReply, nil)
	w.isAt(t, dhcp6Bound)
	answers(dhcp6Bound)
	s.valid = 9 * time.Hour
	give(dhcpv6.MessageTypeReply, nil) // the same again: nobody has asked
	if left := w.m.addresses[0].valid.Sub(w.now); left > 2*time.Hour {
		t.Errorf("valid for %v", left)
	}
	s.valid = 2 * time.Hour
	w.run(31 * time.Minute)
	w.isAt(t, dhcp6Renewing)
	answers(dhcp6Renewing)
	for name, change := range unfit6 {
		if name == "zero lifetime" {
			continue // it takes the address away
		}
		if give(dhcpv6.MessageTypeReply, change); w.m.dhcp.state != dhcp6Renewing || len(w.m.leasedAddresses()) != 1 {
			t.Fatalf("renewal %q makes it %d with %v", name, w.m.dhcp.state, w.m.leasedAddresses())
		}
	}
	w.run(20 * time.Minute)
	w.isAt(t, dhcp6Rebinding)
	answers(dhcp6Rebinding)
	give(dhcpv6.MessageTypeReply, nil)
	w.isAt(t, dhcp6Bound)
	w.has(t, hostPrefix(leasedSix))
}

// A server that gives many addresses, or one for ever shorter times, costs no more.
func TestClient6GreedyServer(t *testing.T) {
	s := newTestServer6()
	s.change = func(m *dhcpv6.Message) {
		ia := m.Options.OneIANA()
		for a := leasedSix.Next(); ia != nil && len(ia.Options.Options) < 40; a = a.Next() {
			ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice(), PreferredLifetime: 3 * time.Second, ValidLifetime: 3 * time.Second})
		}
	}
	s.preferred, s.valid = 3*time.Second, 3*time.Second
	w := ready(t, Client6Config{DHCP: true})
	w.answer = s.serve
	for range 600 {
		w.run(time.Second)
		if n := len(w.m.addresses); n > maxLeased {
			t.Fatalf("%d addresses", n)
		}
	}
	if n, most := len(w.takeDHCP()), maxBurst+int(600*time.Second/sendEvery)+1; n > most {
		t.Errorf("%d messages in ten minutes, at most %d", n, most)
	}

	other := newTestServer6() // gives another one each time
	other.t1, other.t2 = 10*time.Second, 20*time.Second
	other.change = func(*dhcpv6.Message) { other.addr = other.addr.Next() }
	w = ready(t, Client6Config{DHCP: true})
	w.answer = other.serve
	w.run(10 * time.Minute)
	if n := len(w.m.addresses); n != maxLeased {
		t.Errorf("%d addresses", n)
	}
}

// A link that flaps ten times a second costs no more messages than any other trouble.
func TestClient6FlappingLink(t *testing.T) {
	w := bound6(t, newTestServer6())
	w.run(100 * time.Hour) // in which nothing is saved up
	w.take()
	began := w.now
	for range 10 * 600 {
		w.do(func(now time.Time) { w.m.setLink(now, false) })
		w.do(func(now time.Time) { w.m.setLink(now, true) })
		w.do(w.m.linkEvent)
		w.run(100 * time.Millisecond)
	}
	if n, most := len(w.take()), 2*(maxBurst+int(w.now.Sub(began)/sendEvery)+1); n > most {
		t.Errorf("%d packets in ten minutes, at most %d", n, most)
	}
	w.run(time.Minute)
	w.has(t, hostPrefix(leasedSix))
}

// Whatever routers, servers, links, stations and time do: packets stay within their
// bound, tables in theirs, no address is held past its end or was never given, and in a
// good world the machine gets its addresses.
func TestClient6AgainstAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld6(rt, Client6Config{DHCP: rapid.Bool().Draw(rt, "dhcp")}, rapid.Uint64().Draw(rt, "seed"))
		given := map[netip.Addr]time.Time{} // when the last promise of it ends
		w.answer = func(p sent6) []event6 { return w.anyAnswers(p, given) }
		holds := func() {
			for _, p := range w.lease().Addresses {
				if !w.now.Before(given[p.Addr()]) {
					rt.Fatalf("at %v it has %v, given until %v", w.now, p, given[p.Addr()])
				}
			}
			m := w.m
			if len(m.routers) > maxRouters || len(m.onLink) > maxPrefixes || len(m.routes) > maxRoutes6 || len(m.addresses) > maxPrefixes+maxLeased {
				rt.Fatalf("%d routers, %d prefixes, %d routes, %d addresses", len(m.routers), len(m.onLink), len(m.routes), len(m.addresses))
			}
		}
		w.start()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 7).Draw(rt, "event") {
			case 0:
				w.do(func(now time.Time) { w.m.setLink(now, false) })
			case 1, 2:
				w.do(func(now time.Time) { w.m.setLink(now, true) })
			case 3:
				all := w.m.all()
				w.do(func(now time.Time) { w.m.claimed(now, all[w.rng.IntN(len(all))].addr, otherMAC) })
			case 4:
				w.do(w.m.linkEvent)
			default:
				w.anyRouter(given)
			}
			w.run(time.Duration(rapid.IntRange(0, 100_000).Draw(rt, "ms")) * time.Millisecond)
			holds()
		}
		if n, most := len(w.sent), 2*(maxBurst+int(w.now.Sub(epoch)/sendEvery)+1); n > most {
			rt.Fatalf("%d packets in %v, at most %d", n, w.now.Sub(epoch), most)
		}
		w.answer, w.due = newTestServer6().serve, nil
		w.do(func(now time.Time) { w.m.setLink(now, false) })
		w.do(func(now time.Time) { w.m.setLink(now, true) })
		w.do(w.m.linkEvent)
		w.run(10 * time.Second)
		for range 12 { // of what was said before is nothing left then
			w.hears(router1, plain(func(a *ndp.Advertisement) { a.Managed, a.Preference = true, ndp.High }))
			w.run(15 * time.Minute)
		}
		l := w.lease()
		if !slices.Equal(l.Addresses, []netip.Prefix{addressA, hostPrefix(leasedSix)}) && !slices.Equal(l.Addresses, []netip.Prefix{hostPrefix(leasedSix), addressA}) ||
			l.Routes[len(l.Routes)-1] != via("::/0", router1) {
			rt.Fatalf("in a good world: %+v (%s, DHCPv6 %d)", l, w.m.problem(), w.m.dhcp.state)
		}
	})
}

func (w *world6) promise(given map[netip.Addr]time.Time, a netip.Addr, at time.Time, d time.Duration) {
	if end := at.Add(max(d, twoHours)); end.After(given[a]) {
		given[a] = end
	}
}

// anyRouter lets one of three routers say something.
func (w *world6) anyRouter(given map[netip.Addr]time.Time) {
	seconds := func() time.Duration { return time.Duration(w.rng.IntN(1<<w.rng.IntN(13))) * time.Second }
	from := router1.As16()
	from[15] = byte(w.rng.IntN(3))
	a := ndp.Advertisement{
		Lifetime: seconds(), Preference: ndp.Preference(w.rng.IntN(3) - 1), MTU: uint32(w.rng.IntN(9000)),
		Managed: w.rng.IntN(3) == 0, Other: w.rng.IntN(3) == 0, Retransmit: time.Duration(w.rng.IntN(2000)) * time.Millisecond,
	}
	for range w.rng.IntN(4) {
		p := ndp.Prefix{Prefix: prefixA, OnLink: w.rng.IntN(2) == 0, Autonomous: w.rng.IntN(4) != 0, Valid: seconds(), Preferred: seconds()}
		if w.rng.IntN(2) == 0 {
			p.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 7: byte(w.rng.IntN(40))}), 64-w.rng.IntN(2))
		}
		if p.Valid > 0 {
			w.promise(given, ndp.FromPrefix(p.Prefix, clientMAC), w.now, p.Valid)
		}
		a.Prefixes = append(a.Prefixes, p)
		a.Routes = append(a.Routes, ndp.Route{Prefix: p.Prefix, Lifetime: seconds()})
	}
	w.hears(netip.AddrFrom16(from), a)
}

// anyAnswers is what up to three servers answer, right or wrong.
func (w *world6) anyAnswers(p sent6, given map[netip.Addr]time.Time) (all []event6) {
	if p.dhcp == nil {
		return nil
	}
	kinds := []dhcpv6.MessageType{dhcpv6.MessageTypeAdvertise, dhcpv6.MessageTypeReply}
	for range w.rng.IntN(4) {
		s := newTestServer6()
		s.duid[9] = byte(w.rng.IntN(2))
		s.late = time.Duration(w.rng.IntN(2)*w.rng.IntN(6000)) * time.Millisecond
		s.valid = time.Duration(w.rng.IntN(1<<w.rng.IntN(13))) * time.Second
		s.preferred = s.valid / time.Duration(1+w.rng.IntN(3))
		s.t1, s.t2 = time.Duration(w.rng.IntN(5000))*time.Second, time.Duration(w.rng.IntN(5000))*time.Second
		if w.rng.IntN(3) == 0 {
			s.addr = netip.AddrFrom16([16]byte{0x20, 1, 7: byte(w.rng.IntN(4)), 15: byte(w.rng.IntN(8))})
		}
		if w.rng.IntN(3) == 0 {
			s.status[p.dhcp.Type()] = iana.StatusCode(w.rng.IntN(6))
		}
		if w.rng.IntN(3) == 0 {
			s.options = append(s.options, generic(dhcpv6.OptionRapidCommit), generic(dhcpv6.OptionPreference, byte(w.rng.IntN(256))))
		}
		m := s.message(p.dhcp, kinds[w.rng.IntN(2)])
		w.promise(given, s.addr, w.now.Add(s.late), s.valid)
		all = append(all, event6{s.late, give6(router1, m.ToBytes())})
	}
	return all
}

func FuzzReply6(f *testing.F) {
	m := &dhcpv6.Message{MessageType: dhcpv6.MessageTypeSolicit}
	m.AddOption(generic(dhcpv6.OptionClientID, 0, 3, 0, 1, 2, 0, 0, 0, 0, 5))
	m.AddOption(&dhcpv6.OptIANA{IaId: [4]byte{0, 0, 0, 5}})
	s := newTestServer6()
	s.options = []dhcpv6.Option{generic(dhcpv6.OptionDNSRecursiveNameServer, make([]byte, 33)...), generic(dhcpv6.OptionPreference, 1)}
	f.Add(s.message(m, dhcpv6.MessageTypeAdvertise).ToBytes())
	f.Add(s.message(m, dhcpv6.MessageTypeReply).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := parseReply6(b, [4]byte{0, 0, 0, 5})
		if r == nil {
			return
		}
		for _, l := range r.leased() {
			if !isGlobal(l.addr) || l.preferred > l.valid {
				t.Errorf("leased %+v", l)
			}
		}
		if len(r.leased()) > maxLeased || len(r.dns) > maxResolvers || len(r.text) > maxText {
			t.Errorf("reply %+v", r)
		}
		_, _ = r.iaStatus()
	})
}
