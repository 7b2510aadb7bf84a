package main

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// The test in this file holds weft's answers of DHCPv6 against dnsmasq's, for the same
// configuration and the same messages.

// peerDHCP6 is weft's part of that configuration. dnsmasq's is in TestAnswersOfDnsmasq6.
const peerDHCP6 = both + `dhcp6:
  range: "` + pool6 + `"
  lease: 1h
  ntp: ["2001:db8:1::5", "2001:db8:1::6"]
  domain_search: [lab, corp.example]
  options: {"59": "tftp://[2001:db8:1::1]/boot"}
  hosts:
    - {mac: "02:c6:00:00:00:01", address: "2001:db8:1::20", name: web}
    - {duid: "00:02:00:00:00:09:77", address: "2001:db8:1::21", name: db, lease: infinite}
dns: {domain: lab, upstream: none}
`

var peerArgs6 = []string{
	"--dhcp-range=2001:db8:1::1000,2001:db8:1::1fff,slaac,64,1h", "--dhcp-authoritative",
	"--dhcp-option=option6:dns-server,[" + gateway6 + "]", "--dhcp-option=option6:domain-search,lab,corp.example",
	"--dhcp-option=option6:ntp-server,[2001:db8:1::5],[2001:db8:1::6]", "--dhcp-option=option6:bootfile-url,tftp://[2001:db8:1::1]/boot",
	"--dhcp-host=02:c6:00:00:00:01,[2001:db8:1::20],web", "--dhcp-host=id:00:02:00:00:00:09:77,[2001:db8:1::21],db,infinite",
}

// facts6 is all that an answer says, by name.
func facts6(a *dhcpv6.Message) map[string]string {
	if a == nil {
		return map[string]string{"type": "none"}
	}
	f := map[string]string{"type": a.MessageType.String()}
	for _, o := range a.Options.Options {
		switch o := o.(type) {
		case *dhcpv6.OptIANA:
			f["IA times"] = fmt.Sprint(o.T1, o.T2)
			for _, in := range o.Options.Options {
				iaFacts(f, in)
			}
		case *dhcpv6.OptIAPD:
			f["IA_PD times"] = fmt.Sprint(o.T1, o.T2)
			for _, in := range o.Options.Options {
				iaFacts(f, in)
			}
		case *dhcpv6.OptStatusCode:
			f["status"] = o.StatusCode.String()
		default:
			if code := o.Code(); code != dhcpv6.OptionClientID && code != dhcpv6.OptionServerID {
				f[fmt.Sprint("option ", uint16(code))] = fmt.Sprintf("%x", o.ToBytes())
			}
		}
	}
	return f
}

func iaFacts(f map[string]string, o dhcpv6.Option) {
	switch o := o.(type) {
	case *dhcpv6.OptIAAddress:
		// Which of the free addresses a stranger gets is each server's own business.
		address := o.IPv6Addr.String()
		if bytes.Compare(o.IPv6Addr.To16(), net.ParseIP("2001:db8:1::1000")) >= 0 && bytes.Compare(o.IPv6Addr.To16(), net.ParseIP("2001:db8:1::1fff")) <= 0 {
			address = "dynamic"
		}
		f["address"] += address
		f["lifetimes"] += fmt.Sprint(o.PreferredLifetime.Seconds(), " ", o.ValidLifetime.Seconds())
	case *dhcpv6.OptStatusCode:
		f["IA status"] = o.StatusCode.String()
	default:
		f[fmt.Sprint("IA option ", o.Code())] = fmt.Sprintf("%x", o.ToBytes())
	}
}

// question6 is a message to both servers, from the client of a number.
type question6 struct {
	name   string
	client int
	ask    func(c *rawClient6) *dhcpv6.Message
}

// asks6 makes the question what a message is answered with, if at all.
func asks6(name string, client int, kind dhcpv6.MessageType, with func(c *rawClient6) []dhcpv6.Modifier) question6 {
	return question6{name, client, func(c *rawClient6) *dhcpv6.Message { return c.ask(c.message(kind, with(c)...), dhcpSilence) }}
}

