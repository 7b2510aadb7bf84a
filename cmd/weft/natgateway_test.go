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
	// start joins the guests to it, and has it forward.
	start(t *testing.T, host *porttest.NS, guests []*porttest.NS, s natSettings)
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

// kernelGateway is Linux itself: a bridge, forwarding, and masquerading by
// nftables.
type kernelGateway struct {
	host     *porttest.NS
	address  string
	settings natSettings
}

func (k *kernelGateway) start(t *testing.T, host *porttest.NS, guests []*porttest.NS, s natSettings) {
	t.Helper()
	k.host, k.address = host, outsideAddress
	for key, value := range map[string]string{
		"ip_forward": "1", "conf.all.rp_filter": "1", "conf.default.rp_filter": "1", "icmp_ratelimit": "0",
		"conf.all.send_redirects": "0", "conf.default.send_redirects": "0",
	} {
		host.Sysctl(t, "net.ipv4."+key, value)
	}
	// A bridge that shows its frames to the firewall would turn what is hairpinned
	// back before it is routed.
	if _, err := host.TryRun("sysctl", "net.bridge.bridge-nf-call-iptables"); err == nil {
		host.Sysctl(t, "net.bridge.bridge-nf-call-iptables", "0")
	}
	host.Run(t, "ip", "link", "add", "lan0", "address", gatewayMAC, "type", "bridge", "mcast_snooping", "0")
	host.Addr(t, "lan0", gatewayAddress+"/24")
	host.Up(t, "lan0")
	host.Run(t, "ip", "tuntap", "add", "vm1", "mode", "tap", "vnet_hdr")
	host.Up(t, "vm1")
	host.Run(t, "ip", "link", "set", "vm1", "master", "lan0")
	for i, guest := range guests {
		port := fmt.Sprint("p", i+1)
		porttest.Veth(t, host, port, guest, "eth0")
		guest.Addr(t, "eth0", address(i+1)+"/24")
		host.Run(t, "ip", "link", "set", port, "master", "lan0")
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
// as its source, and a segment's size follows the way that it takes.
func (k *kernelGateway) rules() string {
	var publish strings.Builder
	for _, p := range k.settings.publish {
		p.each(func(port int, to netip.AddrPort) {
			fmt.Fprintf(&publish, "ip daddr %s %s dport %d dnat to %s;\n", k.address, p.protocol, port, to)
		})
	}
	masquerade := "masquerade"
	if k.settings.symmetric {
		masquerade = "masquerade fully-random"
	}
	return fmt.Sprintf(`table ip lab; delete table ip lab; table ip lab {
		chain in { type nat hook prerouting priority dstnat; %s }
		chain out { type nat hook postrouting priority srcnat;
			ip saddr 10.0.0.0/24 ip daddr 10.0.0.0/24 ct status dnat snat to %s
			ip saddr 10.0.0.0/24 oifname wan0 %s
		}
		chain through { type filter hook forward priority filter;
			tcp flags syn tcp option maxseg size set rt mtu
			iifname wan0 ct state new ct status & dnat == 0 drop
			iifname lan0 oifname wan0 ip saddr != 10.0.0.0/24 drop
		}
	}`, publish.String(), k.address, masquerade)
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
	readdressHost(t, k.host, addr)
	k.address = addr
	k.apply(t, k.settings)
}

func (k *kernelGateway) stop(t *testing.T) { k.host.Run(t, "nft", "delete table ip lab") }

// addressHost gives the host of a gateway an address of its own outside, and a
// way there.
func addressHost(t *testing.T, host *porttest.NS, addr string) {
	t.Helper()
	host.Addr(t, "wan0", addr+"/24")
	host.Run(t, "ip", "route", "replace", "default", "via", ispAddress)
}

func readdressHost(t *testing.T, host *porttest.NS, addr string) {
	t.Helper()
	host.Run(t, "ip", "address", "flush", "dev", "wan0")
	addressHost(t, host, addr)
}
