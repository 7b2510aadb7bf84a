package bench

import (
	"bytes"
	"slices"
	"testing"
	"time"
)

// The upstream of the services' beds answers what it is asked, and nothing else.
func TestAnswer(t *testing.T) { families(t, testAnswer) }

func testAnswer(t *testing.T, f Family) {
	query, err := dnsQuery(cachedName, f)
	if err != nil {
		t.Fatal(err)
	}
	query[0], query[1] = 0x12, 0x34
	withOPT := append(slices.Clone(query), 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0)
	withOPT[11] = 1
	want := append(append([]byte{0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, query[12:]...),
		map[Family][]byte{
			IPv4: {0xc0, 12, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 192, 0, 2, 1},
			IPv6: {0xc0, 12, 0, 28, 0, 1, 0, 0, 0x0e, 0x10, 0, 16, 0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		}[f]...)
	for _, q := range [][]byte{query, withOPT} {
		if got := answer(q); !bytes.Equal(got, want) {
			t.Errorf("% x\nanswered\n% x, want\n% x", q, got, want)
		}
	}
	for n := range len(query) {
		if got := answer(query[:n]); got != nil {
			t.Errorf("% x answered: % x", query[:n], got)
		}
	}
}

// The loads get from a server that others wrote what they ask for.
func TestDnsmasqServes(t *testing.T) { families(t, testDnsmasqServes) }

func testDnsmasqServes(t *testing.T, f Family) {
	if err := (dnsmasq{}).Available(); err != nil {
		t.Skip(err)
	}
	bed, err := dnsmasq{}.Setup(t.Context(), newLab(t, f))
	if err == nil {
		err = settle(t.Context(), bed.Hosts)
	}
	if err != nil {
		t.Fatal(err)
	}
	h := bed.Hosts[2]
	leases, err := dhcpLoad(t.Context(), h, dhcpClients{Interface: h.Interface, Number: 20, Names: true}, serviceLoad{Window: 4, Count: 20})
	if err != nil || leases.Completed != 20 || leases.Addresses != 20 {
		t.Errorf("DHCP: %+v, %v", leases, err)
	}
	names, err := askDNS(t.Context(), bed, serviceLoad{Window: 4, Count: 20})
	if err != nil || names.Completed != 20 {
		t.Errorf("DNS: %+v, %v", names, err)
	}
}

// A load with a rate asks no more than that, however soon it is answered.
func TestLoadRate(t *testing.T) {
	w := newExchanges(serviceLoad{Window: 10, Duration: time.Minute, Rate: 100}, time.Second)
	asked := 0
	for ms := range 1000 {
		now := w.began.Add(time.Duration(ms) * time.Millisecond)
		err := w.begin(now, func(place int) error {
			asked++
			w.complete(place, now)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if asked != 100 {
		t.Errorf("asked %d times in a second, want 100", asked)
	}
}

func TestMerge(t *testing.T) {
	a, b := []float64{1, 4}, []float64{2, 3, 5}
	if got := merge(a, b); !slices.Equal(got, []float64{1, 2, 3, 4, 5}) || a[1] != 4 || b[0] != 2 {
		t.Errorf("merged %v", got)
	}
}
