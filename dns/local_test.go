package dns

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// labConfig is a network with everything that is known locally.
func labConfig() Config {
	return Config{
		Name:    "gateway",
		Domain:  "lab",
		Gateway: []netip.Prefix{netip.MustParsePrefix("192.168.122.1/24"), netip.MustParsePrefix("fd00:1::1/64")},
		Hosts: map[string][]netip.Addr{
			"db.lab":      addrs("192.168.122.20", "fd00:1::20"),
			"printer":     addrs("192.168.122.30"),
			"www.example": addrs("10.9.9.9"),
			"v6only":      addrs("fd00:1::66"),
			"MiXed.Case":  addrs("10.9.9.10"),
			"dotted.":     addrs("10.9.9.11"),
		},
		TXT: map[string][]string{
			"info":        {"first", "second"},
			"key.text":    {strings.Repeat("k", 300), "", "end"},
			"none.text":   {},
			"only.text":   {"x"},
			"long.text":   {strings.Repeat("a", 300)},
			"example.net": {""},
			"_dotted.":    {"y"},
		},
		SRV: []SRV{
			{Name: "_ldap._tcp", Target: "db.lab", Port: 389, Priority: 1, Weight: 2},
			{Name: "_sip._udp.example.org", Target: "", Port: 0},
		},
	}
}

func labLeases() leases {
	return leases{
		"web":     addrs("192.168.122.50"),
		"my_vm":   addrs("192.168.122.61"),
		"printer": addrs("192.168.122.99"), // a thief: the name is taken
		"gateway": addrs("192.168.122.98"),
		"info":    addrs("192.168.122.51"),
		"six":     addrs("fd00:1::5"),
		"both":    addrs("192.168.122.52", "fd00:1::7", "fd00:1::6"),
	}
}

const (
	soaData = " 10 IN SOA gateway.lab. hostmaster.gateway.lab. 1 3600 600 86400 10"
	noData  = "NOERROR aa | ns: "
	noName  = "NXDOMAIN aa | ns: "
	// host64 stands between the last nibbles of an address of fd00:1::/64 and its first.
	host64  = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0."
	zone64  = "0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa"
	dbExtra = " | extra: db.lab. 60 IN A 192.168.122.20 | extra: db.lab. 60 IN AAAA fd00:1::20"
)

