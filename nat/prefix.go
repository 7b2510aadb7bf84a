package nat

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"sort"
)

// PrefixMap translates the addresses of a prefix one to one, without ports: RFC
// 6296. Where both prefixes are the same, of either family, addresses stay as they
// are and their flows are tracked alone. Both are of one family and one length.
type PrefixMap struct{ Inside, Outside netip.Prefix }

// maxTranslated is the longest prefix that is translated: behind it is the interface
// identifier, which takes up the difference of the checksums (RFC 6296 clause 3.5).
const maxTranslated = 64

// subnetBits is the longest prefix behind which 16 bits of subnet do that (RFC 6296
// clause 3.4).
const subnetBits = 48

func (m PrefixMap) String() string {
	if m.Inside == m.Outside {
		return fmt.Sprintf("prefix %s", m.Inside)
	}
	return fmt.Sprintf("prefix %s to %s", m.Inside, m.Outside)
}

// validate refuses maps that cannot be.
func (m PrefixMap) validate() error {
	in, out := m.Inside, m.Outside
	switch {
	case !in.IsValid() || !out.IsValid() || in.Addr().Is4In6() || out.Addr().Is4In6():
		return fmt.Errorf("%s: not a prefix; write one as 2001:db8::/64", m)
	case in.Addr().Is4() != out.Addr().Is4() || in.Bits() != out.Bits():
		return fmt.Errorf("%s: they must be of one family and one length", m)
	case in.Masked() == out.Masked():
		return nil
	case in.Addr().Is4():
		return fmt.Errorf("%s: IPv4 prefixes are not translated into each other; use addresses, or one prefix for both", m)
	case in.Bits() > maxTranslated:
		return fmt.Errorf("%s: RFC 6296 needs 64 bits behind the prefix; use /%d or shorter", m, maxTranslated)
	}
	return nil
}

// Translate returns the outside address of an inside one. ok is false for one that the
// map does not hold, or that RFC 6296 leaves out.
func (m PrefixMap) Translate(inside netip.Addr) (outside netip.Addr, ok bool) {
	if !m.Inside.Contains(inside) || m.validate() != nil {
		return netip.Addr{}, false
	}
	r, a := ruleOf(m.Inside, m.Outside), inside.As16()
	to, ok := r.apply(&a)
	if !ok {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(to).Unmap(), true
}

// prefixRule is a PrefixMap in one direction: addresses in prefix from become such
// in prefix to.
type prefixRule struct {
	hi, lo         uint64 // from
	maskHi, maskLo uint64
	toHi, toLo     uint64
	adjust         uint16 // what the changed word takes up
	bits           uint8  // as of an IPv6 prefix
	same           bool   // from is to
	family         family

	zone Zone // of the rules of a whole table
	open bool

	parent int // the next longer one that this one lies in, or -1
}

// ruleOf returns the rule of a valid map from one of its prefixes to the other.
func ruleOf(from, to netip.Prefix) prefixRule {
	a, b := from.Masked().Addr().As16(), to.Masked().Addr().As16()
	r := prefixRule{bits: uint8(from.Bits()), same: a == b, family: familyOf(&a)}
	if r.family == ipv4 {
		r.bits += 96
	}
	r.hi, r.lo = bigWords(&a)
	r.toHi, r.toLo = bigWords(&b)
	r.maskHi, r.maskLo = ^uint64(0)<<(64-min(r.bits, 64)), ^uint64(0)<<(128-max(r.bits, 64))
	r.adjust = add16(sumWords(r.hi, r.lo), ^sumWords(r.toHi, r.toLo))
	return r
}

// sumWords returns the one's complement sum of an address.
func sumWords(hi, lo uint64) uint16 {
	s, carry := bits.Add64(hi, lo, 0)
	s, carry = bits.Add64(s, 0, carry)
	s += carry
	s = s>>32 + s&0xffffffff
	s = s>>16 + s&0xffff
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// add16 adds in one's complement.
func add16(a, b uint16) uint16 {
	s := uint32(a) + uint32(b)
	return uint16(s>>16 + s)
}

// holds reports whether an address is in the prefix that the rule is from. The
// family tells IPv4 addresses from the rest of ::/0.
func (r *prefixRule) holds(hi, lo uint64, f family) bool {
	return (hi^r.hi)&r.maskHi == 0 && (lo^r.lo)&r.maskLo == 0 && f == r.family
}

// apply translates an address that the prefix holds, so that all checksums which
// cover it stay right. ok is false for those that RFC 6296 leaves out: subnet 0xffff
// behind a /48, and the interface identifiers of all zeros and of all ones.
func (r *prefixRule) apply(a *[16]byte) (to [16]byte, ok bool) {
	if r.same {
		return *a, true
	}
	hi, lo := bigWords(a)
	hi = hi&^r.maskHi | r.toHi
	if r.bits <= subnetBits {
		word := uint16(hi)
		if word == 0xffff {
			return to, false
		}
		hi = hi&^0xffff | uint64(r.adjusted(word))
	} else {
		shift := wordToAdjust(lo)
		if lo == 0 || shift < 0 {
			return to, false
		}
		lo = lo&^(0xffff<<shift) | uint64(r.adjusted(uint16(lo>>shift)))<<shift
		if lo == 0 {
			return to, false // would come back as nothing
		}
	}
	binary.BigEndian.PutUint64(to[:8], hi)
	binary.BigEndian.PutUint64(to[8:], lo)
	return to, true
}

// adjusted never returns 0xffff, which is 0 too in one's complement.
func (r *prefixRule) adjusted(word uint16) uint16 {
	if word = add16(word, r.adjust); word == 0xffff {
		return 0
	}
	return word
}

// wordToAdjust returns by how many bits the first word of an interface identifier is
// shifted that is not 0xffff, -1 where there is none.
func wordToAdjust(iid uint64) int {
	for shift := 48; shift >= 0; shift -= 16 {
		if uint16(iid>>shift) != 0xffff {
			return shift
		}
	}
	return -1
}

// prefixRules are rules in the order of their prefixes, of which one may lie in
// another: the longest one counts. They never change.
type prefixRules []prefixRule

// newPrefixRules sorts them.
func newPrefixRules(all []prefixRule) prefixRules {
	slices.SortFunc(all, func(a, b prefixRule) int {
		return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo), cmp.Compare(a.bits, b.bits))
	})
	for i := range all {
		r, parent := &all[i], i-1
		for parent >= 0 && !((r.hi^all[parent].hi)&all[parent].maskHi == 0 && (r.lo^all[parent].lo)&all[parent].maskLo == 0) {
			parent = all[parent].parent
		}
		r.parent = parent
	}
	return all
}

// find returns the rule for an address, or nil.
func (s prefixRules) find(a *[16]byte) *prefixRule {
	if len(s) == 0 {
		return nil
	}
	hi, lo := bigWords(a)
	f := familyOf(a)
	i := sort.Search(len(s), func(i int) bool { return s[i].hi > hi || s[i].hi == hi && s[i].lo > lo }) - 1
	for ; i >= 0; i = s[i].parent {
		if s[i].holds(hi, lo, f) {
			return &s[i]
		}
	}
	return nil
}
