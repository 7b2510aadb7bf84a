package uplink

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// machine is a host with two NICs, eth0 and eth1, whose far ends are elsewhere.
type machine struct {
	ns, far *porttest.NS
}

func newMachine(t *testing.T) *machine {
	porttest.Require(t)
	m := &machine{porttest.NewNS(t, "host"), porttest.NewNS(t, "far")}
	m.ns.Quiet(t)
	m.far.Quiet(t)
	porttest.Veth(t, m.ns, "eth0", m.far, "far0")
	porttest.Veth(t, m.ns, "eth1", m.far, "far1")
	return m
}

func (m *machine) ip(t *testing.T, args string) {
	t.Helper()
	m.ns.Run(t, "ip", strings.Fields(args)...)
}

// followed collects what a callback gets.
type followed[T any] struct {
	mu  sync.Mutex
	all []T
}

func (f *followed[T]) add(v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, v)
}

func (f *followed[T]) last() (v T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) > 0 {
		v = f.all[len(f.all)-1]
	}
	return v
}

// until waits until the callback has got a value that is right.
func until[T any](t *testing.T, f *followed[T], right func(T) bool) T {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		v := f.last()
		if right(v) {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatalf("the last value is %.500s", fmt.Sprintf("%+v", v))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (m *machine) follow(t *testing.T, name string) (*Host, *followed[State]) {
	t.Helper()
	states := new(followed[State])
	var h *Host
	var err error
	m.ns.Do(func() { h, err = FollowHost(name, states.add) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	states.add(h.State())
	return h, states
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// routes writes routes as "DESTINATION [VIA|blocked]".
func routes(list []dataplane.Route) (out []string) {
	for _, r := range list {
		s := r.Destination.String()
		switch {
		case r.Blocked:
			s += " blocked"
		case r.Via.IsValid():
			s += " " + r.Via.String()
		}
		out = append(out, s)
	}
	return out
}

func TestHostState(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	m.ns.MTU(t, "eth0", 1400)
	m.ip(t, "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent")
	m.ip(t, "neigh add 192.0.2.8 lladdr 02:00:00:00:00:08 dev eth0 nud reachable")
	m.ip(t, "neigh add 198.51.100.9 lladdr 02:00:00:00:00:07 dev eth1 nud permanent")
	h, _ := m.follow(t, "eth0")
	a := m.ns.Link(t, "eth0").Attrs()
	want := State{
		Name: "eth0", Index: a.Index, MAC: frame.MAC(a.HardwareAddr), MTU: 1400, Up: true, Carrier: true, Ethernet: true, Link: "ether",
		Addresses: prefixes("192.0.2.7/24"),
		Routes:    []dataplane.Route{{Destination: netip.MustParsePrefix("192.0.2.0/24")}},
		Neighbors: []Neighbor{{netip.MustParseAddr("192.0.2.9"), frame.MAC{2, 0, 0, 0, 0, 9}}},
	}
	if d := cmp.Diff(want, h.State(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
	if !reflect.DeepEqual(want, h.State()) {
		t.Error("reflect.DeepEqual sees a difference")
	}
}

func TestHostAddressesChange(t *testing.T) {
	m := newMachine(t)
	_, states := m.follow(t, "eth0")
	for _, step := range []struct {
		do   string
		want []netip.Prefix
	}{
		{"addr add 192.0.2.7/24 dev eth0", prefixes("192.0.2.7/24")},
		{"addr add 192.0.2.8/24 dev eth0", prefixes("192.0.2.7/24", "192.0.2.8/24")},
		{"addr add 169.254.3.4/16 scope link dev eth0", prefixes("192.0.2.7/24", "192.0.2.8/24", "169.254.3.4/16")},
		{"addr add 203.0.113.1/25 dev eth0", prefixes("192.0.2.7/24", "203.0.113.1/25", "192.0.2.8/24", "169.254.3.4/16")},
		{"addr add 198.51.100.1/24 dev eth1", nil},
		{"addr del 192.0.2.7/24 dev eth0", prefixes("203.0.113.1/25", "169.254.3.4/16")}, // the secondary goes too
		{"addr flush dev eth0", nil},
	} {
		m.ip(t, step.do)
		if strings.Contains(step.do, "eth1") {
			continue
		}
		until(t, states, func(s State) bool { return reflect.DeepEqual(s.Addresses, step.want) })
	}
}

func TestHostLinkChanges(t *testing.T) {
	m := newMachine(t)
	_, states := m.follow(t, "eth0")
	index := states.last().Index
	m.ip(t, "link set eth0 mtu 1300 address 02:00:00:00:00:55")
	until(t, states, func(s State) bool { return s.MTU == 1300 && s.MAC == frame.MAC{2, 0, 0, 0, 0, 0x55} })
	m.far.Down(t, "far0")
	until(t, states, func(s State) bool { return s.Up && !s.Carrier })
	m.ip(t, "link set eth0 down")
	until(t, states, func(s State) bool { return !s.Up })
	m.ip(t, "link set eth0 name other0")
	until(t, states, func(s State) bool { return reflect.DeepEqual(s, State{Name: "eth0"}) })
	m.ip(t, "link set other0 name eth0")
	until(t, states, func(s State) bool { return s.Index == index })
	m.ns.Delete(t, "eth0")
	until(t, states, func(s State) bool { return s.Index == 0 })
	porttest.Veth(t, m.ns, "eth0", m.far, "far0")
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	until(t, states, func(s State) bool { return s.Index > index && s.Carrier && len(s.Addresses) == 1 })
	m.ip(t, "link add br0 type bridge")
	m.ip(t, "link set eth0 master br0")
	until(t, states, func(s State) bool { return s.Master == `bridge "br0"` })
}

func TestHostRoutes(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	m.ns.Addr(t, "eth1", "198.51.100.7/24")
	_, states := m.follow(t, "eth0")
	links := []string{"192.0.2.0/24", "198.51.100.0/24 blocked"}
	var added []string
	for _, step := range []struct {
		do   string
		want []string
	}{
		{"route add default via 192.0.2.1", []string{"0.0.0.0/0 192.0.2.1"}},
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
		m.ip(t, step.do)
		if step.want != nil {
			added = step.want
		}
		want := append(append([]string(nil), added...), links...)
		s := until(t, states, func(s State) bool {
			return len(s.Routes) == len(want) && (step.want == nil || reflect.DeepEqual(routes(s.Routes), want))
		})
		if d := cmp.Diff(want, routes(s.Routes)); d != "" {
			t.Fatalf("after %q (-want +got):\n%s", step.do, d)
		}
	}
}

// The interface of the default route, as it moves.
func TestHostDefault(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	m.ns.Addr(t, "eth1", "198.51.100.7/24")
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
		{"route replace default via 198.51.100.1 metric 50", "eth1"},
		{"link del eth1", "wan0"},
		{"route del default", ""},
	} {
		m.ip(t, step.do)
		s := until(t, states, func(s State) bool { return s.Name == step.want })
		if step.want == "" {
			if s.Index != 0 || s.Addresses != nil {
				t.Errorf("after %q: %+v", step.do, s)
			}
			continue
		}
		if s.Index == 0 || len(s.Addresses) != 1 {
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

// Permanent neighbours count, and others do not even wake the reader.
func TestHostNeighbors(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	m.far.Addr(t, "far0", "192.0.2.1/24")
	_, states := m.follow(t, "eth0")
	mac := frame.MAC{2, 0, 0, 0, 0, 9}
	m.ip(t, "neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0")
	until(t, states, func(s State) bool { return len(s.Neighbors) == 1 && s.Neighbors[0].MAC == mac })
	porttest.Ping(t, m.ns, "192.0.2.1")
	m.ip(t, "neigh add 192.0.2.5 lladdr 02:00:00:00:00:05 dev eth0")
	s := until(t, states, func(s State) bool { return len(s.Neighbors) == 2 })
	if s.Neighbors[0].Addr != netip.MustParseAddr("192.0.2.5") {
		t.Errorf("neighbours %v", s.Neighbors)
	}
	m.ip(t, "neigh del 192.0.2.9 dev eth0")
	until(t, states, func(s State) bool { return len(s.Neighbors) == 1 })
}

// Several changes at once are one, and what does not change the state is none.
func TestHostGathers(t *testing.T) {
	m := newMachine(t)
	h, states := m.follow(t, "eth0")
	m.ns.MTU(t, "eth1", 1400)
	time.Sleep(4 * gatherTime) // so that it is read for itself
	start := time.Now()
	var batch strings.Builder
	for i := range 4000 {
		batch.WriteString("addr add 10.0.0." + string(rune('0'+i%10)) + "/32 dev eth0\n")
		batch.WriteString("addr del 10.0.0." + string(rune('0'+i%10)) + "/32 dev eth0\n")
	}
	batch.WriteString("addr add 192.0.2.7/24 dev eth0\n")
	m.batch(t, batch.String())
	until(t, states, func(s State) bool { return len(s.Addresses) == 1 && s.Addresses[0].Bits() == 24 })
	states.mu.Lock()
	defer states.mu.Unlock()
	if n, most := len(states.all), int(time.Since(start)/gatherTime)+2; n > most {
		t.Errorf("%d states of 8001 changes, want %d at most", n, most)
	}
	for i := 1; i < len(states.all); i++ {
		if reflect.DeepEqual(states.all[i-1], states.all[i]) {
			t.Errorf("state %d twice: %+v", i, states.all[i])
		}
	}
	if !reflect.DeepEqual(h.State(), states.all[len(states.all)-1]) {
		t.Error("State is not what the callback got last")
	}
}

func (m *machine) batch(t *testing.T, lines string) {
	t.Helper()
	file := t.TempDir() + "/batch"
	write(t, file, lines)
	m.ip(t, "-batch "+file)
}

func TestFollowAddresses(t *testing.T) {
	m := newMachine(t)
	lists := new(followed[[]netip.Addr])
	var a *Addresses
	var err error
	m.ns.Do(func() { a, err = FollowAddresses(lists.add) })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if len(a.List()) != 0 {
		t.Errorf("at first %v", a.List())
	}
	m.ns.Sysctl(t, "net.ipv6.conf.eth0.disable_ipv6", "0")
	m.ns.Addr(t, "eth1", "192.0.2.7/24")
	m.ns.Addr(t, "eth0", "192.0.2.6/24")
	m.ns.Addr(t, "eth0", "fd00::6/64")
	m.ns.Addr(t, "lo", "203.0.113.9/32")
	want := []netip.Addr{
		netip.MustParseAddr("192.0.2.6"), netip.MustParseAddr("192.0.2.7"),
		netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("fd00::6"),
	}
	until(t, lists, func(l []netip.Addr) bool { return reflect.DeepEqual(l, want) })
	m.ns.Delete(t, "eth0")
	until(t, lists, func(l []netip.Addr) bool { return reflect.DeepEqual(l, want[1:3]) })
	if !reflect.DeepEqual(a.List(), want[1:3]) {
		t.Errorf("List: %v", a.List())
	}
}

// Notifications that are lost, as of a table of routes that is filled at once,
// lose no change.
func TestHostOverrun(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	h, states := m.follow(t, "eth0")
	c, err := h.f.events.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	if err != nil {
		t.Fatal(err)
	}
	var batch strings.Builder
	const many = 20000
	for i := range many {
		batch.WriteString("route add 10." + itoa(i>>16) + "." + itoa(i>>8&255) + "." + itoa(i&255) + "/32 via 192.0.2.1\n")
	}
	m.batch(t, batch.String())
	until(t, states, func(s State) bool { return len(s.Routes) == many+1 })
	m.ip(t, "link set eth0 down")
	until(t, states, func(s State) bool { return len(s.Routes) == 0 })
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
