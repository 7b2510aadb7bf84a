package frame_test

import (
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

func drawOffload(t *rapid.T) frame.Offload {
	o := frame.Offload{
		Flags:      rapid.SampledFrom([]uint8{0, frame.NeedsChecksum, frame.ChecksumValid, 0xff}).Draw(t, "flags"),
		GSOType:    rapid.Uint8().Draw(t, "type"),
		HdrLen:     rapid.Uint16Max(60000).Draw(t, "header length"),
		GSOSize:    rapid.Uint16().Draw(t, "size"),
		CsumStart:  rapid.Uint16Range(14, 60000).Draw(t, "start"),
		CsumOffset: rapid.Uint16().Draw(t, "offset"),
	}
	return o
}

func TestVirtioRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := drawOffload(t)
		var b [frame.VirtioHeaderLen]byte
		o.EncodeVirtio(&b, false)
		var got frame.Offload
		got.DecodeVirtio(&b)
		if got != o {
			t.Fatalf("got %+v, want %+v", got, o)
		}
	})
}

// TestVirtioRoundTripTagged sends a tagged frame through a virtio-net header and
// back: a tag goes in band, is popped again, and the offsets are what they were.
func TestVirtioRoundTripTagged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFrame(counting(100))
		f.Tag = frame.Tag{TPID: frame.TypeVLAN, TCI: rapid.Uint16().Draw(t, "TCI")}
		f.Offload = drawOffload(t)
		var b [frame.VirtioHeaderLen]byte
		f.Offload.EncodeVirtio(&b, true)
		got := newFrame(f.AppendWire(nil))
		got.Offload.DecodeVirtio(&b)
		got.PopTag()
		if got.Offload != f.Offload || got.Tag != f.Tag {
			t.Fatalf("got %+v %+v, want %+v %+v", got.Offload, got.Tag, f.Offload, f.Tag)
		}
	})
}

// TestEncodeVirtioLayout holds the fields to struct virtio_net_hdr.
func TestEncodeVirtioLayout(t *testing.T) {
	tests := []struct {
		name   string
		o      frame.Offload
		tagged bool
		want   [6]uint16 // flags, type, then the four 16-bit fields
	}{
		{"untagged", frame.Offload{Flags: 1, GSOType: 4, HdrLen: 74, GSOSize: 1440, CsumStart: 54, CsumOffset: 16}, false, [6]uint16{1, 4, 74, 1440, 54, 16}},
		{"tagged", frame.Offload{Flags: 1, GSOType: 4, HdrLen: 74, GSOSize: 1440, CsumStart: 54, CsumOffset: 16}, true, [6]uint16{1, 4, 78, 1440, 58, 16}},
		{"tagged, nothing to do", frame.Offload{}, true, [6]uint16{}},
		{"tagged, verified", frame.Offload{Flags: frame.ChecksumValid}, true, [6]uint16{2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.o
			var b [frame.VirtioHeaderLen]byte
			tt.o.EncodeVirtio(&b, tt.tagged)
			got := [6]uint16{uint16(b[0]), uint16(b[1])}
			for i := range 4 {
				got[2+i] = binary.NativeEndian.Uint16(b[2+2*i:])
			}
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if tt.o != before {
				t.Errorf("Offload was changed to %+v", tt.o)
			}
		})
	}
}

func TestIsSuper(t *testing.T) {
	for v, want := range map[uint8]bool{frame.GSONone: false, frame.GSOTCPv4: true, frame.GSOUDPL4: true, frame.GSOECN: true} {
		o := frame.Offload{GSOType: v, GSOSize: 100}
		if o.IsSuper() != want {
			t.Errorf("type %#x: %v", v, o.IsSuper())
		}
	}
}

func TestVirtioDoesNotAllocate(t *testing.T) {
	o := frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34}
	var b [frame.VirtioHeaderLen]byte
	mustNotAllocate(t, "EncodeVirtio and DecodeVirtio", func() {
		o.EncodeVirtio(&b, true)
		o.DecodeVirtio(&b)
		o.CsumStart = 34
	})
}
