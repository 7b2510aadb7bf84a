// Package ports is the contract between the pipeline and the kinds of port.
// Each kind lives in a folder of its own below this one.
package ports

import (
	"errors"

	"github.com/weft/weft/dataplane/frame"
)

// MaxBurst is the largest number of frames that one Recv or Send handles.
const MaxBurst = 64

// Port moves bursts of frames between the pipeline and one attachment.
//
// Life cycle: Recv and Send until Stop; Close once the goroutine that called
// Recv has returned and no Send is under way.
type Port interface {
	// Recv blocks until at least one frame has come, puts up to len(frames)
	// of them into frames and returns their number. Only one goroutine calls
	// it. The frames belong to the caller until its next Recv, the port owns
	// their memory. Frames have their outermost tag popped.
	//
	// After Stop it returns ErrStopped. Any other error means that the
	// interface is unusable: the caller stops calling, and the port has to
	// be opened anew.
	Recv(frames []*frame.Frame) (int, error)

	// Send hands frames to the attachment. Any number of goroutines may call
	// it at once. It never blocks, never keeps a frame and never changes one,
	// so the same frame may be sent to many ports. It returns n, how many
	// were taken. Where n < len(frames), frames[n] was not, for the reason
	// err (ErrFull, ErrDown or ErrRefused), and what follows it was not
	// tried: the caller counts frames[n] as lost and decides about the rest.
	Send(frames []*frame.Frame) (n int, err error)

	// Stop makes the present and every later Recv return ErrStopped.
	// It may be called by any goroutine, more than once.
	Stop()

	// Close frees what the port holds. See the life cycle above.
	Close() error
}

var (
	// ErrStopped is returned by Recv after Stop.
	ErrStopped = errors.New("port stopped")
	// ErrFull means that the receiver or its queue has no room.
	ErrFull = errors.New("queue full")
	// ErrDown means that the interface is down, without carrier or gone.
	ErrDown = errors.New("interface down")
	// ErrRefused means that the kernel would not take the frame.
	ErrRefused = errors.New("frame refused")
)

// Offloader is implemented by ports that can finish frames themselves. A port
// without it gets every checksum completed and every super-frame segmented.
// The answer must not change over the lifetime of the port.
type Offloader interface {
	Offloads() frame.Caps
}

// RxLosses counts the frames that a port lost before the pipeline saw them.
type RxLosses struct {
	Full      uint64 // the ring or the socket's queue had no room
	Truncated uint64 // longer than frame.MaxLen
}

// RxLoser is implemented by ports whose receive side can lose frames. RxLosses
// returns the numbers since the port was opened; any goroutine may call it.
type RxLoser interface {
	RxLosses() RxLosses
}
