package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// storm is many clients at once, new ones all the time, that all keep what they
// got: nobody releases anything, so no address may ever be two clients'.
type storm struct {
	t      *testing.T
	wires  []*wire
	loses  atomic.Bool // an address may be denied to who has it
	stop   chan struct{}
	all    sync.WaitGroup
	number atomic.Int64 // of the last client

	mu     sync.Mutex
	holder map[string]string // MAC by address, of all leases acknowledged
	naks   int
}

func startStorm(t *testing.T, clients int, wires ...*wire) *storm {
	s := &storm{t: t, wires: wires, stop: make(chan struct{}), holder: map[string]string{}}
	for _, w := range wires {
		w.again = 200 * time.Millisecond
	}
	for i := range clients {
		s.all.Go(func() {
			for s.blowing() {
				s.client(s.wires[i%len(s.wires)].client(int(s.number.Add(1))))
			}
		})
	}
	return s
}

func (s *storm) blowing() bool {
	select {
	case <-s.stop:
		return false
	default:
		return true
	}
}

// end waits until the clients are through.
func (s *storm) end() {
	close(s.stop)
	s.all.Wait()
}

// client gets a lease, however often it is told to begin anew, and then comes
// back as after a restart of its own.
func (s *storm) client(c *rawClient) {
	for s.blowing() {
		offer, ok := c.ask(c.message(dhcpv4.MessageTypeDiscover), time.Second)
		if !ok || offer.MessageType() != dhcpv4.MessageTypeOffer {
			continue
		}
		ack, ok := c.ask(c.selecting(offer.DHCPv4), 10*time.Second)
		if !ok || !s.note(c, ack) {
			continue
		}
		if c.mac[5]%2 == 0 {
			again, ok := c.ask(c.rebooting(ack.YourIPAddr.String()), 10*time.Second)
			if ok && !s.note(c, again) && !s.loses.Load() {
				s.t.Errorf("%s: %s was denied to its client: %v", c.mac, ack.YourIPAddr, again)
			}
		}
		return
	}
}

// note keeps what was acknowledged to whom, and reports whether it was.
func (s *storm) note(c *rawClient, a heard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.MessageType() != dhcpv4.MessageTypeAck {
		s.naks++
		return false
	}
	addr := a.YourIPAddr.String()
	if had, ok := s.holder[addr]; ok && had != c.mac.String() {
		s.t.Errorf("%s was acknowledged to %s and to %s", addr, had, c.mac)
	}
	s.holder[addr] = c.mac.String()
	return true
}

func (s *storm) leases() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.holder)
}

// grow waits until there are so many leases more.
func (s *storm) grow(n int) {
	s.t.Helper()
	before := s.leases()
	for end := time.Now().Add(60 * time.Second); s.leases() < before+n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%d leases after a minute, were %d", s.leases(), before)
		}
	}
}

// check compares what clients were told with what weft knows.
func (s *storm) check(l *dhcpLAN) {
	s.t.Helper()
	s.mu.Lock()
	told, naks := maps.Clone(s.holder), s.naks
	s.mu.Unlock()
	known := map[string]api.Lease{}
	for _, v := range l.list() {
		if v.State == "active" {
			known[v.Address] = v
		}
	}
	s.t.Logf("%d clients, %d leases acknowledged, %d known, %d NAKs", s.number.Load(), len(told), len(known), naks)
	lost := 0
	for addr, mac := range told {
		if known[addr].MAC != mac {
			if lost++; lost <= 10 {
				s.t.Errorf("%s has %s, weft says %+v", mac, addr, known[addr])
			}
		}
	}
	if lost > 0 {
		s.t.Errorf("%d leases are lost", lost)
	}
}

const stormDHCP = `range: 10.0.1.0-10.0.200.255
lease: 1h
probe: false
---
address: 10.0.0.1/16
fdb: {limit: 100000}
`

// Weft is killed again and again in the middle of it. What a client was told
// holds.
func TestKillInAStorm(t *testing.T) {
	l := newDHCPLAN(t, stormDHCP, "raw", "raw")
	s := startStorm(t, 100, newWire(t, l.hosts[0]), newWire(t, l.hosts[1]))
	for range 6 {
		s.grow(150)
		l.Kill()
		l.start()
	}
	s.grow(150)
	s.end()
	s.check(l)

	// Also in the next life.
	l.Kill()
	l.start()
	s.check(l)
}

