package dhcp6

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/weft/weft/dhcp"
)

// flooder is a client for every number, behind one port and with one MAC address.
func flooder(i int) *guest {
	g := newGuest(1)
	g.port = "bad"
	g.duid = binary.BigEndian.AppendUint32([]byte{0, 2, 0, 0, 0, 9}, uint32(i))
	return g
}

// TestFlood: one guest with DUIDs without end leaves room for others, of addresses
// and of prefixes.
func TestFlood(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::100", "2001:db8:1::1ff"))
	for i := range 600 {
		l.server.Receive([]Request{flooder(i).request(solicit, na(1), pd(1), rapidly)})
	}
	st := l.server.Stats()
	if n := st.Leases[dhcp.Active] - st.Delegated; n != 192 || st.Free != 64 {
		t.Errorf("%d addresses are its, %d free", n, st.Free)
	}
	if st.Delegated != 12 || st.FreePrefixes != 4 {
		t.Errorf("%d prefixes are its, %d free", st.Delegated, st.FreePrefixes)
	}
	got := 0
	for i := range 100 {
		g := newGuest(1000 + i)
		g.port = "good"
		if h := l.say(g, solicit, na(1), rapidly); len(h.leases()) == 1 {
			got++
		}
	}
	if got != 64 {
		t.Errorf("%d others have an address", got)
	}
	l.wantLog("a client gets no lease", 1)
	l.check()
}

// TestPrefixesAreFew: however many there are to be given, of each of which a route comes.
func TestPrefixesAreFew(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Delegate = []Pool{{Prefix: px("2001:db8:100::/40"), Length: 64}} })
	for i := range 1200 {
		g := flooder(i)
		if i >= 900 {
			g.port = "good"
		}
		l.server.Receive([]Request{g.request(solicit, pd(1), pd(2), rapidly)})
	}
	if st := l.server.Stats(); st.Delegated != maxPrefixes {
		t.Errorf("%d prefixes are given, want %d", st.Delegated, maxPrefixes)
	}
	l.check()
}

// TestFloodOfSolicits fills nothing.
func TestFloodOfSolicits(t *testing.T) {
	l := newLab(t)
	for i := range 2000 {
		l.server.Receive([]Request{flooder(i).request(solicit, na(1), pd(2))})
	}
	e := l.server.engine
	if len(e.bindings)+len(e.clients)+len(e.ports)+len(e.dirty) != 0 || l.store.commits != 0 || l.routed > 1 {
		t.Errorf("%d bindings, %d clients, %d ports, %d dirty, %d commits", len(e.bindings), len(e.clients), len(e.ports), len(e.dirty), l.store.commits)
	}
}

// TestFloodOfDeclines: who declines all that it gets takes its share and no more.
func TestFloodOfDeclines(t *testing.T) {
	l := newLab(t)
	for i := range 100 {
		g := flooder(i)
		h := l.say(g, solicit, na(1), rapidly)
		if h == nil || h.MessageType != reply {
			continue
		}
		l.say(g, decline, na(1, h.leases()[0].Addr()))
	}
	if n := l.server.Stats().Leases[dhcp.Declined]; n != 5 {
		t.Errorf("%d of 10 addresses are in quarantine", n)
	}
	g := newGuest(5)
	g.port = "good"
	l.lease(g)
}

// TestMemoryIsBounded: of a range as big as any, no more is known than a fixed number
// of leases; those that are over make room, those that are not do not.
func TestMemoryIsBounded(t *testing.T) {
	l := newLab(t, withRange("2001:db8:1::", "2001:db8:1::ffff:ffff:ffff:ffff"))
	l.server.engine.most = 100
	ask := func(from, to int) (got int) {
		for i := from; i < to; i++ {
			g := newGuest(i)
			g.port = g.mac.String()
			if h := l.say(g, solicit, na(1), rapidly); h.MessageType == reply {
				got++
			}
		}
		return got
	}
	if n := ask(0, 150); n != 100 || len(l.server.engine.bindings) != 100 {
		t.Errorf("%d got one, %d known", n, len(l.server.engine.bindings))
	}
	l.pass(time.Hour + graceTime)
	if n := ask(200, 260); n != 60 || len(l.server.engine.bindings) != 100 {
		t.Errorf("%d got one, %d known", n, len(l.server.engine.bindings))
	}
	if len(l.store.networks["lan"]) != 100 {
		t.Errorf("%d stored", len(l.store.networks["lan"]))
	}
	l.restart()
	l.check()
}

// TestMaxLeases counts addresses and prefixes together.
func TestMaxLeases(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxLeases = 3 })
	g, h := newGuest(1), newGuest(2)
	h.port = "other"
	a, _, c := l.lease(g), l.lease(g, pd(1)), l.lease(h)
	if x := l.say(h, solicit, pd(1), rapidly); x.status(optIAPD, 1) != dhcpStatusNoPrefix {
		t.Error("one more than the maximum")
	}
	l.must(l.say(g, renew, na(1, a.Addr())), reply)
	l.say(h, release, na(1, c.Addr()))
	l.must(l.say(h, solicit, pd(1), rapidly), reply)
	if x := l.say(h, solicit, na(1), rapidly); len(x.leases()) != 0 {
		t.Error("what it had last is beyond the maximum")
	}
}

// TestBoundsOfAMessage: more than any client asks for is not dealt with.
func TestBoundsOfAMessage(t *testing.T) {
	l := newLab(t)
	for name, tt := range map[string]struct{ ias, addrs int }{"IAs": {maxIAs + 1, 0}, "addresses": {1, maxClaims + 1}} {
		r := newGuest(1).request(solicit)
		for i := range tt.ias {
			data := append(make([]byte, 11), byte(i))
			data[3], data[11] = byte(i), 0
			for j := range tt.addrs {
				data = append(data, 0, optIAAddress, 0, iaAddressLen)
				data = append(append(data, lan(byte(j)).AsSlice()...), make([]byte, 8)...)
			}
			r.Payload = append(binary.BigEndian.AppendUint16(append(r.Payload, 0, optIANA), uint16(len(data))), data...)
		}
		if h := l.send(r); h != nil {
			t.Errorf("too many %s: answered", name)
		}
	}
	l.wantCount("invalid", "malformed", 2)
	// As many as it may are answered, in one packet.
	r := newGuest(1).request(solicit)
	for i := range maxIAs {
		r.Payload = append(r.Payload, 0, optIANA, 0, 12, 0, 0, 0, byte(i), 0, 0, 0, 0, 0, 0, 0, 0)
	}
	if h := l.send(r); h == nil || len(h.Message.Options.IANA()) != maxIAs || len(h.Payload) > maxReply {
		t.Errorf("%+v", h)
	}
}
