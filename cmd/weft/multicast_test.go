package main

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/ports/porttest"
)

// The tests in this file have real hosts join groups: their kernels speak IGMPv3
// and MLDv2, and answer weft's queries.

const groupPort = 5004

// groupLab is three hosts: one sends to a group, one listens, one does neither.
type groupLab struct {
	*lan
	sender, member, other *porttest.NS
	atMember, atOther     *porttest.RawConn // what their interfaces get
	sent                  int
}

func newGroupLab(t *testing.T, settings ...string) *groupLab {
	t.Helper()
	l := &groupLab{lan: newLAN(t, 1500, "internal", "internal", "raw")}
	l.sender, l.member, l.other = l.hosts[0], l.hosts[1], l.hosts[2]
	for i, h := range l.hosts {
		h.Addr(t, "eth0", fmt.Sprintf("fd00::%d/64", i+1))
	}
	l.atMember, l.atOther = l.member.RawConn(t, "eth0"), l.other.RawConn(t, "eth0")
	if len(settings) > 0 {
		l.do(append([]string{"network", "set", "lan"}, settings...)...)
	}
	return l
}

// join makes a host a member of a group until the test, or the caller, closes
// the socket.
func join(t *testing.T, ns *porttest.NS, group string) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	var err error
	ns.Do(func() {
		// The socket is made on this thread, and so in the namespace.
		var eth0 *net.Interface
		if eth0, err = net.InterfaceByName("eth0"); err == nil {
			conn, err = net.ListenMulticastUDP("udp", eth0, &net.UDPAddr{IP: net.ParseIP(group), Port: groupPort})
		}
	})
	if err != nil {
		t.Fatalf("join %s in namespace %s: %v", group, ns.Name, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// send sends one datagram to a group and returns its content, which no other
// has.
func (l *groupLab) send(group string) []byte {
	l.t.Helper()
	from := "10.0.0.1"
	if net.ParseIP(group).To4() == nil {
		from = "fd00::1"
	}
	l.sent++
	content := fmt.Appendf(nil, "weft to %s, number %d.", group, l.sent)
	var err error
	l.sender.Do(func() {
		var conn *net.UDPConn
		// The source address tells the kernel by which interface to send.
		conn, err = net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.ParseIP(group), Port: groupPort})
		if err == nil {
			_, err = conn.Write(content)
			conn.Close()
		}
	})
	if err != nil {
		l.t.Fatalf("send to %s: %v", group, err)
	}
	return content
}

// sees reports whether a frame with this content comes to an interface.
func sees(conn *porttest.RawConn, content []byte, timeout time.Duration) bool {
	return conn.RecvMatch(timeout, func(f []byte) bool { return bytes.Contains(f, content) }) != nil
}

// receives reports whether a socket gets this content.
func receives(t *testing.T, conn *net.UDPConn, content []byte) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var buf [200]byte
	for {
		n, err := conn.Read(buf[:])
		if err != nil {
			return false
		}
		if bytes.Equal(buf[:n], content) {
			return true
		}
	}
}

// members returns the ports in a group.
func (l *groupLab) members(group string) (ports []string) {
	l.t.Helper()
	c := client.New(l.socket) // quicker than a process
	defer c.Close()
	list, err := c.Groups(l.t.Context(), "lan")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, g := range list {
		if g.Group == group {
			ports = append(ports, g.Port)
		}
	}
	return ports
}

func (l *groupLab) waitMembers(group string, want ...string) {
	l.t.Helper()
	var ports []string
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ports = l.members(group); slices.Equal(ports, want) {
			return
		}
	}
	l.t.Fatalf("%s: listeners %v, want %v", group, ports, want)
}

// waitRestricted sends to a group until a host that has not joined gets nothing.
// The member must miss nothing meanwhile.
func (l *groupLab) waitRestricted(group string, member *net.UDPConn) {
	l.t.Helper()
	start := time.Now()
	for seen := true; seen; {
		if time.Since(start) > 60*time.Second {
			l.t.Fatalf("%s still floods after a minute", group)
		}
		content := l.send(group)
		if !receives(l.t, member, content) {
			l.t.Fatalf("the member missed %q", content)
		}
		seen = sees(l.atOther, content, 200*time.Millisecond)
	}
	l.t.Logf("%s goes to its listener only after %v", group, time.Since(start))
}

