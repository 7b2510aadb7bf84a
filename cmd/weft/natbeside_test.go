package main

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// What the host does itself beside its guests, and what weft leaves in it.

// natHostFlows has the host use the address that the guests use.
func natHostFlows(t *testing.T, l *natLab) {
	l.skip(t, "the host has no address there", "own")
	startEcho(t, l.host, l.at(outsideAddress, 2200))
	server, err := dialEcho(l.web, "tcp", ":0", l.at(outsideAddress, 2200))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stream := porttest.TCPStream(t, l.guests[0], l.web, l.ip(webAddress))
	atWire := l.wire(t)
	porttest.TCPTransfer(t, l.host, l.web, l.ip(webAddress), 4<<20)
	porttest.TCPTransfer(t, l.web, l.host, l.ip(outsideAddress), 4<<20)
	if err := server.say("still there"); err != nil {
		t.Error(err)
	}
	l.hostDatagrams(t)
	l.hostErrors(t)
	stream.Stop(t)
	// Nobody has refused what is not his.
	refused := atWire.RecvMatch(300*time.Millisecond, func(f []byte) bool {
		return sourceOf(f) == l.ip(outsideAddress) && refuses(f)
	})
	if refused != nil {
		t.Errorf("a reset or an ICMP error has left the host: % x", refused)
	}
}

// hostDatagrams has host and guests send pings under one identifier, and
// datagrams in fragments, at once.
func (l *natLab) hostDatagrams(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	for _, from := range []*porttest.NS{l.host, l.guests[0], l.guests[1]} {
		all.Go(func() {
			if out, err := from.TryRun("ping", "-n", "-q", "-e", "99", "-c", "10", "-i", "0.1", "-w", "20", l.ip(webAddress)); err != nil {
				t.Errorf("pings with one identifier from %s: %v\n%s", from.Name, err, out)
			}
			for _, size := range []int{100, 5000, 30000} {
				if err := udpEchoes(l, from, webAddress, size); err != nil {
					t.Errorf("%d bytes by UDP from %s: %v", size, from.Name, err)
				}
			}
		})
	}
	all.Wait()
	for _, size := range []string{"56", "5000"} {
		l.web.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", size, l.ip(outsideAddress))
	}
	if a := dig(t, l.host, "@"+l.ip(dnsAddress), "name.test", l.of("A", "AAAA")); len(a.answer) != 1 {
		t.Errorf("DNS of the host:\n%s", a.raw)
	}
}

// hostErrors has routers outside tell the host what concerns it.
func (l *natLab) hostErrors(t *testing.T) {
	t.Helper()
	out := l.host.Run(t, "traceroute", "-n", "-q", "1", "-N", "1", "-w", "5", "-m", "8", l.ip(farAddress))
	if got, want := strings.Join(hops(out), " "), strings.Join([]string{l.ip(ispAddress), l.ip(r2Address), l.ip(r3Address), l.ip(farAddress)}, " "); got != want {
		t.Errorf("traceroute of the host goes by %s, want %s", got, want)
	}
	l.host.Run(t, "ip", l.ipv("route", "flush", "cache")...)
	told(t, l.host, l.ip(r2Address), l.tooBig(narrowMTU), "-M", "do", "-s", "1400", l.ip(farAddress))
	for _, network := range []string{"udp", "tcp"} {
		if err := dialled(l.host, network, l.at(webAddress, 9)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s of the host to a closed port: %v", network, err)
		}
	}
}

// natHostListener has the host listen at a port before and after a guest would
// have it.
func natHostListener(t *testing.T, l *natLab) {
	l.skip(t, "the host has no address there", "own")
	l.listensBefore(t)
	for network, local := range map[string]string{"tcp": ":26000", "udp": ":26001"} {
		flow, err := dialEcho(l.guests[1], network, local, l.at(webAddress, 7))
		if err == nil {
			err = flow.say("before")
		}
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(flow.seen)
		if l.is("sockets") { // the port is a socket of the host's already
			flow.Close()
			continue
		}
		l.listensLater(t, network, local, net.JoinHostPort(l.ip(outsideAddress), port), flow)
	}
}