// aboutLease makes it the answer about a lease that the client has.
func aboutLease(name string, client int, kind dhcpv6.MessageType, server bool) question6 {
	return question6{name, client, func(c *rawClient6) *dhcpv6.Message {
		c.obtain(peerList6)
		with := []dhcpv6.Modifier{c.holds(), peerList6}
		if server {
			with = append(with, c.toServer())
		}
		return c.ask(c.message(kind, with...), dhcpSilence)
	}}
}

var peerList6 = wants6(23, 24)

func lists6() (all []question6) {
	solicits := func(name string, codes ...dhcpv6.OptionCode) {
		all = append(all, asks6(name, 10, dhcpv6.MessageTypeSolicit, func(c *rawClient6) []dhcpv6.Modifier {
			with := []dhcpv6.Modifier{c.wantsAddress()}
			if codes != nil {
				with = append(with, wants6(codes...))
			}
			return with
		}))
	}
	solicits("no list")
	solicits("list of nothing known", 150, 252)
	solicits("list of dhclient", 23, 24, 31)
	solicits("list of systemd", 23, 24, 31, 39, 56, 82)
	solicits("list of a firmware", 59, 60, 15, 16, 23)
	for _, code := range []dhcpv6.OptionCode{7, 12, 13, 14, 22, 23, 24, 27, 31, 32, 39, 56, 59, 60, 82, 83} {
		solicits(fmt.Sprint("option ", uint16(code), " alone"), code)
	}
	return all
}

func states6() []question6 {
	address := func(addr ...string) func(c *rawClient6) []dhcpv6.Modifier {
		return func(c *rawClient6) []dhcpv6.Modifier { return []dhcpv6.Modifier{c.wantsAddress(addr...), peerList6} }
	}
	plus := func(with func(c *rawClient6) []dhcpv6.Modifier, more ...dhcpv6.Modifier) func(c *rawClient6) []dhcpv6.Modifier {
		return func(c *rawClient6) []dhcpv6.Modifier { return append(with(c), more...) }
	}
	server := func(with func(c *rawClient6) []dhcpv6.Modifier) func(c *rawClient6) []dhcpv6.Modifier {
		return func(c *rawClient6) []dhcpv6.Modifier {
			c.obtain(peerList6)
			return append(with(c), c.toServer())
		}
	}
	duid := func(c *rawClient6) []dhcpv6.Modifier {
		c.duid = &dhcpv6.DUIDEN{EnterpriseNumber: 9, EnterpriseIdentifier: []byte{0x77}}
		return []dhcpv6.Modifier{c.wantsAddress(), peerList6}
	}
	const solicit = dhcpv6.MessageTypeSolicit
	return []question6{
		asks6("reserved by MAC", 1, solicit, address()),
		asks6("reserved by DUID", 2, solicit, duid),
		asks6("an address wanted", 12, solicit, address("2001:db8:1::1077")),
		asks6("another's address wanted", 13, solicit, address("2001:db8:1::20")),
		asks6("an address of elsewhere wanted", 13, solicit, address("2001:db8:9::20")),
		asks6("two messages", 14, solicit, plus(address(), dhcpv6.WithRapidCommit)),
		asks6("a name of its own", 15, solicit, plus(address(), called("fifteen.lab"), wants6(39))),
		asks6("no IA", 16, solicit, func(*rawClient6) []dhcpv6.Modifier { return []dhcpv6.Modifier{peerList6} }),
		asks6("a prefix", 16, solicit, func(c *rawClient6) []dhcpv6.Modifier { return []dhcpv6.Modifier{c.wantsPrefix(), peerList6} }),
		{"a lease", 17, func(c *rawClient6) *dhcpv6.Message {
			c.answered(c.message(solicit, c.wantsAddress(), peerList6), dhcpv6.MessageTypeAdvertise)
			return c.ask(c.message(dhcpv6.MessageTypeRequest, c.wantsAddress(), peerList6, c.toServer()), dhcpPatience)
		}},
		aboutLease("renewal", 18, dhcpv6.MessageTypeRenew, true),
		aboutLease("rebinding", 19, dhcpv6.MessageTypeRebind, false),
		aboutLease("confirmation", 20, dhcpv6.MessageTypeConfirm, false),
		aboutLease("release", 21, dhcpv6.MessageTypeRelease, true),
		aboutLease("decline", 22, dhcpv6.MessageTypeDecline, true),
		aboutLease("renewal of a reservation", 1, dhcpv6.MessageTypeRenew, true),
		asks6("renewal of another address", 23, dhcpv6.MessageTypeRenew, server(address("2001:db8:1::1abc"))),
		asks6("rebinding of elsewhere", 24, dhcpv6.MessageTypeRebind, address("2001:db8:9::20")),
		asks6("rebinding of a stranger", 25, dhcpv6.MessageTypeRebind, address("2001:db8:1::1abd")),
		asks6("confirmation of elsewhere", 26, dhcpv6.MessageTypeConfirm, address("2001:db8:9::20")),
		asks6("confirmation of nothing", 26, dhcpv6.MessageTypeConfirm, address()),
		asks6("request of elsewhere", 27, dhcpv6.MessageTypeRequest, server(address("2001:db8:9::20"))),
		asks6("request without a server", 28, dhcpv6.MessageTypeRequest, address()),
		asks6("release of nothing", 29, dhcpv6.MessageTypeRelease, server(address("2001:db8:1::1abe"))),
		asks6("information", 30, dhcpv6.MessageTypeInformationRequest, func(*rawClient6) []dhcpv6.Modifier {
			return []dhcpv6.Modifier{wants6(23, 24, 31, 32, 56, 59)}
		}),
		asks6("an answer of a server", 31, dhcpv6.MessageTypeAdvertise, address()),
		asks6("a type that does not exist", 31, 99, address()),
	}
}

