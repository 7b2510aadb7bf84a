package porttest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxFrame = 65535 + 14 + 2*vlanTagLen
	// vlanTagLen is the length of a VLAN tag (IEEE 802.1Q-2022 clause 9).
	vlanTagLen = 4
	// auxdataLen is sizeof(struct tpacket_auxdata) (include/uapi/linux/if_packet.h).
	auxdataLen = 20
)

// RawConn sends and reads frames as they stand on the wire, VLAN tags in band,
// on one interface of a namespace. One goroutine may receive while another
// sends.
type RawConn struct {
	fd     int
	ifname string
	t      testing.TB
	buf    [vlanTagLen + maxFrame]byte
	oob    [256]byte
}

// RawConn opens a packet socket on an interface, in promiscuous mode. It sees
// what the interface receives and not what it sends. It is closed at the end of
// the test.
func (ns *NS) RawConn(t testing.TB, ifname string) *RawConn {
	t.Helper()
	index := ns.Link(t, ifname).Attrs().Index
	c := &RawConn{fd: -1, ifname: ifname, t: t}
	var err error
	ns.Do(func() { c.fd, err = openPacket(index) })
	if err != nil {
		t.Fatalf("open packet socket on %s in namespace %s: %v", ifname, ns.Name, err)
	}
	t.Cleanup(func() { unix.Close(c.fd) })
	return c
}

// openPacket returns a socket that receives nothing before it is bound: made
// with protocol 0, it never sees a frame of another interface.
func openPacket(index int) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	for _, opt := range []int{unix.PACKET_AUXDATA, unix.PACKET_IGNORE_OUTGOING} {
		if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, opt, 1); err != nil {
			return -1, fmt.Errorf("packet option %d: %w", opt, err)
		}
	}
	// Room for a burst that the test has yet to read.
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		return -1, fmt.Errorf("receive buffer: %w", err)
	}
	promisc := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}
	if err = unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &promisc); err != nil {
		return -1, fmt.Errorf("promiscuous mode: %w", err)
	}
	addr := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}
	if err = unix.Bind(fd, addr); err != nil {
		return -1, fmt.Errorf("bind: %w", err)
	}
	return fd, nil
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// Send puts a frame on the wire as it is. One that the interface refuses ends
// the test; see TrySend.
func (c *RawConn) Send(frame []byte) {
	c.t.Helper()
	if err := c.TrySend(frame); err != nil {
		c.t.Fatalf("send %d bytes on %s: %v", len(frame), c.ifname, err)
	}
}

// TrySend is Send with an error in place of a failure.
func (c *RawConn) TrySend(frame []byte) error {
	_, err := unix.Write(c.fd, frame)
	return err
}

// Recv returns the next frame with its VLAN tags in band, in memory that the
// caller may keep, or nil if none comes within the timeout.
func (c *RawConn) Recv(timeout time.Duration) []byte {
	c.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		frame, err := c.read()
		switch {
		case err == nil:
			return frame
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if !c.wait(time.Until(deadline)) {
				return nil
			}
		default:
			c.t.Fatalf("receive on %s: %v", c.ifname, err)
		}
	}
}

// RecvMatch returns the next frame that match accepts and throws away those
// before it, or returns nil if none comes within the timeout.
func (c *RawConn) RecvMatch(timeout time.Duration, match func(frame []byte) bool) []byte {
	c.t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		frame := c.Recv(time.Until(deadline))
		if frame == nil || match(frame) {
			return frame
		}
	}
}

// wait reports whether a frame may have come before the time was up. Signals of
// the Go runtime interrupt it at any moment; the caller just tries again.
func (c *RawConn) wait(timeout time.Duration) bool {
	if timeout <= 0 {
		return false
	}
	ms := int((timeout + time.Millisecond - 1) / time.Millisecond)
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, ms)
	return n > 0 || errors.Is(err, unix.EINTR)
}

// read puts the tag that the kernel took out of a received frame back to where
// it was: between the addresses and the type.
func (c *RawConn) read() ([]byte, error) {
	body := c.buf[vlanTagLen:]
	n, oobn, _, _, err := unix.Recvmsg(c.fd, body, c.oob[:], 0)
	if err != nil {
		return nil, err
	}
	tag, err := auxTag(c.oob[:oobn])
	if err != nil {
		return nil, err
	}
	frame := body[:n]
	if tag != nil && n >= 12 {
		frame = c.buf[:vlanTagLen+n]
		copy(frame[:12], body[:12])
		copy(frame[12:], tag)
	}
	return append([]byte(nil), frame...), nil
}

// auxTag returns the wire form of the tag in the control message of a packet
// socket, or nil for an untagged frame.
func auxTag(oob []byte) ([]byte, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < auxdataLen {
			continue
		}
		status := binary.NativeEndian.Uint32(m.Data[0:4])
		if status&unix.TP_STATUS_VLAN_VALID == 0 {
			return nil, nil
		}
		tci, tpid := binary.NativeEndian.Uint16(m.Data[16:18]), uint16(unix.ETH_P_8021Q)
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			tpid = binary.NativeEndian.Uint16(m.Data[18:20])
		}
		tag := binary.BigEndian.AppendUint16(nil, tpid)
		return binary.BigEndian.AppendUint16(tag, tci), nil
	}
	return nil, nil
}
