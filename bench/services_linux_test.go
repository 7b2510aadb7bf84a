package bench

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// The upstream of the services' beds answers what it is asked, and nothing else.
func TestAnswerA(t *testing.T) {
	query, err := dnsQuery(cachedName)
	if err != nil {
		t.Fatal(err)
	}
	query[0], query[1] = 0x12, 0x34
	withOPT := append(slices.Clone(query), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)
	withOPT[11] = 1
	want := append(append([]byte{0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, query[12:]...),
		0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1)
	for _, q := range [][]byte{query, withOPT} {
		if got := answerA(q); !bytes.Equal(got, want) {
			t.Errorf("% x\nanswered\n% x, want\n% x", q, got, want)
		}
	}
	for n := range len(query) {
		if got := answerA(query[:n]); got != nil {
			t.Errorf("% x answered: % x", query[:n], got)
		}
	}
}

// A load with a rate asks no more than that, however soon it is answered.
func TestLoadRate(t *testing.T) {
	w := newExchanges(serviceLoad{Window: 10, Duration: time.Minute, Rate: 100}, time.Second)
	asked := 0
	for ms := range 1000 {
		now := w.began.Add(time.Duration(ms) * time.Millisecond)
		err := w.begin(now, func(place int) error {
			asked++
			w.complete(place, now)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if asked != 100 {
		t.Errorf("asked %d times in a second, want 100", asked)
	}
}

func TestMerge(t *testing.T) {
	a, b := []float64{1, 4}, []float64{2, 3, 5}
	if got := merge(a, b); !slices.Equal(got, []float64{1, 2, 3, 4, 5}) || a[1] != 4 || b[0] != 2 {
		t.Errorf("merged %v", got)
	}
}
