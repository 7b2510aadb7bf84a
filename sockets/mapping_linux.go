package sockets

import (
	"encoding/binary"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

const datagramFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC

func (s *Sockets) openUDP(guest netip.AddrPort) (*mapping, error) {
	fd, err := s.env.Socket(unix.AF_INET, unix.SOCK_DGRAM|datagramFlags, unix.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	if err := bindUDP(fd, netip.AddrPortFrom(netip.IPv4Unspecified(), 0)); err != nil {
		closeSocket(fd)
		return nil, err
	}
	m := s.newMapping(frame.ProtoUDP, guest, fd)
	m.local = localAddr(fd)
	return m, nil
}

// bindUDP prepares a socket of the host: its errors tell which datagram they are about.
func bindUDP(fd int, addr netip.AddrPort) error {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1) // every kernel knows it
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
	if how := discovery(d.whole); how != m.discover {
		if err := unix.SetsockoptInt(m.fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, how); err != nil {
			return err
		}
		m.discover = how
	}
	m.to.Addr, m.to.Port = f.peer.Addr().As4(), int(f.peer.Port())
	control := putControl(m.control[:0], unix.IP_TTL, int32Bytes(int32(d.ttl)))
	if m.published && f.via.IsValid() {
		control = putControl(control, unix.IP_PKTINFO, packetInfo(f.via))
	}
	_, err := unix.SendmsgN(m.fd, d.payload, control, &m.to, 0)
	if _, known := pendingErrors[err]; known {
		_, err = unix.SendmsgN(m.fd, d.payload, control, &m.to, 0) // it was about a former datagram
	}
	return err
}

// discovery returns the value of IP_MTU_DISCOVER by which a datagram has the DF flag,
// or has not and may be fragmented.
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
	} else if m.raw {
		start = ipStart
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
		if f := m.admits(peer, m.destination(w.oob[:oobn])); f != nil {
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
		if c.Header.Level == unix.IPPROTO_IP && c.Header.Type == unix.IP_PKTINFO && len(c.Data) >= unix.SizeofInet4Pktinfo {
			return addr4(c.Data[4:]) // ipi_spec_dst
		}
	}
	return netip.Addr{}
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
			if c.Header.Level == unix.IPPROTO_IP && c.Header.Type == unix.IP_RECVERR && len(c.Data) >= extendedErrLen {
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
	offender       = extendedErrLen + 4 // in a struct sockaddr_in
)

// pass tells the guest about an error. peer is whom the datagram was for, rest what is
// left of it. Redirects and the like are none of the guest's business.
func (m *mapping) pass(b []byte, peer netip.AddrPort, rest []byte) {
	e := icmpError{kind: b[extendedType], code: b[extendedCode]}
	info := binary.NativeEndian.Uint32(b[extendedInfo:])
	if b[extendedOrigin] != unix.SO_EE_ORIGIN_ICMP || len(b) < offender+4 {
		return // what the machine itself says the system call has said, too
	}
	e.from = addr4(b[offender:])
	switch {
	case e.kind == icmpUnreachable && e.code == 4:
		e.info = info & 0xffff // the MTU (RFC 1191)
	case e.kind != icmpUnreachable && e.kind != icmpTimeExceeded && e.kind != icmpParameter:
		return
	}
	if m.protocol == frame.ProtoICMP && (len(rest) < icmpLen || m.raw && binary.BigEndian.Uint16(rest[4:]) != m.id) {
		return // of another socket
	}
	t := &m.s.table
	t.mu.Lock()
	f := m.flows[peer]
	t.mu.Unlock()
	if f == nil {
		return // nobody that the guest talks to
	}
	if e.from == f.peer.Addr() {
		e.from = f.remote.Addr() // by the name that the guest knows
	}
	m.s.tell(m.quote(f, rest), e)
}

// pathMTU returns how long a packet to a peer may be, by what the kernel knows of the
// path; 0 where that cannot be said.
func (s *Sockets) pathMTU(peer netip.AddrPort) int {
	fd, err := s.env.Socket(unix.AF_INET, unix.SOCK_DGRAM|datagramFlags, unix.IPPROTO_UDP)
	if err != nil {
		return 0
	}
	defer closeSocket(fd)
	if unix.Connect(fd, toSockaddr(netip.AddrPortFrom(peer.Addr(), 9))) != nil { // sends nothing
		return 0
	}
	mtu, err := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
	if err != nil {
		return 0
	}
	return mtu
}

// putControl appends a control message of IPPROTO_IP (cmsg(3)).
func putControl(b []byte, kind int32, data []byte) []byte {
	length := unix.CmsgLen(len(data))
	if unix.SizeofCmsghdr == 16 {
		b = binary.NativeEndian.AppendUint64(b, uint64(length))
	} else {
		b = binary.NativeEndian.AppendUint32(b, uint32(length))
	}
	b = binary.NativeEndian.AppendUint32(b, unix.IPPROTO_IP)
	b = binary.NativeEndian.AppendUint32(b, uint32(kind))
	b = append(b, data...)
	return append(b, make([]byte, unix.CmsgSpace(len(data))-length)...)
}

func int32Bytes(v int32) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(v)) }

// packetInfo is a struct in_pktinfo that has a datagram leave from an address.
func packetInfo(from netip.Addr) []byte {
	a := from.As4()
	return append(append(make([]byte, 4, unix.SizeofInet4Pktinfo), a[:]...), 0, 0, 0, 0)
}
