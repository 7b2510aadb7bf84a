package uplink

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"github.com/weft/weft/dataplane/frame"
)

// forgeries are changes to a right answer that make it none.
var forgeries = map[string]func(*dhcpv4.DHCPv4){
	"xid":                func(d *dhcpv4.DHCPv4) { d.TransactionID[3]++ },
	"chaddr":             func(d *dhcpv4.DHCPv4) { d.ClientHWAddr = []byte{2, 0, 0, 0, 0, 6} },
	"hardware type":      func(d *dhcpv4.DHCPv4) { d.HWType = 6 },
	"request":            func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootRequest },
	"no type":            func(d *dhcpv4.DHCPv4) { delete(d.Options, optType) },
	"long type":          func(d *dhcpv4.DHCPv4) { d.Options[optType] = append(d.Options[optType], 0) },
	"no server":          func(d *dhcpv4.DHCPv4) { delete(d.Options, optServerID) },
	"short server":       func(d *dhcpv4.DHCPv4) { d.Options[optServerID] = []byte{192, 0, 2} },
	"server is a group":  func(d *dhcpv4.DHCPv4) { d.Options[optServerID] = []byte{224, 0, 0, 1} },
	"overload malformed": func(d *dhcpv4.DHCPv4) { d.Options[optOverload] = []byte{1, 2} },
}

// unfit are changes to an answer with an address that no client can live with.
var unfit = map[string]func(*dhcpv4.DHCPv4){
	"no duration":      func(d *dhcpv4.DHCPv4) { delete(d.Options, optLease) },
	"zero duration":    func(d *dhcpv4.DHCPv4) { d.Options[optLease] = []byte{0, 0, 0, 0} },
	"short duration":   func(d *dhcpv4.DHCPv4) { d.Options[optLease] = []byte{0, 1} },
	"mask with a hole": func(d *dhcpv4.DHCPv4) { d.Options[optNetmask] = []byte{255, 0, 255, 0} },
	"mask of nothing":  func(d *dhcpv4.DHCPv4) { d.Options[optNetmask] = []byte{0, 0, 0, 0} },
	"short mask":       func(d *dhcpv4.DHCPv4) { d.Options[optNetmask] = []byte{255, 255} },
	"no address":       func(d *dhcpv4.DHCPv4) { d.YourIPAddr = []byte{0, 0, 0, 0} },
	"group address":    func(d *dhcpv4.DHCPv4) { d.YourIPAddr = []byte{239, 0, 0, 1} },
	"loopback":         func(d *dhcpv4.DHCPv4) { d.YourIPAddr = []byte{127, 0, 0, 1} },
	"first of subnet":  func(d *dhcpv4.DHCPv4) { d.YourIPAddr = []byte{192, 0, 2, 0} },
	"last of subnet":   func(d *dhcpv4.DHCPv4) { d.YourIPAddr = []byte{192, 0, 2, 255} },
}

