package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/ports/porttest"
)

// The tests in this file hold weft's answers against dnsmasq's, for the same
// configuration and the same messages.

// peerDHCP is weft's part of that configuration. dnsmasq's is in startDnsmasq.
const peerDHCP = `range: 10.0.0.50-10.0.0.99
lease: 1h
probe: false
router: 10.0.0.1
ntp: [10.0.0.5, 10.0.0.6]
domain_search: [lab, corp.example]
next_server: 10.0.0.10
server_name: boot
bootfile: pxelinux.0
options: {121: "10.1.0.0/16,10.0.0.2,0.0.0.0/0,10.0.0.1"}
hosts:
- {mac: "02:c1:00:00:00:01", address: 10.0.0.20, name: web}
- {client_id: box-2, address: 10.0.0.21, name: db, lease: infinite}
- {mac: "02:c1:00:00:00:03", address: 10.0.0.60}
no_override: %t
---
mtu: 1400
dns: {domain: lab, upstream: none}
`

// startDnsmasq starts a dnsmasq at address(1) that serves nothing but DHCP and
// keeps nothing outside the test's folder, and returns the wire to it.
func startDnsmasq(t *testing.T, noOverride bool) *wire {
	t.Helper()
	server, guest := porttest.NewNS(t, "dns"), porttest.NewNS(t, "guest")
	server.Quiet(t)
	guest.Quiet(t)
	porttest.Veth(t, server, "eth0", guest, "eth0")
	server.Addr(t, "eth0", address(1)+"/24")
	// Nobody here answers ARP for those to whom its kernel sends.
	for addr, n := range map[string]int{"10.0.0.3": 16, "10.0.0.20": 1, "10.0.0.40": 23} {
		server.Run(t, "ip", "neigh", "add", addr, "lladdr", (&wire{}).client(n).mac.String(), "dev", "eth0")
	}
	args := []string{
		"--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces", "--user=root",
		"--no-resolv", "--no-hosts", "--no-ping", "--log-dhcp", "--pid-file=", "--dhcp-leasefile=" + filepath.Join(t.TempDir(), "leases"),
		"--dhcp-authoritative", "--dhcp-range=10.0.0.50,10.0.0.99,1h", "--domain=lab", "--dhcp-option=6,10.0.0.1", "--dhcp-option=42,10.0.0.5,10.0.0.6",
		"--dhcp-option=26,1400", "--dhcp-option=119,lab,corp.example", "--dhcp-option=121,10.1.0.0/16,10.0.0.2,0.0.0.0/0,10.0.0.1",
		"--dhcp-boot=pxelinux.0,boot,10.0.0.10",
		"--dhcp-host=02:c1:00:00:00:01,10.0.0.20,web", "--dhcp-host=id:box-2,10.0.0.21,db,infinite", "--dhcp-host=02:c1:00:00:00:03,10.0.0.60",
	}
	if noOverride {
		args = append(args, "--dhcp-no-override")
	}
	p := server.Start(t, "dnsmasq", args...)
	p.WaitOutput(t, "DHCP, IP range", 60*time.Second)
	return newWire(t, guest)
}

// facts is all that an answer says, by name.
func facts(c *rawClient, a heard, ok bool) map[string]string {
	if !ok {
		return map[string]string{"type": "none"}
	}
	f := map[string]string{
		"type": a.MessageType().String(), "yiaddr": a.YourIPAddr.String(), "siaddr": a.ServerIPAddr.String(),
		"ciaddr": a.ClientIPAddr.String(), "giaddr": a.GatewayIPAddr.String(), "flags": a.FlagsToString(),
		"sname": a.ServerHostName, "file": a.BootFileName, "to": a.ip, "to MAC": a.mac.String(),
	}
	for code, data := range a.Options {
		f[fmt.Sprint("option ", code)] = fmt.Sprintf("%x", data)
	}
	delete(f, fmt.Sprint("option ", dhcpv4.OptionDHCPMessageType.Code()))
	if bytes.Equal(a.mac, c.mac) {
		f["to MAC"] = "client"
	} else if bytes.Equal(a.mac, layers.EthernetBroadcast) {
		f["to MAC"] = "broadcast"
	}
	// Which of the free addresses a stranger gets is each server's own business.
	if ip := a.YourIPAddr.To4(); ip[3] >= 50 && ip[3] <= 99 && ip[3] != 60 {
		f["yiaddr"] = "dynamic"
		if a.ip == ip.String() {
			f["to"] = "dynamic"
		}
	}
	return f
}

