package nat

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// thing is an entry of an index whose hash the test chooses.
type thing struct{ hash uint64 }

func newThings() index[thing] {
	return newIndex(2, func(e *thing) uint64 { return e.hash })
}

// found returns the entries that a search for a hash would look at.
func found(x *index[thing], hash uint64) (all []*thing) {
	buckets := *x.shards[hash>>x.shift].buckets.Load()
	mask := uint64(len(buckets) - 1)
	for n := uint64(0); n <= mask; n++ {
		b := &buckets[(hash+n)&mask]
		tags := b.tags.Load()
		for m := matches(tags, tagOf(hash)); m != 0; m &= m - 1 {
			if e := b.entries[slotOf(m)].Load(); e != nil && e.hash == hash {
				all = append(all, e)
			}
		}
		if tags>>passedShift == 0 {
			break
		}
	}
	return all
}

// TestIndex compares with a map, with hashes that meet in few buckets, through
// growth and shrinking.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, model := newThings(), map[*thing]bool{}
		var all []*thing
		hashes := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 20), rapid.Uint64Range(0, 1<<40-1).Filter(func(v uint64) bool { return v&0xff < 3 }))
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 6 || len(all) == 0:
				e := &thing{hashes.Draw(t, "hash")}
				x.insert(e.hash, e)
				model[e] = true
				all = append(all, e)
			case what < 9:
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				if x.remove(all[i].hash, all[i]) != model[all[i]] {
					t.Fatalf("remove of what is there: %v", !model[all[i]])
				}
				delete(model, all[i])
			default:
				for i := range x.shards {
					x.shrink(&x.shards[i])
				}
			}
		}
		count := 0
		for i := range x.shards {
			x.shardEntries(&x.shards[i], func(e *thing) {
				count++
				if !model[e] {
					t.Fatalf("%x is there after it was removed", e.hash)
				}
			})
		}
		if count != len(model) {
			t.Fatalf("%d entries, want %d", count, len(model))
		}
		for _, e := range all {
			if slices.Contains(found(&x, e.hash), e) != model[e] {
				t.Fatalf("a search finds %x: %v", e.hash, !model[e])
			}
		}
	})
}

// TestIndexSameHash puts more entries with one hash in than a bucket has slots,
// and than the count of those that went further has numbers.
func TestIndexSameHash(t *testing.T) {
	x := newThings()
	var all []*thing
	for range 3000 {
		e := &thing{5}
		x.insert(5, e)
		all = append(all, e)
	}
	if n := len(found(&x, 5)); n != 3000 {
		t.Fatalf("a search finds %d", n)
	}
	for _, e := range all {
		if !x.remove(5, e) {
			t.Fatal("an entry is lost")
		}
	}
	if x.shards[0].count != 0 || len(found(&x, 5)) != 0 {
		t.Error("entries are left")
	}
}

// TestIndexShrinks gives memory back, down to one bucket.
func TestIndexShrinks(t *testing.T) {
	x := newThings()
	e := make([]thing, 10000)
	for i := range e {
		e[i].hash = uint64(i) * 0x9e3779b97f4a7c15
		x.insert(e[i].hash, &e[i])
	}
	for i := range e {
		x.remove(e[i].hash, &e[i])
	}
	for range 12 {
		for i := range x.shards {
			x.shrink(&x.shards[i])
		}
	}
	for i := range x.shards {
		if n := len(*x.shards[i].buckets.Load()); n != 1 {
			t.Errorf("shard %d has %d buckets", i, n)
		}
	}
}

func TestMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 2, 0x7f, 0x80, 0x81, 0xff}), 8, 8).Draw(t, "tags")
		tag := rapid.SampledFrom([]byte{0, 1, 2, 0x7f, 0x80, 0x81, 0xff}).Draw(t, "tag")
		m := matches(binary.LittleEndian.Uint64(b), uint64(tag)*lowBytes)
		first := slices.Index(b[:7], tag)
		if (first < 0) != (m == 0) || first >= 0 && slotOf(m) != first {
			t.Fatalf("%x in %x: %x", tag, b, m)
		}
		for i := range 7 {
			if b[i] == tag && m>>(8*i+7)&1 == 0 {
				t.Fatalf("%x in %x: %x misses slot %d", tag, b, m, i)
			}
		}
	})
}

// TestSpread puts regular tuples in: their hashes must fall evenly into shards,
// buckets and tags.
func TestSpread(t *testing.T) {
	patterns := map[string]func(i int) tuple{
		"ports":     func(i int) tuple { return tuple{protocol: 17, local: Endpoint{Port: uint16(i)}} },
		"dst ports": func(i int) tuple { return tuple{protocol: 17, remote: Endpoint{Port: uint16(i)}} },
		"addresses": func(i int) tuple {
			var k tuple
			k.remote.Addr[10], k.remote.Addr[11] = 0xff, 0xff
			binary.BigEndian.PutUint32(k.remote.Addr[12:], uint32(i))
			return k
		},
		"addresses, high bits": func(i int) tuple {
			var k tuple
			binary.BigEndian.PutUint32(k.local.Addr[12:], uint32(i)<<16)
			return k
		},
		"both": func(i int) tuple {
			k := tuple{local: Endpoint{Port: uint16(i)}, remote: Endpoint{Port: uint16(i)}}
			k.local.Addr[15], k.remote.Addr[15] = byte(i), byte(i)
			return k
		},
	}
	for name, pattern := range patterns {
		s := newSeed()
		for _, part := range []struct {
			name  string
			shift uint
		}{{"buckets", 0}, {"tags", 32}, {"shards", 56}} {
			var count [256]int
			for i := range 65536 {
				k := pattern(i)
				count[s.hash(&k)>>part.shift&255]++
			}
			// 256 on average, and 16 the standard deviation.
			if lo, hi := slices.Min(count[:]), slices.Max(count[:]); lo < 256-8*16 || hi > 256+8*16 {
				t.Errorf("%s: %s have %d to %d", name, part.name, lo, hi)
			}
		}
	}
}

