package dns

import (
	"fmt"
	"net/netip"
	"testing"

	wire "github.com/miekg/dns"
)

// TestAdditional: a service comes with the addresses of its hosts, as queries for
// them would find these.
func TestAdditional(t *testing.T) {
	cfg := labConfig()
	cfg.SRV = nil
	for name, targets := range map[string][]string{
		"_two._tcp":    {"v6only.lab", "PRINTER"},
		"_same._tcp":   {"printer", "Printer", "printer"},
		"_lease._tcp":  {"web.lab", "six", "printer.lab"}, // the last one is a thief's, too
		"_text._tcp":   {"info.lab"},                      // a text takes no address of a lease
		"_none._tcp":   {""},
		"_others._tcp": {"www.test", "nobody.lab", "a.web.lab", "only.text"},
	} {
		for i, target := range targets {
			cfg.SRV = append(cfg.SRV, SRV{Name: name, Target: target, Port: uint16(i)})
		}
	}
	names := labLeases()
	names["v6only"] = addrs("192.168.122.53") // a thief of the other type
	l := newLab(t, cfg, names)
	srv := func(name string, target ...string) string {
		out := "NOERROR aa"
		for i, h := range target {
			out += fmt.Sprintf(" | %s. 60 IN SRV 0 0 %d %s.", name, i, h)
		}
		return out
	}
	for name, want := range map[string]string{
		"_two._tcp": srv("_two._tcp", "v6only.lab", "printer") +
			" | extra: v6only.lab. 60 IN AAAA fd00:1::66 | extra: printer. 60 IN A 192.168.122.30",
		"_same._tcp.lab": srv("_same._tcp.lab", "printer", "printer", "printer") + " | extra: printer. 60 IN A 192.168.122.30",
		"_lease._tcp": srv("_lease._tcp", "web.lab", "six", "printer.lab") +
			" | extra: web.lab. 10 IN A 192.168.122.50 | extra: six. 10 IN AAAA fd00:1::5 | extra: printer.lab. 60 IN A 192.168.122.30",
		"_text._tcp":   srv("_text._tcp", "info.lab") + " | extra: info.lab. 10 IN A 192.168.122.51",
		"_none._tcp":   srv("_none._tcp", ""),
		"_others._tcp": srv("_others._tcp", "www.test", "nobody.lab", "a.web.lab", "only.text"),
	} {
		l.expect(name, wire.TypeSRV, want)
		if m := l.exchange(stub(name, wire.TypeANY).SetEdns0(1232, true), true); short(m) != want {
			t.Errorf("%s ANY: %s", name, short(m))
		}
	}
}

// TestAdditionalThatDoesNotFit: the answer is whole all the same, and so is what is
// added of a host and a type.
func TestAdditionalThatDoesNotFit(t *testing.T) {
	var many []netip.Addr
	for i := range 40 {
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	l := newLab(t, Config{Domain: "lab", Hosts: map[string][]netip.Addr{
		"many": append(many, netip.MustParseAddr("fd00::1")), "one": many[:1],
	}, SRV: []SRV{{Name: "_s._t", Target: "many.lab"}, {Name: "_s._t", Target: "one.lab"}}}, nil)
	// 12 + 11 + 28 + 27 bytes, then 40 of 24, one of 36, and one of 23; OPT has 11.
	for _, tt := range []struct {
		payload   int
		edns, tcp bool
		want      int
		cut       bool
	}{
		{0, false, true, 42, false}, {0, false, false, 2, false}, {0, true, false, 42, false},
		{1108, true, false, 42, false}, {1107, true, false, 41, false},
		{148, true, false, 2, false}, {147, true, false, 1, false}, {125, true, false, 1, false}, {124, true, false, 1, false},
		{112, true, false, 1, false}, {111, true, false, 0, false}, {89, true, false, 0, false}, {88, true, false, 0, true},
		{78, false, false, 0, false}, {77, false, false, 0, true},
	} {
		cfg := l.cfg
		cfg.Payload = tt.payload
		l.Reconfigure(cfg)
		q := stub("_s._t", wire.TypeSRV)
		if tt.edns {
			q.SetEdns0(1232, false)
		}
		m := l.exchange(q, tt.tcp)
		got := len(m.Extra)
		if tt.edns {
			got--
		}
		if got != tt.want || m.Truncated != tt.cut || len(m.Answer) == 2 == tt.cut {
			t.Errorf("%+v: %d, %s", tt, got, short(m))
		}
	}
}
