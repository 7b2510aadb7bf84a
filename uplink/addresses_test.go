package uplink

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestHostAddressesChange(t *testing.T) {
	m := newMachine(t)
	_, states := m.follow(t, "eth0")
	for _, step := range []struct {
		do   string
		want []netip.Prefix
	}{
		{"addr add 192.0.2.7/24 dev eth0", prefixes("192.0.2.7/24")},
		{"addr add 192.0.2.8/24 dev eth0", prefixes("192.0.2.7/24", "192.0.2.8/24")},
		{"addr add 169.254.3.4/16 scope link dev eth0", prefixes("192.0.2.7/24", "192.0.2.8/24", "169.254.3.4/16")},
		{"addr add 203.0.113.1/25 dev eth0", prefixes("192.0.2.7/24", "203.0.113.1/25", "192.0.2.8/24", "169.254.3.4/16")},
		{"addr add 198.51.100.1/24 dev eth1", nil},
		{"addr del 192.0.2.7/24 dev eth0", prefixes("203.0.113.1/25", "169.254.3.4/16")}, // the secondary goes too
		{"addr flush dev eth0", nil},
	} {
		m.ip(t, step.do)
		if strings.Contains(step.do, "eth1") {
			continue
		}
		until(t, states, func(s State) bool { return reflect.DeepEqual(s.Addresses, step.want) })
	}
}

// Those of IPv6 in the order in which they are good for flows; one that nobody may
// use yet is not there.
func TestHostAddresses6Change(t *testing.T) {
	m := newMachine(t)
	m.ns.Sysctl(t, "net.ipv6.conf.eth0.accept_dad", "0")
	m.far.Addr(t, "far0", "2001:db8::dad/64")
	_, states := m.follow(t, "eth0")
	for _, step := range []struct {
		do   string
		want []netip.Prefix
	}{
		{"addr add fd00::7/64 dev eth0", prefixes("fd00::7/64")},
		{"addr add 2001:db8::7/64 dev eth0", prefixes("2001:db8::7/64", "fd00::7/64")},
		{"addr add 2001:db8::6/64 dev eth0", prefixes("2001:db8::7/64", "2001:db8::6/64", "fd00::7/64")},
		{"addr change 2001:db8::7/64 dev eth0 preferred_lft 0", prefixes("2001:db8::6/64", "fd00::7/64", "2001:db8::7/64")},
		{"addr add fd00::8/64 peer fd00::9 dev eth0", prefixes("2001:db8::6/64", "fd00::7/64", "fd00::8/128", "2001:db8::7/64")},
		{"addr del fd00::8 dev eth0", prefixes("2001:db8::6/64", "fd00::7/64", "2001:db8::7/64")},
		{"addr add 2001:db8::1/64 dev eth1", nil},
		{"addr add ::1/128 dev eth0", nil},
		{"addr add fec0::1/64 dev eth0", nil}, // site-local: RFC 3879
		{"addr change 2001:db8::7/64 dev eth0 preferred_lft forever", prefixes("2001:db8::7/64", "2001:db8::6/64", "fd00::7/64")},
		{"addr del 2001:db8::7/64 dev eth0", prefixes("2001:db8::6/64", "fd00::7/64")},
		{"addr flush scope global dev eth0", nil},
	} {
		if _, err := m.ns.TryRun("ip", strings.Fields("-6 "+step.do)...); err != nil && step.want != nil {
			t.Fatal(err)
		}
		if step.want == nil && !strings.Contains(step.do, "flush") {
			continue
		}
		until(t, states, func(s State) bool { return reflect.DeepEqual(s.Addresses6, step.want) })
	}
	// One that another station has already, beside one that nobody else has.
	m.ns.Sysctl(t, "net.ipv6.conf.eth0.accept_dad", "1")
	m.ip(t, "addr add 2001:db8::dad/64 dev eth0")
	m.ip(t, "addr add 2001:db8::5/64 dev eth0")
	s := until(t, states, func(s State) bool { return len(s.Addresses6) > 0 })
	if d := cmp.Diff(prefixes("2001:db8::5/64"), s.Addresses6, cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("addresses (-want +got):\n%s", d)
	}
	was := s.LinkLocal
	m.ip(t, "addr flush scope link dev eth0")
	until(t, states, func(s State) bool { return was.IsValid() && !s.LinkLocal.IsValid() })
}

// A temporary address comes last, whatever else is good about it: the kernel of a
// test makes none by hand.
func TestBest6(t *testing.T) {
	address := func(text string, flags int) netlink.Addr {
		a, err := netlink.ParseAddr(text)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = flags
		return *a
	}
	want := []netlink.Addr{
		address("2001:db8::1/64", unix.IFA_F_PERMANENT), address("fd00::1/64", 0),
		address("2001:db8::2/64", unix.IFA_F_DEPRECATED), address("fd00::2/64", unix.IFA_F_DEPRECATED),
		address("2001:db8::3/64", unix.IFA_F_TEMPORARY), address("2001:db8::4/64", unix.IFA_F_TEMPORARY|unix.IFA_F_DEPRECATED),
	}
	for i := range want {
		for j := range want {
			if got := best6(want[i], want[j]); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%v and %v: %d", want[i], want[j], got)
			}
		}
	}
}

func TestFollowAddresses(t *testing.T) {
	m := newMachine(t)
	lists := new(followed[[]netip.Addr])
	var a *Addresses
	var err error
	m.ns.Do(func() { a, err = FollowAddresses(lists.add) })
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if len(a.List()) != 0 {
		t.Errorf("at first %v", a.List())
	}
	m.ns.Addr(t, "eth1", "192.0.2.7/24")
	m.ns.Addr(t, "eth0", "192.0.2.6/24")
	m.ns.Addr(t, "eth0", "fd00::6/64")
	m.ns.Addr(t, "lo", "203.0.113.9/32")
	want := []netip.Addr{
		netip.MustParseAddr("192.0.2.6"), netip.MustParseAddr("192.0.2.7"),
		netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("fd00::6"),
	}
	until(t, lists, func(l []netip.Addr) bool { return reflect.DeepEqual(l, want) })
	m.ns.Delete(t, "eth0")
	until(t, lists, func(l []netip.Addr) bool { return reflect.DeepEqual(l, want[1:3]) })
	if !reflect.DeepEqual(a.List(), want[1:3]) {
		t.Errorf("List: %v", a.List())
	}
}
