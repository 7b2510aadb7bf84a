package dhcp

import "time"

// queue is a heap of bindings, the one that is due first at the top. A binding is
// in one queue at most and knows its place in it, so that it is taken out without a
// search.
type queue []*binding

// notQueued is the place of a binding that is in no queue.
const notQueued = -1

func (q queue) top() *binding {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

func (q *queue) push(b *binding, due time.Duration) {
	b.due = due
	b.place = int32(len(*q))
	*q = append(*q, b)
	q.up(len(*q) - 1)
}

func (q *queue) remove(b *binding) {
	h := *q
	i, last := int(b.place), len(h)-1
	h.swap(i, last)
	h[last] = nil
	*q = h[:last]
	b.place = notQueued
	if i < last {
		(*q).down(i)
		(*q).up(i)
	}
}

func (q queue) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = int32(i), int32(j)
}

func (q queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if q[parent].due <= q[i].due {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q queue) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(q) {
			return
		}
		if right := least + 1; right < len(q) && q[right].due < q[least].due {
			least = right
		}
		if q[i].due <= q[least].due {
			return
		}
		q.swap(i, least)
		i = least
	}
}
