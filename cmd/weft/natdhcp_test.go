package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// askingGateway is weft with an uplink that is told its address: by DHCP ("dhcp"), by
// DHCPv6 ("dhcp6"), or by the router, as SLAAC has it ("slaac").
type askingGateway struct {
	weftGateway
	dir    string // of the server
	mac    frame.MAC
	server *porttest.Process
}

// movedSubnet is where the uplink gets its other address by IPv6. In the same subnet a
// client would confirm the one that it has (RFC 8415 clause 18.2.3), or make the same.
const movedSubnet = "198.51.101.0/24"

func newAskingGateway(t *testing.T, l *natLab) *askingGateway {
	t.Helper()
	g := &askingGateway{weftGateway: weftGateway{lab: l}, dir: t.TempDir(), mac: frame.MAC(l.host.Link(t, "wan0").Attrs().HardwareAddr)}
	l.isp.Addr(t, "wan", l.cidr("198.51.101.1/24"))
	g.serve(t, l.ip(outsideAddress))
	return g
}

// serve has dnsmasq give an address to the uplink. A subnet of before is no longer to
// be used by SLAAC.
func (g *askingGateway) serve(t *testing.T, addr string) {
	t.Helper()
	l, args := g.lab, []string{"--port=0", "--interface=wan", "--except-interface=lo", "--enable-ra"}
	now, before := netip.MustParsePrefix(l.cidr("198.51.100.0/24")), netip.MustParsePrefix(l.cidr(movedSubnet))
	if addr == l.ip(movedAddress) && l.family == family6 {
		now, before, addr = before, now, l.ip("198.51.101.3")
	}
	if g.server != nil {
		g.server.Kill()
		if l.kind == "slaac" {
			args = append(args, "--dhcp-range="+before.Addr().String()+",ra-only,64,deprecated")
		}
	}
	switch l.out = addr; l.kind {
	case "dhcp":
		args = append(args, "--dhcp-range="+addr+",static,255.255.255.0,2m", "--dhcp-host="+g.mac.String()+","+addr,
			"--dhcp-option=3,"+ispAddress, "--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+g.dir+"/"+addr)
	case "dhcp6":
		args = append(args, "--dhcp-range="+addr+","+addr+",64,2m", "--dhcp-leasefile="+g.dir+"/"+addr)
	case "slaac":
		l.out = ndp.FromPrefix(now, g.mac).String()
		args = append(args, "--dhcp-range="+now.Addr().String()+",ra-only,64,2m")
	}
	g.server = hostDnsmasq(t, l.isp, args...)
}

// readdress has the server give another address to a client whose link was away for
// a moment, as it asks again then (RFC 2131 clause 4.4.2, RFC 4861 clause 6.3.7).
func (g *askingGateway) readdress(t *testing.T, addr string) {
	t.Helper()
	g.serve(t, addr)
	g.lab.isp.Down(t, "gw0")
	time.Sleep(time.Second)
	g.lab.isp.Up(t, "gw0")
}

// TestNATByDHCP has guests use the internet by an address that the uplink has asked
// for.
func TestNATByDHCP(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // the scripts wait more than they work
	together(t, map[string]func(*testing.T){
		"dhcp":  func(t *testing.T) { byDHCP(t, family4, "dhcp") },
		"dhcp6": func(t *testing.T) { byDHCP(t, family6, "dhcp6") },
		"slaac": func(t *testing.T) { byDHCP(t, family6, "slaac") },
	})
}

func byDHCP(t *testing.T, f family, kind string) {
	t.Helper()
	newNATLab(t, f, kind, masqueraded).play(t, []natScript{
		{"HTTP", natHTTP, ""},
		{"published", natPublished, ""},
		{"carrier lost", natCarrierLost, ""},
		{"uplink down", natUplinkDown, ""},
		{"another address", natReaddressed, ""},
		{"host untouched", natHostUntouched, ""},
	})
}