// TestHashDependsOnAll changes each part of a tuple, which half of the bits of
// the hash must follow on average.
func TestHashDependsOnAll(t *testing.T) {
	s := newSeed()
	base := tuple{protocol: 6, zone: 3, local: endpointOf(guestA + ":5000"), remote: endpointOf(remoteA + ":80")}
	changes := map[string]func(k *tuple, i int){
		"protocol":    func(k *tuple, i int) { k.protocol ^= 1 << (i % 8) },
		"zone":        func(k *tuple, i int) { k.zone ^= 1 << (i % 16) },
		"local port":  func(k *tuple, i int) { k.local.Port ^= 1 << (i % 16) },
		"remote port": func(k *tuple, i int) { k.remote.Port ^= 1 << (i % 16) },
		"local":       func(k *tuple, i int) { k.local.Addr[i%128/8] ^= 1 << (i % 8) },
		"remote":      func(k *tuple, i int) { k.remote.Addr[i%128/8] ^= 1 << (i % 8) },
		"swapped":     func(k *tuple, i int) { k.local, k.remote = k.remote, k.local },
	}
	for name, change := range changes {
		flips := 0
		for i := range 128 {
			k := base
			change(&k, i)
			flips += bits.OnesCount64(s.hash(&k) ^ s.hash(&base))
		}
		if name != "swapped" && (flips < 128*26 || flips > 128*38) || flips == 0 {
			t.Errorf("%s: %d of 64 bits change", name, flips/128)
		}
	}
	if newSeed() == s {
		t.Error("two tables have one seed")
	}
}

// TestPeers compares with a map of counts.
func TestPeers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s peers
		model := map[uint64]int{}
		// Hashes that meet in one shard, and there in few slots.
		hashes := rapid.Map(rapid.Uint64Range(0, 40), func(v uint64) uint64 { return v%5<<61 | v<<peerCountBits | 9 })
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			h := hashes.Draw(t, "hash")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1, 2:
				s.add(h)
				model[h]++
			case 3:
				s.remove(h)
				if model[h]--; model[h] <= 0 {
					delete(model, h)
				}
			default:
				s.shards[9].shrink()
			}
			for v := range uint64(41) {
				h := v%5<<61 | v<<peerCountBits | 9
				if yes, sure := s.has(h); yes != (model[h] > 0) || !sure {
					t.Fatalf("%x: %v %v, want %d", h, yes, sure, model[h])
				}
			}
		}
		if used := s.shards[9].used; used != len(model) {
			t.Fatalf("%d slots used for %d", used, len(model))
		}
	})
}

// TestPeersBusy says that it is not sure while a shard changes.
func TestPeersBusy(t *testing.T) {
	var s peers
	s.add(1 << 20)
	s.shards[0].version.Add(1)
	if yes, sure := s.has(1 << 21); yes || sure {
		t.Errorf("%v %v", yes, sure)
	}
	if yes, _ := s.has(1 << 20); !yes {
		t.Error("what is there is not seen")
	}
}

// TestFindComparesAll puts a flow where the search for another one looks, as two
// tuples with one hash would be: it must not be taken for that.
func TestFindComparesAll(t *testing.T) {
	l := newLab(t, ZoneConfig{})
	l.mustOut(udp(guestA+":5000", remoteA+":80"))
	var f *flow
	for i := range l.tab.out.shards {
		l.tab.out.shardEntries(&l.tab.out.shards[i], func(one *flow) { f = one })
	}
	for name, change := range map[string]func(k *tuple){
		"zone":     func(k *tuple) { k.zone++ },
		"protocol": func(k *tuple) { k.protocol++ },
		"local":    func(k *tuple) { k.local.Port++ },
		"remote":   func(k *tuple) { k.remote.Port++ },
	} {
		out, in := f.outTuple(), f.inTuple()
		change(&out)
		l.tab.out.insert(l.tab.seed.hash(&out), f)
		if l.tab.findOut(&out) != nil {
			t.Errorf("from inside, another %s is found", name)
		}
		if name == "zone" {
			continue // who looks from outside knows none
		}
		change(&in)
		l.tab.in.insert(l.tab.seed.hash(&in), f)
		if l.tab.findIn(&in) != nil {
			t.Errorf("from outside, another %s is found", name)
		}
	}
	m := f.mapping
	for name, change := range map[string]func(k *tuple){
		"zone":     func(k *tuple) { k.zone++ },
		"protocol": func(k *tuple) { k.protocol++ },
		"local":    func(k *tuple) { k.local.Port++ },
	} {
		k := m.insideTuple()
		change(&k)
		l.tab.byInside.insert(l.tab.seed.hash(&k), m)
		if l.tab.mappingOf(k.zone, k.protocol, &k.local) != nil {
			t.Errorf("a mapping of another %s is found", name)
		}
	}
}
