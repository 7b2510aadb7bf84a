package lease

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// waiting is something in a queue.
type waiting struct{ Ticket }

// TestQueueModel compares the queue with a sorted list.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue[*waiting]
		var all []*waiting
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			if len(all) == 0 || rapid.IntRange(0, 2).Draw(t, "push") > 0 {
				b := &waiting{}
				q.Push(b, time.Duration(rapid.IntRange(0, 50).Draw(t, "due")))
				all = append(all, b)
			} else {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "which")
				q.Remove(all[i])
				all = append(all[:i], all[i+1:]...)
			}
			for i, b := range q {
				if int(b.Place) != i || q[(max(i, 1)-1)/2].Due > b.Due {
					t.Fatalf("not a heap at %d of %d", i, len(q))
				}
			}
			if len(q) != len(all) {
				t.Fatalf("%d queued, want %d", len(q), len(all))
			}
		}
	})
}
