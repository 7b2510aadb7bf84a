package bench

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// startNames answers queries at port 53 of a host. Those whose number counts
// ignore makes true are not answered; answer says how.
func startNames(t *testing.T, h *Host, ignore func(count int64) bool, answer func(*dns.Msg)) *atomic.Int64 {
	t.Helper()
	var queries atomic.Int64
	s := &traffic{}
	fd, err := s.open(h, func() (int, error) { return socket(unix.SOCK_DGRAM, netip.AddrPortFrom(h.Address, 53)) })
	if err != nil {
		t.Fatal(err)
	}
	s.spawn(h, func() error {
		b := make([]byte, dnsMessage)
		for !s.stopping.Load() {
			n, from, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				if retry(err) {
					continue
				}
				return err
			}
			var m dns.Msg
			if err := m.Unpack(b[:n]); err != nil {
				return err
			}
			if ignore(queries.Add(1)) {
				continue
			}
			m.Response = true
			answer(&m)
			out, err := m.Pack()
			if err == nil {
				err = unix.Sendto(fd, out, 0, from)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return &queries
}

func never(int64) bool { return false }

func withAddress(m *dns.Msg) {
	head := dns.RR_Header{Name: m.Question[0].Name, Rrtype: m.Question[0].Qtype, Class: dns.ClassINET}
	m.Answer = []dns.RR{&dns.A{Hdr: head, A: []byte{10, 0, 0, 9}}}
	if head.Rrtype == dns.TypeAAAA {
		m.Answer = []dns.RR{&dns.AAAA{Hdr: head, AAAA: netip.MustParseAddr("2001:db8::9").AsSlice()}}
	}
}

func TestDNSLoad(t *testing.T) { families(t, testDNSLoad) }

func testDNSLoad(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	var asked atomic.Value
	queries := startNames(t, b, never, func(m *dns.Msg) {
		asked.Store(m.Question[0].String())
		withAddress(m)
	})
	// More than a query has numbers.
	const count = 70_000
	got, err := dnsLoad(t.Context(), a, netip.AddrPortFrom(b.Address, 53), "web.lab", serviceLoad{Window: 100, Count: count})
	if err != nil {
		t.Fatal(err)
	}
	if got.Completed != count || got.Refused != 0 || got.GivenUp != 0 || len(got.sorted) != count || got.rate() <= 0 {
		t.Errorf("%d answered, %d refused, %d given up", got.Completed, got.Refused, got.GivenUp)
	}
	if n := uint64(queries.Load()); n < count || n > count+got.Again {
		t.Errorf("the server saw %d queries of %d and %d", n, count, got.Again)
	}
	if want := ";web.lab.\tIN\t " + map[Family]string{IPv4: "A", IPv6: "AAAA"}[f]; asked.Load() != want {
		t.Errorf("asked %q, want %q", asked.Load(), want)
	}
	if p50, p99 := got.latency(50), got.latency(99); p50 <= 0 || p99 < p50 {
		t.Errorf("latency %v and %v", p50, p99)
	}
}

func TestDNSLoadLosses(t *testing.T) { families(t, testDNSLoadLosses) }

func testDNSLoadLosses(t *testing.T, f Family) {
	a, b := newPair(t, f)
	startNames(t, b, func(n int64) bool { return n == 2 || n == 5 }, withAddress)
	got, err := dnsLoad(t.Context(), a, netip.AddrPortFrom(b.Address, 53), "web", serviceLoad{Window: 8, Count: 20})
	if err != nil || got.Completed != 20 || got.Again < 2 || got.latency(100) < float64(dnsAgain.Microseconds()) {
		t.Errorf("%+v %v", got, err)
	}
}

// An answer without address is none: the name is wrong, or the server.
func TestDNSLoadRefusals(t *testing.T) { families(t, testDNSLoadRefusals) }

func testDNSLoadRefusals(t *testing.T, f Family) {
	a, b := newPair(t, f)
	startNames(t, b, never, func(m *dns.Msg) {
		if m.Rcode = dns.RcodeNameError; m.Id%2 == 0 {
			m.Rcode = dns.RcodeSuccess
		}
	})
	got, err := dnsLoad(t.Context(), a, netip.AddrPortFrom(b.Address, 53), "web", serviceLoad{Window: 8, Count: 20})
	if err != nil || got.Refused != 20 || got.Completed != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// It ends at its time where nobody is at the port.
func TestDNSLoadEnds(t *testing.T) { families(t, testDNSLoadEnds) }

func testDNSLoadEnds(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	load := serviceLoad{Window: 8, Duration: 200 * time.Millisecond}
	got, err := dnsLoad(t.Context(), a, netip.AddrPortFrom(b.Address, 53), "web", load)
	if err != nil || got.Completed != 0 || got.Elapsed < load.Duration {
		t.Errorf("%+v %v", got, err)
	}
}

func TestDNSLoadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		load serviceLoad
		want string
	}{
		{"web", serviceLoad{Count: 1}, "a window of 0"},
		{"web", serviceLoad{Window: 1 << 16, Count: 1}, "a window of 65536"},
		{"web", serviceLoad{Window: 1}, "0 queries, 0s"},
		{"a..b", serviceLoad{Window: 1, Count: 1}, `"a..b" is not a name`},
		{strings.Repeat("a", 64), serviceLoad{Window: 1, Count: 1}, "is not a name"},
		{strings.Repeat("a.", 200), serviceLoad{Window: 1, Count: 1}, "is not a name"},
	} {
		if _, err := dnsLoad(t.Context(), nil, netip.AddrPort{}, tt.name, tt.load); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

// A number that comes again does not take an old answer for a new one.
func TestDNSLateAnswer(t *testing.T) {
	w := newExchanges(serviceLoad{Window: 4, Count: 100}, time.Hour)
	d := &dnsAsker{numbers: make([]uint32, 1<<16), query: make([]byte, 20)}
	d.protocol, d.window, d.out = d, w, newPackets(64, dnsMessage)
	now := time.Now()
	if err := w.begin(now, d.send); err != nil {
		t.Fatal(err)
	}
	old := binary.BigEndian.Uint16(d.out.buffers[0])
	place, ok := w.find(d.numbers[old])
	if !ok || place != 0 {
		t.Fatalf("place %d %v", place, ok)
	}
	w.complete(place, now)
	if err := w.begin(now, d.send); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.find(d.numbers[old]); ok {
		t.Error("a second answer counts for the next question")
	}
}
