package fastpath

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/porttest"
	"github.com/weft/weft/ports/tap"
	"golang.org/x/sys/unix"
)

// family is what the same tests run for. An address of IPv4 in them stands for one
// of IPv6 with the same last 32 bits.
type family struct{ v6 bool }

func (f family) addr(text string) netip.Addr {
	a := netip.MustParseAddr(text)
	if f.v6 && a.Is4() {
		b := netip.MustParseAddr("fd00:1:2:3::").As16()
		copy(b[12:], a.AsSlice())
		a = netip.AddrFrom16(b)
	}
	return a
}

func (f family) prefix(text string) netip.Prefix {
	p := netip.MustParsePrefix(text)
	switch {
	case !f.v6 || !p.Addr().Is4():
		return p
	case p.Bits() == 0:
		return netip.MustParsePrefix("::/0")
	}
	return netip.PrefixFrom(f.addr(p.Addr().String()), 96+p.Bits())
}

// all is the prefix of every address.
func (f family) all() netip.Prefix { return f.prefix("0.0.0.0/0") }

// network returns a name as package net has it: tcp4 or tcp6, say.
func (f family) network(protocol string) string {
	if f.v6 {
		return protocol + "6"
	}
	return protocol + "4"
}

// endpoint returns an address with a port as text.
func (f family) endpoint(addr string, port uint16) string {
	return netip.AddrPortFrom(f.addr(addr), port).String()
}

func (f family) icmpProtocol() layers.IPProtocol {
	if f.v6 {
		return layers.IPProtocolICMPv6
	}
	return layers.IPProtocolICMPv4
}

// forFamilies runs a test for each family, with a host of its own.
func forFamilies(t *testing.T, test func(t *testing.T, s *sharing)) {
	for name, f := range map[string]family{"IPv4": {}, "IPv6": {v6: true}} {
		t.Run(name, func(t *testing.T) { test(t, newSharing(t, f)) })
	}
}

// sharing is a host that shares the addresses of its NIC, and a station far away.
// What the host does by itself has ports from 50000 on; weft's are below.
type sharing struct {
	family
	hostAddr, farAddr netip.Addr // 10.0.0.1 and 10.0.0.2
	host, far         *porttest.NS
	nic, shadow       int
	tap               *tap.Port
	mac, farMAC       net.HardwareAddr
	share             *Share
	*Attachment
}

func newSharing(t testing.TB, f family, options ...porttest.VethOption) *sharing {
	porttest.Require(t)
	s := &sharing{family: f, host: porttest.NewNS(t, "host"), far: porttest.NewNS(t, "far")}
	s.hostAddr, s.farAddr = f.addr("10.0.0.1"), f.addr("10.0.0.2")
	s.host.Quiet(t)
	s.far.Quiet(t)
	porttest.Veth(t, s.host, "nic", s.far, "eth0", options...)
	addresses(t, s.host, "nic", "10.0.0.1/24")
	addresses(t, s.far, "eth0", "10.0.0.2/24")
	s.host.Sysctl(t, "net.ipv4.ip_local_port_range", "50000 60000")
	s.tap = openTap(t, s.host, "shadow")
	s.nic, s.shadow = s.host.Link(t, "nic").Attrs().Index, s.host.Link(t, "shadow").Attrs().Index
	s.mac, s.farMAC = s.host.Link(t, "nic").Attrs().HardwareAddr, s.far.Link(t, "eth0").Attrs().HardwareAddr
	var err error
	if s.share, err = LoadShare(); err != nil {
		t.Fatal(err)
	}
	return s
}

// addresses gives an interface those of both families that a prefix stands for.
// It asks nobody whether it may have them, nor for a router.
func addresses(t testing.TB, ns *porttest.NS, ifname, prefix string) {
	t.Helper()
	for key, value := range map[string]string{"accept_dad": "0", "router_solicitations": "0", "disable_ipv6": "0"} {
		ns.Sysctl(t, "net.ipv6.conf."+ifname+"."+key, value)
	}
	for _, f := range []family{{}, {v6: true}} {
		p := netip.MustParsePrefix(prefix)
		q := f.prefix(prefix)
		ns.Addr(t, ifname, netip.PrefixFrom(f.addr(p.Addr().String()), q.Bits()).String())
		waitLocal(t, ns, f.addr(p.Addr().String()))
	}
}

