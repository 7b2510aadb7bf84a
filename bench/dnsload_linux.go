package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dnsAgain is after how long a query is sent again.
const dnsAgain = time.Second

// dnsMessage is the longest answer without EDNS (RFC 1035 section 2.3.4).
const dnsMessage = 512

// What a query asks for: an address of IPv4 or of IPv6 (RFC 1035, 3596).
const (
	dnsA    = 1
	dnsAAAA = 28
)

// dnsLoad asks a server for the address of a name, in the family that the server
// is asked in, from an ordinary UDP socket of a host, as fast as it answers. An
// answer without an address counts as a refusal.
func dnsLoad(ctx context.Context, h *Host, server netip.AddrPort, name string, load serviceLoad) (served, error) {
	// A query's number has 16 bits, and comes again after at least two windows.
	if load.Window < 1 || load.Window > 1<<15 || load.Count <= 0 && load.Duration <= 0 {
		return served{}, fmt.Errorf("DNS load: a window of %d, %d queries, %v", load.Window, load.Count, load.Duration)
	}
	query, err := dnsQuery(name, familyOf(server.Addr()))
	if err != nil {
		return served{}, fmt.Errorf("DNS load: %w", err)
	}
	d := &dnsAsker{query: query, numbers: make([]uint32, 1<<16)}
	got, err := d.ask(ctx, h, d, func() (int, error) { return dnsSocket(h, server) }, load, dnsAgain, dnsMessage)
	if err != nil {
		return served{}, fmt.Errorf("DNS load: %w", err)
	}
	return got, nil
}

// dnsAsker is a running load.
type dnsAsker struct {
	asker
	query   []byte
	numbers []uint32 // of exchanges, by their last 16 bits, which are a query's
}

func (d *dnsAsker) begin(int) {}

func (d *dnsAsker) put(b []byte, place int) int {
	id := d.window.window[place].id
	d.numbers[uint16(id)] = id
	copy(b, d.query)
	binary.BigEndian.PutUint16(b, uint16(id))
	return len(d.query)
}

func (d *dnsAsker) take(answer []byte, now time.Time) error {
	if len(answer) < len(d.query) || answer[2]&0x80 == 0 {
		return nil
	}
	place, ok := d.window.find(d.numbers[binary.BigEndian.Uint16(answer)])
	if !ok {
		return nil // late
	}
	d.received.Add(1)
	if answer[3]&15 == 0 && binary.BigEndian.Uint16(answer[6:]) > 0 {
		d.window.complete(place, now)
	} else {
		d.window.refuse(place)
	}
	return nil
}

func dnsSocket(h *Host, server netip.AddrPort) (int, error) {
	fd, err := socket(unix.SOCK_DGRAM, netip.AddrPortFrom(h.Address, 0))
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, floodBuffer)
	if err == nil {
		err = unix.Connect(fd, sockaddr(server))
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect %s: %w", server, err)
	}
	return fd, nil
}

// dnsQuery is the query for the address of a name in a family, of number 0.
func dnsQuery(name string, f Family) ([]byte, error) {
	b := []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0} // recursion desired, one question
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 {
			return nil, fmt.Errorf("%q is not a name", name)
		}
		b = append(append(b, byte(len(label))), label...)
	}
	if len(b) > 12+254 {
		return nil, fmt.Errorf("%q is not a name", name)
	}
	kind := byte(dnsA)
	if f == IPv6 {
		kind = dnsAAAA
	}
	return append(b, 0, 0, kind, 0, 1), nil // of IN
}
