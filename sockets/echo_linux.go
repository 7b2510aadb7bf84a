package sockets

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// echoKind says how this machine lets us ping.
type echoKind struct {
	kind int   // unix.SOCK_DGRAM or unix.SOCK_RAW
	err  error // not at all, and why
}

// errNoEcho is why guests cannot ping.
var errNoEcho = errors.New("guests cannot ping: this process may neither open ping sockets (add its group to net.ipv4.ping_group_range) nor raw ones (give it CAP_NET_RAW)")

// probeEcho finds out for both families.
func (s *Sockets) probeEcho() {
	for _, fam := range [...]*family{v4, v6} {
		s.echo[fam.index] = s.env.probeEcho(fam)
	}
}

// probeEcho finds out. A ping socket (net/ipv4/ping.c, for IPv6 too) is for groups that
// the administrator has named, a raw one for who has CAP_NET_RAW.
func (e Env) probeEcho(fam *family) echoKind {
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_RAW} {
		fd, err := e.open(fam, kind, int(fam.icmp))
		switch err {
		case nil:
			closeSocket(fd)
			return echoKind{kind: kind}
		case unix.EAFNOSUPPORT:
			return echoKind{err: err}
		}
	}
	return echoKind{err: errNoEcho}
}

// Echo returns why guests cannot ping, nil where they can. That this machine has not a
// family at all is no reason: guests are told that as about any other packet.
func (s *Sockets) Echo() error {
	for _, e := range s.echo {
		if e.err == errNoEcho {
			return e.err
		}
	}
	return nil
}

// maxRaw is how many raw sockets there may be: the kernel shows each of them every ICMP
// message that the machine gets.
const maxRaw = 256

// openEcho opens a socket for the echo requests of a guest with one identifier.
func (s *Sockets) openEcho(guest netip.AddrPort) (*mapping, error) {
	fam := familyOf(guest.Addr())
	echo := s.echo[fam.index]
	if echo.err != nil {
		return nil, echo.err
	}
	fd, err := s.env.open(fam, echo.kind, int(fam.icmp))
	if err != nil {
		return nil, err
	}
	m := s.newMapping(fam.icmp, fam, guest, fd)
	m.raw = echo.kind == unix.SOCK_RAW
	_ = unix.SetsockoptInt(fd, fam.level, fam.receiveErrors, 1)
	if !m.raw {
		// The identifier is the kernel's choice. It lets several sockets have one that
		// they ask for, and gives the errors to any of them.
		if err := unix.Bind(fd, toSockaddr(netip.AddrPortFrom(fam.anywhere, 0))); err != nil {
			m.close()
			return nil, err
		}
		m.local = localAddr(fd)
		return m, nil
	}
	m.id = s.table.takeEcho(guest.Port())
	if err = filterReplies(fam, fd, m.id); err != nil {
		s.table.mu.Lock()
		delete(s.table.echoes, m.id)
		s.table.mu.Unlock()
		m.close()
		return nil, err
	}
	m.local = netip.AddrPortFrom(fam.anywhere, m.id)
	return m, nil
}

// takeEcho returns an identifier that no other raw socket of ours has.
func (t *table) takeEcho(wanted uint16) uint16 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.echoes[wanted] {
		wanted = uint16(rand.Uint32())
	}
	t.echoes[wanted] = true
	return wanted
}

// filterReplies has a raw socket receive the replies to one identifier only. The
// program is classic BPF; offsets count from the IP header, which sockets of IPv6 are
// never shown.
func filterReplies(fam *family, fd int, id uint16) error {
	header := unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0} // X = its length
	if fam == v6 {
		header = unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_IMM, K: 0}
	}
	program := []unix.SockFilter{
		header,
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 4},                // the identifier
		{Code: unix.BPF_JMP | unix.BPF_JEQ, Jf: 3, K: uint32(id)},            //
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 0},                // the type
		{Code: unix.BPF_JMP | unix.BPF_JEQ, Jf: 1, K: uint32(fam.echoReply)}, //
		{Code: unix.BPF_RET, K: 0xffff},                                      // all of it
		{Code: unix.BPF_RET, K: 0},                                           // nothing
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// readEcho adds a reply to the batch. mem holds what the socket gave, up to its end.
func (m *mapping) readEcho(w *worker, slot *slot, mem []byte, peer netip.AddrPort) {
	peer = netip.AddrPortFrom(peer.Addr(), 0)
	if m.raw && m.family == v4 {
		ip := mem[l4Start-v4.header:]
		if len(ip) < v4.header || int(ip[0]&15)*4 < v4.header || int(ip[0]&15)*4 > len(ip) {
			return
		}
		n := copy(mem[l4Start:], ip[int(ip[0]&15)*4:])
		mem = mem[:l4Start+n]
	}
	icmp := mem[min(l4Start, len(mem)):]
	if len(icmp) < icmpLen || icmp[0] != m.family.echoReply {
		return
	}
	f := m.admits(peer, netip.Addr{})
	if f == nil {
		return
	}
	m.count(f, len(icmp))
	putIdentifier(icmp, f.guest.Port())
	m.s.wrap(&slot.frame, mem, m.protocol, f.remote.Addr(), f.guest.Addr())
	if m.family == v6 { // the checksum is about addresses, too, and one of them was another
		icmp[2], icmp[3] = 0, 0
		sum := frame.Checksum(icmp, v6.pseudoICMP(mem[l4Start-v6.header:], len(icmp)))
		binary.BigEndian.PutUint16(icmp[2:], sum)
	}
	w.frames = append(w.frames, &slot.frame)
}

// echoRequest makes the datagram of an echo request, false where it is none.
func echoRequest(d *datagram, icmp []byte) bool {
	if len(icmp) < icmpLen || icmp[0] != familyOf(d.guest.Addr()).echo || icmp[1] != 0 {
		return false
	}
	d.guest = netip.AddrPortFrom(d.guest.Addr(), binary.BigEndian.Uint16(icmp[4:]))
	d.remote = netip.AddrPortFrom(d.remote.Addr(), 0)
	d.payload = icmp
	return true
}
