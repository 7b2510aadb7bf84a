package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// protocol is what the questions of an asker are.
type protocol interface {
	begin(place int)                         // a new one takes the place in the window
	put(b []byte, place int) int             // writes what it has to send now and returns its length
	take(answer []byte, now time.Time) error // sees to an answer
}

// asker puts questions to a service from one socket of a host. But for traffic
// all is its thread's.
type asker struct {
	traffic
	protocol protocol
	to       netip.AddrPort // of an IPv6 socket that is not connected; zero: it is, or its frames say it
	fd       int
	window   *exchanges
	out, in  *packets
}

// ask runs the load on a socket that open makes, whose messages have at most
// size bytes, and returns what became of it.
func (a *asker) ask(ctx context.Context, h *Host, p protocol, open func() (int, error), load serviceLoad, again time.Duration, size int) (got served, err error) {
	a.protocol, a.out, a.in = p, newPackets(floodBurst, size), newPackets(floodBurst, size)
	if a.fd, err = a.open(h, open); err != nil {
		return served{}, err
	}
	if a.to.IsValid() {
		a.out.address(a.to)
	}
	if load.Rate > 0 {
		if err := a.hurry(); err != nil {
			return served{}, errors.Join(err, a.stop())
		}
	}
	defer context.AfterFunc(ctx, func() { a.stopping.Store(true) })()
	a.spawn(h, func() error {
		a.window = newExchanges(load, again)
		for now := time.Now(); !a.window.over(now); now = time.Now() {
			if a.stopping.Load() {
				return ctx.Err()
			}
			if err := a.round(now); err != nil {
				return err
			}
		}
		got = a.window.result(time.Now())
		return nil
	})
	err = <-a.threads[0]
	a.threads = nil
	return got, errors.Join(err, a.stop())
}

// hurry shortens the wait for answers, since questions have their time.
func (a *asker) hurry() error {
	const step = 5 * time.Millisecond
	timeout := unix.NsecToTimeval(step.Nanoseconds())
	if err := unix.SetsockoptTimeval(a.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return fmt.Errorf("receive timeout: %w", err)
	}
	return nil
}

// round sends what is to be sent, waits for answers, for ioTimeout at most, and
// sees to them.
func (a *asker) round(now time.Time) error {
	err := a.window.begin(now, func(place int) error {
		a.protocol.begin(place)
		return a.send(place)
	})
	if err == nil {
		err = a.window.repeat(now, a.send)
	}
	if err == nil {
		err = a.flush()
	}
	if err != nil {
		return err
	}
	n, err := a.in.receive(a.fd)
	if err != nil && !retry(err) {
		return fmt.Errorf("receive: %w", err)
	}
	now = time.Now()
	for i := range n {
		if err := a.protocol.take(a.in.received(i), now); err != nil {
			return err
		}
	}
	return nil
}

// send has what the question at a place has to send wait for the next flush.
func (a *asker) send(place int) error {
	if a.out.full() {
		if err := a.flush(); err != nil {
			return err
		}
	}
	a.out.add(a.protocol.put(a.out.next(), place))
	a.sent.Add(1)
	return nil
}

func (a *asker) flush() error {
	if err := a.out.flush(a.fd, a.stopping.Load); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}