const (
	group4, lateGroup4 = "239.1.2.3", "239.1.2.4"
	group6, lateGroup6 = "ff15::1234", "ff15::1235"
)

// Who has joined gets the group, and nobody else; also one who had joined before
// anybody asked. A leave ends that.
func TestSnoopingOfHosts(t *testing.T) {
	t.Parallel()
	l := newGroupLab(t)
	early := map[string]*net.UDPConn{group4: join(t, l.member, group4), group6: join(t, l.member, group6)}
	for group, conn := range early {
		if content := l.send(group); !receives(t, conn, content) || !sees(l.atOther, content, 10*time.Second) {
			t.Errorf("without snooping, %s does not reach all", group)
		}
	}
	l.enable(early)
	for _, group := range []string{lateGroup4, lateGroup6} {
		if content := l.send(group); sees(l.atOther, content, 200*time.Millisecond) || sees(l.atMember, content, 0) {
			t.Errorf("%s reached somebody, and nobody has joined it", group)
		}
		conn := join(t, l.member, group)
		l.waitMembers(group, "p2")
		l.waitRestricted(group, conn)
		l.leave(group, conn)
	}
	waitDrops(t, l.weftProcess, "p1", "no-listener", 4)
	l.linkScope()
	l.everyPair("fd00::%d")
	for i, h := range l.hosts {
		h.Addr(t, "eth0", fmt.Sprintf("fd00::10%d/64", i+1))
	}
	l.everyPair("fd00::10%d")
	for group, conn := range early { // the leaves were of others
		l.waitMembers(group, "p2")
		l.waitRestricted(group, conn)
	}
	l.do("network", "set", "lan", "snooping.enabled=false")
	for group, conn := range early {
		if content := l.send(group); !receives(t, conn, content) || !sees(l.atOther, content, 10*time.Second) {
			t.Errorf("with snooping off again, %s does not reach all", group)
		}
	}
}

// enable switches snooping on, for hosts that are members already. They must miss
// nothing.
func (l *groupLab) enable(early map[string]*net.UDPConn) {
	l.t.Helper()
	// A host reports a second time within a second (RFC 3376 section 8.11). Past
	// that, it is for the querier to learn who had joined.
	time.Sleep(2500 * time.Millisecond)
	l.do("network", "set", "lan", "snooping.enabled=true", "snooping.interval=10s")
	for end := time.Now().Add(30 * time.Second); len(l.members(group4))+len(l.members(group6)) < 2 && time.Now().Before(end); {
		for group, conn := range early {
			if !receives(l.t, conn, l.send(group)) {
				l.t.Fatalf("%s was withheld before anybody could tell that it is wanted", group)
			}
		}
	}
	for group, conn := range early {
		l.waitMembers(group, "p2")
		l.waitRestricted(group, conn)
	}
}

// leave takes the only member out of a group, and waits until its port is spared.
func (l *groupLab) leave(group string, conn *net.UDPConn) {
	l.t.Helper()
	start := time.Now()
	conn.Close()
	for sees(l.atMember, l.send(group), 100*time.Millisecond) {
		if time.Since(start) > 15*time.Second {
			l.t.Fatalf("%s still goes to the port 15 s after the leave", group)
		}
	}
	l.t.Logf("%s ended %v after the leave", group, time.Since(start))
	l.waitMembers(group)
}

// linkScope sends to groups that no host reports, and that reach all of them.
func (l *groupLab) linkScope() {
	l.t.Helper()
	if !sees(l.atOther, l.send("224.0.0.99"), 10*time.Second) {
		l.t.Error("224.0.0.99 did not reach a host")
	}
	f := append([]byte{0x33, 0x33, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 9, 0x86, 0xdd}, make([]byte, 46)...)
	f[14], f[20], f[21] = 0x60, 59, 1 // IPv6, no next header, hop limit
	copy(f[22:], net.ParseIP("fe80::9"))
	copy(f[38:], net.ParseIP("ff02::99"))
	l.sender.RawConn(l.t, "eth0").Send(f)
	if !sees(l.atOther, f, 10*time.Second) {
		l.t.Error("ff02::99 did not reach a host")
	}
}

