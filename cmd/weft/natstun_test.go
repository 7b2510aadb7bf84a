package main

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// What kind of translator it is, as programs that look find out (RFC 5780).

// natType asks a STUN server with two addresses.
func natType(t *testing.T, l *natLab) {
	filtering := "NAT with Address Dependent Filtering!"
	if l.is("kernel") {
		filtering = "NAT with Address and Port Dependent Filtering!"
	}
	l.discovers(t, "-m", "NAT with Endpoint Independent Mapping!")
	l.discovers(t, "-f", filtering)
}

// natSymmetric has every destination see another port.
func natSymmetric(t *testing.T, l *natLab) {
	l.skip(t, "sockets have one way to map", "sockets")
	s := l.always()
	s.symmetric = true
	l.gateway.apply(t, s)
	defer l.gateway.apply(t, l.always())
	l.discovers(t, "-m", "NAT with Address and Port Dependent Mapping!")
	c := listenUDP(t, l.guests[0], ":0")
	a, b := mappedAs(t, c, l.at(webAddress, 7)), mappedAs(t, c, l.at(nearAddress, 7))
	if a == b {
		t.Errorf("two destinations see %s", a)
	}
	l.outside(t, 1, "symmetric", a)
	l.download(t, l.guests[1], l.url(webAddress)+"/data")
}

// discovers has a guest look for what kind of NAT it is behind. A datagram that
// is lost misleads the program, so it has a second try.
func (l *natLab) discovers(t *testing.T, what, want string) {
	t.Helper()
	var out string
	for range 2 {
		if out, _ = l.guests[0].TryRun("timeout", "30", "turnutils_natdiscovery", what, l.ip(stunAddress)); strings.Contains(out, want) {
			return
		}
	}
	t.Errorf("want %q in:\n%s", want, out)
}

// natFiltering has others than the one that a guest talks to answer it.
func natFiltering(t *testing.T, l *natLab) {
	for _, c := range []struct {
		filtering            string
		otherPort, otherHost bool
	}{
		{"", true, false},
		{"endpoint", false, false},
		{"none", true, true},
	} {
		t.Run("filtering "+c.filtering, func(t *testing.T) {
			if c.filtering != "endpoint" {
				l.skip(t, "the kernel looks at address and port", "kernel")
			}
			s := l.always()
			s.filtering = c.filtering
			l.gateway.apply(t, s)
			defer l.gateway.apply(t, l.always())
			socket := listenUDP(t, l.guests[1], ":0")
			mapping := mappedAs(t, socket, l.at(webAddress, 7))
			for what, test := range map[string]struct {
				from    *porttest.NS
				reaches bool
			}{"its other port": {l.web, c.otherPort}, "another host": {l.stun, c.otherHost}} {
				if got := reaches(t, test.from, mapping, socket); got != test.reaches {
					t.Errorf("%s of whom the guest talks to: reaches it %v, want %v", what, got, test.reaches)
				}
			}
			if again := mappedAs(t, socket, l.at(webAddress, 7)); again != mapping {
				t.Errorf("the mapping was %s and is %s", mapping, again)
			}
		})
	}
}

// reaches reports whether datagrams from a new socket of a host come to one of a
// guest's by its outside address.
func reaches(t *testing.T, from *porttest.NS, outside string, socket *net.UDPConn) bool {
	t.Helper()
	return reachesFrom(t, listenUDP(t, from, ":0"), outside, socket)
}

func reachesFrom(t *testing.T, c *net.UDPConn, outside string, socket *net.UDPConn) bool {
	t.Helper()
	buf, want := make([]byte, 100), fmt.Sprint("from ", c.LocalAddr())
	for range 3 {
		_, _ = c.WriteTo([]byte(want), udpAddr(t, outside))
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
			_ = socket.SetReadDeadline(end)
			if n, _, err := socket.ReadFrom(buf); err == nil && string(buf[:n]) == want {
				return true
			}
		}
	}
	return false
}

// natShortTimeouts has a mapping end when nobody has used it for long enough, even
// for whom the guest has talked to, and come again when it is used.
func natShortTimeouts(t *testing.T, l *natLab) {
	s := l.always()
	s.short = true
	l.gateway.apply(t, s)
	defer l.gateway.apply(t, l.always())
	socket, server := listenUDP(t, l.guests[2], ":0"), listenUDP(t, l.web, l.at(webAddress, 9000))
	// speaks has the guest say something, and returns whom the server sees.
	speaks := func() string {
		t.Helper()
		buf := make([]byte, 100)
		for range 10 {
			_, _ = socket.WriteTo([]byte("hello"), server.LocalAddr())
			_ = server.SetReadDeadline(time.Now().Add(time.Second))
			if _, from, err := server.ReadFrom(buf); err == nil {
				return from.String()
			}
		}
		t.Fatal("the server hears nothing")
		return ""
	}
	mapping := speaks()
	time.Sleep(shortUDP / 2)
	if again := speaks(); again != mapping {
		t.Errorf("the mapping was %s and is %s before its time", mapping, again)
	}
	if !reachesFrom(t, server, mapping, socket) {
		t.Error("the mapping does not lead to the guest")
	}
	time.Sleep(shortUDP + 6*time.Second) // and what a sweep takes
	if reachesFrom(t, server, mapping, socket) {
		t.Errorf("after %v of silence the mapping is still there", shortUDP)
	}
	l.outside(t, 3, "after that", speaks())
	if !reachesFrom(t, server, speaks(), socket) {
		t.Error("the new mapping does not lead to the guest")
	}
}
