package dataplane

import (
	"encoding/binary"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ports/memport"
)

func vlans(native uint16, ranges ...[2]uint16) VLANs {
	set := new(VLANSet)
	for _, r := range ranges {
		set.Add(r[0], r[1])
	}
	return VLANs{Native: native, Tagged: set}
}

func access(vid uint16) VLANs { return vlans(vid) }

// withTag puts a tag of any type and control information in front.
func withTag(b []byte, tpid, tci uint16) []byte {
	tag := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, tpid), tci)
	return append(append(append([]byte(nil), b[:12]...), tag...), b[12:]...)
}

// vlanLab has a port of every kind: any is transparent, a10 and a20 are access
// ports, trunk carries 10, 20 and 30 with 20 as its native VLAN, and tags
// carries 10 and 4094 and nothing without a tag.
func vlanLab(t *testing.T) (*lab, map[string]*station) {
	l := newLab(t)
	stations := map[string]*station{}
	for name, v := range map[string]VLANs{
		"any": {}, "a10": access(10), "a20": access(20), "a20b": access(20),
		"trunk": vlans(20, [2]uint16{10, 10}, [2]uint16{20, 20}, [2]uint16{30, 30}),
		"tags":  vlans(0, [2]uint16{10, 10}, [2]uint16{4094, 4094}),
	} {
		stations[name] = l.stationWith(l.net, name, frame.CapAll, Policy{VLAN: v})
	}
	return l, stations
}

// TestVLANForms sends a frame in every form into every kind of port, and looks
// at the bytes that leave the others.
func TestVLANForms(t *testing.T) {
	plain := ethernet(broadcast, mac("x"), "payload")
	c := func(tci uint16) []byte { return withTag(plain, frame.TypeVLAN, tci) }
	sTagged := withTag(plain, frame.TypeQinQ, 10)
	cInS := func(tci uint16) []byte { return withTag(sTagged, frame.TypeVLAN, tci) }
	double := withTag(withTag(plain, frame.TypeVLAN, 7), frame.TypeVLAN, 10)
	inner := withTag(plain, frame.TypeVLAN, 7)
	hop := withTag(inner, frame.TypeVLAN, 0) // for the trunk, whose native VLAN is 20, to strip
	for _, row := range []struct {
		name, in string
		frame    []byte
		want     map[string][]byte // nil: dropped as vlan-denied
	}{
		{"untagged", "any", plain, map[string][]byte{}},
		{"untagged", "a10", plain, map[string][]byte{"any": c(10), "trunk": c(10), "tags": c(10)}},
		{"untagged", "a20", plain, map[string][]byte{"any": c(20), "a20b": plain, "trunk": plain}},
		{"untagged, native", "trunk", plain, map[string][]byte{"any": c(20), "a20": plain, "a20b": plain}},
		{"untagged, no native", "tags", plain, nil},

		{"priority tag", "any", c(0xe000), map[string][]byte{}},
		{"priority tag", "a10", c(0xe000), map[string][]byte{"any": c(0xe00a), "trunk": c(0xe00a), "tags": c(0xe00a)}},
		{"priority tag, native", "trunk", c(0xa000), map[string][]byte{"any": c(0xa014), "a20": plain, "a20b": plain}},
		{"priority tag, no native", "tags", c(0xe000), nil},

		{"VLAN 10", "any", c(0x600a), map[string][]byte{"a10": plain, "trunk": c(0x600a), "tags": c(0x600a)}},
		{"VLAN 10", "trunk", c(0x600a), map[string][]byte{"any": c(0x600a), "a10": plain, "tags": c(0x600a)}},
		{"VLAN 10", "tags", c(10), map[string][]byte{"any": c(10), "a10": plain, "trunk": c(10)}},
		{"the native VLAN with a tag", "trunk", c(20), map[string][]byte{"any": c(20), "a20": plain, "a20b": plain}},
		{"a VLAN of nobody else", "trunk", c(30), map[string][]byte{"any": c(30)}},
		{"the last VLAN", "tags", c(4094), map[string][]byte{"any": c(4094)}},
		{"a VLAN of others", "tags", c(20), nil},
		{"a VLAN of nobody", "trunk", c(40), nil},
		{"an access port's VLAN with a tag", "a10", c(10), nil},
		{"another VLAN at an access port", "a10", c(20), nil},
		{"the reserved VLAN", "any", c(4095), nil},
		{"the reserved VLAN", "trunk", c(4095), nil},

		{"S-tag", "any", sTagged, map[string][]byte{}},
		{"S-tag", "a20", sTagged, map[string][]byte{"any": cInS(20), "a20b": sTagged, "trunk": sTagged}},
		{"S-tag", "tags", sTagged, nil},
		{"C-tag around an S-tag", "tags", cInS(10), map[string][]byte{"any": cInS(10), "a10": sTagged, "trunk": cInS(10)}},
		{"two C-tags", "any", double, map[string][]byte{"trunk": double, "tags": double}},
		{"two C-tags", "trunk", double, map[string][]byte{"any": double, "tags": double}},
		{"two C-tags, the first a priority tag", "a20", hop, map[string][]byte{"any": withTag(inner, frame.TypeVLAN, 20)}},
	} {
		t.Run(row.name+" at "+row.in, func(t *testing.T) {
			_, stations := vlanLab(t)
			in := stations[row.in]
			in.send(row.frame)
			in.settle(1)
			if row.want == nil {
				in.drops(VLANDenied, 1)
			}
			for name, s := range stations {
				want, expected := row.want[name]
				if got := s.receives(want); got != expected {
					t.Errorf("%s received the frame: %v, want %v", name, got, expected)
				}
			}
		})
	}
}

