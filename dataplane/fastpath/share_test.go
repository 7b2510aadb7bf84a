package fastpath

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
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
			s := newSharing(t)
			s.attach(t, put)
			s.use(40000, 40999)
			for id := range 65536 { // ping chooses any
				s.SetUsed(unix.IPPROTO_ICMP, uint16(id), farAddr, true)
			}
			twin := s.twin(t)
			stream := porttest.TCPStream(t, twin, s.far, "10.0.0.2")
			porttest.TCPTransfer(t, s.host, s.far, "10.0.0.2", 4<<20)
			porttest.TCPTransfer(t, s.far, s.host, "10.0.0.1", 4<<20)
			porttest.TCPTransfer(t, s.far, twin, "10.0.0.1", 4<<20)
			porttest.Ping(t, s.host, "10.0.0.2")
			porttest.Ping(t, twin, "10.0.0.2")
			porttest.Ping(t, s.far, "10.0.0.1")
			s.udpEcho(t, s.host)
			s.udpEcho(t, twin)
			if stream.Stop(t) == 0 {
				t.Error("nothing crossed")
			}
		})
	}
}

// udpEcho asks far by UDP and waits for the answer. 4000 bytes are fragments on
// the wire: the two hosts get the later ones of both, and the first of their own.
func (s *sharing) udpEcho(t *testing.T, from *porttest.NS) {
	t.Helper()
	var server net.PacketConn
	var client net.Conn
	var err error
	s.far.Do(func() { server, err = net.ListenPacket("udp4", "10.0.0.2:0") })
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	from.Do(func() { client, err = net.Dial("udp4", server.LocalAddr().String()) })
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
func TestShareListenerWins(t *testing.T) {
	s := newSharing(t)
	s.attach(t, attachShare)
	s.use(40000, 40999)
	twin := s.twin(t)
	stream := porttest.TCPStream(t, s.far, twin, "10.0.0.1")
	defer stream.Stop(t)
	var port int
	for _, l := range listening(t, twin) {
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
func listening(t *testing.T, ns *porttest.NS) (list []int) {
	for line := range strings.Lines(ns.Run(t, "cat", "/proc/net/tcp")) {
		var slot, local, port, remote, remotePort, state int
		if n, _ := fmt.Sscanf(strings.TrimSpace(line), "%d: %x:%x %x:%x %x", &slot, &local, &port, &remote, &remotePort, &state); n == 6 && state == 1 {
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
	s.host.Do(func() { l, err = net.Listen("tcp4", fmt.Sprintf("10.0.0.1:%d", port)) })
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
	s.far.Do(func() { c, err = net.DialTimeout("tcp4", l.Addr().String(), 30*time.Second) })
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
			s := newSharing(t)
			wire := s.far.RawConn(t, "eth0")
			s.attach(t, put)
			s.use(40000, 40000)
			frames := s.frames(t)
			s.next(t, frames, wire)
			syn, datagram := s.tcp(t, 4444, 40000, "S"), s.udp(t, 4444, 40000)
			tagged := append(append(append([]byte(nil), syn[:12]...), 0x81, 0, 0, 7), syn[12:]...)
			ask := func() []string {
				wire.Send(datagram)
				wire.Send(syn)
				wire.Send(tagged)
				wire.Send(s.tcp(t, 4444, 60001, "S"))
				var answers []string
				for {
					f := wire.RecvMatch(30*time.Second, func(f []byte) bool { return f[12] == 8 && f[13] == 0 })
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
			got := slices.DeleteFunc(s.next(t, frames, wire), func(f []byte) bool { return f[13] == 6 }) // ARP
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
			s.SetUsed(unix.IPPROTO_TCP, 40000, farAddr, true)
			s.SetAddress(farAddr)
			s.checkDetached(t)
			select {
			case f := <-frames:
				t.Errorf("weft got % x after Close", f)
			default:
			}
		})
	}
}

func describe(f []byte) string {
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	if h, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok && h.RST {
		return fmt.Sprintf("RST from %d", h.SrcPort)
	}
	if h, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok && h.TypeCode.Type() == 3 {
		return "unreachable"
	}
	return p.String()
}

// checkDetached fails where a program is left on an interface.
func (s *sharing) checkDetached(t *testing.T) {
	t.Helper()
	for name, n := range s.attached(t) {
		if n != 0 {
			t.Errorf("%d programs left on %s", n, name)
		}
	}
}

func (s *sharing) attached(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, dev := range []string{"nic", "shadow"} {
		for side, at := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
			index := s.host.Link(t, dev).Attrs().Index
			s.host.Do(func() {
				r, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at})
				if err != nil {
					t.Fatal(err)
				}
				found[dev+" "+side] = len(r.Programs)
			})
			if out := s.host.Run(t, "tc", "filter", "show", "dev", dev, side); out != "" {
				found[dev+" "+side]++
			}
		}
	}
	return found
}

// A frame written into the shadow leaves on the NIC with its tag of offloads: a
// super-frame whole, and in segments with right checksums where the NIC takes
// none.
func TestShareSends(t *testing.T) {
	for name, options := range map[string][]porttest.VethOption{"whole": nil, "segments": {porttest.VethOffloadsOff()}} {
		t.Run(name, func(t *testing.T) {
			s := newSharing(t, options...)
			s.attach(t, attachShare)
			wire := s.far.RawConn(t, "eth0")
			const mss, size = 1448, 60000
			f := s.super(t, mss, size)
			if n, err := s.tap.Send([]*frame.Frame{f}); n != 1 {
				t.Fatal(err)
			}
			got := 0
			for frames := 1; got < size; frames++ {
				b := wire.RecvMatch(30*time.Second, func(b []byte) bool { return len(b) > 60 && b[12] == 8 })
				if b == nil {
					t.Fatalf("%d of %d bytes of payload arrived", got, size)
				}
				p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
				h := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
				_ = h.SetNetworkLayerForChecksum(p.NetworkLayer())
				if err, bad := p.VerifyChecksums(); name == "segments" && (err != nil || len(bad) != 0 || len(h.Payload) > mss) {
					t.Fatalf("%d bytes of payload, checksums %v, %v", len(h.Payload), bad, err)
				}
				if got += len(h.Payload); name == "whole" && frames > 1 {
					t.Fatal("the super-frame came apart")
				}
			}
		})
	}
}

// super returns a TCP super-frame to far with a partial checksum.
func (s *sharing) super(t *testing.T, mss, size int) *frame.Frame {
	eth := &layers.Ethernet{SrcMAC: s.mac, DstMAC: s.farMAC, EthernetType: layers.EthernetTypeIPv4}
	ip := s.ip(layers.IPProtocolTCP)
	ip.SrcIP, ip.DstIP = ip.DstIP, ip.SrcIP
	b := serialize(t, eth, ip, tcpHeader(40000, 4444, "A"), gopacket.Payload(make([]byte, size)))
	sum := uint32(0) // of the pseudo header
	for i := 26; i < 34; i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum += unix.IPPROTO_TCP + uint32(len(b)-34)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	b[50], b[51] = byte(sum>>8), byte(sum)
	f := new(frame.Frame)
	f.Set(append(make([]byte, frame.Headroom), b...), frame.Headroom)
	f.Offload = frame.Offload{
		Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 16,
		GSOType: frame.GSOTCPv4, GSOSize: uint16(mss), HdrLen: 54,
	}
	return f
}

// The host's own words on the shadow, as a daemon says on every interface, do
// not reach weft.
func TestShareSeal(t *testing.T) {
	s := newSharing(t)
	s.attach(t, attachShare)
	frames := s.frames(t)
	for range 3 {
		if err := s.host.RawConn(t, "shadow").TrySend(s.arp(t, hostAddr, farAddr)); err == nil {
			t.Error("the host's frame was taken")
		}
	}
	for _, f := range s.next(t, frames, s.far.RawConn(t, "eth0")) {
		t.Errorf("weft got % x", f)
	}
}

// An interface that goes takes its program along; Close does not mind.
func TestShareInterfaceGone(t *testing.T) {
	for name, put := range attachers {
		t.Run(name, func(t *testing.T) {
			s := newSharing(t)
			s.attach(t, put)
			s.host.Delete(t, "nic")
			s.host.Do(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if _, err := s.share.Attach(s.nic, s.shadow, hostAddr); err == nil || !strings.Contains(err.Error(), fmt.Sprint("interface ", s.nic)) {
					t.Errorf("attached to an interface that is gone: %v", err)
				}
			})
			s.SetUsed(unix.IPPROTO_TCP, 1, netip.Addr{}, true)
		})
	}
}

