package dhcp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"github.com/weft/weft/dhcp/lease"
)

// world is a server, a network that loses, repeats and delays, a store that
// fails, clocks that jump, and clients that do what RFC 2131 lets them do.
type world struct {
	*lab
	t       *rapid.T
	clients []*modelClient
	flight  []flying
	serial  uint16
	// strange are addresses that somebody uses whom the server knows nothing of.
	strange map[netip.Addr]bool
	// strict: nothing happens that makes a server lose a lease it can not know
	// of, so whatever a client holds must be an active lease.
	strict bool
}

type modelClient struct {
	*guest
	xid     uint16
	kind    dhcpv4.MessageType // sent last in this transaction
	sent    time.Duration      // when
	address netip.Addr         // that it holds
	until   time.Duration      // as the client sees it: from when it asked
	asked   netip.Addr         // by the REQUEST under way

	// promised is the end that the last ACK said, whether it came or not. A client
	// may have its address no longer: that is what shortening a lease relies on.
	promised time.Duration
}

// flying is a message on its way.
type flying struct {
	at      time.Duration // when it was sent
	client  *modelClient
	request Request // to the server
	reply   *heard  // or to the client
	ends    bool    // a RELEASE or a DECLINE
}

// longestDelay is how long a message lives in the network.
const longestDelay = 20 * time.Second

func newWorld(t *rapid.T, outer testing.TB) *world {
	w := &world{t: t, strange: map[netip.Addr]bool{}}
	probe := rapid.Bool().Draw(t, "probe")
	w.strict = rapid.Bool().Draw(t, "strict")
	w.lab = newLab(outer, func(c *Config) {
		c.Probe = probe
		c.Lease = w.drawLease()
		c.Authoritative = rapid.Bool().Draw(t, "authoritative")
		c.Ranges = []Range{w.drawRange()}
	})
	w.lab.arp = w.arp
	for i := range rapid.IntRange(2, 6).Draw(t, "clients") {
		g := newGuest(i)
		g.port = fmt.Sprintf("vm%d", i)
		switch i % 3 {
		case 1:
			g.with = append(g.with, opt(optClientID, 5, byte(i)))
		case 2:
			g.with = append(g.with, optString(optHostname, "vm"))
		}
		w.clients = append(w.clients, &modelClient{guest: g})
	}
	return w
}

func (w *world) drawLease() time.Duration {
	return rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 2 * time.Minute, time.Hour}).Draw(w.t, "lease")
}

func (w *world) drawRange() Range {
	first := byte(rapid.IntRange(10, 13).Draw(w.t, "first"))
	return Range{First: lan(first), Last: lan(first + byte(rapid.IntRange(0, 4).Draw(w.t, "more")))}
}

func (w *world) draw() *modelClient { return rapid.SampledFrom(w.clients).Draw(w.t, "client") }

func (c *modelClient) holds(now time.Duration) bool { return c.address.IsValid() && now < c.until }

// say sends a message of a client into the network.
func (w *world) say(c *modelClient, kind dhcpv4.MessageType, edit ...func(*dhcpv4.DHCPv4)) {
	w.serial++
	c.xid, c.kind, c.sent = w.serial, kind, w.mono
	w.put(c, kind, edit...)
}

func (w *world) put(c *modelClient, kind dhcpv4.MessageType, edit ...func(*dhcpv4.DHCPv4)) {
	xid := c.xid
	edit = append(edit, func(p *dhcpv4.DHCPv4) { p.TransactionID[0], p.TransactionID[1] = byte(xid>>8), byte(xid) })
	// A RELEASE that comes when its client has the address again can not be told
	// from a true one. Only the probe helps there.
	careful := (kind == release || kind == decline) && (w.strict || !w.cfg.Probe)
	r := c.request(kind, edit...)
	if !careful {
		w.flight = append(w.flight, flying{at: w.mono, client: c, request: r, ends: kind == release || kind == decline})
	} else if rapid.Bool().Draw(w.t, "arrives") {
		w.server.Receive([]Request{r})
		w.collect()
	}
}

