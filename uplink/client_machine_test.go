package uplink

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane/frame"
)

// The messages of an exchange say what RFC 2131 table 5 wants of them.
func TestClientExchange(t *testing.T) {
	w := newWorld(t, ClientConfig{Hostname: "gate"}, 1)
	w.server = newTestServer().serve
	w.start().run(0)
	w.is(t, ClientSelecting)
	w.run(time.Millisecond)
	w.is(t, ClientRequesting)
	w.run(time.Millisecond)
	w.is(t, ClientChecking)
	w.holds(t, netip.Addr{}) // not before it was probed
	w.run(probeTries * probeWait)
	w.is(t, ClientBound)
	w.holds(t, leased)
	if len(w.sent) != 2 || len(w.probed) != probeTries || w.probed[0] != leased {
		t.Fatalf("sent %v, probed %v", w.sent, w.probed)
	}
	for i, m := range w.sent {
		if m.src.IsValid() || m.dst != broadcastAddr || !m.IsBroadcast() || !m.ClientIPAddr.IsUnspecified() ||
			m.HostName() != "gate" || string(m.Options[optPRL]) != string(wanted) || string(m.Options[optClientID]) != "\x01\x02\x00\x00\x00\x00\x05" ||
			m.TransactionID != w.sent[0].TransactionID {
			t.Errorf("message %d: %v", i, m.Summary())
		}
	}
	if d := w.sent[0]; d.MessageType() != dhcpv4.MessageTypeDiscover || serverOf(d.DHCPv4).IsValid() || requestedOf(d.DHCPv4).IsValid() {
		t.Errorf("DISCOVER: %s", d.Summary())
	}
	if r := w.sent[1]; r.MessageType() != dhcpv4.MessageTypeRequest || serverOf(r.DHCPv4) != serverAddr || requestedOf(r.DHCPv4) != leased {
		t.Errorf("REQUEST: %s", r.Summary())
	}
	if l := w.m.held; l.Address.Bits() != 24 || l.Gateway != serverAddr || l.Server != serverAddr || l.Duration != time.Hour ||
		!l.Expires.Equal(epoch.Add(time.Hour+time.Millisecond)) {
		t.Errorf("lease %+v: it counts from when it was asked for", l)
	}
}

// A day of an hour's leases, each renewed halfway by its own server.
func TestClientRenewsForADay(t *testing.T) {
	w := bound(t, newTestServer())
	for range 24 * 60 {
		w.run(time.Minute)
		w.holds(t, leased)
	}
	sent := w.take()
	if len(sent) < 47 || len(sent) > 52 {
		t.Errorf("%d messages in a day, want one every half hour", len(sent))
	}
	last := time.Duration(0)
	for _, m := range sent {
		if m.MessageType() != dhcpv4.MessageTypeRequest || m.dst != serverAddr || m.src != leased || m.IsBroadcast() ||
			!m.ClientIPAddr.Equal(leased.AsSlice()) || requestedOf(m.DHCPv4).IsValid() || serverOf(m.DHCPv4).IsValid() {
			t.Fatalf("renewal: from %v to %v: %s", m.src, m.dst, m.Summary())
		}
		if d := m.at - last; d > 30*time.Minute+time.Second {
			t.Errorf("%v between two renewals", d)
		}
		last = m.at
	}
}

func TestClientTimesOfTheServer(t *testing.T) {
	s := newTestServer()
	s.options = dhcpv4.Options{optRenewal: {0, 0, 0, 100}, optRebinding: {0, 0, 0, 200}}
	w := bound(t, s)
	s.mute = true
	w.run(95 * time.Second)
	w.is(t, ClientRenewing)
	w.run(100 * time.Second)
	w.is(t, ClientRebinding)
	s.options = dhcpv4.Options{optRenewal: {0, 0, 1, 0}, optRebinding: {0, 0, 0, 200}} // T1 after T2
	s.mute = false
	w.run(time.Hour)
	w.holds(t, leased)
	if d := w.m.renew.Sub(w.m.asked); d < 90*time.Second || d > 100*time.Second {
		t.Errorf("T1 is %v, want a half of T2", d)
	}
}

