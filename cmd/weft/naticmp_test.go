package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weft/weft/ports/porttest"
)

// Pings, errors that routers report, and paths that are too narrow.

func natPing(t *testing.T, l *natLab) {
	for _, guest := range l.guests {
		for _, size := range []string{"56", l.longest(1500), "5000", "20000"} {
			guest.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.02", "-w", "20", "-s", size, l.ip(webAddress))
		}
	}
	// The outside address is the gateway's to answer for, or its host's.
	for _, size := range []string{"56", "5000"} {
		if size == "5000" && l.is("own") {
			continue // weft's own address answers what comes in one piece
		}
		l.web.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, l.ip(outsideAddress))
	}
	// Several guests with one identifier.
	var pings sync.WaitGroup
	for _, guest := range l.guests {
		pings.Go(func() {
			out, err := guest.TryRun("ping", "-n", "-q", "-e", "77", "-c", "10", "-i", "0.1", "-w", "20", l.ip(webAddress))
			if err != nil || strings.Contains(out, "duplicates") {
				t.Errorf("pings with the same identifier: %v\n%s", err, out)
			}
		})
	}
	pings.Wait()
}

// natTraceroute sees the gateway as the first hop and every router after it.
func natTraceroute(t *testing.T, l *natLab) {
	for _, method := range []string{"-U", "-I", "-T"} {
		if method == "-T" && l.is("sockets") {
			continue // a connection of the host's has a TTL of its own
		}
		for to, want := range map[string]string{
			l.ip(webAddress): l.ip(gatewayAddress) + " " + l.ip(ispAddress) + " " + l.ip(webAddress),
			l.ip(farAddress): l.ip(gatewayAddress) + " " + l.ip(ispAddress) + " " + l.ip(r2Address) + " " + l.ip(r3Address) + " " + l.ip(farAddress),
		} {
			args := []string{method, "-n", "-q", "1", "-N", "1", "-w", "2", "-m", "8", to}
			if method == "-U" { // to a closed port of the host
				args = append([]string{"-p", "33434"}, args...)
			}
			var out, got string
			for range 3 { // by TCP the program overlooks an answer now and then
				out = l.guests[0].Run(t, "traceroute", args...)
				if got = strings.Join(hops(out), " "); got == want {
					break
				}
			}
			if got != want {
				t.Fatalf("traceroute %s to %s goes by %s, want %s\n%s", method, to, got, want, out)
			}
		}
	}
}

var hopLine = regexp.MustCompile(`(?m)^ *\d+ +(\S+)`)

func hops(out string) (list []string) {
	for _, m := range hopLine.FindAllStringSubmatch(out, -1) {
		list = append(list, m[1])
	}
	return list
}

// natPathMTU has guests learn of a narrow link behind routers outside.
func natPathMTU(t *testing.T, l *natLab) {
	out, err := l.guests[1].TryRun("timeout", "20", "tracepath", "-n", l.ip(farAddress))
	if err != nil || !strings.Contains(out, fmt.Sprintf("Resume: pmtu %d ", narrowMTU)) || !strings.Contains(out, "reached") {
		t.Fatalf("tracepath: %v\n%s", err, out)
	}
	// Another one has not learnt of it yet.
	router := l.ip(r2Address)
	if l.is("sockets") {
		router = l.ip(gatewayAddress) // which says what the host has learnt
	}
	told(t, l.guests[0], router, l.tooBig(narrowMTU), "-M", "do", "-s", "1400", l.ip(farAddress))
	guest := l.guests[2]
	// Upload first: after a download far knows the narrow link itself, and asks
	// for segments that fit.
	l.upload(t, guest, farAddress, l.file(t))
	// A connection of sockets ends at the gateway, and another one goes on.
	if out := guest.Run(t, "ip", "route", "get", l.ip(farAddress)); !l.is("sockets") && !strings.Contains(out, fmt.Sprint("mtu ", narrowMTU)) {
		t.Errorf("after an upload the guest knows nothing of the narrow link: %s", out)
	}
	l.download(t, guest, l.url(farAddress)+"/data")
	guest.Run(t, "ping", "-n", "-q", "-c", "2", "-i", "0.2", "-w", "20", "-s", "5000", l.ip(farAddress))
	if err := udpEchoes(l, guest, farAddress, 5000); err != nil {
		t.Errorf("5000 bytes by UDP: %v", err)
	}
}

// longest returns the size of the longest ping that fits in one packet.
func (f family) longest(mtu int) string { return fmt.Sprint(mtu - f.header() - 8) }

