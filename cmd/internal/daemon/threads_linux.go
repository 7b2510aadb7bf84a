package daemon

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// slice is how long the kernel's scheduler lets a thread run before others get
// their turn, in nanoseconds: the shortest it accepts.
const slice = 100_000

// ShortenSlices asks for it on behalf of every thread of the process; those to
// come inherit it. A switch needs a core often and briefly, and a thread that
// wakes with a short slice runs sooner (kernel/sched/fair.c, Linux 6.12). Its
// share of the machine stays that of any other. All threads must ask: beside
// workers with short slices, the control side with long ones would wait.
//
// Older kernels ignore it, which costs latency under load and nothing else.
func ShortenSlices() {
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Runtime: slice}
	done := map[string]bool{}
	for again := true; again; { // a thread may have been made meanwhile
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return
		}
		for _, task := range tasks {
			if tid, err := strconv.Atoi(task.Name()); err == nil && !done[task.Name()] {
				_ = unix.SchedSetAttr(tid, attr, 0)
				done[task.Name()], again = true, true
			}
		}
	}
}
