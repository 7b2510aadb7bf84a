package porttest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netnsDir is where iproute2 keeps named network namespaces.
const netnsDir = "/run/netns"

// NS is a named network namespace. Its methods may be called by several
// goroutines at once.
type NS struct {
	Name string // under /run/netns, at most 15 characters

	t      testing.TB
	handle netns.NsHandle
	link   *netlink.Handle
}

// NewNS makes a network namespace with its loopback interface up, and removes
// it at the end of the test. The label shows in the name; of a long one the
// first five characters do.
func NewNS(t testing.TB, label string) *NS {
	t.Helper()
	name := addNamed(t, label)
	ns := &NS{Name: name, t: t, handle: netns.None()}
	t.Cleanup(ns.remove)

	var err error
	if ns.handle, err = netns.GetFromPath(ns.Path()); err != nil {
		t.Fatalf("open namespace %s: %v", name, err)
	}
	if ns.link, err = netlink.NewHandleAt(ns.handle, unix.NETLINK_ROUTE); err != nil {
		t.Fatalf("netlink in namespace %s: %v", name, err)
	}
	ns.Up(t, "lo")
	return ns
}

// addNamed makes a namespace by a name that nobody uses yet. It leaves the work
// to iproute2, which also makes /run/netns a shared mount, under a lock.
func addNamed(t testing.TB, label string) string {
	t.Helper()
	var out []byte
	var err error
	for range 10 {
		name := nsName(label)
		out, err = exec.Command("ip", "netns", "add", name).CombinedOutput()
		if err == nil {
			return name
		}
		if _, statErr := os.Stat(filepath.Join(netnsDir, name)); statErr != nil {
			break // it failed for another reason than the name
		}
	}
	t.Fatalf("make namespace %s: %v: %s", label, err, out)
	return ""
}

// nsName returns a name of at most 15 characters, so that it also does as the
// name of an interface: 5 of the label, a dash, and up to 7 that are random.
func nsName(label string) string {
	if len(label) > 5 {
		label = label[:5]
	}
	return label + "-" + strconv.FormatUint(uint64(rand.Uint32()), 36)
}

func (ns *NS) remove() {
	if ns.link != nil {
		ns.link.Close()
	}
	if ns.handle.IsOpen() {
		ns.handle.Close()
	}
	if out, err := exec.Command("ip", "netns", "del", ns.Name).CombinedOutput(); err != nil {
		ns.t.Errorf("remove namespace %s: %v: %s", ns.Name, err, out)
	}
}

// Path returns the file of the namespace, for setns(2) and `netns:` options.
func (ns *NS) Path() string { return filepath.Join(netnsDir, ns.Name) }

// Handle returns the netlink handle of the namespace. It is closed at the end
// of the test.
func (ns *NS) Handle() *netlink.Handle { return ns.link }

// Do runs f inside the namespace, on the caller's goroutine and locked to its
// thread; f may end the test. Calls may be nested. Where the thread cannot be
// brought back, the test fails and its goroutine ends locked, which makes the
// runtime throw the thread away.
func (ns *NS) Do(f func()) {
	ns.t.Helper()
	runtime.LockOSThread()
	old, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		ns.t.Fatalf("read the present namespace: %v", err)
	}
	defer old.Close()
	if err := netns.Set(ns.handle); err != nil {
		runtime.UnlockOSThread()
		ns.t.Fatalf("enter namespace %s: %v", ns.Name, err)
	}
	defer func() {
		if err := netns.Set(old); err != nil {
			ns.t.Fatalf("leave namespace %s: %v", ns.Name, err)
		}
		runtime.UnlockOSThread()
	}()
	f()
}

// Run runs a command inside the namespace and returns what it wrote to standard
// output and standard error. A command that fails ends the test.
func (ns *NS) Run(t testing.TB, cmd string, args ...string) string {
	t.Helper()
	out, err := ns.TryRun(cmd, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryRun is Run with an error, which holds the output, in place of a failure.
func (ns *NS) TryRun(cmd string, args ...string) (string, error) {
	var out []byte
	var err error
	ns.Do(func() { out, err = exec.Command(cmd, args...).CombinedOutput() })
	if err != nil {
		err = fmt.Errorf("%s in namespace %s: %w\n%s", strings.Join(append([]string{cmd}, args...), " "), ns.Name, err, out)
	}
	return string(out), err
}

// Sysctl sets a key such as net.ipv4.ip_forward inside the namespace.
func (ns *NS) Sysctl(t testing.TB, key, value string) {
	t.Helper()
	path := filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
	var err error
	ns.Do(func() { err = os.WriteFile(path, []byte(value), 0) })
	if err != nil {
		t.Fatalf("set %s in namespace %s: %v", key, ns.Name, err)
	}
}

// Quiet switches IPv6 off, now and for interfaces to come, so that the
// namespace sends nothing on its own: no neighbour or router solicitation and
// no multicast report gets among the frames that a test counts.
func (ns *NS) Quiet(t testing.TB) {
	t.Helper()
	ns.Sysctl(t, "net.ipv6.conf.all.disable_ipv6", "1") // sets "default" too
}
