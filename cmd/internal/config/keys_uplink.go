package config

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func uplinkKeys() []key[Uplink] {
	return []key[Uplink]{
		value("interface", labels(), func(u *Uplink) *string { return &u.Interface }),
		value("reflective", truths(), func(u *Uplink) *bool { return &u.Reflective }),
		uplinkAddressKey(),
		uplinkGatewayKey(),
		value("proxy_arp", truths(), func(u *Uplink) *bool { return &u.ProxyARP }),
	}
}

// A pair is what an uplink has of both families, IPv4 first. One of a single
// family is written alone.
func pair[V comparable](f form[V], four, six V) output {
	var none V
	switch {
	case six == none:
		return f.output(four)
	case four == none:
		return f.output(six)
	}
	return f.outputList([]V{four, six})
}

// uplinkAddressKey has one word for both families, or one or two for a family each.
func uplinkAddressKey() key[Uplink] {
	return key[Uplink]{
		name: "address",
		decode: func(r *report, n ast.Node, at place, into, _ *Uplink) {
			into.Address, into.Address6 = "", ""
			list := decodeList(r, n, at, words())
			for i, s := range list {
				in := r.item(at, i, len(list))
				if why := into.addAddress(s, list); why != "" {
					r.refuse(in, "%s", why)
				}
				r.refused[at] = r.refused[at] || r.refused[in] // the whole is not worth a second message
			}
			if into.Address == "" && into.Address6 != "" {
				into.Address = AddressNone
			}
		},
		write: func(from *Uplink) output {
			four := from.Address
			if four == AddressNone && from.Address6 != "" {
				four = ""
			}
			return pair(words(), four, from.Address6)
		},
		reset: func(into, def *Uplink) { into.Address, into.Address6 = def.Address, def.Address6 },
	}
}

// addAddress puts one of a list into the place of its family, or says why it has
// none there.
func (u *Uplink) addAddress(s string, list []string) (why string) {
	into, what := &u.Address, ipv4
	switch {
	case s == "": // refused for itself
		return ""
	case s == AddressNone && len(list) > 1: // of the family that the list does not have
		if len(list) > 2 || list[0] == list[1] {
			return AddressNone + " is for the family that nothing else is written of: remove it"
		}
		return ""
	case len(list) > 1 && slices.Contains(sharedWords(), s):
		return s + " stands beside others, and it is for both families: write it alone"
	case isOfIPv6(s):
		into, what = &u.Address6, ipv6
	case len(list) > 1:
		if why := unknownWord(s); why != "" {
			return why
		}
	}
	if *into != "" {
		return s + " is a second address of " + what.String() + ", where an uplink has one of each family: keep one of them"
	}
	*into = s
	return ""
}

// sharedWords stand for the addresses of this host, of both families.
func sharedWords() []string { return []string{AddressAuto, AddressHost, AddressSockets} }

// isOfIPv6 reports whether a word or an address of an uplink is for IPv6.
func isOfIPv6(s string) bool {
	return s == AddressSLAAC || s == AddressDHCP6 || strings.Contains(s, ":")
}

// unknownWord says what is wrong with what is no address and no word, else empty.
func unknownWord(s string) string {
	known := append(sharedWords(), AddressDHCP, AddressSLAAC, AddressDHCP6, AddressNone)
	if slices.Contains(known, s) || strings.ContainsAny(s, "./:") {
		return ""
	}
	why := ": write one of them"
	if near := nearest(s, known); near != "" {
		why = "; did you mean " + quoted(near) + "?"
	}
	return quoted(s) + " is neither an address such as 192.0.2.2/24 nor auto, host, sockets, dhcp, slaac or dhcp6" + why
}

// uplinkGatewayKey has an address of one family, or one of each.
func uplinkGatewayKey() key[Uplink] {
	return key[Uplink]{
		name: "gateway",
		decode: func(r *report, n ast.Node, at place, into, _ *Uplink) {
			into.Gateway, into.Gateway6 = netip.Addr{}, netip.Addr{}
			list := decodeList(r, n, at, addresses())
			for i, a := range list {
				of := &into.Gateway
				if a.Is6() {
					of = &into.Gateway6
				}
				in := r.item(at, i, len(list))
				if a.IsValid() && of.IsValid() {
					r.refuse(in, "%v is a second gateway of %v, where an uplink has one of each family: keep one of them", a, familyOf(a))
				}
				r.refused[at] = r.refused[at] || r.refused[in]
				*of = a
			}
		},
		write: func(from *Uplink) output { return pair(addresses(), from.Gateway, from.Gateway6) },
		reset: func(into, def *Uplink) { into.Gateway, into.Gateway6 = def.Gateway, def.Gateway6 },
	}
}
