package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A million flows: each endpoint of a guest speaks once to each remote. No more
// than a window of them are under way, and who was not heard speaks again.
const (
	idleGuests  = 160
	idlePorts   = 250
	idleFlows   = idleGuests * idlePorts * natRemotes
	idleWindow  = 2048
	idleLost    = 20 * time.Millisecond // nothing has arrived for so long: what is under way is lost
	idleTries   = 10
	idleFirst   = 20000 // of the ports
	idlePayload = 4     // the number of the flow
	idleFrame   = 66    // of IPv6; that of IPv4 is filled up to 60, the least that Ethernet has
	idleLeast   = 60
	idlePause   = 2 * time.Second
)

// idle is a load of flows of one packet each.
type idle struct {
	traffic
	from     *Host
	remote   netip.Addr
	mac      net.HardwareAddr // of the host inside
	gateway  net.HardwareAddr
	flows    int
	seen     []atomic.Uint64 // a bit for each flow that has arrived
	in       int
	lost     uint64      // of those sent; the sender's own
	complete atomic.Bool // nothing more is sent
}

// startIdle begins to send one packet of each flow from one host to the other, by
// the gateway, which is its neighbour.
func startIdle(from, to *Host, flows int) (*idle, error) {
	l := &idle{from: from, remote: to.Address, flows: flows, seen: make([]atomic.Uint64, (flows+63)/64)}
	if err := l.addresses(); err != nil {
		return nil, err
	}
	var err error
	l.in, err = l.open(to, func() (int, error) {
		return socket(unix.SOCK_DGRAM, netip.AddrPortFrom(to.family().unspecified(), idlePort))
	})
	if err == nil {
		err = unix.SetsockoptInt(l.in, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, floodBuffer)
	}
	if err != nil {
		return nil, errors.Join(err, l.stop())
	}
	out, err := l.open(from, func() (int, error) { return packetSocket(from.Interface) })
	if err != nil {
		return nil, errors.Join(err, l.stop())
	}
	l.spawn(to, l.count)
	l.spawn(from, func() error { return l.send(out) })
	return l, nil
}

// addresses finds the MAC addresses of the host and of its gateway.
func (l *idle) addresses() error {
	link, err := l.from.NS.links.LinkByName(l.from.Interface)
	if err != nil {
		return fmt.Errorf("host %s: interface %s: %w", l.from.Address, l.from.Interface, err)
	}
	l.mac = link.Attrs().HardwareAddr
	neighbours, err := l.from.NS.links.NeighList(link.Attrs().Index, l.from.family().domain())
	if err != nil {
		return fmt.Errorf("host %s: neighbours: %w", l.from.Address, err)
	}
	gateway := l.from.family().plan().gateway.Addr()
	for _, n := range neighbours {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == gateway && len(n.HardwareAddr) == 6 {
			l.gateway = n.HardwareAddr
			return nil
		}
	}
	return fmt.Errorf("host %s: no MAC address of the gateway %s", l.from.Address, gateway)
}

// packetSocket opens a socket that sends frames by an interface and receives none.
func packetSocket(name string) (int, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return fd, nil
}

// put writes the frame of a flow and returns its length.
func (l *idle) put(b []byte, flow int) int {
	clear(b)
	remote, endpoint := flow%natRemotes, flow/natRemotes
	src := netip.AddrPortFrom(addressAfter(l.from.Address, endpoint/idlePorts), uint16(idleFirst+endpoint%idlePorts))
	dst := netip.AddrPortFrom(addressAfter(l.remote, remote), idlePort)
	binary.BigEndian.PutUint32(b[l.from.family().udpStart():], uint32(flow))
	return max(putUDP(b, l.gateway, l.mac, src, dst, idlePayload), idleLeast)
}

// send goes through the flows that have not arrived, several times.
func (l *idle) send(fd int) error {
	defer l.complete.Store(true)
	batch := newPackets(floodBurst, idleFrame)
	for range idleTries {
		for flow := range l.flows {
			if l.seen[flow/64].Load()>>(flow%64)&1 == 0 {
				batch.add(l.put(batch.next(), flow))
			}
			if !batch.full() && flow+1 < l.flows {
				continue
			}
			l.sent.Add(uint64(batch.n))
			if err := batch.flush(fd, l.stopping.Load); err != nil {
				return fmt.Errorf("send flows: %w", err)
			}
			l.wait(idleWindow)
		}
		time.Sleep(2 * ioTimeout) // what is under way
		if l.stopping.Load() || l.received.Load() == uint64(l.flows) {
			break
		}
	}
	return nil
}

// wait returns once fewer than a window are under way, or lost. A load that is
// faster than what joins the hosts would only measure how that drops.
func (l *idle) wait(window uint64) {
	last, since := l.received.Load(), time.Now()
	for !l.stopping.Load() {
		now := l.received.Load()
		switch {
		case l.sent.Load()-l.lost < now+window:
			return
		case now != last:
			last, since = now, time.Now()
		case time.Since(since) > idleLost:
			l.lost = l.sent.Load() - now
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// count notes which flows have arrived.
func (l *idle) count() error {
	batch := newPackets(floodBurst, idleFrame)
	for !l.stopping.Load() {
		n, err := batch.receive(l.in)
		if err != nil {
			if !retry(err) {
				return fmt.Errorf("receive flows: %w", err)
			}
			continue
		}
		for i := range n {
			l.note(batch.received(i))
		}
	}
	return nil
}

func (l *idle) note(b []byte) {
	if len(b) != idlePayload {
		return
	}
	flow := int(binary.BigEndian.Uint32(b))
	if flow >= l.flows {
		return
	}
	if bit := uint64(1) << (flow % 64); l.seen[flow/64].Load()&bit == 0 {
		l.seen[flow/64].Or(bit)
		l.received.Add(1)
	}
}

// fill sends until all flows have arrived.
func (l *idle) fill(ctx context.Context) error {
	var err error
	for err == nil && !l.complete.Load() {
		err = sleep(ctx, 10*time.Millisecond)
	}
	if got := l.received.Load(); err == nil && got < uint64(l.flows) {
		err = fmt.Errorf("%d of %d flows have come through", got, l.flows)
	}
	return errors.Join(err, l.stop())
}

// runNATMemory fills the table with flows, and looks at how much memory the
// process holds.
func runNATMemory(ctx context.Context, bed *Bed, _ Timing) (Sample, error) {
	if bed.Switch == nil {
		return Sample{}, errors.New("the peer has no process to look at")
	}
	before, _, err := resident(bed.Switch.PID())
	if err != nil {
		return Sample{}, err
	}
	load, err := startIdle(bed.Hosts[0], bed.Hosts[1], idleFlows)
	if err != nil {
		return Sample{}, err
	}
	began := time.Now()
	if err := load.fill(ctx); err != nil {
		return Sample{}, err
	}
	took := time.Since(began)
	if err := sleep(ctx, idlePause); err != nil {
		return Sample{}, err
	}
	now, peak, err := resident(bed.Switch.PID())
	if err != nil {
		return Sample{}, err
	}
	return Sample{Value: now, Details: []Figure{
		{"before", "MiB", before}, {"peak", "MiB", peak},
		{"flows", "k a second", idleFlows / 1e3 / took.Seconds()}, {"sent again", "packets", float64(load.sent.Load() - idleFlows)},
	}}, nil
}