func TestLocal(t *testing.T) {
	l := newLab(t, labConfig(), labLeases())
	for _, tt := range []struct {
		name string
		kind uint16
		want string
	}{
		{"gateway", wire.TypeA, "NOERROR aa | gateway. 60 IN A 192.168.122.1"},
		{"gateway.lab", wire.TypeA, "NOERROR aa | gateway.lab. 60 IN A 192.168.122.1"},
		{"gateway.lab", wire.TypeAAAA, "NOERROR aa | gateway.lab. 60 IN AAAA fd00:1::1"},
		{"GateWay.LAB", wire.TypeA, "NOERROR aa | GateWay.LAB. 60 IN A 192.168.122.1"},
		{"1.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 1.122.168.192.in-addr.arpa. 60 IN PTR gateway.lab."},

		{"db.lab", wire.TypeA, "NOERROR aa | db.lab. 60 IN A 192.168.122.20"},
		{"db.lab", wire.TypeAAAA, "NOERROR aa | db.lab. 60 IN AAAA fd00:1::20"},
		{"db.lab", wire.TypeANY, "NOERROR aa | db.lab. 60 IN A 192.168.122.20"},
		{"db", wire.TypeA, noName + "." + soaData},
		{"20.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 20.122.168.192.in-addr.arpa. 60 IN PTR db.lab."},
		{"printer", wire.TypeA, "NOERROR aa | printer. 60 IN A 192.168.122.30"},
		{"printer.lab", wire.TypeA, "NOERROR aa | printer.lab. 60 IN A 192.168.122.30"},
		{"printer.lab", wire.TypeAAAA, noData + "lab." + soaData},
		{"printer", wire.TypeAAAA, noData + "." + soaData},
		{"printer.lab", wire.TypeMX, noData + "lab." + soaData},
		{"v6only.lab", wire.TypeA, noData + "lab." + soaData},
		{"mixed.case", wire.TypeA, "NOERROR aa | mixed.case. 60 IN A 10.9.9.10"},
		{"www.example", wire.TypeA, "NOERROR aa | www.example. 60 IN A 10.9.9.9"},
		{"www.example", wire.TypeHTTPS, noData + "www.example." + soaData},
		{"9.9.9.10.in-addr.arpa", wire.TypePTR, "NOERROR aa | 9.9.9.10.in-addr.arpa. 60 IN PTR www.example."},
		{"dotted", wire.TypeA, "NOERROR aa | dotted. 60 IN A 10.9.9.11"},
		{"dotted.lab", wire.TypeA, noName + "lab." + soaData},

		// The names of these leases lead elsewhere.
		{"99.122.168.192.in-addr.arpa", wire.TypePTR, noName + "122.168.192.in-addr.arpa." + soaData},
		{"98.122.168.192.in-addr.arpa", wire.TypeANY, noName + "122.168.192.in-addr.arpa." + soaData},
		{"51.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 51.122.168.192.in-addr.arpa. 10 IN PTR info.lab."},

		{"web", wire.TypeA, "NOERROR aa | web. 10 IN A 192.168.122.50"},
		{"my_vm", wire.TypeA, "NOERROR aa | my_vm. 10 IN A 192.168.122.61"},
		{"WEB.lab", wire.TypeA, "NOERROR aa | WEB.lab. 10 IN A 192.168.122.50"},
		{"web.lab", wire.TypeAAAA, noData + "lab." + soaData},
		{"web.lab", wire.TypeANY, "NOERROR aa | web.lab. 10 IN A 192.168.122.50"},
		{"web.web.lab", wire.TypeA, noName + "lab." + soaData},
		{"50.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 50.122.168.192.in-addr.arpa. 10 IN PTR web.lab."},
		{"50.122.168.192.in-addr.arpa", wire.TypeTXT, noData + "122.168.192.in-addr.arpa." + soaData},
		{"six", wire.TypeAAAA, "NOERROR aa | six. 10 IN AAAA fd00:1::5"},
		{"six.lab", wire.TypeA, noData + "lab." + soaData},
		{"5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", wire.TypePTR,
			"NOERROR aa | 5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa. 10 IN PTR six.lab."},

		{"both.lab", wire.TypeA, "NOERROR aa | both.lab. 10 IN A 192.168.122.52"},
		{"both", wire.TypeAAAA, "NOERROR aa | both. 10 IN AAAA fd00:1::7 | both. 10 IN AAAA fd00:1::6"},
		{"both", wire.TypeANY, "NOERROR aa | both. 10 IN A 192.168.122.52"},
		{"both.lab", wire.TypeMX, noData + "lab." + soaData},
		{"6.0.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa", wire.TypePTR, "NOERROR aa | 6.0.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa. 10 IN PTR both.lab."},
		{"6.0.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa", wire.TypeTXT, noData + zone64 + "." + soaData},

		// The zone of the gateway's prefix of IPv6 is answered here, and nothing above it.
		{"9.9.9.9." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa", wire.TypePTR, noName + zone64 + "." + soaData},
		{"1.0.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa", wire.TypePTR, "NOERROR aa | 1.0.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa. 60 IN PTR gateway.lab."},
		{"0.2.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa", wire.TypePTR, "NOERROR aa | 0.2.0.0." + host64 + "1.0.0.0.0.0.d.f.ip6.arpa. 60 IN PTR db.lab."},
		{zone64, wire.TypeNS, noData + zone64 + "." + soaData},
		{strings.TrimPrefix(zone64, "0."), wire.TypeNS, "REFUSED"},
		{"9.9.9.9." + strings.Replace(host64, "0", "1", 1) + "2.0.0.0.0.0.d.f.ip6.arpa", wire.TypePTR, "REFUSED"},

		{"info.lab", wire.TypeTXT, `NOERROR aa | info.lab. 60 IN TXT "first" "second"`}, // one record
		{"key.text", wire.TypeTXT, `NOERROR aa | key.text. 60 IN TXT "` + strings.Repeat("k", 255) + `" "` + strings.Repeat("k", 45) + `" "" "end"`},
		{"none.text", wire.TypeTXT, "REFUSED"},
		{"info", wire.TypeA, "NOERROR aa | info. 10 IN A 192.168.122.51"}, // a text takes no address
		{"long.text", wire.TypeTXT, `NOERROR aa | long.text. 60 IN TXT "` + strings.Repeat("a", 255) + `" "` + strings.Repeat("a", 45) + `"`},
		{"_dotted", wire.TypeTXT, `NOERROR aa | _dotted. 60 IN TXT "y"`},
		{"_dotted.lab", wire.TypeTXT, noName + "lab." + soaData},
		{"example.net", wire.TypeTXT, `NOERROR aa | example.net. 60 IN TXT ""`},
		{"_ldap._tcp", wire.TypeSRV, "NOERROR aa | _ldap._tcp. 60 IN SRV 1 2 389 db.lab." + dbExtra},
		{"_ldap._tcp.lab", wire.TypeSRV, "NOERROR aa | _ldap._tcp.lab. 60 IN SRV 1 2 389 db.lab." + dbExtra},
		{"_sip._udp.example.org", wire.TypeSRV, "NOERROR aa | _sip._udp.example.org. 60 IN SRV 0 0 0 ."},
		{"_tcp.lab", wire.TypeSRV, noData + "lab." + soaData}, // there is something below

		{"nobody.lab", wire.TypeA, noName + "lab." + soaData},
		{"a.b.c.nobody.lab", wire.TypeTXT, noName + "lab." + soaData},
		{"lab", wire.TypeA, noData + "lab." + soaData},
		{"lab", wire.TypeSOA, "NOERROR aa | lab." + soaData},
		{"nobody", wire.TypeA, noName + "." + soaData},
		{"nobody", wire.TypeAAAA, noName + "." + soaData},
		{"nobody", wire.TypeTXT, "REFUSED"}, // nobody to ask
		{"77.122.168.192.in-addr.arpa", wire.TypePTR, noName + "122.168.192.in-addr.arpa." + soaData},
		{"122.168.192.in-addr.arpa", wire.TypeNS, noData + "122.168.192.in-addr.arpa." + soaData},
		{"168.192.in-addr.arpa", wire.TypeNS, "REFUSED"}, // not all of it is ours
		{"077.122.168.192.in-addr.arpa", wire.TypePTR, "REFUSED"},
		{"256.122.168.192.in-addr.arpa", wire.TypePTR, "REFUSED"},
		{"1.1.122.168.192.in-addr.arpa", wire.TypePTR, "REFUSED"},

		{"localhost", wire.TypeA, "NOERROR aa | localhost. 60 IN A 127.0.0.1"},
		{"localhost", wire.TypeAAAA, "NOERROR aa | localhost. 60 IN AAAA ::1"},
		{"x.localhost", wire.TypeA, noName + "localhost." + soaData},
		{"secret.onion", wire.TypeA, noName + "onion." + soaData},
		{"example.com", wire.TypeANY, `NOERROR aa | example.com. 60 IN HINFO "RFC8482" ""`},
		{"example.com", wire.TypeA, "REFUSED"},
		{"only.text", wire.TypeA, "REFUSED"}, // a text alone does not make a name ours
		{".", wire.TypeNS, "REFUSED"},
		{".", wire.TypeA, "REFUSED"},
	} {
		l.expect(tt.name, tt.kind, tt.want)
	}
	if l.log.buf.Len() != 0 {
		t.Errorf("log: %s", l.log.buf.String())
	}
	if n := l.outcome(Local); n == 0 || l.outcome(NXDomain) == 0 || l.outcome(Refused) == 0 {
		t.Errorf("outcomes %v", l.Stats().Queries)
	}
}

// TestLocalWithoutDomain: a network needs none.
func TestLocalWithoutDomain(t *testing.T) {
	cfg := labConfig()
	cfg.Domain, cfg.Name = "", "router"
	l := newLab(t, cfg, labLeases())
	l.expect("router", wire.TypeA, "NOERROR aa | router. 60 IN A 192.168.122.1")
	l.expect("gateway", wire.TypeA, "NOERROR aa | gateway. 10 IN A 192.168.122.98")
	l.expect("web", wire.TypeA, "NOERROR aa | web. 10 IN A 192.168.122.50")
	l.expect("web.lab", wire.TypeA, "REFUSED")
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 50.122.168.192.in-addr.arpa. 10 IN PTR web.")
}

func TestLocalWithoutLeases(t *testing.T) {
	l := newLab(t, labConfig(), nil)
	l.expect("web.lab", wire.TypeA, noName+"lab."+soaData)
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, noName+"122.168.192.in-addr.arpa."+soaData)
}

