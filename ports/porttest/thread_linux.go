package porttest

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// onOwnThread runs f beside the caller, on a thread that ends with it, whatever
// f has done to the thread: a goroutine that ends locked takes its thread along.
//
// Except for the main thread, which the runtime can only park for good: it would
// keep a namespace alive, and /proc/self, which shows the main thread, would
// speak of that namespace from then on. So f never runs there.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		// While this goroutine holds the main thread, another one finds its own.
		locked := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(locked)
			f()
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
}
