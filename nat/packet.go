package nat

import "github.com/weft/weft/dataplane/frame"

// again is an internal verdict: the flow has come or gone at this moment, look
// once more.
const again = numVerdicts

// maxTries bounds how often a packet looks again.
const maxTries = 4

// hasHeader reports whether the packet has the transport header that its
// protocol needs to be translated.
func hasHeader(p *frame.Parsed) bool {
	return p.Layer >= frame.LayerTransport || classOf(p.Protocol) == ClassOther
}

// pass takes a packet of a flow into account.
func (t *Table) pass(fl *flow, d direction, f *frame.Frame, p *frame.Parsed, now uint32) Verdict {
	z := t.zone(fl.zone)
	if z == nil {
		return NotMine
	}
	timeouts := &z.rules.Load().timeouts
	if fl.protocol == frame.ProtoTCP {
		return t.passTCP(fl, d, f, p, now, timeouts)
	}
	if seen := uint32(flagSeen << d); fl.track.state.Load()&seen == 0 {
		fl.track.state.Or(seen)
	}
	fl.extend(now, timeouts[timerOf(fl.protocol)])
	fl.count(p)
	return Translated
}

func (t *Table) passTCP(fl *flow, d direction, f *frame.Frame, p *frame.Parsed, now uint32, timeouts *[numTimers]uint32) Verdict {
	var s segment
	s.read(f, p)
	if !s.plausible() {
		return Invalid
	}
	switch fl.track.follow(d, &s) {
	case rejected:
		return Invalid
	case reopens:
		if !t.reopen(fl, d, &s) {
			return again
		}
		fl.extend(now, timeouts[timerTransitory])
	case ending:
		fl.extend(now, timeouts[timerTransitory])
		t.noteOver(fl)
	case active:
		fl.extend(now, timeouts[tcpTimer(fl.track.state.Load())])
	}
	fl.count(p)
	return Translated
}

// reopen begins a flow anew that is over. It returns false where the flow had to
// go instead, because its mapping may get no new ones.
func (t *Table) reopen(fl *flow, d direction, s *segment) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m := fl.mapping; fl.expires.Load() == 0 || m != nil && (m.retired || !t.usable(m)) {
		t.drop(fl)
		return false
	}
	if fl.track.over() {
		fl.track.begin(d, s)
		fl.packets.Store(0)
		fl.bytes.Store(0)
		fl.host.zone.stats[ClassTCP].Made++
	}
	return true
}

// timerOf returns the timer of a protocol other than TCP.
func timerOf(protocol uint8) timer {
	switch protocol {
	case frame.ProtoUDP:
		return timerUDP
	case frame.ProtoICMP, frame.ProtoICMPv6:
		return timerICMP
	}
	return timerOther
}
