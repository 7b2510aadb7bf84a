package dataplane

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
)

// fit sees to it that a packet can be carried where a door leads to. One that is too
// long and must not be fragmented goes back as an error (RFC 1191, RFC 8201); a TCP
// connection is kept from sending such.
func (w *worker) fit(s *snapshot, d *door, f *frame.Frame, p *frame.Parsed) Verdict {
	longest := d.s.maxLen
	if longest != s.maxLen && p.Protocol == frame.ProtoTCP {
		headers := frame.HeaderLen + ipv4Len + 20
		if p.IPVersion == 6 {
			headers = frame.HeaderLen + ipv6Len + 20
		}
		nat.ClampMSS(f, p, uint16(max(min(longest, s.maxLen)-headers, 0)))
	}
	if tooLong(f, longest) && !mayFragment(f, p) {
		return w.refuse(s, f, p, tooBig(longest-frame.HeaderLen), TooBig)
	}
	return Forwarded
}

// mayFragment reports whether a router may cut a packet in pieces, which only senders do
// in IPv6 (RFC 8200 clause 5).
func mayFragment(f *frame.Frame, p *frame.Parsed) bool {
	return p.IPVersion == 4 && f.Bytes()[p.L3+6]&dontFragment == 0
}

const dontFragment = 0x40 // in the first byte of IPv4's flags

// cross queues a packet in the network behind a door, for the station that is the
// next hop. A verdict other than Forwarded, of what came before, is returned as it is.
func (w *worker) cross(d *door, f *frame.Frame, p *frame.Parsed, next netip.Addr, v Verdict) Verdict {
	if v != Forwarded {
		return v
	}
	b := f.Bytes()
	f.Tag = frame.Tag{}
	if p.IPVersion == 6 {
		b[p.L3+7]--
		return d.hand(f, next)
	}
	before := binary.BigEndian.Uint16(b[p.L3+8:])
	b[p.L3+8]--
	check := b[p.L3+10:]
	binary.BigEndian.PutUint16(check, frame.UpdateChecksum16(binary.BigEndian.Uint16(check), before, before-0x100))
	if tooLong(f, d.s.maxLen) {
		return d.inFragments(f, next)
	}
	return d.hand(f, next)
}

// hand gives a packet to a station.
func (d *door) hand(f *frame.Frame, next netip.Addr) Verdict { return d.resolve(d.s, f, next, d.of) }

// inFragments hands a packet over in pieces (RFC 791 clause 3.2), and a super-frame in
// its segments first. They have memory of their own, which the few packets that need
// it may cost.
func (d *door) inFragments(f *frame.Frame, next netip.Addr) Verdict {
	if f.Offload.IsSuper() {
		return d.inSegments(f, next)
	}
	var fr frame.Fragmenter
	if !fr.Start(f, d.s.maxLen-frame.HeaderLen) {
		return TooBig
	}
	v := TooBig
	for {
		piece := new(frame.Frame)
		if !fr.Next(piece, make([]byte, frame.Headroom+d.s.maxLen)) {
			return v
		}
		v = d.hand(piece, next)
	}
}

func (d *door) inSegments(f *frame.Frame, next netip.Addr) Verdict {
	var sg frame.Segmenter
	if !sg.Start(f) {
		return TooBig
	}
	v := TooBig
	for {
		piece := new(frame.Frame)
		if !sg.Next(piece, make([]byte, frame.Headroom+f.SegmentLen())) {
			return v
		}
		if tooLong(piece, d.s.maxLen) {
			v = d.inFragments(piece, next)
		} else {
			v = d.hand(piece, next)
		}
	}
}
