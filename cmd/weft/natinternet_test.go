package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// Addresses of the internet that the tests of translation make: those of
// documentation (RFC 5737), in namespaces only. In a lab of IPv6 others stand for
// them, by family.ip.
const (
	outsideAddress = "198.51.100.2" // of the gateway under test
	movedAddress   = "198.51.100.3" // the one that it is given later
	ispAddress     = "198.51.100.1"
	nearAddress    = "198.51.100.9" // a neighbour on the same link
	servAddress    = "203.0.113.1"  // of isp, to the servers
	webAddress     = "203.0.113.10"
	ftpAddress     = "203.0.113.11"
	dnsAddress     = "203.0.113.12"
	stunAddress    = "203.0.113.13"
	stunOther      = "203.0.113.14" // of the same server
	iperfAddress   = "203.0.113.15"
	r2Address      = "203.0.113.2"
	r3Address      = "192.0.2.130"
	farAddress     = "192.0.2.10"
	nowhere        = "192.0.3.1"  // isp knows no way there
	nameAddress    = "192.0.2.77" // of name.test

	mappedSubnet = "198.18.5.0/24" // what guests are in outside where their prefix is translated

	narrowMTU = 1280 // of the link between the two routers before far
)

// internet is what lies beyond a gateway under test:
//
//	host wan0 ── gw0 ┐              ┌ web ftp dns stun iperf
//	      near eth0 ─┴ wan isp srv ─┴ r2 ══ MTU 1280 ══ r3 ── far
//
// It is of one family, and knows no way to the addresses inside: what leaves
// untranslated gets no answer.
type internet struct {
	family
	isp, near, web, ftp, dns, stun, iperf, r2, r3, far *porttest.NS

	data *webServer // in web; far has one with the same content
}

func newInternet(t *testing.T, f family) *internet {
	t.Helper()
	n := &internet{family: f}
	for label, ns := range map[string]**porttest.NS{
		"isp": &n.isp, "near": &n.near, "web": &n.web, "ftp": &n.ftp, "dns": &n.dns,
		"stun": &n.stun, "iperf": &n.iperf, "r2": &n.r2, "r3": &n.r3, "far": &n.far,
	} {
		*ns = porttest.NewNS(t, label)
		n.prepare(t, *ns)
	}
	for _, router := range []*porttest.NS{n.isp, n.r2, n.r3} {
		n.routes(t, router)
	}
	n.bridge(t, "wan", ispAddress)
	n.bridge(t, "srv", servAddress)
	n.join(t, "wan", "near0", n.near, nearAddress)
	for i, s := range []struct {
		ns   *porttest.NS
		addr string
	}{
		{n.web, webAddress}, {n.ftp, ftpAddress}, {n.dns, dnsAddress}, {n.stun, stunAddress}, {n.iperf, iperfAddress}, {n.r2, r2Address},
	} {
		n.join(t, "srv", fmt.Sprint("s", i), s.ns, s.addr)
		s.ns.Run(t, "ip", "route", "add", "default", "via", n.ip(servAddress))
	}
	n.stun.Addr(t, "eth0", n.cidr(stunOther+"/24"))
	n.near.Run(t, "ip", "route", "add", "default", "via", n.ip(ispAddress))
	n.beyond(t)
	n.serve(t)
	return n
}

// bridge makes a link of the router isp that several hosts are on.
func (n *internet) bridge(t *testing.T, name, addr string) {
	t.Helper()
	n.isp.Run(t, "ip", "link", "add", name, "type", "bridge", "mcast_snooping", "0")
	n.isp.Addr(t, name, n.cidr(addr+"/24"))
	n.isp.Up(t, name)
}

// join puts eth0 of a host on a link of isp.
func (n *internet) join(t *testing.T, link, port string, ns *porttest.NS, addr string) {
	t.Helper()
	porttest.Veth(t, n.isp, port, ns, "eth0")
	n.isp.Run(t, "ip", "link", "set", port, "master", link)
	ns.Addr(t, "eth0", n.cidr(addr+"/24"))
}

// beyond makes the way to far, whose narrow part is between two routers: neither
// end knows of it before it is told.
func (n *internet) beyond(t *testing.T) {
	t.Helper()
	const down = "192.0.2.129"
	porttest.Veth(t, n.r2, "down0", n.r3, "up0", porttest.VethMTU(narrowMTU))
	n.r2.Addr(t, "down0", n.cidr(down+"/30"))
	n.r3.Addr(t, "up0", n.cidr(r3Address+"/30"))
	porttest.Veth(t, n.r3, "far0", n.far, "eth0")
	n.r3.Addr(t, "far0", n.cidr("192.0.2.1/25"))
	n.far.Addr(t, "eth0", n.cidr(farAddress+"/25"))
	n.far.Run(t, "ip", "route", "add", "default", "via", n.ip("192.0.2.1"))
	n.r3.Run(t, "ip", "route", "add", "default", "via", n.ip(down))
	n.r2.Run(t, "ip", "route", "add", n.cidr("192.0.2.0/25"), "via", n.ip(r3Address))
	n.isp.Run(t, "ip", "route", "add", n.cidr("192.0.2.0/24"), "via", n.ip(r2Address))
}

// serve starts the servers that all scripts share.
func (n *internet) serve(t *testing.T) {
	t.Helper()
	n.data = startWeb(t, n.web, n.at(webAddress, 80), webData())
	startWeb(t, n.far, n.at(farAddress, 80), n.data.data)
	startEcho(t, n.web, n.at(webAddress, 7))
	startEcho(t, n.near, n.at(nearAddress, 7))
	startEcho(t, n.far, n.at(farAddress, 7))
	n.startFTP(t, n.ftp, n.data.data)
	hostDnsmasq(t, n.dns, "--interface=eth0", "--except-interface=lo", "--address=/name.test/"+n.ip(nameAddress))
	n.iperf.Start(t, "iperf3", "-s", "--forceflush").WaitOutput(t, "Server listening", 30*time.Second)
	n.stun.Start(t, "turnserver", "-n", "-S", "-z", "--no-tls", "--no-dtls", "--no-cli", "--log-file=stdout",
		"--pidfile="+t.TempDir()+"/pid", "--userdb="+t.TempDir()+"/db", "-L", n.ip(stunAddress), "-L", n.ip(stunOther))
	for _, addr := range []string{stunAddress, stunOther} {
		eventually(t, "the STUN server answers", func() bool {
			out, err := n.stun.TryRun("timeout", "2", "turnutils_stunclient", n.ip(addr))
			return err == nil && strings.Contains(out, "UDP reflexive addr")
		})
	}
}

// plug joins the gateway under test to the link to isp, as wan0.
func (n *internet) plug(t *testing.T, host *porttest.NS) {
	t.Helper()
	porttest.Veth(t, host, "wan0", n.isp, "gw0")
	n.isp.Run(t, "ip", "link", "set", "gw0", "master", "wan")
}

// wire sees what the gateway under test sends out.
func (n *internet) wire(t *testing.T) *porttest.RawConn {
	t.Helper()
	return n.isp.RawConn(t, "gw0")
}
