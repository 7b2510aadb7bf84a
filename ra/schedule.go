package ra

import (
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Constants of routers (RFC 4861 clause 10).
const (
	maxInitialInterval = 16 * time.Second       // MAX_INITIAL_RTR_ADVERT_INTERVAL
	maxInitial         = 3                      // MAX_INITIAL_RTR_ADVERTISEMENTS
	minDelayBetween    = 3 * time.Second        // MIN_DELAY_BETWEEN_RAS
	maxDelay           = 500 * time.Millisecond // MAX_RA_DELAY_TIME
)

// Bounds of MaxRtrAdvInterval (RFC 4861 clause 6.2.1).
const (
	minInterval = 4 * time.Second
	maxInterval = 1800 * time.Second
)

// maxAnswers is how many solicitations at once are answered to their senders alone. An
// answer waits 250 ms on average, so that a flood has some 130 of them a second, and
// others an advertisement to all.
const maxAnswers = 32

// interval is the one of a configuration, within its bounds.
func interval(cfg Config) time.Duration { return min(max(cfg.Interval, minInterval), maxInterval) }

// shortest is MinRtrAdvInterval: what RFC 4861 clause 6.2.1 has for a default.
func shortest(longest time.Duration) time.Duration {
	if longest < 9*time.Second {
		return longest * 3 / 4
	}
	return max(longest*33/100, minDelayBetween)
}

// schedule says when to advertise (RFC 4861 clauses 6.2.4 and 6.2.6). It is guarded by
// its Advertiser.
type schedule struct {
	longest time.Duration
	random  func(below time.Duration) time.Duration

	all     time.Time // when all nodes are told next
	last    time.Time // when they were; zero: never
	initial int       // how many advertisements are still of the first few

	answers []answer // to those who wait for one of their own; one a MAC address
}

// answer is one to one node.
type answer struct {
	Solicitation
	at time.Time
}

func newSchedule(now time.Time, longest time.Duration, random func(time.Duration) time.Duration) schedule {
	return schedule{longest: longest, random: random, all: now, initial: maxInitial, answers: make([]answer, 0, maxAnswers)}
}

// restart begins anew with the first few.
func (s *schedule) restart(now time.Time, longest time.Duration) {
	s.longest, s.initial = longest, maxInitial
	s.bring(s.allowed(now))
}

// allowed returns when all nodes may be told, now or later.
func (s *schedule) allowed(now time.Time) time.Time {
	if at := s.last.Add(minDelayBetween); !s.last.IsZero() && at.After(now) {
		return at
	}
	return now
}

// bring makes the next advertisement to all come at a time, or earlier.
func (s *schedule) bring(at time.Time) {
	if at.Before(s.all) {
		s.all = at
	}
}

// solicited plans the answer to a solicitation, and reports whether there is a new one
// to wait for.
func (s *schedule) solicited(now time.Time, from Solicitation) bool {
	delay := s.random(maxDelay + 1)
	if !from.Src.IsUnspecified() {
		switch {
		case s.waits(from.MAC):
			return false
		case len(s.answers) < maxAnswers:
			s.answers = append(s.answers, answer{from, now.Add(delay)}) // unless all are told before
			return true
		}
	}
	before := s.all
	s.bring(s.allowed(now).Add(delay))
	return s.all != before
}

func (s *schedule) waits(mac frame.MAC) bool {
	for i := range s.answers {
		if s.answers[i].MAC == mac {
			return true
		}
	}
	return false
}

// due returns whether all nodes are to be told now, else which ones are, and plans what
// comes after that.
func (s *schedule) due(now time.Time) (all bool, some []Solicitation) {
	if !s.all.After(now) {
		s.told(now)
		return true, nil
	}
	left := s.answers[:0]
	for _, a := range s.answers {
		if a.at.After(now) {
			left = append(left, a)
		} else {
			some = append(some, a.Solicitation)
		}
	}
	s.answers = left
	return false, some
}

// told plans the time after an advertisement to all, which answers everybody.
func (s *schedule) told(now time.Time) {
	s.answers = s.answers[:0]
	least := shortest(s.longest)
	wait := least + s.random(s.longest-least+1)
	if s.initial > 0 {
		s.initial--
	}
	if s.initial > 0 {
		wait = min(wait, maxInitialInterval)
	}
	s.last, s.all = now, now.Add(wait)
}

// next returns when something is due.
func (s *schedule) next() time.Time {
	at := s.all
	for i := range s.answers {
		if s.answers[i].at.Before(at) {
			at = s.answers[i].at
		}
	}
	return at
}
