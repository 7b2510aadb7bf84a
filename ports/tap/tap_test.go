package tap_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/porttest"
	"github.com/weft/weft/ports/tap"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { porttest.CheckLeaks(m) }

func open(t *testing.T, ns *porttest.NS, name string) *tap.Port {
	t.Helper()
	var p *tap.Port
	var err error
	ns.Do(func() { p, err = tap.Open(name) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Stop()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	ns.Up(t, name)
	return p
}

func newTap(t *testing.T) (*porttest.NS, *tap.Port, *porttest.RawConn) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "tap")
	ns.Quiet(t)
	p := open(t, ns, "tap0")
	return ns, p, ns.RawConn(t, "tap0")
}

func experimental(payload []byte) []byte {
	head := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}
	return append(head, payload...)
}

func tagged(b []byte, tci uint16) []byte {
	t := []byte{0x81, 0x00, byte(tci >> 8), byte(tci)}
	return append(append(append([]byte(nil), b[:12]...), t...), b[12:]...)
}

func TestFramesBothWays(t *testing.T) {
	_, p, host := newTap(t)
	plain := experimental(bytes.Repeat([]byte("weft"), 30))
	for name, wire := range map[string][]byte{
		"plain":    plain,
		"tagged":   tagged(plain, 0x6064),
		"priority": tagged(plain, 0xe000),
		"two tags": tagged(tagged(plain, 7), 9),
	} {
		t.Run(name, func(t *testing.T) {
			host.Send(wire)
			timeout := time.AfterFunc(60*time.Second, p.Stop)
			defer timeout.Stop()
			var burst [ports.MaxBurst]*frame.Frame
			n, err := p.Recv(burst[:])
			if n != 1 || err != nil {
				t.Fatalf("Recv: %d, %v", n, err)
			}
			f := burst[0]
			if !bytes.Equal(f.AppendWire(nil), wire) {
				t.Errorf("received % x, want % x", f.AppendWire(nil), wire)
			}
			if inner := f.Bytes()[12:14]; name == "tagged" && (!f.Tag.Present() || inner[0] != 0x88) {
				t.Errorf("tag %+v not popped", f.Tag)
			}
			if n, err := p.Send([]*frame.Frame{f}); n != 1 || err != nil {
				t.Fatalf("Send: %d, %v", n, err)
			}
			if back := host.Recv(60 * time.Second); !bytes.Equal(back, wire) {
				t.Errorf("the host received % x, want % x", back, wire)
			}
		})
	}
}

// A tap outlives its descriptor, with its address, and is taken over again.
func TestPersistence(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "tap")
	var p *tap.Port
	var err error
	ns.Do(func() { p, err = tap.Open("keep0") })
	if err != nil {
		t.Fatal(err)
	}
	ns.Addr(t, "keep0", "10.0.0.1/24")
	before := ns.Link(t, "keep0").Attrs()
	p.Stop()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, ns, "keep0")
	after := ns.Link(t, "keep0").Attrs()
	if after.Index != before.Index || after.HardwareAddr.String() != before.HardwareAddr.String() {
		t.Errorf("the tap was %d %s and is %d %s", before.Index, before.HardwareAddr, after.Index, after.HardwareAddr)
	}
	addrs, err := ns.Handle().AddrList(ns.Link(t, "keep0"), netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 {
		t.Errorf("addresses %v, %v", addrs, err)
	}
}

func TestOpenRefusals(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "tap")
	porttest.Veth(t, ns, "veth0", ns, "veth1")
	open(t, ns, "busy0")
	ns.Do(func() {
		if _, err := tap.Open("busy0"); !errors.Is(err, unix.EBUSY) {
			t.Errorf("second open: %v", err)
		}
		if _, err := tap.Open("veth0"); !errors.Is(err, unix.EINVAL) {
			t.Errorf("open of a veth: %v", err)
		}
		if _, err := tap.Open("a-name-too-long-for-linux"); err == nil {
			t.Error("a name of 25 bytes was accepted")
		}
	})
}

func TestDownAndGone(t *testing.T) {
	ns, p, _ := newTap(t)
	f := &frame.Frame{}
	f.Set(append(make([]byte, frame.Headroom), experimental(make([]byte, 46))...), frame.Headroom)
	ns.Down(t, "tap0")
	if n, err := p.Send([]*frame.Frame{f}); n != 0 || err != ports.ErrDown {
		t.Errorf("send while down: %d, %v", n, err)
	}
	failed := make(chan error)
	go func() {
		var burst [ports.MaxBurst]*frame.Frame
		_, err := p.Recv(burst[:])
		failed <- err
	}()
	ns.Delete(t, "tap0")
	select {
	case err := <-failed:
		if err != ports.ErrDown {
			t.Errorf("Recv: %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Error("Recv does not notice that the tap is gone")
	}
}

// Create makes what QEMU opens: persistent, owned, and without carrier until
// somebody opens it.
func TestCreate(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "tap")
	ns.Do(func() {
		if err := tap.Create("vm1", "1234", "daemon"); err != nil {
			t.Fatal(err)
		}
	})
	l, ok := ns.Link(t, "vm1").(*netlink.Tuntap)
	if !ok {
		t.Fatalf("vm1 is a %s", ns.Link(t, "vm1").Type())
	}
	if l.NonPersist || l.Owner != 1234 || l.Group != 1 || l.Mode != netlink.TUNTAP_MODE_TAP {
		t.Errorf("made %+v, want a persistent tap of user 1234 and group 1 (daemon)", l)
	}
	ns.Do(func() {
		if err := tap.Create("vm1", "4321", ""); err != nil {
			t.Fatal(err)
		}
	})
	if l := ns.Link(t, "vm1").(*netlink.Tuntap); l.Owner != 4321 {
		t.Errorf("adopted with owner %d, want 4321", l.Owner)
	}
	held := open(t, ns, "vm1")
	ns.Do(func() {
		if err := tap.Create("vm1", "", ""); err != nil {
			t.Errorf("adopting a tap that a guest holds: %v", err)
		}
	})
	held.Stop()
	for _, bad := range [][2]string{{"no-such-user", ""}, {"", "no-such-group"}} {
		if err := tap.Create("vm2", bad[0], bad[1]); err == nil {
			t.Errorf("owner %q, group %q accepted", bad[0], bad[1])
		}
	}
}

func TestNoAllocation(t *testing.T) {
	_, p, host := newTap(t)
	f := &frame.Frame{}
	f.Set(append(make([]byte, frame.Headroom), experimental(make([]byte, 46))...), frame.Headroom)
	if n := testing.AllocsPerRun(100, func() { _, _ = p.Send([]*frame.Frame{f}[:]) }); n != 0 {
		t.Errorf("%v allocations a Send", n)
	}
	var burst [ports.MaxBurst]*frame.Frame
	wire := experimental(make([]byte, 46))
	for range 50 {
		host.Send(wire)
	}
	if n := testing.AllocsPerRun(20, func() {
		if _, err := p.Recv(burst[:1]); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a Recv", n)
	}
}
