package sockets

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

func (s *Sockets) openUDP(guest netip.AddrPort) (*mapping, error) {
	fam := familyOf(guest.Addr())
	fd, err := s.env.open(fam, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	if err := bindUDP(fd, netip.AddrPortFrom(fam.anywhere, 0)); err != nil {
		closeSocket(fd)
		return nil, err
	}
	m := s.newMapping(frame.ProtoUDP, fam, guest, fd)
	m.local = localAddr(fd)
	return m, nil
}

// bindUDP prepares a socket of the host: its errors tell which datagram they are about.
func bindUDP(fd int, addr netip.AddrPort) error {
	fam := familyOf(addr.Addr())
	_ = unix.SetsockoptInt(fd, fam.level, fam.receiveErrors, 1) // every kernel knows it
	return unix.Bind(fd, toSockaddr(addr))
}

// send sends a datagram to the peer of a flow.
func (m *mapping) send(f *flow, d *datagram) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fd < 0 {
		return nil
	}
	if m.raw {
		putIdentifier(d.payload, m.id)
	}
	fam := m.family
	if err := m.set(&m.discover, fam.discoverMTU, discovery(m.mustStayWhole(d))); err != nil {
		return err
	}
	if err := m.set(&m.hops, fam.hopLimit, int(d.hops)); err != nil {
		return err
	}
	var control []byte
	if m.published && f.via.IsValid() {
		control = putPacketInfo(m.control[:0], fam, f.via)
	}
	to := m.sockaddr(f.peer)
	_, err := unix.SendmsgN(m.fd, d.payload, control, to, 0)
	if _, known := pendingErrors[err]; known {
		_, err = unix.SendmsgN(m.fd, d.payload, control, to, 0) // it was about a former datagram
	}
	return err
}

// set sets an option of the socket where it has another value than before. m.mu is held.
func (m *mapping) set(now *int, option, value int) error {
	if *now == value {
		return nil
	}
	if err := unix.SetsockoptInt(m.fd, m.family.level, option, value); err != nil {
		return err
	}
	*now = value
	return nil
}

// sockaddr returns a peer as a system call takes it. m.mu is held.
func (m *mapping) sockaddr(peer netip.AddrPort) unix.Sockaddr {
	if m.family == v4 {
		m.to4.Addr, m.to4.Port = peer.Addr().As4(), int(peer.Port())
		return &m.to4
	}
	setSockaddr6(&m.to6, peer)
	return &m.to6
}

// mustStayWhole reports whether a datagram may not be fragmented on its way. What a guest
// sends by IPv6 to a peer of IPv4 may be where it is so short that the guest will not
// make it shorter (RFC 7915 clause 5.1).
func (m *mapping) mustStayWhole(d *datagram) bool {
	return d.whole && (m.family == v6 || d.guest.Addr().Is4() || len(d.quotable) > v6.leastMTU)
}

// discovery returns the value of IP_MTU_DISCOVER by which a datagram has the DF flag, or
// is not fragmented by us, or may be.
func discovery(whole bool) int {
	if whole {
		return unix.IP_PMTUDISC_DO
	}
	return unix.IP_PMTUDISC_DONT
}

// pendingErrors are those that a system call may return for another than itself.
var pendingErrors = map[error]struct{}{
	unix.ECONNREFUSED: {}, unix.EHOSTUNREACH: {}, unix.ENETUNREACH: {}, unix.EMSGSIZE: {}, unix.EPROTO: {},
	unix.ENOPROTOOPT: {}, unix.EHOSTDOWN: {}, unix.ENONET: {}, unix.EOPNOTSUPP: {}, unix.EACCES: {},
}

// run implements runner.
func (m *mapping) run(w *worker, events event) {
	if events&expired != 0 {
		m.retire()
	}
	if events&(hostIn|hostErr) == 0 {
		return
	}
	if events&hostErr != 0 {
		m.readErrors(w)
	}
	if m.readAll(w) {
		m.wake(hostIn)
	}
}

// turns is how many batches a mapping may read before others have their turn.
const turns = 8

// readAll reads what has come.
func (m *mapping) readAll(w *worker) (again bool) {
	for range turns {
		w.frames = w.frames[:0]
		more := true
		for more && len(w.frames) < batch {
			more = m.read(w)
		}
		if len(w.frames) > 0 {
			m.s.sendAll(w.frames)
			w.frames = w.frames[:0]
		}
		if !more {
			return false
		}
	}
	return true
}

// read reads one datagram into the batch, if its sender may send it. It returns false
// where there is none.
func (m *mapping) read(w *worker) bool {
	slot := w.slot()
	start := l4Start
	if m.protocol == frame.ProtoUDP {
		start += udpLen
	} else if m.raw && m.family == v4 {
		start -= v4.header // which it gives, too
	}
	n, oobn, flags, from, err := m.receive(slot.mem[start:], w.oob[:], 0)
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil:
		return m.readErrors(w) > 0 || err == unix.EINTR
	case flags&unix.MSG_TRUNC != 0:
		return true
	}
	peer := fromSockaddr(from)
	mem := slot.mem[:start+n]
	if m.protocol == frame.ProtoUDP {
		f := m.admits(peer, m.destination(w.oob[:oobn]))
		if f != nil && n <= familyOf(f.guest.Addr()).mostInDatagram {
			m.count(f, n)
			m.s.wrapUDP(&slot.frame, mem, f.remote, f.guest)
			w.frames = append(w.frames, &slot.frame)
		}
		return true
	}
	m.readEcho(w, slot, mem, peer)
	return true
}

