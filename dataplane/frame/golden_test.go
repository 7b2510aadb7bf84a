package frame_test

import (
	"encoding/hex"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// TestSegmentGolden cuts 20 bytes of payload into segments of 8. The bytes were
// worked out from the RFCs by a program that shares nothing with this package:
// the super-frame has sequence number fffffff8 and, over IPv4, identification
// ffff, so that both wrap; FIN and PSH must be on the last segment only, CWR on
// the first only. One line each for Ethernet, IP and the rest.
func TestSegmentGolden(t *testing.T) {
	tests := []struct {
		name string
		gso  uint8
		in   string
		out  []string
	}{
		{
			name: "tcp4", gso: frame.GSOTCPv4 | frame.GSOECN,
			in: "" +
				"02000000000b02000000000a0800" +
				"45020048ffff400040064e72c0000201c6336407" +
				"c3500050fffffff80102030480991000ec7600000101080a0000000a0000001468656c6c6f2c207365676d656e74656420776f72",
			out: []string{
				"02000000000b02000000000a0800" +
					"4502003cffff400040064e7ec0000201c6336407" +
					"c3500050fffffff801020304809010004dca00000101080a0000000a0000001468656c6c6f2c2073",
				"02000000000b02000000000a0800" +
					"4502003c0000400040064e7ec0000201c6336407" +
					"c35000500000000001020304801010000c0f00000101080a0000000a0000001465676d656e746564",
				"02000000000b02000000000a0800" +
					"450200380001400040064e81c0000201c6336407" +
					"c350005000000008010203048019100022be00000101080a0000000a0000001420776f72",
			},
		},
		{
			name: "tcp6", gso: frame.GSOTCPv6 | frame.GSOECN,
			in: "" +
				"02000000000b02000000000a86dd" +
				"602123450034064020010db800000000000000000000000120010db8000000000000000000000002" +
				"c3500050fffffff801020304809810005baf00000101080a0000000a0000001468656c6c6f2c207365676d656e74656420776f72",
			out: []string{
				"02000000000b02000000000a86dd" +
					"602123450028064020010db800000000000000000000000120010db8000000000000000000000002" +
					"c3500050fffffff80102030480901000de9100000101080a0000000a0000001468656c6c6f2c2073",
				"02000000000b02000000000a86dd" +
					"602123450028064020010db800000000000000000000000120010db8000000000000000000000002" +
					"c35000500000000001020304801010009cd600000101080a0000000a0000001465676d656e746564",
				"02000000000b02000000000a86dd" +
					"602123450024064020010db800000000000000000000000120010db8000000000000000000000002" +
					"c3500050000000080102030480181000b38600000101080a0000000a0000001420776f72",
			},
		},
		{
			name: "udp4", gso: frame.GSOUDPL4,
			in: "" +
				"02000000000b02000000000a0800" +
				"450200300007400040114e78c0000201c6336407" +
				"14e91151001cec6968656c6c6f2c207365676d656e74656420776f72",
			out: []string{
				"02000000000b02000000000a0800" +
					"450200240007400040114e84c0000201c6336407" +
					"14e91151001088e668656c6c6f2c2073",
				"02000000000b02000000000a0800" +
					"450200240008400040114e83c0000201c6336407" +
					"14e91151001046b265676d656e746564",
				"02000000000b02000000000a0800" +
					"450200200009400040114e86c0000201c6336407" +
					"14e91151000c5d7620776f72",
			},
		},
		{
			name: "udp6", gso: frame.GSOUDPL4,
			in: "" +
				"02000000000b02000000000a86dd" +
				"60212345001c114020010db800000000000000000000000120010db8000000000000000000000002" +
				"14e91151001c5ba268656c6c6f2c207365676d656e74656420776f72",
			out: []string{
				"02000000000b02000000000a86dd" +
					"602123450010114020010db800000000000000000000000120010db8000000000000000000000002" +
					"14e91151001019ae68656c6c6f2c2073",
				"02000000000b02000000000a86dd" +
					"602123450010114020010db800000000000000000000000120010db8000000000000000000000002" +
					"14e911510010d77965676d656e746564",
				"02000000000b02000000000a86dd" +
					"60212345000c114020010db800000000000000000000000120010db8000000000000000000000002" +
					"14e91151000cee3d20776f72",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFrame(unhex(t, tt.in))
			f.Tag = frame.Tag{TPID: frame.TypeVLAN, TCI: 0x6064}
			f.Offload = frame.Offload{Flags: frame.NeedsChecksum, GSOType: tt.gso, GSOSize: 8}
			var p frame.Parsed
			p.Parse(f)
			f.Offload.CsumStart, f.Offload.CsumOffset = uint16(p.L4), 16
			if p.Protocol == frame.ProtoUDP {
				f.Offload.CsumOffset = 6
			}
			got := segment(t, f)
			if len(got) != len(tt.out) {
				t.Fatalf("%d segments, want %d", len(got), len(tt.out))
			}
			for i, want := range tt.out {
				if hex.EncodeToString(got[i].Bytes()) != want {
					t.Errorf("segment %d\ngot  %x\nwant %s", i, got[i].Bytes(), want)
				}
				if got[i].Tag != f.Tag || got[i].Offload != (frame.Offload{}) {
					t.Errorf("segment %d: tag %v offload %+v", i, got[i].Tag, got[i].Offload)
				}
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
