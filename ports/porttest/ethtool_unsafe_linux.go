package porttest

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// offloadCommands switch one offload each, with a value of 0 or 1
// (include/uapi/linux/ethtool.h). Transmit checksums go first: the kernel drops
// the segmentation of checksums it no longer computes by itself.
var offloadCommands = []struct {
	name string
	cmd  uint32
}{
	{"tx", 0x17},  // ETHTOOL_STXCSUM
	{"rx", 0x15},  // ETHTOOL_SRXCSUM
	{"tso", 0x1f}, // ETHTOOL_STSO
	{"gso", 0x24}, // ETHTOOL_SGSO
	{"gro", 0x2c}, // ETHTOOL_SGRO
}

// ethtoolValue is struct ethtool_value.
type ethtoolValue struct{ cmd, data uint32 }

// ifreqData is struct ifreq with its ifr_data member, padded to the size of the
// union on 64-bit machines.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// offloadsOff works on an interface of the namespace that the thread is in.
func offloadsOff(ifname string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, c := range offloadCommands {
		value := ethtoolValue{cmd: c.cmd}
		req := ifreqData{data: unsafe.Pointer(&value)}
		copy(req.name[:unix.IFNAMSIZ-1], ifname)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
		if errno != 0 {
			return fmt.Errorf("switch %s off: %w", c.name, errno)
		}
	}
	return nil
}
