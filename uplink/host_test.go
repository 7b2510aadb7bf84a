package uplink

import (
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
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
	for ns, names := range map[*porttest.NS][]string{m.ns: {"eth0", "eth1"}, m.far: {"far0", "far1"}} {
		for _, name := range names {
			ns.Sysctl(t, "net.ipv6.conf."+name+".router_solicitations", "0")
			ns.Sysctl(t, "net.ipv6.conf."+name+".disable_ipv6", "0")
		}
	}
	return m
}

// bothFamilies runs a test for each, with a machine of its own. What it writes as
// IPv4 goes through as, which makes it the family's.
func bothFamilies(t *testing.T, test func(t *testing.T, m *machine, as func(string) string)) {
	t.Run("IPv4", func(t *testing.T) { test(t, newMachine(t), func(text string) string { return text }) })
	t.Run("IPv6", func(t *testing.T) { test(t, newMachine(t), as6) })
}

// as6 makes each address of IPv4 in a text one of IPv6 with the same last 32 bits.
func as6(text string) string {
	text = strings.ReplaceAll(text, "0.0.0.0/0", "::/0")
	if strings.HasPrefix(text, "route ") {
		text = "-6 " + text
	}
	return addressText.ReplaceAllStringFunc(text, func(a string) string {
		a, bits, isPrefix := strings.Cut(a, "/")
		b := netip.MustParseAddr("2001:db8::").As16()
		copy(b[12:], netip.MustParseAddr(a).AsSlice())
		six := netip.AddrFrom16(b).String()
		if n, err := strconv.Atoi(bits); isPrefix && err == nil {
			six += "/" + itoa(96+n)
		}
		return six
	})
}

var addressText = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+(/\d+)?`)

func asList(as func(string) string, list []string) (out []string) {
	for _, text := range list {
		out = append(out, as(text))
	}
	return out
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
	m.ns.Addr(t, "eth0", "2001:db8:0:7::7/64")
	m.ip(t, "neigh add fe80::9 lladdr 02:00:00:00:00:0a dev eth0 nud permanent")
	m.ip(t, "neigh add fe80::8 lladdr 02:00:00:00:00:08 dev eth0 nud reachable")
	_, states := m.follow(t, "eth0")
	got := until(t, states, func(s State) bool { return s.LinkLocal.IsValid() }) // after a second of RFC 4862
	a := m.ns.Link(t, "eth0").Attrs()
	want := State{
		Name: "eth0", Index: a.Index, MAC: frame.MAC(a.HardwareAddr), MTU: 1400, Up: true, Carrier: true, Ethernet: true, Link: "ether",
		Addresses: prefixes("192.0.2.7/24"), Addresses6: prefixes("2001:db8:0:7::7/64"), LinkLocal: ndp.LinkLocal(frame.MAC(a.HardwareAddr)),
		Routes: []dataplane.Route{{Destination: netip.MustParsePrefix("192.0.2.0/24")}, {Destination: netip.MustParsePrefix("2001:db8:0:7::/64")}},
		Neighbors: []Neighbor{
			{netip.MustParseAddr("192.0.2.9"), frame.MAC{2, 0, 0, 0, 0, 9}}, {netip.MustParseAddr("fe80::9"), frame.MAC{2, 0, 0, 0, 0, 10}},
		},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" {
		t.Errorf("state (-want +got):\n%s", d)
	}
	if !reflect.DeepEqual(want, got) {
		t.Error("reflect.DeepEqual sees a difference")
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

// Permanent neighbours count, and others do not even wake the reader.
func TestHostNeighbors(t *testing.T) { bothFamilies(t, testHostNeighbors) }

func testHostNeighbors(t *testing.T, m *machine, as func(string) string) {
	m.ns.Addr(t, "eth0", as("192.0.2.7/24"))
	m.far.Addr(t, "far0", as("192.0.2.1/24"))
	_, states := m.follow(t, "eth0")
	mac := frame.MAC{2, 0, 0, 0, 0, 9}
	m.ip(t, as("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0"))
	until(t, states, func(s State) bool { return len(s.Neighbors) == 1 && s.Neighbors[0].MAC == mac })
	porttest.Ping(t, m.ns, as("192.0.2.1"))
	m.ip(t, as("neigh add 192.0.2.5 lladdr 02:00:00:00:00:05 dev eth0"))
	s := until(t, states, func(s State) bool { return len(s.Neighbors) == 2 })
	if s.Neighbors[0].Addr != netip.MustParseAddr(as("192.0.2.5")) {
		t.Errorf("neighbours %v", s.Neighbors)
	}
	m.ip(t, as("neigh del 192.0.2.9 dev eth0"))
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
