package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// BenchmarkDORA is whole exchanges of clients with leases in a pool of 64k
// addresses, in batches of 64 messages. The messages are made beforehand.
func BenchmarkDORA(b *testing.B) {
	for _, name := range []string{"new", "known"} {
		b.Run(name, func(b *testing.B) {
			const clients = 60000
			l := newLab(b)
			l.cfg.Server, l.cfg.Ranges = netip.MustParsePrefix("10.0.0.1/8"), []Range{ipRange("10.1.0.0", "10.1.255.255")}
			l.restart()
			discovers := make([]Request, clients)
			for i := range discovers {
				discovers[i] = newGuest(i, optString(optHostname, "vm")).request(discover)
			}
			if name == "known" {
				b.StopTimer()
				exchange(l, discovers)
				b.StartTimer()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				part := discovers[:min(clients, b.N-n)]
				exchange(l, part)
				if n += len(part); name == "new" && n < b.N {
					b.StopTimer()
					l.store = newMemStore()
					l.restart()
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "DORA/s")
		})
	}
}

// exchange takes all clients through DISCOVER and REQUEST.
func exchange(l *lab, discovers []Request) {
	const size = 64
	for len(discovers) > 0 {
		batch := discovers[:min(size, len(discovers))]
		discovers = discovers[len(batch):]
		l.sent = l.sent[:0]
		l.server.Receive(batch)
		requests := make([]Request, len(l.sent))
		for i, r := range l.sent {
			requests[i] = answerTo(batch[i], r)
		}
		l.sent = l.sent[:0]
		l.server.Receive(requests)
		if len(l.sent) != len(requests) {
			l.t.Fatalf("%d of %d got a lease: %s", len(l.sent), len(requests), l.logged.String())
		}
	}
}

// answerTo makes a REQUEST of a DISCOVER and the offer, without the codec.
func answerTo(r Request, offer Reply) Request {
	p := append(make([]byte, 0, 320), r.Payload...)
	for i := headerLen; p[i] != 255; i += 2 + int(p[i+1]) {
		if p[i] == optType {
			p[i+2] = byte(dhcpv4.MessageTypeRequest)
		}
		if p[i+2+int(p[i+1])] == 255 {
			i += 2 + int(p[i+1])
			p = append(p[:i], optServerID, 4, 10, 0, 0, 1, optRequested, 4)
			p = append(append(p, offer.Payload[16:20]...), 255)
			break
		}
	}
	r.Payload = p
	return r
}

// BenchmarkRenew is renewals of one batch.
func BenchmarkRenew(b *testing.B) {
	l := newLab(b)
	l.cfg.Ranges = []Range{ipRange("192.168.7.2", "192.168.7.254")}
	l.restart()
	var batch []Request
	for i := range 64 {
		batch = append(batch, newGuest(i).request(request, ciaddr(l.lease(newGuest(i)))))
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	for b.Loop() {
		l.sent = l.sent[:0]
		l.server.Receive(batch)
	}
	b.ReportMetric(float64(64*b.N)/time.Since(start).Seconds(), "renewals/s")
}
