package stp

import (
	"encoding/binary"

	"github.com/weft/weft/dataplane/frame"
)

const (
	headerLen = 14   // addresses and length
	llcLen    = 3    // DSAP, SSAP, control
	llcSAP    = 0x42 // of the spanning tree protocols (7.12.3)
	llcUI     = 0x03 // unnumbered information
	minFrame  = 60
)

// GroupAddress returns the address that bridges listen to: the Bridge Group
// Address (7.12.3), which no bridge forwards.
func GroupAddress() frame.MAC { return frame.MAC{0x01, 0x80, 0xc2} }

// AppendFrame appends an untagged Ethernet frame with a BPDU to dst, padded to
// 60 bytes and without a check sequence. src is the address of the port.
func AppendFrame(dst []byte, src frame.MAC, bpdu []byte) []byte {
	start := len(dst)
	group := GroupAddress()
	dst = append(dst, group[:]...)
	dst = append(dst, src[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(llcLen+len(bpdu)))
	dst = append(dst, llcSAP, llcSAP, llcUI)
	dst = append(dst, bpdu...)
	for len(dst)-start < minFrame {
		dst = append(dst, 0)
	}
	return dst
}

// Payload returns the BPDU in an untagged Ethernet frame, as a part of f, and
// whether there is one: the destination is GroupAddress, the length field one
// that f can hold, and the LLC header that of a BPDU.
func Payload(f []byte) ([]byte, bool) {
	if len(f) < headerLen+llcLen || frame.MAC(f[:6]) != GroupAddress() {
		return nil, false
	}
	length := int(binary.BigEndian.Uint16(f[12:]))
	llc := f[headerLen:]
	if length < llcLen || length > len(llc) || llc[0] != llcSAP || llc[1] != llcSAP || llc[2] != llcUI {
		return nil, false
	}
	return llc[llcLen:length:length], true
}
