package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// The test in this file holds weft's router advertisements against those of dnsmasq,
// field by field and option by option; dhcp6_peers_test.go does so with DHCPv6.

// startDnsmasq6 starts a dnsmasq at the gateway's addresses that serves IPv6 alone and
// keeps nothing outside the test's folder, and returns the namespace of a guest there.
func startDnsmasq6(t *testing.T, args ...string) *porttest.NS {
	t.Helper()
	server, guest := porttest.NewNS(t, "dns"), porttest.NewNS(t, "guest")
	porttest.Veth(t, server, "eth0", guest, "eth0")
	server.Run(t, "ip", "link", "set", "eth0", "address", gatewayMAC)
	server.Run(t, "ip", "-6", "addr", "flush", "dev", "eth0")
	server.Addr(t, "eth0", gatewayLocal+"/64")
	server.Addr(t, "eth0", gateway6+"/64")
	hostDnsmasq(t, server, append([]string{"--port=0", "--interface=eth0", "--enable-ra", "--domain=lab",
		"--dhcp-leasefile=" + filepath.Join(t.TempDir(), "leases")}, args...)...)
	return guest
}

// router6 is one configuration for both.
type router6 struct{ name, weft, dnsmasq string }

func routers6() []router6 {
	const dns = "dns: {domain: lab, upstream: none}\n"
	const names = " --dhcp-option=option6:dns-server,[" + gateway6 + "] --dhcp-option=option6:domain-search,lab"
	return []router6{
		{"SLAAC alone", "ra: {lifetime: 1800s, valid: 1h, preferred: 1h}\n" + dns,
			"--dhcp-range=2001:db8:1::,ra-only,1h" + names},
		{"stateless", "ra: {lifetime: 1800s, valid: 1h, preferred: 1h}\ndhcp6: {stateless: true}\n" + dns,
			"--dhcp-range=2001:db8:1::,ra-stateless,1h" + names},
		{"both", "ra: {lifetime: 1800s, valid: 1h, preferred: 1h}\ndhcp6: {range: \"" + pool6 + "\"}\n" + dns,
			"--dhcp-range=2001:db8:1::1000,2001:db8:1::1fff,slaac,64,1h" + names},
		{"DHCPv6 alone", "ra: {lifetime: 1800s, valid: 1h, preferred: 1h, autonomous: false}\ndhcp6: {range: \"" + pool6 + "\"}\n" + dns,
			"--dhcp-range=2001:db8:1::1000,2001:db8:1::1fff,64,1h" + names},
		{"parameters", "ra: {lifetime: 900s, interval: 60s, preference: high, mtu: 1400, valid: 2h, preferred: 2h, rdnss: [\"2001:db8::53\", \"2001:db8::54\"], dnssl: [lab, corp.example]}\n" + dns,
			"--dhcp-range=2001:db8:1::,ra-only,2h --ra-param=eth0,mtu:1400,high,60,900" +
				" --dhcp-option=option6:dns-server,[2001:db8::53],[2001:db8::54] --dhcp-option=option6:domain-search,lab,corp.example"},
		{"no router", "ra: {lifetime: 0s, preference: low, mtu: none, valid: 1h, preferred: 1h, rdnss: none, dnssl: none}\ndns: {enabled: false}\n",
			"--dhcp-range=2001:db8:1::,ra-only,1h --ra-param=eth0,mtu:off,low,600,0 --dhcp-option=option6:dns-server --dhcp-option=option6:domain-search"},
	}
}

