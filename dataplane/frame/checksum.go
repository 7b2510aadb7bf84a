package frame

import (
	"encoding/binary"
	"math/bits"
)

// udpCsumOffset and tcpCsumOffset are where the transport headers keep their
// checksum (RFC 768, RFC 9293 clause 3.1).
const (
	udpCsumOffset = 6
	tcpCsumOffset = 16
)

// Checksum returns the Internet checksum (RFC 1071) of b: the complement of
// the sum of its 16-bit words, an odd last byte filled up with zero. initial is
// what had been summed before, as PseudoHeader returns it; it may be any number
// of big-endian words added up.
//
// The checksum of a header or packet whose checksum field is in place and
// right is 0.
func Checksum(b []byte, initial uint64) uint16 {
	return ^fold(initial + uint64(sum(b)))
}

// PseudoHeader returns the sum of the pseudo header that TCP, UDP and ICMPv6
// cover (RFC 9293 clause 3.1, RFC 8200 clause 8.1). src and dst are both of 4 or
// both of 16 bytes; length counts the transport header and its payload.
//
// An IPv4-mapped address sums up to the same as the IPv4 address it holds, the
// prefix ::ffff being the zero of one's complement.
func PseudoHeader(src, dst []byte, protocol uint8, length int) uint64 {
	return uint64(sum(src)) + uint64(sum(dst)) + uint64(protocol) + uint64(length)
}

// UpdateChecksum16 returns what the checksum check becomes when the 16-bit word
// before, at an even offset of what it covers, is replaced with after (RFC 1624
// equation 3). A UDP checksum of 0 over IPv4 means that there is none: it must
// not be updated, and a result of 0 must be written as 0xffff (RFC 768).
//
// A partial checksum holds a sum, not its complement: complement it before and
// after, and update it for words of the pseudo header only.
func UpdateChecksum16(check, before, after uint16) uint16 {
	return ^fold(uint64(^check) + uint64(^before) + uint64(after))
}

// UpdateChecksum32 is UpdateChecksum16 for two adjacent words.
func UpdateChecksum32(check uint16, before, after uint32) uint16 {
	return ^fold(uint64(^check) + uint64(^before) + uint64(after))
}

// CompleteChecksum finishes a partial checksum in place, over all bytes from
// CsumStart to the end of the frame, and takes it out of the Offload. It does
// nothing where there is none, and leaves alone what CheckOffload refuses and
// super-frames: those get their checksums when they are segmented.
func (f *Frame) CompleteChecksum() {
	o := &f.Offload
	if o.Flags&NeedsChecksum == 0 || o.IsSuper() || !f.CheckOffload() {
		return
	}
	b := f.Bytes()[o.CsumStart:]
	check := Checksum(b, 0)
	if check == 0 && o.CsumOffset == udpCsumOffset {
		check = 0xffff // 0 says that there is no checksum (RFC 768)
	}
	binary.BigEndian.PutUint16(b[o.CsumOffset:], check)
	o.Flags &^= NeedsChecksum
	o.CsumStart, o.CsumOffset = 0, 0
}

// fold adds the four 16-bit words of s in one's complement.
func fold(s uint64) uint16 {
	s = s>>32 + s&0xffffffff // at most 33 bits
	s = s>>16 + s&0xffff     // at most 18 bits
	s = s>>16 + s&0xffff
	return uint16(s>>16 + s)
}

// sum returns the one's complement sum of the big-endian words of b. It adds
// little-endian ones, eight bytes at a time, since most machines load those for
// nothing, and swaps the bytes of the result (RFC 1071 clause 2B).
func sum(b []byte) uint16 {
	var s, carry uint64
	for len(b) >= 64 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[0:8]), 0)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[8:16]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[16:24]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[24:32]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[32:40]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[40:48]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[48:56]), carry)
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b[56:64]), carry)
		s += carry // the carry is out, so s is below its maximum
		b = b[64:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.LittleEndian.Uint64(b), 0)
		s += carry
		b = b[8:]
	}
	return bits.ReverseBytes16(fold(addTail(s, b)))
}

// addTail adds the last bytes of a sum, fewer than eight.
func addTail(s uint64, b []byte) uint64 {
	var tail uint64
	shift := 0
	if len(b) >= 4 {
		tail, shift = uint64(binary.LittleEndian.Uint32(b)), 32
		b = b[4:]
	}
	if len(b) >= 2 {
		tail |= uint64(binary.LittleEndian.Uint16(b)) << shift
		shift += 16
		b = b[2:]
	}
	if len(b) == 1 {
		tail |= uint64(b[0]) << shift
	}
	s, carry := bits.Add64(s, tail, 0)
	return s + carry
}
