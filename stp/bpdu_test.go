package stp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var goldenVector = vector{
	root:   newBridgeID(0x1000, frame.MAC{0x00, 0x1b, 0x21, 0x01, 0x02, 0x03}),
	cost:   20000,
	bridge: newBridgeID(0x8000, frame.MAC{0x52, 0x54, 0x00, 0x32, 0x03, 0xdf}),
	port:   0x8002,
}

var golden = []struct {
	name  string
	bytes string
	m     message
}{
	{
		"TCN", "0000 00 80",
		message{kind: typeTCN},
	},
	{
		"configuration with topology change and its acknowledgement",
		"0000 00 00 81 1000001b21010203 00004e20 8000525400 3203df 8002 0100 1400 0200 0f00",
		message{kind: typeConfig, flags: flagTC | flagTCAck | flagRoleDesignated, vector: goldenVector, times: times{1, 20, 2, 15}},
	},
	{
		"RST proposal of a designated port",
		"0000 02 02 0e 1000001b21010203 00004e20 8000525400 3203df 8002 0000 0600 0100 0400 00",
		message{kind: typeRST, flags: flagProposal | flagRoleDesignated, vector: goldenVector, times: times{0, 6, 1, 4}},
	},
	{
		"RST agreement of a root port that forwards",
		"0000 02 02 78 1000001b21010203 00004e20 8000525400 3203df 8002 0300 2800 0a00 1e00 00",
		message{kind: typeRST, flags: flagAgreement | flagForwarding | flagLearning | flagRoleRoot, vector: goldenVector, times: times{3, 40, 10, 30}},
	},
	{
		"RST topology change of an alternate port",
		"0000 02 02 05 1000001b21010203 00004e20 8000525400 3203df 8002 0300 2800 0a00 0200 00",
		message{kind: typeRST, flags: flagTC | flagRoleAlternate, vector: goldenVector, times: times{3, 40, 10, 2}},
	},
}

func TestGoldenBPDUs(t *testing.T) {
	for _, c := range golden {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(t, c.bytes)
			m, ok := decode(want)
			if !ok || m != c.m {
				t.Errorf("decoded %+v, %v; want %+v", m, ok, c.m)
			}
			out := c.m
			if out.kind == typeConfig {
				out.flags &^= flagRole // known to the reader, not on the wire
			}
			if got := out.encode(); !bytes.Equal(got, want) {
				t.Errorf("encoded % x, want % x", got, want)
			}
			// What follows, such as the padding of a frame, does not count.
			if m, ok := decode(append(want, 0xff, 0xff)); !ok || m != c.m {
				t.Errorf("decoded with padding %+v, %v", m, ok)
			}
		})
	}
}

// edit returns golden BPDU i with some bytes changed: pairs of offset and value.
func edit(t testing.TB, i int, pairs ...int) []byte {
	b := unhex(t, golden[i].bytes)
	for len(pairs) > 0 {
		b[pairs[0]] = byte(pairs[1])
		pairs = pairs[2:]
	}
	return b
}

func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		name  string
		bytes []byte
	}{
		{"empty", nil},
		{"three bytes", unhex(t, "000000")},
		{"protocol identifier, first byte", edit(t, 2, 0, 1)},
		{"protocol identifier, second byte", edit(t, 0, 1, 1)},
		{"unknown type", edit(t, 2, 3, 3)},
		{"RST of version 0", edit(t, 2, 2, 0)},
		{"RST of version 1", edit(t, 2, 2, 1)},
		{"RST one byte short", edit(t, 2)[:35]},
		{"configuration one byte short", edit(t, 1)[:34]},
		{"configuration as old as it may get", edit(t, 1, 27, 20)},
		{"configuration older than that", edit(t, 1, 27, 255)},
		{"configuration that may not get old", edit(t, 1, 29, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t)
			n.add()
			n.wire(end{0, 1}, end{0, 1})
			b := n.bridges[0]
			b.Up(1)
			before := *b.port(1)
			out, err := b.Receive(1, c.bytes)
			if !errors.Is(err, ErrMalformed) || out.BPDUs != nil || out.Changed != nil || out.Flush != nil {
				t.Fatalf("Receive(% x): %+v, %v", c.bytes, out, err)
			}
			after := *b.port(1)
			if after.malformed != 1 {
				t.Errorf("counted %d", after.malformed)
			}
			if after.malformed = 0; after != before {
				t.Errorf("the port changed:\n%+v\n%+v", before, after)
			}
		})
	}
}

func TestDecodeIsLenient(t *testing.T) {
	proposal := golden[2].m
	plain := proposal
	plain.flags = flagRoleDesignated
	clamped := func(x times) message {
		m := proposal
		m.times = x
		return m
	}
	for _, c := range []struct {
		name  string
		bytes []byte
		want  message
	}{
		{"version 3, type RST", edit(t, 2, 2, 3), proposal},
		{"version 255, type RST", edit(t, 2, 2, 255), proposal},
		{"version 2, type configuration", edit(t, 1, 2, 2), golden[1].m},
		{"configuration with flags of RST", edit(t, 1, 4, 0xff), golden[1].m},
		{"RST of an unknown role", edit(t, 2, 4, flagProposal|flagAgreement|flagLearning), plain},
		{"timers too low", edit(t, 2, 29, 0, 31, 0, 33, 0), clamped(times{0, 6, 1, 2})},
		{"timers too high", edit(t, 2, 29, 255, 31, 255, 33, 255), clamped(times{0, 40, 10, 30})},
		{"RST that is too old", edit(t, 2, 27, 200), clamped(times{200, 6, 1, 4})},
		{"fractions", edit(t, 2, 28, 0x7f, 30, 0x80, 32, 0x81, 34, 0x01), clamped(times{0, 7, 2, 4})},
		{"all ones", edit(t, 2, 27, 255, 28, 255), clamped(times{256, 6, 1, 4})},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, ok := decode(c.bytes); !ok || m != c.want {
				t.Errorf("%+v, %v; want %+v", m, ok, c.want)
			}
		})
	}
}
