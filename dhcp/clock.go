package dhcp

import "time"

// maxJump is how far wall clock and monotonic clock may drift apart until the
// times in the store are written anew.
const maxJump = 2 * time.Second

// forever is the end of what never ends.
const forever = time.Duration(1<<63 - 1)

// instant is one reading of both clocks. All that the server decides it decides
// by mono, which runs evenly since the server began; wall is for the store and
// for people.
type instant struct {
	mono time.Duration
	wall time.Time
}

// wallAt converts a time of this run to wall-clock time. Forever is the zero
// time.
func (n instant) wallAt(mono time.Duration) time.Time {
	if mono == forever {
		return time.Time{}
	}
	return n.wall.Add(mono - n.mono)
}

// after is a time in the future of this one, at most forever.
func (n instant) after(d time.Duration) time.Duration {
	if d >= forever-max(n.mono, 0) {
		return forever
	}
	return n.mono + d
}

// clock makes instants of what Env.Now returns.
type clock struct {
	now   func() time.Time
	start time.Time // with its monotonic reading
}

func (c clock) read() instant {
	t := c.now()
	return instant{mono: t.Sub(c.start), wall: t.Round(0)}
}

// jumpWatch notices that somebody has set the wall clock.
type jumpWatch struct {
	offset time.Duration // wall minus mono, when the store's times were right
	base   time.Time
}

func newJumpWatch(now instant) jumpWatch {
	return jumpWatch{base: now.wall, offset: -now.mono}
}

// jumped reports by how much the wall clock was set, once.
func (j *jumpWatch) jumped(now instant) (time.Duration, bool) {
	offset := now.wall.Sub(j.base) - now.mono
	d := offset - j.offset
	if d.Abs() <= maxJump {
		return 0, false
	}
	j.offset = offset
	return d, true
}