// everyPair pings, from each host, all addresses of the form. No host knows the
// address of another before.
func (l *groupLab) everyPair(form string) {
	l.t.Helper()
	for _, from := range l.hosts {
		from.Run(l.t, "ip", "-6", "neigh", "flush", "dev", "eth0")
	}
	for i, from := range l.hosts {
		for j := range l.hosts {
			if i != j {
				porttest.Ping(l.t, from, fmt.Sprintf(form, j+1))
			}
		}
	}
}

// igmp returns an IGMPv2 message as a frame to a group (RFC 2236 section 2).
func igmp(kind byte, group string) []byte {
	g := net.ParseIP(group).To4()
	f := []byte{0x01, 0x00, 0x5e, g[1] & 0x7f, g[2], g[3], 2, 0, 0, 0, 0, 9, 0x08, 0x00}
	ip := []byte{0x46, 0xc0, 0, 32, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 9}
	ip = append(append(ip, g...), 0x94, 4, 0, 0) // router alert (RFC 2113)
	checksum(ip, 10)
	body := append([]byte{kind, 0, 0, 0}, g...)
	checksum(body, 2)
	f = append(append(f, ip...), body...)
	return append(f, make([]byte, 60-len(f))...)
}

// checksum writes the Internet checksum of b (RFC 1071) at an offset, which
// holds 0.
func checksum(b []byte, at int) {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	b[at], b[at+1] = ^byte(sum>>8), ^byte(sum)
}

// Malformed messages are counted, reach nobody and change nothing.
func TestMalformedIGMP(t *testing.T) {
	const report, leave = 0x16, 0x17
	l := newGroupLab(t, "snooping.enabled=true", "snooping.interval=10s")
	join(t, l.member, group4)
	l.waitMembers(group4, "p2")
	conn := l.sender.RawConn(t, "eth0")
	edit := func(f []byte, at int, value byte) []byte {
		f[at] = value
		return f
	}
	const ipAt, igmpAt = 14, 14 + 24
	bad := [][]byte{
		edit(igmp(report, lateGroup4), igmpAt+7, 9),  // the checksum is that of another group
		edit(igmp(leave, group4), igmpAt+2, 0),       // none
		edit(igmp(report, lateGroup4), ipAt+3, 24+4), // cut short
		igmp(report, "10.1.2.3"),                     // no group
	}
	for i, f := range bad {
		conn.Send(f)
		if !l.counts("p1", "bad-group-message", i+1) {
			t.Fatalf("message %d was not counted: % x", i, f)
		}
	}
	for _, at := range []*porttest.RawConn{l.atMember, l.atOther} {
		for _, f := range bad {
			if sees(at, f[igmpAt:igmpAt+8], 50*time.Millisecond) {
				t.Errorf("% x was forwarded", f[igmpAt:])
			}
		}
	}
	if got := [2][]string{l.members(group4), l.members(lateGroup4)}; len(got[0]) != 1 || len(got[1]) != 0 {
		t.Errorf("listeners of the two groups: %v", got)
	}
	conn.Send(igmp(report, lateGroup4)) // a good one does get there
	l.waitMembers(lateGroup4, "p1")
	var shown []api.Group
	l.query(&shown, "group", "list", "lan")
	if !slices.ContainsFunc(shown, func(g api.Group) bool { return g.Group == lateGroup4 && g.Port == "p1" && g.ExpiresSeconds > 5 }) {
		t.Errorf("group list: %+v", shown)
	}
	if n := l.peek("lan", "p1").Drops["bad-group-message"]; n != uint64(len(bad)) {
		t.Errorf("%d bad messages, want %d", n, len(bad))
	}
}
