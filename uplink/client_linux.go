package uplink

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleeplessClock returns a clock that begins with the time of day, runs evenly, and
// goes on while the machine sleeps (clock_gettime(2), CLOCK_BOOTTIME).
func sleeplessClock() func() time.Time {
	base, start := time.Now().Round(0), sinceBoot()
	return func() time.Time { return base.Add(sinceBoot() - start) }
}

func sinceBoot() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // every kernel since 2.6.39 has it
	return time.Duration(ts.Nano())
}
