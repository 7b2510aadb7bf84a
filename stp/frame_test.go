package stp

import (
	"bytes"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

var source = frame.MAC{0x52, 0x54, 0, 0x12, 0x34, 0x56}

func TestGoldenFrames(t *testing.T) {
	for _, c := range []struct {
		bpdu, want string
	}{
		{"00000080", "0180c2000000 525400123456 0007 424203 00000080"},
		{golden[1].bytes, "0180c2000000 525400123456 0026 424203" + golden[1].bytes},
		{golden[2].bytes, "0180c2000000 525400123456 0027 424203" + golden[2].bytes},
	} {
		want := unhex(t, c.want)
		want = append(want, make([]byte, 60-len(want))...)
		prefix := []byte("prefix")
		got := AppendFrame(prefix, source, unhex(t, c.bpdu))
		if !bytes.Equal(got, append([]byte("prefix"), want...)) {
			t.Errorf("got % x\nwant % x", got[len(prefix):], want)
		}
	}
}

func TestPayloadReverses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bpdu := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bpdu")
		f := AppendFrame(nil, source, bpdu)
		got, ok := Payload(f)
		if !ok || !bytes.Equal(got, bpdu) || cap(got) != len(got) {
			t.Fatalf("Payload(% x) = % x (cap %d), %v", f, got, cap(got), ok)
		}
	})
}

func TestPayloadRefuses(t *testing.T) {
	good := AppendFrame(nil, source, unhex(t, golden[2].bytes))
	set := func(pairs ...int) []byte {
		f := bytes.Clone(good)
		for len(pairs) > 0 {
			f[pairs[0]] = byte(pairs[1])
			pairs = pairs[2:]
		}
		return f
	}
	for name, f := range map[string][]byte{
		"empty":                  nil,
		"no LLC header":          good[:16],
		"another group":          set(5, 1),
		"unicast":                set(0, 0),
		"length beyond the end":  set(13, 47),
		"length below LLC":       set(13, 2),
		"EtherType":              set(12, 8, 13, 0),
		"DSAP":                   set(14, 0xaa),
		"SSAP":                   set(15, 0xaa),
		"control":                set(16, 0),
		"length of a cut frame":  good[:52],
		"VLAN tag before length": set(12, 0x81, 13, 0),
	} {
		if p, ok := Payload(f); ok {
			t.Errorf("%s: % x", name, p)
		}
	}
	if p, ok := Payload(good[:53]); !ok || len(p) != 36 {
		t.Errorf("without padding: % x, %v", p, ok)
	}
	if p, ok := Payload(set(13, 46)); !ok || len(p) != 43 {
		t.Errorf("all of the frame: % x, %v", p, ok)
	}
}
