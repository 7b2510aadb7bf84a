package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// routeLab is a weft whose guests 1 and 2 are routed, with 3 behind 2. Number 4 is
// translated, and 5 is on its own.
type routeLab struct {
	*internet
	*weftProcess
	guests [6]*porttest.NS // the first one is none
	dir    string
}

func newRouteLab(t *testing.T, f family, lan string) *routeLab {
	t.Helper()
	l := &routeLab{internet: newInternet(t, f), dir: t.TempDir()}
	host := porttest.NewNS(t, "host")
	l.prepare(t, host)
	l.plug(t, host)
	for i := range l.guests[1:] {
		l.guests[i+1] = porttest.NewNS(t, fmt.Sprint("g", i+1))
		l.prepare(t, l.guests[i+1])
	}
	for i, subnet := range map[int]string{1: "10.0.0.", 2: "10.0.0.", 4: "10.1.0.", 5: "10.2.0."} {
		porttest.Veth(t, host, fmt.Sprint("p", i), l.guests[i], "eth0")
		l.guests[i].Addr(t, "eth0", l.cidr(fmt.Sprint(subnet, i, "/24")))
		l.guests[i].Run(t, "ip", "route", "add", "default", "via", l.ip(subnet+"254"))
	}
	l.behind(t, l.guests[2], l.guests[3])
	for _, guest := range l.guests[1:] {
		startEcho(t, guest, l.at("0.0.0.0", 22))
	}
	l.known(t, l.ip(outsideAddress))
	l.weftProcess = startWeft(t, host, l.yaml(lan))
	return l
}

// behind puts a guest behind another one, which routes.
func (n *internet) behind(t *testing.T, router, guest *porttest.NS) {
	t.Helper()
	porttest.Veth(t, router, "eth1", guest, "eth0")
	router.Addr(t, "eth1", n.cidr("10.5.0.2/24"))
	n.routes(t, router)
	guest.Addr(t, "eth0", n.cidr("10.5.0.3/24"))
	guest.Run(t, "ip", "route", "add", "default", "via", n.ip("10.5.0.2"))
}

// known has the internet know the way to the guests that are routed.
func (n *internet) known(t *testing.T, via string) {
	t.Helper()
	for _, subnet := range []string{"10.0.0.0/24", "10.5.0.0/24", mappedSubnet} {
		n.isp.Run(t, "ip", "route", "replace", n.cidr(subnet), "via", via)
	}
}

