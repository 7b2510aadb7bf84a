package snooping

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

var (
	ownMAC  = frame.MAC{0x02, 0, 0, 0, 0, 0xfe}
	hostMAC = frame.MAC{0x02, 0, 0, 0, 0, 0x0a}
)

// packet is an IP packet to a group, to be built byte by byte. The zero values
// of most fields make a sound one.
type packet struct {
	src, dst string
	protocol uint8  // default: IGMP or ICMPv6, with its checksum
	body     []byte // with zero for a checksum
	noAlert  bool
	exts     []byte // IPv6: instead of the hop-by-hop header, which next names
	next     uint8
	fragment uint16 // IPv4: flags and offset
	ttl      uint8  // default 1
	csum     int    // where the checksum is in body; default 2, -1 for none
}

// frame returns the packet as a frame, padded as hosts do.
func (p packet) frame() *frame.Frame { return wrap(p.bytes()) }

func (p packet) bytes() []byte {
	src, dst := netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)
	if p.ttl == 0 {
		p.ttl = 1
	}
	p.body = slices.Clone(p.body)
	d := dst.As16()
	var b []byte
	if dst.Is4() {
		b = append(b, 0x01, 0x00, 0x5e, d[13]&0x7f, d[14], d[15])
		b = append(b, hostMAC[:]...)
		b = p.appendIPv4(append(b, 0x08, 0x00), src.AsSlice(), dst.AsSlice())
	} else {
		b = append(b, 0x33, 0x33, d[12], d[13], d[14], d[15])
		b = append(b, hostMAC[:]...)
		b = p.appendIPv6(append(b, 0x86, 0xdd), src.AsSlice(), dst.AsSlice())
	}
	for len(b) < 60 {
		b = append(b, 0)
	}
	return b
}

func (p packet) appendIPv4(b, src, dst []byte) []byte {
	if p.protocol == 0 {
		p.protocol = 2
	}
	alert := []byte{0x94, 4, 0, 0}
	if p.noAlert {
		alert = nil
	}
	h := []byte{0x45 + byte(len(alert)/4), 0, 0, byte(20 + len(alert) + len(p.body)), 0, 7,
		byte(p.fragment >> 8), byte(p.fragment), p.ttl, p.protocol, 0, 0}
	h = slices.Concat(h, src, dst, alert)
	binary.BigEndian.PutUint16(h[2:], uint16(len(h)+len(p.body)))
	binary.BigEndian.PutUint16(h[10:], slowChecksum(h))
	p.putChecksum(nil)
	return slices.Concat(b, h, p.body)
}

func (p packet) appendIPv6(b, src, dst []byte) []byte {
	if p.protocol == 0 {
		p.protocol = 58
	}
	exts, next := []byte{p.protocol, 0, 5, 2, 0, 0, 1, 0}, uint8(0)
	if p.noAlert {
		exts, next = nil, p.protocol
	}
	if p.exts != nil {
		exts, next = p.exts, p.next
	}
	p.putChecksum(slices.Concat(src, dst, []byte{0, 0, byte(len(p.body) >> 8), byte(len(p.body)), 0, 0, 0, p.protocol}))
	h := []byte{0x60, 0, 0, 0, 0, 0, next, p.ttl}
	binary.BigEndian.PutUint16(h[4:], uint16(len(exts)+len(p.body)))
	return slices.Concat(b, h, src, dst, exts, p.body)
}

func (p *packet) putChecksum(pseudo []byte) {
	if p.csum == 0 {
		p.csum = 2
	}
	if p.csum > 0 && len(p.body) >= p.csum+2 {
		binary.BigEndian.PutUint16(p.body[p.csum:], slowChecksum(append(pseudo, p.body...)))
	}
}

