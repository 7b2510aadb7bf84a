package config

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/weft/weft/dataplane/frame"
)

// port checks one port by itself.
func (r *report) port(at place, p *Port) {
	r.name(at, "port", p.Name)
	if why := badInterface(p.Interface); why != "" {
		// Where it is the port's own name, that was refused already.
		if p.Interface != p.Name {
			r.refuse(at.sub("interface"), "%s %s: choose another name", quoted(p.Interface), why)
		}
	}
	r.policy(at, &p.Policy)
	switch p.Type {
	case TypeTap, TypeRaw, TypeInternal:
		r.keysOfType(at, p)
	case "":
		r.refuse(at.sub("type"), "is missing: write one of tap, raw, internal")
		return
	default:
		r.refuse(at.sub("type"), "%s is unknown%s", quoted(p.Type), hint(p.Type, []string{TypeTap, TypeRaw, TypeInternal}))
		return
	}
	r.account(at.sub("owner"), p.Owner, "user")
	r.account(at.sub("group"), p.Group, "group")
	if p.Type == TypeInternal {
		r.internal(at, p)
	}
}

// keysOfType refuses what has no meaning for a port of that type.
func (r *report) keysOfType(at place, p *Port) {
	for _, k := range []struct {
		key, only string
		set       bool
	}{
		{"owner", TypeTap, p.Owner != ""},
		{"group", TypeTap, p.Group != ""},
		{"netns", TypeInternal, p.Netns != ""},
		{"mac", TypeInternal, p.MAC != frame.MAC{}},
		{"address", TypeInternal, len(p.Addresses) > 0},
	} {
		if k.set && p.Type != k.only {
			r.refuse(at.sub(k.key), "is for ports of type %s only, this one is %s: remove it", k.only, p.Type)
		}
	}
}

// account checks the form of a user or group; whether there is one is known
// only on the machine.
func (r *report) account(at place, s, what string) {
	if s == "" {
		return
	}
	if strings.Trim(s, "0123456789") == "" {
		// All ones is "no change" to the kernel (include/linux/uidgid.h).
		if id, err := strconv.ParseUint(s, 10, 32); err != nil || id == 1<<32-1 {
			r.refuse(at, "%s is not a number of a %s: give 0-4294967294, or a name", quoted(s), what)
		}
		return
	}
	if s[0] == '-' || strings.ContainsAny(s, " :/") || !printable(s) {
		r.refuse(at, "%s is not a name of a %s", quoted(s), what)
	}
}

func (r *report) internal(at place, p *Port) {
	switch {
	case p.MAC == frame.MAC{}:
		r.refuse(at.sub("mac"), "%v", errZeroMAC)
	case p.MAC.IsGroup():
		r.refuse(at.sub("mac"), "%v is a group address: an interface needs a unicast one, such as 02:00:00:00:00:01", p.MAC)
	}
	if s := p.Netns; s == "." || s == ".." || len(s) > maxNetns || strings.ContainsAny(s, "/ ") || !printable(s) {
		r.refuse(at.sub("netns"), "%s is not a name of a network namespace: give one that \"ip netns list\" prints", quoted(s))
	}
	for i, a := range p.Addresses {
		if why := badAddress(a); why != "" {
			r.refuse(r.item(at.sub("address"), i, len(p.Addresses)), "%v %s", a, why)
		}
	}
}

// badAddress says why a prefix is no address of an interface, else empty.
func badAddress(p netip.Prefix) string {
	a := p.Addr()
	switch {
	case !p.IsValid():
		return "is not an address: write it such as 192.0.2.1/24"
	case a.Is4In6():
		return "is an IPv4 address in IPv6 form: write it in IPv4 form"
	case a.IsUnspecified() || a.IsMulticast():
		return "is not an address of one host: write one"
	case a.Is4() && p.Bits() < 31 && a == p.Masked().Addr(): // RFC 3021 for 31 bits
		return "is the address of the whole subnet: write that of the host"
	}
	return ""
}