func TestClientInfiniteLease(t *testing.T) {
	s := newTestServer()
	s.lease = 0
	w := bound(t, s)
	w.run(100 * 24 * time.Hour)
	w.holds(t, leased)
	if len(w.sent) != 0 || !w.m.held.Expires.IsZero() {
		t.Errorf("sent %v, expires %v", w.sent, w.m.held.Expires)
	}
}

// A server that is gone: the client asks it more and more often, then everybody,
// then has no address any more, to the second.
func TestClientRebindsAndLoses(t *testing.T) {
	s := newTestServer()
	w := bound(t, s)
	expires := w.m.held.Expires
	s.mute = true
	w.run(epoch.Add(time.Hour * 7 / 8).Sub(w.now))
	for _, m := range w.take() {
		if m.dst != serverAddr {
			t.Fatalf("before T2 to %v: %s", m.dst, m.Summary())
		}
	}
	w.run(expires.Sub(w.now) - time.Millisecond)
	w.is(t, ClientRebinding)
	w.holds(t, leased)
	sent := w.take()
	for i, m := range sent {
		if m.dst != broadcastAddr || m.src != leased || !m.ClientIPAddr.Equal(leased.AsSlice()) || serverOf(m.DHCPv4).IsValid() {
			t.Fatalf("after T2 from %v to %v: %s", m.src, m.dst, m.Summary())
		}
		if i > 0 && m.at-sent[i-1].at < time.Minute {
			t.Errorf("%v between two", m.at-sent[i-1].at)
		}
	}
	if len(sent) < 2 {
		t.Fatalf("asked all %d times", len(sent))
	}
	w.run(time.Millisecond)
	w.holds(t, netip.Addr{})
	w.run(time.Minute)
	w.is(t, ClientSelecting)
	if d := w.take()[0]; d.MessageType() != dhcpv4.MessageTypeDiscover || requestedOf(d.DHCPv4) != leased {
		t.Errorf("then it sends %s", d.Summary())
	}
	s.mute = false
	w.run(2 * time.Minute)
	w.holds(t, leased)
}

// Another server takes over at T2.
func TestClientRebindsToAnother(t *testing.T) {
	s := newTestServer()
	w := bound(t, s)
	s.id = netip.MustParseAddr("192.0.2.2")
	s.deaf = func(m sentMessage) bool { return m.dst != broadcastAddr }
	w.run(time.Hour)
	w.is(t, ClientBound)
	w.holds(t, leased)
	if w.m.held.Server != s.id {
		t.Errorf("server %v", w.m.held.Server)
	}
}

func TestClientRetransmits(t *testing.T) {
	w := newWorld(t, ClientConfig{}, 3)
	w.start().run(24 * time.Hour)
	want := []time.Duration{4, 8, 16, 32, 64, 64, 64}
	for i := 1; i < len(w.sent); i++ {
		d := w.sent[i].at - w.sent[i-1].at
		if off := d - want[min(i-1, len(want)-1)]*time.Second; off.Abs() > time.Second {
			t.Errorf("%v between DISCOVER %d and %d", d, i, i+1)
		}
	}
	if n := len(w.sent); n < 1300 || n > 1400 {
		t.Errorf("%d in a day", n)
	}
	if w.m.problem != "no server answers" {
		t.Errorf("problem %q", w.m.problem)
	}
}

// One server offers and never gives: the other one gets its turn.
func TestClientAvoidsAServer(t *testing.T) {
	liar, good := newTestServer(), newTestServer()
	liar.id = netip.MustParseAddr("192.0.2.66")
	liar.deaf = func(m sentMessage) bool { return m.MessageType() == dhcpv4.MessageTypeRequest }
	w := newWorld(t, ClientConfig{}, 1)
	w.server = func(m sentMessage) []answer { return append(liar.serve(m), good.serve(m)...) }
	w.start().run(3 * time.Minute)
	w.holds(t, leased)
	if w.m.held.Server != good.id {
		t.Errorf("server %v", w.m.held.Server)
	}
	w = newWorld(t, ClientConfig{}, 1)
	w.server = liar.serve
	w.start().run(2 * time.Minute)
	if !strings.Contains(w.m.problem, "192.0.2.66 does not give what it has offered") {
		t.Errorf("problem %q", w.m.problem)
	}
	liar.deaf = nil
	w.run(3 * time.Minute)
	w.holds(t, leased) // from it too, where there is no other
}

