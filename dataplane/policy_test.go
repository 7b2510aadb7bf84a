package dataplane

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/stp"
)

// flags are policies beside the mode, as the rows below write them.
func policyOf(t *testing.T, words string) Policy {
	var p Policy
	for _, word := range strings.Fields(words) {
		switch word {
		case "bridge":
		case "vepa":
			p.Mode = VEPA
		case "private":
			p.Mode = Private
		case "passthrough":
			p.Mode = Passthrough
		case "hairpin":
			p.Hairpin = true
		case "isolated":
			p.Isolated = true
		case "uplink":
			p.Uplink = true
		default:
			t.Fatalf("no such policy: %s", word)
		}
	}
	return p
}

// TestPolicy is the whole matrix: ports a and b with every pair of policies,
// and an uplink u with a station w out there. Each row says who receives what a
// sends to b, the same when it is not known where b is, and what a sends to a
// group; who receives such frames when the wire sends them back; and who
// receives what w sends to b and to a group.
//
// The modes are those of macvlan: macvlan_queue_xmit, macvlan_multicast_rx and
// macvlan_handle_frame in drivers/net/macvlan.c. They differ from it in one
// thing: a private port does not get a sibling's unicast from the wire either.
// The flags are those of the kernel bridge: should_deliver in
// net/bridge/br_forward.c.
func TestPolicy(t *testing.T) {
	for _, row := range []struct {
		a, b, u                  string
		known, unknown, group    string // of a
		returned, returnedGroup  string
		fromWire, fromWireGroups string
	}{
		{"bridge", "bridge", "uplink", "b", "bu", "bu", "", "", "b", "ab"},
		{"bridge", "vepa", "uplink", "u", "u", "u", "b", "b", "b", "ab"},
		{"bridge", "private", "uplink", "u", "u", "u", "", "", "b", "ab"},
		{"vepa", "bridge", "uplink", "u", "u", "u", "b", "b", "b", "ab"},
		{"vepa", "vepa", "uplink", "u", "u", "u", "b", "b", "b", "ab"},
		{"vepa", "private", "uplink", "u", "u", "u", "", "", "b", "ab"},
		{"private", "bridge", "uplink", "u", "u", "u", "", "", "b", "ab"},
		{"private", "vepa", "uplink", "u", "u", "u", "", "", "b", "ab"},
		{"private", "private", "uplink", "u", "u", "u", "", "", "b", "ab"},

		{"bridge isolated", "bridge isolated", "uplink", "", "u", "u", "", "", "b", "ab"},
		{"bridge isolated", "bridge", "uplink", "b", "bu", "bu", "", "", "b", "ab"},
		{"bridge", "bridge isolated", "uplink", "b", "bu", "bu", "", "", "b", "ab"},
		{"bridge isolated", "bridge", "uplink isolated", "b", "b", "b", "", "", "b", "b"},
		{"vepa isolated", "vepa isolated", "uplink", "", "u", "u", "", "", "b", "ab"},
		{"vepa isolated", "vepa", "uplink", "u", "u", "u", "b", "b", "b", "ab"},

		{"bridge hairpin", "bridge", "uplink", "b", "abu", "abu", "", "", "b", "ab"},
		{"bridge", "bridge", "uplink hairpin", "b", "bu", "bu", "", "", "b", "abu"},
		{"vepa", "vepa", "uplink hairpin", "u", "u", "u", "b", "b", "b", "abu"},
	} {
		t.Run(fmt.Sprint(row.a, ",", row.b, ",", row.u), func(t *testing.T) {
			l := newPolicyLab(t, row.a, row.b, row.u)
			reflective := strings.Contains(row.a+row.b, "vepa") || strings.Contains(row.a+row.b, "private")
			l.check("a unicast", l.a, l.b.mac, l.a.mac, row.known)
			l.check("a to an unknown address", l.a, mac("other"), l.a.mac, row.unknown)
			for _, group := range []frame.MAC{broadcast, {0x01, 0x00, 0x5e, 1, 2, 3}, {0x33, 0x33, 0, 0, 0, 1}} {
				l.check("a to a group", l.a, group, l.a.mac, row.group)
				if reflective {
					l.check("returned to a group", l.u, group, l.a.mac, row.returnedGroup)
				}
			}
			if reflective {
				l.check("returned to b", l.u, l.b.mac, l.a.mac, row.returned)
				l.check("returned to a itself", l.u, l.a.mac, l.a.mac, "")
				l.check("returned to an unknown address", l.u, mac("other"), l.a.mac, row.returnedGroup)
				l.stillAt(l.a)
			}
			l.check("the wire to b", l.u, l.b.mac, mac("w"), row.fromWire)
			l.check("the wire to a group", l.u, broadcast, mac("w"), row.fromWireGroups)
		})
	}
}

// A wire between two ports knows no addresses.
func TestPassthrough(t *testing.T) {
	l := newPolicyLab(t, "passthrough", "", "uplink")
	for _, dst := range []frame.MAC{broadcast, mac("u"), mac("a"), mac("other"), {0x01, 0x00, 0x5e, 1, 2, 3}} {
		l.check("inside out", l.a, dst, l.a.mac, "u")
		l.check("outside in", l.u, dst, mac("w"), "a")
		l.check("outside in, from an address of inside", l.u, dst, l.a.mac, "a")
	}
}

