package stp

import (
	"math"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

func TestConfigIsMovedIntoRange(t *testing.T) {
	const s = time.Second
	for _, c := range []struct{ in, want Config }{
		{Config{}, Config{Hello: 2 * s, MaxAge: 20 * s}},
		{Config{Priority: 0xffff}, Config{Priority: 0xf000, Hello: 2 * s, MaxAge: 20 * s}},
		{Config{Hello: 1, MaxAge: 1, ForwardDelay: 1}, Config{Hello: 1 * s, MaxAge: 6 * s, ForwardDelay: 2 * s}},
		{Config{Hello: -s, MaxAge: -s, ForwardDelay: -s}, Config{Hello: 1 * s, MaxAge: 6 * s}},
		{Config{Hello: 99 * s, MaxAge: 99 * s, ForwardDelay: 99 * s}, Config{Hello: 10 * s, MaxAge: 40 * s, ForwardDelay: 30 * s}},
	} {
		if got := c.in.normal(); got != c.want {
			t.Errorf("%+v became %+v, not %+v", c.in, got, c.want)
		}
	}
	for _, c := range []struct{ in, want PortConfig }{
		{PortConfig{}, PortConfig{Cost: DefaultCost}},
		{PortConfig{Cost: math.MaxUint32, Priority: 255, Edge: 77}, PortConfig{Cost: MaxCost, Priority: 240}},
		{PortConfig{Cost: 1, Priority: 16, Edge: EdgeNo}, PortConfig{Cost: 1, Priority: 16, Edge: EdgeNo}},
	} {
		if got := c.in.normal(); got != c.want {
			t.Errorf("%+v became %+v, not %+v", c.in, got, c.want)
		}
	}
}

func TestBridgeID(t *testing.T) {
	mac := frame.MAC{0x52, 0x54, 0, 0x32, 0x03, 0xdf}
	id := newBridgeID(0x8000, mac)
	if id.Priority() != 0x8000 || id.Address() != mac || id.String() != "8000.5254003203df" {
		t.Errorf("%#x: %v %v %v", uint64(id), id.Priority(), id.Address(), id)
	}
}

// TestVectorOrder has each component decide where those before it are equal.
func TestVectorOrder(t *testing.T) {
	order := []vector{
		{1, 9, 9, 9}, {2, 1, 9, 9}, {2, 2, 1, 9}, {2, 2, 2, 1}, {2, 2, 2, 2},
	}
	for i, v := range order {
		for j, w := range order {
			if got := v.compare(w); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%v to %v: %d", v, w, got)
			}
		}
	}
}

func TestSuperior(t *testing.T) {
	known := vector{root: 5, cost: 5, bridge: newBridgeID(0x8000, addr(5)), port: 0x8001}
	worse := known
	worse.cost = 6
	if !worse.superior(known) {
		t.Error("news from the designated port itself was not taken")
	}
	worse.bridge, worse.port = newBridgeID(0x9000, addr(5)), 0xf001
	if !worse.superior(known) {
		t.Error("a change of its priorities made the port another one")
	}
	worse.port = 0x8002
	if worse.superior(known) {
		t.Error("worse news from another port were taken")
	}
	better := vector{root: 4, cost: 9, bridge: known.bridge + 1, port: 2}
	if !better.superior(known) {
		t.Error("better news were not taken")
	}
}

func TestCostDoesNotWrap(t *testing.T) {
	for _, c := range []struct{ have, add, want uint32 }{
		{1, 2, 3},
		{math.MaxUint32 - 2, 2, math.MaxUint32},
		{math.MaxUint32 - 1, 2, math.MaxUint32},
		{math.MaxUint32, MaxCost, math.MaxUint32},
	} {
		if got := (vector{cost: c.have}).via(c.add).cost; got != c.want {
			t.Errorf("%d + %d = %d", c.have, c.add, got)
		}
	}
}

func TestUnknownPorts(t *testing.T) {
	b := New(config(0))
	for _, id := range []PortID{0, 1, MaxPort + 1, math.MaxUint16} {
		if id != 1 {
			b.SetPort(id, PortConfig{})
		}
		if _, ok := b.PortStatus(id); ok {
			t.Errorf("port %d exists", id)
		}
		if out := b.Up(id); out.BPDUs != nil {
			t.Errorf("port %d came up", id)
		}
		b.Down(id)
		b.RemovePort(id)
		if out, err := b.Receive(id, []byte{1}); err != nil || out.BPDUs != nil {
			t.Errorf("port %d received: %v %v", id, out, err)
		}
	}
	b.SetPort(MaxPort, PortConfig{Priority: 0xf0})
	b.Up(MaxPort)
	if s, ok := b.PortStatus(MaxPort); !ok || s.DesignatedPort != 0xffff {
		t.Errorf("port %d: %+v, %v", MaxPort, s, ok)
	}
}
