package stp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

// end is one end of a link: a port of a bridge.
type end struct {
	bridge int
	port   PortID
}

// link carries BPDUs both ways, in order and without loss while it is up. Both
// ends may be the same one: a plug that returns everything.
type link struct {
	ends  [2]end
	up    bool
	queue [2][][]byte // on the way to that end
}

// network is bridges and links. Each Output is carried out at once and in full,
// and checked against what an owner may rely on.
type network struct {
	t       rapid.TB
	bridges []*Bridge
	deaf    []bool // bridges that take RST BPDUs for noise, as those of 1998 do
	links   []*link
	states  map[end]State
	flushed map[end]int
	random  *rand.Rand
	always  func(*network) // runs after every event
}

func newNetwork(t rapid.TB) *network {
	return &network{
		t:       t,
		states:  map[end]State{},
		flushed: map[end]int{},
		random:  rand.New(rand.NewPCG(1, 2)),
	}
}

// addr returns the address of bridge i.
func addr(i int) frame.MAC { return frame.MAC{2, 0, 0, 0, 0, byte(i)} }

func config(i int) Config {
	return Config{Address: addr(i), Priority: DefaultPriority, ForwardDelay: 15 * time.Second}
}

// add adds a bridge and returns its index. The address of the first is the
// lowest.
func (n *network) add(change ...func(*Config)) int {
	i := len(n.bridges)
	c := config(i)
	for _, f := range change {
		f(&c)
	}
	n.bridges = append(n.bridges, New(c))
	n.deaf = append(n.deaf, c.ForceSTP)
	return i
}

// wire makes a link that is down.
func (n *network) wire(a, b end) *link {
	l := &link{ends: [2]end{a, b}}
	n.links = append(n.links, l)
	for _, e := range l.ends {
		if n.bridges[e.bridge].port(e.port) == nil {
			n.apply(e.bridge, n.bridges[e.bridge].SetPort(e.port, PortConfig{}))
		}
	}
	return l
}

func (n *network) connect(a, b end) *link {
	l := n.wire(a, b)
	n.plug(l)
	return l
}

func (n *network) plug(l *link) {
	l.up = true
	for _, e := range l.ends {
		n.apply(e.bridge, n.bridges[e.bridge].Up(e.port))
	}
}

func (n *network) unplug(l *link) {
	l.up = false
	l.queue = [2][][]byte{}
	for _, e := range l.ends {
		n.apply(e.bridge, n.bridges[e.bridge].Down(e.port))
	}
}

// apply carries out what a bridge wants done.
func (n *network) apply(i int, out Output) {
	n.t.Helper()
	for k, c := range out.Changed {
		e := end{i, c.Port}
		if n.states[e] == c.State || k > 0 && out.Changed[k-1].Port >= c.Port {
			n.t.Fatalf("changes of bridge %d: %v, port %d was %v", i, out.Changed, c.Port, n.states[e])
		}
		n.states[e] = c.State
	}
	for _, p := range out.Flush {
		n.flushed[end{i, p}]++
	}
	for _, m := range out.BPDUs {
		n.send(end{i, m.Port}, m.Data)
	}
	for _, p := range n.bridges[i].ports {
		if p.state() != n.states[end{i, p.number}] {
			n.t.Fatalf("port %d.%d is %v, reported was %v", i, p.number, p.state(), n.states[end{i, p.number}])
		}
	}
	if rounds := n.bridges[i].settle(); rounds != 0 {
		n.t.Fatalf("bridge %d left %d rounds undone", i, rounds)
	}
	if n.always != nil {
		n.always(n)
	}
}

func (n *network) send(from end, data []byte) {
	for _, l := range n.links {
		for side, e := range l.ends {
			if e == from && l.up {
				l.queue[1-side] = append(l.queue[1-side], data)
				return
			}
		}
	}
}

// deliver lets one BPDU arrive, from a random queue.
func (n *network) deliver() bool {
	type waiting struct {
		l    *link
		side int
	}
	var all []waiting
	for _, l := range n.links {
		for side := range l.queue {
			if len(l.queue[side]) > 0 {
				all = append(all, waiting{l, side})
			}
		}
	}
	if len(all) == 0 {
		return false
	}
	w := all[n.random.IntN(len(all))]
	data := w.l.queue[w.side][0]
	w.l.queue[w.side] = w.l.queue[w.side][1:]
	e := w.l.ends[w.side]
	if n.deaf[e.bridge] && data[2] != 0 {
		return true
	}
	out, err := n.bridges[e.bridge].Receive(e.port, data)
	// Information that went round a loop until it is too old is refused.
	if old := data[3] == typeConfig && data[27] >= data[29]; (err != nil) != old {
		n.t.Fatalf("bridge %d refused % x: %v", e.bridge, data, err)
	}
	n.apply(e.bridge, out)
	return true
}

// calm delivers until nothing is on its way.
func (n *network) calm() (delivered int) {
	n.t.Helper()
	for n.deliver() {
		if delivered++; delivered > 5000*len(n.links) {
			n.t.Fatal("the network does not come to rest")
		}
	}
	return delivered
}