// A port changes its policy while it is in use: the next frame obeys.
func TestPolicyChange(t *testing.T) {
	l := newPolicyLab(t, "bridge", "bridge", "uplink")
	l.check("at first", l.a, l.b.mac, l.a.mac, "b")
	for _, step := range []struct{ a, want string }{{"vepa", "u"}, {"bridge", "b"}, {"private", "u"}, {"bridge hairpin", "b"}} {
		l.net.Reconfigure(l.net.Config(), map[string]Policy{"a": policyOf(t, step.a), "nobody": {}})
		l.check(step.a, l.a, l.b.mac, l.a.mac, step.want)
		if got := l.a.port.Policy(); !got.equal(policyOf(t, step.a)) {
			t.Errorf("policy %+v, want %s", got, step.a)
		}
	}
	if l.a.port.Stats().Drops[SamePort] != 0 {
		t.Error("frames were dropped on the way")
	}
}

// Every drop of the policy has its own name.
func TestPolicyDrops(t *testing.T) {
	for _, row := range []struct {
		a, b string
		from string
		dst  frame.MAC
		src  frame.MAC
		want Verdict
	}{
		{"bridge", "bridge", "a", mac("a"), mac("a2"), SamePort},
		{"bridge isolated", "bridge isolated", "a", mac("b"), mac("a"), PortIsolated},
		{"private", "private", "u", mac("b"), mac("a"), Reflected},
		{"private", "private", "u", broadcast, mac("a"), Reflected},
		{"vepa", "vepa", "u", mac("a"), mac("a"), Reflected},
	} {
		l := newPolicyLab(t, row.a, row.b, "uplink")
		from := map[string]*station{"a": l.a, "u": l.u}[row.from]
		l.check(row.a, from, row.dst, row.src, "")
		from.drops(row.want, 1)
	}
}

// What comes back to a port that has lost its link, or its place in the FDB, is
// no echo: the station may be out there by now.
func TestNoEchoOfAGonePort(t *testing.T) {
	l := newPolicyLab(t, "vepa", "vepa", "uplink")
	l.a.port.Detach()
	l.check("the station of a speaks out there", l.u, l.b.mac, l.a.mac, "b")
	l.check("b to it", l.b, l.a.mac, l.b.mac, "u")
	for _, e := range l.net.FDB() {
		if e.MAC == l.a.mac && e.Port != "u" {
			t.Errorf("entry %+v", e)
		}
	}
	l.net.RemovePort("b")
	l.check("the station of b too", l.u, broadcast, mac("b"), "")
}

// The way to the uplink is no way where the uplink may not be reached.
func TestDetourNeedsTheUplink(t *testing.T) {
	l := newPolicyLab(t, "vepa isolated", "vepa", "uplink isolated")
	l.check("an isolated uplink", l.a, l.b.mac, l.a.mac, "")
	l.a.drops(PortIsolated, 1)

	cfg := l.net.Config()
	cfg.STP = treeConfig
	l.net.Reconfigure(cfg, map[string]Policy{"a": {Mode: VEPA, STP: stp.PortConfig{Edge: stp.EdgeYes}}, "b": {Mode: VEPA, STP: stp.PortConfig{Edge: stp.EdgeYes}}, "u": {Uplink: true, STP: stp.PortConfig{Edge: stp.EdgeNo}}})
	l.drain(l.a, l.b, l.u)
	l.check("a blocked uplink", l.a, l.b.mac, l.a.mac, "")
	l.a.drops(STPBlocked, 1)
}

// A blocked uplink that learns takes no address of an echo.
func TestLearningEcho(t *testing.T) {
	l := newPolicyLab(t, "vepa", "vepa", "uplink")
	cfg := l.net.Config()
	cfg.STP = treeConfig
	l.net.Reconfigure(cfg, map[string]Policy{"u": {Uplink: true, STP: stp.PortConfig{Edge: stp.EdgeNo}}})
	for range 100 {
		if l.net.tick(); treeState(l.u) == stp.Learning {
			break
		}
	}
	l.send(l.u, ethernet(broadcast, l.a.mac, "back again"))
	l.u.drops(STPBlocked, 1)
	l.stillAt(l.a)
}

// A mode that needs an uplink reaches nobody without one.
func TestNoUplink(t *testing.T) {
	for _, mode := range []string{"vepa", "private", "passthrough"} {
		l := newPolicyLab(t, mode, mode, "bridge")
		for _, dst := range []frame.MAC{l.b.mac, mac("other"), broadcast} {
			l.check(mode, l.a, dst, l.a.mac, "")
		}
	}
}

