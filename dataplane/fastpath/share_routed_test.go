package fastpath

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// whose says which of some addresses are weft's.
func (s *sharing) whose(t *testing.T, addrs ...string) string {
	t.Helper()
	var weft []string
	for _, a := range addrs {
		switch v := s.judge(t, s.frame(t, s.to(a, layers.IPProtocolTCP), tcpHeader(4444, 40000, "S"))); v {
		case tcxRedirect:
			weft = append(weft, a)
		case tcxNext:
		default:
			t.Errorf("verdict %#x for %s", v, a)
		}
	}
	return strings.Join(weft, " ")
}

// Prefixes come, change sides and go; the shared address stays under the rules of
// ports wherever they lead.
func TestSharePrefixes(t *testing.T) { forFamilies(t, testPrefixes) }

func testPrefixes(t *testing.T, s *sharing) {
	s.attach(t, attachShare)
	all := []string{"10.0.0.1", "10.0.0.7", "10.5.0.1", "10.5.0.2", "10.5.1.1", "192.0.2.1"}
	for _, step := range []struct {
		set  []string
		want string
	}{
		{nil, ""},
		{[]string{"10.5.0.0/24"}, "10.5.0.1 10.5.0.2"},
		{[]string{"10.5.0.77/24", "10.5.0.1"}, "10.5.0.2"},
		{[]string{"10.5.0.0/16", "10.5.0.2"}, "10.5.0.1 10.5.1.1"},
		{[]string{"10.5.0.2/32", "10.5.0.1"}, "10.5.0.2"},
		{[]string{"10.5.0.2/32", "10.5.0.2"}, ""},
		{[]string{"10.5.0.2/32"}, "10.5.0.2"},
		{[]string{"10.0.0.0/8", "10.0.0.1"}, "10.0.0.7 10.5.0.1 10.5.0.2 10.5.1.1"},
		{[]string{"10.0.0.0/8", "10.5.0.0/24", "10.5.0.1"}, "10.0.0.7 10.5.0.2 10.5.1.1"},
		{[]string{"0.0.0.0/0", "192.0.2.1"}, "10.0.0.7 10.5.0.1 10.5.0.2 10.5.1.1"},
		{[]string{"other", "10.5.0.1"}, ""},
		{[]string{"other", "0.0.0.0/0", "10.5.0.1", "192.0.2.1"}, "10.0.0.7 10.5.0.2 10.5.1.1"},
	} {
		s.setPrefixes(t, step.set...)
		if got := s.whose(t, all...); got != step.want {
			t.Errorf("with %v weft's are %q, want %q", step.set, got, step.want)
		}
	}
	if s.v6 {
		s.setPrefixes(t, "0.0.0.0/0")
		if got := s.whose(t, "2001:db8::1", "fe80::1", "febf::1", "fec0::1"); got != "2001:db8::1 fec0::1" {
			t.Errorf("with all addresses weft's are %q", got)
		}
	}
	s.setPrefixes(t, "10.0.0.0/8")
	s.SetUsed(unix.IPPROTO_TCP, 40000, s.farAddr, true)
	if got := s.whose(t, "10.0.0.1"); got == "" {
		t.Error("a mapped port of the shared address is not weft's")
	}
	s.setAddress(netip.Addr{})
	if got := s.whose(t, all...); got != "" {
		t.Errorf("without an address, weft's are %q", got)
	}
}

// Too many are refused, and what was there holds. As many as are possible may be
// replaced by as many others.
func TestSharePrefixesMany(t *testing.T) { forFamilies(t, testPrefixesMany) }

func testPrefixesMany(t *testing.T, s *sharing) {
	s.attach(t, attachShare)
	many := func(first byte, n int) (list []netip.Prefix) {
		for i := range n {
			a := s.addr(netip.AddrFrom4([4]byte{first, 0, byte(i >> 8), byte(i)}).String())
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
		return list
	}
	for _, first := range []byte{11, 12} {
		if err := s.SetPrefixes(many(first, maxRouted), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetPrefixes(many(11, maxRouted), []netip.Addr{s.hostAddr}); err == nil || !strings.Contains(err.Error(), "at most 4096") {
		t.Errorf("one more: %v", err)
	}
	if got := s.whose(t, "11.0.0.9", "12.0.0.9", "12.0.15.255", "12.0.16.0"); got != "12.0.0.9 12.0.15.255" {
		t.Errorf("weft's are %q", got)
	}
	if got := len(s.routed); got != maxRouted {
		t.Errorf("%d are noted", got)
	}
}

// A protocol without ports is weft's for as long as it is said to be, and each
// pair alone.
func TestShareOther(t *testing.T) { forFamilies(t, testOther) }

func testOther(t *testing.T, s *sharing) {
	s.attach(t, attachShare)
	pairs := map[string]head{
		"GRE": s.head(layers.IPProtocolGRE), "ESP": s.head(layers.IPProtocolESP),
		"GRE from another": s.from("10.0.0.3", layers.IPProtocolGRE),
	}
	check := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, name := range slices.Sorted(maps.Keys(pairs)) {
			if s.judge(t, s.frame(t, pairs[name], gopacket.Payload("weft"))) == tcxRedirect {
				got = append(got, name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: weft's are %q, want %q", what, got, want)
		}
	}
	check("at first")
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, true)
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, true)
	check("one", "GRE")
	s.SetUsed(unix.IPPROTO_ESP, 0, netip.AddrFrom16(s.farAddr.As16()), true)
	s.SetUsed(unix.IPPROTO_ESP, 0, family{v6: !s.v6}.addr("10.0.0.2"), true)
	check("two", "ESP", "GRE")
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, false)
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, false)
	check("one gone", "ESP")
	s.setAddress(s.addr("10.0.0.9"))
	check("at another address")
	s.setAddress(s.hostAddr)

	// With no room left it stays the host's, until there is room again.
	var remotes [4]netip.Addr
	for i := range remotes {
		remotes[i] = s.addr(netip.AddrFrom4([4]byte{11, 0, 0, byte(i)}).String())
	}
	many := func(used bool) {
		for i := range 1 << 18 {
			s.SetUsed(unix.IPPROTO_UDP, uint16(i), remotes[i>>16], used)
		}
	}
	many(true)
	if s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, true) {
		t.Error("one more is said to be noted")
	}
	check("no room", "ESP")
	many(false)
	if !s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, true) {
		t.Error("there is said to be no room")
	}
	check("room again", "ESP", "GRE")

	var err error
	s.host.Do(func() { err = s.Close() })
	if err != nil {
		t.Fatal(err)
	}
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, false)
	s.setPrefixes(t, "10.5.0.0/24")
}