func intended6() []difference {
	const preferred = "addresses are deprecated before they end, at three quarters, and T1 and T2 are the parts of that which RFC 8415 section 21.4 recommends; dnsmasq has one time for both, parts of its own, and makes them vary"
	const only = "dnsmasq tells more than it is asked for; RFC 4704 section 6 has the name told to who sends one or asks for it"
	const preference = "of an offer alone (RFC 8415 section 21.8)"
	const sntp = "for clients that know the older option alone (RFC 4075); dnsmasq has it as an option of its own"
	const longer = "the time until clients ask again where nobody gives them anything is theirs to ask for, and is shortened by nobody here (RFC 8415 section 21.24)"
	return []difference{
		{fact: "status", why: "where it is good there is none to tell (RFC 8415 section 21.13), and what is wrong with an IA stands in that"},
		{fact: "IA times", why: preferred},
		{fact: "lifetimes", why: preferred},
		{fact: "option 31", why: sntp},
		{fact: "option 82", why: longer},
		{fact: "option 83", why: longer},
		{question: "reserved by MAC", fact: "option 39", why: only},
		{question: "reserved by DUID", fact: "option 39", why: only},
		{question: "renewal of a reservation", fact: "option 39", why: only},
		{question: "a name of its own", fact: "option 39", why: "dnsmasq tells the domain with the lease only"},
		{question: "two messages", fact: "option 7", why: preference},
		{question: "a lease", fact: "option 7", why: preference},
		{question: "no IA", why: "who wants no lease sends an information request (RFC 8415 section 18.2.6)"},
		{question: "a prefix", why: "the IA says that there is none, and the rest is told all the same (RFC 8415 section 18.3.9); dnsmasq speaks of addresses"},
		{question: "renewal of another address", why: "the client has a lease by that IA: it keeps that, and the other one ends (RFC 8415 section 18.3.4)"},
		{question: "release of nothing", fact: "address", why: "nothing but the status is in the IA (RFC 8415 section 18.3.7)"},
	}
}

// Every answer is dnsmasq's, but for what is intended.
func TestAnswersOfDnsmasq6(t *testing.T) {
	t.Parallel()
	differences := intended6()
	used := map[difference]bool{}
	weft := newWire6(t, newServed6(t, peerDHCP6, "raw").hosts[0])
	dnsmasq := newWire6(t, startDnsmasq6(t, peerArgs6...))
	for _, q := range slices.Concat(lists6(), states6()) {
		want, got := facts6(q.ask(dnsmasq.client(q.client))), facts6(q.ask(weft.client(q.client)))
		compareFacts(t, q.name, want, got, differences, used)
	}
	for _, d := range differences {
		if !used[d] && !d.sometimes && !t.Failed() {
			t.Errorf("there is no such difference: %+v", d)
		}
	}
}
