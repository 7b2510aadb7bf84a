package config

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// anySix draws IPv6 addresses of a gateway in fd01:NUMBER::/32, and what is behind
// them. Its clients are those of at.
func anySix(t *rapid.T, n *Network, number int) {
	subnet := func(i byte) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 3: byte(number), 7: i, 15: 1}), 64)
	}
	list := []netip.Prefix{subnet(0)}
	if rapid.Bool().Draw(t, "ula") {
		list = append(list, ULA(n.Name))
	}
	if rapid.Bool().Draw(t, "two") {
		list = append(list, subnet(1))
	}
	if rapid.Bool().Draw(t, "only IPv6") && !n.DHCP.Enabled() {
		n.Addresses = nil
		n.DHCP.Router = RouterAuto
	}
	n.Addresses = slices.Concat(list[1:], n.Addresses, list[:1])
	n.MTU = max(n.MTU, minMTU6)
	anyRA(t, n)
	anyDHCP6(t, n, list[0], number)
	n.DNS.SLAAC = rapid.Bool().Draw(t, "slaac")
}

func anyRA(t *rapid.T, n *Network) {
	seconds := func(least, most time.Duration, label string) time.Duration {
		return time.Duration(rapid.IntRange(int(least/time.Second), int(most/time.Second)).Draw(t, label)) * time.Second
	}
	flag := rapid.SampledFrom([]string{FlagAuto, FlagTrue, FlagFalse})
	a := &n.RA
	a.Enabled = rapid.Bool().Draw(t, "ra")
	a.Interval = seconds(minInterval*time.Second, maxInterval*time.Second, "ra interval")
	a.Lifetime = rapid.SampledFrom([]time.Duration{LifetimeAuto, 0, seconds(a.Interval, maxLifetime*time.Second, "lifetime")}).Draw(t, "lifetimes")
	a.Preference = rapid.SampledFrom([]string{PreferenceLow, PreferenceMedium, PreferenceHigh}).Draw(t, "preference")
	a.Managed, a.Other = flag.Draw(t, "managed"), flag.Draw(t, "other")
	a.MTU = rapid.SampledFrom([]int{MTUAuto, MTUNone, minMTU6, n.MTU}).Draw(t, "ra mtu")
	a.HopLimit = rapid.IntRange(0, 255).Draw(t, "hop limit")
	a.Valid = rapid.SampledFrom([]time.Duration{InfiniteLease, seconds(a.Interval, maxLease, "valid")}).Draw(t, "valids")
	a.Preferred = rapid.SampledFrom([]time.Duration{0, a.Interval, a.Valid}).Draw(t, "preferred")
	a.Autonomous = rapid.Bool().Draw(t, "autonomous")
	if a.RDNSSAuto = rapid.Bool().Draw(t, "rdnss auto"); !a.RDNSSAuto {
		a.RDNSS = anyList(t, "rdnss", 0, 2, func(i int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: byte(i)}) })
	}
	if a.DNSSLAuto = rapid.Bool().Draw(t, "dnssl auto"); !a.DNSSLAuto {
		a.DNSSL = anyList(t, "dnssl", 0, 2, func(i int) string { return fmt.Sprintf("d%d.example", i) })
	}
	a.Routes = anyList(t, "ra routes", 0, 2, func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 2, 3: byte(i)}), 48)
	})
}

