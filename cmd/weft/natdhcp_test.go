package main

import (
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// dhcpGateway is weft with an uplink that asks for its address.
type dhcpGateway struct {
	weftGateway
	isp    *porttest.NS
	leases string
	server *porttest.Process
}

func newDHCPGateway(t *testing.T, l *natLab) *dhcpGateway {
	t.Helper()
	g := &dhcpGateway{weftGateway: weftGateway{kind: "dhcp"}, isp: l.isp, leases: t.TempDir() + "/leases"}
	g.serve(t, l.host.Link(t, "wan0").Attrs().HardwareAddr.String(), outsideAddress)
	return g
}

// serve has dnsmasq give an address to the uplink, and to nobody else.
func (g *dhcpGateway) serve(t *testing.T, mac, addr string) {
	t.Helper()
	if g.server != nil {
		g.server.Kill()
	}
	g.server = hostDnsmasq(t, g.isp, "--port=0", "--interface=wan", "--except-interface=lo", "--dhcp-range="+addr+",static,255.255.255.0,2m",
		"--dhcp-host="+mac+","+addr, "--dhcp-option=3,"+ispAddress, "--dhcp-leasefile="+g.leases, "--dhcp-authoritative", "--no-ping")
}

// readdress has the server give another address to a client whose link was away for
// a moment, as it asks again then (RFC 2131 clause 4.4.2).
func (g *dhcpGateway) readdress(t *testing.T, addr string) {
	t.Helper()
	g.serve(t, g.host.Link(t, "wan0").Attrs().HardwareAddr.String(), addr)
	g.isp.Down(t, "gw0")
	time.Sleep(time.Second)
	g.isp.Up(t, "gw0")
}

// TestNATByDHCP has guests use the internet by an address from a DHCP server.
func TestNATByDHCP(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // the scripts wait more than they work
	l := newNATLab(t, "dhcp")
	for _, script := range []struct {
		name string
		run  func(*testing.T, *natLab)
	}{
		{"HTTP", natHTTP},
		{"published", natPublished},
		{"carrier lost", natCarrierLost},
		{"uplink down", natUplinkDown},
		{"another address", natReaddressed},
	} {
		t.Run(script.name, func(t *testing.T) { script.run(t, l) })
	}
	l.gateway.stop(t)
}
