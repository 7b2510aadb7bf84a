package fastpath

import (
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// mapShare maps the memory of a weft_share map, so that writing it takes no
// system call. unmapShare takes what it returns; nothing may use that later.
func mapShare(m *ebpf.Map) (*shareShare, error) {
	size := int(unsafe.Sizeof(shareShare{}))
	b, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map its table: %w", err)
	}
	return (*shareShare)(unsafe.Pointer(unsafe.SliceData(b))), nil
}

func unmapShare(s *shareShare) error {
	return unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(s)), unsafe.Sizeof(*s)))
}
