package sockets

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// reassembly joins the fragments of guests' packets (RFC 791 clause 3.2, RFC 8200 clause
// 4.5), as sockets take whole datagrams only. The zero value is ready. It is not safe for
// concurrent use.
type reassembly struct {
	all   map[fragmentKey]*fragments
	bytes int // of all
}

// fragmentKey names a datagram (RFC 791 clause 3.2, "Identification"; RFC 8200 clause
// 4.5).
type fragmentKey struct {
	version  uint8
	src, dst [16]byte
	id       uint32
	protocol uint8 // of IPv4; of IPv6 0
}

// fragments are those of one datagram.
type fragments struct {
	from   string // the port of the switch that the first one has come in by
	since  int64
	header []byte // of the fragment with offset 0, with its Ethernet header
	l3     int    // where in it the IP header is
	parts  []part // in order
	total  int    // bytes of payload; 0 until the last fragment has come
}

type part struct {
	offset int
	data   []byte
}

// Bounds of what waits. RFC 791 wants 15 seconds at least, RFC 8200 has no more than 60,
// and in them a guest may not fill our memory, nor the places of others: neither by one
// address nor by all that it can make up.
const (
	fragmentTime     = 15
	maxDatagrams     = 256
	maxPortDatagrams = maxDatagrams / 2
	maxHostDatagrams = 32
	maxParts         = 128
	maxFragmentBytes = 8 << 20
	maxLength        = 0xffff // of a packet, of IPv4 with its header
)

// add takes a fragment, of which it keeps a copy, that has come in by a port of the
// switch. It returns the packet once it is whole.
func (r *reassembly) add(f *frame.Frame, p *frame.Parsed, port string, now int64) *frame.Frame {
	f.CompleteChecksum() // as a packet in parts has no partial one
	b := f.Bytes()
	if f.Offload.IsSuper() {
		return nil
	}
	key := fragmentKey{p.IPVersion, p.Src(), p.Dst(), p.FragID, p.Protocol}
	header, ok := fragmentHeader(b, p)
	start, limit := p.L4, maxLength-(p.L4-p.L3)
	if p.IPVersion == 6 {
		key.protocol = 0
		start, limit = header+fragmentLen, maxLength
	}
	if !ok || start >= p.End {
		return nil
	}
	data, offset := b[start:p.End], int(p.FragOffset)
	if offset+len(data) > limit || p.MoreFragments && len(data)%8 != 0 {
		return nil
	}
	d := r.get(key, port, now)
	if d == nil || r.bytes+len(data) > maxFragmentBytes || d.has(part{offset, data}, p.MoreFragments) {
		return nil
	}
	if !d.put(part{offset, slices.Clone(data)}, p.MoreFragments) {
		r.drop(key) // two fragments overlap: none knows which is true (RFC 5722 clause 3)
		return nil
	}
	r.bytes += len(data)
	if offset == 0 {
		d.setHeader(b, header, p)
	}
	if !d.whole() {
		return nil
	}
	r.drop(key)
	return d.join()
}

// fragmentHeader returns how long what the packet of a fragment begins with is in its
// frame, up to where it was cut. It returns false for a fragment that is not to be taken: it is damaged, or it is
// the first one and has not all headers (RFC 7112).
func fragmentHeader(b []byte, p *frame.Parsed) (header int, ok bool) {
	if p.IPVersion == 4 {
		return p.L4, frame.Checksum(b[p.L3:p.L4], 0) == 0
	}
	if p.FragOffset == 0 && p.Layer < frame.LayerTransport {
		switch p.Protocol {
		case frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMPv6:
			return 0, false
		}
		if isExtension(p) {
			return 0, false
		}
	}
	for x := range extensions(b[p.L3:p.End], p.L4-p.L3) {
		if x.kind == frame.ExtFragment {
			return p.L3 + x.at, true
		}
	}
	return 0, false
}

// setHeader keeps a copy of what the first fragment b begins with, so many bytes. Of IPv6
// it names what was cut, in place of the fragment header.
func (d *fragments) setHeader(b []byte, header int, p *frame.Parsed) {
	d.header, d.l3 = slices.Clone(b[:header]), p.L3
	if p.IPVersion == 6 {
		ip := d.header[p.L3:]
		ip[named(ip, len(ip))] = b[header]
	}
}

// get returns the fragments of a datagram, nil where there is no room for it.
func (r *reassembly) get(key fragmentKey, port string, now int64) *fragments {
	if d := r.all[key]; d != nil && now-d.since <= fragmentTime {
		return d
	}
	host, entrance := 0, 0
	for k, d := range r.all {
		if now-d.since > fragmentTime {
			r.drop(k)
			continue
		}
		if k.version == key.version && k.src == key.src {
			host++
		}
		if d.from == port {
			entrance++
		}
	}
	if len(r.all) >= maxDatagrams || host >= maxHostDatagrams || entrance >= maxPortDatagrams {
		return nil
	}
	if r.all == nil {
		r.all = map[fragmentKey]*fragments{}
	}
	d := &fragments{from: port, since: now}
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

// join makes the packet, nil where it would be longer than any may be: fragments can have
// different headers.
func (d *fragments) join() *frame.Frame {
	mem := make([]byte, frame.Headroom, frame.Headroom+len(d.header)+d.total)
	mem = append(mem, d.header...)
	for _, p := range d.parts {
		mem = append(mem, p.data...)
	}
	f := &frame.Frame{}
	f.Set(mem, frame.Headroom)
	ip := f.Bytes()[d.l3:]
	fam := familyIn(ip)
	if len(ip) > maxLength && (fam == v4 || len(ip)-fam.header > maxLength) {
		return nil
	}
	fam.putLength(ip)
	if fam == v4 {
		header := ip[:len(d.header)-d.l3]
		header[6], header[7], header[10], header[11] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(header[10:], frame.Checksum(header, 0))
	}
	return f
}
