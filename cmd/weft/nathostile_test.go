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
	for name, protocol := range map[string]string{"GRE": "ip4:47", "ESP": "ip4:50"} {
		t.Run(name, func(t *testing.T) {
			server := listenIP(t, l.web, protocol)
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
			first, second := listenIP(t, l.guests[0], protocol), listenIP(t, l.guests[1], protocol)
			for range 3 {
				if err := asksByIP(first, 10*time.Second); err != nil {
					t.Errorf("the first guest: %v", err)
				}
			}
			if err := asksByIP(second, time.Second); err == nil {
				t.Error("a second guest talks to the same host")
			}
			if err := asksByIP(first, 10*time.Second); err != nil {
				t.Errorf("the first guest after the second: %v", err)
			}
		})
	}
}

func listenIP(t *testing.T, ns *porttest.NS, protocol string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	var err error
	ns.Do(func() { c, err = net.ListenPacket(protocol, "0.0.0.0") })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// asksByIP sends a packet to web and waits for its echo with the address seen.
func asksByIP(c net.PacketConn, timeout time.Duration) error {
	sent := []byte("\x00\x00\x08\x00 looks like GRE, version 0 ")
	if _, err := c.WriteTo(sent, &net.IPAddr{IP: net.ParseIP(webAddress)}); err != nil {
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	buf := make([]byte, 2000)
	n, from, err := c.ReadFrom(buf)
	if err != nil {
		return err
	}
	if got, want := string(buf[:n]), string(sent)+outsideAddress; got != want || from.String() != webAddress {
		return fmt.Errorf("%q from %s, want %q from %s", got, from, want, webAddress)
	}
	return nil
}

// natUninvited sends to the outside address what nobody inside has asked for. An
// address of weft's own is silent; the host answers for one of the host's.
func natUninvited(t *testing.T, l *natLab) {
	const nobodys = 999 // no guest gets a port below 1024
	atWire := l.wire(t)
	var inside []*porttest.RawConn
	for _, guest := range l.guests {
		inside = append(inside, guest.RawConn(t, "eth0"))
	}
	for _, network := range []string{"tcp", "udp"} {
		_, err := quickEcho(l.web, network, fmt.Sprint(outsideAddress, ":", nobodys))
		var timeout net.Error
		silent := errors.As(err, &timeout) && timeout.Timeout()
		if l.is("own") && !silent {
			t.Errorf("%s to a port that nobody has: %v", network, err)
		}
		if !l.is("own") && !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s to a port of the host that is closed: %v", network, err)
		}
	}
	if l.is("own") {
		if f := atWire.RecvMatch(time.Second, func(f []byte) bool { return destinationOf(f) == webAddress && hasPort(f, nobodys) }); f != nil {
			t.Errorf("the gateway answers % x", f)
		}
	}
	for i, conn := range inside {
		if f := conn.RecvMatch(300*time.Millisecond, func(f []byte) bool { return sourceOf(f) == webAddress && hasPort(f, nobodys) }); f != nil {
			t.Errorf("guest %d has got % x", i+1, f)
		}
	}
	// Nor is there a way to the addresses inside, for a neighbour who tries.
	l.near.Run(t, "ip", "route", "replace", "10.0.0.0/24", "via", outsideAddress)
	defer l.near.Run(t, "ip", "route", "del", "10.0.0.0/24")
	if porttest.TryPing(l.near, address(1), time.Second) == nil {
		t.Error("a neighbour reaches a guest by its own address")
	}
	if _, err := quickEcho(l.near, "tcp", address(1)+":22"); err == nil {
		t.Error("a neighbour reaches a guest's server by its own address")
	}
}

// hasPort reports whether an IPv4 packet without options is to or from a port, or is an
// ICMP error that quotes one that was.
func hasPort(f []byte, port uint16) bool {
	if len(f) < 38 {
		return false
	}
	transport := f[34:]
	if f[23] == 1 && len(f) >= 34+8+20+4 {
		transport = f[34+8+20:]
	}
	return binary.BigEndian.Uint16(transport) == port || binary.BigEndian.Uint16(transport[2:]) == port
}

// sourceOf and destinationOf return the IPv4 addresses of a frame, empty for others.
func sourceOf(f []byte) string      { return addressAt(f, 26) }
func destinationOf(f []byte) string { return addressAt(f, 30) }

func addressAt(f []byte, at int) string {
	if len(f) < 34 || binary.BigEndian.Uint16(f[12:]) != 0x0800 {
		return ""
	}
	return net.IP(f[at : at+4]).String()
}

// toGateway returns a datagram of a guest by way of the gateway.
func toGateway(t *testing.T, guest *porttest.NS, src, dst string) []byte {
	t.Helper()
	ip := layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4()}
	udp := layers.UDP{SrcPort: 4444, DstPort: 7}
	if err := udp.SetNetworkLayerForChecksum(&ip); err != nil {
		t.Fatal(err)
	}
	eth := layers.Ethernet{SrcMAC: guest.Link(t, "eth0").Attrs().HardwareAddr, DstMAC: hardwareAddr(t, gatewayMAC), EthernetType: layers.EthernetTypeIPv4}
	return serialized(t, &eth, &ip, &udp, gopacket.Payload(marker+" from "+src+" to "+dst))
}

