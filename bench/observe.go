package bench

import (
	"context"
	"runtime"
	"time"
)

// window is what happened between two instants under load.
type window struct {
	from, to       time.Time
	seconds        float64       // between from and to
	total          float64       // seconds since the load started, warm-up and all
	sent, received uint64        // in the load's own unit
	switchCPU      time.Duration // of the process that switches, 0 where the kernel does
	machineCPU     time.Duration // of all CPUs, generators and strangers included
	switched       bool          // there is such a process
}

// instant is one reading of all counters.
type instant struct {
	at                    time.Time
	sent, received        uint64
	switchCPU, machineCPU time.Duration
}

// patience is how long the first arrival is waited for, and how much longer a
// window is held open where nothing has arrived in it:
// a lost segment stalls a stream for 200 ms and more (TCP_RTO_MIN of
// include/net/tcp.h, doubled each time), which a short window may fall into.
const patience = 2 * time.Second

// observe lets the load warm up from its first arrival on, then counts for the time to measure. The rates
// follow from the time that really passed, so a late wake-up distorts nothing.
func observe(ctx context.Context, bed *Bed, load *traffic, timing Timing) (window, error) {
	start := time.Now()
	var err error
	for err == nil && load.received.Load() == 0 && time.Since(start) < patience {
		err = sleep(ctx, time.Millisecond)
	}
	if err == nil {
		err = sleep(ctx, timing.Warmup)
	}
	if err != nil {
		return window{}, err
	}
	a, err := read(bed, load)
	if err != nil {
		return window{}, err
	}
	b, err := a, sleep(ctx, timing.Measure)
	for err == nil && b.received == a.received && b.at.Sub(a.at) < timing.Measure+patience {
		if b, err = read(bed, load); err == nil && b.received == a.received {
			err = sleep(ctx, 10*time.Millisecond)
		}
	}
	if err != nil {
		return window{}, err
	}
	return window{
		from: a.at, to: b.at,
		seconds: b.at.Sub(a.at).Seconds(), total: b.at.Sub(start).Seconds(),
		sent: b.sent - a.sent, received: b.received - a.received,
		switchCPU: b.switchCPU - a.switchCPU, machineCPU: b.machineCPU - a.machineCPU,
		switched: bed.Switch != nil,
	}, nil
}

func read(bed *Bed, load *traffic) (instant, error) {
	var i instant
	var err error
	if bed.Switch != nil {
		if i.switchCPU, err = processCPU(bed.Switch.PID()); err != nil {
			return i, err
		}
	}
	if i.machineCPU, err = machineCPU(); err != nil {
		return i, err
	}
	// Received first: what is under way between the two readings counts as
	// sent, so a loss is never negative.
	i.received = load.received.Load()
	i.sent = load.sent.Load()
	i.at = time.Now()
	return i, nil
}

// cpu returns the CPU time of the window for each unit of work done.
func (w window) cpu(unit string, work float64) []Figure {
	figures := []Figure{{"cpu", "s/" + unit, w.machineCPU.Seconds() / work}}
	process := 0.0
	if w.switched {
		process = w.switchCPU.Seconds() / work
	}
	return append(figures, Figure{"of it switch", "s/" + unit, process})
}

// busy returns the share of all CPUs, 0 to 1, that is used during d.
func busy(ctx context.Context, d time.Duration) (float64, error) {
	before, err := machineCPU()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := sleep(ctx, d); err != nil {
		return 0, err
	}
	after, err := machineCPU()
	share := (after - before).Seconds() / time.Since(start).Seconds() / float64(runtime.NumCPU())
	return min(share, 1), err
}

// sleep waits for d, or returns the reason why ctx ended before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