// collect puts what the server sent into the network.
func (w *world) collect() {
	for _, h := range w.hear() {
		for _, c := range w.clients {
			if c.mac == [6]byte(h.ClientHWAddr) {
				w.acknowledge(c, &h)
				w.flight = append(w.flight, flying{at: w.mono, client: c, reply: &h})
			}
		}
	}
}

// acknowledge notes what the server promises. A renewal that makes a lease shorter
// does so from then on.
func (w *world) acknowledge(c *modelClient, h *heard) {
	d := h.IPAddressLeaseTime(0)
	if h.MessageType() != ack || d == 0 {
		return
	}
	c.promised = lease.Forever
	if d < infiniteOnTheWire*time.Second {
		c.promised = w.mono + d
	}
	if c.address == h.yours() {
		c.until = min(c.until, c.promised)
	}
}

// unheard is for a server that ends before it could send what it wrote, or could
// write that it was not sent. A lease that was made shorter is so from then on.
func (w *world) unheard() {
	for _, c := range w.clients {
		if r, ok := w.store.unsure[c.address]; ok && r.MAC == c.mac && r.State == Active && !r.Expires.IsZero() {
			c.until = min(c.until, w.mono+r.Expires.Sub(w.wall))
		}
	}
}

// arp answers a probe at once, for all who use the address.
func (w *world) arp(a netip.Addr) {
	for _, c := range w.clients {
		if c.address == a && c.holds(w.mono) {
			w.server.Heard(a, c.mac, c.port)
		}
	}
	if w.strange[a] {
		w.server.Heard(a, newGuest(99).mac, "wire")
	}
}

// deliver takes some messages out of the network, in any order, and hands them
// over; those to the server in one batch.
func (w *world) deliver() {
	var batch []Request
	for i := len(w.flight) - 1; i >= 0; i-- {
		f := w.flight[i]
		fate := "late"
		if f.ends && w.answers(f.client, batch) {
			// The client has what it gave up again, and does not know yet. Nothing
			// tells this RELEASE from one that is meant, and no ARP answers.
			fate = "lost"
		} else if w.mono-f.at > longestDelay {
			fate = "lost"
		} else {
			fate = rapid.SampledFrom([]string{"arrives", "arrives", "arrives", "twice", "stays", "lost", "late"}).Draw(w.t, "fate")
		}
		if fate != "stays" && fate != "late" {
			w.flight = append(w.flight[:i], w.flight[i+1:]...)
		}
		n := map[string]int{"arrives": 1, "twice": 2, "stays": 1}[fate]
		for range n {
			if f.reply == nil {
				batch = append(batch, f.request)
			} else {
				w.client(f.client, f.reply)
			}
		}
	}
	if len(batch) > 0 {
		w.server.Receive(batch)
		w.collect()
	}
}

// answers reports whether something is on its way to a client, or about to be.
func (w *world) answers(c *modelClient, batch []Request) bool {
	for _, r := range batch {
		if r.MAC == c.mac {
			return true
		}
	}
	for _, f := range w.flight {
		if f.client == c && !f.ends {
			return true
		}
	}
	return false
}

