package sockets

import (
	"sync"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
)

// event is what has happened to a job, a set of bits.
type event = uint32

const (
	hostIn     event = 1 << iota // its socket can be read
	hostOut                      // its socket can be written
	hostErr                      // its socket has an error
	guestEvent                   // something with its endpoint in the guests' stack
	began                        // a guest's SYN has come
	expired                      // it takes too long
	kill                         // it is to end at once, without a word to anybody but a reset
)

// runner is what a job does when something has happened.
type runner interface {
	run(w *worker, events event)
}

// job is what one worker does at a time. Whatever happens meanwhile is noted, and the
// job is run again.
type job struct {
	queue  *queue
	runner runner
	events atomic.Uint32
	state  atomic.Uint32
}

const (
	jobIdle uint32 = iota
	jobQueued
	jobRunning
	jobAgain // running, and to be queued after that
)

// wake notes events. It never blocks, and may be called by anybody: by the job itself
// to be run again, after others.
func (j *job) wake(events event) {
	j.events.Or(events)
	for {
		switch j.state.Load() {
		case jobIdle:
			if j.state.CompareAndSwap(jobIdle, jobQueued) {
				j.queue.push(j)
				return
			}
		case jobRunning:
			if j.state.CompareAndSwap(jobRunning, jobAgain) {
				return
			}
		default:
			return
		}
	}
}

// work runs the job once.
func (j *job) work(w *worker) {
	j.state.Store(jobRunning)
	j.runner.run(w, j.events.Swap(0))
	if !j.state.CompareAndSwap(jobRunning, jobIdle) {
		j.state.Store(jobQueued)
		j.queue.push(j)
	}
}

// queue holds the jobs that wait for a worker, each at most once.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond
	jobs   []*job
	closed bool
}

func (q *queue) init() { q.filled.L = &q.mu }

func (q *queue) push(j *job) {
	q.mu.Lock()
	q.jobs = append(q.jobs, j)
	q.mu.Unlock()
	q.filled.Signal()
}

// pop returns the next job, nil once the queue is closed and empty.
func (q *queue) pop() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.jobs) == 0 {
		if q.closed {
			return nil
		}
		q.filled.Wait()
	}
	j := q.jobs[0]
	q.jobs[0] = nil
	q.jobs = q.jobs[1:]
	return j
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.filled.Broadcast()
}

// worker is what jobs borrow while they run.
type worker struct {
	gather gather
	slots  []slot // for datagrams, made at first use
	frames []*frame.Frame
	oob    [512]byte
}

// slot holds one frame.
type slot struct {
	mem   []byte
	frame frame.Frame
}

// batch is how many datagrams are read from one socket before they are sent on.
const batch = 16

// slot returns the memory of the next frame of the batch.
func (w *worker) slot() *slot {
	if w.slots == nil {
		w.slots = make([]slot, batch)
		for i := range w.slots {
			w.slots[i].mem = make([]byte, l4Start+maxLength) // pages that are not used cost nothing
		}
	}
	return &w.slots[len(w.frames)]
}

func (s *Sockets) work() {
	defer s.workers.Done()
	w := &worker{frames: make([]*frame.Frame, 0, batch)}
	for j := s.queue.pop(); j != nil; j = s.queue.pop() {
		j.work(w)
	}
}
