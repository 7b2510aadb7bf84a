package sockets

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/weft/weft/dataplane/frame"
	"golang.org/x/sys/unix"
)

// Types of ICMP errors (RFC 792) and of ICMPv6 ones (RFC 4443).
const (
	icmpUnreachable  = 3
	icmpTimeExceeded = 11
	icmpParameter    = 12

	icmp6Unreachable  = 1
	icmp6TooBig       = 2
	icmp6TimeExceeded = 3
	icmp6Parameter    = 4
)

// kindCode is the type and code of an ICMP message.
type kindCode struct{ kind, code byte }

// icmpError is what a guest is told about a packet of its own.
type icmpError struct {
	as   [2]kindCode // by family.index; the zero value where that has no word for it
	info uint32      // the second word of the header
	from netip.Addr  // who says so; the gateway where it is no host of the guest's family
}

// Errors in both families (RFC 1812 clause 5.2.7.1, RFC 4443 clause 3; what of one is
// what of the other: RFC 7915 clauses 4.2 and 5.2).
var (
	noNetwork  = icmpError{as: [2]kindCode{{icmpUnreachable, 0}, {icmp6Unreachable, 0}}}
	noHost     = icmpError{as: [2]kindCode{{icmpUnreachable, 1}, {icmp6Unreachable, 3}}}
	noProtocol = icmpError{as: [2]kindCode{{icmpUnreachable, 2}, {icmp6Parameter, 1}}}
	noPort     = icmpError{as: [2]kindCode{{icmpUnreachable, 3}, {icmp6Unreachable, 4}}}
	prohibited = icmpError{as: [2]kindCode{{icmpUnreachable, 13}, {icmp6Unreachable, 1}}}
	tooBig     = icmpError{as: [2]kindCode{{icmpUnreachable, 4}, {icmp6TooBig, 0}}} // info: the MTU
	tooOld     = icmpError{as: [2]kindCode{{icmpTimeExceeded, 0}, {icmp6TimeExceeded, 0}}}

	// About extension headers, which IPv4 has not. info: the offset in the packet.
	badHeader = icmpError{as: [2]kindCode{{}, {icmp6Parameter, 0}}}
	badOption = icmpError{as: [2]kindCode{{}, {icmp6Parameter, 2}}}
)

// errorRate is how many errors are sent a second, and at once (RFC 1812 clause 4.3.2.8,
// RFC 4443 clause 2.4(f)).
const errorRate = 200

// about says where in the packet the error is.
func (e icmpError) about(offset int) icmpError {
	e.info = uint32(offset)
	return e
}

// tooBigFor is what a guest is told whose packet was longer than the path of a peer, who
// may be of the other family: then headers of different lengths carry the same.
func tooBigFor(guest, peer *family, mtu int) icmpError {
	e := tooBig
	e.info = uint32(max(mtu+guest.header-peer.header, guest.leastMTU))
	return e
}

// heard is what a guest is told where the network has said so about what was sent for
// it to a peer. It returns false where that is nothing for guests, such as a redirect.
func heard(guest, peer *family, c kindCode, info uint32) (icmpError, bool) {
	switch {
	case c == tooBig.as[peer.index]:
		if info = min(info, maxLength); guest != peer {
			return tooBigFor(guest, peer, int(info)), true
		}
		e := tooBig
		e.info = info // as it is: old routers of IPv4 say 0 (RFC 1191 clause 5)
		return e, true
	case peer == v4 && c.kind != icmpUnreachable && c.kind != icmpTimeExceeded && c.kind != icmpParameter,
		peer == v6 && (c.kind < icmp6Unreachable || c.kind > icmp6Parameter):
		return icmpError{}, false
	case guest == peer:
		e := icmpError{}
		e.as[guest.index] = c
		return e, true
	}
	for _, e := range [...]icmpError{noNetwork, noPort, prohibited, tooOld} {
		if e.as[peer.index] == c {
			return e, true
		}
	}
	return noHost, c.kind == noHost.as[peer.index].kind
}

// bucket limits how often something happens.
type bucket struct {
	mu     sync.Mutex
	second int64
	used   int
}

func (b *bucket) take(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.second != now {
		b.second, b.used = now, 0
	}
	b.used++
	return b.used <= errorRate
}

// tell sends a guest an error about its packet, of which quoted is the start. It reports
// whether it has.
func (s *Sockets) tell(quoted []byte, e icmpError) bool {
	if len(quoted) < v4.header {
		return false
	}
	fam := familyIn(quoted)
	c := e.as[fam.index]
	if len(quoted) < fam.header || c == (kindCode{}) || !s.errors.take(s.now.Load()) {
		return false
	}
	guest, from := fam.source(quoted), e.from
	if !isHost(from) || familyOf(from) != fam {
		if from = s.gateway.facing(guest); !from.IsValid() {
			return false
		}
	}
	quoted = quoted[:min(len(quoted), fam.errorLen-fam.header-icmpLen)]
	mem := make([]byte, l4Start+icmpLen+len(quoted))
	icmp := mem[l4Start:]
	icmp[0], icmp[1] = c.kind, c.code
	binary.BigEndian.PutUint32(icmp[4:], e.info)
	copy(icmp[icmpLen:], quoted)
	f := &frame.Frame{}
	s.wrap(f, mem, fam.icmp, from, guest)
	sum := frame.Checksum(icmp, fam.pseudoICMP(mem[l4Start-fam.header:], len(icmp)))
	binary.BigEndian.PutUint16(icmp[2:], sum)
	s.seat.Resolve([]*frame.Frame{f})
	return true
}

// reasonOf is what a guest is told where a system call about a peer has failed, if that
// is the network's fault and not this machine's.
func reasonOf(peer *family, err error) (icmpError, bool) {
	if peer == v6 && err == unix.EADDRNOTAVAIL {
		return noNetwork, true // IPv6 is switched off here (net.ipv6.conf.*.disable_ipv6)
	}
	e, known := reasons[err]
	return e, known
}

// reasons are the errors of system calls that routers make (icmp_err_convert in
// net/ipv4/icmp.c and tab_unreach in net/ipv6/icmp.c have the other direction), and
// what comes to the same: this machine has no such family at all.
var reasons = map[error]icmpError{
	unix.ENETUNREACH:  noNetwork,
	unix.EAFNOSUPPORT: noNetwork,
	unix.EHOSTUNREACH: noHost,
	unix.EHOSTDOWN:    noHost,
	unix.EACCES:       prohibited,
	unix.EPERM:        prohibited,
}
