package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// natGateway is a gateway under test: weft in one of its ways to reach the
// internet, or, as the reference, the kernel.
type natGateway interface {
	// start joins the guests of its lab to it, and has it forward.
	start(t *testing.T, s natSettings)
	// apply changes the settings while it runs.
	apply(t *testing.T, s natSettings)
	// publish and unpublish change one thing of them.
	publish(t *testing.T, p published)
	unpublish(t *testing.T, p published)
	// readdress gives the uplink another address in place of the one it has.
	readdress(t *testing.T, addr string)
	stop(t *testing.T)
}

// natSettings are what the scripts have a gateway do.
type natSettings struct {
	publish   []published
	symmetric bool
	filtering string // as in the file; the kernel has "endpoint"
	// reach lets guests use the addresses of the host itself; the kernel always does.
	reach bool
	// short has the timeouts of UDP be shortUDP.
	short bool
}

// shortUDP is a time that a test can wait for.
const shortUDP = 2 * time.Second

// published is a port or a range of ports of the outside address, and whose port
// inside it is.
type published struct{ protocol, listen, to string }

// each calls f for every port.
func (p published) each(f func(port int, to netip.AddrPort)) {
	a, b, isRange := strings.Cut(p.listen, "-")
	first, _ := strconv.Atoi(a)
	last := first
	if isRange {
		last, _ = strconv.Atoi(b)
	}
	to := netip.MustParseAddrPort(p.to)
	for i := range last - first + 1 {
		f(first+i, netip.AddrPortFrom(to.Addr(), to.Port()+uint16(i)))
	}
}

// kernelGateway is Linux itself: a bridge, forwarding, and translation by nftables.
type kernelGateway struct {
	*natLab
	settings natSettings
}

func (k *kernelGateway) start(t *testing.T, s natSettings) {
	t.Helper()
	k.routes(t, k.host)
	if k.family == family4 {
		for key, value := range map[string]string{
			"all.rp_filter": "1", "default.rp_filter": "1", "all.send_redirects": "0", "default.send_redirects": "0",
		} {
			k.host.Sysctl(t, "net.ipv4.conf."+key, value)
		}
	}
	// A bridge that shows its frames to the firewall would turn what is hairpinned
	// back before it is routed.
	frames := "net.bridge.bridge-nf-call-" + k.of("iptables", "ip6tables")
	if _, err := k.host.TryRun("sysctl", frames); err == nil {
		k.host.Sysctl(t, frames, "0")
	}
	k.host.Run(t, "ip", "link", "add", "lan0", "address", gatewayMAC, "type", "bridge", "mcast_snooping", "0")
	k.host.Addr(t, "lan0", k.cidr(gatewayAddress+"/24"))
	k.host.Up(t, "lan0")
	k.host.Run(t, "ip", "tuntap", "add", "vm1", "mode", "tap", "vnet_hdr")
	k.host.Up(t, "vm1")
	k.host.Run(t, "ip", "link", "set", "vm1", "master", "lan0")
	for i, guest := range k.guests {
		port := fmt.Sprint("p", i+1)
		porttest.Veth(t, k.host, port, guest, "eth0")
		guest.Addr(t, "eth0", k.cidr(address(i+1)+"/24"))
		k.host.Run(t, "ip", "link", "set", port, "master", "lan0")
	}
	if k.family == family6 {
		hostDnsmasq(t, k.host, "--port=0", "--interface=lan0", "--except-interface=lo", "--enable-ra", "--dhcp-range=::,constructor:lan0,ra-only")
	}
	k.apply(t, s)
}

func (k *kernelGateway) apply(t *testing.T, s natSettings) {
	t.Helper()
	k.settings = s
	timeout := map[bool]string{false: "300", true: fmt.Sprint(int(shortUDP.Seconds()))}[s.short]
	k.host.Run(t, "nft", k.rules()) // makes the host's connection tracking, and its settings
	for _, key := range []string{"udp_timeout", "udp_timeout_stream"} {
		k.host.Sysctl(t, "net.netfilter.nf_conntrack_"+key, timeout)
	}
}