func TestClientLink(t *testing.T) {
	s := newTestServer()
	w := bound(t, s)
	w.m.setLink(w.now, false)
	w.run(20 * time.Minute)
	w.is(t, ClientNoLink)
	w.holds(t, leased)
	w.m.setLink(w.now, true)
	w.run(time.Second)
	w.is(t, ClientBound)
	sent := w.take()
	if len(sent) != 1 || sent[0].src.IsValid() || sent[0].dst != broadcastAddr || requestedOf(sent[0].DHCPv4) != leased ||
		serverOf(sent[0].DHCPv4).IsValid() || !sent[0].ClientIPAddr.IsUnspecified() {
		t.Fatalf("INIT-REBOOT: %v", sent)
	}
	if left := w.m.held.Expires.Sub(w.now); left < 59*time.Minute {
		t.Errorf("%v left", left)
	}

	// In another place, where the server refuses the address.
	w.m.setLink(w.now, false)
	s.addr = netip.MustParseAddr("192.0.2.99")
	w.m.setLink(w.now, true)
	w.run(2 * time.Millisecond)
	w.holds(t, netip.Addr{})
	w.run(10 * time.Second)
	w.holds(t, s.addr)

	// In a third one, whose server does not know it and says nothing: the old
	// address stays until there is another one.
	w.m.setLink(w.now, false)
	s.addr, s.knows = leased, false
	w.m.setLink(w.now, true)
	w.run(5 * time.Second)
	w.is(t, ClientRebooting)
	w.holds(t, netip.MustParseAddr("192.0.2.99"))
	w.run(15 * time.Second)
	w.is(t, ClientBound)
	w.holds(t, leased)

	// Longer than the lease.
	w.m.setLink(w.now, false)
	w.run(61 * time.Minute)
	w.holds(t, netip.Addr{})
	w.m.setLink(w.now, true)
	w.run(time.Minute)
	w.holds(t, leased)
}

// A link that was down for so short a time that nobody has seen it is an event all the
// same: a client without an address does not wait for the next try of its own.
func TestClientLinkEvent(t *testing.T) {
	w := newWorld(t, ClientConfig{}, 1)
	w.m.start(w.now)
	w.run(time.Minute)
	w.is(t, ClientSelecting)
	w.take()
	if wait := w.m.next(w.now).Sub(w.now); wait < 5*time.Second {
		t.Fatalf("the next try is due in %v: the test shows nothing", wait)
	}
	w.m.linkEvent(w.now)
	w.run(10 * time.Millisecond)
	if sent := w.take(); len(sent) != 1 || sent[0].MessageType() != dhcpv4.MessageTypeDiscover {
		t.Errorf("after the event: %v", sent)
	}
	for range 1000 {
		w.m.linkEvent(w.now)
		w.run(10 * time.Millisecond)
	}
	if n := len(w.take()); n > maxBurst+int(10*time.Second/sendEvery) {
		t.Errorf("%d messages in ten seconds", n)
	}

	// What has to be waited for is.
	d := newWorld(t, ClientConfig{}, 1).start()
	d.take()
	d.m.again(d.now, declineWait, "somebody has the address")
	d.m.linkEvent(d.now)
	d.run(declineWait / 2)
	if sent := d.take(); len(sent) != 0 {
		t.Errorf("within the time after a DECLINE: %v", sent)
	}
	d.run(declineWait)
	if sent := d.take(); len(sent) == 0 {
		t.Error("nothing is sent any more")
	}

	b := bound(t, newTestServer())
	b.take()
	b.m.linkEvent(b.now)
	b.run(time.Second)
	b.is(t, ClientBound)
	if sent := b.take(); len(sent) != 0 {
		t.Errorf("with an address: %v", sent)
	}
}

