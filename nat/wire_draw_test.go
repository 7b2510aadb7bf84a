package nat

import (
	"github.com/weft/weft/dataplane/frame"
	"pgregory.net/rapid"
)

func drawAddr(t *rapid.T, name string) [4]byte {
	edge := rapid.SampledFrom([]uint32{0, 0xffffffff, 0xffff0000, 0x0000ffff, 0x0a000001})
	v := rapid.OneOf(rapid.Uint32(), edge).Draw(t, name)
	return [4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}
}

func drawPort(t *rapid.T, name string) uint16 {
	return rapid.OneOf(rapid.Uint16(), rapid.SampledFrom([]uint16{0, 1, 0xffff})).Draw(t, name)
}

func drawMove(t *rapid.T) wireMove {
	return wireMove{rapid.Bool().Draw(t, "destination"), drawAddr(t, "to"), drawPort(t, "to port")}
}

// drawWire generates a whole packet of one of the protocols.
func drawWire(t *rapid.T, maxPayload int, protocols ...uint8) wire {
	if len(protocols) == 0 {
		protocols = []uint8{frame.ProtoTCP, frame.ProtoUDP, frame.ProtoICMP, 136, 33, 135, protoSCTP, protoGRE}
	}
	w := wire{
		six:      rapid.Bool().Draw(t, "IPv6"),
		tags:     rapid.SampledFrom([][]byte{nil, {0x81, 0, 0, 7}}).Draw(t, "tags"),
		id:       rapid.Uint16().Draw(t, "id"),
		protocol: rapid.SampledFrom(protocols).Draw(t, "protocol"),
		src:      drawAddr(t, "src"), dst: drawAddr(t, "dst"),
		sport: drawPort(t, "sport"), dport: drawPort(t, "dport"),
		payload: make([]byte, rapid.IntRange(0, maxPayload).Draw(t, "payload")),
	}
	words := func(name string) []byte {
		n := 4 * rapid.IntRange(0, 10).Draw(t, name)
		return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name+" bytes")
	}
	w.ipOptions = words("ip options")
	mix := rapid.Byte().Draw(t, "mix")
	for i := range w.payload {
		w.payload[i] = byte(i*5+i>>8) * mix
	}
	switch w.protocol {
	case frame.ProtoTCP:
		w.head = append([]byte{rapid.Byte().Draw(t, "flags")}, words("tcp options")...)
	case frame.ProtoICMP:
		w.head = []byte{rapid.SampledFrom([]byte{0, 8, 13, 14, 9, 17, 40}).Draw(t, "type"), 0}
	case frame.ProtoUDP:
		w.noSum = rapid.IntRange(0, 3).Draw(t, "no sum") == 0
	}
	return w
}