// listensBefore has a guest use ports that the host listens at already.
func (l *natLab) listensBefore(t *testing.T) {
	t.Helper()
	const first, n = 25000, 10
	for i := range n {
		startEcho(t, l.host, l.at(outsideAddress, first+i))
	}
	for i := 0; ; i++ { // weft looks now and then which ports are taken
		local := fmt.Sprint(":", first+i)
		guest, err := dialEcho(l.guests[0], "tcp", local, l.at(webAddress, 7))
		if err != nil {
			t.Fatal(err)
		}
		defer guest.Close()
		if _, err := askEcho(l.web, "tcp", l.at(outsideAddress, first+i)); err != nil {
			t.Errorf("the host's listener at %s: %v", local, err)
		}
		if err := guest.say("still there"); err != nil {
			t.Error(err)
		}
		if l.is("kernel") || !strings.HasSuffix(guest.seen, local) {
			return
		}
		if i == n-1 {
			t.Fatal("a guest has a port that the host listens at")
		}
		time.Sleep(time.Second)
	}
}

// listensLater opens a server of the host at the port of a guest's flow. The
// flow goes on, and the port is the host's after it.
func (l *natLab) listensLater(t *testing.T, network, local, addr string, flow *echoing) {
	t.Helper()
	startEcho(t, l.host, addr)
	if !l.is("kernel") {
		time.Sleep(5 * time.Second) // weft looks every two seconds which ports are taken
	}
	// A datagram does not say whether it belongs to a flow: the host's server has it.
	if network == "tcp" || l.is("kernel") {
		for range 3 {
			if err := flow.say("while the host listens"); err != nil {
				t.Errorf("%s: a guest's flow at the port of a new listener: %v", network, err)
			}
		}
	}
	flow.Close()
	again, err := dialEcho(l.guests[1], network, local, l.at(nearAddress, 7))
	if err == nil {
		err = again.say("hello")
	}
	if err != nil {
		t.Errorf("%s: from that port of a guest: %v", network, err)
	} else {
		again.Close()
	}
	eventually(t, network+": the host's new listener is reached at "+addr, func() bool {
		_, err := quickEcho(l.far, network, addr)
		return err == nil
	})
}

// hostState is what weft must leave as it is in its host.
type hostState map[string]string

// untouchable matches what counts by itself.
var untouchable = regexp.MustCompile(`nf_conntrack_count|\.stat\.|\.(weft|vm1|p[0-9]|lan0)`)