// A link that flaps ten times a second costs no more messages than any other
// trouble.
func TestClientFlappingLink(t *testing.T) {
	w := bound(t, newTestServer())
	for range 10 * 3600 {
		w.m.setLink(w.now, false)
		w.m.setLink(w.now, true)
		w.run(100 * time.Millisecond)
	}
	if n := len(w.take()); n < 100 || n > maxBurst+int(time.Hour/sendEvery)+1 {
		t.Errorf("%d messages in an hour", n)
	}
	w.run(time.Minute)
	w.holds(t, leased)
}

func TestClientPrevious(t *testing.T) {
	s := newTestServer()
	w := newWorld(t, ClientConfig{Previous: leased}, 1)
	w.server = s.serve
	w.start().run(2 * time.Second)
	w.is(t, ClientBound)
	if len(w.sent) != 1 || w.sent[0].MessageType() != dhcpv4.MessageTypeRequest || len(w.probed) == 0 {
		t.Errorf("sent %v, probed %v", w.sent, w.probed)
	}
	w = newWorld(t, ClientConfig{Previous: netip.MustParseAddr("10.9.9.9")}, 1)
	w.server = s.serve
	w.start().run(2 * time.Second)
	w.holds(t, leased)
}

func TestClientDeclines(t *testing.T) {
	s := newTestServer()
	w := newWorld(t, ClientConfig{}, 1)
	w.server = s.serve
	w.start().run(100 * time.Millisecond)
	w.is(t, ClientChecking)
	other := frame.MAC{2, 0, 0, 0, 0, 9}
	w.m.conflict(w.now, netip.MustParseAddr("192.0.2.51"), other)
	w.m.conflict(w.now, leased, clientMAC) // our own echo
	w.is(t, ClientChecking)
	w.take()
	w.m.conflict(w.now, leased, other)
	w.flush()
	sent := w.take()
	if len(sent) != 1 || sent[0].MessageType() != dhcpv4.MessageTypeDecline || requestedOf(sent[0].DHCPv4) != leased ||
		serverOf(sent[0].DHCPv4) != serverAddr || !sent[0].ClientIPAddr.IsUnspecified() || sent[0].dst != broadcastAddr {
		t.Fatalf("DECLINE: %v", sent)
	}
	w.run(declineWait - time.Second)
	if w.holds(t, netip.Addr{}); len(w.take()) != 0 {
		t.Error("it does not wait (RFC 2131 clause 3.1)")
	}
	s.addr = netip.MustParseAddr("192.0.2.51")
	w.run(5 * time.Second)
	w.holds(t, s.addr)
	w.m.conflict(w.now, s.addr, other)
	w.is(t, ClientBound)
}

// Without a way to probe there is nothing to wait for.
func TestClientTakesUnseen(t *testing.T) {
	w := newWorld(t, ClientConfig{}, 1)
	w.m.probes = false
	w.server = newTestServer().serve
	w.start().run(2 * time.Millisecond)
	w.is(t, ClientBound)
	if len(w.probed) != 0 {
		t.Errorf("probed %v", w.probed)
	}
}

func TestClientReleases(t *testing.T) {
	w := bound(t, newTestServer())
	w.m.release(w.now)
	w.flush()
	w.holds(t, netip.Addr{})
	w.m.setLink(w.now, false)
	w.m.setLink(w.now, true)
	w.m.start(w.now)
	w.run(time.Hour)
	sent := w.take()
	if len(sent) != 1 || sent[0].MessageType() != dhcpv4.MessageTypeRelease || sent[0].dst != serverAddr || sent[0].src != leased ||
		!sent[0].ClientIPAddr.Equal(leased.AsSlice()) || serverOf(sent[0].DHCPv4) != serverAddr || requestedOf(sent[0].DHCPv4).IsValid() {
		t.Errorf("sent %v", sent)
	}
	w.is(t, ClientStopped)
}
