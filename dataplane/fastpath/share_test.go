package fastpath

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

var attachers = map[string]attacher{"tcx": attachShare, "clsact": attachShareFilter}

// Two hosts with one address, one behind the shadow, talk to a third at the
// same time: TCP of both directions, UDP and echo, each as if it were alone.
func TestShareFlows(t *testing.T) {
	for name, put := range attachers {
		t.Run(name, func(t *testing.T) {
			forFamilies(t, func(t *testing.T, s *sharing) {
				s.attach(t, put)
				testFlows(t, s)
			})
		})
	}
}

func testFlows(t *testing.T, s *sharing) {
	s.use(40000, 40999)
	for id := range 65536 { // ping chooses any
		s.SetUsed(uint8(s.icmpProtocol()), uint16(id), s.farAddr, true)
	}
	here, far := s.hostAddr.String(), s.farAddr.String()
	twin := s.twin(t)
	stream := porttest.TCPStream(t, twin, s.far, far)
	porttest.TCPTransfer(t, s.host, s.far, far, 4<<20)
	porttest.TCPTransfer(t, s.far, s.host, here, 4<<20)
	porttest.TCPTransfer(t, s.far, twin, here, 4<<20)
	porttest.Ping(t, s.host, far)
	porttest.Ping(t, twin, far)
	porttest.Ping(t, s.far, here)
	s.udpEcho(t, s.host)
	s.udpEcho(t, twin)
	if stream.Stop(t) == 0 {
		t.Error("nothing crossed")
	}
}

// udpEcho asks far by UDP and waits for the answer. 4000 bytes are fragments on
// the wire: the two hosts get the later ones of both, and the first of their own.
func (s *sharing) udpEcho(t *testing.T, from *porttest.NS) {
	t.Helper()
	var server net.PacketConn
	var client net.Conn
	var err error
	s.far.Do(func() { server, err = net.ListenPacket(s.network("udp"), s.endpoint("10.0.0.2", 0)) })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	from.Do(func() { client, err = net.Dial(s.network("udp"), server.LocalAddr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	go func() {
		b := make([]byte, 65536)
		for {
			n, peer, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], peer)
		}
	}()
	for _, size := range []int{10, 4000} {
		want := strings.Repeat("weft", size)[:size]
		_ = client.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := client.Write([]byte(want)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 65536)
		n, err := client.Read(b)
		if err != nil || string(b[:n]) != want {
			t.Fatalf("%s: %d bytes of %d, %v", from.Name, n, size, err)
		}
	}
}

// A mapped port belongs to weft until a socket of the host takes it: that one
// gets its connections, and weft's go on.
func TestShareListenerWins(t *testing.T) { forFamilies(t, testListenerWins) }

func testListenerWins(t *testing.T, s *sharing) {
	s.attach(t, attachShare)
	s.use(40000, 40999)
	twin := s.twin(t)
	stream := porttest.TCPStream(t, s.far, twin, s.hostAddr.String())
	defer stream.Stop(t)
	var port int
	for _, l := range s.listening(t, twin) {
		port = l
	}
	if port < 40000 || port > 40999 {
		t.Fatalf("the twin's connection has port %d", port)
	}
	for _, cookies := range []string{"1", "2"} { // 2: SYNs are always answered by cookies
		s.host.Sysctl(t, "net.ipv4.tcp_syncookies", cookies)
		s.greet(t, port)
	}
}

// listening returns the local ports of the established connections of ns.
func (s *sharing) listening(t *testing.T, ns *porttest.NS) (list []int) {
	file := "/proc/net/tcp"
	if s.v6 {
		file += "6"
	}
	for line := range strings.Lines(ns.Run(t, "cat", file)) {
		var slot, local, remote string
		var state, port int
		n, _ := fmt.Sscan(line, &slot, &local, &remote)
		_, after, _ := strings.Cut(line, remote)
		_, _ = fmt.Sscanf(strings.TrimSpace(after), "%x", &state)
		_, hex, _ := strings.Cut(local, ":")
		if _, err := fmt.Sscanf(hex, "%x", &port); n == 3 && err == nil && state == 1 {
			list = append(list, port)
		}
	}
	return list
}

// greet listens on the host and connects from far.
func (s *sharing) greet(t *testing.T, port int) {
	t.Helper()
	var l net.Listener
	var err error
	s.host.Do(func() { l, err = net.Listen(s.network("tcp"), s.endpoint("10.0.0.1", uint16(port))) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(30 * time.Second))
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(c, "the host")
			c.Close()
		}
		done <- err
	}()
	var c net.Conn
	s.far.Do(func() { c, err = net.DialTimeout(s.network("tcp"), l.Addr().String(), 30*time.Second) })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if b, err := io.ReadAll(c); string(b) != "the host" {
		t.Errorf("far read %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is for weft comes out of the shadow, and the host says nothing to it: no
// RST, no ICMP unreachable. What is for the host it answers as ever, and so all
// again after Close. The host's answer to an unmapped port, asked last, is the
// end of what is waited for.
func TestShareHides(t *testing.T) {
	for name, put := range attachers {
		t.Run(name, func(t *testing.T) {
			forFamilies(t, func(t *testing.T, s *sharing) {
				s.attach(t, put)
				testHides(t, s)
			})
		})
	}
}

func testHides(t *testing.T, s *sharing) {
	wire := s.far.RawConn(t, "eth0")
	s.use(40000, 40000)
	frames := s.frames(t)
	s.next(t, frames, wire)
	syn, datagram := s.tcp(t, 4444, 40000, "S"), s.udp(t, 4444, 40000)
	tagged := append(append(append([]byte(nil), syn[:12]...), 0x81, 0, 0, 7), syn[12:]...)
	ask := func() []string {
		for _, f := range [][]byte{datagram, syn, tagged, s.tcp(t, 4444, 60001, "S")} {
			wire.Send(f)
		}
		var answers []string
		for {
			f := wire.RecvMatch(30*time.Second, isAnswer)
			if f == nil {
				t.Fatal("the host does not answer")
			}
			answers = append(answers, describe(f))
			if answers[len(answers)-1] == "RST from 60001" {
				return answers
			}
		}
	}
	if d := cmp.Diff([]string{"RST from 60001"}, ask()); d != "" {
		t.Errorf("the host's answers (-want +got):\n%s", d)
	}
	got := slices.DeleteFunc(s.next(t, frames, wire), func(f []byte) bool { return !isAnswer(f) })
	if d := cmp.Diff([][]byte{datagram, syn}, got); d != "" {
		t.Errorf("weft got (-want +got):\n%s", d)
	}
	var err error
	s.host.Do(func() { err = s.Close() })
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"unreachable", "RST from 40000", "RST from 60001"}, ask()); d != "" {
		t.Errorf("the host's answers after Close (-want +got):\n%s", d)
	}
	s.SetUsed(unix.IPPROTO_TCP, 40000, netip.Addr{}, true)
	s.SetUsed(unix.IPPROTO_TCP, 40000, s.farAddr, true)
	s.SetAddresses(s.farAddr, s.farAddr)
	s.checkDetached(t)
	select {
	case f := <-frames:
		t.Errorf("weft got % x after Close", f)
	default:
	}
}

// isAnswer leaves out what hosts say to find each other: ARP, and of ICMPv6 all but
// errors.
func isAnswer(f []byte) bool {
	switch {
	case f[12] == 0x08 && f[13] == 0x00:
		return true
	case f[12] == 0x86 && f[13] == 0xdd:
		return f[14+6] != 0 && (f[14+6] != 58 || f[14+40] < 128) // a report of groups has options
	}
	return false
}

func describe(f []byte) string {
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	if h, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && h.RST {
		return fmt.Sprintf("RST from %d", h.SrcPort)
	}
	if h, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && h.TypeCode.Type() == 3 {
		return "unreachable"
	}
	if h, ok := p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6); ok && h.TypeCode.Type() == 1 {
		return "unreachable"
	}
	return p.String()
}

