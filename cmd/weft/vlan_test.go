package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// Two networks in one process, joined by a trunk, with two VLANs of hosts: each
// VLAN is a network of its own, and super-frames cross the trunk whole.
func TestVLANsOverATrunk(t *testing.T) {
	for _, mtu := range []int{1500, 9000} {
		t.Run(fmt.Sprint("MTU ", mtu), func(t *testing.T) {
			porttest.Require(t)
			host := porttest.NewNS(t, "host")
			porttest.Veth(t, host, "tr1", host, "tr2", porttest.VethMTU(mtu))
			yaml := "metrics: {listen: \"off\"}\nnetworks:\n"
			var h []*porttest.NS // VLAN 10 and 20 of network one, then of two
			for n, kind := range []string{"internal", "raw"} {
				yaml += fmt.Sprintf("  n%d:\n    mtu: %d\n    ports:\n      tr%d: {type: raw, vlan: {trunk: [10, 20]}}\n", n+1, mtu, n+1)
				for i, vlan := range []int{10, 20} {
					ns := porttest.NewNS(t, fmt.Sprintf("n%dv%d", n+1, vlan))
					h = append(h, ns)
					ip := address(2*n+i+1) + "/24"
					yaml += fmt.Sprintf("      v%d: {type: %s, vlan: {access: %d}, interface: ", vlan, kind, vlan)
					if kind == "internal" {
						yaml += fmt.Sprintf("eth0, netns: %s, address: %s}\n", ns.Name, ip)
						continue
					}
					name := fmt.Sprint("v", vlan)
					porttest.Veth(t, host, name, ns, "eth0", porttest.VethMTU(mtu))
					ns.Addr(t, "eth0", ip)
					yaml += name + "}\n"
				}
			}
			w := startWeft(t, host, yaml)
			throughTheTrunk(t, w, h, mtu)
		})
	}
}

// throughTheTrunk takes hosts 1 to 4: VLANs 10 and 20 on one side, then on the other.
func throughTheTrunk(t *testing.T, w *weftProcess, h []*porttest.NS, mtu int) {
	t.Helper()
	porttest.TCPTransfer(t, h[0], h[2], address(3), 16<<20)
	porttest.TCPTransfer(t, h[1], h[3], address(4), 16<<20)
	for _, from := range h[:2] {
		size := fmt.Sprint(mtu - 28) // the longest packet that fits
		from.Run(t, "ping", "-n", "-c", "1", "-w", "5", "-M", "do", "-s", size, address(map[*porttest.NS]int{h[0]: 3, h[1]: 4}[from]))
	}
	across := []route{{"1>2", h[0], 2}, {"1>4", h[0], 4}, {"3>2", h[2], 2}, {"4>1", h[3], 1}}
	if got := pings(t, across, "", time.Second); got != "" {
		t.Errorf("from one VLAN to the other: [%s]", got)
	}
	for _, trunk := range []string{"tr1", "tr2"} {
		p := w.port("n"+trunk[2:], trunk)
		if p.RX.Bytes/max(p.RX.Frames, 1) < 4000 {
			t.Errorf("super-frames did not cross whole: %s has %d bytes in %d frames", trunk, p.RX.Bytes, p.RX.Frames)
		}
	}
	for _, e := range fdbEntries(w) {
		if e.VLAN != 10 && e.VLAN != 20 {
			t.Errorf("learned outside of the VLANs: %+v", e)
		}
	}
}

func fdbEntries(w *weftProcess) (list []api.FDBEntry) {
	w.t.Helper()
	w.query(&list, "fdb", "list")
	if len(list) == 0 {
		w.t.Error("the FDB is empty")
	}
	return list
}

// tagged says which tags stand in front of a frame's type, and "" for none:
// "8100.000a", or two of them, the outer one first.
type tagged string

func (s tagged) bytes() (b []byte) {
	for _, tag := range bytes.Fields([]byte(s)) {
		var tpid, tci uint16
		if _, err := fmt.Sscanf(string(tag), "%04x.%04x", &tpid, &tci); err != nil {
			panic(err)
		}
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, tpid), tci)
	}
	return b
}

// vlanCase is a broadcast frame with certain tags that comes in by one port, and
// the tags it has at each port by which it leaves.
type vlanCase struct {
	name, in string
	tags     tagged
	out      map[string]tagged
}