// rules returns the program of nft. What is hairpinned has the outside address
// as its source, and a segment's size follows the way that it takes. Mark 1 is what
// was published when it began. IPv6 has no filter of reverse paths in the kernel.
func (k *kernelGateway) rules() string {
	var in strings.Builder
	for _, p := range k.settings.publish {
		p.each(func(port int, to netip.AddrPort) {
			fmt.Fprintf(&in, "IP daddr %s %s dport %d ct mark set 1 dnat to %s;\n", k.place(to.Addr()), p.protocol, port, to)
		})
	}
	lan, random := k.cidr("10.0.0.0/24"), map[bool]string{true: " fully-random"}[k.settings.symmetric]
	out := fmt.Sprintf("IP saddr %[1]s IP daddr %[1]s ct mark 1 snat to %[2]s; IP saddr %[1]s oifname wan0 masquerade%[3]s", lan, k.out, random)
	switch k.through {
	case routed:
		out = ""
	case prefixed:
		fmt.Fprintf(&in, "IP daddr %s dnat IP prefix to %s\n", k.cidr(mappedSubnet), lan)
		out = fmt.Sprintf("IP saddr %s snat IP prefix to %s", lan, k.cidr(mappedSubnet))
	}
	return strings.ReplaceAll(fmt.Sprintf(`table IP lab; delete table IP lab; table IP lab {
		chain in { type nat hook prerouting priority dstnat; %s }
		chain out { type nat hook postrouting priority srcnat; %s
		}
		chain through { type filter hook forward priority filter;
			tcp flags syn tcp option maxseg size set rt mtu
			iifname wan0 ct state new ct mark != 1 drop
			iifname lan0 oifname wan0 IP saddr != %s drop
			iifname lan0 fib saddr type local drop
		}
	}`, in.String(), out, lan), "IP", k.of("ip", "ip6"))
}

// place returns where outside a guest is that something is published for. The kernel
// leaves the rest of an address as it is when it changes the prefix.
func (k *kernelGateway) place(guest netip.Addr) string {
	switch k.through {
	case masqueraded:
		return k.out
	case prefixed:
		a, prefix := guest.As16(), netip.MustParsePrefix(k.cidr(mappedSubnet)).Addr().As16()
		copy(a[:8], prefix[:8])
		return netip.AddrFrom16(a).String()
	}
	return guest.String()
}

func (k *kernelGateway) publish(t *testing.T, p published) {
	t.Helper()
	k.settings.publish = append(k.settings.publish[:len(k.settings.publish):len(k.settings.publish)], p)
	k.apply(t, k.settings)
}

func (k *kernelGateway) unpublish(t *testing.T, p published) {
	t.Helper()
	var left []published
	for _, one := range k.settings.publish {
		if one != p {
			left = append(left, one)
		}
	}
	k.settings.publish = left
	k.apply(t, k.settings)
}

func (k *kernelGateway) readdress(t *testing.T, addr string) {
	t.Helper()
	k.readdressHost(t, k.host, addr)
	k.out = addr
	k.apply(t, k.settings)
}

func (k *kernelGateway) stop(t *testing.T) {
	k.host.Run(t, "nft", "delete table "+k.of("ip", "ip6")+" lab")
}

// addressHost gives the host of a gateway an address of its own outside, and a
// way there.
func (n *internet) addressHost(t *testing.T, host *porttest.NS, addr string) {
	t.Helper()
	host.Addr(t, "wan0", fmt.Sprint(addr, "/", n.bits(24)))
	host.Run(t, "ip", "route", "replace", "default", "via", n.ip(ispAddress))
}

func (n *internet) readdressHost(t *testing.T, host *porttest.NS, addr string) {
	t.Helper()
	host.Run(t, "ip", n.ipv("address", "flush", "dev", "wan0", "scope", "global")...)
	n.addressHost(t, host, addr)
}
