package uplink

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// wire6 is an inbox, and what the client has sent and was told.
type wire6 struct {
	t        *testing.T
	messages chan *dataplane.Message

	mu     sync.Mutex
	given  int // messages that were given back
	text   bytes.Buffer
	frames []*frame.Frame
	leases []Lease6
}

func newWire6(t *testing.T) *wire6 {
	return &wire6{t: t, messages: make(chan *dataplane.Message, 64)}
}

func (w *wire6) Messages() <-chan *dataplane.Message { return w.messages }

func (w *wire6) Done(*dataplane.Message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given++
}

// Write takes what is logged.
func (w *wire6) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

// log, changes, last and taken return what there is once the client has nothing to do.
func (w *wire6) log() string { return settled(w, func() string { return w.text.String() }) }
func (w *wire6) changes() []Lease6 {
	return settled(w, func() []Lease6 { return slices.Clone(w.leases) })
}
func (w *wire6) last() *frame.Frame {
	return settled(w, func() *frame.Frame { return w.frames[len(w.frames)-1] })
}
func (w *wire6) taken() int { return settled(w, func() int { return w.given }) }

func settled[T any](w *wire6, f func() T) T {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return f()
}

func (w *wire6) env() Client6Env {
	return Client6Env{
		Now: time.Now, Inbox: w, Send: w.send, Log: slog.New(slog.NewTextHandler(w, nil)),
		OnChange: func(l Lease6) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.leases = append(w.leases, l)
		},
	}
}

// send checks what every frame of the client must be.
func (w *wire6) send(frames []*frame.Frame) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range frames {
		var p frame.Parsed
		p.Parse(f)
		b := f.Bytes()
		dst := netip.AddrFrom16(p.Dst())
		ok := p.Layer == frame.LayerTransport && p.IPVersion == 6 && f.Src() == clientMAC && f.Dst() == ndp.GroupMAC(dst) && p.End == len(b) &&
			frame.Checksum(b[p.L4:p.End], frame.PseudoHeader(b[p.L3+8:p.L3+24], b[p.L3+24:p.L3+40], p.Protocol, p.End-p.L4)) == 0
		if !ok || !ndp.Valid(f, &p) && (p.SrcPort != client6Port || p.DstPort != server6Port) {
			w.t.Errorf("malformed frame % x", b)
		}
		w.frames = append(w.frames, f)
	}
}

// deliver gives the client a frame, with changes.
func (w *wire6) deliver(f *frame.Frame, changes ...func(*frame.Frame)) {
	m := &dataplane.Message{Frame: *f}
	for _, change := range changes {
		change(&m.Frame)
	}
	w.messages <- m
	synctest.Wait()
}

func advertisement6(from netip.Addr, a ndp.Advertisement) *frame.Frame {
	return ndp.Packet(otherMAC, ndp.GroupMAC(ndp.AllNodes), from, ndp.AllNodes, a.Message())
}

// datagram6 is one of a server's to the client.
func datagram6(payload []byte) *frame.Frame {
	p := packet6{src: router1, dst: own6, dhcp: payload}
	f := p.frame6(otherMAC)
	f.SetAddresses(clientMAC, otherMAC)
	udp := f.Bytes()[frame.HeaderLen+ip6Len:]
	binary.BigEndian.PutUint16(udp[0:], server6Port) // swapped: the sum stays
	binary.BigEndian.PutUint16(udp[2:], client6Port)
	return f
}

// summed6 makes a change, and then the checksum right again.
func summed6(change func(ip []byte)) func(*frame.Frame) {
	return func(f *frame.Frame) {
		ip := f.Bytes()[frame.HeaderLen:]
		change(ip)
		l4, at := ip[ip6Len:], 2
		if ip[6] == frame.ProtoUDP {
			at = 6
		}
		l4[at], l4[at+1] = 0, 0
		binary.BigEndian.PutUint16(l4[at:], frame.Checksum(l4, frame.PseudoHeader(ip[8:24], ip[24:40], ip[6], len(l4))))
	}
}

// runClient6 runs a client in a bubble.
func runClient6(t *testing.T, cfg Client6Config, test func(*wire6, *Client6)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := newWire6(t)
		cfg.MAC = clientMAC
		c := NewClient6(cfg, w.env())
		done := make(chan struct{})
		go func() { c.Run(ctx); close(done) }()
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		test(w, c)
		cancel()
		<-done
	})
}

