package config

import (
	"crypto/sha256"
	"net/netip"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// ulaWord is how a file asks for ULA as an address of the gateway.
const ulaWord = "ula"

// ULA returns the gateway's address in the unique local subnet of a network, with
// its prefix length of 64: the same for the same name on every machine and at
// every start. RFC 4193 section 3.2 wants 40 bits that nobody else has; those of a
// hash keep the networks of one machine apart, and need no file that remembers.
func ULA(name string) netip.Prefix {
	sum := sha256.Sum256([]byte("weft unique local prefix " + name))
	b := [16]byte{0: 0xfd, 15: 1}
	copy(b[1:6], sum[:5])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// gatewayAddresses are those of a network of that name, with a word for the one
// that is derived from it.
func gatewayAddresses(name string) form[netip.Prefix] {
	f := prefixes()
	f.parse = func(s string) (netip.Prefix, error) {
		if s == ulaWord {
			return ULA(name), nil
		}
		return parsePrefix(s)
	}
	f.write = func(p netip.Prefix) string {
		if p == ULA(name) {
			return ulaWord
		}
		return p.String()
	}
	return f
}

// addressKey is that of the gateway's addresses, whose form knows the network.
func addressKey() key[Network] {
	of := func(n *Network) key[Network] {
		return filled(list("address", gatewayAddresses(n.Name), func(n *Network) *[]netip.Prefix { return &n.Addresses }))
	}
	k := of(&Network{})
	k.decode = func(r *report, node ast.Node, at place, into, def *Network) {
		of(into).decode(r, node, at, into, def)
		into.ULA = def == nil && into.ULA // what a patch takes away is not put back
	}
	k.write = func(from *Network) output { return of(from).write(from) }
	k.reset = func(into, def *Network) { into.Addresses, into.ULA = def.Addresses, false }
	return k
}

// fillAddresses adds the unique local address where something asks for IPv6 and
// the network has no address of it. That of a bridge would answer all of the
// network outside.
func (n *Network) fillAddresses() {
	asked := n.ULA || n.DHCP6.Enabled() || n.RA.isSet()
	good := !slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return !p.IsValid() })
	if asked && good && n.Forward != ForwardBridge && len(n.Gateway6()) == 0 {
		n.Addresses = append(slices.Clip(n.Addresses), ULA(n.Name))
	}
	n.ULA = slices.Contains(n.Addresses, ULA(n.Name))
}

// outsideULA refuses an address in another subnet than the only one, where that is
// derived: whoever has written none does not know it by its number.
func (r *report) outsideULA(at place, n *Network, a netip.Addr) {
	if !n.ULA || len(n.Addresses) > 2 { // there are others
		return
	}
	own := ULA(n.Name)
	if six := n.Gateway6(); len(six) != 1 || six[0] != own || !ipv6.has(a) || !isHostAddress(a) || own.Contains(a) {
		return
	}
	meant := netip.PrefixFrom(a, slaacSubnet).Masked()
	list := append(n.addressesOf(ipv4), netip.PrefixFrom(meant.Addr().Next(), slaacSubnet))
	r.refuse(at, "%v is not in %v, the unique local subnet of a network that has no other of IPv6: write one, such as address: %s",
		a, own.Masked(), prefixes().outputList(list).file)
}
