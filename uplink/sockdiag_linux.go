package uplink

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"github.com/weft/weft/nat"
	"golang.org/x/sys/unix"
)

// Parts of include/uapi/linux/sock_diag.h and inet_diag.h.
const (
	sockDiagByFamily = 20
	diagRequestLen   = 56 // struct inet_diag_req_v2
	diagMessageLen   = 72 // struct inet_diag_msg
	diagByteCode     = 1  // INET_DIAG_REQ_BYTECODE
	diagV6Only       = 11 // INET_DIAG_SKV6ONLY

	// TCPF_CLOSE, which is a UDP socket without a peer, TCPF_LISTEN and, from
	// Linux 6.8 on, TCPF_BOUND_INACTIVE: sockets that wait for somebody.
	diagWaiting = 1<<7 | 1<<10 | 1<<13

	codeJump   = 1 // INET_DIAG_BC_JMP
	codePortGE = 2 // INET_DIAG_BC_S_GE
	codePortLE = 3 // INET_DIAG_BC_S_LE
)

// diagRequest is struct inet_diag_req_v2: sockets of one protocol and family that
// are in one of the states.
type diagRequest struct {
	family, protocol uint8
	states           uint32
}

func (r diagRequest) Len() int { return diagRequestLen }

func (r diagRequest) Serialize() []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = r.family, r.protocol
	binary.NativeEndian.PutUint32(b[4:], r.states)
	return b
}

// diag asks the kernel which sockets there are.
type diag struct{ socket *nl.NetlinkSocket }

// openDiag stays in the calling thread's network namespace.
func openDiag() (*diag, error) {
	s, err := nl.GetNetlinkSocketAt(netns.None(), netns.None(), unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &diag{s}, nil
}

func (d *diag) close() { d.socket.Close() }

// ports adds to the set the ports of the protocol's sockets that get what comes to
// one of addrs; none of them means any address. Of those that have a peer, it leaves out the
// ones with a port from first to last, the ephemeral range: a busy host has most of
// its connections there, and the kernel need not tell of them.
func (d *diag) ports(set *nat.PortSet, protocol uint8, addrs []netip.Addr, first, last uint16) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, states := range []uint32{diagWaiting, ^uint32(diagWaiting)} {
			req := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
			req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: d.socket}}
			req.AddData(diagRequest{family, protocol, states})
			if states != diagWaiting {
				req.AddData(nl.NewRtAttr(diagByteCode, outside(first, last)))
			}
			err := req.ExecuteIter(unix.NETLINK_INET_DIAG, sockDiagByFamily, func(m []byte) bool {
				if port, ok := boundPort(m, addrs); ok {
					set.Add(port)
				}
				return true
			})
			if err != nil {
				return fmt.Errorf("list the host's sockets by sock_diag: %w", err)
			}
		}
	}
	return nil
}

// outside is a program for the kernel that accepts sockets with a local port below
// first or above last (struct inet_diag_bc_op: a code and two distances to jump,
// for yes and no; a distance beyond the end refuses). First is at least 1.
func outside(first, last uint16) []byte {
	type op struct {
		code, yes uint8
		no        uint16
	}
	ops := []op{{codePortLE, 8, 12}, {no: first - 1}, {codeJump, 4, 12}, {codePortGE, 8, 12}, {no: last + 1}}
	if last == 65535 {
		ops = ops[:2]
	}
	var b []byte
	for _, o := range ops {
		b = binary.NativeEndian.AppendUint16(append(b, o.code, o.yes), o.no)
	}
	return b
}

// boundPort returns the local port of a struct inet_diag_msg, and whether the
// socket gets packets to one of addrs, or, without any, of either family to any.
func boundPort(m []byte, addrs []netip.Addr) (port uint16, ok bool) {
	if len(m) < diagMessageLen {
		return 0, false
	}
	port = binary.BigEndian.Uint16(m[4:])
	bound := netip.AddrFrom4([4]byte(m[8:12]))
	if m[0] == unix.AF_INET6 {
		bound = netip.AddrFrom16([16]byte(m[8:24])).Unmap()
	}
	both := bound == netip.IPv6Unspecified() && !isV6Only(m[diagMessageLen:])
	switch {
	case port == 0:
		return 0, false
	case len(addrs) == 0:
		return port, true
	}
	return port, slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return a == bound || both || bound.IsUnspecified() && a.Is4() == bound.Is4()
	})
}

// isV6Only reads the attributes of a socket of IPv6.
func isV6Only(attrs []byte) bool {
	for len(attrs) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(attrs))
		if length < unix.SizeofRtAttr || length > len(attrs) {
			return false
		}
		if binary.NativeEndian.Uint16(attrs[2:]) == diagV6Only && length > unix.SizeofRtAttr {
			return attrs[unix.SizeofRtAttr] != 0
		}
		attrs = attrs[min(len(attrs), (length+3)&^3):]
	}
	return false
}
