package dns

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	wire "github.com/miekg/dns"
)

const (
	staticTTL   = 60 // seconds; of what the configuration says
	leaseTTL    = 10 // of what may be over at any moment
	negativeTTL = 10 // a machine that is just starting will have a name soon

	// maxSet bounds the records of one type that a name has, in bytes: more would
	// not fit into any message.
	maxSet = 32 << 10

	maxText   = 20 << 10 // the strings of a TXT record, with their lengths
	maxString = 255      // one of them (RFC 1035 clause 3.3.14)
	srvFixed  = 6        // before the target of an SRV record (RFC 2782)
)

// zone is the static part of what is known here. It does not change once it is
// built.
type zone struct {
	names map[string]*node // by name in wire form
	soa   []byte           // the data of the SOA record of negative answers
}

// node is what is known of a name; nothing where only names below it are.
type node struct {
	sets []set
	// whole: the name is answered from here in all types, also in those that it
	// does not have. A host whose address is set here would else be asked for
	// elsewhere in another type, and found there.
	whole bool
}

// set is the records of one type, as they stand in a reply.
type set struct {
	kind    uint16
	count   uint16
	data    []byte
	targets []string // of SRV: the hosts that they lead to, each once, by name in wire form
	full    bool     // more did not fit
}

func (n *node) find(kind uint16) *set {
	for i := range n.sets {
		if n.sets[i].kind == kind || kind == wire.TypeANY {
			return &n.sets[i] // for ANY the first: RFC 8482 clause 4.1
		}
	}
	return nil
}

// zoneBuilder collects records; what cannot be one becomes a problem, and is left out.
type zoneBuilder struct {
	zone
	domain   string
	problems []string
}

// buildZone makes the zone of a configuration and the lines of its hosts file.
// The order says which name an address has where it has several: the first.
func buildZone(cfg *Config, hosts []hostLine) (*zone, []string) {
	b := &zoneBuilder{domain: cfg.Domain}
	b.names = map[string]*node{}
	var own []netip.Addr
	for _, p := range cfg.Gateway {
		own = append(own, p.Addr())
	}
	b.host(cfg.Name, own)
	for _, name := range slices.Sorted(maps.Keys(cfg.Hosts)) {
		b.host(name, cfg.Hosts[name])
	}
	for _, h := range hosts {
		for _, name := range h.names {
			b.host(name, []netip.Addr{h.addr})
		}
	}
	// RFC 6761 clause 6.3.
	b.host("localhost.", []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()})
	for _, name := range slices.Sorted(maps.Keys(cfg.TXT)) {
		b.text(name, cfg.TXT[name])
	}
	for _, s := range cfg.SRV {
		b.service(s)
	}
	b.authority(cfg.Name)
	return &b.zone, b.problems
}

func (b *zoneBuilder) problem(format string, args ...any) {
	b.problems = append(b.problems, fmt.Sprintf(format, args...))
}

// qualified is a name with the domain, where it is of one label (or of two that
// name a service: RFC 2782) and does not end with a dot.
func (b *zoneBuilder) qualified(name string) string {
	dots := strings.Count(name, ".")
	if b.domain == "" || dots > 1 || dots == 1 && !strings.HasPrefix(name, "_") || strings.HasSuffix(name, ".") {
		return name
	}
	return name + "." + b.domain
}

// add gives a name, and the one with the domain, a record.
func (b *zoneBuilder) add(name string, kind uint16, data []byte) bool {
	for _, text := range slices.Compact([]string{name, b.qualified(name)}) {
		key, ok := wireName(text)
		if !ok {
			b.problem("%q cannot be a name: give labels of 1 to 63 letters, digits and hyphens, with dots between them", text)
			return false
		}
		b.put(key, kind, data)
	}
	return true
}