// The ports are acc {access: 10}, trunk {trunk: [10, 20-30]}, native {trunk:
// [10, 20], native: 20}, and the transparent any and any2.
var vlanCases = []vlanCase{
	{"access", "acc", "", map[string]tagged{"trunk": "8100.000a", "native": "8100.000a", "any": "8100.000a", "any2": "8100.000a"}},
	{"access, priority tag", "acc", "8100.a000", map[string]tagged{"trunk": "8100.a00a", "native": "8100.a00a", "any": "8100.a00a", "any2": "8100.a00a"}},
	{"access, other VLAN", "acc", "8100.0014", nil},
	{"access, S-tag", "acc", "88a8.0009", map[string]tagged{"trunk": "8100.000a 88a8.0009", "native": "8100.000a 88a8.0009", "any": "8100.000a 88a8.0009", "any2": "8100.000a 88a8.0009"}},
	{"access, QinQ", "acc", "88a8.0009 8100.0007", map[string]tagged{"trunk": "8100.000a 88a8.0009 8100.0007", "native": "8100.000a 88a8.0009 8100.0007", "any": "8100.000a 88a8.0009 8100.0007", "any2": "8100.000a 88a8.0009 8100.0007"}},
	{"trunk, untagged", "trunk", "", nil},
	{"trunk, priority tag", "trunk", "8100.e000", nil},
	{"trunk, S-tag of a number in it", "trunk", "88a8.000a", nil},
	{"trunk, not in it", "trunk", "8100.0028", nil},
	{"trunk, reserved VLAN", "trunk", "8100.0fff", nil},
	{"trunk to access", "trunk", "8100.e00a", map[string]tagged{"acc": "", "native": "8100.e00a", "any": "8100.e00a", "any2": "8100.e00a"}},
	{"trunk to native", "trunk", "8100.6014", map[string]tagged{"native": "", "any": "8100.6014", "any2": "8100.6014"}},
	{"trunk, last of a range", "trunk", "8100.001e", map[string]tagged{"any": "8100.001e", "any2": "8100.001e"}},
	{"trunk, QinQ below", "trunk", "8100.000a 88a8.0009", map[string]tagged{"acc": "88a8.0009", "native": "8100.000a 88a8.0009", "any": "8100.000a 88a8.0009", "any2": "8100.000a 88a8.0009"}},
	{"native", "native", "", map[string]tagged{"trunk": "8100.0014", "any": "8100.0014", "any2": "8100.0014"}},
	{"native, priority tag", "native", "8100.6000", map[string]tagged{"trunk": "8100.6014", "any": "8100.6014", "any2": "8100.6014"}},
	{"native, tagged", "native", "8100.000a", map[string]tagged{"acc": "", "trunk": "8100.000a", "any": "8100.000a", "any2": "8100.000a"}},
	{"native, not in it", "native", "8100.0015", nil},
	{"transparent, untagged", "any", "", map[string]tagged{"any2": ""}},
	{"transparent, priority tag", "any", "8100.a000", map[string]tagged{"any2": "8100.a000"}},
	{"transparent, QinQ", "any", "88a8.0009 8100.0007", map[string]tagged{"any2": "88a8.0009 8100.0007"}},
	{"transparent, tagged", "any", "8100.0014", map[string]tagged{"trunk": "8100.0014", "native": "", "any2": "8100.0014"}},
}

const vlanPorts = `
metrics: {listen: "off"}
networks:
  lan:
    ports:
      acc: {type: raw, vlan: {access: 10}}
      trunk: {type: raw, vlan: {trunk: [10, 20-30]}}
      native: {type: raw, vlan: {trunk: [10, 20], native: 20}}
      any: {type: raw}
      any2: {type: raw}
`

// The tags of every form of port, as they stand on the wire.
func TestVLANTags(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	conns := map[string]*porttest.RawConn{}
	for _, name := range []string{"acc", "trunk", "native", "any", "any2"} {
		ns := porttest.NewNS(t, name)
		ns.Quiet(t)
		porttest.Veth(t, host, name, ns, "eth0")
		conns[name] = ns.RawConn(t, "eth0")
	}
	w := startWeft(t, host, vlanPorts)
	for i, c := range vlanCases {
		t.Run(c.name, func(t *testing.T) {
			sendTagged(t, w, conns, c, byte(i))
		})
	}
}

// sendTagged sends the frame of a case, and looks at every port for what comes.
func sendTagged(t *testing.T, w *weftProcess, conns map[string]*porttest.RawConn, c vlanCase, id byte) {
	t.Helper()
	addresses := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0xfe, 0, 0, 1, id}
	build := func(tags tagged) []byte {
		f := append(bytes.Clone(addresses), tags.bytes()...)
		return append(append(f, 0x88, 0xb5), bytes.Repeat([]byte("weft"), 30)...)
	}
	this := func(f []byte) bool { return bytes.HasPrefix(f, addresses) }
	denied := w.now(c.in).Drops["vlan-denied"]
	conns[c.in].Send(build(c.tags))
	for name, tags := range c.out {
		got, want := conns[name].RecvMatch(5*time.Second, this), build(tags)
		if !bytes.Equal(got, want) {
			t.Errorf("at %s: %x…, want %x…", name, got[:min(len(got), 30)], want[:30])
		}
	}
	now := denied
	for end := time.Now().Add(5 * time.Second); c.out == nil && now == denied && time.Now().Before(end); {
		now = w.now(c.in).Drops["vlan-denied"]
	}
	if c.out == nil && now != denied+1 {
		t.Errorf("vlan-denied of %s went from %d to %d", c.in, denied, now)
	}
	time.Sleep(30 * time.Millisecond) // for what should not come
	for name, conn := range conns {
		if got := conn.RecvMatch(0, this); got != nil {
			t.Errorf("one too many at %s: %x…", name, got[:30])
		}
	}
	if now := w.now(c.in).Drops["vlan-denied"]; c.out != nil && now != denied {
		t.Errorf("vlan-denied of %s went from %d to %d", c.in, denied, now)
	}
}

