package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// natKinds are the gateways that the scripts run with. The kernel is the
// reference: a script that has another outcome with weft finds a fault of weft,
// unless it says why.
var natKinds = []string{"kernel", "own", "host", "sockets"}

// natLab is a gateway under test between guests and an internet.
type natLab struct {
	*internet
	kind    string
	host    *porttest.NS   // that the gateway runs in
	guests  []*porttest.NS // 10.0.0.1 and up
	gateway natGateway
	began   time.Time
	idle    []*echoing // connections that wait from the beginning for the last script
}

// alone reports whether weft has the interface to itself, so that the host has no
// address there.
func (l *natLab) alone() bool { return l.is("own", "dhcp") }

// is reports whether the gateway is one of some kinds.
func (l *natLab) is(kinds ...string) bool { return slices.Contains(kinds, l.kind) }

// skip ends a script that a kind of gateway cannot run.
func (l *natLab) skip(t *testing.T, reason string, kinds ...string) {
	t.Helper()
	if l.is(kinds...) {
		t.Skip(reason)
	}
}

// publishedAlways is what the gateway publishes from its start.
var publishedAlways = natSettings{publish: []published{
	{"tcp", "19888", address(1) + ":22"},
	{"udp", "19888", address(1) + ":22"},
	{"tcp", "20000-20019", address(2) + ":30000"},
}}

// natScripts run in this order with each gateway.
var natScripts = []struct {
	name string
	run  func(t *testing.T, l *natLab)
}{
	{"ping", natPing},
	{"HTTP", natHTTP},
	{"guest of QEMU", natVirtualMachine},
	{"iperf3", natIperf},
	{"many connections", natManyConnections},
	{"FTP", natFTP},
	{"DNS", natDNS},
	{"fragments", natFragments},
	{"fragments out of order", natFragmentsOutOfOrder},
	{"traceroute", natTraceroute},
	{"errors", natErrors},
	{"path MTU", natPathMTU},
	{"narrow uplink", natNarrowUplink},
	{"NAT type", natType},
	{"symmetric", natSymmetric},
	{"filtering", natFiltering},
	{"published", natPublished},
	{"published from there", natPublishedFromThere},
	{"published to the host", natPublishedToHost},
	{"published range", natPublishedRange},
	{"published live", natPublishedLive},
	{"hairpin by a published port", natHairpinPublished},
	{"hairpin by a mapping", natHairpinMapping},
	{"other protocols", natOtherProtocols},
	{"uninvited", natUninvited},
	{"forged sources", natForgedSources},
	{"inside stays inside", natInside},
	{"multicast", natMulticast},
	{"the host's own flows", natHostFlows},
	{"a listener of the host", natHostListener},
	{"short timeouts", natShortTimeouts},
	{"carrier lost", natCarrierLost},
	{"idle connection", natIdle},
	{"the host itself", natReachHost},
	{"killed", natKilled},
	{"uplink down", natUplinkDown},
	{"another address", natReaddressed},
	{"host untouched", natHostUntouched},
}

// TestNAT has guests use an internet by each kind of gateway.
func TestNAT(t *testing.T) {
	porttest.Require(t)
	for _, kind := range natKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // the scripts wait more than they work
			l := newNATLab(t, kind)
			for _, script := range natScripts {
				t.Run(script.name, func(t *testing.T) { script.run(t, l) })
			}
		})
	}
}

func newNATLab(t *testing.T, kind string) *natLab {
	t.Helper()
	l := &natLab{internet: newInternet(t), kind: kind, host: porttest.NewNS(t, "host"), began: time.Now()}
	l.host.Quiet(t)
	l.plug(t, l.host)
	if !l.alone() {
		addressHost(t, l.host, outsideAddress)
	}
	for i := range 3 {
		guest := porttest.NewNS(t, fmt.Sprint("g", i+1))
		guest.Quiet(t)
		l.guests = append(l.guests, guest)
	}
	switch kind {
	case "kernel":
		l.gateway = &kernelGateway{}
	case "dhcp":
		l.gateway = newDHCPGateway(t, l)
	default:
		l.gateway = &weftGateway{kind: kind}
	}
	l.gateway.start(t, l.host, l.guests, publishedAlways)
	for _, guest := range l.guests {
		guest.Run(t, "ip", "route", "add", "default", "via", gatewayAddress)
		porttest.Ping(t, guest, gatewayAddress)
		porttest.Ping(t, guest, webAddress)
		startEcho(t, guest, "0.0.0.0:22")
	}
	for _, to := range []string{webAddress, nearAddress} {
		e, err := dialEcho(l.guests[0], "tcp4", ":0", to+":7")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		l.idle = append(l.idle, e)
	}
	return l
}

// outside fails the test unless the server saw the gateway's outside address.
func (l *natLab) outside(t *testing.T, what, seen string) {
	t.Helper()
	if host, _, _ := strings.Cut(seen, ":"); host != outsideAddress {
		t.Errorf("%s: the server sees %s, want %s", what, seen, outsideAddress)
	}
}
