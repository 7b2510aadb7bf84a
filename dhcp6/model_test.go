package dhcp6

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"pgregory.net/rapid"

	"github.com/weft/weft/dhcp"
)

// world is a server, a network that loses, repeats and delays, a store that
// fails, clocks that jump, and clients that do what RFC 8415 lets them do.
type world struct {
	*lab
	t       *rapid.T
	clients []*modelClient
	flight  []flying
	serial  uint16
}

type modelClient struct {
	*guest
	iaid  byte
	xid   uint16
	kind  dhcpv6.MessageType             // sent last in this transaction; 0: it waits for nothing
	holds map[netip.Prefix]time.Duration // and until when, as the client sees it: from when it heard
}

// flying is a message on its way.
type flying struct {
	at      time.Duration // when it was sent
	client  *modelClient
	request Request // to the server
	reply   *heard  // or to the client
}

// longestDelay is how long a message lives in the network.
const longestDelay = 20 * time.Second

func newWorld(t *rapid.T, outer testing.TB) *world {
	w := &world{t: t}
	w.lab = newLab(outer, func(c *Config) {
		c.Lease = w.drawLease()
		c.Ranges, c.Delegate = w.drawRanges(), w.drawPools()
		c.Rapid = rapid.Bool().Draw(t, "rapid commit")
	})
	for i := range rapid.IntRange(2, 6).Draw(t, "clients") {
		g := newGuest(i)
		g.port = fmt.Sprintf("vm%d", i)
		if i%2 == 1 {
			g.with = append(g.with, fqdn(1, "vm"))
		}
		w.clients = append(w.clients, &modelClient{guest: g, iaid: 1, holds: map[netip.Prefix]time.Duration{}})
	}
	return w
}

func (w *world) drawLease() time.Duration {
	return rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second, 2 * time.Minute, time.Hour}).Draw(w.t, "lease")
}

func (w *world) drawRanges() []dhcp.Range {
	first := byte(rapid.IntRange(10, 13).Draw(w.t, "first"))
	return []dhcp.Range{{First: lan(first), Last: lan(first + byte(rapid.IntRange(0, 4).Draw(w.t, "more")))}}
}

// drawPools is some of few prefixes, in lengths that make them overlap those before.
func (w *world) drawPools() []Pool {
	return []Pool{{
		Prefix: rapid.SampledFrom([]netip.Prefix{px("2001:db8:100::/60"), px("2001:db8:100::/62"), px("2001:db8:100:8::/61")}).Draw(w.t, "pool"),
		Length: rapid.IntRange(62, 65).Draw(w.t, "length"),
	}}
}

func (w *world) draw() *modelClient { return rapid.SampledFrom(w.clients).Draw(w.t, "client") }

