package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"golang.org/x/sys/unix"
)

// responder is a DHCP server of the simplest kind. The kernel gives it what is
// sent to the server's port, and so has checked the lengths and sums of the
// frames.
type responder struct {
	traffic
	family    Family
	in, out   int
	discovers atomic.Int64
	requests  atomic.Int64
	ignore    func(kind byte, client uint32) bool // called by its thread
	refuse    func(client uint32) bool
}

func startResponder(t *testing.T, h *Host) *responder {
	t.Helper()
	r := &responder{family: h.family()}
	link, err := h.NS.links.LinkByName(h.Interface)
	if err != nil {
		t.Fatal(err)
	}
	port := map[Family]uint16{IPv4: dhcpServerPort, IPv6: dhcp6ServerPort}[r.family]
	r.in, err = r.open(h, func() (int, error) {
		return socket(unix.SOCK_DGRAM, netip.AddrPortFrom(r.family.unspecified(), port))
	})
	if err == nil && r.family == IPv6 {
		group := netip.MustParseAddr("ff02::1:2").As16()
		err = unix.SetsockoptIPv6Mreq(r.in, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group, Interface: uint32(link.Attrs().Index)})
	}
	if err == nil && r.family == IPv4 {
		r.out, err = r.open(h, func() (int, error) {
			fd, _, err := openDHCP4(h, h.Interface)
			return fd, err
		})
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
		n, from, err := unix.Recvfrom(r.in, b, 0)
		if err != nil {
			if retry(err) {
				continue
			}
			return err
		}
		m := b[:n]
		kind, client, err := questionOf(r.family, m)
		if err != nil {
			return err
		}
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
		if err := r.answer(out, m, answer, client, from); err != nil && !retry(err) {
			return err
		}
	}
	return nil
}

func (r *responder) answer(out *packets, m []byte, kind byte, client uint32, to unix.Sockaddr) error {
	if r.family == IPv4 {
		out.add(putAnswer4(out.next(), m, kind, client))
		return out.flush(r.out, r.stopping.Load)
	}
	message, err := answer6(m, kind, client)
	if err != nil {
		return err
	}
	return unix.Sendto(r.in, message, 0, to)
}

// questionOf tells who asks for what.
func questionOf(f Family, m []byte) (kind byte, client uint32, err error) {
	if f == IPv4 {
		return optionOf(m, 53)[0], binary.BigEndian.Uint32(m[30:]), nil
	}
	message, err := dhcpv6.MessageFromBytes(m)
	if err != nil {
		return 0, 0, err
	}
	id, ok := message.Options.ClientID().(*dhcpv6.DUIDLL)
	ia := message.Options.OneIANA()
	if !ok || ia == nil || len(id.LinkLayerAddr) != 6 || message.Options.FQDN() == nil {
		return 0, 0, errors.New("not all is there: " + message.Summary())
	}
	client = binary.BigEndian.Uint32(id.LinkLayerAddr[2:])
	switch message.Type() {
	case dhcpv6.MessageTypeSolicit:
		return dhcpDiscoverKind, client, nil
	case dhcpv6.MessageTypeRequest:
		address := ia.Options.OneAddress()
		if address == nil || !address.IPv6Addr.Equal(leaseOf6(client)) || message.Options.ServerID() == nil {
			return 0, 0, errors.New("not what was offered: " + message.Summary())
		}
		return dhcpRequestKind, client, nil
	}
	return 0, 0, errors.New(message.Summary())
}

func leaseOf6(client uint32) net.IP {
	return append(net.ParseIP("2001:db8::")[:12], byte(client>>24), byte(client>>16), byte(client>>8), byte(client))
}

// answer6 answers a message as another author's codec has it.
func answer6(m []byte, kind byte, client uint32) ([]byte, error) {
	message, err := dhcpv6.MessageFromBytes(m)
	if err != nil {
		return nil, err
	}
	id := dhcpv6.WithServerID(&dhcpv6.DUIDUUID{UUID: [16]byte{9}})
	ia := &dhcpv6.OptIANA{IaId: message.Options.OneIANA().IaId}
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: leaseOf6(client), PreferredLifetime: time.Minute, ValidLifetime: time.Hour})
	if kind == dhcpNakKind {
		ia.Options.Options = nil
		ia.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail, StatusMessage: "none left"})
	}
	var answer *dhcpv6.Message
	if kind == dhcpOfferKind {
		answer, err = dhcpv6.NewAdvertiseFromSolicit(message, id, dhcpv6.WithOption(ia))
	} else {
		answer, err = dhcpv6.NewReplyFromMessage(message, id, dhcpv6.WithOption(ia))
	}
	if err != nil {
		return nil, err
	}
	return answer.ToBytes(), nil
}

// putAnswer4 answers to the client's own MAC address, which nobody's interface
// has.
func putAnswer4(b, m []byte, kind byte, client uint32) int {
	clear(b)
	payload := b[42:]
	copy(payload, m[:dhcpFixed])
	payload[0] = 2
	copy(payload[16:], []byte{10, 1, byte(client >> 8), byte(client)})
	copy(payload[dhcpFixed:], []byte{0, 1, 4, 255, 255, 0, 0, 53, 1, kind, 54, 4, 10, 0, 0, 2, 255})
	return putUDP(b, m[28:34], []byte{2, 0, 0, 0, 0, 99}, netip.MustParseAddrPort("10.0.0.2:67"), netip.MustParseAddrPort("255.255.255.255:68"), 300)
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

func TestDHCPLoad(t *testing.T) { families(t, testDHCPLoad) }

func testDHCPLoad(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
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
func TestDHCPLoadLosses(t *testing.T) { families(t, testDHCPLoadLosses) }

func testDHCPLoadLosses(t *testing.T, f Family) {
	a, b := newPair(t, f)
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
	got, err := dhcpLoad(t.Context(), a, dhcpClients{Interface: a.Interface, Number: 10, Names: true}, serviceLoad{Window: 10, Count: 10})
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
func TestDHCPLoadEnds(t *testing.T) { families(t, testDHCPLoadEnds) }

func testDHCPLoadEnds(t *testing.T, f Family) {
	checkDescriptors(t)
	a, b := newPair(t, f)
	load := serviceLoad{Window: 4, Duration: 300 * time.Millisecond}
	clients := dhcpClients{Interface: a.Interface, Number: 4, Names: true}
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

func TestDHCPLoadRefuses(t *testing.T) { families(t, testDHCPLoadRefuses) }

func testDHCPLoadRefuses(t *testing.T, f Family) {
	a, _ := newPair(t, f)
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
