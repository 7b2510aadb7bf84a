package dhcp

import "time"

// What those behind one port can make the server send to all. A broadcast goes to
// every port of the network, past what storm limits and isolation keep from them.
const (
	nakEvery    = time.Second / 50
	nakBurst    = 100
	groupEvery  = time.Second / 1000
	groupBurst  = 1000
	manyBuckets = 1024
)

// bucket is when what was sent so far is paid for.
type bucket time.Duration

// take reports whether one more may be sent.
func (b *bucket) take(now, every time.Duration, burst int) bool {
	paid := max(time.Duration(*b), now)
	if paid-now > every*time.Duration(burst-1) {
		return false
	}
	*b = bucket(paid + every)
	return true
}

// broadcasts is what one port has made the server send to all.
type broadcasts struct {
	naks, others bucket
}

func (e *engine) sentFor(now instant, port string) *broadcasts {
	s := e.sent[port]
	if s != nil {
		return s
	}
	if len(e.sent) >= manyBuckets {
		for p, s := range e.sent {
			if max(time.Duration(s.naks), time.Duration(s.others)) <= now.mono {
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
func (e *engine) mayAnswer(now instant, m *message) bool {
	_, ethernet := m.ethernet()
	unicast := m.relay != 0 || m.client != 0 && !m.isDiscover() || m.flags&broadcastFlag == 0 && ethernet
	return unicast || e.sentFor(now, m.port).others.take(now.mono, groupEvery, groupBurst)
}
