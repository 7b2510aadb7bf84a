package dhcp

import (
	"time"

	"github.com/weft/weft/dhcp/lease"
)

// What those behind one port can make the server send to all. A broadcast goes to
// every port of the network, past what storm limits and isolation keep from them.
const (
	nakEvery    = time.Second / 50
	nakBurst    = 100
	groupEvery  = time.Second / 1000
	groupBurst  = 1000
	manyBuckets = 1024
)

// broadcasts is what one port has made the server send to all.
type broadcasts struct {
	naks, others lease.Bucket
}

func (e *engine) sentFor(now lease.Instant, port string) *broadcasts {
	s := e.sent[port]
	if s != nil {
		return s
	}
	if len(e.sent) >= manyBuckets {
		for p, s := range e.sent {
			if max(time.Duration(s.naks), time.Duration(s.others)) <= now.Mono {
				delete(e.sent, p)
			}
		}
	}
	s = &broadcasts{}
	e.sent[port] = s
	return s
}

// mayAnswer reports whether the OFFER or ACK to a message may be sent: one to all
// is limited, and few clients need it.
func (e *engine) mayAnswer(now lease.Instant, m *message) bool {
	_, ethernet := m.ethernet()
	unicast := m.relay != 0 || m.client != 0 && !m.isDiscover() || m.flags&broadcastFlag == 0 && ethernet
	return unicast || e.sentFor(now, m.port).others.Take(now.Mono, groupEvery, groupBurst)
}