// Ranges, times and options change while clients come and go: no lease is
// dropped, not even of an address that nobody can get any more.
func TestApplyInAStorm(t *testing.T) {
	l := newDHCPLAN(t, stormDHCP, "raw", "raw")
	s := startStorm(t, 50, newWire(t, l.hosts[0]), newWire(t, l.hosts[1]))
	// Another range is added first and stays, so that nobody has reason to leave.
	wide := strings.Replace(stormDHCP, "10.0.1.0-10.0.200.255", "[10.0.1.0-10.0.200.255, 10.0.220.1-10.0.220.255]", 1)
	change := func(from, to string) string { return strings.Replace(wide, from, to, 1) }
	for range 3 {
		for _, dhcp := range []string{
			wide,
			change("lease: 1h", "lease: 2h\nntp: 10.0.0.5\nmax_leases: 50000"),
			change("probe: false", "options: {mtu: 1300, time-server: 10.0.0.7}\nprobe: false"),
			change("lease: 1h", "lease: 10m\nhosts: [{mac: \"02:99:00:00:00:01\", address: 10.0.0.9}]"),
		} {
			s.grow(50)
			l.apply(dhcp)
		}
	}
	s.check(l)
	s.loses.Store(true)
	l.apply(strings.Replace(stormDHCP, "10.0.1.0-10.0.200.255", "10.0.210.0-10.0.250.255", 1))
	s.grow(100)
	s.end()
	s.check(l)
	if s.naks == 0 {
		t.Error("nobody was sent from the old range to the new one")
	}
	l.stop()
	l.start()
	s.check(l)
}

// A port makes up clients as fast as it can. Others get their leases all the
// same, of few addresses and of many, and weft does not grow.
func TestRogueFlood(t *testing.T) {
	porttest.Require(t)
	bin := filepath.Join(t.TempDir(), "weft")
	// Without the race detector, which needs several times the memory.
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for name, dhcp := range map[string]string{
		"50 addresses":    "range: 10.0.0.50-10.0.0.99\n",
		"51200 addresses": strings.Replace(stormDHCP, "probe: false", "probe: true", 1),
	} {
		t.Run(name, func(t *testing.T) { rogueFlood(t, bin, dhcp) })
	}
}

func rogueFlood(t *testing.T, bin, dhcp string) {
	l := makeDHCPLAN(t, "raw", "raw", "internal")
	// A broadcast goes to all ports, and clients themselves drown in so many. This
	// is about the server, so the flood reaches nobody else.
	l.ports = strings.ReplaceAll(l.ports, "{type: ", "{isolated: true, type: ")
	l.write(l.yaml(dhcp))
	l.bin = bin
	l.start()
	newWire(t, l.hosts[1]).client(1).obtain()
	before := l.resident()
	stop := flood(t, l.hosts[0].RawConn(t, "eth0"))
	l.waitMessages("discover", "limited", 20000)
	addr := newWire(t, l.hosts[1]).client(2).obtain()
	c := startClient(t, clientKinds()[0], l.hosts[2])
	got := c.got(c.wait(c.obtained...), "address")
	l.waitMessages("discover", "limited", 60000)
	after := l.resident()
	t.Logf("%d DISCOVERs sent; %d MiB resident, before %d", stop(), after>>20, before>>20)
	if after > before+128<<20 {
		t.Errorf("weft grew from %d to %d MiB", before>>20, after>>20)
	}
	for _, addr := range []string{addr, got} {
		if v, _ := l.leaseOf(addr); v.State != "active" {
			t.Errorf("lease of %s: %+v", addr, v)
		}
	}
}

// flood sends DISCOVERs of ever new clients until it is stopped, which returns
// their number.
func flood(t *testing.T, conn *porttest.RawConn) (stop func() int) {
	t.Helper()
	ended, sent := make(chan struct{}), make(chan int)
	r := newRogue(t)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				sent <- n
				return
			default:
				_ = conn.TrySend(r.next()) // a full queue is a lost frame
			}
		}
	}()
	stop = sync.OnceValue(func() int { close(ended); return <-sent })
	t.Cleanup(func() { stop() })
	return stop
}

// rogue makes up clients.
type rogue struct {
	frame      []byte
	identifier int // where option 61 is in the frame
}

// newRogue makes a DISCOVER with an identifier and a name. Its UDP checksum is
// none (RFC 768), so that it stays right whatever next writes.
func newRogue(t *testing.T) *rogue {
	t.Helper()
	const length = 200
	m, err := dhcpv4.New(dhcpv4.WithHwAddr(make(net.HardwareAddr, 6)), dhcpv4.WithMessageType(dhcpv4.MessageTypeDiscover),
		dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, make([]byte, length)), hostname(strings.Repeat("x", 60)))
	if err != nil {
		t.Fatal(err)
	}
	r := &rogue{frame: frameOf(m, nil)}
	binary.BigEndian.PutUint16(r.frame[14+20+6:], 0)
	r.identifier = bytes.Index(r.frame, []byte{dhcpv4.OptionClientIdentifier.Code(), length})
	if r.identifier < 0 {
		t.Fatal("the DISCOVER has no identifier")
	}
	return r
}

// next makes the frame that of another client.
func (r *rogue) next() []byte {
	const message = 14 + 20 + 8
	var random [8]byte
	binary.BigEndian.PutUint64(random[:], rand.Uint64())
	random[0] = random[0]&^1 | 2
	copy(r.frame[6:12], random[:6])        // source of the frame
	copy(r.frame[message+4:], random[2:6]) // transaction
	copy(r.frame[message+28:], random[:6]) // hardware address
	copy(r.frame[r.identifier+2:], random[:])
	return r.frame
}

// resident is how much memory of weft's is in use, in bytes.
func (l *dhcpLAN) resident() int {
	l.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.Pid()))
	if err != nil {
		l.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(b)
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		l.t.Fatal(err)
	}
	return n << 10
}