func (l *natLab) stateOf(t *testing.T) hostState {
	t.Helper()
	host, known := l.host, regexp.MustCompile(`\b(lo|wan0)\b`)
	keep := func(out string, ok func(string) bool) string {
		var lines []string
		for _, line := range strings.Split(out, "\n") {
			if ok(line) {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return strings.Join(lines, "\n")
	}
	return hostState{
		"settings": keep(host.Run(t, "sysctl", "-a", "-r", `^net\.`), func(line string) bool { return !untouchable.MatchString(line) }),
		"firewall": host.Run(t, "nft", "list", "ruleset"),
		"rules":    host.Run(t, "ip", "rule"),
		"routes":   keep(host.Run(t, "ip", l.ipv("route", "show", "table", "all")...), known.MatchString),
		"wan0":     regexp.MustCompile(`(?m)^.*qdisc.*$| nodad`).ReplaceAllString(host.Run(t, "ip", "address", "show", "dev", "wan0"), ""),
		"TCP":      host.Run(t, "ss", "-H", "-lnt"),
		"UDP":      host.Run(t, "ss", "-H", "-lnu"),
		"filters":  host.Run(t, "tc", "qdisc", "show", "dev", "wan0"),
	}
}

// differs says what has changed.
func (s hostState) differs(now hostState) (list []string) {
	for key, was := range s {
		if now[key] == was {
			continue
		}
		for _, line := range strings.Split(now[key], "\n") {
			if !strings.Contains("\n"+was+"\n", "\n"+line+"\n") {
				list = append(list, key+" now: "+line)
			}
		}
		for _, line := range strings.Split(was, "\n") {
			if !strings.Contains("\n"+now[key]+"\n", "\n"+line+"\n") {
				list = append(list, key+" was: "+line)
			}
		}
	}
	return list
}

// taken matches what the host loses on an interface that is weft's alone: its own
// link-local address, with what goes with that.
var taken = regexp.MustCompile(`net.ipv6.conf.wan0.addr_gen_mode|(routes|wan0) was: .*fe80::|wan0 was: *valid_lft forever`)

// natHostUntouched comes last: what weft has changed in its host while it ran,
// and after it.
func natHostUntouched(t *testing.T, l *natLab) {
	l.skip(t, "the kernel is the host", "kernel")
	var changed []string
	for _, line := range l.before.differs(l.stateOf(t)) {
		// What is published by sockets is seen there, and what guests have open by UDP.
		ok := l.is("sockets") && regexp.MustCompile(`(TCP|UDP) now: .*[*0\]]:(19888|200[01][0-9]) |UDP now: UNCONN .* (0\.0\.0\.0|\[::\]):[0-9]{5} `).MatchString(line) ||
			l.alone() && taken.MatchString(line)
		if !ok {
			changed = append(changed, line)
		}
	}
	if len(changed) != 0 {
		t.Errorf("while weft runs:\n%s", strings.Join(changed, "\n"))
	}
	l.gateway.stop(t)
	changed = slices.DeleteFunc(l.before.differs(l.stateOf(t)), func(line string) bool {
		// What one that was killed has found, the next one does not know.
		return l.is("own") && taken.MatchString(line)
	})
	if len(changed) != 0 {
		t.Errorf("after weft:\n%s", strings.Join(changed, "\n"))
	}
	if out := l.host.Run(t, "ip", "-br", "link"); strings.Contains(out, "weft") {
		t.Errorf("left after weft:\n%s", out)
	}
}

// natReachHost has guests use servers of the host, at an address that is no network's
// and at the outside one, where they may.
func natReachHost(t *testing.T, l *natLab) {
	const other = "198.18.0.1"
	l.host.Addr(t, "lo", l.cidr(other+"/32"))
	defer l.host.Run(t, "ip", "address", "del", l.cidr(other+"/32"), "dev", "lo")
	servers := []string{l.at(other, 2300)}
	if !l.alone() {
		servers = append(servers, l.at(outsideAddress, 2300))
	}
	if !l.is("kernel") {
		eventually(t, "weft knows the new address", func() bool {
			err := dialled(l.guests[0], "tcp", servers[0]) // "administratively prohibited"
			return errors.Is(err, map[family]error{family4: syscall.EHOSTUNREACH, family6: syscall.EACCES}[l.family])
		})
	}
	atWire := l.wire(t)
	for _, addr := range servers {
		startEcho(t, l.host, addr)
		for _, protocol := range []string{"tcp", "udp"} {
			if _, err := quickEcho(l.guests[0], protocol, addr); err == nil && !l.is("kernel") {
				t.Errorf("%s reaches %s of the host without being allowed to", protocol, addr)
			}
		}
	}
	s := l.always()
	s.reach = true
	l.gateway.apply(t, s)
	defer l.gateway.apply(t, l.always())
	for _, addr := range servers {
		for _, network := range []string{"tcp", "udp"} {
			for _, guest := range l.guests {
				if _, err := askEcho(guest, network, addr); err != nil {
					t.Errorf("%s from %s to %s of the host: %v", network, guest.Name, addr, err)
				}
			}
		}
		porttest.Ping(t, l.guests[1], hostOf(addr))
	}
	if f := atWire.RecvMatch(300*time.Millisecond, func(f []byte) bool {
		return destinationOf(f) == l.ip(other) && hasPort(f, 2300) || destinationOf(f) == l.ip(outsideAddress)
	}); f != nil {
		t.Errorf("on the wire: % x", f)
	}
}