// A setting moves a host from one VLAN to another in the midst of its pings, and
// from the very next frame on.
func TestVLANChangesAtOnce(t *testing.T) {
	l := newLAN(t, 1500, "internal", "internal", "raw")
	for i, vlan := range []int{10, 10, 20} {
		l.hosts[i].Quiet(t)
		l.set(fmt.Sprint("p", i+1), fmt.Sprint("vlan.access=", vlan))
	}
	porttest.Ping(t, l.hosts[0], address(2))
	ten, twenty := l.hosts[1].RawConn(t, "eth0"), l.hosts[2].RawConn(t, "eth0")
	mac := l.hosts[0].Link(t, "eth0").Attrs().HardwareAddr
	fromOne := func(f []byte) bool { return bytes.Equal(f[6:12], mac) }
	l.hosts[0].Start(t, "ping", "-n", "-q", "-i", "0.02", address(2))

	// in says at which of the two sockets the pings come out, and at no other.
	in := func(vlan string, here, elsewhere *porttest.RawConn) {
		t.Helper()
		for elsewhere.Recv(0) != nil { // what came before the setting
		}
		for here.Recv(0) != nil {
		}
		if here.RecvMatch(10*time.Second, fromOne) == nil {
			t.Errorf("VLAN %s: the host's frames do not come", vlan)
		}
		if f := elsewhere.RecvMatch(300*time.Millisecond, fromOne); f != nil {
			t.Errorf("VLAN %s: the host's frames come in the other one too: %x…", vlan, f[:30])
		}
	}
	in("10", ten, twenty)
	l.set("p1", "vlan.access=20")
	in("20", twenty, ten)
	porttest.Ping(t, l.hosts[0], address(3))
	l.set("p1", "vlan.access=10")
	in("10 again", ten, twenty)
	porttest.Ping(t, l.hosts[0], address(2))
	if porttest.TryPing(l.hosts[0], address(3), time.Second) == nil {
		t.Error("VLAN 10 again: the host of VLAN 20 still answers")
	}
}

// Settings change under a TCP connection, its own ports' among them: it loses
// nothing but a few frames, which TCP sends again, and the counters go on.
func TestPortSetWhileTrafficRuns(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw", "internal")
	rounds := [][2]string{ // to p1 and p2 in turn, and to p3, where it may hurt
		{"storm.broadcast=1000", "isolated=true"}, {"rate.ingress.average=400Mbit", "vlan.trunk=10-20"},
		{"security.max_macs=8", "mode=bridge"}, {"rate.egress.average=600Mbit", "security.max_macs=1"},
		{"security.sticky=true", "storm.multicast=1"}, {"rate.ingress.peak=800Mbit", "rate.egress.average=8kbit"},
		{"hairpin=true", "vlan.native=10"}, {"storm=", "isolated="}, {"hairpin=", "rate="},
		{"rate=", "vlan="}, {"security=", "security="},
	}
	stream := porttest.TCPStream(t, l.hosts[0], l.hosts[1], address(2))
	var last [2]api.Port
	changes := 0
	for i := 0; changes < 50; i++ {
		for _, round := range rounds {
			l.set(fmt.Sprint("p", i%2+1), round[0])
			l.set("p3", round[1])
			changes += 2
			for j := range last {
				now := l.now(fmt.Sprint("p", j+1))
				if now.RX.Frames < last[j].RX.Frames || now.TX.Bytes < last[j].TX.Bytes {
					t.Errorf("%v: counters of %s started over: %+v %+v, were %+v %+v", round, now.Name, now.RX, now.TX, last[j].RX, last[j].TX)
				}
				last[j] = now
			}
		}
	}
	n := stream.Stop(t)
	t.Logf("%d bytes crossed during %d changes", n, changes)
	if p := l.now("p1"); n < 1<<20 || p.RX.Bytes+p.TX.Bytes < uint64(n) {
		t.Errorf("%d bytes crossed during %d changes, p1 counts %+v %+v", n, changes, p.RX, p.TX)
	}
	porttest.TCPTransfer(t, l.hosts[0], l.hosts[1], address(2), 1<<20)
}

