package main

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weft/weft/ports/porttest"
)

// Datagrams that are longer than a frame.

func natFragments(t *testing.T, l *natLab) {
	for _, guest := range l.guests {
		for _, server := range []string{webAddress, nearAddress} {
			for _, size := range []int{1500 - l.header() - 7, 5000, 30000, 60000} {
				if err := udpEchoes(l, guest, server, size); err != nil {
					t.Fatalf("%d bytes by UDP from %s to %s: %v", size, guest.Name, server, err)
				}
			}
		}
	}
	// From outside, to what is published.
	for _, size := range []int{100, 5000} {
		e, err := dialEcho(l.web, "udp", ":0", l.published(1, 19888))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.say(strings.Repeat("w", size)); err != nil {
			t.Fatalf("%d bytes by UDP to a published port: %v", size, err)
		}
		e.Close()
	}
}

// natFragmentsOutOfOrder has the pieces of a datagram come in every order, from
// inside and from outside: the first one alone holds the ports.
func natFragmentsOutOfOrder(t *testing.T, l *natLab) {
	for name, order := range map[string][]int{"in order": {0, 1, 2}, "reversed": {2, 1, 0}, "the first in the middle": {1, 0, 2}, "twice": {2, 2, 0, 0, 1, 1}} {
		t.Run(name, func(t *testing.T) {
			fragmentsFromInside(t, l, order)
			fragmentsFromOutside(t, l, order)
		})
	}
}

// fragmented is a datagram of which a test sends the pieces itself.
type fragmented struct {
	srcMAC, dstMAC net.HardwareAddr
	src, dst       string // address:port
	id             uint16
	payload        []byte
}

// frames returns the datagram in three pieces.
func (d fragmented) frames(t *testing.T) [][]byte {
	t.Helper()
	src, dst := udpAddr(t, d.src), udpAddr(t, d.dst)
	ip := ipLayer(src.IP, dst.IP, layers.IPProtocolUDP)
	udp := layers.UDP{SrcPort: layers.UDPPort(src.Port), DstPort: layers.UDPPort(dst.Port)}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	whole := serialized(t, &udp, gopacket.Payload(d.payload))
	var frames [][]byte
	third := len(whole) / 3 &^ 7
	for i := range 3 {
		piece, more := whole[i*third:], false
		if i < 2 {
			piece, more = piece[:third], true
		}
		eth := layers.Ethernet{SrcMAC: d.srcMAC, DstMAC: d.dstMAC, EthernetType: layers.EthernetTypeIPv6}
		switch ip := ip.(type) {
		case *layers.IPv4:
			eth.EthernetType, ip.Id, ip.FragOffset, ip.Flags = layers.EthernetTypeIPv4, d.id, uint16(i*third/8), 0
			if more {
				ip.Flags = layers.IPv4MoreFragments
			}
		case *layers.IPv6:
			ip.NextHeader = layers.IPProtocolIPv6Fragment
			piece = append(fragmentHeader(layers.IPProtocolUDP, i*third, more, d.id), piece...)
		}
		frames = append(frames, serialized(t, &eth, ip, gopacket.Payload(piece)))
	}
	return frames
}

// ipLayer returns a header of the family that the addresses are of.
func ipLayer(src, dst net.IP, protocol layers.IPProtocol) ipNetworkLayer {
	if src4, dst4 := src.To4(), dst.To4(); src4 != nil && dst4 != nil {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: src4, DstIP: dst4}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: src.To16(), DstIP: dst.To16()}
}

type ipNetworkLayer interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

// fragmentHeader returns the extension header of a piece (RFC 8200 clause 4.5).
func fragmentHeader(next layers.IPProtocol, offset int, more bool, id uint16) []byte {
	h := []byte{byte(next), 0, byte(offset >> 8), byte(offset), 0, 0, byte(id >> 8), byte(id)}
	if more {
		h[3] |= 1
	}
	return h
}

func udpAddr(t *testing.T, addr string) *net.UDPAddr {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func serialized(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

func hardwareAddr(t *testing.T, mac string) net.HardwareAddr {
	t.Helper()
	a, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sendUntilHeard sends frames in an order until a socket reads want, anew with
// another identification each time: a datagram is allowed to be lost.
func sendUntilHeard(t *testing.T, what string, from *porttest.RawConn, d fragmented, order []int, at *net.UDPConn, want func([]byte) bool) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for try := range 5 {
		d.id = uint16(1000*len(order) + try)
		frames := d.frames(t)
		for _, i := range order {
			from.Send(frames[i])
			time.Sleep(5 * time.Millisecond) // or two workers may change the order
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			_ = at.SetReadDeadline(end)
			if n, err := at.Read(buf); err == nil && want(buf[:n]) {
				return
			}
		}
	}
	t.Fatalf("%s: fragments in the order %v do not arrive", what, order)
}

func fragmentsFromInside(t *testing.T, l *natLab, order []int) {
	guest := l.guests[2]
	porttest.Ping(t, guest, l.ip(gatewayAddress)) // so that its MAC address is known
	socket := listenUDP(t, guest, ":0")
	local := net.JoinHostPort(l.ip(address(3)), portOf(socket))
	d := fragmented{
		srcMAC: guest.Link(t, "eth0").Attrs().HardwareAddr, dstMAC: hardwareAddr(t, macOf(t, guest, l.ip(gatewayAddress))),
		src: local, dst: l.at(webAddress, 7), payload: bytes.Repeat([]byte("in and out "), 280),
	}
	sendUntilHeard(t, "from inside", guest.RawConn(t, "eth0"), d, order, socket, func(heard []byte) bool {
		_, echo, _ := bytes.Cut(heard, []byte("\n")) // answered in fragments, too
		return bytes.Equal(echo, d.payload)
	})
}

func fragmentsFromOutside(t *testing.T, l *natLab, order []int) {
	guest := l.guests[2]
	e, err := dialEcho(guest, "udp", ":0", l.at(nearAddress, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.say("hello"); err != nil {
		t.Fatal(err)
	}
	porttest.Ping(t, l.near, l.ip(outsideAddress))
	d := fragmented{
		srcMAC: l.near.Link(t, "eth0").Attrs().HardwareAddr, dstMAC: hardwareAddr(t, macOf(t, l.near, l.ip(outsideAddress))),
		src: l.at(nearAddress, 7), dst: e.seen, payload: bytes.Repeat([]byte("out and in "), 280),
	}
	sendUntilHeard(t, "from outside", l.near.RawConn(t, "eth0"), d, order, e.Conn.(*net.UDPConn), func(heard []byte) bool {
		return bytes.Equal(heard, d.payload)
	})
}

func portOf(c *net.UDPConn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}