// client has a client hear a reply.
func (w *world) client(c *modelClient, h *heard) {
	if uint16(h.TransactionID[0])<<8|uint16(h.TransactionID[1]) != c.xid {
		return
	}
	switch {
	case h.MessageType() == offered && c.kind == discover:
		c.kind, c.sent, c.asked = request, w.mono, h.yours()
		w.put(c, request, requested(h.yours()), serverID(w.cfg.Server.Addr()))
	case h.MessageType() == ack && c.kind == request && h.Options[optRapidCommit] != nil:
		// It answers a DISCOVER that was repeated on the way; the client has chosen.
	case h.MessageType() == ack && (c.kind == request || c.kind == discover):
		if c.kind == request && h.yours() != c.asked {
			w.t.Fatalf("%s asked for %s and got %s", c.mac, c.asked, h.yours())
		}
		c.kind = 0
		// Behind a port that has set aside its share nobody is believed any more, and
		// where a lease was lost only that protects its client.
		u := w.server.engine.ports[c.port]
		within := w.strict || u == nil && w.server.engine.share() > 1 || u != nil && u.declined+1 < w.server.engine.share()
		if rapid.IntRange(0, 9).Draw(w.t, "found in use") == 0 && within {
			c.address = netip.Addr{}
			w.say(c, decline, requested(h.yours()), serverID(w.cfg.Server.Addr()))
			return
		}
		c.address = h.yours()
		c.until = lease.Forever
		if d := h.IPAddressLeaseTime(0); d < infiniteOnTheWire*time.Second {
			c.until = min(c.sent+d, c.promised)
		}
	case h.MessageType() == nak && c.kind == request:
		c.kind, c.address = 0, netip.Addr{}
	}
}

func (w *world) sleep(d time.Duration) {
	w.mono += d
	w.wall = w.wall.Add(d)
}

func (w *world) drawTime() time.Duration {
	return rapid.SampledFrom([]time.Duration{10 * time.Millisecond, 300 * time.Millisecond, time.Second, 30 * time.Second, 2 * time.Minute, 11 * time.Minute, time.Hour}).Draw(w.t, "time")
}

// check is the property.
func (w *world) check(t *rapid.T) {
	holder := map[netip.Addr]*modelClient{}
	for _, c := range w.clients {
		if !c.holds(w.mono) {
			continue
		}
		if other := holder[c.address]; other != nil {
			t.Fatalf("%s is held by %s and %s\n%s", c.address, other.mac, c.mac, w.list())
		}
		holder[c.address] = c
		b := w.server.engine.bindings[toIP4(c.address)]
		if w.strict && (b == nil || b.state != Active || b.mac != c.mac || b.expires < c.until) {
			t.Fatalf("%s holds %s until %v, and the server does not know\n%s", c.mac, c.address, c.until, w.list())
		}
	}
	if err := w.server.engine.consistent(); err != nil {
		t.Fatal(err)
	}
}

func (w *world) list() (s string) {
	for _, x := range w.server.Leases() {
		s += fmt.Sprintf("%+v\n", x)
	}
	return s + w.logged.String()
}

// reserve draws reservations for some clients.
func (w *world) reserve() (hosts []Host) {
	used := map[netip.Addr]bool{}
	for _, c := range w.clients {
		a := lan(byte(rapid.IntRange(9, 18).Draw(w.t, "reserved")))
		if used[a] || rapid.IntRange(0, 2).Draw(w.t, "no reservation") > 0 {
			continue
		}
		used[a] = true
		hosts = append(hosts, Host{MAC: c.mac, Address: a})
	}
	return hosts
}

// TestNoAddressTwice: no address is ever held by two clients at once, whatever is
// lost, repeated, late, or broken in between.
func TestNoAddressTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, t)
		rt.Repeat(w.actions())
	})
}

