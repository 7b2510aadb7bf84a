package bench

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// dhcpAgain is after how long a client sends its message again.
const dhcpAgain = 2 * time.Second

// dhcpClients says whom a DHCP load stands for.
type dhcpClients struct {
	Interface string // of the host, which leads to the server
	Number    int    // of clients, who take turns
	First     int    // number of the first: runs with others have other clients
	Names     bool   // each client says what it is called: c and its number
}

// dhcpLoad has clients of a host get leases as fast as the server gives them, in
// the family of the host: DISCOVER, OFFER, REQUEST and ACK are one exchange, and
// SOLICIT, ADVERTISE, REQUEST and REPLY. The clients have MAC addresses of their
// own, in chaddr and as the sources of their frames, or in their DUID, and none of
// the addresses that they get is used. A refusal is a NAK, or a REPLY without a
// lease.
//
// Those of IPv6 all speak from the host's link-local address. One each would cost a
// server that the kernel sends for a neighbour to be found for each client, and
// dnsmasq 0.1 s for that, which it has for free with real clients, who have asked
// for a router before.
func dhcpLoad(ctx context.Context, h *Host, clients dhcpClients, load serviceLoad) (served, error) {
	switch {
	case load.Window < 1 || load.Count <= 0 && load.Duration <= 0:
		return served{}, fmt.Errorf("DHCP load: a window of %d, %d exchanges, %v", load.Window, load.Count, load.Duration)
	case clients.Number < load.Window:
		return served{}, fmt.Errorf("DHCP load: %d clients for a window of %d", clients.Number, load.Window)
	}
	f := h.family()
	d := &dhcpAsker{wire: &dhcpWires[f], clients: clients, offers: make([]dhcpOffer, load.Window), given: map[netip.Addr]struct{}{}}
	got, err := d.ask(ctx, h, d, func() (fd int, err error) {
		fd, d.to, err = d.wire.open(h, clients.Interface)
		return fd, err
	}, load, dhcpAgain, dhcpFrame)
	if err != nil {
		return served{}, fmt.Errorf("DHCP load: %w", err)
	}
	got.Addresses = len(d.given)
	return got, nil
}

// dhcpWire is what the messages of a family look like. Their kinds are those of
// IPv4, which IPv6 has others for.
type dhcpWire struct {
	// open returns a socket that sees what is sent to clients, and where it sends
	// to, if that is not in what it sends.
	open  func(h *Host, name string) (fd int, to netip.AddrPort, err error)
	put   func(b []byte, id uint32, o *dhcpOffer, named bool) int
	parse func(b []byte) (dhcpAnswer, bool)
}

var dhcpWires = [...]dhcpWire{
	IPv4: {openDHCP4, putDHCP4, parseDHCP4},
	IPv6: {openDHCP6, putDHCP6, parseDHCP6},
}

// dhcpAsker is a running load.
type dhcpAsker struct {
	asker
	wire    *dhcpWire
	clients dhcpClients
	next    int // number of the client whose turn it is, from 0
	offers  []dhcpOffer
	given   map[netip.Addr]struct{}
}

// dhcpOffer is what the client at a place of the window knows.
type dhcpOffer struct {
	client   uint32
	requests bool // the OFFER has come
	address  netip.Addr
	server   []byte // its identifier
}

// dhcpAnswer is what a server says.
type dhcpAnswer struct {
	id, client uint32
	kind       byte
	address    netip.Addr
	server     []byte // a part of what was received
}

func (d *dhcpAsker) begin(place int) {
	o := &d.offers[place]
	*o = dhcpOffer{client: uint32(d.clients.First + d.next), server: o.server[:0]}
	d.next = (d.next + 1) % d.clients.Number
}

func (d *dhcpAsker) put(b []byte, place int) int {
	return d.wire.put(b, d.window.window[place].id, &d.offers[place], d.clients.Names)
}

func (d *dhcpAsker) take(b []byte, now time.Time) error {
	answer, ok := d.wire.parse(b)
	if !ok {
		return nil
	}
	place, ok := d.window.find(answer.id)
	if !ok || d.offers[place].client != answer.client {
		return nil // late, or not ours
	}
	d.received.Add(1)
	offer := &d.offers[place]
	switch {
	case answer.kind == dhcpOfferKind && !offer.requests:
		offer.requests, offer.address = true, answer.address
		offer.server = append(offer.server[:0], answer.server...)
		d.window.follow(place, now)
		return d.send(place)
	case answer.kind == dhcpAckKind && offer.requests && answer.address == offer.address:
		d.given[answer.address] = struct{}{}
		d.window.complete(place, now)
	case answer.kind == dhcpNakKind:
		d.window.refuse(place)
	}
	return nil
}
