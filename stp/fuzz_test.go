package stp

import (
	"bytes"
	"testing"
	"time"
)

// FuzzReceive gives one port any bytes, in several states of it.
func FuzzReceive(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.bytes))
	}
	own := golden[2].m
	own.vector = vector{root: newBridgeID(DefaultPriority, addr(9)), bridge: newBridgeID(DefaultPriority, addr(9)), port: 2}
	f.Add(own.encode())
	own.vector.port = 1
	f.Add(own.encode())
	f.Fuzz(func(t *testing.T, bpdu []byte) {
		kept := bytes.Clone(bpdu)
		for _, c := range []PortConfig{{}, {Edge: EdgeYes}, {RootGuard: true}, {BPDUGuard: true, Edge: EdgeNo}} {
			b := alone(c)
			b.SetPort(2, c)
			b.Up(2)
			for range 3 {
				out, err := b.Receive(1, bpdu)
				if _, ok := decode(bpdu); ok != (err == nil) {
					t.Fatalf("decode says %v, Receive %v", ok, err)
				}
				checkOutput(t, b, out)
				for range 4 {
					checkOutput(t, b, b.Tick())
				}
			}
		}
		if !bytes.Equal(kept, bpdu) {
			t.Fatal("Receive changed its argument")
		}
		if p, ok := Payload(bpdu); ok && len(p)+headerLen+llcLen > len(bpdu) {
			t.Fatalf("a payload of %d in %d bytes", len(p), len(bpdu))
		}
	})
}

// checkOutput checks what holds after every event: nothing is left to do, and
// what was sent is in order and bounded.
func checkOutput(t testing.TB, b *Bridge, out Output) {
	t.Helper()
	if rounds := b.settle(); rounds != 0 {
		t.Fatalf("%d rounds were left undone", rounds)
	}
	if len(out.BPDUs) > len(b.ports)+1 || len(out.Flush) > len(b.ports)+1 {
		t.Fatalf("%d ports: %+v", len(b.ports), out)
	}
	for _, m := range out.BPDUs {
		if _, ok := decode(m.Data); !ok && m.Data[3] != typeConfig {
			t.Fatalf("sent % x", m.Data)
		}
	}
	root := 0
	for _, p := range b.ports {
		if p.role == RoleRoot {
			root++
		}
		if p.txCount > txHoldCount {
			t.Fatalf("port %d sent %d", p.number, p.txCount)
		}
		shut := p.role == RoleDisabled || p.role == RoleAlternate || p.role == RoleBackup || p.held()
		if shut && p.state() != Discarding {
			t.Fatalf("port %d is %v and %v", p.number, p.role, p.state())
		}
	}
	if s := b.Status(); (root == 1) != (s.RootPort != 0) || root > 1 || s.Root > s.Bridge {
		t.Fatalf("%d root ports, %+v", root, s)
	}
}

// FuzzScript reads its bytes as events at a bridge of a few ports: each of them
// in any order, with neighbours that say anything about anybody.
func FuzzScript(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x02\x01\x01\x01\x02\x03\x01\x0e\x00\x10\x20\x30\x05\x05\x05\x02\x01\x04\x01"))
	f.Add(bytes.Repeat([]byte{3, 1, 0x7f, 1, 0, 0, 2, 5}, 40))
	f.Add(bytes.Repeat([]byte{0, 1, 0xff, 1, 1, 3, 2, 0x3c, 0, 5, 4, 6, 0x55}, 30))
	f.Fuzz(func(t *testing.T, script []byte) {
		b := New(config(9))
		take := func() (v byte) {
			if len(script) > 0 {
				v, script = script[0], script[1:]
			}
			return v
		}
		for n := 0; len(script) > 0 && n < 500; n++ {
			event, id := take()%8, PortID(take()%5)
			checkOutput(t, b, play(b, event, id, take))
		}
		if len(b.ports) > 4 {
			t.Fatalf("%d ports", len(b.ports))
		}
	})
}

// play runs one event of a script.
func play(b *Bridge, event byte, id PortID, take func() byte) (out Output) {
	switch event {
	case 0:
		v := take()
		out = b.SetPort(id, PortConfig{
			Cost: uint32(v & 3), Priority: v & 0x30, Edge: Edge(v >> 2 & 3),
			RootGuard: v&0x40 != 0, BPDUGuard: v&0x80 != 0,
		})
	case 1:
		out = b.Up(id)
	case 2:
		out = b.Down(id)
	case 3:
		m := message{
			kind:  [...]uint8{typeRST, typeConfig, typeTCN, typeRST}[take()&3],
			flags: take(),
			times: times{uint16(take() % 24), uint16(take()), uint16(take()), uint16(take())},
		}
		m.vector = vector{
			root: BridgeID(take()), cost: uint32(take()), port: uint16(take() & 7),
			bridge: newBridgeID(uint16(take())<<8, addr(int(take()&1)+9)),
		}
		out, _ = b.Receive(id, m.encode())
	case 4:
		v := take()
		out = b.Configure(Config{
			Address: addr(int(v&1) + 9), Priority: uint16(v&0x30) << 8, ForceSTP: v&2 != 0,
			Hello: time.Duration(v&3) * time.Second, ForwardDelay: time.Duration(v>>6) * 5 * time.Second,
		})
	case 5:
		out = b.RemovePort(id)
	default:
		out = b.Tick()
	}
	return out
}
