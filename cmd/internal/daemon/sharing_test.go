package daemon

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/fastpath"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ports/porttest"
)

// lockedLog is a log that a test reads while it is written.
type lockedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// refused adds up what the lines of a log say.
func refused(log string) (sum int) {
	for line := range strings.Lines(log) {
		_, n, _ := strings.Cut(line, "refused=")
		v, _ := strconv.Atoi(strings.TrimSpace(n))
		sum += v
	}
	return sum
}

// TestSharingFull has flows with more addresses than the kernel is told of: the log
// says so, in one line for all that come in one second.
func TestSharingFull(t *testing.T) {
	porttest.Require(t)
	ns := porttest.NewNS(t, "host")
	porttest.Veth(t, ns, "nic", ns, "shadow")
	nic, shadow := ns.Link(t, "nic").Attrs().Index, ns.Link(t, "shadow").Attrs().Index
	share, err := fastpath.LoadShare()
	if err != nil {
		t.Fatal(err)
	}
	var log lockedLog
	s := &sharing{
		o:     &outlet{log: slog.New(slog.NewTextHandler(&log, nil))},
		peers: map[sharedPeer]bool{}, public: map[publicPorts]*nat.PortSet{},
	}
	ns.Do(func() { s.attached, err = share.Attach(nic, shadow) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ns.Do(func() { err = s.attached.Close() })
		if err != nil {
			t.Error(err)
		}
	}()
	const room, more = 1 << 18, 5
	for i := range room + more {
		s.setUsed(frame.ProtoUDP, uint16(i), netip.AddrFrom4([4]byte{11, 0, 0, byte(i >> 16)}), true)
	}
	s.setUsed(frame.ProtoTCP, 80, netip.Addr{}, true)
	s.setUsed(frame.ProtoICMP, 80, netip.Addr{}, true) // nothing is open to all there
	if len(s.peers) != room+more || !s.public[publicPorts{protocol: frame.ProtoTCP}].Has(80) {
		t.Errorf("%d peers are noted", len(s.peers))
	}
	for deadline := time.Now().Add(30 * time.Second); refused(log.String()) != more && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if got := log.String(); refused(got) != more || strings.Count(got, "\n") == more {
		t.Errorf("the log has %q, want %d refused in fewer lines", got, more)
	}
	for i := range 10 {
		s.setUsed(frame.ProtoUDP, uint16(i), netip.MustParseAddr("11.0.0.0"), false)
	}
	s.setUsed(frame.ProtoTCP, 80, netip.Addr{}, false)
	if len(s.peers) != room+more-10 || s.public[publicPorts{protocol: frame.ProtoTCP}].Has(80) {
		t.Errorf("%d peers are left", len(s.peers))
	}
}
