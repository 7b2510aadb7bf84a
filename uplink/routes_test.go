package uplink

import (
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestHostRoutes(t *testing.T) { bothFamilies(t, testHostRoutes) }

func testHostRoutes(t *testing.T, m *machine, as func(string) string) {
	m.ns.Addr(t, "eth0", as("192.0.2.7/24"))
	m.ns.Addr(t, "eth1", as("198.51.100.7/24"))
	_, states := m.follow(t, "eth0")
	links := []string{"192.0.2.0/24", "198.51.100.0/24 blocked"}
	var added []string
	for _, step := range []struct {
		do   string
		want []string
	}{
		{"route add default via 192.0.2.1 metric 10", []string{"0.0.0.0/0 192.0.2.1"}},
		{"route add 10.1.0.0/16 via 192.0.2.2", []string{"0.0.0.0/0 192.0.2.1", "10.1.0.0/16 192.0.2.2"}},
		{"route add 10.2.0.0/16 via 198.51.100.2", []string{"0.0.0.0/0 192.0.2.1", "10.1.0.0/16 192.0.2.2", "10.2.0.0/16 blocked"}},
		{"route add default via 198.51.100.1 metric 100", nil}, // worse
		{"route del default via 192.0.2.1", []string{"10.1.0.0/16 192.0.2.2", "10.2.0.0/16 blocked"}},
		{"route add default via 192.0.2.3 metric 50", []string{"0.0.0.0/0 192.0.2.3", "10.1.0.0/16 192.0.2.2", "10.2.0.0/16 blocked"}},
		{"route flush root 10.0.0.0/8", []string{"0.0.0.0/0 192.0.2.3"}},
		{"route add unreachable 10.3.0.0/16", []string{"0.0.0.0/0 192.0.2.3", "10.3.0.0/16 blocked"}},
		{"route add blackhole 10.4.0.0/16", []string{"0.0.0.0/0 192.0.2.3", "10.3.0.0/16 blocked", "10.4.0.0/16 blocked"}},
		{"route add prohibit 10.5.0.0/16", []string{"0.0.0.0/0 192.0.2.3", "10.3.0.0/16 blocked", "10.4.0.0/16 blocked", "10.5.0.0/16 blocked"}},
		{"route flush root 10.0.0.0/8", []string{"0.0.0.0/0 192.0.2.3"}},
		{"route add 10.6.0.0/16 nexthop via 198.51.100.2 nexthop via 192.0.2.4", []string{"0.0.0.0/0 192.0.2.3", "10.6.0.0/16 192.0.2.4"}},
		{"route add 10.7.0.0/16 table 77 via 192.0.2.4", nil},
		{"route add 10.8.0.0/16 tos 4 via 192.0.2.4", nil},
		{"route add 10.9.0.0/16 dev eth0", []string{"0.0.0.0/0 192.0.2.3", "10.6.0.0/16 192.0.2.4", "10.9.0.0/16"}},
		{"route add unreachable default metric 10", []string{"10.6.0.0/16 192.0.2.4", "10.9.0.0/16"}},
	} {
		if as("0.0.0.0/0") == "::/0" && strings.Contains(step.do, " tos ") {
			continue // IPv6 knows none
		}
		m.ip(t, as(step.do))
		if step.want != nil {
			added = step.want
		}
		want := asList(as, append(append([]string(nil), added...), links...))
		s := until(t, states, func(s State) bool {
			return len(s.Routes) == len(want) && (step.want == nil || reflect.DeepEqual(routes(s.Routes), want))
		})
		if d := cmp.Diff(want, routes(s.Routes)); d != "" {
			t.Fatalf("after %q (-want +got):\n%s", step.do, d)
		}
	}
}

// The next hop of a default route by an advertisement is a link-local address. What
// leads to those of the link, and to groups, is no way.
func TestHostRouteByLinkLocal(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "2001:db8::7/64")
	_, states := m.follow(t, "eth0")
	m.ip(t, "-6 route add default via fe80::1 dev eth0 proto ra metric 100")
	m.ip(t, "-6 route add 2001:db8:1::/48 nexthop via fe80::3 dev eth1 nexthop via fe80::2 dev eth0")
	m.ip(t, "-6 route add ff3e::/32 dev eth1")
	m.ip(t, "-6 route add 2001:db8:2::/48 via fe80::3 dev eth1")
	want := []string{"::/0 fe80::1", "2001:db8::/64", "2001:db8:1::/48 fe80::2", "2001:db8:2::/48 blocked"}
	s := until(t, states, func(s State) bool { return len(s.Routes) >= len(want) })
	if d := cmp.Diff(want, routes(s.Routes)); d != "" {
		t.Errorf("routes (-want +got):\n%s", d)
	}
}

