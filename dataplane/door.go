package dataplane

import "slices"

// A door is how the worker of one port queues frames in another network: it is a
// worker there, but one that receives nothing and runs on the thread of the first.
// It belongs to that one port, so that nobody waits for anybody at it. The other
// network knows all doors that lead to it, since its snapshots live as long as
// they are used through one of them.
type door struct {
	worker
	of *Port     // the port that it belongs to
	s  *snapshot // of the network that it leads to, from open to shut
}

// open makes the door ready for the frames of a burst.
func (d *door) open() {
	d.passes.Add(1)
	d.s = d.network.snapshot.Load()
	d.prepare(d.s)
}

// shut sends what has gone through.
func (d *door) shut() {
	d.transmit(d.s)
	d.s = nil
	d.passes.Add(1)
}

// through returns a door of the port whose burst is in hand, opened.
func (w *worker) through(s *snapshot, i int) *door {
	d := s.in[w.port.index].doors[i]
	if d.s == nil {
		d.open()
		w.opened = append(w.opened, d)
	}
	return d
}

// shutDoors ends a burst in the networks that it has led to.
func (w *worker) shutDoors() {
	for i, d := range w.opened {
		d.shut()
		w.opened[i] = nil
	}
	w.opened = w.opened[:0]
}

// doorsTo returns the port's doors to some networks, in that order. Those that it
// has already are used again. network.mu is held.
func (p *Port) doorsTo(targets []*Network) []*door {
	doors := make([]*door, len(targets))
	for i, n := range targets {
		at := slices.IndexFunc(p.doors, func(d *door) bool { return d.network == n })
		if at < 0 {
			at = len(p.doors)
			p.doors = append(p.doors, n.newDoor(p))
		}
		doors[i] = p.doors[at]
	}
	return doors
}

// newDoor makes a door of a port's that leads to n.
func (n *Network) newDoor(of *Port) *door {
	d := &door{of: of}
	d.network = n
	d.port = &Port{network: n, name: gatewayName, index: noPort}
	n.doorsMu.Lock()
	defer n.doorsMu.Unlock()
	n.doors = append(n.doors, d)
	return d
}

// wallUp takes away the doors of a port that lead to none of the targets. Nobody
// may go through them any more. network.mu is held.
func (p *Port) wallUp(targets []*Network) {
	p.doors = slices.DeleteFunc(p.doors, func(d *door) bool {
		if slices.Contains(targets, d.network) {
			return false
		}
		n := d.network
		n.doorsMu.Lock()
		defer n.doorsMu.Unlock()
		n.doors = slices.DeleteFunc(n.doors, func(other *door) bool { return other == d })
		return true
	})
}
