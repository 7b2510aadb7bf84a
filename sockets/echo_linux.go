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

// probeEcho finds out. A ping socket (net/ipv4/ping.c) is for groups that the
// administrator has named, a raw one for who has CAP_NET_RAW.
func (e Env) probeEcho() echoKind {
	for _, kind := range []int{unix.SOCK_DGRAM, unix.SOCK_RAW} {
		fd, err := e.Socket(unix.AF_INET, kind|datagramFlags, unix.IPPROTO_ICMP)
		if err == nil {
			closeSocket(fd)
			return echoKind{kind: kind}
		}
	}
	return echoKind{err: errNoEcho}
}

// Echo returns why guests cannot ping, nil where they can.
func (s *Sockets) Echo() error { return s.echo.err }

// maxRaw is how many raw sockets there may be: the kernel shows each of them every ICMP
// message that the machine gets.
const maxRaw = 256

// openEcho opens a socket for the echo requests of a guest with one identifier.
func (s *Sockets) openEcho(guest netip.AddrPort) (*mapping, error) {
	if s.echo.err != nil {
		return nil, s.echo.err
	}
	fd, err := s.env.Socket(unix.AF_INET, s.echo.kind|datagramFlags, unix.IPPROTO_ICMP)
	if err != nil {
		return nil, err
	}
	m := s.newMapping(frame.ProtoICMP, guest, fd)
	m.raw = s.echo.kind == unix.SOCK_RAW
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
	if !m.raw {
		// The identifier is the kernel's choice. It lets several sockets have one that
		// they ask for, and gives the errors to any of them.
		if err := unix.Bind(fd, &unix.SockaddrInet4{}); err != nil {
			m.close()
			return nil, err
		}
		m.local = localAddr(fd)
		return m, nil
	}
	m.id = s.table.takeEcho(guest.Port())
	if err = filterReplies(fd, m.id); err != nil {
		s.table.mu.Lock()
		delete(s.table.echoes, m.id)
		s.table.mu.Unlock()
		m.close()
		return nil, err
	}
	m.local = netip.AddrPortFrom(netip.IPv4Unspecified(), m.id)
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
// program is classic BPF; offsets count from the IP header.
func filterReplies(fd int, id uint16) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: 0},       // X = length of the IP header
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 4},        // its identifier
		{Code: unix.BPF_JMP | unix.BPF_JEQ, Jf: 3, K: uint32(id)},    //
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_IND, K: 0},        // its type
		{Code: unix.BPF_JMP | unix.BPF_JEQ, Jf: 1, K: icmpEchoReply}, //
		{Code: unix.BPF_RET, K: 0xffff},                              // all of it
		{Code: unix.BPF_RET, K: 0},                                   // nothing
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// readEcho adds a reply to the batch. mem holds what the socket gave, up to its end.
func (m *mapping) readEcho(w *worker, slot *slot, mem []byte, peer netip.AddrPort) {
	peer = netip.AddrPortFrom(peer.Addr(), 0)
	if m.raw {
		ip := mem[ipStart:]
		if len(ip) < ipLen || int(ip[0]&15)*4 < ipLen || int(ip[0]&15)*4 > len(ip) {
			return
		}
		n := copy(mem[l4Start:], ip[int(ip[0]&15)*4:])
		mem = mem[:l4Start+n]
	}
	icmp := mem[min(l4Start, len(mem)):]
	if len(icmp) < icmpLen || icmp[0] != icmpEchoReply {
		return
	}
	f := m.admits(peer, netip.Addr{})
	if f == nil {
		return
	}
	m.count(f, len(icmp))
	putIdentifier(icmp, f.guest.Port())
	m.s.wrap(&slot.frame, mem, frame.ProtoICMP, f.remote.Addr(), f.guest.Addr())
	w.frames = append(w.frames, &slot.frame)
}

// echoRequest makes the datagram of an echo request, false where it is none.
func echoRequest(d *datagram, icmp []byte) bool {
	if len(icmp) < icmpLen || icmp[0] != icmpEcho || icmp[1] != 0 {
		return false
	}
	d.guest = netip.AddrPortFrom(d.guest.Addr(), binary.BigEndian.Uint16(icmp[4:]))
	d.remote = netip.AddrPortFrom(d.remote.Addr(), 0)
	d.payload = icmp
	return true
}