// waitLocal waits until an address is of use: the kernel makes the route to a new one
// of IPv6 in its own time.
func waitLocal(t testing.TB, ns *porttest.NS, addr netip.Addr) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		routes, err := ns.Handle().RouteGet(addr.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not there: %v", addr, err)
		}
	}
}

func openTap(t testing.TB, ns *porttest.NS, name string) *tap.Port {
	t.Helper()
	var p *tap.Port
	var err error
	ns.Do(func() { p, err = tap.Open(name) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	ns.Up(t, name)
	return p
}

// attach attaches until the end of the test, or of s.Close.
func (s *sharing) attach(t testing.TB, put attacher) {
	t.Helper()
	var err error
	s.host.Do(func() { s.Attachment, err = s.share.attach(s.nic, s.shadow, put) })
	if err != nil {
		t.Fatal(err)
	}
	a := s.Attachment
	a.SetAddresses(family{}.addr("10.0.0.1"), family{v6: true}.addr("10.0.0.1"))
	t.Cleanup(func() {
		s.host.Do(func() { err = a.Close() })
		if err != nil {
			t.Error(err)
		}
	})
}

// use gives weft flows with far by a range of ports of TCP and UDP, and of
// identifiers of echo.
func (s *sharing) use(first, last uint16) {
	for p := int(first); p <= int(last); p++ {
		for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, uint8(s.icmpProtocol())} {
			s.SetUsed(protocol, uint16(p), s.farAddr, true)
		}
	}
}

// open gives weft ports of TCP and UDP, whoever sends.
func (s *sharing) open(ports ...uint16) {
	for _, p := range ports {
		s.SetUsed(unix.IPPROTO_TCP, p, netip.Addr{}, true)
		s.SetUsed(unix.IPPROTO_UDP, p, netip.Addr{}, true)
	}
}

// frames hands over what weft receives, in memory that may be kept.
func (s *sharing) frames(t *testing.T) <-chan []byte {
	out, done := make(chan []byte, 4096), make(chan struct{})
	go func() {
		defer close(done)
		var burst [ports.MaxBurst]*frame.Frame
		for {
			n, err := s.tap.Recv(burst[:])
			if err != nil {
				return
			}
			for _, f := range burst[:n] {
				out <- f.AppendWire(nil)
			}
		}
	}()
	t.Cleanup(func() {
		s.tap.Stop()
		<-done
	})
	return out
}

// next returns what came into the tap before the frame that a test sent last, an
// ARP request with this sender: it is copied to weft in its turn, whichever family
// the test is about.
func (s *sharing) next(t *testing.T, frames <-chan []byte, wire *porttest.RawConn) (got [][]byte) {
	t.Helper()
	fence := s.arp(t, "10.0.0.99")
	wire.Send(fence)
	deadline := time.After(30 * time.Second)
	for {
		select {
		case f := <-frames:
			if len(f) >= 42 && string(f[:42]) == string(fence[:42]) {
				return got
			}
			got = append(got, f)
		case <-deadline:
			t.Fatal("the fence did not come")
		}
	}
}

// twin is a second host with the same addresses, in weft's place: its frames
// pass through the shadow as they are.
func (s *sharing) twin(t *testing.T) *porttest.NS {
	twin := porttest.NewNS(t, "twin")
	twin.Quiet(t)
	p := openTap(t, twin, "eth0")
	if err := twin.Handle().LinkSetHardwareAddr(twin.Link(t, "eth0"), s.mac); err != nil {
		t.Fatal(err)
	}
	addresses(t, twin, "eth0", "10.0.0.1/24")
	twin.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40999")
	for _, way := range [][2]*tap.Port{{p, s.tap}, {s.tap, p}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			pump(way[0], way[1])
		}()
		t.Cleanup(func() {
			way[0].Stop()
			<-done
		})
	}
	return twin
}

func pump(from, to *tap.Port) {
	var burst [ports.MaxBurst]*frame.Frame
	for {
		n, err := from.Recv(burst[:])
		if err != nil {
			return
		}
		for rest := burst[:n]; len(rest) > 0; {
			sent, err := to.Send(rest)
			if err == nil {
				break
			}
			rest = rest[sent+1:]
		}
	}
}
