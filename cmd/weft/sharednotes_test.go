package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// newSharingHost is a host with an address that weft shares for one network.
func newSharingHost(t *testing.T, address string) (*porttest.NS, *weftProcess) {
	t.Helper()
	porttest.Require(t)
	host, far := porttest.NewNS(t, "host"), porttest.NewNS(t, "far")
	host.Quiet(t)
	far.Quiet(t)
	porttest.Veth(t, host, "wan0", far, "eth0")
	host.Addr(t, "wan0", "198.51.100.2/24")
	host.Run(t, "ip", "route", "add", "default", "via", "198.51.100.1")
	host.Sysctl(t, "net.ipv4.ip_local_port_range", "32768 60999")
	return host, newWeft(t, host, fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: nat
    address: %s
    dns: {enabled: false}
    uplink: {interface: wan0}
`, t.TempDir(), address))
}

// notes are those of the status.
func (w *weftProcess) notes() string {
	w.t.Helper()
	var s api.Status
	w.query(&s, "status")
	return strings.Join(s.Notes, "\n")
}

// What the host does with the ports of its address is said where a user looks.
func TestSharedPortsAreTold(t *testing.T) {
	host, w := newSharingHost(t, "10.0.0.254/24")
	w.start()
	if out := w.do("status"); !strings.Contains(out, "wan0 host up") {
		t.Errorf("status:\n%s", out)
	}
	const left = "1024-32767, 61000-65535, less 0 bound by sockets: 36280 free"
	for _, args := range [][]string{{"uplink", "show", "wan0"}, {"network", "show", "lan"}} {
		if out := w.do(args...); !strings.Contains(out, left) {
			t.Errorf("%s:\n%s", args, out)
		}
	}
	// So many that weft does not hold them itself.
	w.do("publish", "add", "lan", "2000-2400", "10.0.0.9:22")
	taken := func() string {
		var list []api.Publish
		w.query(&list, "publish", "list")
		return list[0].Taken
	}
	const note = "a socket of this host has tcp 2223 of wan0, which is published"
	if got := taken(); got != "" || strings.Contains(w.notes(), note) {
		t.Errorf("nobody has taken %q\n%s", got, w.notes())
	}
	l := listenTCP(t, host, "0.0.0.0:2223")
	eventually(t, "the port is seen to be taken", func() bool { return taken() == "2223" && strings.Contains(w.notes(), note) })
	l.Close()
	eventually(t, "the port is seen to be free", func() bool { return taken() == "" && !strings.Contains(w.notes(), note) })

	const few = "network lan: this host leaves only 0 of the ports 1024-65535 of wan0 to guests"
	if strings.Contains(w.notes(), few) {
		t.Errorf("with ports enough:\n%s", w.notes())
	}
	host.Sysctl(t, "net.ipv4.ip_local_port_range", "1024 65535")
	eventually(t, "too few ports are told of", func() bool { return strings.Contains(w.notes(), few) })
	w.fails("tcp 2223 is published as part of 2000-2400: remove that", "publish", "rm", "lan", "2223")
	w.fails("(routes=, without a value, clears it)", "network", "set", "lan", "routes=10.5.0.0/16")
	w.do("publish", "rm", "lan", "2000-2400")
	for _, said := range []string{`msg="port published"`, `msg="port published no longer"`, `msg="uplink opened" uplink=wan0 kind=host`} {
		if !strings.Contains(w.Output(), said) {
			t.Errorf("the log lacks %s:\n%s", said, w.Output())
		}
	}
	w.stop()

	// Where there are none from the start, auto is something else.
	w.start()
	if out := w.do("uplink", "list"); !strings.Contains(out, "sockets") || !strings.Contains(w.notes(), "only 0 ports of its address") {
		t.Errorf("%s\n%s", out, w.notes())
	}
}

// A subnet that the shared interface is in too hides the stations there from guests.
func TestSharedSubnetIsTold(t *testing.T) {
	_, w := newSharingHost(t, "198.51.100.129/25")
	w.start()
	const note = "network lan: its subnet 198.51.100.128/25 overlaps 198.51.100.2/24 of wan0"
	if !strings.Contains(w.notes(), note) {
		t.Errorf("notes:\n%s", w.notes())
	}
	w.do("network", "set", "lan", "address=10.0.0.254/24")
	if strings.Contains(w.notes(), note) {
		t.Errorf("notes:\n%s", w.notes())
	}
	const why = `interface "lo" carries no Ethernet (loopback): name another interface, or write uplink.address: sockets`
	w.fails(why, "network", "set", "lan", "uplink.interface=lo", "uplink.address=host")
}
