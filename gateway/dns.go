package gateway

import (
	"net/netip"
	"sync"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dns"
)

const dnsPort = 53

// serveDNS gives the resolver the queries that come by UDP. Answers that are at
// hand leave together once no more queries wait.
func (g *Gateway) serveDNS() {
	inbox := g.seat.Inbox(dataplane.DNS)
	var out answers
	for m := g.next(inbox); m != nil; m = g.next(inbox) {
		r := g.dns.Load()
		out.hold()
		for n := 1; m != nil; n++ {
			if d, ok := datagramOf(&m.Frame); ok && r != nil && g.mayAsk(d.src.Addr()) {
				g.answer(r, m.Port(), d, &out)
			}
			inbox.Done(m)
			if n == cap(out.frames) {
				break
			}
			m = inbox.Poll()
		}
		g.send(out.release()...)
	}
}

func (g *Gateway) answer(r *dns.Resolver, port string, d datagram, out *answers) {
	mac, from, to := d.mac, d.dst, d.src
	r.Answer(d.payload, dns.Client{Port: port}, func(reply []byte) {
		if len(reply) > g.cfg.MTU-headersLen(to.Addr()) {
			return // not while the resolver knows the MTU: see dns.Config.Payload
		}
		if f := g.udpFrame(mac, from, to, reply); !out.add(f) {
			g.send(f)
		}
	})
}

// mayAsk reports whether queries from an address are answered. Of IPv6 those of the link
// are; of IPv4 also what is behind routers of the network, as ever.
func (g *Gateway) mayAsk(a netip.Addr) bool { return a.Is4() || g.own.reach(a) }

// answers gathers what is answered while queries are taken from the inbox; what
// comes later, from a goroutine of the resolver's, is sent by that.
type answers struct {
	mu     sync.Mutex
	held   bool
	frames []*frame.Frame
}

const answersLen = 64

func (a *answers) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = true
	if a.frames == nil {
		a.frames = make([]*frame.Frame, 0, answersLen)
	}
	a.frames = a.frames[:0]
}

// add reports whether the frame will be sent with the others.
func (a *answers) add(f *frame.Frame) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.held || len(a.frames) == cap(a.frames) {
		return false
	}
	a.frames = append(a.frames, f)
	return true
}

func (a *answers) release() []*frame.Frame {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = false
	return a.frames
}