func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": w.check,
		"discover": func(t *rapid.T) {
			c := w.draw()
			if c.holds(w.mono) {
				return
			}
			var edit []func(*dhcpv4.DHCPv4)
			if rapid.Bool().Draw(t, "asks") {
				edit = append(edit, requested(lan(byte(rapid.IntRange(9, 18).Draw(t, "for")))))
			}
			if rapid.IntRange(0, 4).Draw(t, "rapid") == 0 {
				edit = append(edit, opt(optRapidCommit))
			}
			w.say(c, discover, edit...)
		},
		"renew":  func(*rapid.T) { w.renewal(w.draw(), false) },
		"reboot": func(*rapid.T) { w.renewal(w.draw(), true) },
		"release": func(*rapid.T) {
			if c := w.draw(); c.holds(w.mono) {
				a := c.address
				c.address = netip.Addr{}
				w.say(c, release, ciaddr(a), serverID(w.cfg.Server.Addr()))
			}
		},
		"crash": func(t *rapid.T) {
			c := w.draw()
			c.address, c.kind = netip.Addr{}, 0
			if rapid.Bool().Draw(t, "other system") {
				// Until it is up, what the other one sent is gone.
				w.flight = slices.DeleteFunc(w.flight, func(f flying) bool { return f.client == c })
				c.with = rapid.SampledFrom(systems(c.guest)).Draw(t, "system")
			}
		},
		"deliver":  func(*rapid.T) { w.deliver() },
		"deliver2": func(*rapid.T) { w.deliver(); w.deliver() },
		"tick":     func(*rapid.T) { w.server.Tick(); w.collect() },
		"sleep":    func(*rapid.T) { w.sleep(w.drawTime()) },
		"pass":     func(*rapid.T) { w.pass(min(w.drawTime(), 2*time.Minute)); w.collect() },
		"obtain":   func(*rapid.T) { w.obtain(w.draw()) },
		"restart": func(t *rapid.T) {
			w.store.fail = nil
			w.unheard()
			w.sleep(w.drawTime())
			if !w.strict {
				w.jump(w.cfg.Probe)
			}
			w.restart()
		},
		"jump": func(*rapid.T) {
			w.jump(w.store.fail == nil)
			w.server.Tick()
			w.collect()
		},
		"store": func(t *rapid.T) {
			w.store.fail = rapid.SampledFrom([]error{nil, errDisk}).Draw(t, "error")
			w.store.written = rapid.Bool().Draw(t, "written")
		},
		"reconfigure": func(t *rapid.T) {
			cfg := w.cfg
			cfg.Ranges, cfg.Lease = []Range{w.drawRange()}, w.drawLease()
			cfg.Hosts = w.reserve()
			cfg.MaxLeases = rapid.IntRange(0, 3).Draw(t, "max")
			w.reconfigure(func(c *Config) { *c = cfg })
		},
		"stranger": func(t *rapid.T) {
			a := lan(byte(rapid.IntRange(9, 18).Draw(t, "stranger")))
			w.strange[a] = !w.strange[a]
		},
	}
}

// jump sets the wall clock. Forward only where the server can find out: it is up
// and its store works, or it probes.
func (w *world) jump(forward bool) {
	d := time.Duration(rapid.SampledFrom([]int{-100, -1, 1, 100}).Draw(w.t, "jump")) * time.Hour
	if d < 0 || forward {
		w.wall = w.wall.Add(d)
	}
}

// renewal has a client ask for what it holds.
func (w *world) renewal(c *modelClient, reboot bool) {
	if !c.holds(w.mono) {
		return
	}
	c.asked = c.address
	if reboot {
		w.say(c, request, requested(c.address))
	} else {
		w.say(c, request, ciaddr(c.address))
	}
}

// obtain takes a client through the exchange without trouble, so that pools fill.
func (w *world) obtain(c *modelClient) {
	if c.holds(w.mono) {
		return
	}
	w.say(c, discover)
	for range 4 {
		for i := len(w.flight) - 1; i >= 0; i-- {
			f := w.flight[i]
			if f.client != c {
				continue
			}
			w.flight = append(w.flight[:i], w.flight[i+1:]...)
			if f.reply != nil {
				w.client(c, f.reply)
			} else {
				w.server.Receive([]Request{f.request})
				w.collect()
			}
			break
		}
		if w.cfg.Probe {
			w.pass(probeTime)
			w.collect()
		}
	}
}

// systems are what boots on one machine: firmware without an identifier, and
// systems that make one.
func systems(g *guest) [][]func(*dhcpv4.DHCPv4) {
	return [][]func(*dhcpv4.DHCPv4){
		nil,
		{opt(optClientID, append([]byte{hwEthernet}, g.mac[:]...)...)},
		{opt(optClientID, 255, g.mac[5]), optString(optHostname, "vm")},
	}
}
