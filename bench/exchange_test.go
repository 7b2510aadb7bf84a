package bench

import (
	"testing"
	"time"
)

func TestExchanges(t *testing.T) {
	w := newExchanges(serviceLoad{Window: 3, Count: 4}, time.Second)
	start := w.began
	var sent []int
	send := func(place int) error { sent = append(sent, place); return nil }
	at := func(d time.Duration) time.Time { return start.Add(d) }
	step := func(now time.Time, want ...int) {
		t.Helper()
		sent = nil
		if err := w.begin(now, send); err != nil {
			t.Fatal(err)
		}
		if err := w.repeat(now, send); err != nil {
			t.Fatal(err)
		}
		if len(sent) != len(want) {
			t.Fatalf("sent %v, want %v", sent, want)
		}
		for i := range want {
			if sent[i] != want[i] {
				t.Fatalf("sent %v, want %v", sent, want)
			}
		}
	}
	step(at(0), 0, 1, 2)
	step(at(999 * time.Millisecond))
	w.complete(1, at(999*time.Millisecond))
	step(at(1060*time.Millisecond), 1, 0, 2) // the fourth and last, and two again
	w.refuse(2)
	w.complete(1, at(1500*time.Millisecond))
	for i := range maxTries - 2 {
		step(at(time.Duration(2200+1100*i)*time.Millisecond), 0)
	}
	if w.over(at(time.Hour)) {
		t.Error("over while one is in flight")
	}
	step(at(time.Minute))
	if !w.over(at(time.Minute)) {
		t.Error("not over though the last is given up")
	}
	got := w.result(at(time.Minute))
	if got.Completed != 2 || got.Refused != 1 || got.GivenUp != 1 || got.Again != 2+maxTries-2 {
		t.Errorf("%+v", got)
	}
	// Not a minute: the last answer came after one and a half seconds.
	if got.Elapsed != 1500*time.Millisecond || got.latency(50) != 440e3 || got.latency(100) != 999e3 {
		t.Errorf("%v, latency %v and %v", got.Elapsed, got.latency(50), got.latency(100))
	}
}
