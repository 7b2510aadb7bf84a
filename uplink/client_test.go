package uplink

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
)

// memoryStore keeps leases for as long as the test runs.
type memoryStore struct {
	mu      sync.Mutex
	records map[netip.Addr]dhcp.Record
}

func (s *memoryStore) Load(string) (all []dhcp.Record, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		all = append(all, r)
	}
	return all, nil
}

func (s *memoryStore) Commit(_ string, put []dhcp.Record, remove []netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range put {
		s.records[r.Address] = r
	}
	for _, a := range remove {
		delete(s.records, a)
	}
	return nil
}

// testWire is an inbox, and what the client has sent and was told.
type testWire struct {
	t        *testing.T
	messages chan *dataplane.Message
	taken    int // messages that were not given back
	log      bytes.Buffer

	mu      sync.Mutex
	server  *dhcp.Server // nil: nobody is there
	frames  []*frame.Frame
	changes []Lease
}

func newTestWire(t *testing.T) *testWire {
	return &testWire{t: t, messages: make(chan *dataplane.Message, 64)}
}

func (w *testWire) Messages() <-chan *dataplane.Message { return w.messages }
func (w *testWire) Done(*dataplane.Message)             { w.taken-- }

func (w *testWire) env() ClientEnv {
	return ClientEnv{
		Now: time.Now, Inbox: w, Send: w.send, Resolve: w.send,
		Log: slog.New(slog.NewTextHandler(&w.log, nil)),
		OnChange: func(l Lease, ok bool) {
			if ok != l.Address.IsValid() {
				w.t.Errorf("told %v of %+v", ok, l)
			}
			w.changes = append(w.changes, l)
		},
	}
}

// send takes frames to the server.
func (w *testWire) send(frames []*frame.Frame) {
	for _, f := range frames {
		var p frame.Parsed
		p.Parse(f)
		b := f.Bytes()
		if p.Layer != frame.LayerTransport || p.SrcPort != clientPort || p.DstPort != serverPort || f.Src() != clientMAC ||
			frame.Checksum(b[p.L3:p.L4], 0) != 0 || frame.Checksum(b[p.L4:p.End], frame.PseudoHeader(b[p.L3+12:p.L3+16], b[p.L3+16:p.L3+20], frame.ProtoUDP, p.End-p.L4)) != 0 {
			w.t.Errorf("malformed frame % x", b)
		}
		src, dst := p.Src(), p.Dst()
		w.mu.Lock()
		w.frames = append(w.frames, f)
		s := w.server
		w.mu.Unlock()
		if s != nil {
			go s.Receive([]dhcp.Request{{
				Port: "p", MAC: f.Src(), Src: netip.AddrFrom16(src).Unmap(), Dst: netip.AddrFrom16(dst).Unmap(), Payload: b[p.Payload:p.End],
			}})
		}
	}
}

// deliver gives the client a datagram, with changes.
func (w *testWire) deliver(from, to netip.AddrPort, payload []byte, changes ...func(*dataplane.Message, []byte)) {
	f := requestFrame(frame.MAC{2, 0, 0, 0, 0, 1}, clientMAC, clientPacket{src: from.Addr(), dst: to.Addr(), payload: payload})
	b := f.Bytes()
	udp := b[frame.HeaderLen+ipLen:]
	udp[0], udp[1], udp[2], udp[3] = byte(from.Port()>>8), byte(from.Port()), byte(to.Port()>>8), byte(to.Port()) // ports swapped: the sum stays
	m := &dataplane.Message{Frame: *f}
	for _, change := range changes {
		change(m, m.Frame.Bytes())
	}
	w.messages <- m
}