// question is a message to both servers, from the client of a number.
type question struct {
	name   string
	client int
	ask    func(c *rawClient) (heard, bool)
}

// answer puts a question and returns the facts.
func answer(c *rawClient, q question) map[string]string {
	a, ok := q.ask(c)
	return facts(c, a, ok)
}

// discovers makes the question what is offered to one that asks for these
// options; nil is for no list at all.
func discovers(name string, client int, with ...dhcpv4.Modifier) question {
	return question{name, client, func(c *rawClient) (heard, bool) {
		return c.ask(c.message(dhcpv4.MessageTypeDiscover, with...), dhcpPatience)
	}}
}

// sends makes the question what a message is answered with, if at all.
func sends(name string, client int, m func(c *rawClient) *dhcpv4.DHCPv4) question {
	return question{name, client, func(c *rawClient) (heard, bool) { return c.ask(m(c), dhcpSilence) }}
}

// lists are what clients ask for: as the clients here do, a PXE firmware,
// Windows, and each option alone.
func lists() []question {
	all := []question{
		discovers("no list", 10, dhcpv4.WithoutOption(dhcpv4.OptionParameterRequestList)),
		discovers("list of nothing known", 10, wants(150, 252)),
		discovers("list of udhcpc", 10, wants(1, 3, 6, 12, 15, 28, 42, 26, 119, 51)),
		discovers("list of dhclient", 10, wants(1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42)),
		discovers("list of Windows", 10, wants(1, 3, 6, 15, 31, 33, 43, 44, 46, 47, 119, 121, 249, 252)),
		discovers("list of PXE", 10, wants(1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97, 128, 129)),
	}
	for _, code := range []uint8{1, 3, 6, 12, 15, 26, 28, 42, 51, 58, 59, 66, 67, 119, 121} {
		all = append(all, discovers(fmt.Sprint("option ", code, " alone"), 10, wants(code)))
	}
	return all
}

var peerList = wants(1, 3, 6, 15, 51)

// states are messages of clients in every state that RFC 2131 section 4.3 has.
func states() []question {
	message := func(kind dhcpv4.MessageType, with ...dhcpv4.Modifier) func(c *rawClient) *dhcpv4.DHCPv4 {
		return func(c *rawClient) *dhcpv4.DHCPv4 { return c.message(kind, append(with, peerList)...) }
	}
	request := func(with ...dhcpv4.Modifier) func(c *rawClient) *dhcpv4.DHCPv4 {
		return message(dhcpv4.MessageTypeRequest, with...)
	}
	at := func(addr string) dhcpv4.Modifier { return dhcpv4.WithClientIP(net.ParseIP(addr).To4()) }
	server := func(addr string) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(addr).To4()))
	}
	id := dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, []byte("box-2"))
	return []question{
		discovers("reserved by MAC", 1, wants(1, 3, 6, 12, 15, 51)),
		discovers("reserved by client id", 2, id, wants(1, 3, 6, 12, 15, 51, 58, 59)),
		discovers("reserved inside the range", 3, peerList),
		discovers("broadcast wanted", 11, dhcpv4.WithBroadcast(true), peerList),
		discovers("an address wanted", 12, requested("10.0.0.77"), peerList),
		discovers("another's address wanted", 13, requested("10.0.0.20"), peerList),
		discovers("a shorter lease wanted", 14, dhcpv4.WithLeaseTime(600), peerList),
		discovers("a longer lease wanted", 14, dhcpv4.WithLeaseTime(7200), peerList),
		discovers("a name of its own", 15, hostname("fifteen"), wants(12, 15)),
		discovers("a relay in the subnet", 16, dhcpv4.WithRelay(net.ParseIP("10.0.0.3").To4()), peerList),
		{"a lease", 17, func(c *rawClient) (heard, bool) {
			return c.ask(c.selecting(c.discover(peerList).DHCPv4, peerList), dhcpPatience)
		}},
		{"renewal", 18, func(c *rawClient) (heard, bool) {
			return c.ask(c.rebooting(c.obtain(peerList), peerList), dhcpPatience)
		}},
		sends("init-reboot of a stranger", 20, request(requested("10.0.0.70"))),
		sends("init-reboot in another subnet", 20, request(requested("10.9.0.70"))),
		sends("init-reboot of a reservation", 1, request(requested("10.0.0.20"))),
		sends("init-reboot to another's reservation", 20, request(requested("10.0.0.21"))),
		sends("renewal of a reservation", 1, request(at("10.0.0.20"))),
		sends("renewal in another subnet", 20, request(at("10.9.0.70"))),
		sends("another server selected", 10, request(requested("10.0.0.70"), server("10.0.0.2"))),
		sends("selected without an offer", 21, request(requested("10.0.0.71"), server("10.0.0.1"))),
		sends("nothing requested", 22, request()),
		sends("inform", 23, message(dhcpv4.MessageTypeInform, at("10.0.0.40"))),
		sends("inform of a reservation", 1, message(dhcpv4.MessageTypeInform, at("10.0.0.20"))),
		sends("release", 3, message(dhcpv4.MessageTypeRelease, at("10.0.0.60"), server("10.0.0.1"))),
		sends("a type that does not exist", 23, message(99)),
		sends("an answer of a server", 23, message(dhcpv4.MessageTypeOffer)),
	}
}