// A router and a server: what is told of them, and what people read.
func TestClient6Run(t *testing.T) {
	runClient6(t, Client6Config{}, func(w *wire6, c *Client6) {
		if got := c.Status(); got.String() != "soliciting" {
			t.Errorf("status %q", got)
		}
		w.deliver(advertisement6(router1, plain(func(a *ndp.Advertisement) { a.Managed, a.MTU = true, 1400 })))
		if got := c.Status(); got.String() != "configuring" || got.Router != router1 {
			t.Errorf("status %q", got)
		}
		var f *frame.Frame
		for f == nil {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if last := w.last(); last.Dst() == ndp.GroupMAC(allServers) {
				f = last
			}
		}
		m, err := dhcpv6.MessageFromBytes(f.Bytes()[frame.HeaderLen+ip6Len+udpLen:])
		if err != nil {
			t.Fatal(err)
		}
		s := newTestServer6()
		r := s.message(m, dhcpv6.MessageTypeReply)
		r.AddOption(generic(dhcpv6.OptionRapidCommit))
		w.deliver(datagram6(r.ToBytes()))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		want := []netip.Prefix{addressA, hostPrefix(leasedSix)}
		l, ok := c.Lease()
		slices.SortFunc(l.Addresses, netip.Prefix.Compare)
		if !ok || !slices.Equal(l.Addresses, want) || l.MTU != 1400 || !slices.Equal(l.Routes, []dataplane.Route{via("::/0", router1)}) {
			t.Errorf("lease %+v, %v", l, ok)
		}
		if n := len(w.changes()); n < 2 || n > 3 {
			t.Errorf("told %d times: %+v", n, w.changes())
		}
		if got := c.Status(); !strings.HasPrefix(got.String(), "ready until 2000-01-0") || got.Server != router1 {
			t.Errorf("status %q of %v", got, got.Server)
		}
		c.SetLink(false)
		if got := c.Status().String(); !strings.HasPrefix(got, "no-link until 2000-01-0") {
			t.Errorf("status %q", got)
		}
		c.Release()
		time.Sleep(time.Second)
		synctest.Wait()
		if l, ok := c.Lease(); ok || len(w.changes()[len(w.changes())-1].Addresses) != 0 {
			t.Errorf("lease %+v, told %+v", l, w.changes())
		}
	})
}

// RFC 4861 clause 6.1.2: frames that are no right advertisements are given back, and
// change nothing.
func TestRFC4861_ValidAdvertisements(t *testing.T) {
	runClient6(t, Client6Config{}, func(w *wire6, c *Client6) {
		bad := map[string]func(*frame.Frame){
			"hop limit":     summed6(func(ip []byte) { ip[7] = 254 }),
			"global source": summed6(func(ip []byte) { ip[8], ip[9] = 0x20, 0x01 }),
			"no source":     summed6(func(ip []byte) { clear(ip[8:24]) }),
			"code":          summed6(func(ip []byte) { ip[ip6Len+1] = 1 }),
			"option of 0":   summed6(func(ip []byte) { ip[ip6Len+17] = 0 }),
			"checksum":      func(f *frame.Frame) { f.Bytes()[frame.HeaderLen+ip6Len+2]++ },
			"our own":       func(f *frame.Frame) { f.SetAddresses(f.Dst(), clientMAC) },
			"truncated":     func(f *frame.Frame) { f.Set(append([]byte(nil), f.Bytes()[:80]...), 0) },
			"super-frame":   func(f *frame.Frame) { f.Offload.GSOType = frame.GSOUDPL4 },
			"short": summed6(func(ip []byte) {
				binary.BigEndian.PutUint16(ip[4:], 12)
			}),
		}
		for name, change := range bad {
			w.deliver(advertisement6(router1, plain()), change)
			if got := c.Status(); got.State != Client6Soliciting {
				t.Fatalf("%s: %s", name, got)
			}
		}
		w.deliver(advertisement6(router1, plain()))
		if got := c.Status(); got.State != Client6Configuring || w.taken() != len(bad)+1 {
			t.Errorf("the right one: %s; %d given back", got, w.taken())
		}
	})
}

