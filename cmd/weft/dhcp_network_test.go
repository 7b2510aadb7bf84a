package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/cmd/internal/api"
)

// A name is given once: not the gateway's, nor one that is reserved, written in
// the configuration of DNS, or another client's. The lease is given all the same.
func TestNamesAreNotStolen(t *testing.T) {
	l := newDHCPLAN(t, quick+"hosts:\n- {mac: \"02:c1:00:00:00:07\", address: 10.0.0.20, name: web}\n---\n"+
		"dns: {domain: lab, name: gw, upstream: none, hosts: {printer: 10.0.0.30, files.lab: 10.0.0.31, out.example: 192.0.2.1}}\n", "raw")
	w := newWire(t, l.hosts[0])
	for n, names := range [][2]string{
		{"gw", ""}, {"GW.lab", ""}, {"web", ""}, {"printer", ""}, {"files", ""}, {"out", "out"}, {"one", "one"}, {"one", ""},
		{"my_vm", "my_vm"}, {"-x", ""}, {"a b", ""}, {strings.Repeat("x", 64), ""}, {"xn--nxasmq6b", "xn--nxasmq6b"}, {"Two.lab", "two"},
	} {
		c := w.client(100 + n)
		addr := c.obtain()
		c.answered(c.renewing(addr, hostname(names[0])), dhcpv4.MessageTypeAck)
		if v, _ := l.leaseOf(addr); v.Hostname != names[1] || v.State != "active" {
			t.Errorf("%q: %+v", names[0], v)
		}
	}
	seven := w.client(7)
	if addr := seven.obtain(hostname("something")); addr != "10.0.0.20" {
		t.Errorf("reserved: %s", addr)
	}
	if v, _ := l.leaseOf("10.0.0.20"); v.Hostname != "web" {
		t.Errorf("lease: %+v", v)
	}
	// Released by its client, a name stays that one's for a while; released by hand
	// it is free.
	named := func(c *rawClient, name, want string) {
		t.Helper()
		v, _ := l.leaseOf(c.mac.String())
		c.answered(c.renewing(v.Address, hostname(name)), dhcpv4.MessageTypeAck)
		if v, _ = l.leaseOf(v.Address); v.Hostname != want {
			t.Errorf("asked for %s: %+v", name, v)
		}
	}
	other := w.client(107)
	v, _ := l.leaseOf(w.client(113).mac.String())
	w.client(113).release(v.Address)
	l.waitLease(v.Address, "expired")
	named(other, "two", "")
	v, _ = l.leaseOf(w.client(106).mac.String())
	l.do("lease", "release", "lan", v.Address)
	named(other, "one", "one")
}

// Clients behind ports with a policy reach the server too, and are told from one
// another.
func TestLeasesBehindPolicy(t *testing.T) {
	l := makeDHCPLAN(t, "raw", "raw", "internal")
	l.ports = strings.Replace(l.ports, "p1: {type: raw", "p1: {type: raw, isolated: true", 1)
	l.ports = strings.Replace(l.ports, "p2: {type: raw", "p2: {type: raw, isolated: true, security: {max_macs: 1}}, p0: {type: tap", 1)
	l.ports = strings.Replace(l.ports, ", p0", "\n      p0", 1)
	l.write(l.yaml("range: 10.0.0.50-10.0.0.99\n"))
	l.start()
	got := map[string]string{}
	for i, ns := range l.hosts {
		c := newWire(t, ns).client(i)
		addr := c.obtain()
		if got[addr] != "" {
			t.Errorf("%s and %s got %s", got[addr], c.mac, addr)
		}
		got[addr] = c.mac.String()
		if v, _ := l.leaseOf(addr); v.Port != fmt.Sprint("p", i+1) {
			t.Errorf("lease: %+v", v)
		}
	}
	second := newWire(t, l.hosts[1]).client(9) // one MAC too many
	second.unanswered(second.message(dhcpv4.MessageTypeDiscover))
}

// Two networks of one subnet share the file, and nothing else.
func TestNetworksShareALeaseFile(t *testing.T) {
	l := makeDHCPLAN(t, "raw", "raw")
	yaml := fmt.Sprintf(`
metrics: {listen: "off"}
lease_file: %s
networks:
  lan: {address: 10.0.0.1/24, dhcp: {range: 10.0.0.50, probe: false}, ports: {p1: {type: raw}}}
  two: {address: 10.0.0.1/24, dhcp: {range: 10.0.0.50, probe: false}, ports: {p2: {type: raw}}}
`, l.leases)
	l.write(yaml)
	l.start()
	one, two := newWire(t, l.hosts[0]).client(1), newWire(t, l.hosts[1]).client(2)
	addr1, addr2 := one.obtain(), two.obtain()
	if addr1 != "10.0.0.50" || addr2 != "10.0.0.50" {
		t.Errorf("got %s and %s", addr1, addr2)
	}
	check := func() {
		t.Helper()
		for network, c := range map[string]*rawClient{"lan": one, "two": two} {
			var list []api.Lease
			if l.query(&list, "lease", "list", network); len(list) != 1 || list[0].MAC != c.mac.String() || list[0].State != "active" {
				t.Errorf("leases of %s: %+v", network, list)
			}
		}
	}
	check()
	// A network that is gone for a while has its leases when it comes back.
	i := strings.Index(yaml, "  two:")
	l.write(yaml[:i])
	l.do("apply", l.config)
	l.fails(`"two"`, "lease", "list", "two")
	l.write(yaml)
	l.do("apply", l.config)
	check()
	l.stop()
	l.start()
	check()
	two.answered(two.renewing(addr2), dhcpv4.MessageTypeAck)
}

