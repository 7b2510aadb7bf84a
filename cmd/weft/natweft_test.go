package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// weftGateway is weft with one kind of uplink: "own" for an address of its own,
// "host" for the host's, "sockets" for sockets of the host.
type weftGateway struct {
	*weftProcess
	kind     string
	address  string // of the uplink
	ports    string // of the configuration file
	dir      string
	settings natSettings
	before   hostState // before weft came
}

func (g *weftGateway) start(t *testing.T, host *porttest.NS, guests []*porttest.NS, s natSettings) {
	t.Helper()
	g.address, g.dir, g.ports = outsideAddress, t.TempDir(), "      vm1: {type: tap}\n"
	for i, guest := range guests {
		port, cidr := fmt.Sprint("p", i+1), address(i+1)+"/24"
		if i == 1 {
			g.ports += fmt.Sprintf("      %s: {type: internal, netns: %s, interface: eth0, address: %s}\n", port, guest.Name, cidr)
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
	g.before = stateOf(t, host)
	g.settings = s
	g.weftProcess = newWeft(t, host, g.yaml())
	g.weftProcess.start()
}

// yaml returns the configuration file.
func (g *weftGateway) yaml() string {
	uplink := "{interface: wan0, address: " + g.kind + "}"
	if g.kind == "own" {
		uplink = fmt.Sprintf("{interface: wan0, address: %s/24, gateway: %s}", g.address, ispAddress)
	}
	nat, reach := []string{}, ""
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
		"    address: %s/24\n    mac: %q\n    dns: {enabled: false}\n    uplink: %s\n    nat: {%s}\n%s    ports:\n%s",
		g.dir, gatewayAddress, gatewayMAC, uplink, strings.Join(nat, ", "), reach, g.ports)
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
	g.address = addr
	if g.kind == "own" {
		g.apply(t, g.settings)
	} else {
		readdressHost(t, g.host, addr) // weft follows
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
