package main

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// The uplink comes and goes, and so does weft.

// natCarrierLost pulls the cable for a moment: flows live through it.
func natCarrierLost(t *testing.T, l *natLab) {
	stream := porttest.TCPStream(t, l.guests[1], l.web, l.ip(webAddress))
	udp, err := dialEcho(l.guests[2], "udp", ":0", l.at(webAddress, 7))
	if err == nil {
		err = udp.say("before")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	was := udp.seen
	l.isp.Down(t, "gw0")
	time.Sleep(time.Second)
	l.isp.Up(t, "gw0")
	eventually(t, "the guest reaches the internet again", func() bool { return udp.say("after") == nil })
	if udp.seen != was {
		t.Errorf("the flow was %s and is %s", was, udp.seen)
	}
	for _, e := range l.idle {
		if err := e.say("still there"); err != nil {
			t.Errorf("an idle connection: %v", err)
		}
	}
	stream.Stop(t)
}

// natUplinkDown takes the interface down, which takes the host's routes away.
func natUplinkDown(t *testing.T, l *natLab) {
	up := sync.OnceFunc(func() {
		l.host.Up(t, "wan0")
		if !l.alone() {
			if l.family == family6 { // an interface that is down loses those
				l.host.Addr(t, "wan0", fmt.Sprint(l.out, "/", l.bits(24)))
			}
			l.host.Run(t, "ip", "route", "replace", "default", "via", l.ip(ispAddress))
		}
	})
	defer up()
	l.host.Down(t, "wan0")
	eventually(t, "guests are told that there is no way", func() bool {
		err := dialled(l.guests[0], "tcp", l.at(webAddress, 7))
		if l.is("sockets") { // what the host's stack says ends the connection
			return err != nil
		}
		return errors.Is(err, syscall.ENETUNREACH)
	})
	porttest.Ping(t, l.guests[0], l.ip(gatewayAddress))
	porttest.Ping(t, l.guests[0], l.ip(address(2)))
	up()
	l.works(t)
}

// works reports an uplink that guests cannot use, or another outside address.
func (l *natLab) works(t *testing.T) {
	t.Helper()
	eventually(t, "the guests reach the internet by "+l.outer(1), func() bool {
		seen, err := quickEcho(l.guests[0], "tcp", l.at(webAddress, 7))
		return err == nil && hostOf(seen) == l.outer(1)
	})
	for i, guest := range l.guests {
		l.download(t, guest, l.url(webAddress)+"/data")
		l.outside(t, i+1, "HTTP", l.data.lastPeer())
		porttest.Ping(t, guest, l.ip(webAddress))
		if err := udpEchoes(l, guest, nearAddress, 100); err != nil {
			t.Error(err)
		}
	}
	for _, network := range []string{"tcp", "udp"} {
		if _, err := askEcho(l.web, network, l.published(1, 19888)); err != nil {
			t.Errorf("published at %s by %s: %v", l.outer(1), network, err)
		}
	}
}

// natReaddressed gives the uplink another address and takes the old one away.
func natReaddressed(t *testing.T, l *natLab) {
	for _, addr := range []string{l.ip(movedAddress), l.ip(outsideAddress)} {
		old := l.out
		l.gateway.readdress(t, addr)
		if l.through != masqueraded {
			l.known(t, addr)
		}
		forget(t, l.near)
		forget(t, l.isp)
		l.works(t)
		if l.is("slaac") {
			continue // it is its own for as long as it was promised
		}
		if mac := macAt(t, l.near, old); mac != "" {
			t.Errorf("the old address, %s, still answers, from %s", old, mac)
		}
	}
}

// macAt returns who answers for an address on the link of a host.
func macAt(t *testing.T, ns *porttest.NS, addr string) string {
	t.Helper()
	forget(t, ns)
	_ = porttest.TryPing(ns, addr, time.Second)
	return macOf(t, ns, addr)
}

// natKilled kills weft and starts it again: it has forgotten its flows, and takes
// those up whose guests go on.
func natKilled(t *testing.T, l *natLab) {
	l.skip(t, "the kernel is not killed, and sockets end with their process", "kernel", "sockets")
	w := l.gateway.(*weftGateway)
	// From ports that are the same outside: others are not, after that.
	tcp, err := dialEcho(l.guests[0], "tcp", ":23456", l.at(webAddress, 7))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := dialEcho(l.guests[0], "udp", ":23456", l.at(webAddress, 7))
	if err == nil {
		err = udp.say("before")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	was := udp.seen
	w.Kill()
	if l.is("host") { // whose own flows do not need weft
		porttest.TCPTransfer(t, l.web, l.host, l.ip(outsideAddress), 1<<20)
	}
	w.weftProcess.start()
	for _, e := range []*echoing{tcp, udp} {
		if err := e.say("after"); err != nil {
			t.Errorf("a flow of before the kill: %v", err)
		}
	}
	if udp.seen != was {
		t.Errorf("the flow was %s and is %s", was, udp.seen)
	}
	l.works(t)
}
