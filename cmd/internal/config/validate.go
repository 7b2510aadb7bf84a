package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weft/weft/dataplane/frame"
)

// Bounds of the values of a configuration.
const (
	maxName      = 15 // a port's name is the name of its interface, where it has no other
	maxInterface = 15 // IFNAMSIZ-1, include/uapi/linux/if.h
	maxNetns     = 255
	maxVLAN      = 4094       // IEEE 802.1Q-2018 table 9-2
	minMTU       = 68         // RFC 791 section 3.2
	maxMTU       = 65535 - 18 // a frame with one tag stays below 64 KiB
	minAgeing    = time.Second
	maxAgeing    = 12 * time.Hour
	maxLimit     = 1 << 20
)

var errZeroMAC = errors.New("is the zero address: write another one")

// Validate checks a value that no file stands behind, after Normalize. The
// error is Errors, without file and lines, and holds everything that is wrong.
func Validate(c *Config) error {
	r := newReport("")
	r.config(c)
	return r.err()
}

func (r *report) config(c *Config) {
	r.listen(place{key: "metrics.listen"}, c.Metrics.Listen)
	seen := map[string]bool{}
	for i := range c.Networks {
		n := &c.Networks[i]
		at := place{network: n.Name}
		if seen[n.Name] {
			r.refuse(at, "is there already: give one of the two another name")
		}
		seen[n.Name] = true
		r.network(at, n)
	}
	r.interfaces(c)
}

func (r *report) listen(at place, s string) {
	if s == MetricsOff {
		return
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		r.refuse(at, "%s is not host:port: write it such as %s, or %s", quoted(s), DefaultListen, MetricsOff)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
		r.refuse(at, "%s is neither an address nor a host name: write it such as %s", quoted(host), DefaultListen)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		r.refuse(at, "port %s is not a number of 0-65535", quoted(port))
	}
}

// isHostName takes the empty name too: it listens on every address.
func isHostName(s string) bool {
	return len(s) <= 253 && !strings.ContainsFunc(s, func(c rune) bool { return !isNameRune(c) })
}

func isNameRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

func (r *report) name(at place, what, s string) {
	switch {
	case s == "":
		r.refuse(at, "a %s without a name: write one of 1-%d characters", what, maxName)
	case len(s) > maxName:
		r.refuse(at, "the name has %d characters: at most %d are possible", len(s), maxName)
	case strings.ContainsFunc(s, func(c rune) bool { return !isNameRune(c) }):
		r.refuse(at, "the name may hold A-Z a-z 0-9 . _ - only")
	case s[0] == '-' || s[0] == '.':
		r.refuse(at, "the name must not start with %q", s[0])
	}
}

// oneOf checks a word of which some values are planned, but not there yet.
func (r *report) oneOf(at place, s, only string, later ...string) {
	switch {
	case s == only:
	case slices.Contains(later, s):
		r.refuse(at, "%q is not available in this version; use %s", s, only)
	default:
		r.refuse(at, "%s is unknown; use %s", quoted(s), only)
	}
}

func (r *report) network(at place, n *Network) {
	r.name(at, "network", n.Name)
	r.oneOf(at.sub("forward"), n.Forward, ForwardIsolated, "nat", "route", "bridge")
	r.within(at.sub("mtu"), n.MTU, minMTU, maxMTU, " bytes")
	r.fdb(at.sub("fdb"), n)
	seen := map[string]bool{}
	macs := map[frame.MAC]string{}
	addresses := map[netip.Addr]string{}
	for i := range n.Ports {
		p := &n.Ports[i]
		in := place{network: n.Name, port: p.Name}
		if seen[p.Name] {
			r.refuse(in, "is there already: give one of the two another name")
		}
		seen[p.Name] = true
		r.port(in, p)
		r.uniqueMAC(in.sub("mac"), p, macs)
		r.uniqueAddresses(in.sub("address"), p, addresses)
	}
}

func (r *report) within(at place, v, least, most int, unit string) {
	if v < least || v > most {
		r.refuse(at, "%d is out of range: give %d-%d%s", v, least, most, unit)
	}
}

