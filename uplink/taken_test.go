package uplink

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/nat"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

func itoa(i int) string { return strconv.Itoa(i) }

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newTaken(t *testing.T) (*porttest.NS, *Taken, *followed[*TakenPorts]) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "host")
	porttest.Veth(t, ns, "eth0", ns, "eth1")
	ns.Addr(t, "eth0", "192.0.2.7/24")
	ns.Addr(t, "eth0", "192.0.2.8/24")
	for _, a := range []string{"2001:db8::7", "2001:db8::8"} {
		ns.Addr(t, "lo", a+"/128")
		waitLocal(t, ns, a)
	}
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "50000 50099")
	all := new(followed[*TakenPorts])
	var taken *Taken
	var err error
	ns.Do(func() { taken, err = FollowTaken([]netip.Addr{netip.MustParseAddr("192.0.2.7")}, all.add) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(taken.Close)
	all.add(taken.Ports())
	return ns, taken, all
}

// waitLocal waits until an address is the host's: the kernel makes the route to a new
// one of IPv6 in its own time.
func waitLocal(t *testing.T, ns *porttest.NS, addr string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		routes, err := ns.Handle().RouteGet(net.ParseIP(addr))
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not the host's: %v", addr, err)
		}
	}
}

// list writes a set as "1,5-7".
func list(s *nat.PortSet) string {
	var parts []string
	for p := 0; p < 65536; p++ {
		first := p
		for ; p < 65536 && s.Has(uint16(p)); p++ {
		}
		switch p - first {
		case 0:
		case 1:
			parts = append(parts, itoa(first))
		default:
			parts = append(parts, fmt.Sprintf("%d-%d", first, p-1))
		}
	}
	return strings.Join(parts, ",")
}

func waitTaken(t *testing.T, all *followed[*TakenPorts], set func(*TakenPorts) *nat.PortSet, want string) {
	t.Helper()
	until(t, all, func(p *TakenPorts) bool { return list(set(p)) == want })
}

func tcpSet(p *TakenPorts) *nat.PortSet { return p.Of(unix.IPPROTO_TCP) }
func udpSet(p *TakenPorts) *nat.PortSet { return p.Of(unix.IPPROTO_UDP) }

func TestTakenRanges(t *testing.T) {
	ns, taken, all := newTaken(t)
	waitTaken(t, all, tcpSet, "50000-50099")
	ns.Sysctl(t, "net.ipv4.ip_local_reserved_ports", "8080,9000-9010,65535")
	waitTaken(t, all, udpSet, "8080,9000-9010,50000-50099,65535")
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 65535")
	waitTaken(t, all, tcpSet, "8080,9000-9010,40000-65535")
	many := make([]string, 20000) // more than fits into one page
	for i := range many {
		many[i] = itoa(2*i + 1)
	}
	ns.Sysctl(t, "net.ipv4.ip_local_reserved_ports", strings.Join(many, ","))
	p := until(t, all, func(p *TakenPorts) bool { return p.TCP.Has(1) })
	for port := range 40000 {
		if p.UDP.Has(uint16(port)) != (port%2 == 1) {
			t.Fatalf("port %d", port)
		}
	}
	if taken.Ports() != all.last() || taken.Ports().Of(unix.IPPROTO_ICMP) != nil {
		t.Error("Ports is not what the callback got last")
	}
	if list(&p.BoundTCP)+list(&p.BoundUDP) != "" {
		t.Error("ranges count as bound")
	}
}

