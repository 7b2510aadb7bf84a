package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/ports/porttest"
)

// A subnet that the host uses by another interface is told of at the start, by
// status, by a dry run and by whatever makes it so; any other is not.
func TestSubnetOfTheHost(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	host.Run(t, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
	host.Run(t, "ip", "link", "set", "v1", "up")
	host.Run(t, "ip", "address", "add", "10.50.0.9/24", "dev", "v0")
	host.Run(t, "ip", "link", "set", "v0", "up")
	const note = `network "lan": this host uses 10.50.0.0/24 by v0 too, and can reach only one of the two there: give the network another address, or take its host_port away`
	const clash = "metrics: {listen: \"off\"}\nlease_file: /run/leases.db\nnetworks: {lan: {address: 10.50.0.1/24, host_port: weft-lan}}\n"
	w := startWeft(t, host, clash)
	if !strings.Contains(w.Output(), "weft: "+note+"\n") {
		t.Errorf("not said at the start:\n%s", w.Output())
	}
	status := func() string { return strings.Join(strings.Fields(w.do("status")), " ") }
	if got := status(); !strings.Contains(got, "Note: "+note) {
		t.Errorf("not in status: %s", got)
	}
	if out := w.do("apply", w.config); out != "no changes\n" {
		t.Errorf("apply of the same:\n%s", out)
	}
	if strings.Contains(w.Output(), `msg="port up" detail=""`) || strings.Contains(w.Output(), `detail=""`) {
		t.Errorf("an empty detail in the log:\n%s", w.Output())
	}

	quiet := strings.Replace(clash, "10.50.0.1", "10.51.0.1", 1)
	w.write(quiet)
	w.do("apply", w.config)
	if got := status(); strings.Contains(got, "this host uses") {
		t.Errorf("still in status: %s", got)
	}
	said := func() int { return strings.Count(w.Output(), note) }
	before := said()
	w.write(clash)
	if out := w.do("apply", w.config, "--dry-run"); !strings.Contains(out, "note: "+note+"\n") || said() != before {
		t.Errorf("dry run:\n%s", out)
	}
	if out := w.do("apply", w.config); !strings.Contains(out, "note: "+note+"\n") || said() != before+1 {
		t.Errorf("apply:\n%s\n%s", out, w.Output())
	}
	w.do("network", "set", "lan", "address=10.51.0.1/24")
	w.do("network", "set", "lan", "address=10.50.0.1/24")
	if said() != before+2 {
		t.Errorf("network set:\n%s", w.Output())
	}
	w.do("network", "set", "lan", "host_port=")
	if got := status(); strings.Contains(got, "this host uses") {
		t.Errorf("without a host_port: %s", got)
	}
}

// What a command is refused for is named as the command has it, and a
// configuration that was changed by commands is printed as one that is applied
// without a change.
func TestCommandsInTheirOwnWords(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	hosts := filepath.Join(t.TempDir(), "hosts.dhcp")
	if err := os.WriteFile(hosts, []byte("02:00:00:00:00:33,three,10.0.0.33\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := startWeft(t, host, "metrics: {listen: \"off\"}\nlease_file: "+filepath.Join(t.TempDir(), "leases.db")+
		"\nnetworks: {lan: {address: 10.0.0.1/24, dhcp: {range: 10.0.0.50-10.0.0.99, hosts_file: "+hosts+"}}, other: {address: 10.1.0.1/24, host_port: w}}\n")
	const mac = "02:00:00:00:00:07"
	w.fails(`weft: network "lan": address: 10.0.0.1 is the address of the gateway: `, "lease", "add", "lan", "--mac", mac, "--address", "10.0.0.1")
	w.fails(`weft: network "lan": lease: 400d is out of range: `, "lease", "add", "lan", "--mac", mac, "--name", "a", "--lease", "400d")
	w.fails(`weft: network "lan": name: "a.b" has a dot`, "lease", "add", "lan", "--mac", mac, "--name", "a.b")
	w.do("lease", "add", "lan", "--mac", mac, "--lease", "infinite")
	w.do("lease", "rm", "lan", mac)
	w.do("lease", "add", "lan", "--client-id", "vm-7", "--address", "10.0.0.20")
	w.fails("vm-8", "lease", "rm", "lan", "vm-8")
	w.do("lease", "rm", "lan", "vm-7")
	w.fails("is reserved in the hosts_file "+hosts+": remove it there", "lease", "rm", "lan", "three")

	w.fails(`weft: network "lan": address: "10.0.0.1" has no prefix length`, "network", "set", "lan", "address=10.0.0.1")
	w.fails(`weft: network "lan": address: 10.0.0.0/24 is the address of the whole subnet`, "network", "set", "lan", "address=10.0.0.0/24")
	w.fails(`weft: network "lan": host_port: "w" is the interface of port other/host already`, "network", "set", "lan", "host_port=w")
	w.fails("two single addresses", "network", "set", "lan", "dhcp.range=10.0.0.50,10.0.0.99")

	w.do("network", "set", "lan", "dns.hosts.web=10.0.0.9", "dns.hosts.db.lab=10.0.0.8", "dns.txt.x.lab=a, b", "dhcp.options.42=10.0.0.5", "dns.domains.corp.example=[]")
	w.do("network", "set", "lan", "dns.hosts.web=")
	text := w.do("config")
	c, err := config.Parse("weft config", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Network("lan"); len(n.DNS.Hosts) != 1 || n.DNS.Hosts[0].Name != "db.lab" || n.DNS.TXT[0].Values[0] != "a, b" ||
		n.DHCP.Options[0].Key != "42" || n.DNS.Domains[0].Name != "corp.example" || len(n.DNS.Domains[0].Upstream) != 0 {
		t.Errorf("%s", text)
	}
	w.write(text)
	if out := w.do("apply", w.config); out != "no changes\n" {
		t.Errorf("apply of what runs:\n%s", out)
	}
	if out := w.do("network", "show", "lan"); !strings.Contains(out, "10.0.0.5") || !strings.Contains(out, hosts) {
		t.Errorf("network show:\n%s", out)
	}
}