// raFacts asks for an advertisement and returns all that it says, by name.
func raFacts(t *testing.T, ns *porttest.NS) map[string]string {
	t.Helper()
	conn, mac := ns.RawConn(t, "eth0"), frame.MAC{2, 0xc6, 0, 0, 0, 0x11}
	var got []byte
	eventually(t, "somebody advertises", func() bool {
		_ = conn.TrySend(ndp.Packet(mac, ndp.GroupMAC(ndp.AllRouters), ndp.LinkLocal(mac), ndp.AllRouters, ndp.Solicitation(mac)).Bytes())
		got = conn.RecvMatch(4*time.Second, func(f []byte) bool { return len(f) > 54 && f[20] == 58 && f[54] == ndp.RouterAdvertisement })
		return got != nil
	})
	p := gopacket.NewPacket(got, layers.LayerTypeEthernet, gopacket.Default)
	ra, _ := p.Layer(layers.LayerTypeICMPv6RouterAdvertisement).(*layers.ICMPv6RouterAdvertisement)
	if ra == nil {
		t.Fatalf("no advertisement: % x", got)
	}
	ip := p.Layer(layers.LayerTypeIPv6).(*layers.IPv6)
	f := map[string]string{
		"source": ip.SrcIP.String(), "limit of the packet": fmt.Sprint(ip.HopLimit), "class": fmt.Sprint(ip.TrafficClass),
		"hop limit": fmt.Sprint(ra.HopLimit), "flags": fmt.Sprintf("%08b", ra.Flags), "lifetime": fmt.Sprint(ra.RouterLifetime),
		"reachable": fmt.Sprint(ra.ReachableTime), "retransmit": fmt.Sprint(ra.RetransTimer),
	}
	for _, o := range ra.Options {
		for name, value := range raOption(byte(o.Type), o.Data) {
			f[name] += value
		}
	}
	return f
}

// raOption says what an option has, after its type and length.
func raOption(kind byte, b []byte) map[string]string {
	seconds := func(at int) string { return fmt.Sprint(binary.BigEndian.Uint32(b[at:])) }
	switch kind {
	case 1:
		return map[string]string{"MAC": net.HardwareAddr(b).String()}
	case 3:
		return map[string]string{"prefix": fmt.Sprintf("%s/%d", net.IP(b[14:30]), b[0]), "prefix flags": fmt.Sprintf("%08b", b[1]),
			"valid": seconds(2), "preferred": seconds(6)}
	case 5:
		return map[string]string{"MTU": seconds(2)}
	case 24:
		return map[string]string{"route": fmt.Sprintf("% x", b)}
	case 25:
		var list []string
		for at := 6; at+16 <= len(b); at += 16 {
			list = append(list, net.IP(b[at:at+16]).String())
		}
		return map[string]string{"RDNSS": strings.Join(list, " "), "RDNSS lifetime": seconds(2)}
	case 31:
		return map[string]string{"DNSSL": fmt.Sprintf("%q", strings.TrimRight(string(b[6:]), "\x00")), "DNSSL lifetime": seconds(2)}
	}
	return map[string]string{fmt.Sprint("option ", kind): fmt.Sprintf("% x", b)}
}

func intendedRA() []difference {
	const life = "RFC 8106 section 5.1 has three intervals, as the default router has; dnsmasq takes the time of a lease"
	return []difference{
		{fact: "class", why: "dnsmasq marks them as network control (CS6); on this link nobody looks at it, and RFC 4861 has no word on it"},
		{fact: "RDNSS lifetime", why: life},
		{fact: "DNSSL lifetime", why: life},
		{question: "no router", fact: "flags", why: "what is no default router has no preference (RFC 4191 section 2.2)"},
	}
}

// Every advertisement is dnsmasq's, but for what is intended.
func TestAdvertisementsOfDnsmasq(t *testing.T) {
	t.Parallel()
	porttest.Require(t)
	differences := intendedRA()
	used := map[difference]bool{}
	for _, r := range routers6() {
		want := raFacts(t, startDnsmasq6(t, strings.Fields(r.dnsmasq)...))
		got := raFacts(t, newServed6(t, both+r.weft, "raw").hosts[0])
		compareFacts(t, r.name, want, got, differences, used)
	}
	for _, d := range differences {
		if !used[d] && !d.sometimes && !t.Failed() {
			t.Errorf("there is no such difference: %+v", d)
		}
	}
}
