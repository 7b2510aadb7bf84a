package fdb

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// full returns a table at its limit, of which port 1 holds all.
func full(limit int) *Table {
	tab := New(Config{Limit: limit, Ageing: 300 * time.Second})
	for i := range limit {
		tab.Learn(0, mac(i), 1, 0)
	}
	return tab
}

func TestNoAllocations(t *testing.T) {
	tab := full(1000)
	add(t, tab, 1, mac(0), 2, Static)
	i, now := 1<<20, uint32(1)
	for name, f := range map[string]func(){
		"Lookup, hit":      func() { tab.Lookup(0, mac(5)) },
		"Lookup, miss":     func() { tab.Lookup(0, mac(1<<30)) },
		"Learn, known":     func() { tab.Learn(1, mac(0), 2, now) },
		"Learn, refreshed": func() { now++; tab.Learn(0, mac(i), 1, now) },
		"Learn, conflict":  func() { tab.Learn(1, mac(0), 1, now) },
		"Learn, new":       func() { i++; tab.Learn(0, mac(i), 1, now) },
		"Learn, moved":     func() { now++; tab.Learn(0, mac(i), Port(1+now%2), now) },
		"Age":              func() { tab.Age(now) },
		"FlushPort":        func() { i++; tab.Learn(0, mac(i), 2, now); tab.FlushPort(2) },
	} {
		if n := testing.AllocsPerRun(2000, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// macs returns 1024 addresses, made beforehand to be out of the measurement.
func macs(first int) (all [1024]frame.MAC) {
	for i := range all {
		all[i] = mac(first + i)
	}
	return all
}

// rwmap is what a table would be without the art: the yardstick.
type rwmap struct {
	sync.RWMutex
	m map[uint64]value
}

func (r *rwmap) Lookup(vlan uint16, mac frame.MAC) (Port, bool) {
	r.RLock()
	v, ok := r.m[keyOf(vlan, mac)]
	r.RUnlock()
	return v.port(), ok
}

func BenchmarkLookup(b *testing.B) {
	tab, known := full(DefaultLimit), macs(0)
	for name, first := range map[string]int{"hit": 0, "miss": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			all := macs(first)
			for i := range b.N {
				tab.Lookup(0, all[i%len(all)])
			}
		})
	}
	b.Run("hit, 32 hosts", func(b *testing.B) {
		small := full(32)
		for i := range b.N {
			small.Lookup(0, known[i%32])
		}
	})
	b.Run("yardstick RWMutex and map", func(b *testing.B) {
		r := rwmap{m: map[uint64]value{}}
		for i := range DefaultLimit {
			r.m[keyOf(0, mac(i))] = 1
		}
		for i := range b.N {
			r.Lookup(0, known[i%len(known)])
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				tab.Lookup(0, known[i%len(known)])
			}
		})
	})
	b.Run("parallel with a flooder", func(b *testing.B) {
		var stop atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 1 << 20; !stop.Load(); i++ {
				tab.Learn(0, mac(i), 1, 0)
			}
		}()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				tab.Lookup(0, known[i%len(known)])
			}
		})
		stop.Store(true)
		<-done
	})
}

func BenchmarkLearn(b *testing.B) {
	known := macs(0)
	b.Run("known", func(b *testing.B) {
		tab := full(DefaultLimit)
		b.ReportAllocs()
		for i := range b.N {
			tab.Learn(0, known[i%len(known)], 1, 0)
		}
	})
	b.Run("known, parallel", func(b *testing.B) {
		tab := full(DefaultLimit)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				tab.Learn(0, known[i%len(known)], 1, 0)
			}
		})
	})
	b.Run("new at the limit", func(b *testing.B) {
		tab := full(DefaultLimit)
		b.ReportAllocs()
		for i := range b.N {
			tab.Learn(0, mac(1<<20+i), 1, uint32(i>>20))
		}
	})
	b.Run("move", func(b *testing.B) {
		tab := full(DefaultLimit)
		b.ReportAllocs()
		for i := range b.N {
			tab.Learn(0, known[i%len(known)], Port(2+i/1024%2), 0)
		}
	})
}

func BenchmarkAge(b *testing.B) {
	tab := full(DefaultLimit)
	for range b.N {
		tab.Age(1)
	}
}

func BenchmarkEntries(b *testing.B) {
	tab := full(DefaultLimit)
	for range b.N {
		tab.Entries(1)
	}
}