// marker is in every datagram that a test looks for on the wire.
const marker = "weft looks for this"

// natForgedSources has a guest send under addresses that are not its network's.
func natForgedSources(t *testing.T, l *natLab) {
	for _, guest := range l.guests[:2] {
		conn, atWire := guest.RawConn(t, "eth0"), l.wire(t)
		for _, src := range []string{"10.0.1.1", webAddress, outsideAddress, ispAddress, "127.0.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "10.0.0.255", gatewayAddress} {
			for range 3 {
				conn.Send(toGateway(t, guest, src, webAddress))
			}
		}
		conn.Send(toGateway(t, guest, address(3), nearAddress)) // one that passes, after all others
		if f := departs(t, atWire); destinationOf(f) != nearAddress || sourceOf(f) != outsideAddress {
			t.Errorf("%s has sent out %q", guest.Name, f)
		}
	}
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
	for _, guest := range l.guests[:2] {
		conn, atWire := guest.RawConn(t, "eth0"), l.wire(t)
		src := addressOf(t, guest)
		for _, dst := range []string{"224.0.0.251", "239.1.1.1", "232.1.1.1", "255.255.255.255", "10.0.0.255", "10.0.0.0", "0.0.0.0", "127.0.0.1"} {
			conn.Send(toGateway(t, guest, src, dst))
			f := toGateway(t, guest, src, dst)
			copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
			conn.Send(f)
		}
		group := toGateway(t, guest, src, "239.1.1.1")
		copy(group, []byte{0x01, 0x00, 0x5e, 0x01, 0x01, 0x01})
		conn.Send(group)
		elsewhere := toGateway(t, guest, src, webAddress) // a broadcast only below
		copy(elsewhere, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
		conn.Send(elsewhere)
		conn.Send(toGateway(t, guest, src, nearAddress))
		if f := departs(t, atWire); destinationOf(f) != nearAddress {
			t.Errorf("%s has sent out %q", guest.Name, f)
		}
	}
}

func addressOf(t *testing.T, ns *porttest.NS) string {
	t.Helper()
	addr, _, _ := strings.Cut(addressesOf(t, ns, "eth0"), "/")
	return addr
}

// natInside has guests see each other as they are, and nothing of it leave.
func natInside(t *testing.T, l *natLab) {
	atWire := l.wire(t)
	for _, network := range []string{"tcp4", "udp4"} {
		e, err := dialEcho(l.guests[1], network, ":0", address(1)+":22")
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
	porttest.TCPTransfer(t, l.guests[0], l.guests[2], address(3), 1<<20)
	if f := atWire.RecvMatch(300*time.Millisecond, func(f []byte) bool {
		return strings.HasPrefix(sourceOf(f), "10.0.0.") || strings.HasPrefix(destinationOf(f), "10.0.0.") || bytes.Contains(f, []byte(marker))
	}); f != nil {
		t.Errorf("on the wire: % x", f)
	}
}
