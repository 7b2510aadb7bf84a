package uplink

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane/frame"
)

var (
	clientMAC  = frame.MAC{2, 0, 0, 0, 0, 5}
	serverAddr = netip.MustParseAddr("192.0.2.1")
	leased     = netip.MustParseAddr("192.0.2.50")
	epoch      = time.Unix(1_000_000_000, 0)
)

// world is a machine, its clock, and whoever answers it.
type world struct {
	t      fataler
	m      *clientMachine
	now    time.Time
	sent   []sentMessage
	probed []netip.Addr
	server func(sentMessage) []answer // nil: nobody answers
	due    []delivery
	rng    *rand.Rand
}

type fataler interface{ Fatalf(string, ...any) }

type sentMessage struct {
	at       time.Duration // since epoch
	src, dst netip.Addr
	*dhcpv4.DHCPv4
}

// answer is a message of a server, and how late it comes.
type answer struct {
	after time.Duration
	b     []byte
}

type delivery struct {
	at time.Time
	b  []byte
}

func newWorld(t fataler, cfg ClientConfig, seed uint64) *world {
	cfg.MAC = clientMAC
	rng := rand.New(rand.NewPCG(seed, 7))
	w := &world{t: t, m: newClientMachine(cfg, rng), now: epoch, rng: rng}
	w.m.probes = true
	return w
}

func (w *world) start() *world {
	w.m.start(w.now)
	w.flush()
	return w
}

// run lets time go by.
func (w *world) run(d time.Duration) {
	end := w.now.Add(d)
	for at, same := w.now, 0; ; {
		next, message := w.m.next(w.now), -1
		for i, d := range w.due {
			if d.at.Before(next) || message < 0 && d.at.Equal(next) {
				next, message = d.at, i
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
			w.t.Fatalf("it spins in state %s", w.m.state)
		}
		if message >= 0 {
			b := w.due[message].b
			w.due = append(w.due[:message], w.due[message+1:]...)
			w.give(b)
			continue
		}
		w.m.tick(w.now)
		w.flush()
	}
}

// give hands the machine a message.
func (w *world) give(b []byte) {
	if r := parseReply(b); r != nil {
		w.m.receive(w.now, r)
		w.flush()
	}
}

// flush takes what the machine wants sent.
func (w *world) flush() {
	for _, p := range w.m.out {
		if p.payload == nil {
			w.probed = append(w.probed, p.dst)
			continue
		}
		d, err := dhcpv4.FromBytes(p.payload)
		if err != nil {
			w.t.Fatalf("it sends what is no message: %v", err)
		}
		s := sentMessage{w.now.Sub(epoch), p.src, p.dst, d}
		w.sent = append(w.sent, s)
		if w.server == nil {
			continue
		}
		for _, a := range w.server(s) {
			w.due = append(w.due, delivery{w.now.Add(a.after), a.b})
		}
	}
	w.m.out = w.m.out[:0]
}

// take returns what was sent since it was last called.
func (w *world) take() []sentMessage {
	s := w.sent
	w.sent = nil
	return s
}

func (w *world) holds(t *testing.T, want netip.Addr) {
	t.Helper()
	var got netip.Addr
	if w.m.held != nil {
		got = w.m.held.Address.Addr()
	}
	if got != want {
		t.Fatalf("after %v in state %s it holds %v, want %v (%s)", w.now.Sub(epoch), w.m.state, got, want, w.m.problem)
	}
}

func (w *world) is(t *testing.T, want ClientState) {
	t.Helper()
	if w.m.state != want {
		t.Fatalf("after %v: state %s, want %s (%s)", w.now.Sub(epoch), w.m.state, want, w.m.problem)
	}
}

func requestedOf(m *dhcpv4.DHCPv4) netip.Addr { return optionAddr(m, optRequested) }
func serverOf(m *dhcpv4.DHCPv4) netip.Addr    { return optionAddr(m, optServerID) }

func optionAddr(m *dhcpv4.DHCPv4, code uint8) netip.Addr {
	a, _ := netip.AddrFromSlice(m.Options[code])
	return a
}

// testServer answers as a server does that knows one address for the client.
type testServer struct {
	addr, id netip.Addr
	lease    time.Duration
	options  dhcpv4.Options // more of them, or others
	knows    bool           // the client's address, where it reboots
	mute     bool
	deaf     func(sentMessage) bool // messages that are lost
}

func newTestServer() *testServer {
	return &testServer{addr: leased, id: serverAddr, lease: time.Hour, knows: true}
}

func (s *testServer) serve(m sentMessage) []answer {
	if s.mute || s.deaf != nil && s.deaf(m) {
		return nil
	}
	switch kind := m.MessageType(); {
	case kind == dhcpv4.MessageTypeDiscover:
		return s.say(m, dhcpv4.MessageTypeOffer)
	case kind != dhcpv4.MessageTypeRequest:
		return nil
	case serverOf(m.DHCPv4).IsValid() && serverOf(m.DHCPv4) != s.id:
		return nil // of another server's
	case !m.ClientIPAddr.IsUnspecified() && m.ClientIPAddr.Equal(s.addr.AsSlice()):
		return s.say(m, dhcpv4.MessageTypeAck)
	case requestedOf(m.DHCPv4) == s.addr && (serverOf(m.DHCPv4) == s.id || s.knows):
		return s.say(m, dhcpv4.MessageTypeAck)
	case serverOf(m.DHCPv4) == s.id || s.knows:
		return s.say(m, dhcpv4.MessageTypeNak)
	}
	return nil
}

func (s *testServer) say(m sentMessage, kind dhcpv4.MessageType) []answer {
	return []answer{{time.Millisecond, s.message(m.DHCPv4, kind).ToBytes()}}
}

func (s *testServer) message(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	r, _ := dhcpv4.New(dhcpv4.WithReply(m), dhcpv4.WithMessageType(kind))
	r.Options[optServerID] = s.id.AsSlice()
	if kind == dhcpv4.MessageTypeNak {
		return r
	}
	r.YourIPAddr = s.addr.AsSlice()
	seconds := uint32(infiniteLease)
	if s.lease != 0 {
		seconds = uint32(s.lease / time.Second)
	}
	r.Options[optLease] = binary.BigEndian.AppendUint32(nil, seconds)
	r.Options[optNetmask] = []byte{255, 255, 255, 0}
	r.Options[optRouter] = s.id.AsSlice()
	for code, b := range s.options {
		r.Options[code] = b
	}
	return r
}

// bound returns a world whose client has an address.
func bound(t *testing.T, s *testServer) *world {
	t.Helper()
	w := newWorld(t, ClientConfig{}, 1)
	w.server = s.serve
	w.start().run(10 * time.Second)
	w.is(t, ClientBound)
	w.holds(t, leased)
	w.take()
	return w
}
