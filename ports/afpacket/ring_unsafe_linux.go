package afpacket

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// DefaultRing is the size of a port's receive ring, in bytes. Slots hold an
// ordinary frame; longer ones take the socket's queue, so that a thousand
// small frames find room where 16 super-frames would.
const DefaultRing = 2 << 20

const (
	slotLen  = 2048 // room for 1500 bytes, the headers below and the headroom
	blockLen = 128 << 10
)

// ring is a TPACKET_V2 receive ring, shared with the kernel: a slot belongs to
// whoever its status word says (Documentation/networking/packet_mmap.rst).
type ring struct {
	mem    []byte
	slots  int
	head   int // the next slot to look at
	tail   int // the oldest slot not yet given back; head-tail are on loan
	loaned int
	lost   atomic.Uint64
}

// slot is the kernel's header of one slot, struct tpacket2_hdr, in the ring.
type slot struct {
	unix.Tpacket2Hdr
}

func (s *slot) tag() frame.Tag {
	t := frame.Tag{TPID: frame.TypeVLAN, TCI: s.Vlan_tci}
	if s.Status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		t.TPID = s.Vlan_tpid
	}
	return t
}

func (r *ring) open(fd, size int) error {
	if size == 0 {
		size = DefaultRing
	}
	req := unix.TpacketReq{Block_size: blockLen, Frame_size: slotLen}
	req.Block_nr = uint32(size / blockLen)
	req.Frame_nr = req.Block_nr * (blockLen / slotLen)
	if err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &req); err != nil {
		return fmt.Errorf("PACKET_RX_RING of %d bytes: %w", size, err)
	}
	mem, err := unix.Mmap(fd, 0, int(req.Block_nr)*blockLen, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("map the ring: %w", err)
	}
	r.mem, r.slots = mem, int(req.Frame_nr)
	return nil
}

func (r *ring) close() {
	if r.mem != nil {
		_ = unix.Munmap(r.mem)
		r.mem = nil
	}
}

func (r *ring) at(i int) *slot {
	return (*slot)(unsafe.Pointer(&r.mem[i*slotLen]))
}

func (r *ring) status(i int) *uint32 {
	return (*uint32)(unsafe.Pointer(&r.mem[i*slotLen]))
}

// next returns the slot at the head if the kernel has filled it. The atomic
// load pairs with the kernel's barrier before it writes the status.
func (r *ring) next() (*slot, bool) {
	if r.loaned == r.slots || atomic.LoadUint32(r.status(r.head))&unix.TP_STATUS_USER == 0 {
		return nil, false
	}
	return r.at(r.head), true
}

// advance moves past the slot at the head, which stays on loan until release.
func (r *ring) advance() {
	if r.head++; r.head == r.slots {
		r.head = 0
	}
	r.loaned++
}

// release gives all slots on loan back to the kernel.
func (r *ring) release() {
	for ; r.loaned > 0; r.loaned-- {
		atomic.StoreUint32(r.status(r.tail), unix.TP_STATUS_KERNEL)
		if r.tail++; r.tail == r.slots {
			r.tail = 0
		}
	}
}

// frame makes f the frame in slot s, with its virtio-net header decoded.
func (r *ring) frame(f *frame.Frame, s *slot) {
	base := unsafe.Slice((*byte)(unsafe.Pointer(s)), slotLen)
	mac := int(s.Mac)
	f.Set(base[:mac+int(s.Snaplen):mac+int(s.Snaplen)], mac)
	f.Offload.DecodeVirtio((*[frame.VirtioHeaderLen]byte)(base[mac-frame.VirtioHeaderLen:]))
}

// drops returns how many frames found no free slot. Reading the kernel's
// counter resets it.
func (r *ring) drops(fd int) uint64 {
	st, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err == nil {
		r.lost.Add(uint64(st.Drops))
	}
	return r.lost.Load()
}
