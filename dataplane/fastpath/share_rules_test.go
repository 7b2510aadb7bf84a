package fastpath

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// What the program says of a frame, where weft's are the ports and identifiers
// 40000-40009 towards far, and the host has, among them: a connection from 40001 to
// far's 4444, a listener on 40002, a UDP socket on 40003, and one on 40004 that is
// connected to far's 4444. 40008 and 40020 are open to all. Protocol 47 is spoken
// with far from behind weft, where 10.5.0.0/16 is, but for the host's own 10.5.0.1.
func TestShareRules(t *testing.T) {
	s := newSharing(t)
	s.occupy(t)
	s.attach(t, attachShare)
	s.use(40000, 40009)
	s.SetUsed(unix.IPPROTO_UDP, 40009, farAddr, false)
	s.SetUsed(unix.IPPROTO_GRE, 0, farAddr, true)
	s.open(40008, 40020)
	s.setPrefixes(t, "10.5.0.0/16", "10.5.0.1")
	frames, wire := s.frames(t), s.far.RawConn(t, "eth0")
	const (
		host = "the host"
		weft = "weft"
		both = "both"
	)
	later, first := s.ip(layers.IPProtocolUDP), s.ip(layers.IPProtocolUDP)
	later.FragOffset, first.Flags = 10, layers.IPv4MoreFragments
	options := s.ip(layers.IPProtocolTCP)
	for range 5 {
		options.Options = append(options.Options, layers.IPv4Option{OptionType: 1, OptionLength: 1})
	}
	to := func(protocol layers.IPProtocol, last ...byte) *layers.IPv4 {
		ip := s.ip(protocol)
		ip.DstIP = append(net.IP{10}, last...)
		return ip
	}
	from := func(ip *layers.IPv4, last byte) *layers.IPv4 {
		ip.SrcIP = net.IP{10, 0, 0, last}
		return ip
	}
	stranger := func(protocol layers.IPProtocol) *layers.IPv4 { return from(s.ip(protocol), 3) }
	toStranger := func(protocol layers.IPProtocol, parts ...gopacket.SerializableLayer) []byte {
		ip := stranger(protocol)
		ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
		return serialize(t, append(packet{ip}, parts...)...)
	}
	gre := s.ip(layers.IPProtocolGRE)
	gre.FragOffset = 10
	behind := to(layers.IPProtocolUDP, 5, 0, 2)
	behind.FragOffset = 10
	behindToOther := s.frame(t, to(layers.IPProtocolTCP, 5, 0, 2), tcpHeader(4444, 80, "S"))
	behindToOther[5] ^= 1
	toOther := s.tcp(t, 4444, 40000, "S")
	toOther[5] ^= 1
	arpToOther := s.arp(t, farAddr, hostAddr)
	copy(arpToOther, toOther[:6])
	arpToHost := s.arp(t, farAddr, hostAddr)
	copy(arpToHost, s.mac)
	udpHeader := func(from, to uint16) *layers.UDP {
		return &layers.UDP{SrcPort: layers.UDPPort(from), DstPort: layers.UDPPort(to)}
	}
	echoRequest := func(id uint16) *layers.ICMPv4 {
		return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: id, Seq: 1}
	}
	echoReply := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0), Id: 40000, Seq: 1}
	unreachable := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)}
	fragmentQuote := s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A"))
	fragmentQuote[7] = 1
	foreignQuote := s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A"))
	foreignQuote[15] = 77
	for _, tt := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"TCP to a mapped port", s.tcp(t, 4444, 40000, "A"), weft},
		{"SYN to a mapped port", s.tcp(t, 4444, 40000, "S"), weft},
		{"RST to a mapped port", s.tcp(t, 4444, 40000, "R"), weft},
		{"TCP to the last port of a word", s.tcp(t, 4444, 40009, "A"), weft},
		{"TCP to the port after", s.tcp(t, 4444, 40010, "A"), host},
		{"TCP to the port before", s.tcp(t, 4444, 39999, "S"), host},
		{"with IP options", s.frame(t, options, tcpHeader(4444, 40000, "A")), weft},
		{"TCP cut short", s.tcp(t, 4444, 40000, "A")[:14+20+19], host},
		{"to another address", s.frame(t, to(layers.IPProtocolTCP, 0, 0, 77), tcpHeader(4444, 40000, "A")), host},
		{"to another MAC address", toOther, host},
		{"the host's connection", s.tcp(t, 4444, 40001, "A"), host},
		{"another connection by that port", s.tcp(t, 4445, 40001, "A"), weft},
		{"SYN to the host's listener", s.tcp(t, 4444, 40002, "S"), host},
		{"SYN and ACK to the listener's port", s.tcp(t, 4444, 40002, "SA"), weft},
		{"ACK to the listener's port", s.tcp(t, 4444, 40002, "A"), weft},
		{"UDP to a mapped port", s.udp(t, 4444, 40000), weft},
		{"UDP to a port given back", s.udp(t, 4444, 40009), host},
		{"UDP cut short", s.udp(t, 4444, 40000)[:14+20+3], host},
		{"UDP to the host's socket", s.udp(t, 4444, 40003), host},
		{"UDP to its connected socket", s.udp(t, 4444, 40004), host},
		{"UDP from elsewhere to that port", s.udp(t, 4445, 40004), weft},
		{"echo reply to a mapped identifier", s.echo(t, 0, 40000), both},
		{"echo reply to another", s.echo(t, 0, 7), host},
		{"echo reply of another address", s.frame(t, stranger(layers.IPProtocolICMPv4), echoReply), host},
		{"TCP from another address", s.frame(t, stranger(layers.IPProtocolTCP), tcpHeader(4444, 40000, "A")), host},
		{"SYN from another address", s.frame(t, stranger(layers.IPProtocolTCP), tcpHeader(4444, 40000, "S")), host},
		{"UDP from another address", s.frame(t, stranger(layers.IPProtocolUDP), udpHeader(4444, 40000)), host},
		{"TCP from another to an open port", s.frame(t, stranger(layers.IPProtocolTCP), tcpHeader(4444, 40008, "S")), weft},
		{"UDP from another to an open port", s.frame(t, stranger(layers.IPProtocolUDP), udpHeader(4444, 40008)), weft},
		{"SYN to an open port without flows", s.tcp(t, 4444, 40020, "S"), weft},
		{"UDP to an open port without flows", s.udp(t, 4444, 40020), weft},
		{"echo reply to what is an open port", s.echo(t, 0, 40020), host},
		{"GRE with an open port in it", s.frame(t, stranger(layers.IPProtocolGRE), udpHeader(4444, 40020)), host},
		{"echo request", s.echo(t, 8, 40000), host},
		{"first fragment", s.frame(t, first, udpHeader(4444, 40000), gopacket.Payload("weft")), weft},
		{"later fragment", s.frame(t, later, gopacket.Payload("what has no ports")), both},
		{"GRE", s.frame(t, s.ip(layers.IPProtocolGRE), gopacket.Payload("GRE")), weft},
		{"later fragment of GRE", s.frame(t, gre, gopacket.Payload("GRE")), weft},
		{"GRE with nothing in it", s.frame(t, s.ip(layers.IPProtocolGRE)), weft},
		{"GRE of somebody else's", s.frame(t, stranger(layers.IPProtocolGRE), gopacket.Payload("GRE")), host},
		{"GRE to another address", s.frame(t, to(layers.IPProtocolGRE, 0, 0, 77), gopacket.Payload("GRE")), host},
		{"ESP", s.frame(t, s.ip(layers.IPProtocolESP), gopacket.Payload("ESP")), host},
		{"to a network behind weft", s.frame(t, to(layers.IPProtocolTCP, 5, 0, 2), tcpHeader(4444, 80, "S")), weft},
		{"UDP there", s.frame(t, to(layers.IPProtocolUDP, 5, 255, 255), udpHeader(4444, 80), gopacket.Payload("weft")), weft},
		{"echo request there", s.frame(t, to(layers.IPProtocolICMPv4, 5, 0, 2), echoRequest(7)), weft},
		{"later fragment there", s.frame(t, behind, gopacket.Payload("what has no ports")), weft},
		{"ESP there", s.frame(t, to(layers.IPProtocolESP, 5, 0, 2), gopacket.Payload("ESP")), weft},
		{"to the address before", s.frame(t, to(layers.IPProtocolTCP, 4, 255, 255), tcpHeader(4444, 80, "S")), host},
		{"to the address after", s.frame(t, to(layers.IPProtocolTCP, 6, 0, 0), tcpHeader(4444, 80, "S")), host},
		{"to the host's address among those", s.frame(t, to(layers.IPProtocolTCP, 5, 0, 1), tcpHeader(4444, 40000, "S")), host},
		{"there by another MAC address", behindToOther, host},
		{"error about TCP", s.icmpError(t, 3, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A"))), weft},
		{"error about TCP with IP options", s.icmpError(t, 11, s.quote(t, layers.IPProtocolTCP, 8, tcpHeader(40000, 4444, "A"))), weft},
		{"error about eight bytes of TCP", s.icmpError(t, 12, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A"))[:28]), weft},
		{"error about seven", s.icmpError(t, 3, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A"))[:27]), host},
		{"error about the host's connection", s.icmpError(t, 3, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40001, 4444, "A"))), host},
		{"error about another by that port", s.icmpError(t, 3, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40001, 4445, "A"))), weft},
		{"error about the listener's port", s.icmpError(t, 3, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40002, 4444, "S"))), weft},
		{"error about UDP", s.icmpError(t, 3, s.quote(t, layers.IPProtocolUDP, 0, udpHeader(40000, 53))), weft},
		{"error about the host's UDP", s.icmpError(t, 3, s.quote(t, layers.IPProtocolUDP, 0, udpHeader(40003, 53))), host},
		{"error about an echo request", s.icmpError(t, 11, s.quote(t, layers.IPProtocolICMPv4, 0, echoRequest(40000))), both},
		{"error about the host's", s.icmpError(t, 11, s.quote(t, layers.IPProtocolICMPv4, 0, echoRequest(7))), host},
		{"error about an unmapped port", s.icmpError(t, 3, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(50000, 4444, "A"))), host},
		{"error about TCP to another", s.icmpError(t, 3, toStranger(layers.IPProtocolTCP, tcpHeader(40000, 4444, "A"))), host},
		{"error about UDP to another", s.icmpError(t, 3, toStranger(layers.IPProtocolUDP, udpHeader(40000, 53))), host},
		{"error about an echo request to another", s.icmpError(t, 11, toStranger(layers.IPProtocolICMPv4, echoRequest(40000))), host},
		{"error about TCP to another by an open port", s.icmpError(t, 3, toStranger(layers.IPProtocolTCP, tcpHeader(40008, 4444, "A"))), weft},
		{"error of another about TCP", s.frame(t, stranger(layers.IPProtocolICMPv4), unreachable, gopacket.Payload(s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A")))), weft},
		{"error about GRE to another", s.icmpError(t, 3, toStranger(layers.IPProtocolGRE, gopacket.Payload("whatever"))), host},
		{"error about GRE", s.icmpError(t, 3, s.quote(t, layers.IPProtocolGRE, 0, gopacket.Payload("whatever"))), weft},
		{"error about ESP", s.icmpError(t, 3, s.quote(t, layers.IPProtocolESP, 0, gopacket.Payload("whatever"))), host},
		{"error about a later fragment", s.icmpError(t, 3, fragmentQuote), host},
		{"error about what another sent", s.icmpError(t, 3, foreignQuote), host},
		{"redirect", s.icmpError(t, 5, s.quote(t, layers.IPProtocolTCP, 0, tcpHeader(40000, 4444, "A"))), host},
		{"ARP to all", s.arp(t, farAddr, hostAddr), both},
		{"ARP to the host", arpToHost, both},
		{"ARP to another", arpToOther, host},
	} {
		t.Run(tt.name, func(t *testing.T) {
			verdict := s.judge(t, tt.frame)
			copies := s.next(t, frames, wire)
			got := host
			switch {
			case verdict == tcxRedirect && len(copies) == 0:
				got = weft
			case verdict == tcxNext && len(copies) == 1 && string(copies[0]) == string(tt.frame):
				got = both
			case verdict != tcxNext || len(copies) != 0:
				t.Fatalf("verdict %#x and %d copies", verdict, len(copies))
			}
			if got != tt.want {
				t.Errorf("goes to %s, want %s", got, tt.want)
			}
		})
	}
}

// setPrefixes gives weft the subnets, but for the addresses among them.
func (s *sharing) setPrefixes(t *testing.T, names ...string) {
	t.Helper()
	var prefixes []netip.Prefix
	var but []netip.Addr
	for _, n := range names {
		if p, err := netip.ParsePrefix(n); err == nil {
			prefixes = append(prefixes, p)
		} else {
			but = append(but, netip.MustParseAddr(n))
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

// judge runs the program over a frame as if the NIC had received it.
func (s *sharing) judge(t *testing.T, frame []byte) uint32 {
	t.Helper()
	var skb [48]uint32                             // struct __sk_buff
	skb[9], skb[10] = uint32(s.nic), uint32(s.nic) // ingress_ifindex, ifindex
	var verdict uint32
	var err error
	s.host.Do(func() {
		verdict, err = s.objs.WeftShareIn.Run(&ebpf.RunOptions{Data: frame, Context: skb})
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
	s.far.Do(func() { far, err = net.Listen("tcp4", "10.0.0.2:4444") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	s.host.Do(func() {
		d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: &net.TCPAddr{IP: hostAddr.AsSlice(), Port: 40001}}
		c, err := d.Dial("tcp4", "10.0.0.2:4444")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", ":40002") // of both families
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp4", ":40003")
		if err != nil {
			t.Fatal(err)
		}
		d.LocalAddr = &net.UDPAddr{IP: hostAddr.AsSlice(), Port: 40004}
		v, err := d.Dial("udp4", "10.0.0.2:4444")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); l.Close(); u.Close(); v.Close() })
	})
}

// No frame is weft's without an address, and another address moves them.
func TestShareAddress(t *testing.T) {
	s := newSharing(t)
	s.attach(t, attachShare)
	s.use(40000, 40000)
	syn := s.tcp(t, 4444, 40000, "S")
	for _, step := range []struct {
		addr string
		want uint32
	}{{"10.0.0.1", tcxRedirect}, {"10.0.0.9", tcxNext}, {"", tcxNext}, {"fd00::1", tcxNext}, {"::ffff:10.0.0.1", tcxRedirect}} {
		s.SetAddress(parse(step.addr))
		if got := s.judge(t, syn); got != step.want {
			t.Errorf("address %q: verdict %#x, want %#x", step.addr, got, step.want)
		}
	}
	wire := s.far.RawConn(t, "eth0")
	s.SetAddress(parse(""))
	wire.Send(s.arp(t, farAddr, hostAddr)) // of interest to nobody but the host
	porttest.Ping(t, s.far, "10.0.0.1")
	s.SetAddress(hostAddr)
	if got := s.next(t, s.frames(t), wire); len(got) != 0 {
		t.Errorf("without an address weft got % x", got)
	}
	s.SetUsed(unix.IPPROTO_TCP, 40000, farAddr, false)
	s.SetUsed(unix.IPPROTO_SCTP, 40000, netip.Addr{}, true) // is none of these
	s.SetUsed(unix.IPPROTO_TCP, 40000, netip.MustParseAddr("10.0.0.3"), true)
	s.SetUsed(unix.IPPROTO_TCP, 40001, farAddr, true)
	s.SetUsed(unix.IPPROTO_UDP, 40000, farAddr, true)
	if got := s.judge(t, syn); got != tcxNext {
		t.Errorf("verdict %#x for a port given back", got)
	}
	s.SetUsed(unix.IPPROTO_TCP, 65535, netip.Addr{}, true)
	s.SetUsed(unix.IPPROTO_TCP, 0, netip.Addr{}, true)
	if s.judge(t, s.tcp(t, 4444, 65535, "S")) != tcxRedirect || s.judge(t, s.tcp(t, 4444, 0, "S")) != tcxRedirect {
		t.Error("the first and the last port are not mapped")
	}
}