// TestSubnetsBesideDots: prefixes that end within a label of their reverse names.
func TestSubnetsBesideDots(t *testing.T) {
	for _, tt := range []struct{ gateway, name, want string }{
		{"10.20.16.1/20", "9.31.20.10.in-addr.arpa", noName + "31.20.10.in-addr.arpa." + soaData},
		{"10.20.16.1/20", "31.20.10.in-addr.arpa", noData + "31.20.10.in-addr.arpa." + soaData},
		{"10.20.16.1/20", "9.32.20.10.in-addr.arpa", "REFUSED"},
		{"10.20.16.1/20", "20.10.in-addr.arpa", "REFUSED"},
		{"10.20.30.129/25", "130.30.20.10.in-addr.arpa", noName + "30.20.10.in-addr.arpa." + soaData},
		{"10.20.30.129/25", "127.30.20.10.in-addr.arpa", "REFUSED"},
		{"10.20.30.129/25", "30.20.10.in-addr.arpa", "REFUSED"},
		{"10.0.0.1/24", "10.in-addr.arpa", "REFUSED"},
		{"10.1.1.1/8", "10.in-addr.arpa", noData + "10.in-addr.arpa." + soaData},
		{"10.1.1.1/8", "4.3.2.10.in-addr.arpa", noName + "10.in-addr.arpa." + soaData},
	} {
		l := newLab(t, Config{Domain: "lab", Gateway: []netip.Prefix{netip.MustParsePrefix(tt.gateway)}}, nil)
		l.expect(tt.name, wire.TypePTR, tt.want)
	}
}