// Frames of one burst do not get each other's tags, nor do they keep them.
func TestVLANBurst(t *testing.T) {
	l := newLab(t)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{VLAN: vlans(0, [2]uint16{10, 20})})
	b := l.stationWith(l.net, "b", frame.CapAll, Policy{VLAN: access(10)})
	c := l.stationWith(l.net, "c", frame.CapAll, Policy{VLAN: access(20)})
	a.port.Detach()
	w := &worker{network: l.net, port: a.port}
	var burst []*frame.Frame
	for i := range 4 {
		vid := uint16(10 + 10*(i%2))
		burst = append(burst, parsed(tagged(ethernet(broadcast, a.mac, string(rune('0'+i))), vid)))
	}
	for range 2 {
		w.burst(burst)
		for i := range 4 {
			[]*station{b, c}[i%2].expect(ethernet(broadcast, a.mac, string(rune('0'+i))))
		}
	}
	b.silent()
	c.silent()
}

// A port changes its VLAN while it is in use.
func TestVLANChange(t *testing.T) {
	_, s := vlanLab(t)
	f := ethernet(broadcast, mac("x"), "first")
	s["a10"].send(f)
	s["trunk"].expect(tagged(f, 10))
	n := s["a10"].port.network
	n.Reconfigure(n.Config(), map[string]Policy{"a10": {VLAN: access(20)}})
	s["a10"].send(f)
	s["trunk"].expect(f)
	s["a20"].expect(f)
}

// The same address in two VLANs is two stations (independent learning).
func TestVLANsOfAccessPortsAreApart(t *testing.T) {
	_, s := vlanLab(t)
	twin := mac("twin")
	s["a10"].send(ethernet(broadcast, twin, "in 10"))
	s["a10"].settle(1)
	s["a20"].send(ethernet(broadcast, twin, "in 20"))
	s["a20"].settle(1)
	for _, name := range []string{"any", "trunk", "tags", "a20b"} {
		for ok := true; ok; {
			_, ok = s[name].io.Poll()
		}
	}
	to := ethernet(twin, mac("y"), "to the twin")
	s["trunk"].send(to) // native: VLAN 20
	s["a20"].expect(to)
	s["trunk"].send(tagged(to, 10))
	s["a10"].expect(to)
	s["a20"].silent()
	s["any"].silent()
	if got := s["a10"].port.network.FDBStats(); got.Moved != 0 || got.Dynamic != 4 {
		t.Errorf("%+v: want 4 entries, none moved", got)
	}
}