// A socket takes its port where it can get packets for the address.
func TestTakenSockets(t *testing.T) {
	ns, taken, all := newTaken(t)
	ns.Do(func() {
		for _, l := range []struct{ network, address string }{
			{"tcp4", "192.0.2.7:1001"}, {"tcp4", "0.0.0.0:1002"}, {"tcp", "[::]:1003"}, {"tcp", "[::ffff:192.0.2.7]:1004"},
			{"tcp4", "192.0.2.8:1011"}, {"tcp4", "127.0.0.1:1012"}, {"tcp6", "[::]:1013"}, {"tcp6", "[::1]:1014"},
			{"tcp4", "192.0.2.7:50007"},
			{"tcp6", "[2001:db8::7]:1021"}, {"tcp6", "[2001:db8::8]:1022"},
			{"udp4", "192.0.2.7:2001"}, {"udp", "[::]:2002"}, {"udp4", "127.0.0.1:2011"}, {"udp6", "[::]:2012"}, {"udp6", "[2001:db8::7]:2021"},
		} {
			var c interface{ Close() error }
			var err error
			if l.network[:3] == "tcp" {
				c, err = net.Listen(l.network, l.address)
			} else {
				c, err = net.ListenPacket(l.network, l.address)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
		}
		// Connections from ports of their own choice: outside the range, and in it.
		for _, local := range []int{3001, 50003, 60001} {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IP{192, 0, 2, 7}, Port: local}}
			c, err := d.Dial("tcp4", "192.0.2.7:1002")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			d.LocalAddr = &net.UDPAddr{IP: net.IP{192, 0, 2, 7}, Port: local}
			u, err := d.Dial("udp4", "192.0.2.7:2001")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { u.Close() })
		}
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 3002}}
		c, err := d.Dial("tcp6", "[2001:db8::7]:1021")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	})
	waitTaken(t, all, tcpSet, "1001-1004,3001,50000-50099,60001")
	waitTaken(t, all, udpSet, "2001-2002,3001,50000-50099,60001")
	p := taken.Ports()
	if got := list(&p.BoundTCP); got != "1001-1004,3001,50007,60001" {
		t.Errorf("bound by TCP: %s", got)
	}
	if got := list(&p.BoundUDP); got != "2001-2002,3001,60001" {
		t.Errorf("bound by UDP: %s", got)
	}
	for _, step := range []struct{ addrs, tcp, udp string }{
		{"192.0.2.8", "1002-1003,1011,50000-50099", "2002,50000-50099"},
		{"2001:db8::7", "1003,1013,1021,3002,50000-50099", "2002,2012,2021,50000-50099"},
		{"2001:db8::8", "1003,1013,1022,50000-50099", "2002,2012,50000-50099"},
		{"192.0.2.8 2001:db8::8", "1002-1003,1011,1013,1022,50000-50099", "2002,2012,50000-50099"},
		{"192.0.2.7 2001:db8::7", "1001-1004,1013,1021,3001-3002,50000-50099,60001", "2001-2002,2012,2021,3001,50000-50099,60001"},
		{"192.0.2.7 ::ffff:192.0.2.8", "1001-1004,1011,3001,50000-50099,60001", "2001-2002,3001,50000-50099,60001"},
		{"", "1001-1004,1011-1014,1021-1022,3001-3002,50000-50099,60001", "2001-2002,2011-2012,2021,3001,50000-50099,60001"},
	} {
		addrs := []netip.Addr{{}} // which does not count
		for a := range strings.FieldsSeq(step.addrs) {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		taken.SetAddresses(addrs)
		waitTaken(t, all, tcpSet, step.tcp)
		waitTaken(t, all, udpSet, step.udp)
	}
}

// A port comes when somebody listens, and goes with him.
func TestTakenComesAndGoes(t *testing.T) {
	ns, taken, all := newTaken(t)
	var l net.Listener
	var err error
	ns.Do(func() { l, err = net.Listen("tcp4", ":19888") })
	if err != nil {
		t.Fatal(err)
	}
	waitTaken(t, all, tcpSet, "19888,50000-50099")
	l.Close()
	waitTaken(t, all, tcpSet, "50000-50099")
	taken.SetAddresses([]netip.Addr{netip.MustParseAddr("192.0.2.8")}) // is read, and the same
	time.Sleep(200 * time.Millisecond)
	ns.Sysctl(t, "net.ipv4.ip_local_reserved_ports", "1")
	waitTaken(t, all, tcpSet, "1,50000-50099")
	all.mu.Lock()
	defer all.mu.Unlock()
	for i := 1; i < len(all.all); i++ {
		if *all.all[i-1] == *all.all[i] {
			t.Errorf("the same ports twice: %s", list(&all.all[i].TCP))
		}
	}
}

// A socket that is bound and no more is seen from Linux 6.8 on.
func TestTakenBoundOnly(t *testing.T) {
	ns, _, all := newTaken(t)
	var fd int
	var err error
	ns.Do(func() {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Port: 7777})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	if major < 6 || major == 6 && minor < 8 {
		t.Skipf("Linux %d.%d does not tell", major, minor)
	}
	waitTaken(t, all, tcpSet, "7777,50000-50099")
}

func TestAddList(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "1": "1", "0-3": "0-3", "5,7-9,65535": "5,7-9,65535",
		"65536": "error", "1-": "error", "x": "error", "1,,2": "error", "1-65536": "error", "-": "error",
	} {
		var s nat.PortSet
		err := addList(&s, text)
		if (want == "error") != (err != nil) || err == nil && list(&s) != want {
			t.Errorf("%q: %s, %v", text, list(&s), err)
		}
	}
}

// What the kernel would never say harms nobody.
func FuzzBoundPort(f *testing.F) {
	m := make([]byte, diagMessageLen+8)
	m[0], m[5], m[diagMessageLen], m[diagMessageLen+2] = unix.AF_INET6, 80, 5, diagV6Only
	f.Add(m)
	f.Fuzz(func(t *testing.T, m []byte) {
		if port, ok := boundPort(m, []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}); ok && port == 0 {
			t.Error("port 0")
		}
		matters(m)
	})
}
