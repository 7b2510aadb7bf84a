package dataplane

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft/weft/dataplane/frame"
)

// seconds is a time of the buckets.
func seconds(s float64) int64 { return int64(s * ticks) }

// Over any time, a bucket lets pass its rate times the time, and its depth and
// one frame more at the most; offered more than that, not less than its rate.
func TestBucketProperty(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Uint64Range(8000, 1e11).Draw(rt, "rate") // at 1 bit/s the test would outlast the clock
		depth := rapid.Uint64Range(1, 1<<33).Draw(rt, "depth")
		size := rapid.IntRange(8*60, 8*frame.MaxLen).Draw(rt, "size")
		step := float64(size) / float64(rate) / rapid.Float64Range(1.1, 8).Draw(rt, "overload")
		b := newBucket(rate, depth)
		now, passed := 1e4, 0.0 // seconds
		start := now
		for range 2000 {
			if b.take(seconds(now), size) {
				passed += float64(size)
			}
			now += step
		}
		earned := (now - start) * float64(rate)
		slack := earned*0.02 + float64(size) // ticks are whole
		if most := earned + float64(depth) + slack; passed > most {
			rt.Fatalf("%g tokens passed, at most %g were there", passed, most)
		}
		// A bucket that holds less than what comes in between overflows.
		if float64(depth) > 2*float64(size) && passed < earned-2*slack {
			rt.Fatalf("%g tokens passed, %g were earned", passed, earned)
		}
	})
}

func TestBucketFills(t *testing.T) {
	b := newBucket(1000, 100)
	for range 2 {
		n := 0
		for b.take(seconds(5), 1) {
			n++
		}
		if n != 100 {
			t.Errorf("%d tokens at once, want 100", n)
		}
		// Half a token is earned, and one is given: half is owed.
		for _, step := range []struct {
			at   float64
			want bool
		}{{5.0005, true}, {5.0005, false}, {5.0009, false}, {5.0011, true}, {5.0011, false}} {
			if got := b.take(seconds(step.at), 1); got != step.want {
				t.Errorf("at %g s: %v, want %v", step.at, got, step.want)
			}
		}
		b.full.Store(0) // a long pause
	}
	if none := (*bucket)(nil); !none.take(0, 1e9) {
		t.Error("no bucket, and a limit")
	}
}