// An entry that points out of the VLAN (a static one can) leads nowhere.
func TestVLANOfAStaticEntry(t *testing.T) {
	l, s := vlanLab(t)
	if err := l.net.AddStatic(10, mac("pin"), "a20"); err != nil {
		t.Fatal(err)
	}
	s["a10"].send(ethernet(mac("pin"), mac("x"), "astray"))
	s["a10"].drops(VLANDenied, 1)
	s["a20"].silent()
}

// A super-frame with a partial checksum is tagged and untagged whole, one and
// the same burst to ports of every form, and the offsets are right in each.
func TestVLANOffloads(t *testing.T) {
	for _, sTag := range []bool{false, true} {
		_, s := vlanLab(t)
		b, o := superFrame(t)
		if sTag {
			b = withTag(b, frame.TypeQinQ, 10)
			o.CsumStart += frame.TagLen
			o.HdrLen += frame.TagLen
		}
		s["a20"].sendOffload(b, o)
		tagged := o
		tagged.CsumStart += frame.TagLen
		tagged.HdrLen += frame.TagLen
		for name, want := range map[string]memport.Frame{
			"any":   {Bytes: withTag(b, frame.TypeVLAN, 20), Offload: tagged},
			"trunk": {Bytes: b, Offload: o},
			"a20b":  {Bytes: b, Offload: o},
		} {
			got := s[name].next()
			if string(got.Bytes) != string(want.Bytes) || got.Offload != want.Offload {
				t.Errorf("S-tag %v: %s got %d bytes and %+v, want %d and %+v", sTag, name, len(got.Bytes), got.Offload, len(want.Bytes), want.Offload)
			}
		}
	}
}

// A port that cannot segment gets segments, in its form.
func TestVLANSegments(t *testing.T) {
	l := newLab(t)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{VLAN: access(10)})
	trunk := l.stationWith(l.net, "trunk", 0, Policy{VLAN: vlans(0, [2]uint16{10, 10})})
	plain := l.stationWith(l.net, "plain", 0, Policy{VLAN: access(10)})
	b, o := superFrame(t)
	a.sendOffload(b, o)
	for range (len(b) - int(o.HdrLen) + int(o.GSOSize) - 1) / int(o.GSOSize) {
		with, without := trunk.next(), plain.next()
		if string(with.Bytes) != string(withTag(without.Bytes, frame.TypeVLAN, 10)) {
			t.Fatalf("segments differ:\n% x\n% x", with.Bytes[:60], without.Bytes[:60])
		}
	}
}

func TestVLANSet(t *testing.T) {
	s := new(VLANSet)
	s.Add(1, 1)
	s.Add(63, 65)
	s.Add(4094, 4094)
	for id := range uint16(4096) {
		want := id == 1 || id >= 63 && id <= 65 || id == 4094
		if s.Has(id) != want {
			t.Errorf("%d: %v", id, s.Has(id))
		}
	}
	if a, b := access(10), access(10); !a.equal(b) || a.equal(access(20)) || a.equal(VLANs{}) || !(VLANs{}).equal(VLANs{}) {
		t.Error("equal VLANs are not told from others")
	}
}

// superFrame is a TCP segment of five packets, as a guest sends it.
func superFrame(t *testing.T) ([]byte, frame.Offload) {
	t.Helper()
	o := partial
	o.GSOType, o.GSOSize, o.HdrLen = frame.GSOTCPv4, 1448, 54
	return tcp(broadcast, mac("x"), 5*1448-100), o
}
