package nat

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPorts compares with a plain list of ports and of when they were freed.
func TestPorts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SampledFrom([]uint16{1, 1000, 1020, 1024, 65500}).Draw(t, "first")
		last := first + rapid.Uint16Range(0, 35).Draw(t, "size")
		p := newPortPool(ClassUDP)
		var taken *PortSet
		holders, freedAt := map[uint16]int{}, map[uint16]int{}
		free := func(port uint16) bool {
			return port >= first && port <= last && holders[port] == 0 && !p.reserved.Has(port) && (taken == nil || !taken.Has(port))
		}
		for now := range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				taken = new(PortSet)
				taken.Add(first + rapid.Uint16Range(0, last-first).Draw(t, "taken"))
				p.epoch++
			case 1:
				p.reserved = PortSet{}
				p.reserved.Add(first + rapid.Uint16Range(0, last-first).Draw(t, "reserved"))
				p.epoch++
			case 2, 3, 4:
				held := slices.Sorted(maps.Keys(holders))
				held = slices.DeleteFunc(held, func(port uint16) bool { return holders[port] == 0 })
				if len(held) > 0 {
					port := rapid.SampledFrom(held).Draw(t, "released")
					p.release(port)
					holders[port]--
					freedAt[port] = now
				}
			case 5:
				port := first + rapid.Uint16Range(0, last-first).Draw(t, "published")
				p.acquire(port)
				holders[port]++
			default:
				wanted := rapid.OneOf(rapid.Uint16(), rapid.Uint16Range(first, last)).Draw(t, "wanted")
				port, ok := p.choose(wanted, first, last, taken)
				want, wantOK := bestPort(wanted, first, last, free, holders, freedAt)
				if ok != wantOK || ok && (!free(port) || want != 0 && port != want) {
					t.Fatalf("wanted %d of %d-%d: got %d %v, want %d %v", wanted, first, last, port, ok, want, wantOK)
				}
				if ok {
					if best, _ := bestClass(wanted, first, last, free); (port^wanted)&1 != best.parity || (port < privileged) != best.low {
						t.Fatalf("wanted %d: %d, though there is one that suits better", wanted, port)
					}
					p.acquire(port)
					holders[port]++
				}
			}
		}
	})
}

type suits struct {
	low    bool
	parity uint16 // 0 is the same
}

// bestClass returns the class and parity of the best free port.
func bestClass(wanted, first, last uint16, free func(uint16) bool) (suits, bool) {
	low := wanted < privileged
	for _, s := range []suits{{low, 0}, {low, 1}, {!low, 0}, {!low, 1}} {
		for port := int(first); port <= int(last); port++ {
			if q := uint16(port); free(q) && (q < privileged) == s.low && (q^wanted)&1 == s.parity {
				return s, true
			}
		}
	}
	return suits{}, false
}

// bestPort returns the port that must be chosen, 0 where it is one of several.
func bestPort(wanted, first, last uint16, free func(uint16) bool, holders, freedAt map[uint16]int) (uint16, bool) {
	if free(wanted) {
		return wanted, true
	}
	best, ok := bestClass(wanted, first, last, free)
	oldest, unseen := uint16(0), false
	for port := int(first); port <= int(last); port++ {
		q := uint16(port)
		if !free(q) || (q < privileged) != best.low || (q^wanted)&1 != best.parity {
			continue
		}
		if _, seen := holders[q]; !seen {
			unseen = true
		} else if oldest == 0 || freedAt[q] < freedAt[oldest] {
			oldest = q
		}
	}
	if unseen {
		return 0, ok
	}
	return oldest, ok
}

// TestPortsExhaustedIsCheap does not search again before anything was freed.
func TestPortsExhaustedIsCheap(t *testing.T) {
	p := newPortPool(ClassUDP)
	for port := 1024; port < 65536; port++ {
		p.acquire(uint16(port))
	}
	if _, ok := p.choose(5000, 1024, 65535, nil); ok {
		t.Fatal("a port twice")
	}
	p.used.Remove(6000) // behind its back: it must not look
	if _, ok := p.choose(5000, 1024, 65535, nil); ok {
		t.Error("it searched though nothing was freed")
	}
	p.used.Add(6000)
	p.release(6001)
	if port, ok := p.choose(5000, 1024, 65535, nil); !ok || port != 6001 {
		t.Errorf("%d %v", port, ok)
	}
}
