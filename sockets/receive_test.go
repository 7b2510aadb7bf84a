package sockets

import (
	"bytes"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// fragment is a part of a UDP packet.
func (a *side) fragment(id uint32, offset int, more bool, data []byte) (*frame.Frame, *frame.Parsed) {
	return a.fragmentFrom(a.guestAddr, id, offset, more, data)
}

func (a *side) fragmentFrom(src netip.Addr, id uint32, offset int, more bool, data []byte) (*frame.Frame, *frame.Parsed) {
	f, p := frameOf(fragmentOf(ipPacket(src, a.worldIP, frame.ProtoUDP, nil), id, offset, more, data)), new(frame.Parsed)
	p.Parse(f)
	return f, p
}

// Fragments are joined in whatever order they come; where they contradict each other
// or something is missing, nothing comes of them.
func TestReassembly(t *testing.T) { both(t, testReassembly) }

func testReassembly(t *testing.T, a *side) {
	type part struct {
		offset, length int
		more           bool
	}
	data := content(9, 48)
	for _, test := range []struct {
		name  string
		parts []part
		whole bool
	}{
		{"in order", []part{{0, 16, true}, {16, 16, true}, {32, 16, false}}, true},
		{"backwards", []part{{32, 16, false}, {16, 16, true}, {0, 16, true}}, true},
		{"the middle last", []part{{0, 16, true}, {32, 16, false}, {16, 16, true}}, true},
		{"all twice", []part{{32, 16, false}, {32, 16, false}, {0, 16, true}, {0, 16, true}, {16, 16, true}}, true},
		{"the last twice, once with more", []part{{32, 16, false}, {32, 16, true}, {0, 16, true}, {16, 16, true}}, false},
		{"the first misses", []part{{16, 16, true}, {32, 16, false}}, false},
		{"the middle misses", []part{{0, 16, true}, {32, 16, false}}, false},
		{"the last misses", []part{{0, 16, true}, {16, 32, true}}, false},
		{"overlap", []part{{0, 24, true}, {16, 16, true}, {32, 16, false}}, false},
		{"overlap from behind", []part{{16, 16, true}, {0, 24, true}, {32, 16, false}}, false},
		{"the last one covers", []part{{0, 16, true}, {16, 16, true}, {8, 40, false}}, false},
		{"two ends", []part{{32, 16, false}, {16, 8, false}, {0, 16, true}}, false},
		{"beyond the end", []part{{16, 8, false}, {32, 16, true}, {0, 16, true}}, false},
		{"an odd length", []part{{0, 13, true}, {16, 32, false}}, false},
	} {
		var r reassembly
		var whole *frame.Frame
		for _, p := range test.parts {
			f, parsed := a.fragment(7, p.offset, p.more, data[p.offset:p.offset+p.length])
			if w := r.add(f, parsed, "a", 1); w != nil {
				whole = w
			}
		}
		if (whole != nil) != test.whole {
			t.Errorf("%s: whole: %v", test.name, whole != nil)
		}
		if whole == nil {
			continue
		}
		var p frame.Parsed
		if p.Parse(whole); p.IsFragment() || p.End != len(whole.Bytes()) || !bytes.Equal(whole.Bytes()[p.L4:], data) || a.fam == v4 && frame.Checksum(whole.Bytes()[p.L3:p.L4], 0) != 0 {
			t.Errorf("%s: % x", test.name, whole.Bytes())
		}
		if len(r.all) != 0 || r.bytes != 0 {
			t.Errorf("%s: %d bytes are left", test.name, r.bytes)
		}
	}
}

// Parts that contradict each other are forgotten at once, whichever comes first.
func TestOverlap(t *testing.T) { both(t, testOverlap) }

func testOverlap(t *testing.T, a *side) {
	for _, at := range [][2]int{{0, 8}, {8, 0}} {
		var r reassembly
		for _, offset := range at {
			f, p := a.fragment(7, offset, true, make([]byte, 16))
			r.add(f, p, "a", 1)
		}
		if len(r.all) != 0 || r.bytes != 0 {
			t.Errorf("at %v: %d bytes are left", at, r.bytes)
		}
	}
}

// What waits is bounded, by guest and in all, and does not wait for ever.
func TestReassemblyBounds(t *testing.T) { both(t, testReassemblyBounds) }

func testReassemblyBounds(t *testing.T, a *side) {
	var r reassembly
	for id := range uint32(1000) {
		f, p := a.fragment(id, 0, true, make([]byte, 16))
		r.add(f, p, "a", 1)
	}
	if len(r.all) != maxHostDatagrams || r.bytes != maxHostDatagrams*16 {
		t.Errorf("%d datagrams, %d bytes wait", len(r.all), r.bytes)
	}
	f, p := a.fragment(5000, 0, true, make([]byte, 16))
	if r.add(f, p, "a", 2+fragmentTime); len(r.all) != 1 || r.bytes != 16 {
		t.Errorf("%d datagrams, %d bytes wait after a time", len(r.all), r.bytes)
	}
	r = reassembly{}
	for i := range 1000 {
		f, p := a.fragment(1, 16*i, true, make([]byte, 8))
		r.add(f, p, "a", 1)
	}
	for _, d := range r.all {
		if n := len(d.parts); n > maxParts {
			t.Errorf("%d parts wait", n)
		}
	}
	r = reassembly{}
	for i := range maxDatagrams {
		f, p := a.fragmentFrom(a.guestAt(2+i%200), uint32(i), 0, true, make([]byte, 16))
		r.add(f, p, "a", 1)
	}
	if len(r.all) != maxPortDatagrams {
		t.Errorf("%d datagrams of one port wait", len(r.all))
	}
	f, p = a.fragment(1, 0, true, make([]byte, 16))
	if r.add(f, p, "b", 1); len(r.all) != maxPortDatagrams+1 {
		t.Error("another port has no room")
	}
}

// With many connections each has less memory.
func TestBuffers(t *testing.T) {
	s, err := open(silent{}, dual(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	last := maxBuffer + 1
	for _, n := range []int{1, 127, 128, 1000, 65536, 1 << 20} {
		s.stack.resize(s, n)
		var v tcpip.TCPSendBufferSizeRangeOption
		if err := s.stack.stack.TransportProtocolOption(tcp.ProtocolNumber, &v); err != nil {
			t.Fatal(err)
		}
		if v.Max > last || v.Max < minBuffer || v.Max > minBuffer && v.Max*n > buffersInAll || n < 128 && v.Max != maxBuffer {
			t.Errorf("%d connections: %d bytes each", n, v.Max)
		}
		last = v.Max
	}
}

// silent is a seat in no network.
type silent struct{}

func (silent) Inbox(dataplane.Service) *dataplane.Inbox { return nil }
func (silent) Resolve([]*frame.Frame)                   {}

// dual is a configuration of both families.
func dual() Config {
	return Config{Address: sides()[0].subnet, Address6: []netip.Prefix{sides()[1].subnet}, MAC: gatewayMAC, MTU: 1500}
}

// Whatever a guest sends harms nobody.
func FuzzReceive(f *testing.F) {
	for _, a := range sides() {
		to := netip.AddrPortFrom(a.worldIP, 9)
		for _, ip := range [][]byte{
			nil, udpPacket(a.guestAddr, to, 1, []byte("x")), synPacket(a.guestAddr, to, 1), echoPacket(a.guestAddr, a.worldIP, 1, 2, []byte("x")),
			ipPacket(a.guestAddr, a.worldIP, 47, nil), icmpPacket(a.guestAddr, a.worldIP, []byte{3, 3, 0, 0}),
			icmpPacket(a.guestAddr, a.worldIP, append([]byte{2, 0, 0, 0, 0, 0, 5, 0}, synPacket(a.guestAddr, to, 1)...)),
		} {
			for n := range len(ip) + 1 {
				f.Add(ip[:n], uint8(0), uint8(0), uint16(0))
			}
			f.Add(ip, uint8(frame.NeedsChecksum), uint8(frame.GSOTCPv4), uint16(8))
			f.Add(ip, uint8(frame.NeedsChecksum), uint8(frame.GSOTCPv6), uint16(8))
			f.Add(ip, uint8(frame.NeedsChecksum), uint8(frame.GSOUDPL4), uint16(1))
			if len(ip) == 0 {
				continue
			}
			for _, part := range [][]byte{fragmentOf(ip, 1, 0, true, l4(ip)[:len(l4(ip))&^7]), fragmentOf(ip, 1, 8, false, l4(ip))} {
				f.Add(part, uint8(0), uint8(0), uint16(0))
			}
			if a.fam == v6 {
				for _, c := range chains() {
					f.Add(extend(ip, c.kinds, c.headers...), uint8(0), uint8(0), uint16(0))
				}
			}
		}
	}
	cfg := dual()
	cfg.Env = Env{Socket: func(int, int, int) (int, error) { return -1, unix.EMFILE }}
	s, err := open(silent{}, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, ip []byte, flags, gso uint8, size uint16) {
		fr := frameOf(ip)
		var p frame.Parsed
		p.Parse(fr)
		if fr.Offload.Flags, fr.Offload.GSOType, fr.Offload.GSOSize = flags, gso, size; flags&frame.NeedsChecksum != 0 {
			fr.Offload.CsumStart, fr.Offload.CsumOffset = uint16(p.L4), 6
			if p.Protocol == frame.ProtoTCP {
				fr.Offload.CsumOffset = 16
			}
		}
		if flags|gso != 0 && !fr.CheckOffload() {
			return // the pipeline has dropped it
		}
		s.receive(fr, "guest")
	})
}
