package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// TestUpstreamOfIPv6: what is asked over UDP, and again over TCP where that is cut
// short, at an address of IPv6.
func TestUpstreamOfIPv6(t *testing.T) {
	up := newServerAt(t, "[::1]:0", func(q *wire.Msg, network string) [][]byte {
		m := says(t, q, 0, q.Question[0].Name+" 300 IN AAAA 2001:db8::80")
		if network == "udp" && strings.HasPrefix(q.Question[0].Name, "long") {
			m = says(t, q, 0)
			m.Truncated = true
		}
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		return [][]byte{b}
	})
	l := newLab(t, Config{Upstream: []string{up.addr}}, nil)
	for _, name := range []string{"www.example.test.", "long.example.test."} {
		want := "NOERROR | " + name + " 300 IN AAAA 2001:db8::80"
		l.expect(name, wire.TypeAAAA, want)
	}
	want := "udp www.example.test. AAAA, udp long.example.test. AAAA, tcp long.example.test. AAAA"
	if got := strings.Join(up.queries(), ", "); got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

// TestLinkLocalUpstream: a name server of resolv.conf that only its link leads to is
// asked by that.
func TestLinkLocalUpstream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(path, []byte("nameserver fe80::53%eth7\nnameserver 2001:db8::53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 100)
	l := newLab(t, Config{Upstream: []string{"host", "[fe80::54%eth8]:5353"}}, nil, func(e *Env) {
		e.ResolvConf = path
		e.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
			asked <- network + " " + address
			return nil, errors.New("no such link")
		}
	})
	l.ask("www.example.test", wire.TypeAAAA)
	seen := map[string]bool{}
	for len(asked) > 0 {
		seen[<-asked] = true
	}
	for _, want := range []string{"udp [fe80::53%eth7]:53", "udp [2001:db8::53]:53", "udp [fe80::54%eth8]:5353"} {
		if !seen[want] {
			t.Errorf("%s was not asked: %v", want, seen)
		}
	}
}

// TestGatewayOfBothFamilies: its own name in both, and no upstream that is itself.
func TestGatewayOfBothFamilies(t *testing.T) {
	cfg := Config{
		Name: "gw", Domain: "lab", Upstream: []string{"2001:db8:1::1", "[2001:db8:2::1]:53"},
		Gateway: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8:1::1/64"), netip.MustParsePrefix("2001:db8:2::1/57")},
	}
	l := newLab(t, cfg, nil)
	if l.log.count("is this resolver itself") != 2 {
		t.Error("an upstream is the gateway itself, and nothing is said")
	}
	for _, tt := range []struct {
		name string
		kind uint16
		want string
	}{
		{"gw.lab", wire.TypeA, "NOERROR aa | gw.lab. 60 IN A 192.0.2.1"},
		{"gw.lab", wire.TypeAAAA, "NOERROR aa | gw.lab. 60 IN AAAA 2001:db8:1::1 | gw.lab. 60 IN AAAA 2001:db8:2::1"},
		// A prefix that ends within a nibble: the zone is the next one inside it.
		{reverseText("2001:db8:2:7f::9"), wire.TypePTR, "NXDOMAIN aa | ns: " + reverseText("2001:db8:2:7f::9")[34:] + ". 10 IN SOA gw.lab. hostmaster.gw.lab. 1 3600 600 86400 10"},
		{reverseText("2001:db8:2:80::9"), wire.TypePTR, "REFUSED"},
		{reverseText("2001:db8:2::1"), wire.TypePTR, "NOERROR aa | " + reverseText("2001:db8:2::1") + ". 60 IN PTR gw.lab."},
	} {
		l.expect(tt.name, tt.kind, tt.want)
	}
}

// reverseText is the name of an address, as it is written.
func reverseText(a string) string { return displayName(reverseName(netip.MustParseAddr(a))) }

// TestManyAddresses: of a lease with more than anybody has, as many as fit into the
// smallest answer, and those of the other family all the same.
func TestManyAddresses(t *testing.T) {
	var all []netip.Addr
	for i := range 50 {
		all = append(all, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
	}
	all = append(all, netip.MustParseAddr("192.0.2.9"))
	l := newLab(t, Config{Domain: "lab", SRV: []SRV{{Name: "_x._tcp", Target: "vm.lab", Port: 1}}}, leases{"vm": all})
	m := l.ask("vm.lab", wire.TypeAAAA)
	if len(m.Answer) != maxAddresses || m.Truncated {
		t.Errorf("%d addresses, cut: %v", len(m.Answer), m.Truncated)
	}
	if m := l.ask("vm.lab", wire.TypeA); len(m.Answer) != 1 {
		t.Errorf("%d addresses of IPv4", len(m.Answer))
	}
	if m := l.ask("_x._tcp.lab", wire.TypeSRV); len(m.Extra) != maxAddresses+1 {
		t.Errorf("%d additional ones", len(m.Extra))
	}
}