// A station that has moved to the wire is believed once it could not be an echo
// any more, and one that is out there keeps its address.
func TestEchoTime(t *testing.T) {
	l := newPolicyLab(t, "private", "private", "uplink")
	l.check("an address of nobody", l.a, l.b.mac, mac("w"), "u")
	l.check("its owner, too early", l.u, l.b.mac, mac("w"), "")
	f := ethernet(l.b.mac, mac("w"), "its owner")
	eventually(t, func() bool { l.send(l.u, f); return l.b.receives(f) }, func() { t.Error("the owner is not believed") })
	l.check("a forged address", l.a, l.b.mac, mac("w"), "")
	l.a.drops(AddressOutside, 1)
	for _, e := range l.net.FDB() {
		if e.MAC == mac("w") && e.Port != "u" {
			t.Errorf("entry %+v", e)
		}
	}
	eventually(t, func() bool { l.send(l.a, f); return l.u.receives(f) }, func() { t.Error("a station that came from the wire is not believed") })
	// A static entry is as good as one that was just heard.
	if err := l.net.AddStatic(0, mac("pin"), "a"); err != nil {
		t.Fatal(err)
	}
	l.check("from a static address", l.u, l.b.mac, mac("pin"), "")
}

// What comes back is limited as what comes in.
func TestStormOfEchoes(t *testing.T) {
	l := newPolicyLab(t, "vepa", "vepa", "uplink")
	l.net.Reconfigure(l.net.Config(), map[string]Policy{"u": {Uplink: true, Storm: Storm{Broadcast: 1}}})
	l.check("the first", l.u, broadcast, l.a.mac, "b")
	for range 100 {
		l.send(l.u, ethernet(broadcast, l.a.mac, "too many"))
	}
	if n := l.u.port.Stats().Drops[StormBroadcast]; n < 50 { // one a second passes
		t.Errorf("%d of 100 dropped", n)
	}
}

// A relay that reflects is told of, or implied by a mode. What the uplink had
// learned from it before is forgotten.
func TestReflective(t *testing.T) {
	l := newPolicyLab(t, "bridge", "bridge", "uplink")
	l.check("taken for a move", l.u, broadcast, l.a.mac, "ab")
	cfg := l.net.Config()
	cfg.Reflective = true
	l.net.Reconfigure(cfg, nil)
	l.check("at home again", l.a, broadcast, l.a.mac, "bu")
	l.check("an echo of a bridge port", l.u, broadcast, l.a.mac, "")
	l.stillAt(l.a)
	cfg.Reflective = false
	l.net.Reconfigure(cfg, nil)
	l.check("taken for a move", l.u, broadcast, l.a.mac, "ab")
	l.net.Reconfigure(cfg, map[string]Policy{"b": {Mode: VEPA}})
	l.check("at home again", l.a, broadcast, l.a.mac, "u")
	l.check("an echo for a port in VEPA mode", l.u, broadcast, l.a.mac, "b")
}

// Without a port in such a mode the uplink learns as any other port.
func TestUplinkOfABridgeLearns(t *testing.T) {
	l := newPolicyLab(t, "bridge", "bridge", "uplink")
	l.check("the station of a has moved out", l.u, broadcast, l.a.mac, "ab")
	l.check("b to it", l.b, l.a.mac, l.b.mac, "u")
}

// policyLab is a network with ports a, b and u, whose stations the FDB knows.
type policyLab struct {
	*lab
	t       *testing.T
	a, b, u *station
	sent    map[*station]uint64
}

func newPolicyLab(t *testing.T, a, b, u string) *policyLab {
	l := &policyLab{lab: newLab(t), t: t, sent: map[*station]uint64{}}
	l.u = l.stationWith(l.net, "u", frame.CapAll, policyOf(t, u))
	l.a = l.stationWith(l.net, "a", frame.CapAll, policyOf(t, a))
	if b != "" {
		l.b = l.stationWith(l.net, "b", frame.CapAll, policyOf(t, b))
	}
	for _, s := range []*station{l.a, l.b} {
		if s == nil {
			continue
		}
		// To themselves: nobody gets it, but the FDB knows them.
		l.send(s, ethernet(s.mac, s.mac, "hello"))
		for _, s := range []*station{l.a, l.b, l.u} {
			for ok := s != nil; ok; {
				_, ok = s.io.Poll()
			}
		}
		s.port.counters.drops[SamePort].Store(0)
	}
	return l
}

func (l *policyLab) send(from *station, b []byte) {
	l.t.Helper()
	from.send(b)
	l.sent[from]++
	from.settle(l.sent[from])
}

// check sends a frame and compares who receives it with want, a string such as
// "bu".
func (l *policyLab) check(what string, from *station, dst, src frame.MAC, want string) {
	l.t.Helper()
	f := ethernet(dst, src, what)
	l.send(from, f)
	got := ""
	for _, s := range []struct {
		name string
		*station
	}{{"a", l.a}, {"b", l.b}, {"u", l.u}} {
		if s.station != nil && s.receives(f) {
			got += s.name
		}
	}
	if got != want {
		l.t.Errorf("%s: received by %q, want %q", what, got, want)
	}
}

func (l *policyLab) stillAt(s *station) {
	l.t.Helper()
	for _, e := range l.net.FDB() {
		if e.MAC == s.mac && e.Port != s.port.Name() {
			l.t.Errorf("%s has moved to port %s", e.MAC, e.Port)
		}
	}
}
