package nat

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

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

// lab is a table with zone 0 and a clock of its own. Tests name IPv4 addresses; in a
// lab of IPv6 they stand for what as6 makes of them.
type lab struct {
	t   reporter
	tab *Table
	now uint32
	via uint16 // where packets from inside come in
	six bool
}

// eachFamily runs a test for IPv4 and IPv6. Which one a lab is of follows from the name
// of its test.
func eachFamily(t *testing.T, test func(t *testing.T)) {
	t.Run("IPv4", test)
	t.Run("IPv6", test)
}

func isSix(t reporter) bool {
	named, ok := t.(interface{ Name() string })
	return ok && strings.Contains(named.Name(), "/IPv6")
}

func newLab(t reporter, cfg ZoneConfig) *lab { return newLabAt(t, cfg, outsideA) }

func newLabAt(t reporter, cfg ZoneConfig, addrs ...string) *lab {
	t.Helper()
	l := &lab{t: t, now: 1, six: isSix(t)}
	l.tab = New(Config{Addresses: l.addresses(addrs...)})
	l.zone(0, cfg)
	return l
}

// addresses returns addresses of the lab's family.
func (l *lab) addresses(names ...string) []netip.Addr { return l.own(addresses(names...)) }

func (l *lab) own(all []netip.Addr) (own []netip.Addr) {
	for _, a := range all {
		if l.six && a.Is4() {
			a = netip.AddrFrom16(as6(a.As4()))
		}
		own = append(own, a)
	}
	return own
}

// endpoint returns an endpoint of the lab's family.
func (l *lab) endpoint(s string) Endpoint {
	e := endpointOf(s)
	if l.six {
		e.Addr = as6([4]byte(e.Addr[12:]))
	}
	return e
}

// config returns a configuration in the lab's family.
func (l *lab) config(cfg ZoneConfig) ZoneConfig {
	if !l.six {
		return cfg
	}
	cfg.Addresses = l.own(cfg.Addresses)
	cfg.Publish = slices.Clone(cfg.Publish)
	for i := range cfg.Publish {
		cfg.Publish[i].To = l.endpoint(text(cfg.Publish[i].To))
	}
	cfg.Prefixes = slices.Clone(cfg.Prefixes)
	for i, m := range cfg.Prefixes {
		cfg.Prefixes[i] = PrefixMap{l.prefix(m.Inside), l.prefix(m.Outside)}
	}
	return cfg
}

// prefix returns the prefix that holds what as6 makes of the addresses of another one.
func (l *lab) prefix(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4() {
		return p
	}
	return netip.PrefixFrom(netip.AddrFrom16(as6(p.Addr().As4())), 32+p.Bits()).Masked()
}

func addresses(names ...string) (all []netip.Addr) {
	for _, n := range names {
		all = append(all, netip.MustParseAddr(n))
	}
	return all
}

func (l *lab) zone(z Zone, cfg ZoneConfig) {
	l.t.Helper()
	if err := l.tab.SetZone(z, l.config(cfg)); err != nil {
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

// text is the inverse of endpointOf, and of a lab's endpoint.
func text(e Endpoint) string {
	if v4 := [4]byte(e.Addr[12:]); as6(v4) == e.Addr {
		e = wireEndpoint(v4, e.Port)
	}
	return e.AddrPort().String()
}

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

// frame returns a packet as a frame of the lab's family.
func (l *lab) frame(p packet) (*frame.Frame, *frame.Parsed) { return p.frameOf(l.six) }

// wire returns a packet of the lab's family.
func (l *lab) wire(p packet) wire {
	w := p.wire()
	w.six = l.six
	return w
}

func (p packet) frameOf(six bool) (*frame.Frame, *frame.Parsed) {
	w := p.wire()
	w.six = six
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
func source(f *frame.Frame) string      { return endOf(f, 0) }
func destination(f *frame.Frame) string { return endOf(f, 1) }

func endOf(f *frame.Frame, end int) string {
	b := f.Bytes()
	e, protocol, l4 := Endpoint{}, b[23], icmpAt(b)
	if b[14]>>4 == 4 {
		e.Addr = mapped(b[26+4*end:])
	} else {
		e.Addr, protocol = [16]byte(b[22+16*end:]), b[20]
	}
	switch protocol {
	case frame.ProtoTCP, frame.ProtoUDP:
		e.Port = binary.BigEndian.Uint16(b[l4+2*end:])
	case frame.ProtoICMP, frame.ProtoICMPv6:
		e.Port = binary.BigEndian.Uint16(b[l4+4:])
	}
	return text(e)
}

// out sends a packet out of a zone, and returns what became of it and its source
// then. It checks what holds for each: that a packet which is translated has the
// right checksums and only differs in its source, and that any other is
// untouched.
func (l *lab) outOf(z Zone, p packet) (Verdict, string) {
	l.t.Helper()
	f, parsed := l.frame(p)
	before := slices.Clone(f.Bytes())
	r := l.tab.Outbound(z, l.via, f, parsed, l.now)
	l.check(r.Verdict, f, parsed, before, source, destination)
	return r.Verdict, source(f)
}

func (l *lab) out(p packet) (Verdict, string) { l.t.Helper(); return l.outOf(0, p) }

// in sends a packet in, and returns what became of it and its destination then.
func (l *lab) in(p packet) (Verdict, string) {
	l.t.Helper()
	f, parsed := l.frame(p)
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
	if !isICMP(p.Protocol) && other(was) != other(f) {
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

// flows returns the table as a list, with the protocols as tests name them.
func (l *lab) flows() (all []Flow) {
	for f := range l.tab.Flows {
		if l.six && f.Protocol == frame.ProtoICMPv6 {
			f.Protocol = frame.ProtoICMP
		}
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
