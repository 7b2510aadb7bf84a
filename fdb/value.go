package fdb

import "github.com/weft/weft/dataplane/frame"

// Kind says where an entry comes from.
type Kind uint8

const (
	// Dynamic: learned from a frame; ages, moves, and goes with a flush.
	Dynamic Kind = iota
	// Static: set by the operator.
	Static
	// Local: an address of the switch itself, such as the gateway's.
	Local
	// Sticky: learned from a frame at a port where PortConfig.Sticky is set;
	// stays there until it is removed.
	Sticky
)

// String returns the word that the API and its users see.
func (k Kind) String() string {
	switch k {
	case Dynamic:
		return "dynamic"
	case Static:
		return "static"
	case Local:
		return "local"
	case Sticky:
		return "sticky"
	}
	return "unknown"
}

// Result is what Learn made of an address.
type Result uint8

const (
	// Known: the entry is there, and nothing had to be written.
	Known Result = iota
	// Refreshed: the entry is there, and its age begins anew.
	Refreshed
	// Learned: the address is new.
	Learned
	// Moved: the address was behind another port until now.
	Moved
	// PortLimit: the address is new, and its port, being at its limit, lost
	// an older entry to it.
	PortLimit
	// Full: the address is new, and the table being at its limit, the port
	// with the most dynamic entries lost an older one to it.
	Full
	// StaticConflict: a static or local entry names another port. It stays.
	StaticConflict
	// StickyConflict: the address is sticky on another port. It stays.
	StickyConflict
	// Denied: the address is not at this port yet, which holds as many as
	// PortConfig.Max allows. It stays unknown, or where it was.
	Denied
	// NotLearnable: a group address, the zero address, or no valid port.
	NotLearnable
	// NoRoom: all the places that the address may stand in are taken. The
	// table is laid out such that this takes luck beyond reason (below 1e-12
	// for a table at its limit); Stats.Refused counts it.
	NoRoom
)

// String returns the result in lower case with hyphens.
func (r Result) String() string {
	switch r {
	case Known:
		return "known"
	case Refreshed:
		return "refreshed"
	case Learned:
		return "learned"
	case Moved:
		return "moved"
	case PortLimit:
		return "port-limit"
	case Full:
		return "full"
	case StaticConflict:
		return "static-conflict"
	case StickyConflict:
		return "sticky-conflict"
	case Denied:
		return "denied"
	case NotLearnable:
		return "not-learnable"
	case NoRoom:
		return "no-room"
	}
	return "unknown"
}

// A key is VLAN and address in one word. No entry has the key 0, since the
// zero address is never learned: 0 marks an empty slot.
//
//	 63      48 47                       0
//	+----------+--------------------------+
//	|   VLAN   |           MAC            |
//	+----------+--------------------------+
func keyOf(vlan uint16, mac frame.MAC) uint64 {
	return uint64(vlan)<<48 | mac.Uint64()
}

const groupBit = 1 << 40 // the I/G bit of the address within a key

// learnable reports whether an entry may have this key: IEEE 802.1Q-2022
// clause 8.7 b) learns individual addresses only, and the zero address is
// nobody's.
func learnable(key uint64) bool { return key&groupBit == 0 && key<<16 != 0 }

// A value is the rest of an entry in one word. Comparing all but seen tells
// in one step whether an entry is dynamic, alive and where it was.
//
//	 63      48 47        32 31  30 29        0
//	+----------+------------+------+-----------+
//	|   port   | generation | kind | last seen |
//	+----------+------------+------+-----------+
type value uint64

const (
	seenBits  = 30
	seenMask  = 1<<seenBits - 1
	kindShift = seenBits
	genShift  = 32
	portShift = 48

	maxAge = 1<<(seenBits-1) - 1 // seconds; more is the clock of a caller that lags
)

func pack(p Port, gen uint32, k Kind, now uint32) value {
	return value(p)<<portShift | value(gen&0xffff)<<genShift | value(k)<<kindShift | value(now&seenMask)
}

func (v value) port() Port   { return Port(v >> portShift) }
func (v value) gen() uint16  { return uint16(v >> genShift) }
func (v value) kind() Kind   { return Kind(v>>kindShift) & 3 }
func (v value) seen() uint32 { return uint32(v) & seenMask }

// as returns v as an entry of another kind that does not age.
func (v value) as(k Kind) value { return pack(v.port(), 0, k, 0) }

// sameBut reports whether v and w differ in nothing but when they were seen.
func (v value) sameBut(w value) bool { return (v^w)>>seenBits == 0 }

// age returns the seconds since v was seen, 0 where now is before that.
func (v value) age(now uint32) uint32 {
	d := (now - v.seen()) & seenMask
	if d > maxAge {
		return 0
	}
	return d
}
