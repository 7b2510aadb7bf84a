package main

import (
	"fmt"
	"slices"
	"sync"
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
	through string         // what becomes of the guests' addresses: one of the words below
	host    *porttest.NS   // that the gateway runs in
	guests  []*porttest.NS // 10.0.0.1 and up
	gateway natGateway
	before  hostState // before weft came
	outers  []string  // what the guests are outside
	out     string    // the address of the uplink
	began   time.Time
	idle    []*echoing // connections that wait from the beginning for the last script
}

// What becomes of the addresses of guests: those of the uplink, their own, or the same
// ones in another prefix (RFC 6296).
const (
	masqueraded = "masquerade"
	routed      = "route"
	prefixed    = "prefix"
)

// alone reports whether weft has the interface to itself, so that the host has no
// address there.
func (l *natLab) alone() bool { return l.is("own", "dhcp", "dhcp6", "slaac") }

// is reports whether the gateway is one of some kinds.
func (l *natLab) is(kinds ...string) bool { return slices.Contains(kinds, l.kind) }

// skip ends a script that a kind of gateway cannot run.
func (l *natLab) skip(t *testing.T, reason string, kinds ...string) {
	t.Helper()
	if l.is(kinds...) {
		t.Skip(reason)
	}
}

// outer returns the address that a guest, 1 and up, has outside.
func (l *natLab) outer(guest int) string {
	if l.through == masqueraded {
		return l.out
	}
	return l.outers[guest-1]
}

// published returns where a port is reached that is published for a guest.
func (l *natLab) published(guest, port int) string { return l.at(l.outer(guest), port) }

// always is what the gateway publishes from its start.
func (l *natLab) always() natSettings {
	return natSettings{publish: []published{
		{"tcp", "19888", l.at(address(1), 22)},
		{"udp", "19888", l.at(address(1), 22)},
		{"tcp", "20000-20019", l.at(address(2), 30000)},
	}}
}

// natScript is something that guests do.
type natScript struct {
	name string
	run  func(t *testing.T, l *natLab)
	// ipv4 says why IPv6 goes without; where empty the script is of both families.
	ipv4 string
}

// natScripts run in this order with each gateway.
var natScripts = []natScript{
	{"ping", natPing, ""},
	{"HTTP", natHTTP, ""},
	{"guest of QEMU", natVirtualMachine, ""},
	{"iperf3", natIperf, ""},
	{"many connections", natManyConnections, ""},
	{"FTP", natFTP, ""},
	{"DNS", natDNS, ""},
	{"fragments", natFragments, ""},
	{"fragments out of order", natFragmentsOutOfOrder, ""},
	{"traceroute", natTraceroute, ""},
	{"errors", natErrors, ""},
	{"path MTU", natPathMTU, ""},
	{"narrow uplink", natNarrowUplink, ""},
	{"NAT type", natType, ""},
	{"symmetric", natSymmetric, ""},
	{"filtering", natFiltering, ""},
	{"published", natPublished, ""},
	{"published from there", natPublishedFromThere, ""},
	{"published to the host", natPublishedToHost, ""},
	{"published range", natPublishedRange, ""},
	{"published live", natPublishedLive, ""},
	{"hairpin by a published port", natHairpinPublished, ""},
	{"hairpin by a mapping", natHairpinMapping, ""},
	{"other protocols", natOtherProtocols, ""},
	{"uninvited", natUninvited, ""},
	{"forged sources", natForgedSources, ""},
	{"inside stays inside", natInside, ""},
	{"multicast", natMulticast, ""},
	{"the host's own flows", natHostFlows, ""},
	{"a listener of the host", natHostListener, ""},
	{"short timeouts", natShortTimeouts, "a mapping's age is the same number in both, and the script waits for it"},
	{"carrier lost", natCarrierLost, ""},
	{"idle connection", natIdle, "nothing happens in it, for as long as it takes"},
	{"the host itself", natReachHost, ""},
	{"killed", natKilled, ""},
	{"uplink down", natUplinkDown, ""},
	{"another address", natReaddressed, ""},
	{"host untouched", natHostUntouched, ""},
}

// TestNAT has guests use an internet by each kind of gateway, with each family.
func TestNAT(t *testing.T) {
	porttest.Require(t)
	for _, kind := range natKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel() // the scripts wait more than they work
			ofBoth(t, func(t *testing.T, f family) { newNATLab(t, f, kind, masqueraded).play(t, natScripts) })
		})
	}
}

// ofBoth runs a test with both families.
func ofBoth(t *testing.T, run func(*testing.T, family)) {
	t.Helper()
	together(t, map[string]func(*testing.T){
		string(family4): func(t *testing.T) { run(t, family4) },
		string(family6): func(t *testing.T) { run(t, family6) },
	})
}

// together runs tests at once, in the place of one parallel test: they wait more than
// they work.
func together(t *testing.T, tests map[string]func(*testing.T)) {
	t.Helper()
	var all sync.WaitGroup
	for name, test := range tests {
		all.Go(func() { t.Run(name, test) })
	}
	all.Wait()
}

// play runs the scripts that the family has.
func (l *natLab) play(t *testing.T, scripts []natScript) {
	t.Helper()
	for _, script := range scripts {
		if l.family == family4 || script.ipv4 == "" {
			t.Run(script.name, func(t *testing.T) { script.run(t, l) })
		}
	}
}

func newNATLab(t *testing.T, f family, kind, through string) *natLab {
	t.Helper()
	l := &natLab{internet: newInternet(t, f), kind: kind, through: through, host: porttest.NewNS(t, "host"), began: time.Now()}
	l.out = l.ip(outsideAddress)
	l.prepare(t, l.host)
	l.plug(t, l.host)
	if !l.alone() {
		l.addressHost(t, l.host, l.out)
	}
	if through != masqueraded {
		l.known(t, l.out)
	}
	for i := range 3 {
		guest := porttest.NewNS(t, fmt.Sprint("g", i+1))
		l.prepare(t, guest)
		l.guests = append(l.guests, guest)
	}
	switch kind {
	case "kernel":
		l.gateway = &kernelGateway{natLab: l}
	case "dhcp", "dhcp6", "slaac":
		l.gateway = newAskingGateway(t, l)
	default:
		l.gateway = &weftGateway{lab: l}
	}
	l.gateway.start(t, l.always())
	for i, guest := range l.guests {
		guest.Run(t, "ip", "route", "add", "default", "via", l.ip(gatewayAddress))
		porttest.Ping(t, guest, l.ip(gatewayAddress))
		porttest.Ping(t, guest, l.ip(webAddress))
		startEcho(t, guest, l.at("0.0.0.0", 22))
		l.learn(t, i+1)
	}
	for _, to := range []string{webAddress, nearAddress} {
		e, err := dialEcho(l.guests[0], "tcp", ":0", l.at(to, 7))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		l.idle = append(l.idle, e)
	}
	return l
}

// learn asks outside what a guest is there.
func (l *natLab) learn(t *testing.T, guest int) {
	t.Helper()
	seen, err := askEcho(l.guests[guest-1], "tcp", l.at(webAddress, 7))
	if err != nil {
		t.Fatal(err)
	}
	l.outers = append(l.outers, hostOf(seen))
}

// outside fails the test unless the server saw a guest's outside address.
func (l *natLab) outside(t *testing.T, guest int, what, seen string) {
	t.Helper()
	if host := hostOf(seen); host != l.outer(guest) {
		t.Errorf("%s: the server sees %s, want %s", what, seen, l.outer(guest))
	}
}
