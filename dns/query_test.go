package dns

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// sent gives bytes to a resolver that must answer at once or never, and returns the reply.
func (l *lab) sent(msg []byte, tcp bool) []byte {
	l.t.Helper()
	select {
	case b := <-l.send(msg, tcp):
		return b
	default:
		return nil
	}
}

func TestHostileMessages(t *testing.T) {
	l := newLab(t, labConfig(), labLeases())
	good := l.pack(stub("db.lab", wire.TypeA))
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	header := func(at int, v uint16) []byte {
		return change(func(b []byte) []byte { binary.BigEndian.PutUint16(b[at:], v); return b })
	}
	raw := func(question ...byte) []byte { return append(bytes.Clone(header(4, 1)[:headerLen]), question...) }
	opt := []byte{0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0}
	withOPT := func(n int) []byte {
		return append(header(10, uint16(n)), bytes.Repeat(opt, n)...)
	}
	for _, tt := range []struct {
		what  string
		msg   []byte
		rcode int // -1: no reply
	}{
		{"a good one", good, wire.RcodeSuccess},
		{"nothing", nil, -1},
		{"half a header", good[:11], -1},
		{"more than a message", make([]byte, 65536), -1},
		{"a response", header(2, bitQR|bitRD), -1},
		{"a response of another opcode", header(2, bitQR|4<<11), -1},
		{"NOTIFY", header(2, 4<<11), wire.RcodeNotImplemented},
		{"UPDATE", header(2, 5<<11), wire.RcodeNotImplemented},
		{"STATUS without a question", header(2, 2<<11)[:headerLen], wire.RcodeNotImplemented},
		{"no question", header(4, 0)[:headerLen], wire.RcodeFormatError},
		{"two questions", append(header(4, 2), good[headerLen:]...), wire.RcodeFormatError},
		{"65535 questions", header(4, 65535), wire.RcodeFormatError},
		{"65535 records that are not there", header(6, 65535), wire.RcodeFormatError},
		{"a name that points at itself", raw(0xc0, 12, 0, 1, 0, 1), wire.RcodeFormatError},
		{"a name that points at the header", raw(1, 'a', 0xc0, 0, 0, 1, 0, 1), wire.RcodeFormatError},
		{"a label of a reserved kind", raw(0x40, 0, 0, 1, 0, 1), wire.RcodeFormatError},
		{"a label of 64 bytes", raw(append(bytes.Repeat([]byte{64}, 65), 0, 0, 1, 0, 1)...), wire.RcodeFormatError},
		{"a label over the end", raw(63, 'a', 'b'), wire.RcodeFormatError},
		{"no end of the name", raw(1, 'a', 1, 'b'), wire.RcodeFormatError},
		{"no class", raw(1, 'a', 0, 0, 1, 0), wire.RcodeFormatError},
		{"a name of 256 bytes", raw(append(bytes.Repeat([]byte{1, 'a'}, 127), 1, 'a', 0, 0, 1, 0, 1)...), wire.RcodeFormatError},
		{"a name of 255 bytes", raw(append(bytes.Repeat([]byte{1, 'a'}, 127), 0, 0, 1, 0, 1)...), wire.RcodeRefused},
		{"a name of 255 bytes in few labels", raw(append(bytes.Repeat(append([]byte{63}, bytes.Repeat([]byte{'a'}, 63)...), 4)[:254], 0, 0, 1, 0, 1)...), wire.RcodeFormatError},
		{"two OPT records", withOPT(2), wire.RcodeFormatError},
		{"one OPT record", withOPT(1), wire.RcodeSuccess},
		{"an OPT record with a name", append(header(10, 1), append([]byte{1, 'a'}, opt...)...), wire.RcodeFormatError},
		{"an OPT record over the end", withOPT(1)[:len(good)+10], wire.RcodeFormatError},
		{"options over the end", func() []byte { b := withOPT(1); b[len(b)-1] = 1; return b }(), wire.RcodeFormatError},
		{"a record with a compressed name", append(header(10, 1), 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0), wire.RcodeSuccess},
		{"a record with half a pointer", append(header(10, 1), 0xc0), wire.RcodeFormatError},
		{"bytes behind the end", append(bytes.Clone(good), 1, 2, 3), wire.RcodeSuccess},
		{"class CH", header(len(good)-2, wire.ClassCHAOS), wire.RcodeRefused},
		{"class ANY", header(len(good)-2, wire.ClassANY), wire.RcodeRefused},
		{"AXFR", header(len(good)-4, wire.TypeAXFR), wire.RcodeRefused},
		{"IXFR", header(len(good)-4, wire.TypeIXFR), wire.RcodeRefused},
		{"type OPT", header(len(good)-4, wire.TypeOPT), wire.RcodeRefused},
		{"type 0", header(len(good)-4, 0), wire.RcodeRefused},
	} {
		for _, tcp := range []bool{false, true} {
			b := l.sent(tt.msg, tcp)
			switch {
			case tt.rcode < 0 && b != nil:
				t.Errorf("%s: replied %x", tt.what, b)
			case tt.rcode >= 0 && (len(b) < headerLen || rcodeOf(b) != tt.rcode || !bytes.Equal(b[:2], tt.msg[:2])):
				t.Errorf("%s: replied %x, want rcode %d", tt.what, b, tt.rcode)
			case len(b) > headerLen && new(wire.Msg).Unpack(b) != nil:
				t.Errorf("%s: the reply %x cannot be read", tt.what, b)
			}
		}
	}
	if l.outcome(Dropped) != 10 || l.outcome(Malformed) == 0 || l.outcome(Unsupported) != 6 {
		t.Errorf("outcomes %v", l.Stats().Queries)
	}
}

