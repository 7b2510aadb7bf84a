package porttest

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const wait = 5 * time.Second

// ethernet returns a broadcast frame: tags, the type of a local experiment
// (IEEE 802 clause 9.2.3), and a payload.
func ethernet(payload int, tags ...uint32) []byte {
	f := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1}
	for _, tag := range tags {
		f = binary.BigEndian.AppendUint32(f, tag)
	}
	f = append(f, 0x88, 0xb5)
	for i := range payload {
		f = append(f, byte(i))
	}
	return f
}

// quietWire returns sockets at the two ends of a veth that carries nothing but
// what the test sends.
func quietWire(t *testing.T, options ...VethOption) (a, b *RawConn) {
	t.Helper()
	nsA, nsB := NewNS(t, "a"), NewNS(t, "b")
	nsA.Quiet(t)
	nsB.Quiet(t)
	Veth(t, nsA, "eth0", nsB, "eth0", options...)
	return nsA.RawConn(t, "eth0"), nsB.RawConn(t, "eth0")
}

func TestRawConn(t *testing.T) {
	Require(t)
	a, b := quietWire(t, VethMTU(9000))
	frames := map[string][]byte{
		"untagged":      ethernet(100),
		"shortest":      ethernet(0),
		"jumbo":         ethernet(9000),
		"tagged":        ethernet(100, 0x8100_0064),
		"priority":      ethernet(100, 0x8100_e000),
		"drop eligible": ethernet(100, 0x8100_1002),
		"service tag":   ethernet(100, 0x88a8_0065),
		"two tags":      ethernet(100, 0x88a8_0065, 0x8100_0064),
		"tagged jumbo":  ethernet(9000, 0x8100_0fff),
	}
	for name, want := range frames {
		t.Run(name, func(t *testing.T) {
			a.Send(want)
			if got := b.Recv(wait); !bytes.Equal(got, want) {
				t.Errorf("sent %d bytes %x…, got %d bytes %x…", len(want), want[:min(24, len(want))], len(got), got[:min(24, len(got))])
			}
		})
	}
}

func TestRecvKeepsFrames(t *testing.T) {
	Require(t)
	a, b := quietWire(t)
	one, two := ethernet(50), ethernet(50)
	two[40] ^= 0xff
	a.Send(one)
	a.Send(two)
	first := b.Recv(wait)
	second := b.Recv(wait)
	if !bytes.Equal(first, one) || !bytes.Equal(second, two) {
		t.Errorf("got\n%x\n%x\nwant\n%x\n%x", first, second, one, two)
	}
}

// What leaves by the interface, be it from another socket, is not traffic that
// came in.
func TestRecvIgnoresOutgoing(t *testing.T) {
	Require(t)
	ns, peer := NewNS(t, "a"), NewNS(t, "b")
	ns.Quiet(t)
	peer.Quiet(t)
	Veth(t, ns, "eth0", peer, "eth0")
	listener, sender := ns.RawConn(t, "eth0"), ns.RawConn(t, "eth0")
	sender.Send(ethernet(50))
	if got := listener.Recv(50 * time.Millisecond); got != nil {
		t.Errorf("got outgoing frame %x", got)
	}
	if got := listener.Recv(0); got != nil {
		t.Errorf("got %x without waiting", got)
	}
}

func TestRecvPromiscuous(t *testing.T) {
	Require(t)
	a, b := quietWire(t)
	f := ethernet(50)
	copy(f, []byte{2, 0, 0, 0, 0xbe, 0xef}) // nobody's address
	a.Send(f)
	if got := b.Recv(wait); !bytes.Equal(got, f) {
		t.Errorf("got %x", got)
	}
}

func TestRecvMatch(t *testing.T) {
	Require(t)
	a, b := quietWire(t)
	for _, n := range []int{10, 20, 30} {
		a.Send(ethernet(n))
	}
	long := func(f []byte) bool { return len(f) >= 14+20 }
	if got := b.RecvMatch(wait, long); len(got) != 14+20 {
		t.Errorf("got %d bytes", len(got))
	}
	if got := b.RecvMatch(50*time.Millisecond, func([]byte) bool { return false }); got != nil {
		t.Errorf("got %x", got)
	}
}

func TestTrySendRefused(t *testing.T) {
	Require(t)
	a, _ := quietWire(t)
	if err := a.TrySend(ethernet(3000)); err == nil {
		t.Error("a frame beyond the MTU was taken")
	}
	r := record(func(tb testing.TB) {
		c := *a
		c.t = tb
		c.Send(ethernet(3000))
	})
	if r.failed == "" {
		t.Error("Send hides the error")
	}
}

func TestAuxTag(t *testing.T) {
	const valid, tpidValid = unix.TP_STATUS_VLAN_VALID, unix.TP_STATUS_VLAN_TPID_VALID
	tests := []struct {
		name   string
		status uint32
		tpid   uint16
		want   []byte
	}{
		{"untagged", 0, 0, nil},
		{"tagged", valid | tpidValid, 0x88a8, []byte{0x88, 0xa8, 0x20, 0x05}},
		{"an old kernel gives no type", valid, 0, []byte{0x81, 0x00, 0x20, 0x05}},
		{"other status bits", 1 | unix.TP_STATUS_CSUMNOTREADY, 0x8100, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := auxTag(auxMessage(tt.status, 0x2005, tt.tpid))
			if err != nil || !bytes.Equal(got, tt.want) {
				t.Errorf("got %x, %v, want %x", got, err, tt.want)
			}
		})
	}
	if got, err := auxTag(nil); got != nil || err != nil {
		t.Errorf("no control message: %x, %v", got, err)
	}
}

// auxMessage builds the control message of struct tpacket_auxdata.
func auxMessage(status uint32, tci, tpid uint16) []byte {
	b := make([]byte, unix.CmsgSpace(auxdataLen))
	binary.NativeEndian.PutUint64(b[0:8], uint64(unix.CmsgLen(auxdataLen)))
	binary.NativeEndian.PutUint32(b[8:12], unix.SOL_PACKET)
	binary.NativeEndian.PutUint32(b[12:16], unix.PACKET_AUXDATA)
	data := b[unix.CmsgLen(0):]
	binary.NativeEndian.PutUint32(data[0:4], status)
	binary.NativeEndian.PutUint16(data[16:18], tci)
	binary.NativeEndian.PutUint16(data[18:20], tpid)
	return b
}
