package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
)

// finisher prepares frames for ports that cannot take them as they are: too
// long for the interface, a checksum left partial, a super-frame. It works on
// copies, for the same frame may go to other ports whole.
type finisher struct {
	segmenter frame.Segmenter
	frames    [ports.MaxBurst]frame.Frame
	chunk     [ports.MaxBurst]*frame.Frame
	mem       []byte // copies of one chunk, made at first use
	used      int
	n         int // frames in the chunk
}

// finishLen is the memory for the copies of one chunk.
const finishLen = 4 * (frame.Headroom + frame.MaxLen)

// send sends a port its share of a burst, finished as far as it needs.
func (fin *finisher) send(s *snapshot, e *egress, share []*frame.Frame) {
	for i, f := range share {
		switch {
		case tooLong(f, e.maxLen):
			s.lose(e, share[i:i+1], EgressOversized)
		case f.Offload.IsSuper() && e.caps&capFor(f) == 0:
			if !fin.segmenter.Start(f) {
				s.lose(e, share[i:i+1], EgressRefused)
				continue
			}
			for fin.segmenter.Next(fin.slot(s, e)) {
				fin.add(s, e)
			}
		case f.Offload.Flags&frame.NeedsChecksum != 0 && e.caps&frame.CapChecksum == 0:
			to, mem := fin.slot(s, e)
			to.Set(mem[:frame.Headroom+copy(mem[frame.Headroom:], f.Bytes())], frame.Headroom)
			to.Tag, to.Offload = f.Tag, f.Offload
			to.CompleteChecksum()
			fin.add(s, e)
		default:
			fin.chunk[fin.n] = f
			fin.count(s, e)
		}
	}
	fin.flush(s, e)
}

func capFor(f *frame.Frame) frame.Caps {
	switch f.Offload.GSOType &^ frame.GSOECN {
	case frame.GSOTCPv4:
		return frame.CapTSO4
	case frame.GSOTCPv6:
		return frame.CapTSO6
	}
	return frame.CapUSO
}

// slot returns the next frame of the chunk and memory for it. It sends the
// chunk first where none is left.
func (fin *finisher) slot(s *snapshot, e *egress) (*frame.Frame, []byte) {
	const one = frame.Headroom + frame.MaxLen
	if fin.mem == nil {
		fin.mem = make([]byte, finishLen)
	}
	if fin.used+one > len(fin.mem) {
		fin.flush(s, e)
	}
	return &fin.frames[fin.n], fin.mem[fin.used : fin.used+one]
}

// add puts the frame that was just finished into the chunk.
func (fin *finisher) add(s *snapshot, e *egress) {
	f := &fin.frames[fin.n]
	fin.chunk[fin.n] = f
	fin.used += (frame.Headroom + len(f.Bytes()) + 63) &^ 63
	fin.count(s, e)
}

func (fin *finisher) count(s *snapshot, e *egress) {
	if fin.n++; fin.n == len(fin.chunk) {
		fin.flush(s, e)
	}
}

func (fin *finisher) flush(s *snapshot, e *egress) {
	s.send(e, fin.chunk[:fin.n])
	fin.n, fin.used = 0, 0
}
