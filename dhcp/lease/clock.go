package lease

import "time"

// maxJump is how far wall clock and monotonic clock may drift apart until the
// times in the store are written anew.
const maxJump = 2 * time.Second

// Forever is the end of what never ends.
const Forever = time.Duration(1<<63 - 1)

// Instant is one reading of both clocks. All that a server decides it decides by
// Mono, which runs evenly since the server began; Wall is for the store and for
// people.
type Instant struct {
	Mono time.Duration
	Wall time.Time
}

// WallAt converts a time of this run to wall-clock time. Forever is the zero
// time.
func (n Instant) WallAt(mono time.Duration) time.Time {
	if mono == Forever {
		return time.Time{}
	}
	return n.Wall.Add(mono - n.Mono)
}

// After is a time in the future of this one, at most Forever.
func (n Instant) After(d time.Duration) time.Duration {
	if d >= Forever-max(n.Mono, 0) {
		return Forever
	}
	return n.Mono + d
}

// Clock makes instants of what Now returns.
type Clock struct {
	Now   func() time.Time
	Start time.Time // with its monotonic reading
}

// Read reads both clocks.
func (c Clock) Read() Instant {
	t := c.Now()
	return Instant{Mono: t.Sub(c.Start), Wall: t.Round(0)}
}

// JumpWatch notices that somebody has set the wall clock.
type JumpWatch struct {
	offset time.Duration // wall minus mono, when the store's times were right
	base   time.Time
}

// NewJumpWatch returns one for which the clock is right now.
func NewJumpWatch(now Instant) JumpWatch {
	return JumpWatch{base: now.Wall, offset: -now.Mono}
}

// Jumped reports by how much the wall clock was set, once.
func (j *JumpWatch) Jumped(now Instant) (time.Duration, bool) {
	offset := now.Wall.Sub(j.base) - now.Mono
	d := offset - j.offset
	if d.Abs() <= maxJump {
		return 0, false
	}
	j.offset = offset
	return d, true
}