// tooBig is how ping says that a router has said what fits.
func (f family) tooBig(mtu int) string {
	return fmt.Sprintf(f.of("Frag needed and DF set (mtu = %d)", "Packet too big: mtu=%d"), mtu)
}

// told has a host ping until a router says what it must: routers say it at a
// limited rate.
func told(t *testing.T, from *porttest.NS, router, what string, args ...string) {
	t.Helper()
	out, err := from.TryRun("ping", append([]string{"-n", "-c", "5", "-i", "0.5", "-w", "5"}, args...)...)
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "From "+router+" ") && strings.HasSuffix(line, what) {
			return
		}
	}
	t.Errorf("%s does not say %q: %v\n%s", router, what, err, out)
}

// udpEchoes has a datagram of that size go to a server and come back.
func udpEchoes(l *natLab, guest *porttest.NS, server string, size int) error {
	e, err := dialEcho(guest, "udp", ":0", l.at(server, 7))
	if err != nil {
		return err
	}
	defer e.Close()
	return e.say(strings.Repeat("w", size))
}

// natNarrowUplink has the uplink be narrower than the network inside.
func natNarrowUplink(t *testing.T, l *natLab) {
	const mtu = 1400
	widen := func(mtu int) {
		l.host.MTU(t, "wan0", mtu)
		l.isp.MTU(t, "gw0", mtu)
	}
	widen(mtu)
	defer widen(1500)
	guest := l.guests[1]
	eventually(t, "long packets cross the narrower uplink", func() bool {
		_, err := guest.TryRun("ping", "-n", "-q", "-c", "1", "-w", "2", "-s", l.longest(1500), "-M", "dont", l.ip(webAddress))
		return err == nil
	})
	if !l.is("sockets") {
		told(t, guest, l.ip(gatewayAddress), l.tooBig(mtu), "-M", "do", "-s", l.longest(1500), l.ip(nearAddress))
		l.clamped(t, mtu-l.header()-20)
	}
	l.download(t, guest, l.url(webAddress)+"/data")
	l.upload(t, guest, webAddress, l.file(t))
	guest.Run(t, "ping", "-n", "-q", "-c", "2", "-i", "0.2", "-w", "20", "-s", "5000", l.ip(webAddress))
	if err := udpEchoes(l, guest, webAddress, 5000); err != nil {
		t.Errorf("5000 bytes by UDP: %v", err)
	}
}

// clamped compares the segment size that a guest's SYN offers on the wire, and
// the answer that comes to the guest, with what the uplink can carry.
func (l *natLab) clamped(t *testing.T, limit int) {
	t.Helper()
	atWire, atGuest := l.wire(t), l.guests[2].RawConn(t, "eth0")
	if err := dialled(l.guests[2], "tcp", l.at(webAddress, 80)); err != nil {
		t.Fatal(err)
	}
	for what, conn := range map[string]*porttest.RawConn{"out of the uplink": atWire, "to the guest": atGuest} {
		mss := 0
		conn.RecvMatch(20*time.Second, func(f []byte) bool {
			mss = segmentSize(f)
			return mss != 0
		})
		if mss == 0 || mss > limit {
			t.Errorf("a SYN %s offers segments of %d, want at most %d", what, mss, limit)
		}
	}
}

// segmentSize returns the option of a SYN, and 0 of anything else.
func segmentSize(f []byte) int {
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	tcp, _ := p.Layer(layers.LayerTypeTCP).(*layers.TCP)
	if tcp == nil || !tcp.SYN {
		return 0
	}
	for _, o := range tcp.Options {
		if o.OptionType == layers.TCPOptionKindMSS && len(o.OptionData) == 2 {
			return int(o.OptionData[0])<<8 | int(o.OptionData[1])
		}
	}
	return 0
}

// natErrors has what routers and hosts outside refuse reach whom it concerns.
func natErrors(t *testing.T, l *natLab) {
	for network, to := range map[string]string{"udp": l.at(webAddress, 9), "tcp": l.at(webAddress, 9)} {
		if err := dialled(l.guests[0], network, to); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s to a closed port: %v", network, err)
		}
	}
	// isp has no way there.
	if err := dialled(l.guests[0], "tcp", l.at(nowhere, 9)); !errors.Is(err, syscall.ENETUNREACH) {
		t.Errorf("TCP to a network that is nowhere: %v", err)
	}
	told(t, l.guests[1], l.ip(ispAddress), l.of("Destination Net Unreachable", "Destination unreachable: No route"), l.ip(nowhere))
}