// A process that is killed leaves no program behind.
func TestShareKilled(t *testing.T) {
	if os.Getenv("WEFT_SHARE_NIC") != "" {
		beKilled(t)
		return
	}
	s := newSharing(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestShareKilled$")
	cmd.Env = append(os.Environ(), fmt.Sprint("WEFT_SHARE_NIC=", s.nic), fmt.Sprint("WEFT_SHARE_SHADOW=", s.shadow))
	p := s.host.StartCmd(t, cmd)
	p.WaitOutput(t, "attached", 60*time.Second)
	want := map[string]int{"nic ingress": 1, "nic egress": 0, "shadow ingress": 1, "shadow egress": 1}
	if d := cmp.Diff(want, s.attached(t)); d != "" {
		t.Fatalf("programs (-want +got):\n%s", d)
	}
	p.Signal(t, syscall.SIGKILL)
	_ = p.Wait(t, 60*time.Second)
	// The kernel lets go of a dead process's links in its own time.
	for deadline := time.Now().Add(30 * time.Second); s.attached(t)["nic ingress"] != 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.checkDetached(t)
	porttest.Ping(t, s.far, "10.0.0.1")
}

func beKilled(t *testing.T) {
	var nic, shadow int
	_, err := fmt.Sscan(os.Getenv("WEFT_SHARE_NIC")+" "+os.Getenv("WEFT_SHARE_SHADOW"), &nic, &shadow)
	if err != nil {
		t.Fatal(err)
	}
	s, err := LoadShare()
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Attach(nic, shadow, hostAddr)
	if err != nil {
		t.Fatal(err)
	}
	a.SetUsed(unix.IPPROTO_TCP, 40000, netip.Addr{}, true)
	fmt.Println("attached")
	time.Sleep(5 * time.Minute)
}

// SetUsed is called for each new mapping, under a lock of the table.
func TestSetUsedAllocatesNothing(t *testing.T) {
	s := newSharing(t)
	s.attach(t, attachShare)
	if n := testing.AllocsPerRun(100, func() { s.SetUsed(unix.IPPROTO_TCP, 7, netip.Addr{}, true) }); n != 0 {
		t.Errorf("%v allocations for a port that is open", n)
	}
}