func (b *zoneBuilder) put(key string, kind uint16, data []byte) {
	n := b.names[key]
	if n == nil {
		n = &node{}
		b.names[key] = n
	}
	n.whole = n.whole || kind == wire.TypeA || kind == wire.TypeAAAA || kind == wire.TypePTR
	record := appendRecord(nil, toQuestion, kind, staticTTL, data)
	s := n.find(kind)
	if s == nil {
		n.sets = append(n.sets, set{kind: kind})
		s = &n.sets[len(n.sets)-1]
	}
	if kind == wire.TypePTR && s.count > 0 {
		return // an address has one name: the first
	}
	if len(s.data)+len(record) > maxSet {
		if !s.full {
			b.problem("%s has more records than fit into a message: give it fewer", displayName(key))
		}
		s.full = true
		return
	}
	if s.has(record) {
		return
	}
	s.data, s.count = append(s.data, record...), s.count+1
	if kind == wire.TypeSRV {
		if t := string(data[srvFixed:]); t != rootName && !slices.Contains(s.targets, t) {
			s.targets = append(s.targets, t)
		}
	}
}

// has reports whether the record is there already.
func (s *set) has(record []byte) bool {
	for rest := s.data; len(rest) > 0; {
		n := recordLen(rest)
		if string(rest[:n]) == string(record) {
			return true
		}
		rest = rest[n:]
	}
	return false
}

// recordLen is the length of the first record of a set.
func recordLen(b []byte) int { return 2 + fixedRR + int(binary.BigEndian.Uint16(b[2+8:])) }

func (b *zoneBuilder) host(name string, addrs []netip.Addr) {
	target, ok := wireName(b.qualified(name))
	for _, a := range addrs {
		a = a.Unmap().WithZone("")
		kind := uint16(wire.TypeA)
		if a.Is6() {
			kind = wire.TypeAAAA
		}
		if !a.IsValid() || !b.add(name, kind, a.AsSlice()) {
			return
		}
		if ok {
			b.put(reverseName(a), wire.TypePTR, []byte(target))
		}
	}
}

// text makes one record of the values: each is a string of it, or several where it
// is longer than one may be.
func (b *zoneBuilder) text(name string, values []string) {
	var data []byte
	for _, v := range values {
		for first := true; first || v != ""; first = false {
			n := min(len(v), maxString)
			data = append(append(data, byte(n)), v[:n]...)
			v = v[n:]
		}
	}
	switch {
	case len(data) > maxText:
		b.problem("the text of %s has %d bytes: give at most %d", name, len(data), maxText)
	case len(data) > 0: // a record has one string at least
		b.add(name, wire.TypeTXT, data)
	}
}

func (b *zoneBuilder) service(s SRV) {
	target, ok := wireName(s.Target)
	if s.Target == "" {
		target, ok = rootName, true // RFC 2782: decidedly not available
	}
	if !ok {
		b.problem("%q cannot be the target of service %s: give the name of a host", s.Target, s.Name)
		return
	}
	data := binary.BigEndian.AppendUint16(nil, s.Priority)
	data = binary.BigEndian.AppendUint16(data, s.Weight)
	data = binary.BigEndian.AppendUint16(data, s.Port)
	b.add(s.Name, wire.TypeSRV, append(data, target...))
}

// authority makes the data of the SOA record (RFC 1035 clause 3.3.13). There is no
// second server that could copy anything, so its times mean little but for the last,
// which is how long a negative answer is good for (RFC 2308 clause 4).
func (b *zoneBuilder) authority(self string) {
	server, ok := wireName(b.qualified(self))
	if !ok {
		server = rootName
	}
	b.soa = append([]byte(server), "\x0ahostmaster"...)
	if len(server) > maxName-len("\x0ahostmaster") {
		server = rootName
	}
	b.soa = append(b.soa, server...)
	for _, v := range []uint32{1, 3600, 600, 86400, negativeTTL} {
		b.soa = binary.BigEndian.AppendUint32(b.soa, v)
	}
}

// fillGaps makes the names between a local-only domain and those below it exist:
// they have nothing, but NXDOMAIN would deny what is below them (RFC 8020).
func (z *zone) fillGaps(isLocal func(name string) bool) {
	var gaps []string
	for name := range z.names {
		for up, ok := parent(name); ok && z.names[up] == nil && isLocal(up); up, ok = parent(up) {
			gaps = append(gaps, up)
		}
	}
	for _, name := range gaps {
		z.names[name] = &node{}
	}
}
