package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// reporter is what tests and property tests have in common.
type reporter interface {
	Helper()
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

// The addresses of the tests.
const (
	outsideA = "192.0.2.1"
	outsideB = "192.0.2.2"
	guestA   = "10.1.0.1"
	guestB   = "10.1.0.2"
	remoteA  = "198.51.100.1"
	remoteB  = "198.51.100.2"
)

// lab is a table with zone 0 and a clock of its own.
type lab struct {
	t   reporter
	tab *Table
	now uint32
	via uint16 // where packets from inside come in
}

func newLab(t reporter, cfg ZoneConfig) *lab { return newLabAt(t, cfg, outsideA) }

func newLabAt(t reporter, cfg ZoneConfig, addrs ...string) *lab {
	t.Helper()
	l := &lab{t: t, tab: New(Config{Addresses: addresses(addrs...)}), now: 1}
	l.zone(0, cfg)
	return l
}

func addresses(names ...string) (all []netip.Addr) {
	for _, n := range names {
		all = append(all, netip.MustParseAddr(n))
	}
	return all
}

func (l *lab) zone(z Zone, cfg ZoneConfig) {
	l.t.Helper()
	if err := l.tab.SetZone(z, cfg); err != nil {
		l.t.Fatalf("SetZone: %v", err)
	}
}

// wait lets seconds pass, and all that is to expire expire.
func (l *lab) wait(seconds int) {
	l.now += uint32(seconds)
	l.sweep()
}

func (l *lab) sweep() {
	for range sweepCalls {
		l.tab.Expire(l.now)
	}
}

// end4 reads "10.1.0.1:1000", or an address alone, whose port is 0.
func end4(s string) ([4]byte, uint16) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.As4(), 0
	}
	a := netip.MustParseAddrPort(s)
	return a.Addr().As4(), a.Port()
}

func endpointOf(s string) Endpoint { return wireEndpoint(end4(s)) }

// text is the inverse of endpointOf.
func text(e Endpoint) string { return e.AddrPort().String() }

// packet is one packet of a test. The identifier of an ICMP query is the port
// of whoever asks.
type packet struct {
	protocol uint8
	src, dst string

	flags    uint8 // TCP
	seq, ack uint32
	window   uint16
	scale    int   // window scale option, -1 for none; SYN only
	kind     uint8 // ICMP
	data     int
}

func udp(src, dst string) packet {
	return packet{protocol: frame.ProtoUDP, src: src, dst: dst, data: 5}
}

func tcp(src, dst string, flags uint8, seq, ack uint32, data int) packet {
	return packet{protocol: frame.ProtoTCP, src: src, dst: dst, flags: flags, seq: seq, ack: ack, window: 1000, scale: -1, data: data}
}

func syn(src, dst string) packet { return tcp(src, dst, tcpSYN, 100, 0, 0) }

func echo(src, dst string) packet {
	return packet{protocol: frame.ProtoICMP, src: src, dst: dst, kind: icmpEcho, data: 9}
}

func (p packet) wire() wire {
	w := wire{protocol: p.protocol, id: 77, payload: make([]byte, p.data)}
	w.src, w.sport = end4(p.src)
	w.dst, w.dport = end4(p.dst)
	for i := range w.payload {
		w.payload[i] = byte(i*7 + 1)
	}
	switch p.protocol {
	case frame.ProtoTCP:
		w.head = []byte{p.flags}
		if p.flags&tcpSYN != 0 && p.scale >= 0 {
			w.head = append(w.head, tcpOptionNop, tcpOptionScale, tcpScaleLen, byte(p.scale))
		}
	case frame.ProtoICMP:
		w.head = []byte{p.kind, 0}
		if p.kind == icmpEchoReply || p.kind == icmpTimestampReply {
			w.sport = w.dport
		}
	}
	return w
}

// frame returns the packet as a frame.
func (p packet) frame() (*frame.Frame, *frame.Parsed) {
	w := p.wire()
	f, parsed := w.frame()
	if p.protocol == frame.ProtoTCP {
		h := f.Bytes()[parsed.L4:]
		binary.BigEndian.PutUint32(h[4:], p.seq)
		binary.BigEndian.PutUint32(h[8:], p.ack)
		binary.BigEndian.PutUint16(h[14:], p.window)
		binary.BigEndian.PutUint16(h[16:], 0)
		binary.BigEndian.PutUint16(h[16:], ^naiveSum(append(w.pseudo(len(h)), h...)))
	}
	return f, parsed
}