// A frame written into the shadow leaves on the NIC with its tag of offloads: a
// super-frame whole, and in segments with right checksums where the NIC takes
// none.
func TestShareSends(t *testing.T) {
	for name, options := range map[string][]porttest.VethOption{"whole": nil, "segments": {porttest.VethOffloadsOff()}} {
		for _, f := range []family{{}, {v6: true}} {
			t.Run(name+" "+f.network("IPv"), func(t *testing.T) { testSends(t, newSharing(t, f, options...), name == "whole") })
		}
	}
}

func testSends(t *testing.T, s *sharing, whole bool) {
	s.attach(t, attachShare)
	wire := s.far.RawConn(t, "eth0")
	const mss, size = 1428, 60000
	f := s.super(t, mss, size)
	if n, err := s.tap.Send([]*frame.Frame{f}); n != 1 {
		t.Fatal(err)
	}
	got := 0
	for frames := 1; got < size; frames++ {
		b := wire.RecvMatch(30*time.Second, func(b []byte) bool { return len(b) > 60 && isAnswer(b) })
		if b == nil {
			t.Fatalf("%d of %d bytes of payload arrived", got, size)
		}
		p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
		h := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
		_ = h.SetNetworkLayerForChecksum(p.NetworkLayer())
		if err, bad := p.VerifyChecksums(); !whole && (err != nil || len(bad) != 0 || len(h.Payload) > mss) {
			t.Fatalf("%d bytes of payload, checksums %v, %v", len(h.Payload), bad, err)
		}
		if got += len(h.Payload); whole && frames > 1 {
			t.Fatal("the super-frame came apart")
		}
	}
}

// super returns a TCP super-frame to far with a partial checksum.
func (s *sharing) super(t *testing.T, mss, size int) *frame.Frame {
	b := s.frame(t, s.head(layers.IPProtocolTCP).back(), tcpHeader(40000, 4444, "A"), gopacket.Payload(make([]byte, size)))
	copy(b, s.farMAC)
	copy(b[6:], s.mac)
	first, l4, kind := 26, 34, uint8(frame.GSOTCPv4)
	if s.v6 {
		first, l4, kind = 22, 54, frame.GSOTCPv6
	}
	sum := uint32(0) // of the pseudo header
	for i := first; i < l4; i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum += unix.IPPROTO_TCP + uint32(len(b)-l4)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	b[l4+16], b[l4+17] = byte(sum>>8), byte(sum)
	f := new(frame.Frame)
	f.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
	f.Offload = frame.Offload{
		Flags: frame.NeedsChecksum, CsumStart: uint16(l4), CsumOffset: 16,
		GSOType: kind, GSOSize: uint16(mss), HdrLen: uint16(l4 + 20),
	}
	return f
}
