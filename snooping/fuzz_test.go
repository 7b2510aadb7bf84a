package snooping

import (
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// hotFrames are one frame of each kind that workers see.
func hotFrames() map[string]*frame.Frame {
	return map[string]*frame.Frame{
		"data":         dataFrame("239.1.2.3"),
		"data, nobody": dataFrame("239.1.2.4"),
		"IPv6 data":    dataFrame("ff0e::1:2"),
		"ND":           packet{src: host6, dst: "ff02::1:ff00:1", noAlert: true, ttl: 255, body: body(135, 0, make([]byte, 20))}.frame(),
		"report":       joinFrame("239.1.2.3"),
		"v3 report":    reportFrame(rec{allowSources, "239.1.2.3", []string{"10.0.0.1"}, 1}, rec{kind: changeToInclude, group: "239.1.2.4"}),
		"MLD report":   joinFrame("ff0e::1:2"),
		"MLDv2 report": reportFrame(rec{kind: changeToExclude, group: "ff0e::1:2"}),
		"query":        queryFrame("192.0.2.1", "0.0.0.0", 100, 2, 125),
		"MLD query":    queryFrame(low6, "::", 10000, 2, 125),
		"MLD leave":    leaveFrame("ff0e::1:2"),
		"PIM":          packet{src: host4, dst: "224.0.0.13", protocol: 103, body: []byte{0x20, 0, 0, 0}}.frame(),
		"malformed":    packet{src: host4, dst: "239.1.2.3", body: body(0x16, 0, addrBytes("10.1.2.3"))}.frame(),
	}
}

func addSeeds(f *testing.F) {
	for _, h := range hotFrames() {
		f.Add(h.Bytes(), uint8(0), true)
	}
	f.Add(packet{src: host6, dst: "ff0e::1", exts: []byte{44, 0, 5, 2, 0, 0, 1, 0, 58, 0, 0, 1, 0, 0, 0, 9}, body: body(131, 0)}.bytes(), uint8(0), false)
	f.Add([]byte{}, uint8(frame.NeedsChecksum), true)
}

// repair puts right checksums into mutated bytes, without which hardly any
// would get past the first check.
func repair(b []byte) {
	var p frame.Parsed
	p.Parse(wrap(b))
	if p.Layer < frame.LayerNetwork || p.L3 != frame.HeaderLen {
		return
	}
	put := func(at, end int, pseudo uint64) {
		b[at], b[at+1] = 0, 0
		sum := frame.Checksum(b[at-2:end], pseudo)
		b[at], b[at+1] = byte(sum>>8), byte(sum)
	}
	if p.IPVersion == 4 {
		b[24], b[25] = 0, 0
		sum := frame.Checksum(b[p.L3:p.L4], 0)
		b[24], b[25] = byte(sum>>8), byte(sum)
		if p.End-p.L4 >= 4 {
			put(p.L4+2, p.End, 0)
		}
	} else if p.End-p.L4 >= 4 {
		put(p.L4+2, p.End, frame.PseudoHeader(b[22:38], b[38:54], p.Protocol, p.End-p.L4))
	}
}

func FuzzParse(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte, flags uint8, whole bool) {
		if whole {
			repair(b)
		}
		fr := wrap(b)
		fr.Offload.Flags = flags
		before := string(fr.Bytes())
		kind := Parse(fr)
		if kind > Malformed || Parse(fr) != kind {
			t.Fatalf("kind %d, and then %d", kind, Parse(fr))
		}
		if string(fr.Bytes()) != before {
			t.Fatal("the frame was changed")
		}
		// An independent look at what a message must have.
		if kind == Querier || kind == Report {
			switch {
			case b[12] == 0x08 && b[14]>>4 == 4 && b[22] == 1 && b[23] == 2 && b[30]>>4 == 14:
			case b[12] == 0x86 && b[14]>>4 == 6 && b[20] == 0 && b[21] == 1 && b[38] == 0xff:
			default:
				t.Fatalf("kind %d of %x", kind, b)
			}
		}
		var tab *Table
		tab.Ports(0, fr)
	})
}

func FuzzReceive(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte, port uint8, whole bool) {
		l := newLab(t, Config{Querier: port%2 == 0}, 0)
		l.run(time.Minute)
		l.receive(1, joinFrame("239.1.2.3"))
		l.receive(1, joinFrame("ff0e::1:2"))
		before, stats := l.Table(), l.Stats()
		if whole {
			repair(b)
		}
		fr := wrap(b)
		kind := Parse(fr)
		l.receive(uint16(port), fr)
		if (kind == None || kind == Malformed) && (l.Table() != before || l.Stats() != stats) {
			t.Fatalf("kind %d made a difference: %x", kind, b)
		}
		l.check()
		l.run(5 * time.Second)
		l.check()
		if l.Table().Ports(0, fr); len(l.Groups()) > MaxPortGroups+2 {
			t.Fatal("too many groups")
		}
	})
}

// check verifies that the Snooper's books agree.
func (s *lab) check() {
	s.t.Helper()
	groups, members := 0, 0
	joined, domains := map[uint16]int{}, map[*domain]int{}
	for i, shard := range s.groups {
		for k, g := range shard {
			groups++
			domains[g.domain]++
			if g.key != k || s.table.hash.shard(&k) != i || len(g.members) == 0 || !restrictable(&k.group) {
				s.t.Fatalf("group %v in shard %d: %+v", k, i, g)
			}
			for port := range g.members {
				members++
				joined[port]++
			}
		}
	}
	for port, n := range s.joined {
		if joined[uint16(port)] != int(n) || n > MaxPortGroups {
			s.t.Fatalf("port %d: %d memberships, %d counted", port, joined[uint16(port)], n)
		}
	}
	for _, d := range s.domains {
		if domains[d] != d.groups {
			s.t.Fatalf("domain %v: %d groups, %d counted", d.domainKey, domains[d], d.groups)
		}
		delete(domains, d)
	}
	if st := s.Stats(); st.Groups != groups || st.Memberships != members || len(domains) != 0 {
		s.t.Fatalf("%d groups and %d memberships, counted %+v; %d domains lost", groups, members, st, len(domains))
	}
}
