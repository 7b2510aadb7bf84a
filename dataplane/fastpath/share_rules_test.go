package fastpath

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// rule is what the program says of a frame.
type rule struct {
	name  string
	frame []byte
	want  string
}

const (
	host = "the host"
	weft = "weft"
	both = "both"
)

// What the program says of a frame, where weft's are the ports and identifiers
// 40000-40009 towards far, and the host has, among them: a connection from 40001 to
// far's 4444, a listener on 40002, a UDP socket on 40003, and one on 40004 that is
// connected to far's 4444. 40008 and 40020 are open to all, 40021 is for the other
// family alone. Protocol 47 is spoken with far from behind weft, where 10.5.0.0/16
// is, but for the host's own 10.5.0.1.
func TestShareRules(t *testing.T) { forFamilies(t, testRules) }

func testRules(t *testing.T, s *sharing) {
	s.occupy(t)
	s.attach(t, attachShare)
	s.use(40000, 40009)
	s.SetUsed(unix.IPPROTO_UDP, 40009, s.farAddr, false)
	s.SetUsed(unix.IPPROTO_GRE, 0, s.farAddr, true)
	s.open(40008, 40020)
	s.SetUsed(unix.IPPROTO_TCP, 40021, family{v6: !s.v6}.all().Addr(), true)
	s.setPrefixes(t, "10.5.0.0/16", "10.5.0.1")
	frames, wire := s.frames(t), s.far.RawConn(t, "eth0")
	ip := 14 + 20 // all headers up to that of the transport
	if s.v6 {
		ip = 14 + 40
	}
	later, first, options := s.head(layers.IPProtocolUDP), s.head(layers.IPProtocolUDP), s.head(layers.IPProtocolTCP)
	later.offset, first.more, options.options = 10, true, 2
	stranger := func(protocol layers.IPProtocol) head { return s.from("10.0.0.3", protocol) }
	gre, behind := s.head(layers.IPProtocolGRE), s.to("10.5.0.2", layers.IPProtocolUDP)
	gre.offset, behind.offset = 10, 10
	toOther := s.tcp(t, 4444, 40000, "S")
	toOther[5] ^= 1
	behindToOther := toMAC(s.frame(t, s.to("10.5.0.2", layers.IPProtocolTCP), tcpHeader(4444, 80, "S")), toOther[:6]...)
	quoted := s.head(layers.IPProtocolTCP)
	quoted.offset = 1
	fragmentQuote := s.quote(t, quoted, tcpHeader(40000, 4444, "A"))
	foreignQuote := s.quote(t, s.to("10.0.0.77", layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))
	rules := []rule{
		{"TCP to a mapped port", s.tcp(t, 4444, 40000, "A"), weft},
		{"SYN to a mapped port", s.tcp(t, 4444, 40000, "S"), weft},
		{"RST to a mapped port", s.tcp(t, 4444, 40000, "R"), weft},
		{"TCP to the last port of a word", s.tcp(t, 4444, 40009, "A"), weft},
		{"TCP to the port after", s.tcp(t, 4444, 40010, "A"), host},
		{"TCP to the port before", s.tcp(t, 4444, 39999, "S"), host},
		{"with options", s.frame(t, options, tcpHeader(4444, 40000, "A")), weft},
		{"TCP cut short", s.tcp(t, 4444, 40000, "A")[:ip+19], host},
		{"to another address", s.frame(t, s.to("10.0.0.77", layers.IPProtocolTCP), tcpHeader(4444, 40000, "A")), host},
		{"to another MAC address", toOther, host},
		{"the host's connection", s.tcp(t, 4444, 40001, "A"), host},
		{"another connection by that port", s.tcp(t, 4445, 40001, "A"), weft},
		{"SYN to the host's listener", s.tcp(t, 4444, 40002, "S"), host},
		{"SYN and ACK to the listener's port", s.tcp(t, 4444, 40002, "SA"), weft},
		{"ACK to the listener's port", s.tcp(t, 4444, 40002, "A"), weft},
		{"UDP to a mapped port", s.udp(t, 4444, 40000), weft},
		{"UDP to a port given back", s.udp(t, 4444, 40009), host},
		{"UDP cut short", s.udp(t, 4444, 40000)[:ip+3], host},
		{"UDP to the host's socket", s.udp(t, 4444, 40003), host},
		{"UDP to its connected socket", s.udp(t, 4444, 40004), host},
		{"UDP from elsewhere to that port", s.udp(t, 4445, 40004), weft},
		{"echo reply to a mapped identifier", s.echo(t, "echo reply", 40000), both},
		{"echo reply to another", s.echo(t, "echo reply", 7), host},
		{"echo reply of another address", s.frame(t, stranger(layers.IPProtocolICMPv4), s.icmp("echo reply", 40000)...), host},
		{"TCP from another address", s.frame(t, stranger(layers.IPProtocolTCP), tcpHeader(4444, 40000, "A")), host},
		{"SYN from another address", s.frame(t, stranger(layers.IPProtocolTCP), tcpHeader(4444, 40000, "S")), host},
		{"UDP from another address", s.frame(t, stranger(layers.IPProtocolUDP), udpHeader(4444, 40000)), host},
		{"TCP from another to an open port", s.frame(t, stranger(layers.IPProtocolTCP), tcpHeader(4444, 40008, "S")), weft},
		{"UDP from another to an open port", s.frame(t, stranger(layers.IPProtocolUDP), udpHeader(4444, 40008)), weft},
		{"SYN to an open port without flows", s.tcp(t, 4444, 40020, "S"), weft},
		{"UDP to an open port without flows", s.udp(t, 4444, 40020), weft},
		{"echo reply to what is an open port", s.echo(t, "echo reply", 40020), host},
		{"GRE with an open port in it", s.frame(t, stranger(layers.IPProtocolGRE), udpHeader(4444, 40020)), host},
		{"echo request", s.echo(t, "echo request", 40000), host},
		{"first fragment", s.frame(t, first, udpHeader(4444, 40000), gopacket.Payload("weft")), weft},
		{"later fragment", s.frame(t, later, gopacket.Payload("what has no ports")), both},
		{"GRE", s.frame(t, s.head(layers.IPProtocolGRE), gopacket.Payload("GRE")), weft},
		{"later fragment of GRE", s.frame(t, gre, gopacket.Payload("GRE")), weft},
		{"GRE with nothing in it", s.frame(t, s.head(layers.IPProtocolGRE)), weft},
		{"GRE of somebody else's", s.frame(t, stranger(layers.IPProtocolGRE), gopacket.Payload("GRE")), host},
		{"GRE to another address", s.frame(t, s.to("10.0.0.77", layers.IPProtocolGRE), gopacket.Payload("GRE")), host},
		{"ESP", s.frame(t, s.head(layers.IPProtocolESP), gopacket.Payload("ESP")), host},
		{"to a network behind weft", s.frame(t, s.to("10.5.0.2", layers.IPProtocolTCP), tcpHeader(4444, 80, "S")), weft},
		{"UDP there", s.frame(t, s.to("10.5.255.255", layers.IPProtocolUDP), udpHeader(4444, 80), gopacket.Payload("weft")), weft},
		{"echo request there", s.frame(t, s.to("10.5.0.2", layers.IPProtocolICMPv4), s.icmp("echo request", 7)...), weft},
		{"later fragment there", s.frame(t, behind, gopacket.Payload("what has no ports")), weft},
		{"ESP there", s.frame(t, s.to("10.5.0.2", layers.IPProtocolESP), gopacket.Payload("ESP")), weft},
		{"to the address before", s.frame(t, s.to("10.4.255.255", layers.IPProtocolTCP), tcpHeader(4444, 80, "S")), host},
		{"to the address after", s.frame(t, s.to("10.6.0.0", layers.IPProtocolTCP), tcpHeader(4444, 80, "S")), host},
		{"to the host's address among those", s.frame(t, s.to("10.5.0.1", layers.IPProtocolTCP), tcpHeader(4444, 40000, "S")), host},
		{"there by another MAC address", behindToOther, host},
		{"error about TCP", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))), weft},
		{"error about TCP with options", s.icmpError(t, "time exceeded", s.quote(t, options, tcpHeader(40000, 4444, "A"))), weft},
		{"error about eight bytes of TCP", s.icmpError(t, "parameter problem", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))[:ip-14+8]), weft},
		{"error about seven", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))[:ip-14+7]), host},
		{"error about the host's connection", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40001, 4444, "A"))), host},
		{"error about another by that port", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40001, 4445, "A"))), weft},
		{"error about the listener's port", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40002, 4444, "S"))), weft},
		{"error about UDP", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolUDP), udpHeader(40000, 53))), weft},
		{"error about the host's UDP", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolUDP), udpHeader(40003, 53))), host},
		{"error about an echo request", s.icmpError(t, "time exceeded", s.quote(t, s.head(layers.IPProtocolICMPv4), s.icmp("echo request", 40000)...)), both},
		{"error about the host's", s.icmpError(t, "time exceeded", s.quote(t, s.head(layers.IPProtocolICMPv4), s.icmp("echo request", 7)...)), host},
		{"error about an unmapped port", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(50000, 4444, "A"))), host},
		{"error about TCP to another", s.icmpError(t, "unreachable", s.quote(t, stranger(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))), host},
		{"error about UDP to another", s.icmpError(t, "unreachable", s.quote(t, stranger(layers.IPProtocolUDP), udpHeader(40000, 53))), host},
		{"error about an echo request to another", s.icmpError(t, "time exceeded", s.quote(t, stranger(layers.IPProtocolICMPv4), s.icmp("echo request", 40000)...)), host},
		{"error about TCP to another by an open port", s.icmpError(t, "unreachable", s.quote(t, stranger(layers.IPProtocolTCP), tcpHeader(40008, 4444, "A"))), weft},
		{"error of another about TCP", s.frame(t, stranger(layers.IPProtocolICMPv4), append(s.icmp("unreachable", 0), gopacket.Payload(s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))))...), weft},
		{"error about GRE to another", s.icmpError(t, "unreachable", s.quote(t, stranger(layers.IPProtocolGRE), gopacket.Payload("whatever"))), host},
		{"error about GRE", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolGRE), gopacket.Payload("whatever"))), weft},
		{"error about ESP", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolESP), gopacket.Payload("whatever"))), host},
		{"error about a later fragment", s.icmpError(t, "unreachable", fragmentQuote), host},
		{"error about what another sent", s.icmpError(t, "unreachable", foreignQuote), host},
		{"redirect", s.icmpError(t, "redirect", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))), host},
		{"packet too big", s.icmpError(t, "too big", s.quote(t, s.head(layers.IPProtocolTCP), tcpHeader(40000, 4444, "A"))), weft},
		{"packet too big for the host", s.icmpError(t, "too big", s.quote(t, s.head(layers.IPProtocolUDP), udpHeader(40003, 53))), host},
		{"error about an echo reply", s.icmpError(t, "unreachable", s.quote(t, s.head(layers.IPProtocolICMPv4), s.icmp("echo reply", 40000)...)), host},
		{"to an open port of the other family", s.tcp(t, 4444, 40021, "S"), host},
		{"ARP to all", s.arp(t, "10.0.0.1"), both},
		{"ARP to the host", toMAC(s.arp(t, "10.0.0.1"), s.mac...), both},
		{"ARP to another", toMAC(s.arp(t, "10.0.0.1"), toOther[:6]...), host},
	}
	if s.v6 {
		rules = append(rules, s.onlyIPv6(t)...)
	}
	for _, tt := range rules {
		t.Run(tt.name, func(t *testing.T) {
			verdict := s.judge(t, tt.frame)
			if got := owner(t, verdict, s.next(t, frames, wire), tt.frame); got != tt.want {
				t.Errorf("goes to %s, want %s", got, tt.want)
			}
		})
	}
}