func (n *network) tick(times int) {
	n.t.Helper()
	for range times {
		for _, i := range n.random.Perm(len(n.bridges)) {
			n.apply(i, n.bridges[i].Tick())
		}
		n.calm()
	}
}

// groups is a union of bridges.
type groups []int

func newGroups(n int) (g groups) {
	for i := range n {
		g = append(g, i)
	}
	return g
}

func (g groups) of(i int) int {
	for g[i] != i {
		i = g[i]
	}
	return i
}

// join reports false where both were in one group.
func (g groups) join(i, j int) bool {
	i, j = g.of(i), g.of(j)
	g[i] = j
	return i != j
}

func (l *link) echo() bool { return l.ends[0] == l.ends[1] }

func (n *network) carries(l *link) bool {
	return l.up && n.states[l.ends[0]] == Forwarding && n.states[l.ends[1]] == Forwarding
}

// loop returns a link that closes one, or nil.
func (n *network) loop() *link {
	g := newGroups(len(n.bridges))
	for _, l := range n.links {
		if n.carries(l) && !g.join(l.ends[0].bridge, l.ends[1].bridge) {
			return l
		}
	}
	return nil
}

// checkTree checks what a spanning tree is: in each component one root, which is
// the best bridge, and exactly one way between any two bridges.
func (n *network) checkTree() {
	n.t.Helper()
	if l := n.loop(); l != nil {
		n.t.Fatalf("link %v closes a loop:\n%v", l.ends, n)
	}
	component, tree := newGroups(len(n.bridges)), newGroups(len(n.bridges))
	for _, l := range n.links {
		if l.up {
			component.join(l.ends[0].bridge, l.ends[1].bridge)
		}
		if n.carries(l) {
			tree.join(l.ends[0].bridge, l.ends[1].bridge)
		}
	}
	best := map[int]BridgeID{}
	for i, b := range n.bridges {
		c := component.of(i)
		if id, ok := best[c]; !ok || b.id < id {
			best[c] = b.id
		}
	}
	for i, b := range n.bridges {
		s := b.Status()
		if s.Root != best[component.of(i)] || (s.RootPort == 0) != (s.Root == b.id) {
			n.t.Fatalf("bridge %d (%v) follows %v by port %d, not %v:\n%v", i, b.id, s.Root, s.RootPort, best[component.of(i)], n)
		}
		for j := range n.bridges {
			if component.of(i) == component.of(j) && tree.of(i) != tree.of(j) {
				n.t.Fatalf("no way from bridge %d to %d:\n%v", i, j, n)
			}
		}
	}
}

// checkCosts compares the root path costs with the shortest paths.
func (n *network) checkCosts() {
	n.t.Helper()
	for i, b := range n.bridges {
		s := b.Status()
		want := uint32(0)
		if s.Root != b.id {
			want = ^uint32(0)
			for _, l := range n.links {
				for side, e := range l.ends {
					if other := l.ends[1-side].bridge; l.up && e.bridge == i && other != i {
						want = min(want, n.bridges[other].root.cost+b.port(e.port).config.Cost)
					}
				}
			}
		}
		if s.RootCost != want {
			n.t.Fatalf("bridge %d is %d from the root, not %d:\n%v", i, s.RootCost, want, n)
		}
	}
}

func (n *network) String() (s string) {
	for i, b := range n.bridges {
		s += fmt.Sprintf("bridge %d %v deaf=%v root %v cost %d\n", i, b.id, n.deaf[i], b.root.root, b.root.cost)
		for _, p := range b.ports {
			s += fmt.Sprintf("  port %d cost %d %v %v agreed=%v agree=%v rstp=%v edge=%v\n",
				p.number, p.config.Cost, p.role, p.state(), p.agreed, p.agree, p.sendRSTP, p.operEdge)
		}
	}
	for _, l := range n.links {
		s += fmt.Sprintf("link %v up=%v queued %d %d\n", l.ends, l.up, len(l.queue[0]), len(l.queue[1]))
	}
	return s
}

// expect checks role and state of one port.
func (n *network) expect(e end, role Role, state State) {
	n.t.Helper()
	s, ok := n.bridges[e.bridge].PortStatus(e.port)
	if !ok || s.Role != role || s.State != state {
		n.t.Fatalf("port %v is %v %v, not %v %v\n%v", e, s.Role, s.State, role, state, n)
	}
}

// expectBlocked checks that exactly these ends of links that are up do not forward.
func (n *network) expectBlocked(want ...end) {
	n.t.Helper()
	var got []end
	for _, l := range n.links {
		for _, e := range l.ends {
			if l.up && n.states[e] != Forwarding && !slices.Contains(got, e) {
				got = append(got, e)
			}
		}
	}
	for _, e := range want {
		if !slices.Contains(got, e) {
			n.t.Fatalf("blocked: %v, not %v\n%v", got, want, n)
		}
	}
	if len(got) != len(want) {
		n.t.Fatalf("blocked: %v, not %v\n%v", got, want, n)
	}
}