func anyDHCP6(t *rapid.T, n *Network, gateway netip.Prefix, number int) {
	at := func(i byte) netip.Addr {
		b := gateway.Addr().As16()
		b[15] = i
		return netip.AddrFrom16(b)
	}
	d := &n.DHCP6
	d.Lease, d.MaxLeases = anyLease(t), rapid.IntRange(0, maxLeases).Draw(t, "max_leases 6")
	d.Rapid = rapid.Bool().Draw(t, "rapid")
	d.NTP = anyList(t, "ntp 6", 0, 2, at2)
	d.Search = anyList(t, "search 6", 0, 2, func(i int) string { return fmt.Sprintf("s%d.example", i) })
	if rapid.Bool().Draw(t, "options 6") {
		d.Options = []DHCP6Option{{Key: rapid.SampledFrom([]string{"ntp-server", "56", "option6:ntp-servers"}).Draw(t, "key 6"), Value: "fd00::1,ntp.example"},
			{Key: "bootfile-url", Value: rapid.SampledFrom(odd[1:]).Draw(t, "value 6")}, {Key: "65000", Value: rapid.SampledFrom([]string{"x y", "01:02:ff", "fd00::1,fd00::2", "true"}).Draw(t, "opaque 6")}}
	}
	if d.Stateless = rapid.Bool().Draw(t, "stateless"); d.Stateless {
		return
	}
	d.Ranges = anyList(t, "ranges 6", 0, 3, func(i int) Range {
		return []Range{{at(16), at(16)}, {at(17), at(200)}, {at(201), at(201)}}[i]
	})
	d.Hosts = anyList(t, "hosts 6", 0, 3, func(i int) DHCP6Host {
		h := DHCP6Host{Address: at(byte(2 + i)), Name: fmt.Sprintf("x%d-%d", i, number), DUID: []byte{0, 4, byte(i)}}
		switch rapid.IntRange(0, 4).Draw(t, "kind 6") {
		case 0:
			h.MAC, h.DUID = anyMAC(t), nil
			h.MAC[5] = byte(i)
		case 1:
			h.Address, h.Lease = netip.Addr{}, anyLease(t)
		case 2:
			h.Address, h.Name, h.Ignore = netip.Addr{}, "", true
		}
		return h
	})
	d.Delegate = anyList(t, "delegate", 0, 2, func(i int) Delegate {
		p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 3, 3: byte(number), 4: byte(i)}), 40)
		return Delegate{p, rapid.IntRange(40, 64).Draw(t, "length")}
	})
}

func at2(i int) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)}) }

// anyForward6 draws what an uplink that is not shared with the host has of IPv6, and
// what becomes of that.
func anyForward6(t *rapid.T, n *Network, number int) {
	u := &n.Uplink
	out := func(i byte) netip.Addr { return netip.AddrFrom16([16]byte{0: 0xfd, 1: 4, 3: byte(number), 15: i}) }
	words := []string{AddressSLAAC, AddressDHCP6, netip.PrefixFrom(out(2), 64).String()}
	switch {
	case !hasIPv4(n) && rapid.Bool().Draw(t, "only IPv6 outside"):
		u.Interface, u.Address = "six"+fmt.Sprint(number), AddressNone
	case u.Owned():
		words = append(words, "")
	default:
		words = nil
	}
	if len(words) > 0 {
		u.Address6 = rapid.SampledFrom(words).Draw(t, "address6")
		if u.Prefix6().IsValid() && rapid.Bool().Draw(t, "gateway6") {
			u.Gateway6 = rapid.SampledFrom([]netip.Addr{out(1), netip.MustParseAddr("fe80::1")}).Draw(t, "router")
		}
	}
	if n.Forward == ForwardNAT && len(n.Gateway6()) > 0 && u.Address != AddressSockets && len(n.NAT.Addresses) == 0 {
		words := []string{NATMasquerade, NATRoute}
		if len(n.Gateway6()) == 1 {
			words = append(words, netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 5, 3: byte(number)}), 64).String())
		}
		n.NAT.IPv6 = rapid.SampledFrom(words).Draw(t, "nat.ipv6")
	}
	if n.Forward == ForwardNAT && u.Prefix6().IsValid() && n.NAT.IPv6 == NATMasquerade && rapid.Bool().Draw(t, "pool 6") {
		n.NAT.Addresses = append(n.NAT.Addresses, Range{out(10), out(200)})
	}
	if n.keepsAddresses() {
		word := rapid.SampledFrom([]string{InboundOpen, InboundPublished})
		n.Inbound = Inbound{word.Draw(t, "inbound 4"), word.Draw(t, "inbound 6")}
	}
	if len(n.Gateway6()) == 0 {
		return
	}
	guest := n.Gateway6()[0].Addr().Next()
	n.Routes = append(n.Routes, anyList(t, "routes 6", 0, 2, func(i int) Route {
		to := netip.PrefixFrom(netip.AddrFrom16([16]byte{0: 0xfd, 1: 6, 3: byte(i)}), 48)
		return Route{to, rapid.SampledFrom([]netip.Addr{guest, netip.MustParseAddr("fe80::7")}).Draw(t, "via 6")}
	})...)
	if n.Forwards() && rapid.Bool().Draw(t, "publish 6") {
		port := 1000*(number+1) + 500
		n.NAT.Publish = append(n.NAT.Publish, Publish{TCP, Listen{First: port, Last: port + 3}, netip.AddrPortFrom(guest, uint16(port))})
	}
}
