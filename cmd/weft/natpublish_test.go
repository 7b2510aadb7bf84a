package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// What is reached from outside, or from inside by the outside address.

// natPublished reaches a guest's server by a port of the outside address. The
// server sees who it is that comes.
func natPublished(t *testing.T, l *natLab) {
	for _, network := range []string{"tcp", "udp"} {
		for _, from := range []*porttest.NS{l.web, l.near, l.far} {
			e, err := dialEcho(from, network, ":0", l.published(1, 19888))
			if err == nil {
				err = e.say("hello")
			}
			if err != nil {
				t.Errorf("%s from %s: %v", network, from.Name, err)
				continue
			}
			if want := e.LocalAddr().String(); e.seen != want {
				t.Errorf("%s: the guest sees %s, the client is %s", network, e.seen, want)
			}
			e.Close()
		}
	}
	// What guests open themselves is not in its way.
	if _, err := askEcho(l.guests[0], "tcp", l.at(webAddress, 7)); err != nil {
		t.Error(err)
	}
}

// natPublishedFromThere is a flow of the server itself: it leaves by its port's
// number outside.
func natPublishedFromThere(t *testing.T, l *natLab) {
	l.skip(t, "the kernel knows only flows, and sockets have ports of their own", "kernel", "sockets")
	e, err := dialEcho(l.guests[2], "udp", ":4500", l.at(nearAddress, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	p := published{"udp", "14500", l.at(address(3), 4500)}
	l.gateway.publish(t, p)
	defer l.gateway.unpublish(t, p)
	eventually(t, "the mapping is the published one", func() bool {
		return e.say("hello") == nil && e.seen == l.at(outsideAddress, 14500)
	})
}

func natPublishedRange(t *testing.T, l *natLab) {
	for _, port := range []int{30000, 30007, 30019} {
		startWeb(t, l.guests[1], l.at(address(2), port), fmt.Append(nil, port))
		out := l.web.Run(t, "curl", "-sS", "-m", "20", fmt.Sprintf("http://%s/data", l.published(2, port-10000)))
		if out != fmt.Sprint(port) {
			t.Errorf("port %d leads to %q", port-10000, out)
		}
	}
	// The guest itself says that nobody listens there.
	// A listening socket has said yes before it knows.
	if err := dialled(l.web, "tcp", l.published(2, 20005)); !errors.Is(err, syscall.ECONNREFUSED) && !l.is("sockets") {
		t.Errorf("a published port that is closed: %v", err)
	}
}

func natPublishedLive(t *testing.T, l *natLab) {
	old, err := dialEcho(l.web, "tcp", ":0", l.published(1, 19888))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	for _, protocol := range []string{"tcp", "udp"} {
		p := published{protocol, "2222", l.at(address(3), 22)}
		for range 2 {
			if _, err := quickEcho(l.web, protocol, l.published(3, 2222)); err == nil {
				t.Fatalf("%s reaches a guest where nothing is published", protocol)
			}
			l.gateway.publish(t, p)
			if _, err := askEcho(l.web, protocol, l.published(3, 2222)); err != nil {
				t.Errorf("published by %s: %v", protocol, err)
			}
			l.gateway.unpublish(t, p)
		}
	}
	if err := old.say("still there"); err != nil {
		t.Errorf("a connection to another published port: %v", err)
	}
}

// quickEcho is askEcho for what is expected to fail: it does not wait for long.
func quickEcho(from *porttest.NS, protocol, addr string) (string, error) {
	var conn net.Conn
	var err error
	from.Do(func() { conn, err = net.DialTimeout(protocol, addr, time.Second) })
	if err != nil {
		return "", err
	}
	defer conn.Close()
	e := &echoing{Conn: conn, udp: true} // a TCP server too says whom it sees, and what it heard
	err = e.sayOnce("weft", time.Second)
	return e.seen, err
}

// natPublishedToHost is for the host itself only, which a guest sees as its
// gateway.
func natPublishedToHost(t *testing.T, l *natLab) {
	l.skip(t, "a listening socket of the host is weft's", "kernel")
	for _, protocol := range []string{"tcp", "udp"} {
		p := published{protocol, l.at("127.0.0.1", 19889), l.at(address(1), 22)}
		l.gateway.publish(t, p)
		seen, err := askEcho(l.host, protocol, l.at("127.0.0.1", 19889))
		if err != nil || hostOf(seen) != l.ip(gatewayAddress) {
			t.Errorf("%s: the guest sees %q, %v; want %s", protocol, seen, err, l.ip(gatewayAddress))
		}
		if _, err := quickEcho(l.web, protocol, l.published(1, 19889)); err == nil {
			t.Errorf("%s: the outside reaches what is the host's", protocol)
		}
		l.gateway.unpublish(t, p)
		if _, err := quickEcho(l.host, protocol, l.at("127.0.0.1", 19889)); err == nil {
			t.Errorf("%s: reached after it was taken back", protocol)
		}
	}
}

// natHairpinPublished has guests use the outside address as if they were
// outside; also the one that is published itself.
func natHairpinPublished(t *testing.T, l *natLab) {
	for _, network := range []string{"tcp", "udp"} {
		for i, guest := range l.guests {
			seen, err := askEcho(guest, network, l.published(1, 19888))
			if err != nil {
				t.Fatalf("%s from %s: %v", network, guest.Name, err)
			}
			// RFC 4787 REQ-9a: the source is the one that others would see. Of
			// a local client of a listening socket it is the gateway.
			want := map[bool]string{false: l.outer(i + 1), true: l.ip(gatewayAddress)}[l.is("sockets")]
			if hostOf(seen) != want {
				t.Errorf("%s from %s: the guest sees %s, want %s", network, guest.Name, seen, want)
			}
		}
	}
}

// natHairpinMapping has two guests reach each other by what a server outside has
// told them of each other.
func natHairpinMapping(t *testing.T, l *natLab) {
	l.skip(t, "what the kernel and sockets map they map for one remote host", "kernel", "sockets")
	var peers []*net.UDPConn
	var seen []*net.UDPAddr
	for _, guest := range l.guests[:2] {
		c := listenUDP(t, guest, ":0")
		peers = append(peers, c)
		seen = append(seen, udpAddr(t, mappedAs(t, c, l.at(webAddress, 7))))
	}
	buf := make([]byte, 100)
	eventually(t, "both guests hear each other", func() bool {
		for i, c := range peers { // the first one opens the way for the other
			_, _ = c.WriteTo(fmt.Append(nil, "from ", i), seen[1-i])
		}
		for i, c := range peers {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			n, from, err := c.ReadFrom(buf)
			if err != nil || string(buf[:n]) != fmt.Sprint("from ", 1-i) {
				return false
			}
			if from.String() != seen[1-i].String() {
				t.Errorf("guest %d hears the other from %s, want %s", i, from, seen[1-i])
			}
		}
		return true
	})
}

// mappedAs returns whom a server sees when a socket speaks to it.
func mappedAs(t *testing.T, c *net.UDPConn, server string) string {
	t.Helper()
	buf := make([]byte, 100)
	for range 10 {
		_, _ = c.WriteTo([]byte("who am I"), udpAddr(t, server))
		_ = c.SetReadDeadline(time.Now().Add(2 * time.Second))
		if n, _, err := c.ReadFrom(buf); err == nil {
			seen, _, _ := strings.Cut(string(buf[:n]), "\n")
			return seen
		}
	}
	t.Fatalf("%s does not answer", server)
	return ""
}
