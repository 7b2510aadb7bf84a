package main

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// delegating are settings of a network whose routers get prefixes.
const delegating = both + `ra: {lifetime: 1800s}
dhcp6: {range: "` + pool6 + `", lease: 2m, delegate: [{prefix: "2001:db8:100::/48", length: 56}]}
dns: {domain: lab, upstream: none}
`

const pool56 = "2001:db8:100::/48"

// delegated is a router in the network, with a host behind it: h1 with an interface
// lan0 to the host inside.
type delegated struct {
	*served
	router, inner, other *porttest.NS
	client               *realClient
	prefix               netip.Prefix // what the router has got
	addr                 string       // of the host inside
}

// routerKinds are clients that ask for a prefix, and give lan0 the second subnet of
// it.
func routerKinds() []clientKind {
	return []clientKind{{
		name: "dhcp6c",
		files: map[string]string{"conf": `interface eth0 { send ia-na 0; send ia-pd 0; request domain-name-servers; script "DIR/script"; };
id-assoc na 0 { };
id-assoc pd 0 { prefix-interface lan0 { sla-id 1; sla-len 8; ifid 1; }; };
`},
		command: dhcp6c,
		release: func(c *realClient) { c.Signal(c.t, syscall.SIGTERM) },
	}, {
		name: "dhcpcd",
		files: map[string]string{"conf": `ipv6only
duid
nodev
allowinterfaces eth0 lan0
interface eth0
ia_na 1
ia_pd 2 lan0/1/64/1
`},
		command: []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && mount --bind DIR /var/lib/dhcpcd &&" +
			" exec dhcpcd -6 -B -d -f DIR/conf -c DIR/script eth0 lan0"},
		release: func(c *realClient) { c.Signal(c.t, syscall.SIGALRM) },
	}}
}

// newDelegated starts a router and waits until it has what it wants.
func newDelegated(t *testing.T, kind clientKind) *delegated {
	t.Helper()
	d := &delegated{served: newServed6(t, delegating, "raw", "internal"), inner: porttest.NewNS(t, "inner")}
	d.router, d.other = d.hosts[0], d.hosts[1]
	porttest.Veth(t, d.router, "lan0", d.inner, "eth0")
	d.router.Sysctl(t, "net.ipv6.conf.eth0.accept_ra", "2") // although it is a router
	d.router.Sysctl(t, "net.ipv6.conf.all.forwarding", "1")
	address6(t, d.router, subnet6)
	d.client = startClient6(t, kind, d.router)
	var lan0 string
	eventually(t, "lan0 has an address of a delegated prefix", func() bool {
		lan0 = strings.Split(global6(t, d.router, "lan0")+" ", " ")[0]
		return lan0 != ""
	})
	subnet := netip.MustParsePrefix(lan0)
	if subnet.Bits() != 64 || subnet.Addr().AsSlice()[7] != 1 {
		t.Fatalf("lan0 has %s, want the second subnet of a prefix", lan0)
	}
	d.prefix = netip.PrefixFrom(subnet.Addr(), 56).Masked()
	if !netip.MustParsePrefix(pool56).Overlaps(d.prefix) {
		t.Fatalf("lan0 has %s, want one of %s", lan0, pool56)
	}
	inside := subnet.Addr().Next().As16()
	inside[15] = 9
	d.addr = netip.AddrFrom16(inside).String()
	d.inner.Addr(t, "eth0", d.addr+"/64")
	d.inner.Run(t, "ip", "-6", "route", "add", "default", "via", subnet.Addr().String())
	return d
}

// crosses checks that the prefix is reached from the network, and the network from
// there. The gateway itself is for stations of the network alone.
func (d *delegated) crosses(t *testing.T) {
	t.Helper()
	other := address6(t, d.other, subnet6)
	porttest.Ping(t, d.other, d.addr)
	porttest.Ping(t, d.inner, other)
	porttest.TCPTransfer(t, d.other, d.inner, d.addr, 1<<20)
	porttest.TCPTransfer(t, d.inner, d.other, other, 1<<20)
}