// difference is where weft means to answer otherwise than dnsmasq. An empty
// question, or fact, stands for any.
type difference struct {
	question, fact, why string
	sometimes           bool
}

func (d difference) covers(question, fact string) bool {
	return (d.question == question || d.question == "") && (d.fact == fact || d.fact == "")
}

func intended() []difference {
	const adopt = "dnsmasq takes a stranger's word for a free address, to rebuild a lost store; weft promises none before it has probed, and does not lose its store"
	return []difference{
		{fact: "option 28", why: "dnsmasq tells all clients the broadcast address; here their list decides, as for other options (RFC 2131 section 4.3.1)"},
		{fact: "option 56", why: "each has its own words for why not"},
		{fact: "option 66", why: "dnsmasq ends names for network boot with a zero byte, which RFC 2132 section 2 advises against"},
		{fact: "option 67", why: "as above"},
		{fact: "flags", why: "RFC 2131 table 3 has the flags of a NAK copied from the request; dnsmasq sets the one for broadcast"},
		{question: "reserved by client id", fact: "option 61", why: "RFC 6842 has the server return the client identifier"},
		{question: "a name of its own", fact: "option 12", why: "dnsmasq tells a client its name with the lease only"},
		{question: "renewal of a reservation", fact: "option 58", why: "dnsmasq makes the times of renewals vary", sometimes: true},
		{question: "renewal of a reservation", fact: "option 59", why: "as above", sometimes: true},
		{question: "renewal", fact: "option 58", why: "as above", sometimes: true},
		{question: "renewal", fact: "option 59", why: "as above", sometimes: true},
		{question: "inform of a reservation", fact: "option 51", why: "no lease time in the answer to an INFORM (RFC 2131 section 4.3.5)"},
		{question: "init-reboot of a stranger", why: adopt},
		{question: "selected without an offer", why: adopt},
		{question: "renewal in another subnet", why: "dnsmasq has no range for it and is silent; an address of another network is wrong here (RFC 2131 section 4.3.2)"},
		{question: "another server selected", why: "the client chose another server, and a NAK would end that one's lease (RFC 2131 section 4.3.2)"},
		{question: "nothing requested", why: "no state of RFC 2131 table 4 sends this, so there is nothing to deny"},
	}
}

// Every answer is dnsmasq's, but for what is intended.
func TestAnswersOfDnsmasq(t *testing.T) {
	porttest.Require(t)
	differences := intended()
	used := map[difference]bool{}
	for _, noOverride := range []bool{false, true} {
		t.Run(fmt.Sprint("no_override ", noOverride), func(t *testing.T) {
			dnsmasq := startDnsmasq(t, noOverride)
			weft := newWire(t, newDHCPLAN(t, fmt.Sprintf(peerDHCP, noOverride), "raw").hosts[0])
			for _, q := range slices.Concat(lists(), states()) {
				c := dnsmasq.client(q.client)
				want := answer(c, q)
				c = weft.client(q.client)
				got := answer(c, q)
				compareFacts(t, q.name, want, got, differences, used)
			}
		})
	}
	for _, d := range differences {
		if !used[d] && !d.sometimes && !t.Failed() {
			t.Errorf("there is no such difference: %+v", d)
		}
	}
}

func compareFacts(t *testing.T, name string, want, got map[string]string, differences []difference, used map[difference]bool) {
	t.Helper()
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, fact := range slices.Sorted(maps.Keys(names)) {
		if want[fact] == got[fact] {
			continue
		}
		i := slices.IndexFunc(differences, func(d difference) bool { return d.covers(name, fact) })
		if i < 0 {
			t.Errorf("%s: %s: dnsmasq says %q, weft %q", name, fact, want[fact], got[fact])
			continue
		}
		used[differences[i]] = true
	}
}
