package uplink

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

var (
	own6      = ndp.LinkLocal(clientMAC)
	router1   = netip.MustParseAddr("fe80::1")
	router2   = netip.MustParseAddr("fe80::2")
	prefixA   = netip.MustParsePrefix("2001:db8:a::/64")
	prefixB   = netip.MustParsePrefix("2001:db8:b::/64")
	addressA  = netip.MustParsePrefix("2001:db8:a::ff:fe00:5/64")
	addressB  = netip.MustParsePrefix("2001:db8:b::ff:fe00:5/64")
	leasedSix = netip.MustParseAddr("2001:db8:a::1:50")
	otherMAC  = frame.MAC{2, 0, 0, 0, 0, 9}
	default6  = netip.MustParsePrefix("::/0")
)

// world6 is a machine, its clock, and whoever answers it.
type world6 struct {
	t      fataler
	m      *client6Machine
	now    time.Time
	sent   []sent6
	answer func(sent6) []event6 // nil: nobody does
	due    []timed6
	rng    *rand.Rand
}

// sent6 is a packet of the machine's: dhcp is nil for neighbour discovery.
type sent6 struct {
	at time.Duration // since epoch
	packet6
	kind uint8 // of ICMPv6
	dhcp *dhcpv6.Message
}

// event6 is something that happens to the machine, and how late.
type event6 struct {
	after time.Duration
	do    func(*client6Machine, time.Time)
}

type timed6 struct {
	at time.Time
	do func(*client6Machine, time.Time)
}

func newWorld6(t fataler, cfg Client6Config, seed uint64) *world6 {
	cfg.MAC = clientMAC
	rng := rand.New(rand.NewPCG(seed, 7))
	return &world6{t: t, m: newClient6Machine(cfg, rng), now: epoch, rng: rng}
}

func (w *world6) start() *world6 {
	w.do(w.m.start)
	return w
}

// do lets one thing happen.
func (w *world6) do(f func(time.Time)) {
	f(w.now)
	w.flush()
}

// run lets time go by.
func (w *world6) run(d time.Duration) {
	end := w.now.Add(d)
	for at, same := w.now, 0; ; {
		next, event := w.m.next(w.now), -1
		for i, d := range w.due {
			if d.at.Before(next) || event < 0 && d.at.Equal(next) {
				next, event = d.at, i
			}
		}
		if next.After(end) {
			w.now = end
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		if same++; at != w.now {
			at, same = w.now, 0
		} else if same > 200 {
			w.t.Fatalf("it spins in state %s (DHCPv6 %d)", w.m.state(w.now), w.m.dhcp.state)
		}
		if event >= 0 {
			do := w.due[event].do
			w.due = slices.Delete(w.due, event, event+1)
			do(w.m, w.now)
		} else {
			w.m.tick(w.now)
		}
		w.flush()
	}
}

// flush takes what the machine wants sent.
func (w *world6) flush() {
	for _, p := range w.m.out {
		s := sent6{at: w.now.Sub(epoch), packet6: p}
		if p.message != nil {
			s.kind = p.message[0]
		} else {
			m, err := dhcpv6.MessageFromBytes(p.dhcp)
			if err != nil {
				w.t.Fatalf("it sends what is no message: %v", err)
			}
			s.dhcp = m
		}
		w.sent = append(w.sent, s)
		if w.answer == nil {
			continue
		}
		for _, e := range w.answer(s) {
			w.due = append(w.due, timed6{w.now.Add(e.after), e.do})
		}
	}
	w.m.out = w.m.out[:0]
}

// take returns what was sent since it was last called.
func (w *world6) take() []sent6 {
	s := w.sent
	w.sent = nil
	return s
}

// takeDHCP is take for messages of DHCPv6.
func (w *world6) takeDHCP() (all []sent6) {
	for _, s := range w.take() {
		if s.dhcp != nil {
			all = append(all, s)
		}
	}
	return all
}

// takeKind is take for ICMPv6 messages of one kind.
func (w *world6) takeKind(kind uint8) (all []sent6) {
	for _, s := range w.take() {
		if s.dhcp == nil && s.kind == kind {
			all = append(all, s)
		}
	}
	return all
}

// ready returns a world whose machine has its link-local address.
func ready(t fataler, cfg Client6Config) *world6 {
	w := newWorld6(t, cfg, 1).start()
	w.run(2 * time.Second)
	if w.m.local.state != dadAssigned {
		w.t.Fatalf("link-local address: %d", w.m.local.state)
	}
	w.take()
	return w
}

// hears lets a router speak.
func (w *world6) hears(from netip.Addr, a ndp.Advertisement) {
	w.do(func(now time.Time) { w.m.advertised(now, from, &a) })
}

// plain is what a router says that has one prefix, with changes.
func plain(changes ...func(*ndp.Advertisement)) ndp.Advertisement {
	a := ndp.Advertisement{
		Lifetime: 30 * time.Minute,
		Prefixes: []ndp.Prefix{{Prefix: prefixA, OnLink: true, Autonomous: true, Valid: 24 * time.Hour, Preferred: 4 * time.Hour}},
	}
	for _, c := range changes {
		c(&a)
	}
	return a
}

func (w *world6) lease() Lease6 { return w.m.lease(w.now) }

// has checks the addresses.
func (w *world6) has(t *testing.T, want ...netip.Prefix) {
	t.Helper()
	if got := w.lease().Addresses; !slices.Equal(got, want) {
		t.Fatalf("after %v in state %s it has %v, want %v (%s)", w.now.Sub(epoch), w.m.state(w.now), got, want, w.m.problem())
	}
}

// leads checks the routes.
func (w *world6) leads(t *testing.T, want ...dataplane.Route) {
	t.Helper()
	if got := w.lease().Routes; !slices.Equal(got, want) {
		t.Fatalf("after %v it has the routes %v, want %v", w.now.Sub(epoch), got, want)
	}
}

func via(destination string, router netip.Addr) dataplane.Route {
	return dataplane.Route{Destination: netip.MustParsePrefix(destination), Via: router}
}

func (w *world6) isAt(t *testing.T, want dhcp6State) {
	t.Helper()
	if w.m.dhcp.state != want {
		t.Fatalf("after %v: DHCPv6 state %d, want %d (%s)", w.now.Sub(epoch), w.m.dhcp.state, want, w.m.problem())
	}
}

// testServer6 answers as a server does that knows one address for the client.
type testServer6 struct {
	duid             []byte
	from             netip.Addr
	addr             netip.Addr
	preferred, valid time.Duration
	t1, t2           time.Duration
	rapid, mute      bool
	status           map[dhcpv6.MessageType]iana.StatusCode // of the addresses, in answer to a kind
	overall          map[dhcpv6.MessageType]iana.StatusCode // of the message
	options          []dhcpv6.Option                        // more of them
	change           func(*dhcpv6.Message)
	late             time.Duration
}

func newTestServer6() *testServer6 {
	return &testServer6{
		duid: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, from: router1, addr: leasedSix, late: time.Millisecond,
		preferred: time.Hour, valid: 2 * time.Hour, status: map[dhcpv6.MessageType]iana.StatusCode{}, overall: map[dhcpv6.MessageType]iana.StatusCode{},
	}
}

func generic(code dhcpv6.OptionCode, data ...byte) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: data}
}