func (r *report) fdb(at place, n *Network) {
	f := &n.FDB
	if f.Ageing != 0 && (f.Ageing < minAgeing || f.Ageing > maxAgeing) {
		r.refuse(at.sub("ageing"), "%v is out of range: give 1s-12h, or 0s for never", f.Ageing)
	}
	r.within(at.sub("limit"), f.Limit, 1, maxLimit, " entries")
	if !r.refused[at.sub("limit")] {
		r.within(at.sub("port_limit"), f.PortLimit, 0, f.Limit, " entries (0 means the limit of the network)")
	}
	type address struct {
		mac  frame.MAC
		vlan uint16
	}
	seen := map[address]bool{}
	for i, s := range f.Static {
		in := at.sub("static").index(i)
		r.static(in, s, n)
		if a := (address{s.MAC, s.VLAN}); seen[a] {
			r.refuse(in.sub("mac"), "%v with VLAN %d is there already: remove one of the two", s.MAC, s.VLAN)
		} else {
			seen[a] = true
		}
	}
}

func (r *report) static(at place, s StaticEntry, n *Network) {
	switch {
	case s.MAC == frame.MAC{}:
		r.refuse(at.sub("mac"), "is missing or zero: write the address to pin, such as 02:00:00:00:00:01")
	case s.MAC.IsGroup():
		r.refuse(at.sub("mac"), "%v is a group address: only a unicast address can be pinned", s.MAC)
	}
	if s.VLAN > maxVLAN {
		r.refuse(at.sub("vlan"), "%v", badVLAN(int(s.VLAN)))
	}
	if s.Port == "" {
		r.refuse(at.sub("port"), "is missing: write the name of a port of this network")
	} else if n.Port(s.Port) == nil {
		r.refuse(at.sub("port"), "there is no port %s in this network%s", quoted(s.Port), nearPort(s.Port, n))
	}
}

func nearPort(name string, n *Network) string {
	known := make([]string, len(n.Ports))
	for i := range n.Ports {
		known[i] = n.Ports[i].Name
	}
	if near := nearest(name, known); near != "" {
		return "; did you mean " + quoted(near) + "?"
	}
	return ": add it, or name another one"
}

func badVLAN(v int) error {
	return fmt.Errorf("%d is out of range: give 1-%d, or 0 for untagged", v, maxVLAN)
}

func (r *report) uniqueMAC(at place, p *Port, seen map[frame.MAC]string) {
	if p.MAC == (frame.MAC{}) {
		return
	}
	if other, twice := seen[p.MAC]; twice {
		r.refuse(at, "%v is the address of port %s already: give each port its own", p.MAC, quoted(other))
		return
	}
	seen[p.MAC] = p.Name
}

func (r *report) uniqueAddresses(at place, p *Port, seen map[netip.Addr]string) {
	for i, a := range p.Addresses {
		if other, twice := seen[a.Addr()]; twice && a.IsValid() {
			r.refuse(at.index(i), "%v is an address of port %s already: use each one once", a.Addr(), quoted(other))
			continue
		}
		seen[a.Addr()] = p.Name
	}
}

// interfaces refuses an interface that two ports of any networks would open.
func (r *report) interfaces(c *Config) {
	type device struct{ netns, name string }
	seen := map[device]string{}
	for _, n := range c.Networks {
		for _, p := range n.Ports {
			d := device{p.Netns, p.Interface}
			if p.Type != TypeInternal {
				d.netns = ""
			}
			if other, twice := seen[d]; twice {
				at := place{network: n.Name, port: p.Name, key: "interface"}
				r.refuse(at, "%s is the interface of port %s already: give each port its own", quoted(p.Interface), other)
				continue
			}
			seen[d] = n.Name + "/" + p.Name
		}
	}
}

// badInterface says why the kernel would not take the name of an interface
// (dev_valid_name in net/core/dev.c), empty where it would. A "%" would make
// the kernel number the name, and what does not print nobody can type.
func badInterface(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxInterface:
		return fmt.Sprintf("has %d bytes, the kernel takes at most %d", len(s), maxInterface)
	case s == "." || s == "..":
		return "is not a name"
	case strings.ContainsAny(s, "/:% ") || !printable(s):
		return `must not hold "/", ":", "%", a blank or what does not print`
	}
	return ""
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}
