package snooping

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/weft/weft/dataplane/frame"
)

const (
	// MaxPorts bounds the index of a port.
	MaxPorts = 4096

	// vlanCount bounds a VLAN id, 0 being untagged.
	vlanCount = 4096

	// shardBits sets how finely a Table is divided: a change copies only the
	// shards and pages that it is in, the others are shared with the old one.
	shardBits  = 8
	shardCount = 1 << shardBits
	pageSize   = 64
	pageCount  = vlanCount / pageSize
)

// key is a group in a VLAN. Groups are told apart by IP address: 32 IPv4 groups
// share one MAC address (RFC 1112 clause 6.4).
type key struct {
	group [16]byte
	vlan  uint16
}

// Table says to which ports frames to groups go. It is immutable: any number of
// goroutines may read it, and none may change a set that it returns. The nil
// Table restricts nothing.
type Table struct {
	hash   hash
	shards [shardCount]map[key][]uint64
	pages  [familyCount][pageCount]*page
}

// page holds the domains of adjacent VLANs, by VLAN.
type page [pageSize]view

// view is what a Table knows of a domain beside its groups.
type view struct {
	restrict bool
	routers  []uint64
	rest     []uint64 // where groups go that nobody has joined
}

// Ports returns the set of ports that a frame to a group address, in a VLAN,
// goes to: bit p%64 of word p/64 stands for port p. The set may be shorter than
// the number of ports, and empty. Where restrict is false there is no set, and
// the frame is to be flooded.
//
// The set has the members of the IP group, the router ports, and the ports that
// get all groups; see the package for when there is none.
func (t *Table) Ports(vlan uint16, f *frame.Frame) (set []uint64, restrict bool) {
	family, group, ok := destination(f)
	if !ok {
		return nil, false
	}
	v := t.view(vlan, family)
	if v == nil || !v.restrict {
		return nil, false
	}
	k := key{group, vlan}
	if set, ok := t.shards[t.hash.shard(&k)][k]; ok {
		return set, true
	}
	return v.rest, true
}

// Routers returns the set of ports, in the form of Ports, that a Report in a
// VLAN goes to: those where a querier or a router of its IP version was heard.
func (t *Table) Routers(vlan uint16, f *frame.Frame) []uint64 {
	if len(f.Bytes()) < frame.HeaderLen {
		return nil
	}
	family := IPv4
	if f.EtherType() == frame.TypeIPv6 {
		family = IPv6
	}
	if v := t.view(vlan, family); v != nil {
		return v.routers
	}
	return nil
}

// view returns what is known of a domain, nil where nothing is.
func (t *Table) view(vlan uint16, family Family) *view {
	if t == nil || vlan >= vlanCount {
		return nil
	}
	p := t.pages[family.index()][vlan/pageSize]
	if p == nil {
		return nil
	}
	return &p[vlan%pageSize]
}

// destination returns the IP group that a frame is for, and false where it is
// for none that may be restricted.
func destination(f *frame.Frame) (family Family, group [16]byte, ok bool) {
	b := f.Bytes()
	if len(b) < frame.HeaderLen+20 {
		return 0, group, false
	}
	ip := b[frame.HeaderLen:]
	switch f.EtherType() {
	case frame.TypeIPv4: // RFC 1112 clause 6.4
		if b[0] == 0x01 && b[1] == 0 && b[2] == 0x5e && ip[0]>>4 == 4 && ip[16]>>4 == 0xe {
			group = IPv4.address(ip[16:20])
			return IPv4, group, restrictable(&group)
		}
	case frame.TypeIPv6: // RFC 2464 clause 7
		if b[0] == 0x33 && b[1] == 0x33 && len(ip) >= ipv6Len && ip[0]>>4 == 6 && ip[24] == 0xff {
			group = [16]byte(ip[24:40])
			return IPv6, group, restrictable(&group)
		}
	}
	return 0, group, false
}

// restrictable reports whether a group's traffic may be kept from ports at all.
// RFC 4541 clause 2.1.2 excepts 224.0.0.0/24. IPv6 scopes up to the link's
// (RFC 4291 clause 2.7) are what neighbour discovery and routing live on, and
// not every host reports those.
func restrictable(group *[16]byte) bool {
	if group[0] == 0xff {
		return group[1]&0xf > 2
	}
	return [3]byte(group[12:15]) != [3]byte{224, 0, 0}
}

// hash spreads keys over shards. Its factors are random, so that nobody can
// pick groups that fill one shard, and make each change cost a large copy.
type hash [3]uint64

func newHash() hash {
	return hash{rand.Uint64() | 1, rand.Uint64() | 1, rand.Uint64() | 1}
}

func (h *hash) shard(k *key) int {
	sum := binary.BigEndian.Uint64(k.group[0:8])*h[0] + binary.BigEndian.Uint64(k.group[8:16])*h[1] + uint64(k.vlan)*h[2]
	return int(sum >> (64 - shardBits))
}
