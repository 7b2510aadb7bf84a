package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dns"
	"github.com/weft/weft/ports/memport"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

type noNames struct{}

func (noNames) Lookup(string) []netip.Addr        { return nil }
func (noNames) Reverse(netip.Addr) (string, bool) { return "", false }

func newResolver(t *testing.T) *dns.Resolver {
	r := dns.New(dns.Config{Name: "gateway", Gateway: []netip.Prefix{config.Address}}, noNames{}, dns.Env{})
	t.Cleanup(r.Close)
	return r
}

// question asks for the address of "gateway" (RFC 1035 clause 4).
var question = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07gateway\x00\x00\x01\x00\x01"

// The resolver's answers go back to whoever asked, from the address that he asked, and
// wrong checksums are not listened to.
func TestDNS(t *testing.T) {
	l := newLab(t)
	if err := l.gateway.SetDNS(newResolver(t)); err != nil {
		t.Fatal(err)
	}
	for _, o := range own {
		bad := udpPacket(o.gateway, 53, question)
		bad[len(bad)-1]++
		l.send(bad)
		none := udpPacket(o.gateway, 53, question)
		at := headerLen(o.gateway) + 6
		none[at], none[at+1] = 0, 0
		if l.send(none); netip.MustParseAddr(o.gateway).Is4() {
			l.next() // IPv4 does without a checksum
		} else {
			l.send(udpFrom("2001:db8:eeee::5", o.gateway, 53, question)) // is not on the link
		}
		l.send(udpPacket(o.gateway, 53, question))
		b := l.next()
		f, _ := l.parsed(b)
		d, ok := datagramOf(f)
		if !ok || d.src != netip.AddrPortFrom(netip.MustParseAddr(o.gateway), 53) || d.dst != netip.AddrPortFrom(netip.MustParseAddr(o.guest), 49152) {
			t.Fatalf("received % x", b)
		}
		if id, rcode := binary.BigEndian.Uint16(d.payload), d.payload[3]&15; id != 0x1234 || rcode != 0 || d.payload[7] != 1 {
			t.Errorf("answer % x", d.payload)
		}
		l.send(ping(o.gateway, "end"))
		l.expectEcho(o.gateway, "end")
	}
}

// An answer that the network does not carry is cut by the resolver, which knows how
// much fits, and is not lost on the way. Over TCP it is whole.
func TestDNSPayload(t *testing.T) {
	l := newLab(t)
	l.gateway.cfg.MTU = 576 // of the datagrams; nothing else looks at it
	r := dns.New(dns.Config{
		TXT: map[string][]string{"gateway": {strings.Repeat("x", 576)}}, Payload: l.gateway.cfg.MTU - ip6Len - udpLen,
	}, noNames{}, dns.Env{})
	t.Cleanup(r.Close)
	if err := l.gateway.SetDNS(r); err != nil {
		t.Fatal(err)
	}
	text := []byte(question + "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00") // takes 1232 bytes
	text[11], text[len(question)-3] = 1, 16
	for _, o := range own {
		l.send(udpPacket(o.gateway, 53, string(text)))
		f, _ := l.parsed(l.next())
		if d, ok := datagramOf(f); !ok || d.payload[2]&2 == 0 || d.payload[7] != 0 {
			t.Errorf("answer % x, want it cut", d.payload)
		}
	}
	conn := l.connect("10.0.0.5")
	writeTCP(t, conn, string(text))
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	answer := make([]byte, 2+576)
	if _, err := io.ReadFull(conn, answer); err != nil || answer[2+2]&2 != 0 || answer[2+7] != 1 {
		t.Errorf("over TCP: answer % x, %v, want it whole", answer, err)
	}
}

// What fits is sent, to the last byte, and what does not is not.
func TestDNSFits(t *testing.T) {
	for _, o := range own[:2] {
		for less := range 2 {
			l := newLab(t)
			answer := len(question) + 16                                                        // with one address
			l.gateway.cfg.MTU = headerLen(o.gateway) - frame.HeaderLen + udpLen + answer - less // of the datagrams
			if err := l.gateway.SetDNS(newResolver(t)); err != nil {
				t.Fatal(err)
			}
			l.send(udpPacket(o.gateway, 53, question))
			if less == 0 {
				l.next()
			}
			l.send(udpPacket(o.gateway, 53, question[:2]+"\x00\x00"+question[4:12])) // refused in few words
			if f, p := l.parsed(l.next()); p.End-p.Payload != 12 {
				t.Errorf("%s, %d bytes less than needed: received % x", o.gateway, less, f.Bytes())
			}
		}
	}
}

// connect is a connection of a client to the resolver, past the stack.
func (l *lab) connect(client string) net.Conn {
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.gateway.converse(&conversation{Conn: there, end: pipeEnd{there}, port: client})
	}()
	l.t.Cleanup(func() {
		here.Close()
		<-done
	})
	return here
}

// pipeEnd is the end of a pipe as that of a connection.
type pipeEnd struct{ net.Conn }

func (p pipeEnd) Abort()        { p.Close() }
func (p pipeEnd) State() uint32 { return uint32(tcp.StateClose) }

func writeTCP(t *testing.T, conn net.Conn, query string) {
	t.Helper()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		t.Fatal(err)
	}
}

// askFor asks for the address of a name that an upstream has to be asked about.
func askFor(name string) string {
	return fmt.Sprintf("%s%c%s\x04test\x00\x00\x01\x00\x01", question[:12], len(name), name)
}

