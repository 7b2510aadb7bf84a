package dhcp

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// How long a start waits for a predecessor that is about to end, and how often
// it looks.
const (
	lockWait  = time.Second
	lockRetry = 20 * time.Millisecond
)

// lock takes the file for this process.
func lock(file *os.File) error {
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockRetry) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		if time.Now().After(deadline) {
			return errLocked
		}
	}
}

// unlock does it where the file stays open: bbolt's mapping would keep the lock.
func unlock(file *os.File) error { return unix.Flock(int(file.Fd()), unix.LOCK_UN) }

// trim gives back what a Load has read of the mapped file, which is all of it and
// would stay in the memory of this process. What is needed again is in the
// kernel's cache. The caller holds f.writing.
func (f *File) trim() {
	info, err := f.file.Stat()
	if err != nil || f.broken != nil {
		return
	}
	// An error leaves the pages where they are, which does no harm.
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, f.db.Info().Data, uintptr(info.Size()), unix.MADV_DONTNEED)
}