// A router inside gets a prefix, which is really routed to it and back, also after a
// kill without a word of the router's, and until it gives it back.
func TestDelegatedPrefix(t *testing.T) {
	for _, kind := range routerKinds() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := newDelegated(t, kind)
			v := d.leases().waitLease(d.prefix.String(), "active")
			if v.MAC != hardwareOf(t, d.router) || v.Port != "p1" || v.IAID == nil || v.Kind != "dynamic" {
				t.Errorf("lease: %+v", v)
			}
			d.crosses(t)
			out := d.other.Run(t, "traceroute", "-6", "-n", "-q", "1", "-w", "5", "-m", "4", d.addr)
			if hops := strings.Split(strings.TrimSpace(out), "\n"); len(hops) != 4 || !strings.Contains(hops[1], " "+gateway6+" ") ||
				!strings.Contains(hops[3], " "+d.addr+" ") {
				t.Errorf("the way into the prefix:\n%s", out)
			}
			if p := d.network().DHCP6.Delegated; len(p) != 1 || p[0].Used != 1 || p[0].Size != 256 || p[0].Length != 56 {
				t.Errorf("network show: %+v", p)
			}
			d.Kill()
			d.start()
			if kind.name == "dhcpcd" { // it hears of no signal any more
				d.client.Kill()
				d.client.skip()
				d.client.start()
				d.client.wait("REBOOT6", "REBIND6", "BOUND6")
			}
			d.crosses(t)
			d.leases().waitLease(d.prefix.String(), "active")

			d.client.release(d.client)
			d.leases().waitLease(d.prefix.String(), "expired")
			d.gone(t)
		})
	}
}

// gone checks that the prefix, and another one that nobody has, lead nowhere.
func (d *delegated) gone(t *testing.T) {
	t.Helper()
	free := d.prefix.Addr().As16()
	free[6]++
	for _, to := range []string{d.addr, netip.AddrFrom16(free).Next().String()} {
		eventually(t, "nobody has a way to "+to, func() bool {
			out, err := d.other.TryRun("ping", "-6", "-n", "-c", "1", "-w", "2", to)
			return err != nil && strings.Contains(out, "From "+gateway6) && strings.Contains(out, "Destination unreachable")
		})
	}
}

// A prefix leaves with an address of it alone from the port that its router is at:
// others cannot speak from it. It ends with its time, or by hand.
func TestDelegatedPrefixByHand(t *testing.T) {
	t.Parallel()
	s := newServed6(t, delegating, "raw", "raw")
	w := newWire6(t, s.hosts[0])
	router := w.client(1)
	router.obtain(router.wantsAddress(), router.wantsPrefix())
	if router.address == "" || !strings.HasSuffix(router.prefix, "::/56") {
		t.Fatalf("got %q and %q", router.address, router.prefix)
	}
	var text string
	eventually(t, "both leases are shown", func() bool {
		text = s.do("lease", "list", "lan")
		return strings.Contains(text, router.address+" ") && strings.Contains(text, router.prefix+" ")
	})
	first := router.prefix
	router.renews(5)
	router.renews(6)

	// A wish for a prefix that is free is granted, one for another's is not.
	wish := netip.MustParsePrefix(first).Addr().As16()
	wish[6] ^= 0x55
	other := w.client(2)
	other.obtain(other.wantsPrefix(netip.AddrFrom16(wish).String() + "/56"))
	if want := netip.AddrFrom16(wish).String() + "/56"; other.prefix != want {
		t.Errorf("wanted %s, got %s", want, other.prefix)
	}
	third := w.client(3)
	if third.obtain(third.wantsPrefix(first)); third.prefix == first || third.prefix == "" {
		t.Errorf("the prefix of another was given: %q", third.prefix)
	}

	s.do("lease", "release", "lan", first)
	if v, _ := s.leases().leaseOf(first); v.State != "expired" {
		t.Errorf("released by hand: %+v", v)
	}
	s.fails(first, "lease", "release", "lan", first)
	other.tells(8) // RELEASE
	s.leases().waitLease(other.prefix, "expired")
	show := s.do("lease", "show", "lan", third.prefix)
	for _, want := range []string{third.prefix, third.mac.String(), "00:03:00:01:" + third.mac.String(), "IAID", "active", "p1"} {
		if !strings.Contains(show, want) {
			t.Errorf("lease show lacks %s:\n%s", want, show)
		}
	}
	for name, want := range map[string]string{"active": "2", "expired": "2"} {
		metric := fmt.Sprintf(`weft_dhcp6_leases{network="lan",state="%s"} %s`, name, want)
		if out := s.host.Run(t, "curl", "-sS", "http://127.0.0.1:9820/metrics"); !strings.Contains(out, metric) {
			t.Errorf("metrics lack %s", metric)
		}
	}
}
