package gateway

import (
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
)

// gatherTime is how long messages are gathered after a batch, so that at most 200
// times a second something is written to disk. The first of a pause waits for
// nobody.
const gatherTime = 5 * time.Millisecond

// dhcpBatch is how many messages the DHCP server gets at once, at the most: what
// they change is written to disk together.
const dhcpBatch = 256

// serveDHCP gives the DHCP server its messages, and wakes it when it asks for it.
func (g *Gateway) serveDHCP() {
	defer g.loops.Done()
	inbox := g.seat.Inbox(dataplane.DHCP)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // when a batch was done
	for {
		var first *dataplane.Message
		select {
		case first = <-inbox.Messages():
		case <-timer.C:
		case <-g.wake:
		case <-g.stop:
			return
		}
		s := g.dhcp.Load()
		if first != nil {
			if wait := gatherTime - time.Since(last); wait > 0 {
				time.Sleep(wait) // too short for anybody who stops the gateway to notice
			}
			g.receiveDHCP(s, inbox, first)
			last = time.Now()
		}
		if s != nil {
			timer.Reset(max(time.Until(s.Tick()), time.Millisecond))
		}
	}
}

// receiveDHCP hands all messages that wait to the server at once.
func (g *Gateway) receiveDHCP(s *dhcp.Server, inbox *dataplane.Inbox, m *dataplane.Message) {
	messages := make([]*dataplane.Message, 0, dhcpBatch)
	requests := make([]dhcp.Request, 0, dhcpBatch)
	for ; m != nil; m = inbox.Poll() {
		messages = append(messages, m)
		if d, ok := datagramOf(&m.Frame); ok {
			requests = append(requests, dhcp.Request{
				Port: m.Port(), VLAN: m.VLAN, MAC: d.mac, Src: d.src.Addr(), Dst: d.dst.Addr(), Payload: d.payload,
			})
		}
		if len(messages) == dhcpBatch {
			break
		}
	}
	if s != nil {
		s.Receive(requests)
	}
	for _, m := range messages {
		inbox.Done(m)
	}
}

// SendDHCP sends what the DHCP server answers.
func (g *Gateway) SendDHCP(replies []dhcp.Reply) {
	const serverPort = 67
	frames := make([]*frame.Frame, len(replies))
	for i, r := range replies {
		frames[i] = g.udpFrame(r.MAC, serverPort, r.Dst, r.Payload)
	}
	g.send(frames...)
}
