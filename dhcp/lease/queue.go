package lease

import "time"

// Queue is a heap, with what is due first at the top. What is queued is in one
// queue at most and knows its place in it, so that it is taken out without a
// search.
type Queue[T Queued] []T

// Queued is what embeds a Ticket.
type Queued interface{ ticket() *Ticket }

// Ticket is where something stands in a queue. The zero value is not one that
// stands in none: see NotQueued.
type Ticket struct {
	Place int32
	Due   time.Duration // what the queue is sorted by
}

// NotQueued is the place of what is in no queue.
const NotQueued = -1

func (t *Ticket) ticket() *Ticket { return t }

// Top returns what is due first; not ok where the queue is empty.
func (q Queue[T]) Top() (first T, ok bool) {
	if len(q) == 0 {
		return first, false
	}
	return q[0], true
}

// Push puts x, which is in no queue, in.
func (q *Queue[T]) Push(x T, due time.Duration) {
	*x.ticket() = Ticket{Place: int32(len(*q)), Due: due}
	*q = append(*q, x)
	q.up(len(*q) - 1)
}

// Remove takes x out.
func (q *Queue[T]) Remove(x T) {
	h := *q
	t := x.ticket()
	i, last := int(t.Place), len(h)-1
	h.swap(i, last)
	clear(h[last:])
	*q = h[:last]
	t.Place = NotQueued
	if i < last {
		q.down(i)
		q.up(i)
	}
}

func (q Queue[T]) due(i int) time.Duration { return q[i].ticket().Due }

func (q Queue[T]) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].ticket().Place, q[j].ticket().Place = int32(i), int32(j)
}

func (q Queue[T]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if q.due(parent) <= q.due(i) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q Queue[T]) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(q) {
			return
		}
		if right := least + 1; right < len(q) && q.due(right) < q.due(least) {
			least = right
		}
		if q.due(i) <= q.due(least) {
			return
		}
		q.swap(i, least)
		i = least
	}
}