// message answers one of the client's.
func (s *testServer6) message(m *dhcpv6.Message, kind dhcpv6.MessageType) *dhcpv6.Message {
	r := &dhcpv6.Message{MessageType: kind, TransactionID: m.TransactionID}
	r.AddOption(generic(dhcpv6.OptionClientID, m.GetOneOption(dhcpv6.OptionClientID).ToBytes()...))
	r.AddOption(generic(dhcpv6.OptionServerID, s.duid...))
	if ia := m.Options.OneIANA(); ia != nil && m.Type() != dhcpv6.MessageTypeConfirm {
		answer := &dhcpv6.OptIANA{IaId: ia.IaId, T1: s.t1, T2: s.t2}
		if code := s.status[m.Type()]; code != iana.StatusSuccess {
			answer.Options.Add(&dhcpv6.OptStatusCode{StatusCode: code, StatusMessage: "no\x1b[31m!"})
		} else {
			answer.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: s.addr.AsSlice(), PreferredLifetime: s.preferred, ValidLifetime: s.valid})
		}
		r.AddOption(answer)
	}
	if code, ok := s.overall[m.Type()]; ok {
		r.AddOption(&dhcpv6.OptStatusCode{StatusCode: code})
	}
	for _, o := range s.options {
		r.AddOption(o)
	}
	if s.change != nil {
		s.change(r)
	}
	return r
}

func (s *testServer6) serve(sent sent6) []event6 {
	if s.mute || sent.dhcp == nil {
		return nil
	}
	kind := dhcpv6.MessageTypeReply
	m := sent.dhcp
	if m.Type() == dhcpv6.MessageTypeSolicit && !s.rapid {
		kind = dhcpv6.MessageTypeAdvertise
	}
	if id := m.GetOneOption(dhcpv6.OptionServerID); id != nil && !slices.Equal(id.ToBytes(), s.duid) {
		return nil
	}
	r := s.message(m, kind)
	if m.Type() == dhcpv6.MessageTypeSolicit && s.rapid {
		r.AddOption(generic(dhcpv6.OptionRapidCommit))
	}
	return []event6{{s.late, give6(s.from, r.ToBytes())}}
}

// give6 hands the machine a message of a server.
func give6(from netip.Addr, b []byte) func(*client6Machine, time.Time) {
	return func(m *client6Machine, now time.Time) {
		if r := parseReply6(b, m.cfg.iaid()); r != nil {
			r.from = from
			m.receive(now, r)
		}
	}
}

// bound6 returns a world whose client has an address of a server, and nothing else.
func bound6(t *testing.T, s *testServer6) *world6 {
	t.Helper()
	w := newWorld6(t, Client6Config{DHCP: true}, 1)
	w.answer = s.serve
	w.start().run(10 * time.Second)
	w.isAt(t, dhcp6Bound)
	w.has(t, hostPrefix(leasedSix))
	w.take()
	return w
}
