package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// responder is a DHCP server of the simplest kind. The kernel gives it what is
// sent to port 67, and so has checked the lengths and sums of the frames.
type responder struct {
	traffic
	in, out   int
	discovers atomic.Int64
	requests  atomic.Int64
	ignore    func(kind byte, client uint32) bool // called by its thread
	refuse    func(client uint32) bool
}

func startResponder(t *testing.T, h *Host) *responder {
	t.Helper()
	r := &responder{}
	var err error
	r.in, err = r.open(h, func() (int, error) {
		return socket(unix.SOCK_DGRAM, netip.AddrPortFrom(netip.IPv4Unspecified(), dhcpServerPort))
	})
	if err == nil {
		r.out, err = r.open(h, func() (int, error) { return dhcpSocket(h.Interface) })
	}
	if err != nil {
		t.Fatal(errors.Join(err, r.stop()))
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *responder) run(h *Host) { r.spawn(h, r.serve) }

func (r *responder) serve() error {
	b, out := make([]byte, 1500), newPackets(1, dhcpFrame)
	for !r.stopping.Load() {
		n, err := unix.Read(r.in, b)
		if err != nil {
			if retry(err) {
				continue
			}
			return err
		}
		m := b[:n]
		kind, client := optionOf(m, 53)[0], binary.BigEndian.Uint32(m[30:])
		if kind == dhcpDiscoverKind {
			r.discovers.Add(1)
		} else {
			r.requests.Add(1)
		}
		if r.ignore != nil && r.ignore(kind, client) {
			continue
		}
		answer := byte(dhcpOfferKind)
		if kind == dhcpRequestKind {
			answer = dhcpAckKind
			if r.refuse != nil && r.refuse(client) {
				answer = dhcpNakKind
			}
		}
		out.add(putAnswer(out.next(), m, answer, client))
		if err := out.flush(r.out, r.stopping.Load); err != nil {
			return err
		}
	}
	return nil
}

// putAnswer answers to the client's own MAC address, which nobody's interface
// has.
func putAnswer(b, m []byte, kind byte, client uint32) int {
	clear(b)
	payload := b[42:]
	copy(payload, m[:dhcpFixed])
	payload[0] = 2
	copy(payload[16:], []byte{10, 1, byte(client >> 8), byte(client)})
	copy(payload[dhcpFixed:], []byte{0, 1, 4, 255, 255, 0, 0, 53, 1, kind, 54, 4, 10, 0, 0, 2, 255})
	putUDP(b, []byte{2, 0, 0, 0, 0, 99}, 300)
	copy(b, m[28:34])
	binary.BigEndian.PutUint16(b[34:], dhcpServerPort)
	binary.BigEndian.PutUint16(b[36:], dhcpClientPort)
	return 42 + 300
}

// optionOf is the value of an option of a message.
func optionOf(m []byte, code byte) []byte {
	for o := m[dhcpFixed:]; len(o) > 2 && o[0] != 255; o = o[2+o[1]:] {
		if o[0] == code {
			return o[2 : 2+o[1]]
		}
	}
	return []byte{0}
}

func TestDHCPLoad(t *testing.T) {
	checkDescriptors(t)
	a, b := newPair(t)
	r := startResponder(t, b)
	r.run(b)
	got, err := dhcpLoad(t.Context(), a, dhcpClients{Interface: a.Interface, Number: 400, First: 1000, Names: true},
		serviceLoad{Window: 32, Count: 1000})
	if err != nil {
		t.Fatal(err)
	}
	// A thread that has to wait for its CPU may be too late for its socket, so
	// that a message is sent again; but nothing is given up.
	if got.Completed != 1000 || got.Refused != 0 || got.GivenUp != 0 || got.Addresses != 400 || len(got.sorted) != 1000 {
		t.Errorf("%+v", got)
	}
	if d, q := uint64(r.discovers.Load()), uint64(r.requests.Load()); d < 1000 || q < 1000 || d+q > 2000+got.Again {
		t.Errorf("the server saw %d and %d messages, %d again", d, q, got.Again)
	}
	if p50, p99 := got.latency(50), got.latency(99); p50 <= 0 || p99 < p50 || p99 > float64(got.Elapsed.Microseconds()) {
		t.Errorf("latency %v and %v in %v", p50, p99, got.Elapsed)
	}
	if rate := got.rate(); rate <= 0 || rate < 999/got.Elapsed.Seconds() || rate > 1001/got.Elapsed.Seconds() {
		t.Errorf("rate %v in %v", rate, got.Elapsed)
	}
}

// What is lost is sent again, both kinds of message, and what is refused is
// counted.
func TestDHCPLoadLosses(t *testing.T) {
	a, b := newPair(t)
	r := startResponder(t, b)
	seen := map[byte]map[uint32]bool{dhcpDiscoverKind: {}, dhcpRequestKind: {}}
	r.ignore = func(kind byte, client uint32) bool {
		first := !seen[kind][client]
		seen[kind][client] = true
		return first && (client == 3 && kind == dhcpDiscoverKind || client == 5 && kind == dhcpRequestKind)
	}
	r.refuse = func(client uint32) bool { return client == 7 }
	r.run(b)
	start := time.Now()
	got, err := dhcpLoad(t.Context(), a, dhcpClients{Interface: a.Interface, Number: 10}, serviceLoad{Window: 10, Count: 10})
	if err != nil {
		t.Fatal(err)
	}
	if got.Completed != 9 || got.Refused != 1 || got.Again < 2 || got.GivenUp != 0 || got.Addresses != 9 {
		t.Errorf("%+v", got)
	}
	if took := time.Since(start); took < dhcpAgain || got.latency(100) < float64(dhcpAgain.Microseconds()) {
		t.Errorf("sent again after %v, the longest exchange took %v us", took, got.latency(100))
	}
}

// A run ends at its time, with a server that says nothing too.
func TestDHCPLoadEnds(t *testing.T) {
	checkDescriptors(t)
	a, b := newPair(t)
	load := serviceLoad{Window: 4, Duration: 300 * time.Millisecond}
	clients := dhcpClients{Interface: a.Interface, Number: 4}
	got, err := dhcpLoad(t.Context(), a, clients, load)
	if err != nil || got.Completed != 0 || got.rate() != 0 || got.Elapsed < load.Duration {
		t.Errorf("%+v %v", got, err)
	}
	r := startResponder(t, b)
	r.run(b)
	got, err = dhcpLoad(t.Context(), a, clients, load)
	if err != nil || got.Completed == 0 || got.Elapsed < load.Duration || got.Addresses != 4 {
		t.Errorf("%+v %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = dhcpLoad(ctx, a, clients, serviceLoad{Window: 4, Duration: time.Hour})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDHCPLoadRefuses(t *testing.T) {
	a, _ := newPair(t)
	for _, tt := range []struct {
		clients dhcpClients
		load    serviceLoad
		want    string
	}{
		{dhcpClients{a.Interface, 4, 0, false}, serviceLoad{Window: 0, Count: 1}, "a window of 0"},
		{dhcpClients{a.Interface, 4, 0, false}, serviceLoad{Window: 1}, "0 exchanges, 0s"},
		{dhcpClients{a.Interface, 4, 0, false}, serviceLoad{Window: 5, Count: 1}, "4 clients for a window of 5"},
		{dhcpClients{"none", 4, 0, false}, serviceLoad{Window: 1, Count: 1}, "interface none"},
	} {
		if _, err := dhcpLoad(t.Context(), a, tt.clients, tt.load); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// The frames are what another decoder takes for that, with sums that are right.
func TestDHCPFrames(t *testing.T) {
	for _, o := range []dhcpOffer{{client: 0x01020304}, {client: 7, requests: true, address: 0x0a000005, server: 0x0a000001}} {
		b := make([]byte, dhcpFrame)
		b = b[:putDHCP(b, 0xcafe, &o, true)]
		p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
		if p.ErrorLayer() != nil {
			t.Fatal(p.ErrorLayer().Error())
		}
		udp := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err, mismatches := p.VerifyChecksums(); err != nil || len(mismatches) > 0 {
			t.Errorf("checksums %v %v", mismatches, err)
		}
		eth, m := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
		if eth.SrcMAC.String() != m.ClientHWAddr.String() || binary.BigEndian.Uint32(eth.SrcMAC[2:]) != o.client || eth.SrcMAC[0] != 2 {
			t.Errorf("from %v, for %v", eth.SrcMAC, m.ClientHWAddr)
		}
		kind := "Discover"
		if o.requests {
			kind = "Request"
			for code, want := range map[byte]uint32{50: o.address, 54: o.server} {
				if got := binary.BigEndian.Uint32(optionOf(b[42:], code)); got != want {
					t.Errorf("option %d is %#x", code, got)
				}
			}
		}
		if m.Xid != 0xcafe || !strings.Contains(m.Options.String(), kind) || string(optionOf(b[42:], 12)[:1]) != "c" {
			t.Errorf("%+v", m)
		}
	}
}

// An answer is one only where all of it is there.
func TestParseDHCP(t *testing.T) {
	question := make([]byte, dhcpFrame)
	question = question[:putDHCP(question, 77, &dhcpOffer{client: 9}, false)]
	b := make([]byte, dhcpFrame)
	b = b[:putAnswer(b, question[42:], dhcpAckKind, 9)]
	want := dhcpAnswer{id: 77, client: 9, kind: dhcpAckKind, address: 0x0a010009, server: 0x0a000002}
	if got, ok := parseDHCP(b); !ok || got != want {
		t.Errorf("%+v %v, want %+v", got, ok, want)
	}
	for n := range 42 + dhcpFixed + 12 {
		if got, ok := parseDHCP(b[:n]); ok && got == want {
			t.Errorf("%d bytes: %+v", n, got)
		}
	}
	if _, ok := parseDHCP(question); ok {
		t.Error("a question is an answer")
	}
}
