package sockets

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// mapping is one socket of the host for one endpoint of a guest, a UDP port or an echo
// identifier, whomever the guest talks to with it: so all see the same port of the host
// (RFC 4787 REQ-1). The socket of a published port is one too, for good.
type mapping struct {
	job
	s         *Sockets
	protocol  uint8
	family    *family // of the socket, and of its guest where it is not published
	from      string  // the port of the switch that it was opened by
	holds     []*holding
	published bool
	keep      bool // published: clients are seen by the guest as they are
	raw       bool // an ICMP socket that gets whole packets
	id        uint16
	local     netip.AddrPort

	used atomic.Int64 // when something was last sent or received

	// Guarded by table.mu.
	guest netip.AddrPort
	gone  bool                     // it has been closed, or will be at once
	flows map[netip.AddrPort]*flow // by peer
	peers map[netip.Addr]int       // how many flows to each address

	mu       sync.Mutex // guards the fields below while they are used
	fd       int        // -1 once it is closed
	discover int        // the socket's IP_MTU_DISCOVER
	hops     int        // the socket's IP_TTL
	to4      unix.SockaddrInet4
	to6      unix.SockaddrInet6
	control  [64]byte
}

func (s *Sockets) newMapping(protocol uint8, fam *family, guest netip.AddrPort, fd int) *mapping {
	m := &mapping{
		s: s, protocol: protocol, family: fam, guest: guest, fd: fd, discover: -1, hops: -1,
		flows: map[netip.AddrPort]*flow{}, peers: map[netip.Addr]int{},
	}
	m.job.queue, m.job.runner = &s.queue, m
	return m
}

// datagram is what a guest sends by UDP or as an echo request.
type datagram struct {
	tuple
	from     string // the port of the switch
	hops     uint8
	whole    bool // must not be fragmented
	payload  []byte
	quotable []byte // the packet
}

// outgoing sends a guest's datagram on.
func (s *Sockets) outgoing(d *datagram) {
	f := s.table.find(d.tuple)
	if f == nil {
		if f = s.newFlow(d); f == nil {
			return
		}
	}
	m := f.owner.(*mapping)
	m.count(f, len(d.payload))
	err := m.send(f, d)
	switch err {
	case nil, unix.EAGAIN, unix.ENOBUFS: // as any router does where a queue is full
	case unix.EMSGSIZE:
		if mtu := s.pathMTU(f.peer); mtu > 0 {
			s.tell(d.quotable, tooBigFor(familyOf(f.guest.Addr()), m.family, mtu))
		}
	default:
		if e, known := reasonOf(m.family, err); known {
			s.tell(d.quotable, e)
		}
	}
}

// newFlow makes a flow for the first datagram to a peer, and the mapping where the
// guest's endpoint has none. It returns nil where there may be none.
func (s *Sockets) newFlow(d *datagram) *flow {
	switch {
	case s.gateway.is(d.remote.Addr()):
		s.tell(d.quotable, noPort)
		return nil
	case !s.mayReach(d.protocol, d.remote):
		s.counters.refused[Prohibited].Add(1)
		s.tell(d.quotable, prohibited)
		return nil
	}
	t := &s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if reason, ok := t.admit(d.protocol, d.guest.Addr(), d.from); !ok {
		s.counters.refused[reason].Add(1)
		return nil
	}
	m := t.mappings[inside{d.protocol, d.guest}]
	if m == nil {
		t.mu.Unlock()
		m = s.openMapping(d)
		t.mu.Lock()
	}
	if m == nil {
		return nil
	}
	return m.newFlow(d.from, d.remote, d.remote, netip.Addr{})
}

// count notes a datagram.
func (m *mapping) count(f *flow, bytes int) {
	now := m.s.now.Load()
	m.used.Store(now)
	f.count(bytes, now)
}

