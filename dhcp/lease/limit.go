package lease

import (
	"log/slog"
	"time"
)

// Bucket is when what was sent so far is paid for.
type Bucket time.Duration

// Take reports whether one more may be sent.
func (b *Bucket) Take(now, every time.Duration, burst int) bool {
	paid := max(time.Duration(*b), now)
	if paid-now > every*time.Duration(burst-1) {
		return false
	}
	*b = Bucket(paid + every)
	return true
}

// MaxTold is how many lines of the log in a second are about what clients do.
// They do it as often as they like.
const MaxTold = 100

// Telling bounds the log.
type Telling struct {
	Level   slog.Level // below it nobody reads
	since   time.Duration
	lines   int
	omitted int
}

// Tells reports whether a line about a client is to be written now. The second
// before has been ended.
func (t *Telling) Tells(level slog.Level) bool {
	if level < t.Level {
		return false
	}
	if t.lines >= MaxTold {
		t.omitted++
		return false
	}
	t.lines++
	return true
}

// Lines is how many were written in this second.
func (t *Telling) Lines() int { return t.lines }

// End returns at the end of a second how many lines were left out in it.
func (t *Telling) End(now Instant) (omitted int) {
	if now.Mono-t.since < time.Second {
		return 0
	}
	omitted = t.omitted
	t.since, t.lines, t.omitted = now.Mono, 0, 0
	return omitted
}
