package dataplane

import (
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports"
)

// VLANs says which VLANs (IEEE 802.1Q) a port belongs to, and in which form
// their frames pass it. The zero VLANs is a transparent port: it belongs to
// every VLAN, a tag passes it as it is, and frames without one are VLAN 0.
//
// Only a C-tag (0x8100) names a VLAN. A frame whose outer tag is an S-tag is a
// frame without one, of which the S-tag is payload (802.1Q-2022 clause 6.9).
type VLANs struct {
	// Native is the VLAN of frames without a tag, or with a priority tag, and
	// the one whose frames leave without. 0: such frames are dropped.
	Native uint16

	// Tagged are the VLANs whose frames may come in with a tag, and leave so
	// unless theirs is the native one. It is empty for an access port, nil for
	// a transparent one. A set is shared and never changed.
	Tagged *VLANSet
}

// VLANSet is a set of VLAN ids, 1-4094.
type VLANSet [4096 / 64]uint64

// Add puts the ids from first to last into the set.
func (s *VLANSet) Add(first, last uint16) {
	for id := int(first); id <= int(last); id++ {
		s[id/64&63] |= 1 << (id % 64)
	}
}

// Has reports whether an id is in the set.
func (s *VLANSet) Has(id uint16) bool { return s[id/64&63]&(1<<(id%64)) != 0 }

// equal reports whether two ports have the same VLANs.
func (v VLANs) equal(o VLANs) bool {
	return v.Native == o.Native && (v.Tagged == o.Tagged ||
		v.Tagged != nil && o.Tagged != nil && *v.Tagged == *o.Tagged)
}

// classify returns the VLAN that a frame belongs to when it comes in by a port
// with these VLANs, false where it may not enter.
func (v *VLANs) classify(f *frame.Frame) (uint16, bool) {
	vid := uint16(0)
	if f.Tag.TPID == frame.TypeVLAN {
		vid = f.Tag.VID()
	}
	if v.Tagged == nil {
		return vid, vid != reservedVID
	}
	if f.Tag.TPID == frame.TypeQinQ {
		f.PushTag() // the frame may get a C-tag around it
	}
	if vid == 0 {
		return v.Native, v.Native != 0
	}
	return vid, v.Tagged.Has(vid)
}

// reservedVID must not be carried in a tag (802.1Q-2022 table 9-2).
const reservedVID = 4095

// forms holds the frames of a burst in the forms that ports of other VLAN
// settings need. Each is a view of the bytes of the received frame; only the
// tag differs, which is not among them. So a frame that is flooded to tagged
// and untagged ports is never copied.
type forms struct {
	views [2 * ports.MaxBurst]frame.Frame
	used  int

	// Of the frame in hand; nil until a port needs it.
	tagged, untagged *frame.Frame
}

// next begins with another frame.
func (o *forms) next() { o.tagged, o.untagged = nil, nil }

// reset begins with another burst.
func (o *forms) reset() { o.used = 0 }

// of returns frame f, which belongs to VLAN vid, in the form in which it leaves
// by a port with these VLANs; nil where it does not.
func (o *forms) of(f *frame.Frame, vid uint16, v *VLANs) *frame.Frame {
	switch {
	case v.Tagged == nil && vid == 0:
		return f
	case v.Tagged == nil:
		return o.withTag(f, vid)
	case vid == 0:
		return nil
	case vid == v.Native:
		return o.withoutTag(f)
	case v.Tagged.Has(vid):
		return o.withTag(f, vid)
	}
	return nil
}

func (o *forms) withTag(f *frame.Frame, vid uint16) *frame.Frame {
	if f.Tag.VID() == vid {
		return f
	}
	if o.tagged == nil {
		o.tagged = o.view(f)
		// The priority stays: a priority tag becomes a tag of the VLAN.
		o.tagged.Tag = frame.Tag{TPID: frame.TypeVLAN, TCI: f.Tag.TCI&^0x0fff | vid}
	}
	return o.tagged
}

// withoutTag returns nil for a frame that has another C-tag below the first: that
// one would come to light, and carry the frame into a VLAN of its sender's choice.
func (o *forms) withoutTag(f *frame.Frame) *frame.Frame {
	if !f.Tag.Present() {
		return f
	}
	if f.EtherType() == frame.TypeVLAN {
		return nil
	}
	if o.untagged == nil {
		o.untagged = o.view(f)
		o.untagged.Tag = frame.Tag{}
	}
	return o.untagged
}

// view returns a copy of the frame's header. A burst may become more frames than came
// in: fragments, and packets that have waited for a neighbour.
func (o *forms) view(f *frame.Frame) *frame.Frame {
	if o.used == len(o.views) {
		v := *f
		return &v
	}
	v := &o.views[o.used]
	o.used++
	*v = *f
	return v
}
