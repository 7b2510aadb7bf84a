package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weft/weft/ports/porttest"
)

// What must not cross, and what crosses by its address alone.

// natOtherProtocols translates protocols without ports by address: one guest for
// each host outside.
func natOtherProtocols(t *testing.T, l *natLab) {
	l.skip(t, "ordinary sockets are of TCP and UDP", "sockets")
	for name, protocol := range map[string]int{"GRE": 47, "ESP": 50} {
		t.Run(name, func(t *testing.T) {
			server := l.listenIP(t, l.web, protocol)
			go func() {
				buf := make([]byte, 2000)
				for {
					n, from, err := server.ReadFrom(buf)
					if err != nil {
						return
					}
					_, _ = server.WriteTo(append(buf[:n:n], from.String()...), from)
				}
			}()
			first, second := l.listenIP(t, l.guests[0], protocol), l.listenIP(t, l.guests[1], protocol)
			for range 3 {
				if err := l.asksByIP(first, 10*time.Second); err != nil {
					t.Errorf("the first guest: %v", err)
				}
			}
			if err := l.asksByIP(second, time.Second); err == nil {
				t.Error("a second guest talks to the same host")
			}
			if err := l.asksByIP(first, 10*time.Second); err != nil {
				t.Errorf("the first guest after the second: %v", err)
			}
		})
	}
}