// openMapping opens a socket for an endpoint of a guest, nil where that fails.
func (s *Sockets) openMapping(d *datagram) *mapping {
	holds, err := s.borrow(d)
	var m *mapping
	switch {
	case err != nil:
	case d.protocol == frame.ProtoUDP:
		m, err = s.openUDP(d.guest)
	default:
		m, err = s.openEcho(d.guest)
	}
	if err == nil {
		err = s.ready.add(m.fd, &m.job)
	}
	if err != nil {
		if m != nil {
			m.evict()
		}
		for _, h := range holds {
			h.release()
		}
		if err == unix.EAFNOSUPPORT {
			s.tell(d.quotable, noNetwork)
			return nil
		}
		s.counters.refused[NoSocket].Add(1)
		s.tell(d.quotable, prohibited)
		return nil
	}
	m.from, m.holds = d.from, holds
	m.used.Store(s.now.Load())
	t := &s.table
	t.mu.Lock()
	t.mappings[inside{m.protocol, m.guest}] = m
	t.mu.Unlock()
	for _, h := range holds {
		h.lend(m)
	}
	return m
}

// errBudget is why a guest gets no socket though the machine has some.
var errBudget = errors.New("the budget of sockets is used up")

// borrow takes what the socket of a mapping needs out of the budgets.
func (s *Sockets) borrow(d *datagram) ([]*holding, error) {
	h := s.budget.take(user{s, d.from})
	if h == nil {
		return nil, errBudget
	}
	if !isEcho(d.protocol) || s.echo[familyOf(d.guest.Addr()).index].kind != unix.SOCK_RAW {
		return []*holding{h}, nil
	}
	raw := s.raws.take(user{s, d.from})
	if raw == nil {
		h.release()
		return nil, errBudget
	}
	return []*holding{h, raw}, nil
}

// evict implements loan: the mapping ends, with all its flows.
func (m *mapping) evict() {
	t := &m.s.table
	t.mu.Lock()
	m.abandon()
	m.gone = true
	t.mu.Unlock()
	m.close()
}

// lastUse implements loan.
func (m *mapping) lastUse() int64 { return m.used.Load() }

// newFlow adds a flow that was begun by a port of the switch, or from outside. remote
// is the peer as the guest sees it. It returns nil where the guest has one with that
// name already, or the mapping has ended. The table is locked.
func (m *mapping) newFlow(from string, peer, remote netip.AddrPort, via netip.Addr) *flow {
	f := &flow{tuple: tuple{m.protocol, m.guest, remote}, peer: peer, from: from, via: via, owner: m, local: m.local}
	if m.gone || m.s.table.flows[f.tuple] != nil {
		return nil
	}
	m.flows[peer] = f
	m.peers[peer.Addr()]++
	m.s.take(f)
	return f
}

// drop takes a flow out of the mapping. The table is locked.
func (m *mapping) drop(f *flow) {
	if m.flows[f.peer] != f {
		return
	}
	delete(m.flows, f.peer)
	if m.peers[f.peer.Addr()]--; m.peers[f.peer.Addr()] == 0 {
		delete(m.peers, f.peer.Addr())
	}
	if len(m.flows) == 0 && !m.published {
		m.wake(expired)
	}
}

// check implements owner.
func (m *mapping) check(f *flow, now int64, cfg *Config) bool {
	timeout := cfg.Timeouts.UDP
	if isEcho(m.protocol) {
		timeout = cfg.Timeouts.ICMP
	}
	if now-f.used.Load() <= seconds(timeout) {
		return false
	}
	m.drop(f)
	return true
}

// end implements owner.
func (m *mapping) end(f *flow) bool {
	m.drop(f)
	return true
}

// describe implements owner.
func (m *mapping) describe(f *flow, to *Flow) {
	cfg := m.s.cfg.Load()
	timeout := cfg.Timeouts.UDP
	if isEcho(m.protocol) {
		timeout = cfg.Timeouts.ICMP
	}
	to.State = "open"
	to.Expires = max(0, seconds(timeout)-(m.s.now.Load()-f.used.Load()))
}