// yaml returns a configuration file, with more keys of the network of guests 1 and 2.
func (l *routeLab) yaml(lan string) string {
	uplink := fmt.Sprintf("{interface: wan0, address: %q, gateway: %q}", l.cidr(outsideAddress+"/24"), l.ip(ispAddress))
	return fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: route
    address: %q
    dns: {enabled: false}
    uplink: %s
    routes: [{to: %q, via: %q}, {to: %q, via: %q}]
    reach: [office]
    ports: {p1: {type: raw}, p2: {type: raw}}
    %s
  office:
    forward: nat
    address: %q
    dns: {enabled: false}
    uplink: %s
    reach: [lan]
    nat: {ports: 5000-5009}
    ports: {p4: {type: raw}}
  alone:
    forward: isolated
    address: %q
    dns: {enabled: false}
    ports: {p5: {type: raw}}
`, l.dir, l.cidr("10.0.0.254/24"), uplink, l.cidr("10.5.0.0/24"), l.ip("10.0.0.2"), l.cidr("192.0.2.0/24"), l.ip(ispAddress), lan,
		l.cidr("10.1.0.254/24"), uplink, l.cidr("10.2.0.254/24"))
}

// sees fails the test unless a server sees a client under that address.
func (n *internet) sees(t *testing.T, from *porttest.NS, server, client string) {
	t.Helper()
	for _, network := range []string{"tcp", "udp"} {
		seen, err := askEcho(from, network, server)
		if err != nil || hostOf(seen) != n.ip(client) {
			t.Errorf("%s from %s to %s: the server sees %q, %v; want %s", network, from.Name, server, seen, err, n.ip(client))
		}
	}
}

// hidden fails the test if a server is reached.
func (n *internet) hidden(t *testing.T, from *porttest.NS, server string) {
	t.Helper()
	for _, network := range []string{"tcp", "udp"} {
		if seen, err := quickEcho(from, network, server); err == nil {
			t.Errorf("%s from %s reaches %s, which sees %s", network, from.Name, server, seen)
		}
	}
}

// leads fails the test unless the way from web to guest 1 is by the gateway.
func (n *internet) leads(t *testing.T) {
	t.Helper()
	out := n.web.Run(t, "traceroute", "-n", "-q", "1", "-N", "1", "-w", "5", "-m", "8", n.ip("10.0.0.1"))
	if got, want := strings.Join(hops(out), " "), n.ip(servAddress)+" "+n.ip(outsideAddress)+" "+n.ip("10.0.0.1"); got != want {
		t.Errorf("traceroute to the guest goes by %s, want %s", got, want)
	}
}

// TestRoute has the addresses of guests be known outside, and networks reach
// each other, without any translation.
func TestRoute(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // it waits more than it works
	ofBoth(t, func(t *testing.T, f family) {
		l := newRouteLab(t, f, f.of("", "inbound: open"))
		for _, script := range []struct {
			name string
			run  func(*testing.T, *routeLab)
		}{
			{"out and in", routeBothWays},
			{"behind a guest", routeBehind},
			{"beside a translated network", routeBesideTranslated},
			{"not in reach", routeNotInReach},
			{"proxy ARP", routeByProxy},
		} {
			t.Run(script.name, func(t *testing.T) { script.run(t, l) })
		}
	})
}

func routeBothWays(t *testing.T, l *routeLab) {
	l.sees(t, l.guests[1], l.at(webAddress, 7), "10.0.0.1")
	l.sees(t, l.guests[1], l.at(farAddress, 7), "10.0.0.1")
	l.sees(t, l.web, l.at("10.0.0.1", 22), webAddress)
	l.sees(t, l.near, l.at("10.0.0.1", 22), nearAddress)
	porttest.TCPTransfer(t, l.guests[1], l.web, l.ip(webAddress), 8<<20)
	porttest.TCPTransfer(t, l.web, l.guests[1], l.ip("10.0.0.1"), 8<<20)
	l.leads(t)
}

func routeBehind(t *testing.T, l *routeLab) {
	l.sees(t, l.guests[3], l.at(webAddress, 7), "10.5.0.3")
	l.sees(t, l.web, l.at("10.5.0.3", 22), webAddress)
	l.sees(t, l.guests[1], l.at("10.5.0.3", 22), "10.0.0.1")
}

func routeBesideTranslated(t *testing.T, l *routeLab) {
	l.sees(t, l.guests[4], l.at(webAddress, 7), outsideAddress)
	seen, err := askEcho(l.guests[4], "tcp", l.at(webAddress, 7))
	if err != nil || !strings.HasPrefix(seen, l.at(outsideAddress, 500)) {
		t.Errorf("a port of 5000-5009: %s, %v", seen, err)
	}
	l.sees(t, l.guests[4], l.at("10.0.0.1", 22), "10.1.0.4") // untranslated, as reach says
	l.sees(t, l.guests[1], l.at("10.1.0.4", 22), "10.0.0.1")
	l.hidden(t, l.web, l.at("10.1.0.4", 22))
}

func routeNotInReach(t *testing.T, l *routeLab) {
	for _, pair := range []struct {
		from *porttest.NS
		to   string
	}{{l.guests[1], "10.2.0.5"}, {l.guests[5], "10.0.0.1"}, {l.guests[5], "10.1.0.4"}} {
		l.hidden(t, pair.from, l.at(pair.to, 22))
	}
	l.hidden(t, l.guests[5], l.at(webAddress, 7))
}

// routeByProxy has the network be a part of the uplink's subnet, for which the gateway
// answers ARP, or solicitations of neighbours.
func routeByProxy(t *testing.T, l *routeLab) {
	l.write(fmt.Sprintf(`metrics: {listen: "off"}
lease_file: %s/leases.db
networks:
  lan:
    forward: route
    inbound: open
    address: %q
    ra: {enabled: false}
    dns: {enabled: false}
    uplink: {interface: wan0, address: %q, gateway: %q, proxy_arp: true}
    ports: {p1: {type: raw}}
`, t.TempDir(), l.cidr("198.51.100.129/28"), l.cidr(outsideAddress+"/24"), l.ip(ispAddress)))
	l.stop()
	l.start()
	guest := l.guests[1]
	guest.Run(t, "ip", l.ipv("address", "flush", "dev", "eth0", "scope", "global")...)
	guest.Addr(t, "eth0", l.cidr("198.51.100.130/28"))
	guest.Run(t, "ip", "route", "replace", "default", "via", l.ip("198.51.100.129"))
	porttest.Ping(t, guest, l.ip(webAddress))
	l.sees(t, guest, l.at(webAddress, 7), "198.51.100.130")
	l.sees(t, l.near, l.at("198.51.100.130", 22), nearAddress)
	l.sees(t, l.web, l.at("198.51.100.130", 22), webAddress)
	if mac := macAt(t, l.near, l.ip("198.51.100.200")); mac != "" {
		t.Errorf("somebody answers for an address that is not the network's, from %s", mac)
	}
}

// TestRoutePublished has the addresses of guests be known outside, where nobody begins
// a flow to them but to what is published. That is what IPv6 has where the file says
// nothing.
func TestRoutePublished(t *testing.T) {
	porttest.Require(t)
	t.Parallel() // it waits more than it works
	ofBoth(t, func(t *testing.T, f family) {
		publish := fmt.Sprintf("nat: {publish: [{protocol: tcp, listen: 22, to: %q}]}\n    ", f.at("10.0.0.1", 22))
		l := newRouteLab(t, f, publish+f.of("inbound: published", ""))
		t.Run("what guests begin", func(t *testing.T) {
			l.sees(t, l.guests[1], l.at(webAddress, 7), "10.0.0.1")
			l.sees(t, l.guests[3], l.at(farAddress, 7), "10.5.0.3")
			porttest.TCPTransfer(t, l.guests[2], l.web, l.ip(webAddress), 8<<20)
			l.guests[1].Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.2", "-w", "20", "-s", "5000", l.ip(webAddress))
			l.sees(t, l.guests[1], l.at("10.5.0.3", 22), "10.0.0.1")
			l.sees(t, l.guests[4], l.at("10.0.0.1", 22), "10.1.0.4")
		})
		t.Run("what others begin", func(t *testing.T) { l.onlyPublished(t) })
		t.Run("published by hand", func(t *testing.T) {
			for _, network := range []string{"tcp", "udp"} {
				l.do("publish", "add", "lan", "22", l.at("10.0.0.2", 22), "--protocol", network)
				l.hidden(t, l.web, l.at("10.5.0.3", 22))
				if _, err := askEcho(l.web, network, l.at("10.0.0.2", 22)); err != nil {
					t.Errorf("published by %s: %v", network, err)
				}
				l.do("publish", "rm", "lan", "22", l.at("10.0.0.2", 22), "--protocol", network)
			}
			l.onlyPublished(t)
		})
		t.Run("opened and closed", func(t *testing.T) {
			l.write(l.yaml("inbound: open"))
			l.do("apply", l.config)
			l.sees(t, l.web, l.at("10.0.0.2", 22), webAddress)
			l.sees(t, l.near, l.at("10.5.0.3", 22), nearAddress)
			l.leads(t)
			l.write(l.yaml(publish + "inbound: published"))
			l.do("apply", l.config)
			l.onlyPublished(t)
		})
	})
}

// onlyPublished fails the test unless port 22 of guest 1 is reached by TCP, and nothing
// else.
func (l *routeLab) onlyPublished(t *testing.T) {
	t.Helper()
	for from, addr := range map[*porttest.NS]string{l.web: webAddress, l.near: nearAddress} {
		e, err := dialEcho(from, "tcp", ":0", l.at("10.0.0.1", 22))
		if err != nil {
			t.Errorf("what is published: %v", err)
			continue
		}
		if hostOf(e.seen) != l.ip(addr) {
			t.Errorf("the guest sees %s, want %s", e.seen, l.ip(addr))
		}
		e.Close()
		if _, err := quickEcho(from, "udp", l.at("10.0.0.1", 22)); err == nil {
			t.Error("by UDP something is reached that is published by TCP")
		}
	}
	l.hidden(t, l.web, l.at("10.0.0.2", 22))
	l.hidden(t, l.web, l.at("10.5.0.3", 22))
	if porttest.TryPing(l.web, l.ip("10.0.0.1"), 0) == nil {
		t.Error("a guest answers a ping from outside")
	}
}
