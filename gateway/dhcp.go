package gateway

import (
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
)

// gatherTime is how long messages are gathered after a batch, so that at most 200
// times a second something is written to disk. The first of a pause waits for
// nobody.
const gatherTime = 5 * time.Millisecond

// dhcpBatch is how many messages a DHCP server gets at once, at the most: what
// they change is written to disk together.
const dhcpBatch = 256

// Ports of the servers (RFC 2131 clause 4.1, RFC 8415 clause 7.2).
const (
	dhcpPort  = 67
	dhcp6Port = 547
)

// lessor is a DHCP server of either family, which takes requests R.
type lessor[R any] interface {
	Receive([]R)
	Tick() time.Time
}

// office is where messages for a lessor arrive.
type office[R any] struct {
	inbox   *dataplane.Inbox
	lessor  func() lessor[R] // who is there now, nil where nobody is
	wake    <-chan struct{}  // somebody else is there
	request func(*dataplane.Message, datagram) (R, bool)
}

// serveDHCP gives the DHCP server its messages, and wakes it when it asks for it.
func (g *Gateway) serveDHCP() {
	o := office[dhcp.Request]{inbox: g.seat.Inbox(dataplane.DHCP), wake: g.wake}
	o.lessor = func() lessor[dhcp.Request] {
		if s := g.dhcp.Load(); s != nil {
			return s
		}
		return nil
	}
	o.request = func(m *dataplane.Message, d datagram) (dhcp.Request, bool) {
		return dhcp.Request{
			Port: m.Port(), VLAN: m.VLAN, MAC: d.mac, Src: d.src.Addr(), Dst: d.dst.Addr(), Payload: d.payload,
		}, d.src.Addr().Is4()
	}
	o.serve(g.stop)
}

// serveDHCP6 does so for the DHCPv6 server, which nobody reaches but the stations of the
// link.
func (g *Gateway) serveDHCP6() {
	o := office[dhcp6.Request]{inbox: g.seat.Inbox(dataplane.DHCPv6), wake: g.wake6}
	o.lessor = func() lessor[dhcp6.Request] {
		if s := g.dhcp6.Load(); s != nil {
			return s
		}
		return nil
	}
	o.request = func(m *dataplane.Message, d datagram) (dhcp6.Request, bool) {
		src := d.src.Addr()
		return dhcp6.Request{
			Port: m.Port(), VLAN: m.VLAN, MAC: d.mac, Src: src, Multicast: d.dst.Addr().IsMulticast(), Payload: d.payload,
		}, src.Is6() && g.own.reach(src)
	}
	o.serve(g.stop)
}

// serve goes on until stop is closed.
func (o *office[R]) serve(stop <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // when a batch was done
	for {
		var first *dataplane.Message
		select {
		case first = <-o.inbox.Messages():
		case <-timer.C:
		case <-o.wake:
		case <-stop:
			return
		}
		s := o.lessor()
		if first != nil {
			if wait := gatherTime - time.Since(last); wait > 0 {
				time.Sleep(wait) // too short for anybody who stops the gateway to notice
			}
			o.receive(s, first)
			last = time.Now()
		}
		if s != nil {
			timer.Reset(max(time.Until(s.Tick()), time.Millisecond))
		}
	}
}

// receive hands all messages that wait to the server at once.
func (o *office[R]) receive(s lessor[R], m *dataplane.Message) {
	messages := make([]*dataplane.Message, 0, dhcpBatch)
	requests := make([]R, 0, dhcpBatch)
	for ; m != nil; m = o.inbox.Poll() {
		messages = append(messages, m)
		if d, ok := datagramOf(&m.Frame); ok {
			if r, ok := o.request(m, d); ok {
				requests = append(requests, r)
			}
		}
		if len(messages) == dhcpBatch {
			break
		}
	}
	if s != nil {
		s.Receive(requests)
	}
	for _, m := range messages {
		o.inbox.Done(m)
	}
}

// SendDHCP sends what the DHCP server answers.
func (g *Gateway) SendDHCP(replies []dhcp.Reply) {
	frames := make([]*frame.Frame, len(replies))
	for i, r := range replies {
		frames[i] = g.reply(r.MAC, dhcpPort, r.Dst, r.Payload)
	}
	g.send(frames...)
}

// SendDHCP6 sends what the DHCPv6 server answers.
func (g *Gateway) SendDHCP6(replies []dhcp6.Reply) {
	frames := make([]*frame.Frame, len(replies))
	for i, r := range replies {
		frames[i] = g.reply(r.MAC, dhcp6Port, r.Dst, r.Payload)
	}
	g.send(frames...)
}

// reply makes the frame of a server's datagram, from whatever address of the gateway's
// fits the destination.
func (g *Gateway) reply(to frame.MAC, port uint16, dst netip.AddrPort, payload []byte) *frame.Frame {
	return g.udpFrame(to, netip.AddrPortFrom(g.own.toward(dst.Addr()), port), dst, payload)
}