// Many take at once, and none is given twice.
func TestBucketConcurrent(t *testing.T) {
	b := newBucket(1, 10_000)
	var wg sync.WaitGroup
	passed := make([]int, 8)
	for i := range passed {
		wg.Go(func() {
			for range 5000 {
				if b.take(seconds(1), 1) {
					passed[i]++
				}
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range passed {
		sum += n
	}
	if sum != 10_000 {
		t.Errorf("%d tokens given, 10000 were there", sum)
	}
}

// A peak rate bounds what a deep bucket lets pass at once.
func TestPeak(t *testing.T) {
	const size = 1000
	p := newPolicer(Rate{Average: 8e6, Burst: 10e6, Peak: 80e6})
	n := 0
	for now := 0.0; now < 0.5; now += 1e-5 { // 800 Mbit/s offered
		if p.pass(seconds(now), size) {
			n++
		}
	}
	// 80 Mbit/s for half a second are 5000 frames, and those of 50 ms ahead.
	if n < 5000+450 || n > 5000+502 {
		t.Errorf("%d frames passed in half a second, want 5500", n)
	}
	slow := newPolicer(Rate{Average: 8e3, Burst: 10e6, Peak: 8e3})
	n = 0
	for slow.pass(seconds(10), size) {
		n++
	}
	if n != peakBurst/size+1 {
		t.Errorf("%d frames passed at once, want those of two super-frames", n)
	}
	if newPolicer(Rate{Burst: 5, Peak: 5}) != nil {
		t.Error("a policer without a rate")
	}
}

// What the average refuses is not charged to the peak.
func TestRefusedIsFree(t *testing.T) {
	p := newPolicer(Rate{Average: 8e6, Burst: 1000, Peak: 16e6})
	n := 0
	for now := 0.0; now < 1; now += 1e-5 { // a hundred times the average offered
		if p.pass(seconds(now), 1000) {
			n++
		}
	}
	if n < 990 {
		t.Errorf("%d frames passed in a second, the average is 1000", n)
	}
}

// A station floods, and what exceeds its limits is lost under the right name,
// the rest arrives. The test does not depend on how fast it runs: a limit of
// one in a very long time lets pass what the bucket holds.
func TestLimits(t *testing.T) {
	const n = 200
	for _, row := range []struct {
		name   string
		a, b   Policy
		dst    frame.MAC
		want   Verdict
		at     string
		passed int
	}{
		{"ingress", Policy{Ingress: Rate{Average: 1, Burst: 100 * 60}}, Policy{}, mac("b"), RateLimited, "a", 100},
		{"egress", Policy{}, Policy{Egress: Rate{Average: 1, Burst: 100 * 60}}, mac("b"), EgressRateLimited, "b", 100},
		{"broadcast", Policy{Storm: Storm{Broadcast: 1}}, Policy{}, broadcast, StormBroadcast, "a", 1},
		{"multicast", Policy{Storm: Storm{Multicast: 1}}, Policy{}, frame.MAC{1, 0, 0x5e, 0, 1, 2}, StormMulticast, "a", 1},
		{"unknown", Policy{Storm: Storm{Unknown: 1}}, Policy{}, mac("nobody"), StormUnknown, "a", 1},
		{"other limits", Policy{Storm: Storm{Multicast: 1, Unknown: 1}}, Policy{}, broadcast, 0, "a", n},
		{"other limits", Policy{Storm: Storm{Broadcast: 1}}, Policy{}, frame.MAC{1, 0, 0x5e, 0, 1, 2}, 0, "a", n},
		{"known", Policy{Storm: Storm{1, 1, 1}}, Policy{}, mac("b"), 0, "a", n},
		{"from the other side", Policy{Egress: Rate{Average: 1, Burst: 1}}, Policy{Ingress: Rate{Average: 1, Burst: 1}}, mac("b"), 0, "a", n},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := newLab(t)
			b := l.stationWith(l.net, "b", frame.CapAll, row.b)
			a := l.stationWith(l.net, "a", frame.CapAll, row.a)
			if err := l.net.AddStatic(0, mac("b"), "b"); err != nil {
				t.Fatal(err)
			}
			f := ethernet(row.dst, a.mac, "0123456789012345678901234567890123456789012345") // 60 bytes
			for range n {
				a.send(f)
			}
			a.settle(n)
			got := 0
			for b.receives(f) {
				got++
			}
			// A storm's bucket may have earned one more in the seconds the test
			// takes on a slow machine.
			if got < row.passed || got > row.passed+5 {
				t.Errorf("%d frames passed, want %d", got, row.passed)
			}
			if row.want != 0 {
				map[string]*station{"a": a, "b": b}[row.at].drops(row.want, uint64(n-got))
			}
		})
	}
}

// A super-frame passes a limit that is smaller than it, and is paid for.
func TestRateOfSuperFrames(t *testing.T) {
	l := newLab(t)
	a := l.stationWith(l.net, "a", frame.CapAll, Policy{Ingress: Rate{Average: 8, Burst: 1}})
	b := l.station(l.net, "b", frame.CapAll)
	f, o := superFrame(t)
	a.sendOffload(f, o)
	a.sendOffload(f, o)
	b.expect(f)
	a.drops(RateLimited, 1)
	b.silent()
}

// A limit that stays is not forgotten by a change of something else.
func TestLimitOutlivesChange(t *testing.T) {
	l := newLab(t)
	policy := Policy{Ingress: Rate{Average: 1, Burst: 1}}
	a := l.stationWith(l.net, "a", frame.CapAll, policy)
	b := l.station(l.net, "b", frame.CapAll)
	f := ethernet(broadcast, a.mac, "the only one")
	a.send(f)
	b.expect(f)
	policy.Hairpin = true
	l.net.Reconfigure(l.net.Config(), map[string]Policy{"a": policy})
	a.send(f)
	a.drops(RateLimited, 1)
	policy.Ingress.Average = 2e9
	l.net.Reconfigure(l.net.Config(), map[string]Policy{"a": policy})
	a.send(f)
	b.expect(f)
}

func TestTicks(t *testing.T) {
	sw := New()
	defer sw.Close()
	sw.start = time.Now().Add(-time.Hour)
	if got := float64(sw.ticks()) / ticks; got < 3600 || got > 3700 {
		t.Errorf("%g s after an hour", got)
	}
}