// owner says whose a frame is by the verdict and by what came out of the shadow.
func owner(t *testing.T, verdict uint32, copies [][]byte, frame []byte) string {
	t.Helper()
	switch {
	case verdict == tcxRedirect && len(copies) == 0:
		return weft
	case verdict == tcxNext && len(copies) == 0:
		return host
	case verdict == tcxNext && len(copies) == 1 && string(copies[0]) == string(frame):
		return both
	}
	t.Fatalf("verdict %#x and %d copies", verdict, len(copies))
	return ""
}

// setPrefixes gives weft the subnets, but for the addresses among them. The word
// "other" is all that the other family has.
func (s *sharing) setPrefixes(t testing.TB, names ...string) {
	t.Helper()
	var prefixes []netip.Prefix
	var but []netip.Addr
	for _, n := range names {
		switch {
		case n == "other":
			prefixes = append(prefixes, family{v6: !s.v6}.all())
		case strings.Contains(n, "/"):
			prefixes = append(prefixes, s.prefix(n))
		default:
			but = append(but, s.addr(n))
		}
	}
	if err := s.SetPrefixes(prefixes, but); err != nil {
		t.Error(err)
	}
}

const (
	tcxNext     = 0xffffffff
	tcxRedirect = 7
)

// received is the struct __sk_buff of a frame that the NIC has received.
func (s *sharing) received() (skb [48]uint32) {
	skb[9], skb[10] = uint32(s.nic), uint32(s.nic) // ingress_ifindex, ifindex
	return skb
}

