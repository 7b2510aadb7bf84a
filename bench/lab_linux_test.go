package bench

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestLabUndoesLastFirst(t *testing.T) {
	lab, err := NewLab(IPv4)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, name := range []string{"a", "b", "c"} {
		lab.later(func() error { order = append(order, name); return errors.New(name + " failed") })
	}
	err = lab.Close()
	if !slices.Equal(order, []string{"c", "b", "a"}) {
		t.Errorf("undone in the order %v", order)
	}
	if err == nil || err.Error() != "c failed\nb failed\na failed" {
		t.Errorf("error %v, want all three", err)
	}
	if _, err := os.Stat(lab.dir); !os.IsNotExist(err) {
		t.Errorf("folder is still there: %v", err)
	}
	if err := lab.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestNamespaceComesAndGoes(t *testing.T) {
	checkDescriptors(t)
	lab, err := NewLab(IPv4)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	id := filepath.Base(lab.dir)
	n, err := lab.Namespace("h1")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{lab.dir, "/run/netns/" + id + "-h1"}
	if got := traces(t, id); !slices.Equal(got, want) {
		t.Errorf("lab made %v, want %v", got, want)
	}
	outside, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	err = <-n.Go(func() error {
		inside, err := os.Readlink("/proc/thread-self/ns/net")
		if inside == outside {
			t.Errorf("Go stayed in %s", outside)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := os.Readlink("/proc/thread-self/ns/net"); again != outside {
		t.Errorf("the test's own thread moved from %s to %s", outside, again)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if left := traces(t, id); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

// What a kernel gives itself of IPv6 it detects duplicates of, which sends frames.
func TestHostHasNoMoreIPv6(t *testing.T) {
	for f, want := range map[Family][]string{IPv4: nil, IPv6: {"2001:db8::1/64", "fe80::1/64"}} {
		a, _ := newPair(t, f)
		link, err := a.NS.links.LinkByName(a.Interface)
		if err != nil {
			t.Fatal(err)
		}
		addrs, err := a.NS.links.AddrList(link, unix.AF_INET6)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, addr := range addrs {
			if got = append(got, addr.IPNet.String()); addr.Flags&unix.IFA_F_NODAD == 0 || addr.Flags&unix.IFA_F_TENTATIVE != 0 {
				t.Errorf("%v: flags %#x", addr, addr.Flags)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%v: addresses %v, want %v", f, got, want)
		}
	}
}

// An address that is given without more is tentative for a moment, and waited for.
func TestUsable(t *testing.T) {
	a, _ := newPair(t, IPv6)
	if err := a.NS.sysctl("net/ipv6/conf/"+a.Interface+"/accept_dad", "1"); err != nil {
		t.Fatal(err)
	}
	if err := a.NS.sysctl("net/ipv6/conf/"+a.Interface+"/dad_transmits", "1"); err != nil {
		t.Fatal(err)
	}
	link, err := a.NS.links.LinkByName(a.Interface)
	if err != nil {
		t.Fatal(err)
	}
	address, err := netlink.ParseAddr("2001:db8::77/64")
	if err == nil {
		err = a.NS.links.AddrAdd(link, address)
	}
	if err == nil {
		err = a.NS.usable(t.Context(), a.Interface)
	}
	if err != nil {
		t.Fatal(err)
	}
	err = <-a.Go(func() error {
		fd, err := socket(unix.SOCK_DGRAM, netip.MustParseAddrPort("[2001:db8::77]:5004"))
		if err == nil {
			err = unix.Close(fd)
		}
		return err
	})
	if err != nil {
		t.Errorf("an address that is usable: %v", err)
	}
}

func TestSysctlIgnoresAbsentVariable(t *testing.T) {
	n, err := newLab(t, IPv4).Namespace("h1")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.sysctl("net/ipv4/no_such_variable", "1"); err != nil {
		t.Errorf("absent variable: %v", err)
	}
	if err := n.sysctl("net/ipv4/ip_forward", "nonsense"); err == nil {
		t.Error("a value that the kernel refuses was no error")
	}
}

func TestHostThreadsStayOnOneCPU(t *testing.T) {
	cpus, err := allowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := newLab(t, IPv4).hosts(3)
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range hosts {
		var got []int
		err := <-h.Go(func() (err error) {
			got, err = allowedCPUs()
			return err
		})
		if want := []int{cpus[i%len(cpus)]}; err != nil || !slices.Equal(got, want) {
			t.Errorf("host %d runs on CPUs %v, want %v (%v)", i+1, got, want, err)
		}
	}
	if after, err := allowedCPUs(); err != nil || !slices.Equal(after, cpus) {
		t.Errorf("the test's own thread may use %v, %v before (%v)", after, cpus, err)
	}
}

func TestSettleSaysWhoIsUnreachable(t *testing.T) { families(t, testSettleSaysWhoIsUnreachable) }

func testSettleSaysWhoIsUnreachable(t *testing.T, f Family) {
	lab := newLab(t, f)
	hosts, err := lab.hosts(2)
	if err != nil {
		t.Fatal(err)
	}
	err = settle(t.Context(), hosts)
	if err == nil || !strings.Contains(err.Error(), hosts[0].Address.String()) || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("error %v, want one that names host and interface", err)
	}
}

func TestProbeLeavesNothing(t *testing.T) {
	checkDescriptors(t)
	var id string
	cause := errors.New("no such thing in this kernel")
	err := probe(func(n *Namespace) error {
		id = strings.TrimSuffix(n.Name, "-probe")
		return cause
	})
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause", err)
	}
	if left := traces(t, id); id == "" || left != nil {
		t.Errorf("left behind: %v", left)
	}
	if err := probe(func(*Namespace) error { return unix.EPERM }); err == nil || !strings.Contains(err.Error(), "root") {
		t.Errorf("error %v, want one that says what to do", err)
	}
	for _, p := range []Peer{direct{}, kernelBridge{}} {
		if err := p.Available(); err != nil {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
}

// br_netfilter is global to the kernel; the bridge's namespace must be without.
func TestBridgeHasNoNetfilter(t *testing.T) { families(t, testBridgeHasNoNetfilter) }

func testBridgeHasNoNetfilter(t *testing.T, f Family) {
	lab := newLab(t, f)
	bed, err := kernelBridge{}.Setup(t.Context(), lab)
	if err != nil {
		t.Fatal(err)
	}
	if len(bed.Hosts) != 2 || bed.Switch != nil {
		t.Errorf("bed %+v", bed)
	}
	err = <-onThread(func() error {
		sw, err := os.Open("/run/netns/" + filepath.Base(lab.dir) + "-switch")
		if err != nil {
			return err
		}
		defer sw.Close()
		if err := unix.Setns(int(sw.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		v, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
		if err == nil && strings.TrimSpace(string(v)) != "0" {
			t.Errorf("bridge-nf-call-iptables is %s", v)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil // a kernel without br_netfilter
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
