package lease

import "math/bits"

// Set is numbers from 0 on, and which of them are taken. It finds one that is free
// among millions in a few steps: a bit of levels[0] is a number, a bit of the level
// above is a word of 64 of these, and a bit is set where nothing below it is free.
type Set struct {
	size   int
	unused int // numbers that are not taken
	levels [][]uint64
}

// NewSet returns the numbers below size, all of them free.
func NewSet(size int) *Set {
	s := &Set{size: size, unused: size}
	for n := size; ; {
		words := (n + 63) / 64
		level := make([]uint64, max(words, 1))
		if words == 0 {
			level[0] = ^uint64(0)
		} else if rest := n % 64; rest != 0 {
			level[words-1] = ^uint64(0) << rest // what lies behind the end is never free
		}
		s.levels = append(s.levels, level)
		if n = words; n <= 1 {
			return s
		}
	}
}

// Size is how many numbers there are.
func (s *Set) Size() int { return s.size }

// Unused is how many of them are free.
func (s *Set) Unused() int { return s.unused }

// IsFree reports whether a number is not taken.
func (s *Set) IsFree(i int) bool { return s.levels[0][i>>6]&(1<<(i&63)) == 0 }

// Take marks a number as taken.
func (s *Set) Take(i int) {
	if !s.IsFree(i) {
		return
	}
	s.unused--
	for _, level := range s.levels {
		w := i >> 6
		level[w] |= 1 << (i & 63)
		if level[w] != ^uint64(0) {
			return
		}
		i = w
	}
}

// Give is the inverse of Take.
func (s *Set) Give(i int) {
	if s.IsFree(i) {
		return
	}
	s.unused++
	for _, level := range s.levels {
		w := i >> 6
		level[w] &^= 1 << (i & 63)
		i = w
	}
}

// Next returns the first free number from start on, round about.
func (s *Set) Next(start int) (int, bool) {
	if i, ok := s.seek(start); ok {
		return i, true
	}
	return s.seek(0)
}

// seek goes up the levels until a word has something free at or behind i, and
// down again to its first.
func (s *Set) seek(i int) (int, bool) {
	for k, level := range s.levels {
		w := i >> 6
		if w < len(level) {
			if free := ^level[w] >> (i & 63) << (i & 63); free != 0 {
				i = w<<6 + bits.TrailingZeros64(free)
				for ; k > 0; k-- {
					i = i<<6 + bits.TrailingZeros64(^s.levels[k-1][i])
				}
				return i, true
			}
		}
		i = w + 1
	}
	return 0, false
}