// held are the prefixes that a client holds of one kind.
func (w *world) held(c *modelClient, delegated bool) (all []netip.Prefix) {
	for p, until := range c.holds {
		if w.mono < until && (p.Bits() != 128) == delegated {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, comparePrefixes)
	return all
}

// mine are the identity associations of a client, with what it holds.
func (w *world) mine(c *modelClient) []func(*dhcpv6.Message) {
	var addrs []netip.Addr
	for _, p := range w.held(c, false) {
		addrs = append(addrs, p.Addr())
	}
	return []func(*dhcpv6.Message){na(c.iaid, addrs...), pd(c.iaid, w.held(c, true)...)}
}

// say sends a message of a client into the network.
func (w *world) say(c *modelClient, kind dhcpv6.MessageType, edit ...func(*dhcpv6.Message)) {
	w.serial++
	c.xid, c.kind = w.serial, kind
	xid := func(m *dhcpv6.Message) {
		m.TransactionID = dhcpv6.TransactionID{0, byte(w.serial >> 8), byte(w.serial)}
	}
	r := c.request(kind, append(edit, xid)...)
	if kind == release || kind == decline {
		// One that comes when its client has the lease again can not be told from a true
		// one. They need an answer, so a client waits for that.
		c.kind = 0
		if rapid.Bool().Draw(w.t, "arrives") {
			w.server.Receive([]Request{r})
			w.collect()
		}
		return
	}
	w.flight = append(w.flight, flying{at: w.mono, client: c, request: r})
}

// collect puts what the server sent into the network.
func (w *world) collect() {
	for _, h := range w.hear() {
		for _, c := range w.clients {
			if c.mac == h.MAC {
				w.flight = append(w.flight, flying{at: w.mono, client: c, reply: &h})
			}
		}
	}
}

// deliver takes some messages out of the network, in any order, and hands them
// over; those to the server in one batch.
func (w *world) deliver() {
	var batch []Request
	for i := len(w.flight) - 1; i >= 0; i-- {
		f := w.flight[i]
		fate := "lost"
		if w.mono-f.at <= longestDelay {
			fate = rapid.SampledFrom([]string{"arrives", "arrives", "arrives", "twice", "stays", "lost", "late"}).Draw(w.t, "fate")
		}
		if fate != "stays" && fate != "late" {
			w.flight = append(w.flight[:i], w.flight[i+1:]...)
		}
		for range map[string]int{"arrives": 1, "twice": 2, "stays": 1}[fate] {
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

// client has a client hear a reply.
func (w *world) client(c *modelClient, h *heard) {
	if c.kind == 0 || uint16(h.TransactionID[1])<<8|uint16(h.TransactionID[2]) != c.xid {
		return
	}
	switch {
	case h.MessageType == advertise && c.kind == solicit:
		var addrs []netip.Addr
		var prefixes []netip.Prefix
		for _, p := range h.leases() {
			if p.Bits() == 128 {
				addrs = append(addrs, p.Addr())
			} else {
				prefixes = append(prefixes, p)
			}
		}
		w.say(c, request, na(c.iaid, addrs...), pd(c.iaid, prefixes...))
	case h.MessageType == reply && (c.kind != solicit || h.GetOneOption(optRapid) != nil) && c.kind != confirm:
		c.kind = 0
		for p, valid := range h.lifetimes() {
			delete(c.holds, p)
			if valid > 0 {
				c.holds[p] = w.mono + valid
			}
		}
		if own := w.held(c, false); len(own) > 0 && rapid.IntRange(0, 9).Draw(w.t, "found in use") == 0 {
			delete(c.holds, own[0])
			w.say(c, decline, na(c.iaid, own[0].Addr()))
		}
	}
}

func (w *world) sleep(d time.Duration) {
	w.mono += d
	w.wall = w.wall.Add(d)
}

func (w *world) drawTime() time.Duration {
	return rapid.SampledFrom([]time.Duration{10 * time.Millisecond, time.Second, 19 * time.Second, 30 * time.Second, 2 * time.Minute, 11 * time.Minute, time.Hour}).Draw(w.t, "time")
}

// check is the property: nobody holds what is, or overlaps, what another holds; and
// what somebody holds the server knows of.
func (w *world) check(t *rapid.T) {
	type holding struct {
		netip.Prefix
		*modelClient
	}
	var all []holding
	for _, c := range w.clients {
		for _, delegated := range []bool{false, true} {
			for _, p := range w.held(c, delegated) {
				for _, other := range all {
					if other.Overlaps(p) && other.mac != c.mac {
						t.Fatalf("%s is held by %s, and %s by %s\n%s", p, c.mac, other.Prefix, other.mac, w.list())
					}
				}
				all = append(all, holding{p, c})
				b := w.server.engine.bindings[p.Addr()]
				if b == nil || b.prefix != p || b.mac != c.mac || b.state != dhcp.Active && (b.state != dhcp.Expired || b.free < c.holds[p]-1) {
					t.Fatalf("%s holds %s until %v of %v, and the server does not know: %+v\n%s", c.mac, p, c.holds[p], w.mono, b, w.list())
				}
				if b.state == dhcp.Active && b.expires+graceTime < c.holds[p] {
					t.Fatalf("%s holds %s until %v, and the server says %v\n%s", c.mac, p, c.holds[p], b.expires, w.list())
				}
			}
		}
	}
	if err := w.server.engine.consistent(); err != nil {
		t.Fatal(err)
	}
	if w.store.fail == nil && !w.server.failing && len(w.server.engine.dirty) == 0 {
		w.checkStore(t)
	}
}

// checkStore: what is stored is what is known.
func (w *world) checkStore(t *rapid.T) {
	stored := w.store.networks["lan"]
	e := w.server.engine
	for p, r := range stored {
		if b := e.bindings[p.Addr()]; b == nil || b.prefix != p || b.state != r.State || b.key != string(r.DUID) || b.iaid != r.IAID || b.via != r.Via {
			t.Fatalf("stored: %+v, known: %+v", r, b)
		}
	}
	if len(stored) != len(e.bindings) {
		t.Fatalf("%d stored, %d known", len(stored), len(e.bindings))
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
	for i, c := range w.clients {
		a := lan(byte(rapid.IntRange(9, 18).Draw(w.t, "reserved")))
		if used[a] || rapid.IntRange(0, 2).Draw(w.t, "no reservation") > 0 {
			continue
		}
		used[a] = true
		if i%2 == 0 {
			hosts = append(hosts, Host{MAC: c.mac, Address: a})
		} else {
			hosts = append(hosts, Host{DUID: c.duid, Address: a})
		}
	}
	return hosts
}

// TestNothingTwice: no address or prefix is ever held by two clients at once, whatever
// is lost, repeated, late, or broken in between.
func TestNothingTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt, t)
		rt.Repeat(w.actions())
	})
}

func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"": w.check,
		"solicit": func(t *rapid.T) {
			c := w.draw()
			var edit []func(*dhcpv6.Message)
			if rapid.Bool().Draw(t, "asks") {
				edit = append(edit, na(c.iaid, lan(byte(rapid.IntRange(9, 18).Draw(t, "for")))), pd(c.iaid, netip.PrefixFrom(ip("::"), rapid.IntRange(60, 66).Draw(t, "hint"))))
			} else {
				edit = w.mine(c)
			}
			if rapid.Bool().Draw(t, "rapid") {
				edit = append(edit, rapidly)
			}
			w.say(c, solicit, edit...)
		},
		"renew":   func(*rapid.T) { w.again(w.draw(), renew) },
		"rebind":  func(*rapid.T) { w.again(w.draw(), rebind) },
		"request": func(*rapid.T) { w.again(w.draw(), request) },
		"confirm": func(*rapid.T) { w.again(w.draw(), confirm) },
		"release": func(*rapid.T) {
			c := w.draw()
			edit := w.mine(c)
			clear(c.holds)
			w.say(c, release, edit...)
		},
		"crash": func(t *rapid.T) {
			c := w.draw()
			clear(c.holds)
			c.kind = 0
			c.iaid = byte(rapid.IntRange(1, 2).Draw(t, "iaid"))
			if rapid.Bool().Draw(t, "other system") {
				c.guest = &guest{mac: c.mac, port: c.port, with: c.with, duid: append([]byte{0, 2, 0, 0, 0, byte(rapid.IntRange(1, 2).Draw(t, "system"))}, c.mac[:]...)}
			}
		},
		"deliver":  func(*rapid.T) { w.deliver() },
		"deliver2": func(*rapid.T) { w.deliver(); w.deliver() },
		"tick":     func(*rapid.T) { w.server.Tick(); w.collect() },
		"sleep":    func(*rapid.T) { w.sleep(w.drawTime()) },
		"pass":     func(*rapid.T) { w.pass(min(w.drawTime(), 2*time.Minute)); w.collect() },
		"obtain":   func(*rapid.T) { w.obtain(w.draw()) },
		"restart": func(*rapid.T) {
			w.store.fail = nil
			w.sleep(w.drawTime())
			w.jump(false)
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
			cfg.Ranges, cfg.Delegate, cfg.Lease = w.drawRanges(), w.drawPools(), w.drawLease()
			cfg.Hosts = w.reserve()
			cfg.MaxLeases = rapid.IntRange(0, 3).Draw(t, "max")
			w.reconfigure(func(c *Config) { *c = cfg })
		},
	}
}

// jump sets the wall clock. Forward only where the server can find out: it is up and
// its store works.
func (w *world) jump(forward bool) {
	d := time.Duration(rapid.SampledFrom([]int{-100, -1, 1, 100}).Draw(w.t, "jump")) * time.Hour
	if d < 0 || forward {
		w.wall = w.wall.Add(d)
	}
}

// again has a client ask for what it holds.
func (w *world) again(c *modelClient, kind dhcpv6.MessageType) {
	if len(w.held(c, false))+len(w.held(c, true)) > 0 {
		w.say(c, kind, w.mine(c)...)
	}
}

// obtain takes a client through the exchange without trouble, so that pools fill.
func (w *world) obtain(c *modelClient) {
	if len(w.held(c, false)) > 0 {
		return
	}
	w.say(c, solicit, w.mine(c)...)
	for range 4 {
		for i := len(w.flight) - 1; i >= 0; i-- {
			f := w.flight[i]
			if f.client != c {
				continue
			}
			w.flight = append(w.flight[:i], w.flight[i+1:]...)
			if f.reply != nil {
				w.client(f.client, f.reply)
			} else {
				w.server.Receive([]Request{f.request})
				w.collect()
			}
			break
		}
	}
}
