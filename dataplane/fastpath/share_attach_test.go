package fastpath

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// The host's own words on the shadow, as a daemon says on every interface, do
// not reach weft.
func TestShareSeal(t *testing.T) {
	s := newSharing(t, family{})
	s.attach(t, attachShare)
	frames := s.frames(t)
	for range 3 {
		if err := s.host.RawConn(t, "shadow").TrySend(s.arp(t, "10.0.0.2")); err == nil {
			t.Error("the host's frame was taken")
		}
	}
	for _, f := range s.next(t, frames, s.far.RawConn(t, "eth0")) {
		t.Errorf("weft got % x", f)
	}
}

// An interface that goes takes its program along; Close does not mind.
func TestShareInterfaceGone(t *testing.T) {
	for name, put := range attachers {
		t.Run(name, func(t *testing.T) {
			s := newSharing(t, family{})
			s.attach(t, put)
			s.host.Delete(t, "nic")
			s.host.Do(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if _, err := s.share.Attach(s.nic, s.shadow); err == nil || !strings.Contains(err.Error(), fmt.Sprint("interface ", s.nic)) {
					t.Errorf("attached to an interface that is gone: %v", err)
				}
			})
			s.SetUsed(unix.IPPROTO_TCP, 1, netip.Addr{}, true)
		})
	}
}

// A process that is killed leaves no program behind.
func TestShareKilled(t *testing.T) {
	if os.Getenv("WEFT_SHARE_NIC") != "" {
		beKilled(t)
		return
	}
	s := newSharing(t, family{})
	cmd := exec.Command(os.Args[0], "-test.run=^TestShareKilled$")
	cmd.Env = append(os.Environ(), fmt.Sprint("WEFT_SHARE_NIC=", s.nic), fmt.Sprint("WEFT_SHARE_SHADOW=", s.shadow))
	p := s.host.StartCmd(t, cmd)
	p.WaitOutput(t, "attached", 60*time.Second)
	want := map[string]int{"nic ingress": 1, "nic egress": 0, "shadow ingress": 1, "shadow egress": 1}
	if d := cmp.Diff(want, s.attached(t)); d != "" {
		t.Fatalf("programs (-want +got):\n%s", d)
	}
	p.Signal(t, syscall.SIGKILL)
	_ = p.Wait(t, 60*time.Second)
	// The kernel lets go of a dead process's links in its own time.
	for deadline := time.Now().Add(30 * time.Second); s.attached(t)["nic ingress"] != 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	s.checkDetached(t)
	porttest.Ping(t, s.far, "10.0.0.1")
}

func beKilled(t *testing.T) {
	var nic, shadow int
	_, err := fmt.Sscan(os.Getenv("WEFT_SHARE_NIC")+" "+os.Getenv("WEFT_SHARE_SHADOW"), &nic, &shadow)
	if err != nil {
		t.Fatal(err)
	}
	s, err := LoadShare()
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Attach(nic, shadow)
	if err != nil {
		t.Fatal(err)
	}
	a.SetAddresses(family{}.addr("10.0.0.1"), family{v6: true}.addr("10.0.0.1"))
	a.SetUsed(unix.IPPROTO_TCP, 40000, netip.Addr{}, true)
	fmt.Println("attached")
	time.Sleep(5 * time.Minute)
}

// SetUsed is called for each new mapping, under a lock of the table.
func TestSetUsedAllocatesNothing(t *testing.T) {
	s := newSharing(t, family{})
	s.attach(t, attachShare)
	if n := testing.AllocsPerRun(100, func() { s.SetUsed(unix.IPPROTO_TCP, 7, netip.Addr{}, true) }); n != 0 {
		t.Errorf("%v allocations for a port that is open", n)
	}
}

// checkDetached fails where a program is left on an interface.
func (s *sharing) checkDetached(t *testing.T) {
	t.Helper()
	for name, n := range s.attached(t) {
		if n != 0 {
			t.Errorf("%d programs left on %s", n, name)
		}
	}
}

func (s *sharing) attached(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, dev := range []string{"nic", "shadow"} {
		for side, at := range map[string]ebpf.AttachType{"ingress": ebpf.AttachTCXIngress, "egress": ebpf.AttachTCXEgress} {
			index := s.host.Link(t, dev).Attrs().Index
			s.host.Do(func() {
				r, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: at})
				if err != nil {
					t.Fatal(err)
				}
				found[dev+" "+side] = len(r.Programs)
			})
			if out := s.host.Run(t, "tc", "filter", "show", "dev", dev, side); out != "" {
				found[dev+" "+side]++
			}
		}
	}
	return found
}
