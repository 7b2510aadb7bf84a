package fastpath

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/porttest"
	"github.com/weft/weft/ports/tap"
	"golang.org/x/sys/unix"
)

var (
	hostAddr = netip.MustParseAddr("10.0.0.1")
	farAddr  = netip.MustParseAddr("10.0.0.2")
)

// sharing is a host that shares the address of its NIC, and a station far away.
// What the host does by itself has ports from 50000 on; weft's are below.
type sharing struct {
	host, far   *porttest.NS
	nic, shadow int
	tap         *tap.Port
	mac, farMAC net.HardwareAddr
	share       *Share
	*Attachment
}

func newSharing(t *testing.T, options ...porttest.VethOption) *sharing {
	porttest.Require(t)
	s := &sharing{host: porttest.NewNS(t, "host"), far: porttest.NewNS(t, "far")}
	s.host.Quiet(t)
	s.far.Quiet(t)
	porttest.Veth(t, s.host, "nic", s.far, "eth0", options...)
	s.host.Addr(t, "nic", "10.0.0.1/24")
	s.far.Addr(t, "eth0", "10.0.0.2/24")
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

func openTap(t *testing.T, ns *porttest.NS, name string) *tap.Port {
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
func (s *sharing) attach(t *testing.T, put attacher) {
	t.Helper()
	var err error
	s.host.Do(func() { s.Attachment, err = s.share.attach(s.nic, s.shadow, hostAddr, put) })
	if err != nil {
		t.Fatal(err)
	}
	a := s.Attachment
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
		for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMP} {
			s.SetUsed(protocol, uint16(p), farAddr, true)
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
// ARP request with this sender: it is copied to weft in its turn.
func (s *sharing) next(t *testing.T, frames <-chan []byte, wire *porttest.RawConn) (got [][]byte) {
	t.Helper()
	fence := s.arp(t, farAddr, netip.MustParseAddr("10.0.0.99"))
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
	twin.Addr(t, "eth0", "10.0.0.1/24")
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

// What follows makes frames from far to the host.

type packet = []gopacket.SerializableLayer

func (s *sharing) ip(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: farAddr.AsSlice(), DstIP: hostAddr.AsSlice()}
}

func (s *sharing) frame(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	eth := &layers.Ethernet{SrcMAC: s.farMAC, DstMAC: s.mac, EthernetType: layers.EthernetTypeIPv4}
	return serialize(t, append(packet{eth}, parts...)...)
}

func serialize(t *testing.T, parts ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	var network gopacket.NetworkLayer
	for _, l := range parts {
		switch l := l.(type) {
		case *layers.IPv4:
			network = l
		case *layers.TCP:
			_ = l.SetNetworkLayerForChecksum(network)
		case *layers.UDP:
			_ = l.SetNetworkLayerForChecksum(network)
		}
	}
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s *sharing) tcp(t *testing.T, from, to uint16, flags string) []byte {
	return s.frame(t, s.ip(layers.IPProtocolTCP), tcpHeader(from, to, flags))
}

func tcpHeader(from, to uint16, flags string) *layers.TCP {
	h := &layers.TCP{SrcPort: layers.TCPPort(from), DstPort: layers.TCPPort(to), Seq: 1000, Window: 1000}
	for _, f := range flags {
		switch f {
		case 'S':
			h.SYN = true
		case 'A':
			h.ACK = true
		case 'R':
			h.RST = true
		}
	}
	return h
}

func (s *sharing) udp(t *testing.T, from, to uint16) []byte {
	return s.frame(t, s.ip(layers.IPProtocolUDP), &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}, gopacket.Payload("weft"))
}

func (s *sharing) echo(t *testing.T, kind uint8, id uint16) []byte {
	return s.frame(t, s.ip(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0), Id: id, Seq: 1})
}

// quote returns what the host's address sent to far.
func (s *sharing) quote(t *testing.T, protocol layers.IPProtocol, options int, parts ...gopacket.SerializableLayer) []byte {
	ip := s.ip(protocol)
	ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
	for range options {
		ip.Options = append(ip.Options, layers.IPv4Option{OptionType: 1, OptionLength: 1})
	}
	return serialize(t, append(packet{ip}, parts...)...)
}

func (s *sharing) icmpError(t *testing.T, kind uint8, quote []byte) []byte {
	return s.frame(t, s.ip(layers.IPProtocolICMPv4), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 1)}, gopacket.Payload(quote))
}

func (s *sharing) arp(t *testing.T, sender, target netip.Addr) []byte {
	eth := &layers.Ethernet{SrcMAC: s.farMAC, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP}
	return serialize(t, eth, &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: 1,
		SourceHwAddress: s.farMAC, SourceProtAddress: sender.AsSlice(),
		DstHwAddress: make([]byte, 6), DstProtAddress: target.AsSlice(),
	})
}

func parse(addr string) netip.Addr {
	a, _ := netip.ParseAddr(addr)
	return a
}