// TestBadRecordsAreLeftOut: what cannot be served takes nothing else with it.
func TestBadRecordsAreLeftOut(t *testing.T) {
	var many []netip.Addr
	for i := range 5000 {
		many = append(many, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}))
	}
	l := newLab(t, Config{
		Domain: "lab",
		Hosts: map[string][]netip.Addr{
			"a..b":                           addrs("10.0.0.1"),
			strings.Repeat("x", 64) + ".lab": addrs("10.0.0.2"),
			strings.Repeat("long.", 51):      addrs("10.0.0.3"),
			"many.lab":                       many,
			"twice.lab":                      addrs("10.0.0.4", "10.0.0.4", "::ffff:10.0.0.4"),
			"invalid.lab":                    {{}},
			"good.lab":                       addrs("10.0.0.5"),
		},
		TXT: map[string][]string{"t.lab": {"short", strings.Repeat("x", maxText)}, "many.t.lab": make([]string, maxText), "u.lab": {"short"}},
		SRV: []SRV{{Name: "_a._b", Target: "bad..name"}, {Name: "_c._d", Target: "good.lab", Port: 1}},
	}, nil)
	l.expect("good.lab", wire.TypeA, "NOERROR aa | good.lab. 60 IN A 10.0.0.5")
	l.expect("twice.lab", wire.TypeA, "NOERROR aa | twice.lab. 60 IN A 10.0.0.4")
	l.expect("twice.lab", wire.TypeAAAA, noData+"lab."+soaData)
	l.expect("t.lab", wire.TypeTXT, noData+"lab."+soaData)
	l.expect("u.lab", wire.TypeTXT, `NOERROR aa | u.lab. 60 IN TXT "short"`)
	if m := l.exchange(stub("many.t.lab", wire.TypeTXT), true); len(m.Answer) != 1 || len(m.Answer[0].(*wire.TXT).Txt) != maxText {
		t.Errorf("many strings: %d records", len(m.Answer))
	}
	l.expect("_c._d.lab", wire.TypeSRV, "NOERROR aa | _c._d.lab. 60 IN SRV 0 0 1 good.lab. | extra: good.lab. 60 IN A 10.0.0.5")
	l.expect("_a._b.lab", wire.TypeSRV, noName+"lab. 10 IN SOA gateway.lab. hostmaster.gateway.lab. 1 3600 600 86400 10")
	if m := l.exchange(stub("many.lab", wire.TypeA), true); len(m.Answer) != maxSet/16 {
		t.Errorf("%d addresses", len(m.Answer))
	}
	for _, text := range []string{"a..b", "xxxx.lab", "many.lab has more records", "the text of t.lab has 20567 bytes", "bad..name"} {
		if l.log.count(text) == 0 {
			t.Errorf("the log has no %q", text)
		}
	}
}