// retire closes the mapping where it has no flows any more.
func (m *mapping) retire() {
	t := &m.s.table
	t.mu.Lock()
	unused := len(m.flows) == 0 && !m.published
	if unused {
		m.unmap()
		m.gone = true
	}
	t.mu.Unlock()
	if unused {
		m.close()
	}
}

// unmap takes the mapping out of the table, which is locked.
func (m *mapping) unmap() {
	t := &m.s.table
	if k := (inside{m.protocol, m.guest}); t.mappings[k] == m {
		delete(t.mappings, k)
	}
	if m.raw {
		delete(t.echoes, m.id)
	}
}

func (m *mapping) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fd >= 0 {
		m.s.ready.remove(m.fd)
		closeSocket(m.fd)
		m.fd = -1
	}
	for _, h := range m.holds {
		h.release()
	}
}

// admits returns the flow of what has come from a peer, nil where the peer may not
// send. via is the address that it has sent to.
func (m *mapping) admits(peer netip.AddrPort, via netip.Addr) *flow {
	t := &m.s.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := m.flows[peer]; f != nil {
		return f
	}
	filtering := m.s.cfg.Load().Filtering
	if !m.published && !isHost(peer.Addr()) {
		filtering = ByEndpoint // nobody that a guest could answer
	}
	known := m.peers[peer.Addr()] > 0 && filtering == ByAddress && m.protocol == frame.ProtoUDP
	if !m.published && !known && (filtering != Anybody || m.protocol != frame.ProtoUDP) {
		m.s.counters.filtered.Add(1)
		return nil
	}
	if reason, ok := t.admit(m.protocol, m.guest.Addr(), outside); !ok {
		m.s.counters.refused[reason].Add(1)
		return nil
	}
	return m.fromOutside(peer, via)
}

// fromOutside makes the flow of a peer that begins. The table is locked.
func (m *mapping) fromOutside(peer netip.AddrPort, via netip.Addr) *flow {
	if !m.published || m.keep && m.s.maySee(m.guest.Addr(), peer.Addr(), via) {
		if f := m.newFlow(outside, peer, peer, via); f != nil || !m.published {
			return f
		}
	}
	port, ok := m.s.table.takeRelay(m.protocol)
	if !ok {
		m.s.counters.refused[PortsFull].Add(1)
		return nil
	}
	f := m.newFlow(outside, peer, netip.AddrPortFrom(m.s.gateway.facing(m.guest.Addr()), port), via)
	if f == nil {
		m.s.table.relays.Set(m.protocol, port, false)
		return nil
	}
	f.relay = port
	return f
}

// quote makes the start of a packet that the guest has sent in a flow, as ICMP errors
// quote it. rest is what is known of its payload.
func (m *mapping) quote(f *flow, rest []byte) []byte {
	fam, header := familyOf(f.guest.Addr()), udpLen
	if isEcho(m.protocol) {
		header = 0 // which is in rest
	}
	b := make([]byte, fam.header+header+len(rest))
	fam.putIP(b, header+len(rest), 0, m.protocol, f.guest.Addr(), f.remote.Addr())
	copy(b[fam.header+header:], rest)
	l4 := b[fam.header:]
	if m.protocol == frame.ProtoUDP {
		putUDP(l4, f.guest.Port(), f.remote.Port(), len(l4))
	} else {
		putIdentifier(l4, f.guest.Port())
	}
	return b
}

// putIdentifier changes that of an echo message, with its checksum.
func putIdentifier(icmp []byte, id uint16) {
	sum := frame.UpdateChecksum16(binary.BigEndian.Uint16(icmp[2:]), binary.BigEndian.Uint16(icmp[4:]), id)
	binary.BigEndian.PutUint16(icmp[2:], sum)
	binary.BigEndian.PutUint16(icmp[4:], id)
}
