package nat

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
)

// seed keys the hash of a table. Guests choose addresses and ports freely: who
// does not know the seed cannot choose ones that meet.
type seed [8]uint64

func newSeed() (s seed) {
	for i := range s {
		s[i] = rand.Uint64()
	}
	return s
}

// words returns an address as two numbers.
func words(a *[16]byte) (uint64, uint64) {
	return binary.NativeEndian.Uint64(a[:8]), binary.NativeEndian.Uint64(a[8:])
}

// foldProduct multiplies, and folds the product to 64 bits.
func foldProduct(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}

// tuple is what a flow or mapping is looked up by. The remote end of a mapping
// is zero, and so is the zone in what is looked up from outside.
type tuple struct {
	protocol      uint8
	zone          Zone
	local, remote Endpoint
}

// hash returns the hash of a tuple. One round of multiplication would leave
// regular tuples in regular places; see TestSpread.
func (s *seed) hash(k *tuple) uint64 {
	a, b := words(&k.local.Addr)
	c, d := words(&k.remote.Addr)
	rest := uint64(k.protocol) | uint64(k.zone)<<8 | uint64(k.local.Port)<<24 | uint64(k.remote.Port)<<40
	x, y := foldProduct(a^s[0], b^s[1]), foldProduct(c^s[2], d^s[3])
	return foldProduct(foldProduct(x^rest^s[4], y^s[5])^s[6], s[7]|1)
}

// hashPeer returns the hash of an endpoint that a mapping knows.
func (s *seed) hashPeer(mapping uint64, e *Endpoint) uint64 {
	a, b := words(&e.Addr)
	x := foldProduct(a^s[2], b^s[4])
	return foldProduct(foldProduct(x^uint64(e.Port)^s[1], mapping^s[3])^s[5], s[7]|1)
}
