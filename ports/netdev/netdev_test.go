package netdev_test

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/ports/porttest"
)

func TestMain(m *testing.M) { porttest.CheckLeaks(m) }

func newNS(t *testing.T) *porttest.NS {
	porttest.Require(t)
	ns := porttest.NewNS(t, "dev")
	porttest.Veth(t, ns, "va", ns, "vb")
	return ns
}

func TestFind(t *testing.T) {
	ns := newNS(t)
	ns.Down(t, "vb")
	info, err := netdev.Find(ns.Name, "va")
	if err != nil || info.Name != "va" || info.Kind != "veth" || info.MTU != 1500 || !info.Up || info.Carrier || info.MAC == (frame.MAC{}) {
		t.Errorf("a: %+v, %v", info, err)
	}
	for _, missing := range [][2]string{{ns.Name, "nothing"}, {"no-such-ns", "va"}} {
		if _, err := netdev.Find(missing[0], missing[1]); !errors.Is(err, netdev.ErrMissing) {
			t.Errorf("%v: %v", missing, err)
		}
	}
}

func TestUsable(t *testing.T) {
	ns := newNS(t)
	ns.Run(t, "ip", "link", "add", "br0", "type", "bridge")
	ns.Run(t, "ip", "link", "set", "vb", "master", "br0")
	for name, want := range map[string]string{"va": "", "vb": `belongs to bridge "br0"`, "br0": "is a bridge", "lo": "no Ethernet"} {
		info, err := netdev.Find(ns.Name, name)
		if err != nil {
			t.Fatal(err)
		}
		switch err := netdev.Usable(info); {
		case want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestConfigureAndDelete(t *testing.T) {
	ns := newNS(t)
	want := netdev.Settings{
		MAC: frame.MAC{2, 0, 0, 0, 0, 9}, MTU: 1400, Alias: "weft:lan/a", Up: true,
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("fd00::1/64")},
	}
	for range 2 { // the second time there is nothing to do
		if err := netdev.Configure(ns.Name, "va", want); err != nil {
			t.Fatal(err)
		}
	}
	info, err := netdev.Find(ns.Name, "va")
	if err != nil || info.MAC != want.MAC || info.MTU != 1400 || info.Alias != want.Alias {
		t.Errorf("%+v, %v", info, err)
	}
	if out := ns.Run(t, "ip", "addr", "show", "va"); !strings.Contains(out, "10.0.0.1/24") || !strings.Contains(out, "fd00::1/64") {
		t.Errorf("addresses:\n%s", out)
	}
	if err := netdev.Configure(ns.Name, "va", netdev.Settings{MTU: 1 << 20}); err == nil {
		t.Error("an impossible MTU was accepted")
	}
	for range 2 { // a missing one is no error
		if err := netdev.Delete(ns.Name, "va"); err != nil {
			t.Fatal(err)
		}
	}
	if err := netdev.Delete("no-such-ns", "va"); err != nil {
		t.Error(err)
	}
}

func TestQuiet(t *testing.T) {
	ns := newNS(t)
	state := func() (linkLocal, noARP bool, mode string) {
		out := ns.Run(t, "ip", "addr", "show", "va") + ns.Run(t, "ip", "-d", "link", "show", "va")
		_, mode, _ = strings.Cut(out, "addrgenmode ")
		return strings.Contains(out, "fe80::"), strings.Contains(out, "NOARP"), strings.Fields(mode)[0]
	}
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if ll, _, _ := state(); ll {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the kernel gave no link-local address")
		}
	}
	for _, deaf := range []bool{false, true} {
		ns.Do(func() {
			index := ns.Link(t, "va").Attrs().Index
			restore, err := netdev.Quiet(index, deaf)
			if err != nil {
				t.Fatal(err)
			}
			if ll, noARP, mode := state(); ll || noARP != deaf || mode != "none" {
				t.Errorf("quiet, deaf %v: link-local %v, NOARP %v, mode %s", deaf, ll, noARP, mode)
			}
			restore()
			if ll, noARP, mode := state(); !ll || noARP || mode != "eui64" {
				t.Errorf("restored: link-local %v, NOARP %v, mode %s", ll, noARP, mode)
			}
		})
	}
	ns.Do(func() {
		restore, err := netdev.Quiet(ns.Link(t, "va").Attrs().Index, true)
		if err != nil {
			t.Fatal(err)
		}
		ns.Delete(t, "va")
		restore() // of an interface that is gone: nothing happens
	})
}

func TestClaim(t *testing.T) {
	ns := newNS(t)
	ns.Do(func() {
		release, err := netdev.Claim(42)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := netdev.Claim(42); err == nil || !strings.Contains(err.Error(), "another weft") {
			t.Errorf("second claim: %v", err)
		}
		release()
		release, err = netdev.Claim(42)
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}

func TestWatch(t *testing.T) {
	ns := newNS(t)
	names := make(chan string, 100)
	stop, err := netdev.Watch(ns.Name, func(name string, _ int) { names <- name })
	if err != nil {
		t.Fatal(err)
	}
	ns.Down(t, "va")
	var seen []string
	for !slices.Contains(seen, "va") || !slices.Contains(seen, "vb") { // b loses its carrier
		select {
		case n := <-names:
			seen = append(seen, n)
		case <-time.After(60 * time.Second):
			t.Fatalf("told of %v only", seen)
		}
	}
	stop()
	if _, err := netdev.Watch("no-such-ns", nil); !errors.Is(err, netdev.ErrMissing) {
		t.Errorf("missing namespace: %v", err)
	}
}

// A namespace made anew under its old name is another one.
func TestNamespaceID(t *testing.T) {
	ns := newNS(t)
	first, err := netdev.NamespaceID(ns.Name)
	if err != nil {
		t.Fatal(err)
	}
	// Something that holds the old one, as an open tap does.
	held := ns.Start(t, "sleep", "60")
	defer held.Kill()
	if out, err := exec.Command("ip", "netns", "del", ns.Name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := netdev.NamespaceID(ns.Name); !errors.Is(err, netdev.ErrMissing) {
		t.Errorf("deleted: %v", err)
	}
	if out, err := exec.Command("ip", "netns", "add", ns.Name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if second, err := netdev.NamespaceID(ns.Name); err != nil || second == first {
		t.Errorf("first %d, second %d, %v", first, second, err)
	}
}

func TestHostAddresses(t *testing.T) {
	ns := newNS(t)
	ns.Addr(t, "va", "10.0.0.1/24")
	ns.Do(func() {
		ips, err := netdev.HostAddresses(ns.Link(t, "va").Attrs().Index)
		if err != nil || len(ips) != 1 || ips[0].String() != "10.0.0.1" {
			t.Errorf("%v, %v", ips, err)
		}
	})
}
