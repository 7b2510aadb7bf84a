package nat

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// fragmentOf returns the fragment of w's data from start to end.
func fragmentOf(w wire, start, end int) (*frame.Frame, *frame.Parsed) {
	whole := w.ip()
	if w.six {
		return fragmentOf6(whole, w.id, start, end)
	}
	ihl := int(whole[0]&15) * 4
	data := whole[ihl:]
	h := slices.Clone(whole[:ihl])
	binary.BigEndian.PutUint16(h[2:], uint16(ihl+end-start))
	flags := uint16(start / 8)
	if end < len(data) {
		flags |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], flags)
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^naiveSum(h))
	b := append([]byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 8, 0}, h...)
	return wireFrame(append(b, data[start:end]...))
}

// fragmentOf6 cuts an IPv6 packet behind its IPv6 header: any extension headers are in
// the part that is cut.
func fragmentOf6(whole []byte, id uint16, start, end int) (*frame.Frame, *frame.Parsed) {
	data := whole[40:]
	offset := uint16(start)
	if end < len(data) {
		offset |= 1
	}
	h := slices.Clone(whole[:40])
	h = binary.BigEndian.AppendUint16(append(h, h[6], 0), offset)
	h = binary.BigEndian.AppendUint32(h, uint32(id))
	h[6] = frame.ExtFragment
	binary.BigEndian.PutUint16(h[4:], uint16(8+end-start))
	b := append([]byte{2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa, 0x86, 0xdd}, h...)
	return wireFrame(append(b, data[start:end]...))
}

// fragmented is a datagram of UDP of 8 bytes header and 40 of data.
func fragmented(id uint16, host byte) wire {
	return wire{protocol: frame.ProtoUDP, src: [4]byte{10, 0, 0, host}, dst: [4]byte{192, 0, 2, 1},
		id: id, sport: 5353, dport: 53, payload: bytes.Repeat([]byte{0xd, 0xa}, 20)}
}

func (l *lab) fragmented(id uint16, host byte) wire {
	w := fragmented(id, host)
	w.six = l.six
	return w
}

// fragmentPath takes fragments through the table of fragments as a Table does,
// from inside.
type fragmentPath struct {
	r  *fragments
	m  wireMove
	on []*frame.Frame // what passed, in order
}

func (x *fragmentPath) take(f *frame.Frame, p *frame.Parsed, now uint32) Verdict {
	d := datagramOf(8, 0, p)
	if p.FragOffset == 0 {
		held, ok := x.r.first(d, f, p, x.m.endpoint(p).Addr, 7, now)
		if !ok {
			return Fragmented
		}
		x.m.apply(f, p)
		x.on = append(append(x.on, f), held...)
		return Translated
	}
	to, z, v := x.r.later(d, f, p, now)
	if v == Translated {
		if z != 7 {
			return Invalid
		}
		setSource(f, p, new(Endpoint{Addr: to}))
		x.on = append(x.on, f)
	}
	return v
}

// reassemble puts fragments together: the IP packet as it was before it was
// cut, or nil where a piece is missing.
func reassemble(frames []*frame.Frame) []byte {
	var header, data []byte
	var p frame.Parsed
	seen, end := 0, -1
	data = make([]byte, 65536)
	for _, f := range frames {
		p.Parse(f)
		at := p.L4
		if p.IPVersion == 6 {
			at = p.L3 + 48
		}
		seen += copy(data[p.FragOffset:], f.Bytes()[at:p.End])
		if !p.MoreFragments {
			end = int(p.FragOffset) + p.End - at
		}
		if p.FragOffset == 0 {
			header = slices.Clone(f.Bytes()[p.L3:at])
		}
	}
	if seen != end || header == nil {
		return nil
	}
	if header[0]>>4 == 6 {
		header[6] = header[40]
		binary.BigEndian.PutUint16(header[4:], uint16(end))
		return append(header[:40], data[:end]...)
	}
	binary.BigEndian.PutUint16(header[2:], uint16(len(header)+end))
	header[6], header[7], header[10], header[11] = 0, 0, 0, 0
	binary.BigEndian.PutUint16(header[10:], ^naiveSum(header))
	return append(header, data[:end]...)
}