func TestVersionBindIsRefused(t *testing.T) {
	l := newLab(t, labConfig(), nil)
	q := stub("version.bind", wire.TypeTXT)
	q.Question[0].Qclass = wire.ClassCHAOS
	if m := l.exchange(q, false); m.Rcode != wire.RcodeRefused || len(m.Answer) != 0 {
		t.Error(m)
	}
}

func TestEDNS(t *testing.T) {
	l := newLab(t, labConfig(), nil)
	for _, do := range []bool{false, true} {
		m := l.exchange(stub("db.lab", wire.TypeA).SetEdns0(4096, do), false)
		o := m.IsEdns0()
		if o.UDPSize() != 1232 || o.Do() != do || o.Version() != 0 || len(o.Option) != 0 || len(m.Answer) != 1 {
			t.Errorf("DO %v: %v", do, m)
		}
	}
	q := stub("db.lab", wire.TypeA).SetEdns0(4096, true)
	q.IsEdns0().SetVersion(1)
	q.IsEdns0().Option = append(q.IsEdns0().Option, &wire.EDNS0_COOKIE{Code: wire.EDNS0COOKIE, Cookie: "0123456789abcdef"})
	m := l.exchange(q, false)
	if o := m.IsEdns0(); m.Rcode != wire.RcodeBadVers || o.Version() != 0 || len(m.Answer) != 0 || !o.Do() {
		t.Errorf("version 1: %v", m)
	}
	q = stub("db.lab", wire.TypeA).SetEdns0(4096, false) // behind another record
	q.Extra = append([]wire.RR{record(t, "x.test. 1 IN A 10.0.0.1")}, q.Extra...)
	if m := l.exchange(q, false); m.IsEdns0() == nil || len(m.Answer) != 1 {
		t.Error(m)
	}
}

