package nat

const (
	// sweepCalls is the number of calls of Expire that look at every flow.
	sweepCalls = 50

	// dropBatch is how many flows go under one lock: some 20 us.
	dropBatch = 32
)

// Expire takes away flows whose time is over. It is to be called about ten times
// a second, and looks at a fiftieth of the table each time. A flow whose time is
// over counts for nothing before that, except towards the limits.
func (t *Table) Expire(now uint32) {
	t.sweeping.Lock()
	defer t.sweeping.Unlock()
	t.tick(now)
	for range (len(t.out.shards) + sweepCalls - 1) / sweepCalls {
		t.out.shardEntries(&t.out.shards[t.cursor], func(f *flow) {
			if !f.alive(now) {
				t.batch = append(t.batch, f)
			}
		})
		t.dropAll(t.batch, func(f *flow) bool { return !f.alive(now) && t.expired(f) })
		clear(t.batch)
		t.batch = t.batch[:0]
		t.shrink(t.cursor)
		t.cursor = (t.cursor + 1) % len(t.out.shards)
	}
	t.frags.expire(now)
}

// shrink gives back the memory of shards that have emptied, one of each index
// at a time.
func (t *Table) shrink(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.shrink(&t.out.shards[i])
	t.in.shrink(&t.in.shards[i])
	if i < len(t.byInside.shards) {
		t.byInside.shrink(&t.byInside.shards[i])
		t.byOutside.shrink(&t.byOutside.shards[i])
		t.peers.shards[i].shrink()
	}
}

// expired drops a flow whose time is over. The caller holds the lock.
func (t *Table) expired(f *flow) bool {
	if !t.drop(f) {
		return false
	}
	f.host.zone.stats[classOf(f.protocol)].Expired++
	return true
}

// dropAll calls drop for each flow, a few under one lock, and returns how often
// it reported that the flow went.
func (t *Table) dropAll(flows []*flow, drop func(*flow) bool) (n int) {
	for len(flows) > 0 {
		some := flows[:min(len(flows), dropBatch)]
		flows = flows[len(some):]
		t.mu.Lock()
		for _, f := range some {
			if drop(f) {
				n++
			}
		}
		t.mu.Unlock()
	}
	return n
}

// sweep drops all flows that match, and returns their number. It holds the lock
// for short times only; flows made meanwhile may stay.
func (t *Table) sweep(match func(*flow) bool) (n int) {
	var batch []*flow
	for i := range t.out.shards {
		t.out.shardEntries(&t.out.shards[i], func(f *flow) {
			if match(f) {
				batch = append(batch, f)
			}
		})
		n += t.dropAll(batch, t.drop)
		batch = batch[:0]
	}
	return n
}