// What a rate lets pass takes the time it asks for.
func TestRateLimit(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw")
	// The default burst, 250 ms of the rate, may pass at once, and one super-frame
	// more. What acknowledges the other way's data is not counted in.
	const size, rate, burst = 4 << 20, 50e6, 50e6 / 8 / 4
	least := time.Duration(float64(8*(size-burst-65536)) / rate * float64(time.Second))
	for _, c := range []struct{ port, way, drop string }{
		{"p1", "ingress", "rate-limited"}, {"p1", "egress", "egress-rate-limited"},
	} {
		t.Run(c.way, func(t *testing.T) {
			l.set(c.port, "rate."+c.way+".average=50Mbit")
			start := time.Now()
			porttest.TCPTransfer(t, l.hosts[0], l.hosts[1], address(2), size)
			took := time.Since(start)
			t.Logf("%d bytes in %v, at least %v", size, took, least)
			if took < least {
				t.Errorf("%d bytes in %v: faster than %v allow", size, took, least)
			}
			waitDrops(t, l.weftProcess, c.port, c.drop, 1)
			floodAtRate(t, l, c.way)
			l.set(c.port, "rate=")
			dropped := l.now(c.port).Drops[c.drop]
			porttest.TCPTransfer(t, l.hosts[0], l.hosts[1], address(2), size)
			if now := l.now(c.port).Drops[c.drop]; now != dropped {
				t.Errorf("%s went from %d to %d without a limit", c.drop, dropped, now)
			}
		})
	}
}

// floodAtRate sends more than a low rate lets pass, which TCP is too timid for,
// and counts what does.
func floodAtRate(t *testing.T, l *lan, way string) {
	t.Helper()
	const rate, burst, size = 8e6, 128 << 10, 1514
	from, to := l.hosts[0], l.hosts[1]
	if way == "egress" {
		from, to = to, from
	}
	sender, listener := from.RawConn(t, "eth0"), to.RawConn(t, "eth0")
	l.set("p1", "rate."+way+".average=8Mbit", "rate."+way+".burst=128KiB")
	start := time.Now()
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0xfe, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, size-14)...)
	for i := range 4000 {
		sender.Send(frame)
		if i%50 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	passed := 0
	for listener.RecvMatch(200*time.Millisecond, func(f []byte) bool { return bytes.Equal(f, frame) }) != nil {
		passed += size
	}
	most := burst + size + int(rate/8*time.Since(start).Seconds())
	t.Logf("%d bytes pass of a flood of %d, at most %d", passed, 4000*size, most)
	if passed < burst || passed > most {
		t.Errorf("%s: %d bytes of a flood passed, want %d to %d", way, passed, burst, most)
	}
}

// A storm of broadcasts loses what is beyond its limit, and nobody else does.
func TestStormLimit(t *testing.T) {
	l := newLAN(t, 1500, "raw", "internal", "raw")
	for _, h := range l.hosts {
		h.Quiet(t)
	}
	porttest.Ping(t, l.hosts[0], address(2)) // who knows each other needs no broadcast
	porttest.Ping(t, l.hosts[1], address(3))
	const limit, flood = 100, 3000
	l.set("p1", fmt.Sprint("storm.broadcast=", limit))
	storm, listener := l.hosts[0].RawConn(t, "eth0"), l.hosts[2].RawConn(t, "eth0")
	frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0xfe, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 60)...)
	start := time.Now()
	for i := range flood {
		storm.Send(frame)
		if i%50 == 0 {
			time.Sleep(time.Millisecond) // the ring has room for a thousand
		}
	}
	porttest.Ping(t, l.hosts[0], address(2)) // the sender's own unicast
	porttest.Ping(t, l.hosts[1], address(3)) // and the others'
	got := 0
	isStorm := func(f []byte) bool { return bytes.Equal(f, frame) }
	for listener.RecvMatch(200*time.Millisecond, isStorm) != nil {
		got++
	}
	// As many as a second's worth may come at once, and then the rate goes on.
	most := limit + int(limit*time.Since(start).Seconds()) + 1
	if got < limit || got > most {
		t.Errorf("%d of %d broadcasts came, want %d to %d", got, flood, limit, most)
	}
	drops := l.now("p1").Drops
	if drops["storm-broadcast"] < flood/2 || drops["storm-broadcast"]+drops["ring-full"] < uint64(flood-got) {
		t.Errorf("%d of %d broadcasts came, and the drops are %v", got, flood, drops)
	}
	for _, name := range []string{"p2", "p3"} {
		if n := l.now(name).Drops["storm-broadcast"]; n != 0 {
			t.Errorf("%s lost %d broadcasts to the limit of p1", name, n)
		}
	}
}