// RFC 4862 clause 5.4.3 by frames: who asks for an address without having one, and who
// says that he has it; but not who asks where it is.
func TestRFC4862_DuplicateMessages(t *testing.T) {
	claim := func(src, dst netip.Addr, mac frame.MAC, message []byte) *frame.Frame {
		return ndp.Packet(mac, ndp.GroupMAC(ndp.AllNodes), src, dst, message)
	}
	target := ndp.Neighbor{Target: addressA.Addr()}
	group := ndp.SolicitedNode(addressA.Addr())
	for _, tt := range []struct {
		name      string
		f         *frame.Frame
		duplicate bool
	}{
		{"advertisement", claim(router2, ndp.AllNodes, otherMAC, target.Advertisement()), true},
		{"solicitation without an address", claim(netip.IPv6Unspecified(), group, otherMAC, target.Solicitation()), true},
		{"solicitation from an address", claim(router2, group, otherMAC, target.Solicitation()), false},
		{"our own", claim(netip.IPv6Unspecified(), group, clientMAC, target.Solicitation()), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runClient6(t, Client6Config{}, func(w *wire6, c *Client6) {
				w.deliver(advertisement6(router1, plain()))
				w.deliver(tt.f)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if _, ok := c.Lease(); ok == tt.duplicate {
					t.Errorf("%s", c.Status())
				}
				if logged := strings.Contains(w.log(), "which is not used"); logged != tt.duplicate {
					t.Errorf("log:\n%s", w.log())
				}
			})
		})
	}
}

// RFC 8415 clause 18.3.10 and RFC 8200 clause 8.1: datagrams that are no answers.
func TestRFC8415Client_Datagrams(t *testing.T) {
	runClient6(t, Client6Config{DHCP: true}, func(w *wire6, c *Client6) {
		for w.last().Dst() != ndp.GroupMAC(allServers) {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		answer := func() *frame.Frame {
			m, err := dhcpv6.MessageFromBytes(w.last().Bytes()[frame.HeaderLen+ip6Len+udpLen:])
			if err != nil {
				t.Fatal(err)
			}
			s := newTestServer6()
			s.options = []dhcpv6.Option{generic(dhcpv6.OptionRapidCommit)}
			return datagram6(s.message(m, dhcpv6.MessageTypeReply).ToBytes())
		}
		bad := map[string]func(*frame.Frame){
			"checksum":    func(f *frame.Frame) { f.Bytes()[len(f.Bytes())-1]++ },
			"no checksum": func(f *frame.Frame) { clear(f.Bytes()[frame.HeaderLen+ip6Len+6:][:2]) },
			"length":      func(f *frame.Frame) { f.Bytes()[frame.HeaderLen+ip6Len+4] = 0xff },
			"no length":   func(f *frame.Frame) { clear(f.Bytes()[frame.HeaderLen+ip6Len+4:][:2]) },
			"port":        summed6(func(ip []byte) { ip[ip6Len+3]++ }),
			"to a group":  summed6(func(ip []byte) { b := ndp.AllNodes.As16(); copy(ip[24:], b[:]) }),
			"to another":  summed6(func(ip []byte) { ip[39]++ }),
			"super-frame": func(f *frame.Frame) { f.Offload.GSOType = frame.GSOUDPL4 },
		}
		for name, change := range bad {
			w.deliver(answer(), change)
			if got := c.Status(); got.Server.IsValid() {
				t.Fatalf("%s: %s", name, got)
			}
		}
		w.deliver(answer(), func(f *frame.Frame) {
			f.Bytes()[frame.HeaderLen+ip6Len+6]++
			f.Offload.Flags = frame.ChecksumValid // says a port that has looked
		})
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		if l, ok := c.Lease(); !ok || l.Addresses[0] != hostPrefix(leasedSix) {
			t.Errorf("lease %+v: %s", l, c.Status())
		}
	})
}

// Routers that contradict each other a thousand times a second do not make the uplink
// change as often, nor fill the log.
func TestClient6Contradictions(t *testing.T) {
	runClient6(t, Client6Config{DHCP: true}, func(w *wire6, c *Client6) {
		c.machine.accept = func(l Lease6) error {
			if l.Addresses[0].Addr() == addressB.Addr() {
				return context.Canceled
			}
			return nil
		}
		for i := range 10_000 {
			w.deliver(advertisement6(router1, plain(func(a *ndp.Advertisement) {
				if a.MTU = uint32(1280 + i%100); i%2 == 0 {
					a.Prefixes[0].Prefix = prefixB
				}
			})))
			time.Sleep(time.Millisecond)
		}
		if n := len(w.changes()); n < 5 || n > 10_000/200+2 {
			t.Errorf("told %d times in ten seconds", n)
		}
		if n := strings.Count(w.log(), "level=WARN"); n > 4 {
			t.Errorf("%d warnings:\n%s", n, w.log())
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if l, _ := c.Lease(); l.MTU != 1379 || w.changes()[len(w.changes())-1].MTU != 1379 {
			t.Errorf("in the end %+v, told %+v", l, w.changes()[len(w.changes())-1])
		}
	})
}
