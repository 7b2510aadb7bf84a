package bench

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// minPayload makes a UDP datagram over IPv4 the shortest frame that
	// Ethernet has: 64 bytes with Ethernet, IP and UDP header (14+20+8) and
	// the check sequence (4), which virtual interfaces do not carry. IPv6 carries
	// the same, in frames with 20 bytes more of its header.
	minPayload = 64 - 14 - 20 - 8 - 4

	// floodBurst is the number of datagrams of one system call.
	floodBurst = 64

	// floodBuffer is the receiver's socket buffer in bytes: some ten
	// milliseconds of the highest rates, for when its thread has to wait.
	floodBuffer = 8 << 20
)

// flood is a load of the shortest datagrams, as many as one sender can.
type flood struct {
	traffic
	fd       int    // of the receiver
	overflow uint32 // frames that came while its buffer was full; known after stop
}

// startFlood sends datagrams from one host and counts them at the other, where
// the application receives them.
func startFlood(from, to *Host) (*flood, error) {
	f := &flood{}
	var err error
	f.fd, err = f.open(to, func() (int, error) { return udp(to, from, floodPort) })
	if err != nil {
		return nil, err
	}
	out, err := f.open(from, func() (int, error) { return udp(from, to, floodPort) })
	if err != nil {
		return nil, errors.Join(err, f.stop())
	}
	return f.start(from, to, out)
}

// start sends on a socket, and counts on f.fd.
func (f *flood) start(from, to *Host, out int) (*flood, error) {
	if err := unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, floodBuffer); err != nil {
		return nil, errors.Join(fmt.Errorf("receive buffer: %w", err), f.stop())
	}
	f.spawn(to, f.count)
	f.spawn(from, func() error { return f.send(out) })
	return f, nil
}

// stop ends the load like traffic.stop and reads how many frames the receiver
// was too slow for: no fault of what joins the hosts.
func (f *flood) stop() error {
	var err error
	if len(f.threads) > 0 {
		f.overflow, err = socketDrops(f.fd)
	}
	return errors.Join(err, f.traffic.stop())
}

func (f *flood) send(fd int) error {
	burst := newBurst(floodBurst, minPayload)
	for !f.stopping.Load() {
		n, err := burst.send(fd)
		if err == nil {
			f.sent.Add(uint64(n))
		} else if !retry(err) {
			return fmt.Errorf("send frames: %w", err)
		}
	}
	return nil
}

func (f *flood) count() error {
	burst := newBurst(floodBurst, minPayload)
	for !f.stopping.Load() {
		n, err := burst.receive(f.fd)
		if err == nil {
			f.received.Add(uint64(n))
		} else if !retry(err) {
			return fmt.Errorf("receive frames: %w", err)
		}
	}
	return nil
}