// stuckResolver forwards to an upstream that cannot be reached, and counts how many
// questions have tried.
func stuckResolver(t *testing.T, asked *atomic.Int32) *dns.Resolver {
	release := make(chan struct{})
	r := dns.New(dns.Config{Upstream: []string{"192.0.2.1"}}, noNames{}, dns.Env{
		Dial: func(context.Context, string, string) (net.Conn, error) {
			asked.Add(1)
			<-release // for longer than an attempt may take, so that each asks once
			return nil, errors.New("stuck")
		},
	})
	t.Cleanup(r.Close)
	t.Cleanup(func() { close(release) })
	return r
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: never", what)
		}
	}
}

// The resolver is told who asks: one port that asks too much leaves room for others.
func TestDNSPorts(t *testing.T) {
	l := newLab(t)
	p, err := l.net.AddPort("b", dataplane.Policy{})
	if err != nil {
		t.Fatal(err)
	}
	other := memport.New(0)
	p.Attach(other, 1500, func(error) {})
	var asked atomic.Int32
	r := stuckResolver(t, &asked)
	if err := l.gateway.SetDNS(r); err != nil {
		t.Fatal(err)
	}
	dropped := func() int { return int(r.Stats().Queries[dns.Dropped]) }
	sent := 0
	for ; dropped() == 0; sent++ {
		if sent == 1000 {
			t.Fatal("one port may ask as much as it likes")
		}
		l.send(udpPacket("10.0.0.1", 53, askFor(fmt.Sprintf("a%d", sent))))
		eventually(t, "the query is asked or dropped", func() bool { return int(asked.Load())+dropped() > sent })
	}
	before := asked.Load()
	if !other.Inject(memport.Frame{Bytes: udpPacket("10.0.0.1", 53, askFor("b"))}) {
		t.Fatal("the other guest cannot send")
	}
	eventually(t, "the other guest is served", func() bool { return asked.Load() > before })
}

// Over TCP the address says who asks.
func TestDNSAddresses(t *testing.T) {
	l := newLab(t)
	var asked atomic.Int32
	r := stuckResolver(t, &asked)
	if err := l.gateway.SetDNS(r); err != nil {
		t.Fatal(err)
	}
	dropped := func() int { return int(r.Stats().Queries[dns.Dropped]) }
	sent := 0
	var conn net.Conn
	ask := func() {
		writeTCP(t, conn, askFor(fmt.Sprintf("a%d", sent)))
		sent++
		eventually(t, "the query is asked or dropped", func() bool { return int(asked.Load())+dropped() == sent })
	}
	for dropped() == 0 {
		if sent == 1000 {
			t.Fatal("one address may ask as much as it likes")
		}
		if sent%maxPipelined == 0 {
			conn = l.connect("10.0.0.5")
		}
		ask()
	}
	conn = l.connect("10.0.0.6")
	if ask(); dropped() != 1 {
		t.Error("another address is dropped, too")
	}
}

// Flags of TCP (RFC 9293 clause 3.1).
const (
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpPSH = 0x08
	tcpACK = 0x10
)

// The port of DNS over TCP is open while there is a resolver, as often as there
// is one, at all addresses.
func TestDNSPortOpens(t *testing.T) {
	l := newLab(t)
	r := newResolver(t)
	for i := range 6 {
		on := i%2 == 1
		var serving *dns.Resolver
		if on {
			serving = r
		}
		if err := l.gateway.SetDNS(serving); err != nil {
			t.Fatal(err)
		}
		for _, o := range own {
			l.send(packet(o.gateway, frame.ProtoTCP, 64, segment(o.gateway, uint16(40000+i), 0, 0, tcpSYN, "")))
			want := byte(tcpRST | tcpACK)
			if on {
				want = tcpSYN | tcpACK
			}
			b := l.next()
			if _, p := l.parsed(b); p.Protocol != frame.ProtoTCP || b[p.L4+13] != want {
				t.Fatalf("open %v: received % x from %s, want flags %#x", on, b, o.gateway, want)
			}
		}
	}
}

// A query over TCP is answered at all addresses, and the resolver is told of the port.
func TestDNSOverTCP(t *testing.T) {
	l := newLab(t)
	if err := l.gateway.SetDNS(newResolver(t)); err != nil {
		t.Fatal(err)
	}
	for _, o := range own {
		send := func(seq, ack uint32, flags byte, payload string) {
			l.send(packet(o.gateway, frame.ProtoTCP, 64, segment(o.gateway, 41000, seq, ack, flags, payload)))
		}
		send(100, 0, tcpSYN, "")
		b := l.next()
		_, p := l.parsed(b)
		theirs := binary.BigEndian.Uint32(b[p.L4+4:]) + 1
		send(101, theirs, tcpACK, "")
		send(101, theirs, tcpACK|tcpPSH, string([]byte{0, byte(len(question))})+question)
		var answer []byte
		for len(answer) < 2+len(question) {
			b := l.next()
			f, p := l.parsed(b)
			if src, dst := endsOf(f, p); p.Protocol != frame.ProtoTCP || src.String() != o.gateway || dst.String() != o.guest {
				t.Fatalf("received % x", b)
			}
			answer = append(answer, b[p.Payload:p.End]...)
		}
		if id := binary.BigEndian.Uint16(answer[2:]); id != 0x1234 || answer[2+3]&15 != 0 || answer[2+7] != 1 {
			t.Errorf("answer % x from %s", answer, o.gateway)
		}
		talks := &l.gateway.stack.conversations
		talks.mu.Lock()
		if n := len(talks.list); n == 0 || talks.list[n-1].port != "a" {
			t.Errorf("%d conversations, none of them with the port of the guest", n)
		}
		talks.mu.Unlock()
		send(101+2+uint32(len(question)), theirs, tcpRST, "")
	}
}