// TestTruncation: what the client cannot take becomes a TC bit, over UDP only.
func TestTruncation(t *testing.T) {
	var forty, hundred []netip.Addr
	for i := range 100 {
		hundred = append(hundred, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	forty = hundred[:40]
	l := newLab(t, Config{Domain: "lab", Hosts: map[string][]netip.Addr{"forty": forty, "hundred": hundred, "one": hundred[:1]}}, nil)
	for _, tt := range []struct {
		name string
		size uint16 // of EDNS; 0: none
		tcp  bool
		want int // answers; -1: cut
	}{
		{"forty", 0, false, -1}, // 12 + 11 + 40*16 bytes
		{"forty", 0, true, 40},
		{"forty", 100, false, -1}, // taken for 512
		{"one", 1, false, 1},
		{"forty", 673, false, -1},
		{"forty", 674, false, 40},
		{"forty", 65535, false, 40},
		{"hundred", 65535, false, -1}, // ours is 1232
		{"hundred", 512, true, 100},
	} {
		q := stub(tt.name, wire.TypeA)
		if tt.size > 0 {
			q.SetEdns0(tt.size, false)
		}
		m := l.exchange(q, tt.tcp)
		if m.Truncated != (tt.want < 0) || len(m.Answer) != max(tt.want, 0) || m.Rcode != wire.RcodeSuccess {
			t.Errorf("%s, size %d, TCP %v: %s", tt.name, tt.size, tt.tcp, short(m))
		}
	}
}

// TestPayload: what the network does not carry is cut, whatever the client takes,
// and the sizes are exact.
func TestPayload(t *testing.T) {
	var list []netip.Addr
	for i := range 100 {
		list = append(list, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	cfg := Config{Domain: "lab", Hosts: map[string][]netip.Addr{"forty": list[:40], "all": list[:77], "one": list[:1]}}
	l := newLab(t, cfg, nil)
	for _, tt := range []struct {
		payload int // of the network
		name    string
		size    uint16 // of EDNS; 0: none
		tcp     bool
		want    int // answers; -1: cut
	}{
		{0, "all", 4096, false, -1}, // 12 + 9 + 77*16 + 11 bytes
		{9000, "all", 4096, false, -1},
		{1000, "forty", 4096, false, 40}, // 12 + 11 + 40*16 + 11 bytes
		{674, "forty", 4096, false, 40},
		{673, "forty", 4096, false, -1},
		{673, "forty", 4096, true, 40},
		{40, "forty", 0, true, 40},
		{37, "one", 0, false, 1}, // 12 + 9 + 16 bytes
		{36, "one", 0, false, -1},
		{47, "one", 4096, false, -1},
		{48, "one", 1, false, 1}, // taken for 512
	} {
		cfg.Payload = tt.payload
		l.Reconfigure(cfg)
		q := stub(tt.name, wire.TypeA)
		if tt.size > 0 {
			q.SetEdns0(tt.size, false)
		}
		m := l.exchange(q, tt.tcp)
		if m.Truncated != (tt.want < 0) || len(m.Answer) != max(tt.want, 0) || m.Rcode != wire.RcodeSuccess {
			t.Errorf("payload %d, %s, size %d, TCP %v: %s", tt.payload, tt.name, tt.size, tt.tcp, short(m))
		}
	}
}

// TestCutReplyFits: a reply that is cut is no longer than its query, so it fits into
// the smallest network (RFC 791 clause 3.2: 68 bytes).
func TestCutReplyFits(t *testing.T) {
	cfg := labConfig()
	cfg.Payload = 68 - 28
	l := newLab(t, cfg, labLeases())
	for _, q := range []*wire.Msg{
		stub("db.lab", wire.TypeAAAA), stub("nobody.lab", wire.TypeA).SetEdns0(1232, true), stub("x.test", wire.TypeA),
		stub("info.lab", wire.TypeTXT).SetEdns0(4096, false), stub("_ldap._tcp", wire.TypeSRV), stub("x.test", wire.TypeAXFR),
	} {
		msg := l.pack(q)
		if b := l.sent(msg, false); b == nil || len(b) > cfg.Payload || len(msg) > cfg.Payload {
			t.Errorf("%d bytes for the %d of %v", len(b), len(msg), q.Question[0])
		}
	}
}

func TestSkipName(t *testing.T) {
	for in, want := range map[string]int{
		"\x00": 1, "\x01a\x00": 3, "\x01a\xc0\x00": 4, "\xc0\x00": 2,
		"": -1, "\x01": -1, "\x01a": -1, "\xc0": -1, "\x80\x00": -1, strings.Repeat("\x3f", 10): -1,
	} {
		end, ok := skipName([]byte(in), 0)
		if ok != (want >= 0) || ok && end != want {
			t.Errorf("%q: %d %v", in, end, ok)
		}
	}
}