// source and destination read the ends of a packet from its bytes, not from what
// the table says of it.
func source(f *frame.Frame) string      { return endOf(f, 26, 34) }
func destination(f *frame.Frame) string { return endOf(f, 30, 36) }

func endOf(f *frame.Frame, addr, port int) string {
	b := f.Bytes()
	e := Endpoint{Addr: mapped(b[addr:])}
	switch b[23] {
	case frame.ProtoTCP, frame.ProtoUDP:
		e.Port = binary.BigEndian.Uint16(b[port:])
	case frame.ProtoICMP:
		e.Port = binary.BigEndian.Uint16(b[38:])
	}
	return text(e)
}

// out sends a packet out of a zone, and returns what became of it and its source
// then. It checks what holds for each: that a packet which is translated has the
// right checksums and only differs in its source, and that any other is
// untouched.
func (l *lab) outOf(z Zone, p packet) (Verdict, string) {
	l.t.Helper()
	f, parsed := p.frame()
	before := slices.Clone(f.Bytes())
	r := l.tab.Outbound(z, l.via, f, parsed, l.now)
	l.check(r.Verdict, f, parsed, before, source, destination)
	return r.Verdict, source(f)
}

func (l *lab) out(p packet) (Verdict, string) { l.t.Helper(); return l.outOf(0, p) }

// in sends a packet in, and returns what became of it and its destination then.
func (l *lab) in(p packet) (Verdict, string) {
	l.t.Helper()
	f, parsed := p.frame()
	before := slices.Clone(f.Bytes())
	r := l.tab.Inbound(f, parsed, l.now)
	l.check(r.Verdict, f, parsed, before, destination, source)
	return r.Verdict, destination(f)
}

// check looks at a frame after its translation. changed reads the end that may
// have changed.
func (l *lab) check(v Verdict, f *frame.Frame, p *frame.Parsed, before []byte, changed, other func(*frame.Frame) string) {
	l.t.Helper()
	if v != Translated {
		if !slices.Equal(before, f.Bytes()) {
			l.t.Fatalf("a packet that is %v has changed", v)
		}
		return
	}
	checkWire(l.t, f.Bytes())
	var again frame.Parsed
	again.Parse(f)
	if again.SrcPort != p.SrcPort || again.DstPort != p.DstPort || again.Src() != p.Src() || again.Dst() != p.Dst() {
		l.t.Fatalf("Parsed is out of step")
	}
	was := new(frame.Frame)
	was.Set(before, 0)
	if p.Protocol != frame.ProtoICMP && other(was) != other(f) {
		l.t.Fatalf("the other end has changed from %s to %s", other(was), other(f))
	}
}

// mustOut sends a packet that has to go out, and returns its source.
func (l *lab) mustOut(p packet) string {
	l.t.Helper()
	v, src := l.out(p)
	if v != Translated {
		l.t.Fatalf("out %s -> %s: %v", p.src, p.dst, v)
	}
	return src
}

// mustIn sends a packet that has to come in to an inside endpoint.
func (l *lab) mustIn(p packet, inside string) {
	l.t.Helper()
	v, dst := l.in(p)
	if v != Translated || dst != inside {
		l.t.Fatalf("in %s -> %s: %v, to %s; want it at %s", p.src, p.dst, v, dst, inside)
	}
}

// wantOut and wantIn send a packet that has to get a verdict.
func (l *lab) wantOut(p packet, want Verdict) {
	l.t.Helper()
	if v, _ := l.out(p); v != want {
		l.t.Fatalf("out %s -> %s: %v, want %v", p.src, p.dst, v, want)
	}
}

func (l *lab) wantIn(p packet, want Verdict) {
	l.t.Helper()
	if v, _ := l.in(p); v != want {
		l.t.Fatalf("in %s -> %s: %v, want %v", p.src, p.dst, v, want)
	}
}

// flows returns the table as a list.
func (l *lab) flows() (all []Flow) {
	for f := range l.tab.Flows {
		all = append(all, f)
	}
	return all
}

// only returns the one flow of the table.
func (l *lab) only() Flow {
	l.t.Helper()
	all := l.flows()
	if len(all) != 1 {
		l.t.Fatalf("%d flows, want one: %v", len(all), all)
	}
	return all[0]
}

// counters returns those of one zone and class.
func (l *lab) counters(z Zone, c Class) Counters {
	for _, s := range l.tab.Stats().Zones {
		if s.Zone == z {
			return s.Classes[c]
		}
	}
	return Counters{}
}