// No forged or unfit answer moves the client, in any state; the right one does.
func TestClientForgedReplies(t *testing.T) {
	another := func(d *dhcpv4.DHCPv4) { d.Options[optServerID] = []byte{192, 0, 2, 66} }
	elsewhere := func(d *dhcpv4.DHCPv4) { d.YourIPAddr = []byte{192, 0, 2, 77} }
	bad := func(kinds []dhcpv4.MessageType, more ...func(*dhcpv4.DHCPv4)) func(*world, *testServer) [][]byte {
		return func(w *world, s *testServer) (all [][]byte) {
			last := w.sent[len(w.sent)-1].DHCPv4
			for _, kind := range kinds {
				changes := append([]func(*dhcpv4.DHCPv4){}, more...)
				for _, f := range forgeries {
					changes = append(changes, f)
				}
				for _, f := range unfit {
					if kind != dhcpv4.MessageTypeNak {
						changes = append(changes, f)
					}
				}
				for _, change := range changes {
					d := s.message(last, kind)
					change(d)
					all = append(all, d.ToBytes())
				}
			}
			for _, kind := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRelease, dhcpv4.MessageTypeInform, 99} {
				all = append(all, s.message(last, kind).ToBytes())
			}
			return all
		}
	}
	offer, ack, nak := dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak
	right := func(kind dhcpv4.MessageType) func(*dhcpv4.DHCPv4) {
		return func(d *dhcpv4.DHCPv4) { d.Options[optType] = []byte{byte(kind)} }
	}
	tests := []struct {
		state   ClientState
		arrange func(*testing.T, *testServer) *world
		bad     func(*world, *testServer) [][]byte
		good    dhcpv4.MessageType
		then    ClientState
	}{
		{ClientSelecting, fresh, bad([]dhcpv4.MessageType{offer}, right(ack), right(nak)), offer, ClientRequesting},
		{ClientRequesting, offered, bad([]dhcpv4.MessageType{ack, nak}, another, elsewhereOf(ack, elsewhere), right(offer)), ack, ClientChecking},
		{ClientRenewing, aged(time.Hour / 2), bad([]dhcpv4.MessageType{ack, nak}, another, elsewhereOf(ack, elsewhere), right(offer)), ack, ClientBound},
		{ClientRebinding, aged(time.Hour * 7 / 8), bad([]dhcpv4.MessageType{ack, nak}, elsewhereOf(ack, elsewhere), right(offer)), ack, ClientBound},
		{ClientRebooting, replugged, bad([]dhcpv4.MessageType{ack, nak}, elsewhereOf(ack, elsewhere), right(offer)), ack, ClientBound},
		{ClientRenewing, aged(time.Hour / 2), bad(nil), nak, ClientInit},
		{ClientRebinding, aged(time.Hour * 7 / 8), bad(nil), nak, ClientInit},
		{ClientRequesting, offered, bad(nil), nak, ClientInit},
		{ClientRebooting, replugged, bad(nil), nak, ClientInit},
	}
	for _, test := range tests {
		t.Run(test.state.String()+" "+test.good.String(), func(t *testing.T) {
			s := newTestServer()
			w := test.arrange(t, s)
			w.is(t, test.state)
			held, last := w.m.held, w.sent[len(w.sent)-1].DHCPv4
			for i, b := range test.bad(w, s) {
				if w.give(b); w.m.state != test.state || w.m.held != held {
					d, _ := dhcpv4.FromBytes(b)
					t.Fatalf("message %d makes it %s: %s", i, w.m.state, d.Summary())
				}
			}
			w.give(s.message(last, test.good).ToBytes())
			w.is(t, test.then)
			if test.good == nak && w.m.held != nil {
				t.Errorf("it keeps %v", w.m.held.Address)
			}
		})
	}
	t.Run("bound", func(t *testing.T) {
		s := newTestServer()
		w := bound(t, s)
		w.server = nil
		m, _ := dhcpv4.New()
		binary.BigEndian.PutUint32(m.TransactionID[:], w.m.xid)
		m.ClientHWAddr = clientMAC[:]
		for _, kind := range []dhcpv4.MessageType{offer, ack, nak} {
			w.give(s.message(m, kind).ToBytes())
			w.is(t, ClientBound)
		}
	})
}

// elsewhereOf is a change that is one for messages of a kind only; of others it
// takes away the server.
func elsewhereOf(kind dhcpv4.MessageType, change func(*dhcpv4.DHCPv4)) func(*dhcpv4.DHCPv4) {
	return func(d *dhcpv4.DHCPv4) {
		if d.MessageType() == kind {
			change(d)
			return
		}
		delete(d.Options, optServerID)
	}
}

func fresh(t *testing.T, _ *testServer) *world {
	w := newWorld(t, ClientConfig{}, 1).start()
	w.run(0)
	return w
}

func offered(t *testing.T, s *testServer) *world {
	w := fresh(t, s)
	w.give(s.message(w.sent[0].DHCPv4, dhcpv4.MessageTypeOffer).ToBytes())
	w.run(0)
	return w
}

func aged(d time.Duration) func(*testing.T, *testServer) *world {
	return func(t *testing.T, s *testServer) *world {
		w := bound(t, s)
		w.server = nil
		w.run(epoch.Add(d + time.Second).Sub(w.now))
		return w
	}
}

func replugged(t *testing.T, s *testServer) *world {
	w := bound(t, s)
	w.server = nil
	w.m.setLink(w.now, false)
	w.m.setLink(w.now, true)
	w.run(0)
	return w
}

// What the caller does not accept is not asked for, and said.
func TestClientAccept(t *testing.T) {
	s := newTestServer()
	w := newWorld(t, ClientConfig{}, 1)
	w.m.accept = func(l Lease) error {
		if l.Address.Contains(leased) {
			return errors.New("192.0.2.0/24 overlaps network \"lab\"")
		}
		return nil
	}
	w.server = s.serve
	w.start().run(time.Minute)
	w.is(t, ClientSelecting)
	if want := `server 192.0.2.1: 192.0.2.0/24 overlaps network "lab"`; w.m.problem != want {
		t.Errorf("problem %q, want %q", w.m.problem, want)
	}
	s.addr = netip.MustParseAddr("198.51.100.9")
	w.run(2 * time.Minute)
	w.holds(t, s.addr)
	if w.m.problem != "" {
		t.Errorf("problem %q", w.m.problem)
	}
}