// serve is the project's own server, until the test ends.
func (w *testWire) serve(ctx context.Context, store dhcp.Store, change func(*dhcp.Config)) *dhcp.Server {
	cfg := dhcp.Config{
		Server: netip.MustParsePrefix("192.0.2.1/24"), Lease: time.Hour, Router: serverAddr, DNS: serverAddr, MTU: 1400,
		Ranges: []dhcp.Range{{First: leased, Last: leased.Next()}}, Authoritative: true,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := dhcp.New("test", cfg, store, dhcp.Env{
		Now:   time.Now,
		Probe: func(netip.Addr, uint16) {},
		Log:   slog.New(slog.DiscardHandler),
		Send: func(replies []dhcp.Reply) {
			for _, r := range replies {
				w.deliver(netip.AddrPortFrom(serverAddr, serverPort), r.Dst, r.Payload)
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	go func() {
		for ctx.Err() == nil {
			next := s.Tick()
			select {
			case <-ctx.Done():
			case <-time.After(max(time.Until(next), time.Millisecond)):
			}
		}
	}()
	w.mu.Lock()
	w.server = s
	w.mu.Unlock()
	return s
}

// unplug takes the server away.
func (w *testWire) unplug() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server = nil
}

// A day with the project's own server, which is gone for an hour and a half, comes
// back with what it knew, and then has other routes.
func TestClientWithServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w, store := newTestWire(t), &memoryStore{records: map[netip.Addr]dhcp.Record{}}
		s := w.serve(ctx, store, nil)
		c := NewClient(ClientConfig{MAC: clientMAC, Hostname: "gate"}, w.env())
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()

		time.Sleep(12 * time.Hour)
		synctest.Wait()
		l, ok := c.Lease()
		if !ok || l.Address != netip.PrefixFrom(leased, 24) || l.Gateway != serverAddr || l.MTU != 1400 || len(l.DNS) != 1 || time.Until(l.Expires) < 25*time.Minute {
			t.Fatalf("lease %+v, %v: %s", l, ok, c.Status())
		}
		if len(w.changes) != 1 {
			t.Errorf("told %d times: %+v", len(w.changes), w.changes)
		}
		if n := len(w.frames); n < 20 || n > 32 {
			t.Errorf("%d messages in half a day", n)
		}
		if r := store.records[leased]; r.Hostname != "gate" || r.Expires.Before(time.Now()) {
			t.Errorf("the server has %+v", r)
		}

		s.Close()
		w.unplug()
		time.Sleep(90 * time.Minute)
		synctest.Wait()
		if l, ok := c.Lease(); ok || len(w.changes) != 2 || w.changes[1].Address.IsValid() {
			t.Fatalf("without a server it has %+v, told %+v", l, w.changes)
		}
		if got := c.Status().String(); got != "selecting: no server has renewed the lease" {
			t.Errorf("status %q", got)
		}
		s = w.serve(ctx, store, func(cfg *dhcp.Config) { cfg.Router = netip.MustParseAddr("192.0.2.9") })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if l, ok := c.Lease(); !ok || l.Address.Addr() != leased || l.Gateway != netip.MustParseAddr("192.0.2.9") || len(w.changes) != 3 {
			t.Fatalf("lease %+v, %v: %s", l, ok, c.Status())
		}
		if got := c.Status(); !strings.HasPrefix(got.String(), "bound until 20") || got.Expires.Before(time.Now().Add(50*time.Minute)) {
			t.Errorf("status %q", got)
		}

		c.Release()
		synctest.Wait()
		if r := store.records[leased]; r.State == dhcp.Active {
			t.Errorf("after the release the server has %+v", r)
		}
		if _, ok := c.Lease(); ok || len(w.changes) != 4 {
			t.Errorf("told %+v", w.changes)
		}
		cancel()
		<-done
		s.Close()
	})
}

// Frames that are no answers are given back, and change nothing.
func TestClientDropsFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newTestWire(t)
		c := NewClient(ClientConfig{MAC: clientMAC}, w.env())
		go c.Run(ctx)
		synctest.Wait()
		payload := func(kind dhcpv4.MessageType) []byte {
			f := w.frames[len(w.frames)-1]
			m, err := dhcpv4.FromBytes(f.Bytes()[frame.HeaderLen+ipLen+udpLen:])
			if err != nil {
				t.Fatal(err)
			}
			return newTestServer().message(m, kind).ToBytes()
		}
		from, to := netip.AddrPortFrom(serverAddr, serverPort), netip.AddrPortFrom(leased, clientPort)
		bad := map[string]func(*dataplane.Message, []byte){
			"UDP checksum": func(_ *dataplane.Message, b []byte) { b[len(b)-1]++ },
			"IP checksum":  func(_ *dataplane.Message, b []byte) { b[frame.HeaderLen+8]-- },
			"UDP length":   func(_ *dataplane.Message, b []byte) { b[frame.HeaderLen+ipLen+4] = 0xff },
			"fragment": func(_ *dataplane.Message, b []byte) {
				b[frame.HeaderLen+6], b[frame.HeaderLen+10] = 0x20, b[frame.HeaderLen+10]-0x20
			},
			"truncated":   func(m *dataplane.Message, b []byte) { m.Frame.Set(append([]byte(nil), b[:200]...), 0) },
			"super-frame": func(m *dataplane.Message, _ []byte) { m.Frame.Offload.GSOType = frame.GSOUDPL4 },
		}
		for name, change := range bad {
			w.deliver(from, to, payload(dhcpv4.MessageTypeOffer), change)
			synctest.Wait()
			if got := c.Status().State; got != ClientSelecting {
				t.Fatalf("%s: %s", name, got)
			}
		}
		w.deliver(netip.AddrPortFrom(serverAddr, 68), to, payload(dhcpv4.MessageTypeOffer))
		synctest.Wait()
		w.deliver(from, to, payload(dhcpv4.MessageTypeOffer), func(_ *dataplane.Message, b []byte) {
			b[frame.HeaderLen+ipLen+6], b[frame.HeaderLen+ipLen+7] = 0, 0 // no checksum (RFC 768)
		})
		synctest.Wait()
		if got := c.Status().State; got != ClientRequesting {
			t.Fatalf("the right one: %s", got)
		}
		w.deliver(from, to, payload(dhcpv4.MessageTypeAck))
		time.Sleep(2 * time.Second)
		if l, ok := c.Lease(); !ok || l.Address.Addr() != leased {
			t.Errorf("lease %+v", l)
		}
		if want := -len(bad) - 3; w.taken != want {
			t.Errorf("%d messages given back, want %d", -w.taken, -want)
		}
	})
}

