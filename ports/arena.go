package ports

import "github.com/weft/weft/dataplane/frame"

// arenaLen lets a burst hold a few super-frames and stay in a core's second-level
// cache, for each byte of it is copied out again at once; a burst of small frames
// stays in a few lines at its beginning. Twice as much was no faster.
const arenaLen = 4 * (frame.Headroom + spaceLen)

// spaceLen is what one frame may be read into: a byte more than the longest
// frame, so that a read which fills it tells of a truncated one.
const spaceLen = frame.MaxLen + 1

// Arena is the memory of one received burst where the kernel copies frames out
// one at a time: frames lie one behind the other, each with its headroom. It
// belongs to the goroutine that calls Recv.
type Arena struct {
	mem    []byte
	used   int
	frames [MaxBurst]frame.Frame
	count  int
}

// NewArena returns an arena for bursts of up to MaxBurst frames.
func NewArena() *Arena { return &Arena{mem: make([]byte, arenaLen)} }

// Reset forgets all frames: their memory is used again.
func (a *Arena) Reset() { a.used, a.count = 0, 0 }

// Space returns where the next frame may be read to, prefixed by hdr bytes for
// a header that the kernel puts in front of it, or nil when the arena is full.
// A read that fills it has met a frame longer than frame.MaxLen.
func (a *Arena) Space(hdr int) []byte {
	start := a.used + frame.Headroom
	if a.count == MaxBurst || start+spaceLen > len(a.mem) {
		return nil
	}
	return a.mem[start-hdr : start+spaceLen]
}

// Take makes a frame of the n bytes that were read behind the header.
func (a *Arena) Take(n int) *frame.Frame {
	start := a.used + frame.Headroom
	f := &a.frames[a.count]
	f.Set(a.mem[a.used:start+n:start+n], frame.Headroom)
	a.used = (start + n + 63) &^ 63
	a.count++
	return f
}
