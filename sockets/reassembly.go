package sockets

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// reassembly joins the fragments of guests' packets (RFC 791 clause 3.2), as sockets
// take whole datagrams only. The zero value is ready. It is not safe for concurrent use.
type reassembly struct {
	all   map[fragmentKey]*fragments
	bytes int // of all
}

// fragmentKey names a datagram (RFC 791 clause 3.2, "Identification").
type fragmentKey struct {
	src, dst [4]byte
	id       uint16
	protocol uint8
}

// fragments are those of one datagram.
type fragments struct {
	since  int64
	header []byte // of the fragment with offset 0, with its Ethernet header
	parts  []part // in order
	total  int    // bytes of payload; 0 until the last fragment has come
}

type part struct {
	offset int
	data   []byte
}

// Bounds of what waits. RFC 791 wants 15 seconds at least, and in them a guest may not
// fill our memory, nor the places of others.
const (
	fragmentTime     = 15
	maxDatagrams     = 256
	maxHostDatagrams = 32
	maxParts         = 128
	maxFragmentBytes = 8 << 20
	maxLength        = 0xffff // of a packet, with its header
)

// add takes a fragment, of which it keeps a copy. It returns the packet once it is
// whole.
func (r *reassembly) add(f *frame.Frame, p *frame.Parsed, now int64) *frame.Frame {
	f.CompleteChecksum() // as a packet in parts has no partial one
	b := f.Bytes()
	if f.Offload.IsSuper() || frame.Checksum(b[p.L3:p.L4], 0) != 0 {
		return nil
	}
	data, offset := b[p.L4:p.End], int(p.FragOffset)
	if len(data) == 0 || p.L4-p.L3+offset+len(data) > maxLength || p.MoreFragments && len(data)%8 != 0 {
		return nil
	}
	key := fragmentKey{[4]byte(b[p.L3+12:]), [4]byte(b[p.L3+16:]), binary.BigEndian.Uint16(b[p.L3+4:]), b[p.L3+9]}
	d := r.get(key, now)
	if d == nil || r.bytes+len(data) > maxFragmentBytes || d.has(part{offset, data}, p.MoreFragments) {
		return nil
	}
	if !d.put(part{offset, slices.Clone(data)}, p.MoreFragments) {
		r.drop(key) // two fragments overlap: none knows which is true (RFC 5722 clause 3)
		return nil
	}
	r.bytes += len(data)
	if offset == 0 {
		d.header = slices.Clone(b[:p.L4])
	}
	if !d.whole() {
		return nil
	}
	r.drop(key)
	return d.join(p.L3)
}

// get returns the fragments of a datagram, nil where there is no room for it.
func (r *reassembly) get(key fragmentKey, now int64) *fragments {
	if d := r.all[key]; d != nil && now-d.since <= fragmentTime {
		return d
	}
	same := 0
	for k, d := range r.all {
		if now-d.since > fragmentTime {
			r.drop(k)
		} else if k.src == key.src {
			same++
		}
	}
	if len(r.all) >= maxDatagrams || same >= maxHostDatagrams {
		return nil
	}
	if r.all == nil {
		r.all = map[fragmentKey]*fragments{}
	}
	d := &fragments{since: now}
	r.all[key] = d
	return d
}

func (r *reassembly) drop(key fragmentKey) {
	for _, p := range r.all[key].parts {
		r.bytes -= len(p.data)
	}
	delete(r.all, key)
}

// has reports whether the same part has come before: networks do deliver twice.
func (d *fragments) has(p part, more bool) bool {
	i, found := slices.BinarySearchFunc(d.parts, p.offset, byOffset)
	return found && bytes.Equal(d.parts[i].data, p.data) && more == (p.offset+len(p.data) != d.total)
}

func byOffset(p part, offset int) int { return p.offset - offset }

// put adds a part. It returns false where that contradicts others.
func (d *fragments) put(p part, more bool) bool {
	end := p.offset + len(p.data)
	i, _ := slices.BinarySearchFunc(d.parts, p.offset, byOffset)
	switch {
	case len(d.parts) >= maxParts:
	case i < len(d.parts) && end > d.parts[i].offset:
	case i > 0 && d.parts[i-1].offset+len(d.parts[i-1].data) > p.offset:
	case !more && (d.total != 0 || i < len(d.parts)), more && d.total != 0 && end > d.total:
	default:
		if !more {
			d.total = end
		}
		d.parts = slices.Insert(d.parts, i, p)
		return true
	}
	return false
}

func (d *fragments) whole() bool {
	next := 0
	for _, p := range d.parts {
		if p.offset != next {
			return false
		}
		next += len(p.data)
	}
	return d.total != 0 && next == d.total
}

// join makes the packet, whose IP header is at l3.
func (d *fragments) join(l3 int) *frame.Frame {
	mem := make([]byte, frame.Headroom, frame.Headroom+len(d.header)+d.total)
	mem = append(mem, d.header...)
	for _, p := range d.parts {
		mem = append(mem, p.data...)
	}
	ip := mem[frame.Headroom+l3 : frame.Headroom+len(d.header)]
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+d.total))
	ip[6], ip[7], ip[10], ip[11] = 0, 0, 0, 0
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip, 0))
	f := &frame.Frame{}
	f.Set(mem, frame.Headroom)
	return f
}