// A server that refuses all it is asked for costs three messages a minute, and once
// it is better the client has an address soon.
func TestClientNAKStorm(t *testing.T) {
	s := newTestServer()
	w := newWorld(t, ClientConfig{}, 1)
	w.server = func(m sentMessage) []answer {
		if m.MessageType() == dhcpv4.MessageTypeRequest {
			d := s.message(m.DHCPv4, dhcpv4.MessageTypeNak)
			d.Options[optMessage] = []byte("not\x1b[31m today\n")
			b := d.ToBytes()
			return []answer{{0, b}, {0, b}, {time.Second, b}}
		}
		return s.serve(m)
	}
	w.start().run(time.Hour)
	w.take()
	w.run(24 * time.Hour)
	if n := len(w.take()); n > 24*60*3 {
		t.Errorf("%d messages in a day", n)
	}
	if want := "server 192.0.2.1 refuses 192.0.2.50 (not[31m today)"; w.m.problem != want && w.m.state == ClientInit {
		t.Errorf("problem %q, want %q", w.m.problem, want)
	}
	w.server = s.serve
	w.run(2 * time.Minute)
	w.holds(t, leased)
}

// Whatever servers, links, stations and time do: messages stay within their
// bound, no lease is held past its end or was never given, and in a good world
// the client gets an address.
func TestClientAgainstAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newTestServer()
		w := newWorld(rt, ClientConfig{}, rapid.Uint64().Draw(rt, "seed"))
		given := map[netip.Addr]time.Time{} // when the last lease of it ends
		kinds := []dhcpv4.MessageType{dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak}
		w.server = func(m sentMessage) (all []answer) {
			for range w.rng.IntN(4) {
				a := *s
				a.lease = time.Duration(1+w.rng.IntN(1<<w.rng.IntN(12))) * time.Second
				if w.rng.IntN(3) == 0 {
					a.addr = netip.AddrFrom4([4]byte{192, 0, 2, byte(w.rng.IntN(256))})
				}
				if w.rng.IntN(4) == 0 {
					a.id = netip.MustParseAddr("192.0.2.2")
				}
				kind := kinds[w.rng.IntN(3)]
				if w.rng.IntN(2) == 0 {
					kind = map[dhcpv4.MessageType]dhcpv4.MessageType{dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer}[m.MessageType()]
					if kind == 0 {
						kind = dhcpv4.MessageTypeAck
					}
				}
				d := a.message(m.DHCPv4, kind)
				if w.rng.IntN(4) == 0 {
					for _, f := range forgeries {
						f(d)
						break
					}
				}
				late := time.Duration(w.rng.IntN(2)*w.rng.IntN(6000)) * time.Millisecond
				if end := w.now.Add(late + a.lease); kind == dhcpv4.MessageTypeAck && end.After(given[a.addr]) {
					given[a.addr] = end
				}
				all = append(all, answer{late, d.ToBytes()})
			}
			return all
		}
		holds := func() {
			if l := w.m.held; l != nil && (!w.now.Before(l.Expires) || l.Expires.After(given[l.Address.Addr()])) {
				rt.Fatalf("at %v it holds %v until %v, given until %v", w.now, l.Address, l.Expires, given[l.Address.Addr()])
			}
		}
		w.start()
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "event") {
			case 0:
				w.m.setLink(w.now, false)
			case 1, 2:
				w.m.setLink(w.now, true)
			case 3:
				if w.m.offer != nil {
					w.m.conflict(w.now, w.m.offer.Address.Addr(), frame.MAC{2, 1})
					w.flush()
				}
			}
			w.run(time.Duration(rapid.IntRange(0, 100_000).Draw(rt, "ms")) * time.Millisecond)
			holds()
		}
		if n, most := len(w.sent), maxBurst+int(w.now.Sub(epoch)/sendEvery)+1; n > most {
			rt.Fatalf("%d messages in %v, at most %d", n, w.now.Sub(epoch), most)
		}
		w.due, w.server = nil, s.serve
		w.m.setLink(w.now, true)
		w.run(2 * time.Hour) // of the last lease is nothing left then
		if w.m.state != ClientBound || w.m.held.Address.Addr() != leased {
			rt.Fatalf("in a good world: %s, %+v, %s", w.m.state, w.m.held, w.m.problem)
		}
	})
}
