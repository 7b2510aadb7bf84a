package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

const maxPort = 65535

// parsePorts takes 8000-8010, or one port.
func parsePorts(s string) (PortRange, error) {
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		to = from
	}
	first, err := parsePort(strings.TrimSpace(from))
	if err != nil {
		return PortRange{}, err
	}
	last, err := parsePort(strings.TrimSpace(to))
	if err != nil {
		return PortRange{}, err
	}
	v := PortRange{first, last}
	return v, badPorts(v)
}

func parsePort(s string) (int, error) {
	v, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(v) != s {
		return 0, fmt.Errorf("%s is not a port: write a number of 1-%d, or a range such as 8000-8010", quoted(s), maxPort)
	}
	return v, nil
}

func badPorts(v PortRange) error {
	for _, p := range []int{v.First, v.Last} {
		if p < 1 || p > maxPort {
			return fmt.Errorf("port %d is out of range: give 1-%d", p, maxPort)
		}
	}
	if v.First > v.Last {
		return fmt.Errorf("%s runs backwards: write it as %s", formatPorts(v), formatPorts(PortRange{v.Last, v.First}))
	}
	return nil
}

func formatPorts(v PortRange) string {
	if v.First == v.Last {
		return strconv.Itoa(v.First)
	}
	return strconv.Itoa(v.First) + "-" + strconv.Itoa(v.Last)
}

// ParseListen reads what a file has as listen: a port, a range of them, or either
// behind an address of this host and a colon, such as 127.0.0.1:19888.
func ParseListen(s string) (Listen, error) {
	ports, colon := s, strings.LastIndexByte(s, ':')
	var l Listen
	if err := Unbracketed(s); err != nil {
		return l, err
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && a.Zone() == "" {
		return l, fmt.Errorf("%v has no port: write it too, such as %v", a, netip.AddrPortFrom(a, 19888))
	}
	switch {
	case colon == 0:
		return l, fmt.Errorf("%s has no address: write %s for the uplink, or an address of this host before the colon", quoted(s), quoted(s[1:]))
	case colon > 0:
		a, err := parseAddr(strings.Trim(s[:colon], "[]"))
		if err != nil {
			return l, err
		}
		l.Addr, ports = a, s[colon+1:]
	}
	v, err := parsePorts(ports)
	l.First, l.Last = v.First, v.Last
	return l, err
}

// Unbracketed refuses an address of IPv6 that has no brackets and a port, or ports,
// behind it. Where it ends nobody knows, but who writes a number last means a port.
func Unbracketed(s string) error {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return nil
	}
	a, err := netip.ParseAddr(s[:colon])
	if _, err2 := parsePorts(s[colon+1:]); err != nil || err2 != nil || !a.Is6() || a.Zone() != "" {
		return nil
	}
	return fmt.Errorf("%s has no brackets around its IPv6 address: write [%v]:%s", quoted(s), a, s[colon+1:])
}

// String returns what ParseListen takes; nothing for the zero Listen.
func (l Listen) String() string {
	if l == (Listen{}) {
		return ""
	}
	ports := formatPorts(PortRange{l.First, l.Last})
	switch {
	case !l.Addr.IsValid():
		return ports
	case l.Addr.Is6():
		return "[" + l.Addr.String() + "]:" + ports
	}
	return l.Addr.String() + ":" + ports
}

// count returns the number of ports.
func (l Listen) count() int { return l.Last - l.First + 1 }

func parseTarget(s string) (netip.AddrPort, error) {
	p, err := netip.ParseAddrPort(s)
	if err == nil {
		return p, nil
	}
	if err := Unbracketed(s); err != nil {
		return p, err
	}
	colon := strings.LastIndexByte(s, ':')
	if a, err := netip.ParseAddr(s); err == nil {
		return p, fmt.Errorf("%v has no port: write it too, such as %v", a, netip.AddrPortFrom(a, 22))
	}
	if first, _, ok := strings.Cut(s[colon+1:], "-"); ok && colon > 0 {
		return p, fmt.Errorf("%s is a range, and those follow listen from the first on: write %s", quoted(s), quoted(s[:colon+1]+first))
	}
	return p, fmt.Errorf("%s is not an address and a port: write those of the guest, such as 192.168.122.10:22", quoted(s))
}

// ParsePublish reads the three values of a published port as a file has them. It
// does not look at what they are for: see Network.CheckPublish.
func ParsePublish(protocol, listen, to string) (Publish, error) {
	p := Publish{Protocol: protocol}
	l, err := ParseListen(listen)
	if err != nil {
		return p, fmt.Errorf("listen: %w", err)
	}
	if p.To, err = parseTarget(to); err != nil {
		return p, fmt.Errorf("to: %w", err)
	}
	p.Listen = l
	return p, nil
}

// String returns the three for people: "tcp 19888 to 192.168.122.10:22".
func (p Publish) String() string {
	return p.Protocol + " " + p.Listen.String() + " to " + p.To.String()
}
