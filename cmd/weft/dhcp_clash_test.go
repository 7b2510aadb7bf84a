package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/ports/porttest"
)

// Clients that look whether somebody has their address: they say so, and get
// another one.
func TestRealClientsDecline(t *testing.T) {
	porttest.Require(t)
	for _, kind := range clientKinds() {
		switch kind.name {
		case "udhcpc":
			kind.command = append(slices.Clone(kind.command), "-a200", "-r", "10.0.0.50")
		case "dhcpcd":
			kind.files = map[string]string{"conf": strings.ReplaceAll(kind.files["conf"], "noarp\n", "") + "request 10.0.0.50\n"}
		default: // dhclient leaves it to its script
			continue
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			l := newDHCPLAN(t, quick, "raw", "internal")
			l.hosts[1].Addr(t, "eth0", "10.0.0.50/24")
			c := startClient(t, kind, l.hosts[0])
			within(t, c.got(c.wait(c.obtained...), "address"), "10.0.0.51", "10.0.0.99")
			if v, _ := l.leaseOf("10.0.0.50"); v.State != "declined" {
				t.Errorf("lease: %+v", v)
			}
			l.waitMessages("decline", "quarantined", 1)
		})
	}
}

// Clients get what is reserved for them: by MAC or by what they call themselves,
// and with the reserved name.
func TestRealClientsReserved(t *testing.T) {
	porttest.Require(t)
	for _, kind := range clientKinds() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			l := makeDHCPLAN(t, "raw")
			mac := l.hosts[0].Link(t, "eth0").Attrs().HardwareAddr.String()
			who := "mac: \"" + mac + "\""
			if kind.name == "dhclient" {
				who = "client_id: a-client"
			}
			l.write(l.yaml("range: 10.0.0.50-10.0.0.99\nhosts:\n- {" + who + ", address: 10.0.0.20, name: reserved}\n"))
			l.start()
			c := startClient(t, kind, l.hosts[0])
			if addr := c.got(c.wait(c.obtained...), "address"); addr != "10.0.0.20" {
				t.Errorf("got %s", addr)
			}
			if v := l.waitLease("10.0.0.20", "active"); v.Hostname != "reserved" || v.Kind != "static" || v.MAC != mac {
				t.Errorf("lease: %+v", v)
			}
			stranger := newWire(t, l.hosts[0]).client(9)
			stranger.answered(stranger.rebooting("10.0.0.20"), dhcpv4.MessageTypeNak)
		})
	}
}
