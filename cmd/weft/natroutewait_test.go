package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// beside is a host whose only neighbour, far, knows the way to its guests.
type beside struct {
	family
	host, far *porttest.NS
	dir       string
}

func newBeside(t *testing.T, f family) *beside {
	t.Helper()
	b := &beside{family: f, host: porttest.NewNS(t, "host"), far: porttest.NewNS(t, "far"), dir: t.TempDir()}
	b.prepare(t, b.host)
	b.prepare(t, b.far)
	porttest.Veth(t, b.host, "wan0", b.far, "eth0")
	b.far.Addr(t, "eth0", b.cidr(ispAddress+"/24"))
	b.far.Run(t, "ip", "route", "add", b.cidr("10.0.0.0/24"), "via", b.ip(outsideAddress))
	return b
}

// yaml returns a configuration file with some ways out.
func (b *beside) yaml(forward, uplink, port string) string {
	if forward == "route" {
		forward += "\n    inbound: open"
	}
	return fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: %s
    address: %q
    dns: {enabled: false}
    uplink: {%s}
    ports: {p1: {type: %s}}
`, b.dir, forward, b.cidr("10.0.0.254/24"), uplink, port)
}

// TestRouteNeedsAddress has an interface without an address: a network that is to be
// known outside is refused where weft would choose sockets, and waits where the file
// says whose address it is.
func TestRouteNeedsAddress(t *testing.T) {
	porttest.Require(t)
	ofBoth(t, func(t *testing.T, f family) {
		b := newBeside(t, f)
		yaml := func(forward, address string) string {
			return b.yaml(forward, "interface: wan0, address: "+address, "tap")
		}
		const why = `network "lan": forward: route does not go by sockets, and no address of this host can be shared: ` +
			`interface "wan0" has no IPv4 address and no global IPv6 address; write uplink.address: host to wait for that, ` +
			`give the uplink an address of its own, or write forward: nat`
		w := newWeft(t, b.host, yaml("route", "auto"))
		out, err := b.host.TryRun("timeout", "60", w.bin, "run", "-c", w.config, "--socket", w.socket)
		if err == nil || !strings.Contains(out, "weft: "+why+"\n") {
			t.Errorf("%v:\n%s", err, out)
		}
		w.write(yaml("nat", "auto"))
		w.start()
		w.write(yaml("route", "auto"))
		w.fails(why, "apply", w.config)
		if out := w.do("uplink", "list"); !strings.Contains(out, "sockets") {
			t.Errorf("after a change that was refused:\n%s", out)
		}
		w.write(yaml("route", "host"))
		w.do("apply", w.config)
		if out := w.do("uplink", "list"); !strings.Contains(out, "no-address") {
			t.Errorf("without an address:\n%s", out)
		}
		b.host.Addr(t, "wan0", b.cidr(outsideAddress+"/24"))
		eventually(t, "weft has what is for the network", func() bool {
			_, err := b.far.TryRun("ping", "-n", "-c", "1", "-W", "1", b.ip("10.0.0.254"))
			return err == nil
		})
		w.write(yaml("route", "auto"))
		w.do("apply", w.config)
		if out := w.do("uplink", "list"); !strings.Contains(out, "host") {
			t.Errorf("with an address:\n%s", out)
		}
	})
}

// TestRouteWithoutDefault has no interface to choose at first: guests get no further,
// and by no socket either, until there is one.
func TestRouteWithoutDefault(t *testing.T) {
	porttest.Require(t)
	ofBoth(t, func(t *testing.T, f family) {
		b, guest := newBeside(t, f), porttest.NewNS(t, "guest")
		b.prepare(t, guest)
		b.host.Addr(t, "wan0", b.cidr(outsideAddress+"/24"))
		startEcho(t, b.far, b.at(ispAddress, 7))
		porttest.Veth(t, b.host, "p1", guest, "eth0")
		guest.Addr(t, "eth0", b.cidr("10.0.0.1/24"))
		guest.Run(t, "ip", "route", "add", "default", "via", b.ip("10.0.0.254"))
		w := startWeft(t, b.host, b.yaml("route", "address: host", "raw"))
		if err := dialled(guest, "tcp", b.at(ispAddress, 7)); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("without a way out: %v", err)
		}
		if out := w.do("uplink", "list"); !strings.Contains(out, "failed") {
			t.Errorf("without a way out:\n%s", out)
		}
		b.host.Run(t, "ip", "route", "add", "default", "via", b.ip(ispAddress))
		eventually(t, "the guest leaves by its own address", func() bool {
			seen, err := askEcho(guest, "tcp", b.at(ispAddress, 7))
			return err == nil && hostOf(seen) == b.ip("10.0.0.1")
		})
	})
}