// The gateway moves to another subnet while clients have leases.
func TestSubnetChanges(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	one := newWire(t, l.hosts[0]).client(1)
	had := one.obtain()
	l.apply("range: 10.7.0.50-10.7.0.99\nprobe: false\n---\naddress: 10.7.0.1/24\n")
	nak := one.answered(one.rebooting(had), dhcpv4.MessageTypeNak)
	if got := nak.ServerIdentifier().String(); got != "10.7.0.1" {
		t.Errorf("NAK of %s", got)
	}
	within(t, one.obtain(), "10.7.0.50", "10.7.0.99")
	l.apply(quick)
	one.answered(one.rebooting(had), dhcpv4.MessageTypeAck) // its time is not over
}

// A client that wants it so gets its lease in two messages, as safe as any.
func TestRapidCommit(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	one := newWire(t, l.hosts[0]).client(1)
	ack := one.answered(one.message(dhcpv4.MessageTypeDiscover, dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(80), nil)), dhcpv4.MessageTypeAck)
	l.Kill()
	l.start()
	if v, _ := l.leaseOf(ack.YourIPAddr.String()); v.State != "active" || v.MAC != one.mac.String() {
		t.Errorf("lease: %+v", v)
	}
}

// While leases can not be written nobody is promised one; what was promised
// before holds, and it goes on when there is room again.
func TestFullDisk(t *testing.T) {
	l := makeDHCPLAN(t, "raw")
	l.write(l.yaml(strings.Replace(quick, "50-10.0.0.99", "2-10.0.0.250", 1)))
	folder := l.leases[:strings.LastIndex(l.leases, "/")]
	const mount = `mount -t tmpfs -o size=2m none "$0" && exec "$@"`
	l.Process = l.host.Start(t, "unshare", "--mount", "sh", "-c", mount, folder, l.bin, "run", "-c", l.config, "--socket", l.socket)
	l.WaitOutput(t, "weft: ready\n", 60*time.Second)
	inside := func(command string) {
		t.Helper()
		if out, err := l.host.TryRun("nsenter", "--mount", "--target", fmt.Sprint(l.Pid()), "sh", "-c", command); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	w := newWire(t, l.hosts[0])
	old := w.client(0)
	had := old.obtain()
	inside("dd if=/dev/zero of=" + folder + "/ballast bs=4k 2>/dev/null || true")
	for n := 1; l.messages("request", "failed") == 0; n++ {
		if n == 200 {
			t.Fatal("the disk is full, and leases are acknowledged")
		}
		c := w.client(n)
		c.ask(c.selecting(c.discover().DHCPv4), dhcpSilence)
	}
	none := w.client(300)
	offer := none.discover()
	none.unanswered(none.selecting(offer.DHCPv4))
	if v, _ := l.leaseOf(offer.YourIPAddr.String()); v.State == "active" {
		t.Errorf("nobody was told of this lease: %+v", v)
	}
	if !strings.Contains(l.Output(), "no space is left") {
		t.Errorf("weft does not say why:\n%s", l.Output())
	}
	if v, _ := l.leaseOf(had); v.State != "active" {
		t.Errorf("the lease from before: %+v", v)
	}
	inside("rm " + folder + "/ballast")
	old.answered(old.renewing(had), dhcpv4.MessageTypeAck)
	fresh := w.client(40)
	addr := fresh.obtain()
	if v, _ := l.leaseOf(addr); v.State != "active" || v.MAC != fresh.mac.String() {
		t.Errorf("lease: %+v", v)
	}
	if _, err := os.Stat(l.leases); err == nil {
		t.Error("the leases were not where the disk was full")
	}
}

// What a client sees of a server that only has reservations: its own, or
// nothing.
func TestReservationsOnly(t *testing.T) {
	l := newDHCPLAN(t, "hosts:\n- {mac: \"02:c1:00:00:00:01\", address: 10.0.0.20}\n", "raw")
	w := newWire(t, l.hosts[0])
	one, two := w.client(1), w.client(2)
	if addr := one.obtain(); addr != "10.0.0.20" {
		t.Errorf("got %s", addr)
	}
	two.unanswered(two.message(dhcpv4.MessageTypeDiscover))
}