// receive is recvmsg(2), with EAGAIN where the socket is closed.
func (m *mapping) receive(b, control []byte, how int) (n, oobn, flags int, from unix.Sockaddr, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fd < 0 {
		return 0, 0, 0, nil, unix.EAGAIN
	}
	return unix.Recvmsg(m.fd, b, control, how)
}

// destination returns the address that a datagram to a published port was sent to.
func (m *mapping) destination(control []byte) netip.Addr {
	if !m.published {
		return netip.Addr{}
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.Addr{}
	}
	for _, c := range messages {
		if m.isControl(&c, m.family.packetInfo, m.family.infoLen) {
			return m.family.address(c.Data[m.family.infoAddress:])
		}
	}
	return netip.Addr{}
}

// isControl reports whether a control message is one of the family, and complete.
func (m *mapping) isControl(c *unix.SocketControlMessage, kind, length int) bool {
	return int(c.Header.Level) == m.family.level && int(c.Header.Type) == kind && len(c.Data) >= length
}

// readErrors passes on the errors that the kernel has about datagrams of the mapping.
// It returns how many there were.
func (m *mapping) readErrors(w *worker) (n int) {
	slot := w.slot()
	for ; n < 64; n++ {
		length, oobn, _, from, err := m.receive(slot.mem, w.oob[:], unix.MSG_ERRQUEUE)
		if err != nil {
			return n
		}
		messages, err := unix.ParseSocketControlMessage(w.oob[:oobn])
		if err != nil {
			continue
		}
		for _, c := range messages {
			if m.isControl(&c, m.family.receiveErrors, extendedErrLen) {
				m.pass(c.Data, fromSockaddr(from), slot.mem[:length])
			}
		}
	}
	return n
}

// A struct sock_extended_err (include/uapi/linux/errqueue.h): offsets of its fields,
// and its length; the address of whoever says so follows.
const (
	extendedOrigin = 4
	extendedType   = 5
	extendedCode   = 6
	extendedInfo   = 8
	extendedErrLen = 16
)

// pass tells the guest about an error. peer is whom the datagram was for, rest what is
// left of it.
func (m *mapping) pass(b []byte, peer netip.AddrPort, rest []byte) {
	at := extendedErrLen + m.family.offender
	if b[extendedOrigin] != m.family.fromICMP || len(b) < at+m.family.size {
		return // what the machine itself says the system call has said, too
	}
	if isEcho(m.protocol) && (len(rest) < icmpLen || m.raw && binary.BigEndian.Uint16(rest[4:]) != m.id) {
		return // of another socket
	}
	t := &m.s.table
	t.mu.Lock()
	f := m.flows[peer]
	t.mu.Unlock()
	if f == nil {
		return // nobody that the guest talks to
	}
	info := binary.NativeEndian.Uint32(b[extendedInfo:])
	e, ok := heard(familyOf(f.guest.Addr()), m.family, kindCode{b[extendedType], b[extendedCode]}, info)
	if !ok {
		return
	}
	if e.from = m.family.address(b[at:]); e.from == f.peer.Addr() {
		e.from = f.remote.Addr() // by the name that the guest knows
	}
	m.s.tell(m.quote(f, rest), e)
}

// pathMTU returns how long a packet to a peer may be, by what the kernel knows of the
// path; 0 where that cannot be said.
func (s *Sockets) pathMTU(peer netip.AddrPort) int {
	fam := familyOf(peer.Addr())
	fd, err := s.env.open(fam, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	if err != nil {
		return 0
	}
	defer closeSocket(fd)
	if unix.Connect(fd, toSockaddr(netip.AddrPortFrom(peer.Addr(), 9))) != nil { // sends nothing
		return 0
	}
	mtu, err := unix.GetsockoptInt(fd, fam.level, fam.mtu)
	if err != nil {
		return 0
	}
	return mtu
}

// putPacketInfo appends the control message (cmsg(3)) that has a datagram leave from an
// address.
func putPacketInfo(b []byte, fam *family, from netip.Addr) []byte {
	length := unix.CmsgLen(fam.infoLen)
	if unix.SizeofCmsghdr == 16 {
		b = binary.NativeEndian.AppendUint64(b, uint64(length))
	} else {
		b = binary.NativeEndian.AppendUint32(b, uint32(length))
	}
	b = binary.NativeEndian.AppendUint32(b, uint32(fam.level))
	b = binary.NativeEndian.AppendUint32(b, uint32(fam.packetInfo))
	b = append(b, make([]byte, unix.CmsgSpace(fam.infoLen)-unix.CmsgLen(0))...)
	copy(b[unix.CmsgLen(0)+fam.infoAddress:], from.AsSlice())
	return b
}
