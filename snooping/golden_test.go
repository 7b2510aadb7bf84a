package snooping

import (
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// The bytes below were worked out from the RFCs by a program that shares nothing
// with this package: one line each for Ethernet, IP and the message.

func unhex(t *testing.T, lines ...string) []byte {
	t.Helper()
	var all []byte
	for _, l := range lines {
		b, err := hex.DecodeString(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

var golden = []struct {
	name  string
	kind  Kind
	want  message
	lines []string
}{
	{
		"IGMPv1 report", Report,
		message{family: IPv4, version: 1, source: ip("192.0.2.10"), group: ip("239.1.2.3")},
		[]string{
			"01005e01020302000000000a0800",
			"45c0001c0000000001020612c000020aef010203",
			"1200fcfaef010203000000000000000000000000000000000000",
		},
	}, {
		"IGMPv2 report", Report,
		message{family: IPv4, version: 2, source: ip("192.0.2.10"), group: ip("239.1.2.3")},
		[]string{
			"01005e01020302000000000a0800",
			"46c000200000000001027109c000020aef01020394040000",
			"1600f8faef0102030000000000000000000000000000",
		},
	}, {
		"IGMPv2 leave", Report,
		message{family: IPv4, version: 2, leave: true, source: ip("192.0.2.10"), group: ip("239.1.2.3")},
		[]string{
			"01005e00000202000000000a0800",
			"46c00020000000000102820bc000020ae000000294040000",
			"1700f7faef0102030000000000000000000000000000",
		},
	}, {
		"IGMPv3 report", Report,
		message{family: IPv4, version: 3, source: ip("192.0.2.10"), count: 2},
		[]string{
			"01005e00001602000000000a0800",
			"46c0003c00000000010281dbc000020ae000001694040000",
			"220007e80000000204000000ef01020305010002e8010203c6336401c6336402deadbeef",
		},
	}, {
		"IGMPv1 query", Querier,
		message{family: IPv4, version: 1, source: ip("192.0.2.10"), response: 10 * time.Second},
		[]string{
			"01005e00000102000000000a0800",
			"45c0001c0000000001021715c000020ae0000001",
			"1100eeff00000000000000000000000000000000000000000000",
		},
	}, {
		"IGMPv2 query", Querier,
		message{family: IPv4, version: 2, source: ip("192.0.2.10"), response: 10 * time.Second},
		[]string{
			"01005e00000102000000000a0800",
			"46c00020000000000102820cc000020ae000000194040000",
			"1164ee9b000000000000000000000000000000000000",
		},
	}, {
		// 0x8a is (0x1a << 3) tenths, 0x9c is (0x1c << 4) seconds.
		"IGMPv3 query", Querier,
		message{family: IPv4, version: 3, source: ip("192.0.2.10"), group: ip("239.1.2.3"),
			response: 20800 * time.Millisecond, interval: 448 * time.Second, suppress: true, sources: true},
		[]string{
			"01005e01020302000000000a0800",
			"46c000280000000001027101c000020aef01020394040000",
			"118ac89eef0102030a9c0001c6336401000000000000",
		},
	}, {
		"MLDv1 query", Querier,
		message{family: IPv6, version: 1, source: ip("fe80::a"), response: 10 * time.Second},
		[]string{
			"33330000000102000000000a86dd",
			"6000000000200001fe80000000000000000000000000000aff0200000000000000000000000000013a00050200000100",
			"8200590e2710000000000000000000000000000000000000",
		},
	}, {
		"MLDv1 report", Report,
		message{family: IPv6, version: 1, source: ip("fe80::a"), group: ip("ff0e::1:2")},
		[]string{
			"33330001000202000000000a86dd",
			"6000000000200001fe80000000000000000000000000000aff0e00000000000000000000000100023a00050200000100",
			"83007ffe00000000ff0e0000000000000000000000010002",
		},
	}, {
		"MLDv1 done", Report,
		message{family: IPv6, version: 1, leave: true, source: ip("fe80::a"), group: ip("ff0e::1:2")},
		[]string{
			"33330000000202000000000a86dd",
			"6000000000200001fe80000000000000000000000000000aff0200000000000000000000000000023a00050200000100",
			"84007f0b00000000ff0e0000000000000000000000010002",
		},
	}, {
		// 0x8123 is (0x1123 << 3) milliseconds.
		"MLDv2 query", Querier,
		message{family: IPv6, version: 2, source: ip("fe80::a"), group: ip("ff0e::1:2"),
			response: 35096 * time.Millisecond, interval: 448 * time.Second, suppress: true, sources: true},
		[]string{
			"33330001000202000000000a86dd",
			"6000000000340001fe80000000000000000000000000000aff0e00000000000000000000000100023a00050200000100",
			"8200c76f81230000ff0e00000000000000000000000100020a9c000120010db8000000000000000000000001",
		},
	}, {
		"MLDv2 report from nowhere", Report,
		message{family: IPv6, version: 2, count: 2},
		[]string{
			"33330000001602000000000a86dd",
			"60000000004c000100000000000000000000000000000000ff0200000000000000000000000000163a00050200000100",
			"8f009db80000000204000000ff0e000000000000000000000001000206010001ff3e000000000000000000000001000220010db8000000000000000000000001deadbeef",
		},
	},
}

// ip returns an address in the form of message.
func ip(s string) [16]byte {
	f := IPv4
	if is6(s) {
		f = IPv6
	}
	return f.address(addrBytes(s))
}

func TestGoldenMessages(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			f := wrap(unhex(t, tt.lines...))
			if got := Parse(f); got != tt.kind {
				t.Errorf("Parse: %d, want %d", got, tt.kind)
			}
			var m message
			m.decode(f)
			m.records = nil
			if !equal(&m, &tt.want) {
				t.Errorf("got  %+v\nwant %+v", m, tt.want)
			}
		})
	}
}

func equal(a, b *message) bool {
	return a.family == b.family && a.version == b.version && a.leave == b.leave &&
		a.source == b.source && a.group == b.group && a.response == b.response &&
		a.interval == b.interval && a.suppress == b.suppress && a.sources == b.sources &&
		a.count == b.count
}

func TestGoldenRecords(t *testing.T) {
	for _, tt := range []struct {
		name string
		want []record
	}{
		{"IGMPv3 report", []record{
			{changeToExclude, 0, ip("239.1.2.3")}, {allowSources, 2, ip("232.1.2.3")},
		}},
		{"MLDv2 report from nowhere", []record{
			{changeToExclude, 0, ip("ff0e::1:2")}, {blockSources, 1, ip("ff3e::1:2")},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var m message
			for _, g := range golden {
				if g.name == tt.name {
					m.decode(wrap(unhex(t, g.lines...)))
				}
			}
			var got []record
			for rest, ok := m.records, true; len(got) < m.count; {
				var r record
				if r, rest, ok = m.family.nextRecord(rest); !ok {
					t.Fatal("a record is missing")
				}
				got = append(got, r)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %v\nwant %v", got, tt.want)
			}
		})
	}
}

func TestGoldenQueries(t *testing.T) {
	l := newLab(t, Config{Querier: true}, 5)
	l.run(time.Second)
	l.receive(3, joinFrame("239.129.2.3"), 5)
	l.receive(3, joinFrame("ff0e::1:2"), 5)
	l.receive(3, leaveFrame("239.129.2.3"), 5)
	l.receive(3, leaveFrame("ff0e::1:2"), 5)
	l.run(time.Second)
	got := l.take()
	want := []Query{
		{5, -1, unhex(t,
			"01005e0000010200000000fe0800",
			"46c00024000000000102441300000000e000000194040000",
			"1164ec1e00000000027d000000000000000000000000")},
		{5, -1, unhex(t,
			"3333000000010200000000fe86dd",
			"6000000000240001fe80000000000000000000fffe0000feff0200000000000000000000000000013a00050200000100",
			"820056992710000000000000000000000000000000000000027d0000")},
		{5, 3, unhex(t,
			"01005e0102030200000000fe0800",
			"46c00024000000000102329000000000ef81020394040000",
			"110afaf3ef810203027d000000000000000000000000")},
		{5, 3, unhex(t,
			"3333000100020200000000fe86dd",
			"6000000000240001fe80000000000000000000fffe0000feff0e00000000000000000000000100023a00050200000100",
			"82007aa103e80000ff0e0000000000000000000000010002027d0000")},
	}
	if len(got) != len(want) {
		t.Fatalf("%d queries, want %d", len(got), len(want))
	}
	for i, q := range got {
		if q.VLAN != want[i].VLAN || q.Port != want[i].Port || !slices.Equal(q.Frame, want[i].Frame) {
			t.Errorf("query %d\ngot  %d %d %x\nwant %d %d %x", i, q.VLAN, q.Port, q.Frame,
				want[i].VLAN, want[i].Port, want[i].Frame)
		}
		if k := Parse(wrap(q.Frame)); k != Querier {
			t.Errorf("query %d: Parse calls it %d", i, k)
		}
	}
}

func TestCodes(t *testing.T) {
	for v := range uint(31744) {
		c := compact(v)
		if got := expand(uint(c), 8); got < v || c > 0 && expand(uint(c)-1, 8) >= v {
			t.Fatalf("%d is code %d, which stands for %d", v, c, got)
		}
	}
	if compact(1<<20) != 0xff || expand(0xff, 8) != 31744 || expand(0xffff, 16) != 0x1fff<<10 || expand(0x7fff, 16) != 0x7fff {
		t.Error("the ends of the scale are wrong")
	}
}

func TestQueryTimes(t *testing.T) {
	for _, tt := range []struct {
		interval    time.Duration
		code, times byte // response and interval
	}{
		{0, 100, 125},
		{time.Nanosecond, 10, 2},
		{10 * time.Second, 50, 10},
		{128 * time.Second, 100, 0x80},
		{129 * time.Second, 100, 0x81},
		{48 * time.Hour, 100, 0xcd}, // an hour: 29 << 7 is 3712
	} {
		s := New(Config{Querier: true, Interval: tt.interval, Address: ownMAC})
		q := s.general(s.domain(0, IPv4), -1).Frame[frame.HeaderLen+24:]
		if q[1] != tt.code || q[9] != tt.times {
			t.Errorf("interval %v: codes %d and %#x, want %d and %#x", tt.interval, q[1], q[9], tt.code, tt.times)
		}
	}
}
