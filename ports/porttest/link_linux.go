package porttest

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link returns an interface of the namespace by its name.
func (ns *NS) Link(t testing.TB, ifname string) netlink.Link {
	t.Helper()
	link, err := ns.link.LinkByName(ifname)
	if err != nil {
		t.Fatalf("interface %s in namespace %s: %v", ifname, ns.Name, err)
	}
	return link
}

// Up brings an interface up.
func (ns *NS) Up(t testing.TB, ifname string) {
	t.Helper()
	if err := ns.link.LinkSetUp(ns.Link(t, ifname)); err != nil {
		t.Fatalf("bring up %s in namespace %s: %v", ifname, ns.Name, err)
	}
}

// Down takes an interface down.
func (ns *NS) Down(t testing.TB, ifname string) {
	t.Helper()
	if err := ns.link.LinkSetDown(ns.Link(t, ifname)); err != nil {
		t.Fatalf("take down %s in namespace %s: %v", ifname, ns.Name, err)
	}
}

// Delete removes an interface.
func (ns *NS) Delete(t testing.TB, ifname string) {
	t.Helper()
	if err := ns.link.LinkDel(ns.Link(t, ifname)); err != nil {
		t.Fatalf("remove %s in namespace %s: %v", ifname, ns.Name, err)
	}
}

// MTU sets the MTU of an interface, in bytes of IP packet.
func (ns *NS) MTU(t testing.TB, ifname string, mtu int) {
	t.Helper()
	if err := ns.link.LinkSetMTU(ns.Link(t, ifname), mtu); err != nil {
		t.Fatalf("set MTU of %s in namespace %s: %v", ifname, ns.Name, err)
	}
}

// Addr gives an interface an address such as 10.0.0.1/24 or fd00::1/64. An IPv6
// address is usable at once: it skips duplicate address detection (RFC 4862
// section 5.4), which would hold it back for a second.
func (ns *NS) Addr(t testing.TB, ifname, cidr string) {
	t.Helper()
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatalf("address %q: %v", cidr, err)
	}
	if addr.IP.To4() == nil {
		addr.Flags = unix.IFA_F_NODAD
	}
	if err := ns.link.AddrAdd(ns.Link(t, ifname), addr); err != nil {
		t.Fatalf("add %s to %s in namespace %s: %v", cidr, ifname, ns.Name, err)
	}
}

// OffloadsOff switches checksum and segmentation offloads of an interface off,
// as `ethtool -K IF rx off tx off tso off gso off gro off` does: its own stack
// then sends finished frames of at most one MTU.
func (ns *NS) OffloadsOff(t testing.TB, ifname string) {
	t.Helper()
	ns.Do(func() {
		if err := offloadsOff(ifname); err != nil {
			t.Fatalf("offloads of %s in namespace %s: %v", ifname, ns.Name, err)
		}
	})
}

// VethOption changes what Veth makes.
type VethOption func(*vethConfig)

type vethConfig struct {
	mtu         int
	offloadsOff bool
}

// VethMTU sets the MTU of both ends, in bytes of IP packet.
func VethMTU(mtu int) VethOption { return func(c *vethConfig) { c.mtu = mtu } }

// VethOffloadsOff switches the offloads of both ends off; see NS.OffloadsOff.
func VethOffloadsOff() VethOption { return func(c *vethConfig) { c.offloadsOff = true } }

// Veth joins two namespaces by a veth pair and brings both ends up. a and b may
// be the same namespace. The pair goes with its namespaces.
func Veth(t testing.TB, a *NS, aName string, b *NS, bName string, options ...VethOption) {
	t.Helper()
	c := vethConfig{mtu: 1500}
	for _, o := range options {
		o(&c)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = aName, c.mtu
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerMTU: uint32(c.mtu), PeerNamespace: netlink.NsFd(b.handle)}
	if err := a.link.LinkAdd(pair); err != nil {
		t.Fatalf("make veth %s/%s - %s/%s: %v", a.Name, aName, b.Name, bName, err)
	}
	if c.offloadsOff {
		a.OffloadsOff(t, aName)
		b.OffloadsOff(t, bName)
	}
	a.Up(t, aName)
	b.Up(t, bName)
}
