package dhcp6

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dhcp"
)

func TestRefusedConfigurations(t *testing.T) {
	mac := newGuest(1).mac
	for want, edit := range map[string]func(*Config){
		"0 addresses of the server":                           func(c *Config) { c.Links = nil },
		"server 192.168.7.1/24: an IPv6 address":              func(c *Config) { c.Links = []netip.Prefix{px("192.168.7.1/24")} },
		"server fe80::1/64":                                   func(c *Config) { c.Links = []netip.Prefix{px("fe80::1/64")} },
		"lease 0s: whole seconds":                             func(c *Config) { c.Lease = 0 },
		"lease 1.5s: whole seconds":                           func(c *Config) { c.Lease = 1500 * time.Millisecond },
		"max leases -1":                                       func(c *Config) { c.MaxLeases = -1 },
		"2001:db8:2::1-2001:db8:2::9: it is inside no subnet": withRange("2001:db8:2::1", "2001:db8:2::9"),
		"2001:db8:1::9-2001:db8:1::1: two IPv6 addresses":     withRange("2001:db8:1::9", "2001:db8:1::1"),
		"10.0.0.1-10.0.0.9: two IPv6 addresses":               withRange("10.0.0.1", "10.0.0.9"),
		"it overlaps 2001:db8:1::10-2001:db8:1::19":           func(c *Config) { c.Ranges = append(c.Ranges, addrRange("2001:db8:1::19", "2001:db8:1::20")) },
		"it is bigger than a /64: make it smaller": func(c *Config) {
			c.Links = []netip.Prefix{px("2001:db8::1/32")}
			c.Ranges = []dhcp.Range{addrRange("2001:db8:7::", "2001:db8:7:1::")}
			c.Delegate = nil
		},
		"delegate 2001:db8:1::/48: it overlaps the subnet 2001:db8:1::/64": func(c *Config) { c.Delegate = []Pool{{px("2001:db8:1::/48"), 56}} },
		"delegate 2001:db8:5::/48: length 40: it must be 48 to 111":        func(c *Config) { c.Delegate = []Pool{{px("2001:db8:5::/48"), 40}} },
		"delegate 2001:db8:5::/48: length 127":                             func(c *Config) { c.Delegate = []Pool{{px("2001:db8:5::/48"), 127}} },
		"delegate 2001:db8:5::1/48: an IPv6 prefix is needed":              func(c *Config) { c.Delegate = []Pool{{px("2001:db8:5::1/48"), 56}} },
		"it overlaps 2001:db8:5::/48":                                      func(c *Config) { c.Delegate = []Pool{{px("2001:db8:5::/48"), 56}, {px("2001:db8:5:5::/64"), 64}} },
		"a DUID or a MAC address is needed":                                withHosts(Host{Name: "x"}),
		"a DUID has 3 to 130 bytes":                                        withHosts(Host{DUID: []byte{1}}),
		"2001:db8:1::1 is not an address for a client":                     withHosts(Host{MAC: mac, Address: lan(1)}),
		"2001:db8:1:: is not an address for a client":                      withHosts(Host{MAC: mac, Address: lan(0)}),
		"2001:db8:1:0:fdff:ffff:ffff:ff85 is not an address for a client":  withHosts(Host{MAC: mac, Address: ip("2001:db8:1:0:fdff:ffff:ffff:ff85")}),
		"2001:db8:2::9 is not an address for a client":                     withHosts(Host{MAC: mac, Address: ip("2001:db8:2::9")}),
		"2001:db8:1::9 is reserved already":                                withHosts(Host{MAC: mac, Address: lan(9)}, Host{DUID: []byte{0, 2, 3}, Address: lan(9)}),
		"reservation of DUID 000203: it has one already":                   withHosts(Host{DUID: []byte{0, 2, 3}}, Host{DUID: []byte{0, 2, 3}}),
		"it has one already":                                               withHosts(Host{MAC: mac}, Host{MAC: mac}),
		`"Web" is not a name`:                                              withHosts(Host{MAC: mac, Name: "Web"}),
		"the name web is reserved already":                                 withHosts(Host{MAC: mac, Name: "web"}, Host{DUID: []byte{0, 2, 3}, Name: "web"}),
		"option 3 is set by the server itself":                             func(c *Config) { c.Options = []Option{{Code: 3, Data: []byte{1}}} },
		"option 99 has 2000 bytes":                                         func(c *Config) { c.Options = []Option{{Code: 99, Data: make([]byte, 2000)}} },
		`"a..b" is not a domain`:                                           func(c *Config) { c.Search = []string{"a..b"} },
	} {
		cfg := labConfig()
		edit(&cfg)
		_, err := New("lan", cfg, newMemStore(), Env{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "dhcp6: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
		// A running server goes on as before.
		l := newLab(t)
		if err := l.server.Reconfigure(cfg); err == nil {
			t.Errorf("%s: reconfigured", want)
		}
		l.lease(newGuest(1))
	}
}

func TestNumbers(t *testing.T) {
	for _, tt := range []struct{ first, last string }{
		{"2001:db8::ffff:ffff:ffff:fff0", "2001:db8:0:1::10"}, {"2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"}, {"2001:db8::1", "2001:db8::1"},
	} {
		p := &pool{length: 128}
		p.add(ip(tt.first), ip(tt.last))
		p.add(ip("2001:db9::5"), ip("2001:db9::6"))
		p.close()
		for _, a := range []string{tt.first, tt.last} {
			i, ok := p.index(ip(a))
			if !ok || p.at(i) != ip(a) {
				t.Errorf("%s is at %d, and there is %s", a, i, p.at(i))
			}
		}
		if _, ok := p.index(ip(tt.last).Next()); ok {
			t.Errorf("what is behind %s is in the range", tt.last)
		}
		if _, ok := p.index(ip(tt.first).Prev()); ok {
			t.Errorf("what is before %s is in the range", tt.first)
		}
	}
	p := newPrefixPool(Pool{px("2001:db8:100::/40"), 56})
	if p.size != 1<<16 || p.at(p.size-1) != ip("2001:db8:1ff:ff00::") {
		t.Errorf("%d prefixes up to %s", p.size, p.at(p.size-1))
	}
	for x, want := range map[string]bool{
		"2001:db8:100:100::/56": true, "2001:db8:100:100::/64": true, "2001:db8:100:100::/65": false, "2001:db8:100:110::/60": false,
		"2001:db8:100::/48": false, "2001:db8:200::/56": false, "2001:db8:100:100::/128": false,
	} {
		if p.holds(px(x)) != want {
			t.Errorf("%s is one of its places: %v", x, !want)
		}
	}
}

// TestFullPools: of small pools every place is found, and of a big one a free place
// where many are taken.
func TestFullPools(t *testing.T) {
	p := newPrefixPool(Pool{px("2001:db8:100::/60"), 64})
	seen := map[netip.Addr]bool{}
	for i := range 17 {
		a, ok := p.next(scatter(uint64(i)), func(a netip.Addr) bool { return !seen[a] })
		if ok != (i < 16) || ok && seen[a] {
			t.Fatalf("%d: %s %v", i, a, ok)
		}
		if ok {
			seen[a] = true
			p.take(a)
		}
	}
	p = newPrefixPool(Pool{px("2001:db8:100::/60"), 64})
	tried := map[netip.Addr]bool{}
	if _, ok := p.next(3, func(a netip.Addr) bool { tried[a] = true; return len(tried) == 16 }); !ok {
		t.Errorf("%d of 16 were tried", len(tried))
	}
	big := newPrefixPool(Pool{px("2001:db8:100::/40"), 64})
	if big.table != nil {
		t.Fatal("it is small")
	}
	for i := range 1000 {
		taken := 0
		if _, ok := big.next(uint64(i), func(a netip.Addr) bool { taken++; return taken > 30 }); !ok {
			t.Fatal("none is found")
		}
	}
}