// slowChecksum is RFC 1071 word by word.
func slowChecksum(b []byte) uint16 {
	sum := uint32(0)
	for i, v := range b {
		sum += uint32(v) << (8 * (1 - i%2))
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// wrap makes a frame of bytes; tags stay in band.
func wrap(b []byte) *frame.Frame {
	f := new(frame.Frame)
	f.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
	return f
}

// rec is a group record of a v3 report.
type rec struct {
	kind    byte
	group   string
	sources []string
	aux     int // words
}

func addrBytes(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// body of an IGMP message: type, code and what follows the checksum.
func body(kind, code byte, parts ...[]byte) []byte {
	return slices.Concat([]byte{kind, code, 0, 0}, slices.Concat(parts...))
}

func records(list []rec) []byte {
	b := []byte{0, 0, byte(len(list) >> 8), byte(len(list))}
	for _, r := range list {
		b = append(b, r.kind, byte(r.aux), byte(len(r.sources)>>8), byte(len(r.sources)))
		b = append(b, addrBytes(r.group)...)
		for _, s := range r.sources {
			b = append(b, addrBytes(s)...)
		}
		b = append(b, make([]byte, 4*r.aux)...)
	}
	return b
}

const (
	host4 = "192.0.2.10"
	host6 = "fe80::a"
)

// is6 reports the family of a test's group, by which helpers pick IGMP or MLD.
func is6(group string) bool { return netip.MustParseAddr(group).Is6() }

// joinFrame is a v2 or MLDv1 report.
func joinFrame(group string) *frame.Frame {
	if is6(group) {
		return packet{src: host6, dst: group, body: body(131, 0, make([]byte, 4), addrBytes(group))}.frame()
	}
	return packet{src: host4, dst: group, body: body(0x16, 0, addrBytes(group))}.frame()
}

// leaveFrame is a v2 leave or MLDv1 done.
func leaveFrame(group string) *frame.Frame {
	if is6(group) {
		return packet{src: host6, dst: "ff02::2", body: body(132, 0, make([]byte, 4), addrBytes(group))}.frame()
	}
	return packet{src: host4, dst: "224.0.0.2", body: body(0x17, 0, addrBytes(group))}.frame()
}

// reportFrame is a v3 or MLDv2 report.
func reportFrame(list ...rec) *frame.Frame {
	if is6(list[0].group) {
		return packet{src: host6, dst: "ff02::16", body: body(143, 0, records(list))}.frame()
	}
	return packet{src: host4, dst: "224.0.0.22", body: body(0x22, 0, records(list))}.frame()
}

// queryFrame is a v3 or MLDv2 query; group is unspecified in a general one.
// flags are S and QRV; response is in the unit of the family.
func queryFrame(src, group string, response uint16, flags, interval byte, sources ...string) *frame.Frame {
	p := packet{src: src, dst: group}
	tail := append(addrBytes(group), flags, interval, 0, byte(len(sources)))
	for _, s := range sources {
		tail = append(tail, addrBytes(s)...)
	}
	if is6(group) {
		p.body = body(130, 0, []byte{byte(response >> 8), byte(response), 0, 0}, tail)
		if group == "::" {
			p.dst = "ff02::1"
		}
		return p.frame()
	}
	p.body = body(0x11, byte(response), tail)
	if group == "0.0.0.0" {
		p.dst = "224.0.0.1"
	}
	return p.frame()
}

// dataFrame is a UDP packet to a group.
func dataFrame(group string) *frame.Frame {
	p := packet{src: host4, dst: group, protocol: frame.ProtoUDP, body: make([]byte, 20), noAlert: true, ttl: 16, csum: -1}
	if is6(group) {
		p.src = host6
	}
	return p.frame()
}

// lab is a Snooper on a clock of the test's.
type lab struct {
	t *testing.T
	*Snooper
	clock time.Duration
	sent  []Query // since the last take
}

func newLab(t *testing.T, c Config, vlans ...uint16) *lab {
	t.Helper()
	if c.Address == (frame.MAC{}) {
		c.Address = ownMAC
	}
	l := &lab{t: t, Snooper: New(c), clock: time.Hour}
	l.SetVLANs(vlans)
	return l
}

// receive hands a frame in at a port, in VLAN 0 unless told otherwise.
func (l *lab) receive(port uint16, f *frame.Frame, vlan ...uint16) {
	v := uint16(0)
	if len(vlan) > 0 {
		v = vlan[0]
	}
	l.Receive(port, v, f, l.clock)
}

// run ticks for a time.
func (l *lab) run(d time.Duration) {
	for range int(d / time.Second) {
		l.clock += time.Second
		l.sent = append(l.sent, l.Tick(l.clock)...)
	}
}

func (l *lab) take() []Query {
	q := l.sent
	l.sent = nil
	return q
}

// wantPorts checks where a packet to a group goes.
func (l *lab) wantPorts(group string, want ...uint16) {
	l.t.Helper()
	l.wantPortsIn(0, group, want...)
}

func (l *lab) wantPortsIn(vlan uint16, group string, want ...uint16) {
	l.t.Helper()
	set, restrict := l.Table().Ports(vlan, dataFrame(group))
	if got := portsOf(set); !restrict || !slices.Equal(got, want) {
		l.t.Errorf("at %v, %s goes to %v (restricted: %v), want %v", l.clock-time.Hour, group, got, restrict, want)
	}
}

func (l *lab) wantFlood(group string) {
	l.t.Helper()
	if set, restrict := l.Table().Ports(0, dataFrame(group)); restrict {
		l.t.Errorf("at %v, %s goes to %v, want a flood", l.clock-time.Hour, group, portsOf(set))
	}
}

func portsOf(set []uint64) (list []uint16) {
	for i := range len(set) * 64 {
		if set[i/64]&(1<<(i%64)) != 0 {
			list = append(list, uint16(i))
		}
	}
	return list
}

// status returns that of a domain.
func (l *lab) status(vlan uint16, family Family) Status {
	l.t.Helper()
	for _, s := range l.Status() {
		if s.VLAN == vlan && s.Family == family {
			return s
		}
	}
	l.t.Fatalf("no status of VLAN %d, family %d", vlan, family)
	return Status{}
}