// listenIP returns a socket of a protocol without ports.
func (f family) listenIP(t *testing.T, ns *porttest.NS, protocol int) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	var err error
	ns.Do(func() { c, err = net.ListenPacket(fmt.Sprint(f.of("ip4", "ip6"), ":", protocol), f.ip("0.0.0.0")) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// asksByIP sends a packet to web and waits for its echo with the address seen.
func (l *natLab) asksByIP(c net.PacketConn, timeout time.Duration) error {
	sent := []byte("\x00\x00\x08\x00 looks like GRE, version 0 ")
	if _, err := c.WriteTo(sent, &net.IPAddr{IP: net.ParseIP(l.ip(webAddress))}); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	buf := make([]byte, 2000)
	n, from, err := c.ReadFrom(buf)
	if err != nil {
		return err
	}
	if got, want := string(buf[:n]), string(sent)+l.ip(outsideAddress); got != want || from.String() != l.ip(webAddress) {
		return fmt.Errorf("%q from %s, want %q from %s", got, from, want, l.ip(webAddress))
	}
	return nil
}

// natUninvited sends to the outside address what nobody inside has asked for. An
// address of weft's own is silent, and so is one of a guest's; the host answers for one
// of the host's.
func natUninvited(t *testing.T, l *natLab) {
	nobodys, silence := 999, l.is("own") // no guest gets a port below 1024
	if l.through != masqueraded {
		nobodys, silence = 23, true // at which the guest does listen
		startEcho(t, l.guests[0], l.at("0.0.0.0", nobodys))
	}
	atWire := l.wire(t)
	var inside []*porttest.RawConn
	for _, guest := range l.guests {
		inside = append(inside, guest.RawConn(t, "eth0"))
	}
	for _, network := range []string{"tcp", "udp"} {
		_, err := quickEcho(l.web, network, l.published(1, nobodys))
		var timeout net.Error
		silent := errors.As(err, &timeout) && timeout.Timeout()
		if silence && !silent {
			t.Errorf("%s to a port that nobody has: %v", network, err)
		}
		if !silence && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s to a port of the host that is closed: %v", network, err)
		}
	}
	if silence {
		if f := atWire.RecvMatch(time.Second, func(f []byte) bool { return destinationOf(f) == l.ip(webAddress) && hasPort(f, nobodys) }); f != nil {
			t.Errorf("the gateway answers % x", f)
		}
	}
	for i, conn := range inside {
		if f := conn.RecvMatch(300*time.Millisecond, func(f []byte) bool { return sourceOf(f) == l.ip(webAddress) && hasPort(f, nobodys) }); f != nil {
			t.Errorf("guest %d has got % x", i+1, f)
		}
	}
	// Nor is there a way to the addresses inside, for a neighbour who tries.
	l.near.Run(t, "ip", "route", "replace", l.cidr("10.0.0.0/24"), "via", l.ip(outsideAddress))
	defer l.near.Run(t, "ip", "route", "del", l.cidr("10.0.0.0/24"))
	if porttest.TryPing(l.near, l.ip(address(1)), time.Second) == nil {
		t.Error("a neighbour reaches a guest by its own address")
	}
	if _, err := quickEcho(l.near, "tcp", l.at(address(1), 22)); err == nil {
		t.Error("a neighbour reaches a guest's server by its own address")
	}
}

// hasPort reports whether a packet is to or from a port, or is an ICMP error that
// quotes one that was.
func hasPort(f []byte, port int) bool {
	protocol, transport := transportOf(f)
	quoted := 0
	switch protocol {
	case 1:
		quoted = 8 + family4.header()
	case 58:
		quoted = 8 + family6.header()
	}
	if len(transport) < quoted+4 {
		return false
	}
	src, dst := binary.BigEndian.Uint16(transport[quoted:]), binary.BigEndian.Uint16(transport[quoted+2:])
	return int(src) == port || int(dst) == port
}

// refuses reports whether a packet is a reset of TCP, or says that something is
// unreachable.
func refuses(f []byte) bool {
	protocol, transport := transportOf(f)
	switch {
	case protocol == 6 && len(transport) >= 14:
		return transport[13]&4 != 0
	case len(transport) < 1:
		return false
	}
	return protocol == 1 && transport[0] == 3 || protocol == 58 && transport[0] == 1
}

// sourceOf and destinationOf return the addresses of a packet, empty for other frames.
func sourceOf(f []byte) string      { return addressAt(f, 26, 22) }
func destinationOf(f []byte) string { return addressAt(f, 30, 38) }

func addressAt(f []byte, at4, at6 int) string {
	switch etherTypeOf(f) {
	case 0x0800:
		return net.IP(f[at4 : at4+4]).String()
	case 0x86dd:
		return net.IP(f[at6 : at6+16]).String()
	}
	return ""
}

// etherTypeOf returns 0 for a frame that is too short for the header after it.
func etherTypeOf(f []byte) uint16 {
	if len(f) < 14+family4.header() {
		return 0
	}
	if t := binary.BigEndian.Uint16(f[12:]); t != 0x86dd || len(f) >= 14+family6.header() {
		return t
	}
	return 0
}

// transportOf returns what a packet without options or extension headers carries.
func transportOf(f []byte) (protocol byte, message []byte) {
	switch etherTypeOf(f) {
	case 0x0800:
		return f[23], f[14+family4.header():]
	case 0x86dd:
		return f[20], f[14+family6.header():]
	}
	return 0, nil
}

// toGateway returns a datagram of a guest by way of the gateway.
func toGateway(t *testing.T, guest *porttest.NS, src, dst string) []byte {
	t.Helper()
	ip := ipLayer(net.ParseIP(src), net.ParseIP(dst), layers.IPProtocolUDP)
	udp := layers.UDP{SrcPort: 4444, DstPort: 7}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		t.Fatal(err)
	}
	eth := layers.Ethernet{SrcMAC: guest.Link(t, "eth0").Attrs().HardwareAddr, DstMAC: hardwareAddr(t, gatewayMAC), EthernetType: layers.EthernetTypeIPv4}
	if ip.LayerType() == layers.LayerTypeIPv6 {
		eth.EthernetType = layers.EthernetTypeIPv6
	}
	return serialized(t, &eth, ip, &udp, gopacket.Payload(marker+" from "+src+" to "+dst))
}

// marker is in every datagram that a test looks for on the wire.
const marker = "weft looks for this"

// natForgedSources has a guest send under addresses that are not its network's.
func natForgedSources(t *testing.T, l *natLab) {
	for _, guest := range l.guests[:2] {
		conn, atWire := guest.RawConn(t, "eth0"), l.wire(t)
		for _, src := range append(l.nobodys(), l.ip("10.0.1.1"), l.ip(webAddress), l.ip(outsideAddress), l.ip(ispAddress), l.ip("127.0.0.1"), l.ip("0.0.0.0"), l.ip(gatewayAddress)) {
			for range 3 {
				conn.Send(toGateway(t, guest, src, l.ip(webAddress)))
			}
		}
		conn.Send(toGateway(t, guest, l.ip(address(3)), l.ip(nearAddress))) // one that passes, after all others
		if f := departs(t, atWire); destinationOf(f) != l.ip(nearAddress) || sourceOf(f) != l.outer(3) {
			t.Errorf("%s has sent out %q", guest.Name, f)
		}
	}
}

