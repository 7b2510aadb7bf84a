package porttest

import (
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// current returns the identity of the namespace that the thread is in.
func current(t *testing.T) string {
	t.Helper()
	h, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	return h.UniqueId()
}

func TestNSName(t *testing.T) {
	for _, label := range []string{"", "h1", "averylonglabel"} {
		if name := nsName(label); len(name) > 15 || !strings.HasPrefix(name, label[:min(5, len(label))]) {
			t.Errorf("label %q gives %q", label, name)
		}
	}
}

func TestNSLifeCycle(t *testing.T) {
	Require(t)
	var ns *NS
	var during error
	r := record(func(t testing.TB) {
		ns = NewNS(t, "life")
		_, during = os.Stat(ns.Path())
	})
	if r.failed != "" || during != nil {
		t.Fatalf("while it lived: %s %v", r.failed, during)
	}
	if _, err := os.Stat(ns.Path()); !os.IsNotExist(err) {
		t.Errorf("namespace %s survived its test: %v", ns.Name, err)
	}
}

func TestNSRemovedAfterFailure(t *testing.T) {
	Require(t)
	var ns *NS
	r := record(func(t testing.TB) {
		ns = NewNS(t, "fail")
		ns.Run(t, "false")
	})
	if r.failed == "" {
		t.Error("a failing command did not fail the test")
	}
	if _, err := os.Stat(ns.Path()); !os.IsNotExist(err) {
		t.Errorf("namespace %s survived its failed test: %v", ns.Name, err)
	}
}

func TestDo(t *testing.T) {
	Require(t)
	a, b := NewNS(t, "a"), NewNS(t, "b")
	home := current(t)
	var inA, inB, backInA string
	a.Do(func() {
		inA = current(t)
		b.Do(func() { inB = current(t) })
		backInA = current(t)
	})
	if inA == home || inB == home || inA == inB {
		t.Errorf("namespaces are not apart: home %s, a %s, b %s", home, inA, inB)
	}
	if backInA != inA {
		t.Errorf("after a nested call: %s, want %s", backInA, inA)
	}
	if got := current(t); got != home {
		t.Errorf("after the call: %s, want %s", got, home)
	}
}

// A test that ends inside Do must not leave its thread in the namespace, where
// another goroutine would find it.
func TestDoRestoresAfterFatal(t *testing.T) {
	Require(t)
	ns := NewNS(t, "fatal")
	home := current(t)
	var after string
	r := record(func(r testing.TB) {
		runtime.LockOSThread() // so that the deferred look is at this thread
		defer func() { after = current(t) }()
		ns.Do(func() { r.Fatal("inside") })
	})
	if r.failed != "inside" {
		t.Errorf("failed with %q", r.failed)
	}
	if after != home {
		t.Errorf("thread stayed in %s, home is %s", after, home)
	}
}

// The main thread can be locked by any goroutine, but never thrown away.
func TestMainThreadStaysHome(t *testing.T) {
	Require(t)
	home := current(t)
	ns := NewNS(t, "main")
	var mains atomic.Int32
	for range 100 {
		if err := canUnshare(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		onOwnThread(func() {
			if unix.Gettid() == os.Getpid() {
				mains.Add(1)
			}
			close(done)
		})
		<-done
	}
	if err := ns.Start(t, "true").Wait(t, 10*time.Second); err != nil {
		t.Error(err)
	}
	if n := mains.Load(); n != 0 {
		t.Errorf("%d of 100 ran on the main thread", n)
	}
	main, err := netns.GetFromPid(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer main.Close()
	if got := main.UniqueId(); got != home {
		t.Errorf("/proc/self is in %s, home is %s", got, home)
	}
}

func TestRunSeesTheNamespace(t *testing.T) {
	Require(t)
	ns := NewNS(t, "run")
	out := ns.Run(t, "ip", "-o", "link")
	if n := strings.Count(strings.TrimSpace(out), "\n") + 1; n != 1 || !strings.Contains(out, "LOOPBACK,UP") {
		t.Errorf("a new namespace has more or less than a loopback that is up:\n%s", out)
	}
	_, err := ns.TryRun("sh", "-c", "echo what went wrong; exit 3")
	if err == nil || !strings.Contains(err.Error(), "what went wrong") || !strings.Contains(err.Error(), ns.Name) {
		t.Errorf("error %v lacks the output or the namespace", err)
	}
}

func TestHandleAndLinks(t *testing.T) {
	Require(t)
	a, b := NewNS(t, "a"), NewNS(t, "b")
	Veth(t, a, "eth0", b, "eth0", VethMTU(9000))
	for _, ns := range []*NS{a, b} {
		if attrs := ns.Link(t, "eth0").Attrs(); attrs.MTU != 9000 || attrs.RawFlags&1 == 0 {
			t.Errorf("%s: MTU %d flags %x, want 9000 and up", ns.Name, attrs.MTU, attrs.RawFlags)
		}
	}
	a.MTU(t, "eth0", 1400)
	if got := a.Link(t, "eth0").Attrs().MTU; got != 1400 {
		t.Errorf("MTU %d, want 1400", got)
	}
	a.Addr(t, "eth0", "10.0.0.1/24")
	addrs, err := a.Handle().AddrList(a.Link(t, "eth0"), netlink.FAMILY_V4)
	if err != nil || len(addrs) != 1 || addrs[0].IPNet.String() != "10.0.0.1/24" {
		t.Errorf("addresses %v, %v", addrs, err)
	}
	a.Down(t, "eth0")
	if a.Link(t, "eth0").Attrs().RawFlags&1 != 0 {
		t.Error("still up after Down")
	}
	a.Delete(t, "eth0")
	if _, err := b.Handle().LinkByName("eth0"); err == nil {
		t.Error("the peer outlived a deleted veth")
	}
}

func TestOffloadsOff(t *testing.T) {
	Require(t)
	a, b := NewNS(t, "a"), NewNS(t, "b")
	Veth(t, a, "on", b, "on")
	Veth(t, a, "off", b, "off", VethOffloadsOff())
	for _, name := range []string{
		"tx-checksum-ip-generic", "rx-checksumming", "tx-tcp-segmentation", "tx-tcp6-segmentation",
		"tx-udp-segmentation", "generic-segmentation-offload", "generic-receive-offload",
	} {
		if !feature(t, a, "on", name) && name != "generic-receive-offload" {
			t.Errorf("%s is off on a fresh veth: this test proves nothing", name)
		}
		for _, ns := range []*NS{a, b} {
			if feature(t, ns, "off", name) {
				t.Errorf("%s: %s is still on", ns.Name, name)
			}
		}
	}
}

// feature asks ethtool for the state of an offload.
func feature(t *testing.T, ns *NS, ifname, name string) bool {
	t.Helper()
	return strings.Contains(ns.Run(t, "ethtool", "-k", ifname), name+": on")
}

func TestQuiet(t *testing.T) {
	Require(t)
	loud, quiet := NewNS(t, "loud"), NewNS(t, "quiet")
	quiet.Quiet(t)
	Veth(t, loud, "eth0", quiet, "eth0")
	if out := loud.Run(t, "ip", "-6", "addr", "show", "dev", "eth0"); !strings.Contains(out, "fe80::") {
		t.Errorf("no link-local address in an ordinary namespace: this test proves nothing\n%s", out)
	}
	if out := quiet.Run(t, "ip", "-6", "addr", "show", "dev", "eth0"); out != "" {
		t.Errorf("IPv6 is on:\n%s", out)
	}
}