// judge runs the program over a frame as if the NIC had received it.
func (s *sharing) judge(t *testing.T, frame []byte) uint32 {
	t.Helper()
	var verdict uint32
	var err error
	s.host.Do(func() {
		verdict, err = s.objs.WeftShareIn.Run(&ebpf.RunOptions{Data: frame, Context: s.received()})
	})
	if err != nil {
		t.Fatal(err)
	}
	return verdict
}

// occupy opens the host's sockets that TestShareRules names.
func (s *sharing) occupy(t *testing.T) {
	var far net.Listener
	var err error
	s.far.Do(func() { far, err = net.Listen(s.network("tcp"), s.endpoint("10.0.0.2", 4444)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	s.host.Do(func() {
		d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: s.hostAddr.AsSlice(), Port: 40001}}
		c, err := d.Dial(s.network("tcp"), s.endpoint("10.0.0.2", 4444))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", ":40002") // of both families
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket(s.network("udp"), ":40003")
		if err != nil {
			t.Fatal(err)
		}
		d.LocalAddr = &net.UDPAddr{IP: s.hostAddr.AsSlice(), Port: 40004}
		v, err := d.Dial(s.network("udp"), s.endpoint("10.0.0.2", 4444))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); l.Close(); u.Close(); v.Close() })
	})
}