// TestSpecialNamesInLabels: signs within a label are no dots, and no lease is looked
// up by them.
func TestSpecialNamesInLabels(t *testing.T) {
	names := leases{"a.b": addrs("10.0.0.1"), "": addrs("10.0.0.2"), "x y": addrs("10.0.0.3")}
	l := newLab(t, Config{Domain: "lab"}, names)
	for _, name := range []string{`a\.b.lab`, `x\ y.lab`, `\000.lab`, `\255`, `_tcp.lab`} {
		if m := l.ask(name, wire.TypeA); m.Rcode != wire.RcodeNameError {
			t.Errorf("%s: %v", name, m)
		}
	}
}

func TestReverseNames(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "255.255.255.255", "10.0.20.3", "::", "fd00:1:2:3:4:5:6:789a"} {
		addr := netip.MustParseAddr(s)
		want, err := wire.ReverseAddr(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := displayName(reverseName(addr)) + "."; got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
		q := parsed(t, want)
		if p, ok := q.reverse(); !ok || p != netip.PrefixFrom(addr, addr.BitLen()) {
			t.Errorf("%s: read back %v %v", s, p, ok)
		}
	}
	for name, want := range map[string]string{
		"10.in-addr.arpa.": "10.0.0.0/8", "1.2.10.in-addr.arpa.": "10.2.1.0/24", "d.f.ip6.arpa.": "fd00::/8", "1.d.f.ip6.arpa.": "fd10::/12",
		"in-addr.arpa.": "", "ip6.arpa.": "", "1.2.3.4.5.in-addr.arpa.": "", "x.in-addr.arpa.": "", "ab.ip6.arpa.": "", "arpa.": "", ".": "",
		"0001.in-addr.arpa.": "", "1.in-addr.arpa.lab.": "", "g.ip6.arpa.": "",
	} {
		q := parsed(t, name)
		p, ok := q.reverse()
		if got := p.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s: %v %v, want %q", name, got, ok, want)
		}
	}
}

func parsed(t testing.TB, name string) *query {
	b, err := stub(name, wire.TypePTR).Pack()
	if err != nil {
		t.Fatal(err)
	}
	q := &query{}
	if v := q.parse(b, false, maxPayload); v != valid {
		t.Fatalf("%s: verdict %d", name, v)
	}
	return q
}

func TestWireName(t *testing.T) {
	long := strings.Repeat("a.", 126) + "b" // 127 labels, 255 bytes
	for name, ok := range map[string]bool{
		"a": true, "a.": true, ".": true, long: true, long + ".c": false, strings.Repeat("a", 63): true,
		strings.Repeat("a", 64): false, "": false, "..": false, ".a": false, "a b": false, "a\\b": false, "ä": false, "_x.*.lab": true,
	} {
		key, got := wireName(name)
		if got != ok {
			t.Errorf("%q: %v", name, got)
		}
		if n := strings.Count(strings.TrimSuffix(name, "."), ".") + 1; ok && name != "." && countLabels(key) != n {
			t.Errorf("%q: %d labels, want %d", name, countLabels(key), n)
		}
	}
	if got := fmt.Sprintf("%q", displayName("\x03WeB\x03lab\x00")); got != `"WeB.lab"` {
		t.Error(got)
	}
	if got := displayName("\x3f"); got != `"?"` {
		t.Error(got)
	}
}
