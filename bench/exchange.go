package bench

import (
	"slices"
	"time"
)

// serviceLoad says how to ask a service: Window questions at once, each again
// after some time without an answer, until Count are answered or given up or
// Duration is over, whichever comes first; zero is no limit, but one is set.
type serviceLoad struct {
	Window   int
	Count    int
	Duration time.Duration
	Rate     float64 // questions a second; 0: as many as are answered
}

// served is what became of a load.
type served struct {
	Completed uint64        // questions that were answered as they should be
	Refused   uint64        // that were answered with a refusal
	Again     uint64        // messages sent again, since no answer came
	GivenUp   uint64        // questions that got no answer however often they were sent
	Addresses int           // different ones that DHCP gave
	Elapsed   time.Duration // until the last answer that counts, or Duration
	sorted    []float64     // times to the answer in microseconds
}

// rate returns the answers a second.
func (s *served) rate() float64 {
	if s.Elapsed <= 0 {
		return 0
	}
	return float64(s.Completed) / s.Elapsed.Seconds()
}

// latency returns the time, in microseconds, that p percent of the answers did
// not exceed; NaN where there were none.
func (s *served) latency(p float64) float64 { return percentile(s.sorted, p) }

// maxTries is how often a question is sent before it is given up.
const maxTries = 5

// exchange is a question in flight.
type exchange struct {
	id      uint32 // on the wire; its place in the window is id % Window
	busy    bool
	tries   int
	started time.Time // sent for the first time
	asked   time.Time // sent for the last time
}

// exchanges is the window of a load. It is used by one goroutine.
type exchanges struct {
	load    serviceLoad
	again   time.Duration // without an answer, until a message is sent again
	window  []exchange
	began   time.Time
	last    time.Time // of the answers
	looked  time.Time // for what is to be sent again
	started int
	served  served
}

func newExchanges(load serviceLoad, again time.Duration) *exchanges {
	now := time.Now()
	w := &exchanges{load: load, again: again, window: make([]exchange, load.Window), began: now, looked: now}
	for i := range w.window {
		w.window[i].id = uint32(i)
	}
	return w
}

// begin calls send for each place of the window that is free, as long as there
// is a question left to ask.
func (w *exchanges) begin(now time.Time, send func(place int) error) error {
	for i := range w.window {
		e := &w.window[i]
		if e.busy {
			continue
		}
		if w.load.Count > 0 && w.started == w.load.Count ||
			w.load.Rate > 0 && float64(w.started) >= w.load.Rate*now.Sub(w.began).Seconds() {
			return nil
		}
		// Another number each time, at the same place of the window.
		*e = exchange{id: e.id + uint32(len(w.window)), busy: true, tries: 1, started: now, asked: now}
		w.started++
		if err := send(i); err != nil {
			return err
		}
	}
	return nil
}

// find returns the place of the question that an answer has the number of.
func (w *exchanges) find(id uint32) (place int, ok bool) {
	place = int(id % uint32(len(w.window)))
	return place, w.window[place].busy && w.window[place].id == id
}

// complete ends a question whose answer is as it should be.
func (w *exchanges) complete(place int, now time.Time) {
	w.served.Completed++
	w.served.sorted = append(w.served.sorted, float64(now.Sub(w.window[place].started).Nanoseconds())/1e3)
	w.window[place].busy, w.last = false, now
}

// follow has the next message of an exchange sent for the first time.
func (w *exchanges) follow(place int, now time.Time) {
	w.window[place].tries, w.window[place].asked = 1, now
}

func (w *exchanges) refuse(place int) {
	w.served.Refused++
	w.window[place].busy = false
}

// repeat calls send for what has waited too long. Looking for it takes time, so
// it does that now and then only.
func (w *exchanges) repeat(now time.Time, send func(place int) error) error {
	if now.Sub(w.looked) < w.again/20 {
		return nil
	}
	w.looked = now
	for i := range w.window {
		e := &w.window[i]
		if !e.busy || now.Sub(e.asked) < w.again {
			continue
		}
		if e.tries == maxTries {
			w.served.GivenUp++
			e.busy = false
			continue
		}
		e.tries, e.asked = e.tries+1, now
		w.served.Again++
		if err := send(i); err != nil {
			return err
		}
	}
	return nil
}

// over reports whether the load has done what it should.
func (w *exchanges) over(now time.Time) bool {
	if w.load.Duration > 0 && now.Sub(w.began) >= w.load.Duration {
		return true
	}
	ended := w.served.Completed + w.served.Refused + w.served.GivenUp
	return w.load.Count > 0 && ended >= uint64(w.load.Count)
}

// result closes the account.
func (w *exchanges) result(now time.Time) served {
	s := w.served
	slices.Sort(s.sorted)
	s.Elapsed = now.Sub(w.began)
	if w.load.Count > 0 && w.started == w.load.Count && s.Completed > 0 {
		s.Elapsed = w.last.Sub(w.began) // not what waiting for lost ones took
	}
	return s
}
