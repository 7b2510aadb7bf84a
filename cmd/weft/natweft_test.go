package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// weftGateway is weft with one kind of uplink: "own" for an address of its own,
// "host" for the host's, "sockets" for sockets of the host, or one that asks for its
// address.
type weftGateway struct {
	*weftProcess
	lab      *natLab
	ports    string // of the configuration file
	dir      string
	settings natSettings
}

func (g *weftGateway) start(t *testing.T, s natSettings) {
	t.Helper()
	host := g.lab.host
	g.dir, g.ports = t.TempDir(), "      vm1: {type: tap}\n"
	for i, guest := range g.lab.guests {
		port, cidr := fmt.Sprint("p", i+1), g.lab.cidr(address(i+1)+"/24")
		if i == 1 {
			g.ports += fmt.Sprintf("      %s: {type: internal, netns: %s, interface: eth0, address: %q}\n", port, guest.Name, cidr)
			continue
		}
		var options []porttest.VethOption
		if i == 2 {
			options = append(options, porttest.VethOffloadsOff())
		}
		porttest.Veth(t, host, port, guest, "eth0", options...)
		guest.Addr(t, "eth0", cidr)
		g.ports += fmt.Sprintf("      %s: {type: raw}\n", port)
	}
	g.lab.before = g.lab.stateOf(t)
	g.settings = s
	g.weftProcess = newWeft(t, host, g.yaml())
	g.weftProcess.start()
}

// uplink returns how the file has it.
func (g *weftGateway) uplink() string {
	if g.lab.is("own") {
		return fmt.Sprintf(`{interface: wan0, address: "%s/%d", gateway: %q}`, g.lab.out, g.lab.bits(24), g.lab.ip(ispAddress))
	}
	return "{interface: wan0, address: " + g.lab.kind + "}"
}

// yaml returns the configuration file.
func (g *weftGateway) yaml() string {
	nat, reach := []string{}, ""
	switch g.lab.through {
	case routed:
		nat = append(nat, "ipv6: route")
	case prefixed:
		nat = append(nat, fmt.Sprintf("ipv6: %q", g.lab.cidr(mappedSubnet)))
	}
	if g.settings.reach {
		reach = "    reach: [host]\n"
	}
	if g.settings.symmetric {
		nat = append(nat, "mapping: symmetric")
	}
	if f := g.settings.filtering; f != "" {
		nat = append(nat, "filtering: "+f)
	}
	if g.settings.short {
		nat = append(nat, fmt.Sprintf("timeouts: {udp: %v}", shortUDP))
	}
	var publish []string
	for _, p := range g.settings.publish {
		publish = append(publish, fmt.Sprintf("{protocol: %s, listen: %q, to: %q}", p.protocol, p.listen, p.to))
	}
	nat = append(nat, "publish: ["+strings.Join(publish, ", ")+"]")
	return fmt.Sprintf("metrics: {listen: \"off\"}\nlease_file: %s/leases.db\nnetworks:\n  lan:\n    forward: nat\n"+
		"    address: %q\n    mac: %q\n    dns: {enabled: false}\n    uplink: %s\n    nat: {%s}\n%s    ports:\n%s",
		g.dir, g.lab.cidr(gatewayAddress+"/24"), gatewayMAC, g.uplink(), strings.Join(nat, ", "), reach, g.ports)
}

func (g *weftGateway) apply(t *testing.T, s natSettings) {
	t.Helper()
	g.settings = s
	g.write(g.yaml())
	g.host.Run(t, g.bin, "apply", g.config, "--socket", g.socket)
}

func (g *weftGateway) publish(t *testing.T, p published) {
	t.Helper()
	g.host.Run(t, g.bin, "publish", "add", "lan", p.listen, p.to, "--protocol", p.protocol, "--socket", g.socket)
}

func (g *weftGateway) unpublish(t *testing.T, p published) {
	t.Helper()
	g.host.Run(t, g.bin, "publish", "rm", "lan", p.listen, "--protocol", p.protocol, "--socket", g.socket)
}

func (g *weftGateway) readdress(t *testing.T, addr string) {
	t.Helper()
	g.lab.out = addr
	if g.lab.is("own") {
		g.apply(t, g.settings)
	} else {
		g.lab.readdressHost(t, g.host, addr) // weft follows
	}
}

func (g *weftGateway) stop(t *testing.T) {
	t.Helper()
	select {
	case <-g.Exited():
		t.Error("weft has ended already")
	default:
		g.weftProcess.stop()
	}
}