// nobodys returns addresses that no packet may come from.
func (f family) nobodys() []string {
	if f == family4 {
		return []string{"255.255.255.255", "224.0.0.1", "10.0.0.255"}
	}
	return []string{"ff02::1", "ff0e::1", "fe80::7", "::ffff:10.0.0.1"}
}

// departs returns the next marked frame on the wire.
func departs(t *testing.T, wire *porttest.RawConn) []byte {
	t.Helper()
	f := wire.RecvMatch(30*time.Second, func(f []byte) bool { return bytes.Contains(f, []byte(marker)) })
	if f == nil {
		t.Fatal("nothing leaves")
	}
	return f
}

// natMulticast has groups and broadcasts stay inside, also those that a guest
// sends to the gateway's MAC address.
func natMulticast(t *testing.T, l *natLab) {
	for i, guest := range l.guests[:2] {
		conn, atWire := guest.RawConn(t, "eth0"), l.wire(t)
		src, group := l.ip(address(1+i)), net.ParseIP(l.of("239.1.1.1", "ff0e::1:2:3"))
		for _, dst := range l.groups() {
			if dst == "::" && l.is("kernel") {
				continue // Linux forwards what RFC 4291 clause 2.5.2 has nobody send
			}
			conn.Send(toGateway(t, guest, src, dst))
			f := toGateway(t, guest, src, dst)
			copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			conn.Send(f)
		}
		f := toGateway(t, guest, src, group.String())
		copy(f, groupMAC(group))
		conn.Send(f)
		elsewhere := toGateway(t, guest, src, l.ip(webAddress)) // a broadcast only below
		copy(elsewhere, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		conn.Send(elsewhere)
		conn.Send(toGateway(t, guest, src, l.ip(nearAddress)))
		if f := departs(t, atWire); destinationOf(f) != l.ip(nearAddress) {
			t.Errorf("%s has sent out %q", guest.Name, f)
		}
	}
}

// groups returns where no packet leaves to: groups, broadcasts, and what is nobody's.
func (f family) groups() []string {
	if f == family4 {
		return []string{"224.0.0.251", "239.1.1.1", "232.1.1.1", "255.255.255.255", "10.0.0.255", "10.0.0.0", "0.0.0.0", "127.0.0.1"}
	}
	return []string{"ff02::fb", "ff05::1:3", "ff08::1", "ff0e::1", "ff3e::8000:1", "fe80::7", "::", "::1"}
}

// groupMAC returns where a group is on Ethernet (RFC 1112 clause 6.4, RFC 2464 clause 7).
func groupMAC(group net.IP) []byte {
	if b := group.To4(); b != nil {
		return []byte{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	return append([]byte{0x33, 0x33}, group[12:]...)
}

// natInside has guests see each other as they are, and nothing of it leave.
func natInside(t *testing.T, l *natLab) {
	atWire, inside := l.wire(t), l.of("10.0.0.", "fd00:db8:a00:")
	for _, network := range []string{"tcp", "udp"} {
		e, err := dialEcho(l.guests[1], network, ":0", l.at(address(1), 22))
		if err == nil {
			err = e.say(marker)
		}
		if err != nil {
			t.Fatal(err)
		}
		if want := e.LocalAddr().String(); e.seen != want {
			t.Errorf("%s: a guest sees %s, want %s", network, e.seen, want)
		}
		e.Close()
	}
	porttest.TCPTransfer(t, l.guests[0], l.guests[2], l.ip(address(3)), 1<<20)
	if f := atWire.RecvMatch(300*time.Millisecond, func(f []byte) bool {
		return strings.HasPrefix(sourceOf(f), inside) || strings.HasPrefix(destinationOf(f), inside) || bytes.Contains(f, []byte(marker))
	}); f != nil {
		t.Errorf("on the wire: % x", f)
	}
}