// The default route of IPv4 counts where there is one of each family.
func TestHostDefaultOfEither(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	m.ns.Addr(t, "eth1", "2001:db8::7/64")
	_, states := m.follow(t, "")
	for _, step := range []struct{ do, want string }{
		{"-6 route add default via 2001:db8::1", "eth1"},
		{"route add default via 192.0.2.1 metric 3000", "eth0"},
		{"route add unreachable default metric 10", "eth1"},
		{"route del unreachable default metric 10", "eth0"},
		{"-6 route del default", "eth0"},
		{"route del default", ""},
	} {
		m.ip(t, step.do)
		until(t, states, func(s State) bool { return s.Name == step.want })
	}
	m.expectDefault(t, "", ErrNoDefault)
}

// The interface of the default route, as it moves.
func TestHostDefault(t *testing.T) { bothFamilies(t, testHostDefault) }

func testHostDefault(t *testing.T, m *machine, as func(string) string) {
	m.ns.Addr(t, "eth0", as("192.0.2.7/24"))
	m.ns.Addr(t, "eth1", as("198.51.100.7/24"))
	_, states := m.follow(t, "")
	if s := states.last(); s.Name != "" || s.Index != 0 {
		t.Fatalf("without a default route: %+v", s)
	}
	m.expectDefault(t, "", ErrNoDefault)
	for _, step := range []struct{ do, want string }{
		{"route add default via 192.0.2.1 metric 100", "eth0"},
		{"route add default via 198.51.100.1 metric 50", "eth1"},
		{"link set eth1 down", "eth0"},
		{"link set eth0 name wan0", "wan0"},
		{"link set eth1 up", "wan0"},
		{"addr replace 198.51.100.7/24 dev eth1", "wan0"}, // of IPv6 the kernel keeps none
		{"route replace default via 198.51.100.1 metric 50", "eth1"},
		{"link del eth1", "wan0"},
		{"route del default", ""},
	} {
		m.ip(t, as(step.do))
		s := until(t, states, func(s State) bool {
			return s.Name == step.want && (s.Name == "") == (len(s.Addresses)+len(s.Addresses6) == 0)
		})
		if step.want == "" {
			if s.Index != 0 {
				t.Errorf("after %q: %+v", step.do, s)
			}
			continue
		}
		if s.Index == 0 || len(s.Addresses)+len(s.Addresses6) != 1 {
			t.Errorf("after %q: %+v", step.do, s)
		}
		m.expectDefault(t, step.want, nil)
	}
}

func (m *machine) expectDefault(t *testing.T, name string, want error) {
	t.Helper()
	m.ns.Do(func() {
		if got, err := DefaultInterface(); got != name || !errors.Is(err, want) {
			t.Errorf("DefaultInterface: %q, %v; want %q, %v", got, err, name, want)
		}
	})
}

// What a test cannot make the kernel of every machine say.
func TestRoutesBy(t *testing.T) {
	to := func(prefix string) *net.IPNet {
		_, n, _ := net.ParseCIDR(prefix)
		return n
	}
	hop := func(index, flags int, gw byte) *netlink.NexthopInfo {
		return &netlink.NexthopInfo{LinkIndex: index, Flags: flags, Gw: net.IP{192, 0, 2, gw}}
	}
	const unicast = unix.RTN_UNICAST
	list := []netlink.Route{
		{Type: unicast, LinkIndex: 2, Gw: net.IP{192, 0, 2, 1}}, // older kernels name no destination
		{Type: unicast, Dst: to("10.1.0.0/16"), MultiPath: []*netlink.NexthopInfo{hop(2, unix.RTNH_F_DEAD, 1), hop(2, 0, 2)}},
		{Type: unicast, Dst: to("10.2.0.0/16"), MultiPath: []*netlink.NexthopInfo{hop(2, unix.RTNH_F_DEAD, 1), hop(3, 0, 2)}},
		{Type: unicast, Dst: to("10.3.0.0/16"), LinkIndex: 2, Via: &netlink.Via{AddrFamily: unix.AF_INET6, Addr: net.ParseIP("fe80::1")}},
		{Type: unicast, Dst: to("10.4.0.0/16"), LinkIndex: 2, Encap: &netlink.MPLSEncap{Labels: []int{7}}},
		{Type: unix.RTN_THROW, Dst: to("10.5.0.0/16"), LinkIndex: 2},
	}
	want := []string{"0.0.0.0/0 192.0.2.1", "10.1.0.0/16 192.0.2.2", "10.2.0.0/16 blocked", "10.3.0.0/16 blocked", "10.4.0.0/16 blocked", "10.5.0.0/16 blocked"}
	if d := cmp.Diff(want, routes(routesBy(list, 2))); d != "" {
		t.Errorf("routes (-want +got):\n%s", d)
	}
	if got := defaultIndex(list); got != 2 {
		t.Errorf("the default route's interface is %d", got)
	}
	list[0].MultiPath = []*netlink.NexthopInfo{hop(2, unix.RTNH_F_DEAD, 1), hop(4, 0, 2)}
	if got := defaultIndex(list); got != 4 {
		t.Errorf("with a dead next hop it is %d", got)
	}
}