// The caller's part: link and conflicts come from other goroutines.
func TestClientLinkAndConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w, store := newTestWire(t), &memoryStore{records: map[netip.Addr]dhcp.Record{}}
		w.serve(ctx, store, nil)
		env := w.env()
		var c *Client
		probed := make(chan netip.Addr, 8)
		env.Probe = func(a netip.Addr) { probed <- a }
		c = NewClient(ClientConfig{MAC: clientMAC}, env)
		c.SetLink(false)
		go c.Run(ctx)
		time.Sleep(time.Hour)
		if len(w.frames) != 0 || c.Status().State != ClientNoLink {
			t.Fatalf("without a link: %s, %d frames", c.Status(), len(w.frames))
		}
		c.SetLink(true)
		if a := <-probed; a != leased && a != leased.Next() {
			t.Fatalf("probed %v", a)
		} else {
			c.Conflict(a, frame.MAC{2, 0, 0, 0, 0, 9})
			synctest.Wait()
			if s := c.Status(); s.State != ClientInit || s.Problem != "02:00:00:00:00:09 has the offered address "+a.String() {
				t.Errorf("status %q", s)
			}
			time.Sleep(time.Minute)
			if l, ok := c.Lease(); !ok || l.Address.Addr() == a {
				t.Errorf("lease %+v", l)
			}
		}
		if !strings.Contains(w.log.String(), "has the offered address") {
			t.Errorf("log:\n%s", &w.log)
		}
	})
}

// The clock goes on where that of timers stands still; here only that it goes.
func TestClientClock(t *testing.T) {
	now := sleeplessClock()
	a := now()
	if d := time.Since(a); d.Abs() > time.Minute {
		t.Errorf("%v off the time of day", d)
	}
	time.Sleep(2 * time.Millisecond)
	if d := now().Sub(a); d < time.Millisecond || d > time.Minute {
		t.Errorf("2 ms took %v", d)
	}
}
