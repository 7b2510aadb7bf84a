package config

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/weft/weft/dataplane/frame"
)

// A key is one line of the table of a level: its name, how its value gets out
// of a file into a T, and how it is written out and compared. A new key of the
// configuration is a new line.
type key[T any] struct {
	name   string
	decode func(r *report, n ast.Node, at place, into, def *T) // def as in decodeMap
	write  func(from *T) output
	reset  func(into, def *T) // nil where the key is fixed

	fixed bool // cannot change while what it belongs to runs
	brief bool // written out only where it is not the default
	terse bool // in a line of Diff about the map that it is in, without its name
}

func configKeys() []key[Config] {
	return []key[Config]{
		mapping("metrics", metricsKeys(), func(c *Config) *Metrics { return &c.Metrics }),
		value("lease_file", labels(), func(c *Config) *string { return &c.LeaseFile }),
		{name: "networks", decode: decodeNetworks, write: writeNetworks, fixed: true},
	}
}

func metricsKeys() []key[Metrics] {
	return []key[Metrics]{
		value("listen", words(), func(m *Metrics) *string { return &m.Listen }),
	}
}

func networkKeys() []key[Network] {
	return []key[Network]{
		value("forward", words(), func(n *Network) *string { return &n.Forward }),
		value("mac", macs(), func(n *Network) *frame.MAC { return &n.MAC }),
		addressKey(),
		value("vlan", vlanIDs(), func(n *Network) *uint16 { return &n.VLAN }),
		value("host_port", orFalse(labels()), func(n *Network) *string { return &n.HostPort }),
		asMeant(mapping("uplink", uplinkKeys(), func(n *Network) *Uplink { return &n.Uplink })),
		table("routes", routeKeys(), func(n *Network) *[]Route { return &n.Routes }),
		list("reach", words(), func(n *Network) *[]string { return &n.Reach }),
		useful((*Network).keepsAddresses, inboundKey()),
		useful(translates, mapping("nat", natKeys(), func(n *Network) *NAT { return &n.NAT })),
		value("mtu", integers(), func(n *Network) *int { return &n.MTU }),
		value("reserved_groups", words(), func(n *Network) *string { return &n.ReservedGroups }),
		mapping("stp", stpKeys(), func(n *Network) *STP { return &n.STP }),
		mapping("snooping", snoopingKeys(), func(n *Network) *Snooping { return &n.Snooping }),
		mapping("fdb", fdbKeys(), func(n *Network) *FDB { return &n.FDB }),
		useful(hasIPv6, asking(func(n *Network) bool { return n.RA.Enabled }, mapping("ra", raKeys(), func(n *Network) *RA { return &n.RA }))),
		useful(hasIPv4, mapping("dhcp", dhcpKeys(), func(n *Network) *DHCP { return &n.DHCP })),
		useful(hasIPv6, mapping("dhcp6", dhcp6Keys(), func(n *Network) *DHCP6 { return &n.DHCP6 })),
		useful(hasServices, mapping("dns", dnsKeys(), func(n *Network) *DNS { return &n.DNS })),
		{name: "ports", decode: decodePorts, write: writePorts, fixed: true},
	}
}

func stpKeys() []key[STP] {
	return []key[STP]{
		value("enabled", truths(), func(s *STP) *bool { return &s.Enabled }),
		value("priority", integers(), func(s *STP) *int { return &s.Priority }),
		value("hello", durations(), func(s *STP) *time.Duration { return &s.Hello }),
		value("max_age", durations(), func(s *STP) *time.Duration { return &s.MaxAge }),
		value("forward_delay", durations(), func(s *STP) *time.Duration { return &s.ForwardDelay }),
	}
}

func snoopingKeys() []key[Snooping] {
	return []key[Snooping]{
		value("enabled", truths(), func(s *Snooping) *bool { return &s.Enabled }),
		value("querier", truths(), func(s *Snooping) *bool { return &s.Querier }),
		value("interval", durations(), func(s *Snooping) *time.Duration { return &s.Interval }),
	}
}

func fdbKeys() []key[FDB] {
	return []key[FDB]{
		value("ageing", durations(), func(f *FDB) *time.Duration { return &f.Ageing }),
		value("limit", integers(), func(f *FDB) *int { return &f.Limit }),
		value("port_limit", integers(), func(f *FDB) *int { return &f.PortLimit }),
		fixed(apart(table("static", staticKeys(), func(f *FDB) *[]StaticEntry { return &f.Static }))),
	}
}

func staticKeys() []key[StaticEntry] {
	return []key[StaticEntry]{
		value("mac", macs(), func(s *StaticEntry) *frame.MAC { return &s.MAC }),
		value("vlan", staticVLANs(), func(s *StaticEntry) *uint16 { return &s.VLAN }),
		value("port", words(), func(s *StaticEntry) *string { return &s.Port }),
	}
}

// mapping is a key whose value is a map with keys of its own.
func mapping[T, V any](name string, keys []key[V], field func(*T) *V) key[T] {
	return key[T]{
		name: name,
		decode: func(r *report, n ast.Node, at place, into, def *T) {
			var d *V
			if def != nil {
				d = field(def)
			}
			decodeMap(r, n, at, keys, field(into), d)
		},
		write: func(from *T) output { return output{kind: aMap, sub: outputs(keys, field(from), nil)} },
		reset: func(into, def *T) {
			for _, k := range keys {
				if !k.fixed {
					k.reset(field(into), field(def))
				}
			}
		},
	}
}

// value is a key with a single value.
func value[T, V any](name string, f form[V], field func(*T) *V) key[T] {
	return key[T]{
		name: name,
		decode: func(r *report, n ast.Node, at place, into, _ *T) {
			decodeValue(r, n, at, f.parse, field(into))
		},
		write: func(from *T) output { return f.output(*field(from)) },
		reset: func(into, def *T) { *field(into) = *field(def) },
	}
}

// list is a key with any number of values, none where the file has "[]".
func list[T, V any](name string, f form[V], field func(*T) *[]V) key[T] {
	return key[T]{
		name: name,
		decode: func(r *report, n ast.Node, at place, into, _ *T) {
			*field(into) = nil
			if values := decodeList(r, n, at, f); len(values) > 0 {
				*field(into) = values
			}
		},
		write: func(from *T) output { return f.outputList(*field(from)) },
		reset: func(into, def *T) { *field(into) = *field(def) },
	}
}
