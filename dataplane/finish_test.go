package dataplane

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// tcp builds an IPv4 TCP segment with a payload of n bytes and a checksum left
// partial, as every veth and virtio guest sends them.
func tcp(dst, src frame.MAC, n int) []byte {
	b := make([]byte, 54+n)
	copy(b, dst[:])
	copy(b[6:], src[:])
	b[12], b[13] = 0x08, 0x00
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, frame.ProtoTCP
	binary.BigEndian.PutUint16(ip[2:], uint16(40+n))
	copy(ip[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
	binary.BigEndian.PutUint16(ip[10:], frame.Checksum(ip[:20], 0))
	ip[32], ip[33] = 5<<4, 0x10 // data offset, ACK
	for i := range n {
		ip[40+i] = byte(i * 7)
	}
	pseudo := frame.PseudoHeader(ip[12:16], ip[16:20], frame.ProtoTCP, 20+n)
	binary.BigEndian.PutUint16(ip[36:], ^frame.Checksum(nil, pseudo))
	return b
}

// valid reports whether the TCP checksum of an untagged frame is right: over
// the segment and its pseudo header it sums to zero.
func valid(b []byte) bool {
	length := int(binary.BigEndian.Uint16(b[16:])) - 20
	return frame.Checksum(b[34:34+length], frame.PseudoHeader(b[26:30], b[30:34], frame.ProtoTCP, length)) == 0
}

var partial = frame.Offload{Flags: frame.NeedsChecksum, CsumStart: 34, CsumOffset: 16}

// A checksum is completed only for the port that cannot, and the others get
// the frame as it was.
func TestChecksumIsCompletedWhereNeeded(t *testing.T) {
	l := newLab(t)
	a, able, unable := l.station(l.net, "a", frame.CapAll), l.station(l.net, "able", frame.CapAll), l.station(l.net, "none", 0)
	sent := tcp(broadcast, a.mac, 100)
	if valid(sent) {
		t.Fatal("the test's frame is finished already")
	}
	a.sendOffload(sent, partial)
	if got := able.next(); !bytes.Equal(got.Bytes, sent) || got.Offload != partial {
		t.Errorf("the port that can finish got %+v", got.Offload)
	}
	got := unable.next()
	if !valid(got.Bytes) || got.Offload != (frame.Offload{}) {
		t.Errorf("the port that cannot got offload %+v, valid checksum %v", got.Offload, valid(got.Bytes))
	}
	if !bytes.Equal(got.Bytes[54:], sent[54:]) {
		t.Error("payload changed")
	}
}

// A super-frame is cut only for the port that cannot take it; many of them in
// one burst need several chunks.
func TestSuperFrameIsCutWhereNeeded(t *testing.T) {
	l := newLab(t)
	a, able := l.station(l.net, "a", frame.CapAll), l.station(l.net, "able", frame.CapAll)
	unable, checksums := l.station(l.net, "none", 0), l.station(l.net, "csum", frame.CapChecksum|frame.CapTSO6|frame.CapUSO)
	const payload, mss, count = 60000, 1448, 12
	sent := tcp(broadcast, a.mac, payload)
	o := partial
	o.GSOType, o.GSOSize, o.HdrLen = frame.GSOTCPv4, mss, 54
	for range count {
		a.sendOffload(sent, o)
	}
	for range count {
		if got := able.next(); !bytes.Equal(got.Bytes, sent) || got.Offload != o {
			t.Fatalf("the port that takes super-frames got %d bytes, %+v", len(got.Bytes), got.Offload)
		}
	}
	for name, s := range map[string]*station{"none": unable, "csum": checksums} {
		for i := range count {
			var data []byte
			for len(data) < payload {
				f := s.next()
				if len(f.Bytes) > 54+mss || !valid(f.Bytes) || f.Offload.IsSuper() {
					t.Fatalf("%s: super-frame %d: a segment of %d bytes, checksum %v, %+v", name, i, len(f.Bytes), valid(f.Bytes), f.Offload)
				}
				data = append(data, f.Bytes[54:]...)
			}
			if !bytes.Equal(data, sent[54:]) {
				t.Fatalf("%s: super-frame %d: the segments hold other bytes", name, i)
			}
		}
		s.silent()
	}
}

// Segments that exceed an interface's MTU are not sent, whoever would cut them.
func TestSuperFrameBeyondTheEgressMTU(t *testing.T) {
	l := newLab(t)
	cfg := testConfig
	cfg.MTU = 9000
	l.net.Reconfigure(cfg, nil)
	a, able, unable := l.station(l.net, "a", frame.CapAll), l.station(l.net, "able", frame.CapAll), l.station(l.net, "none", 0)
	able.port.SetMTU(1500)
	unable.port.SetMTU(1500)
	o := partial
	o.GSOType, o.GSOSize, o.HdrLen = frame.GSOTCPv4, 8948, 54
	a.sendOffload(tcp(broadcast, a.mac, 30000), o)
	able.drops(EgressOversized, 1)
	unable.drops(EgressOversized, 1)
	o.GSOSize = 9000
	a.sendOffload(tcp(broadcast, a.mac, 30000), o)
	a.drops(Oversized, 1)
}

// Tags stay with the segments.
func TestTaggedSuperFrame(t *testing.T) {
	l := newLab(t)
	a, unable := l.station(l.net, "a", frame.CapAll), l.station(l.net, "none", 0)
	o := partial
	o.GSOType, o.GSOSize, o.HdrLen, o.CsumStart = frame.GSOTCPv4, 1448, 58, 38
	a.sendOffload(tagged(tcp(broadcast, a.mac, 5000), 7), o)
	for n := 0; n < 5000; {
		f := unable.next().Bytes
		if f[12] != 0x81 || f[15] != 7 {
			t.Fatalf("segment without its tag: % x", f[:20])
		}
		untagged := append(append([]byte(nil), f[:12]...), f[16:]...)
		if !valid(untagged) {
			t.Error("wrong checksum")
		}
		n += len(untagged) - 54
	}
}

func TestVerdictNames(t *testing.T) {
	seen := map[string]bool{}
	for v := range numVerdicts {
		if s := v.String(); s == "" || seen[s] {
			t.Errorf("verdict %d is called %q", v, s)
		} else {
			seen[s] = true
		}
	}
	if numVerdicts.String() != "unknown" || Flooded.IsDrop() || !Runt.IsDrop() {
		t.Error("verdicts out of order")
	}
}
