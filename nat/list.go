package nat

import "github.com/weft/weft/dataplane/frame"

// Flow is one line of the table, for people to read.
type Flow struct {
	Zone     Zone
	Protocol uint8
	State    State
	// Inside is translated to Outside towards Remote, and back.
	Inside, Outside, Remote Endpoint
	FromOutside             bool   // Remote sent the first packet
	Packets, Bytes          uint64 // both ways; bytes of IP packets
	Expires                 uint32 // seconds left without another packet
}

// Flows calls yield with every flow, until it returns false. It holds no lock
// meanwhile: each entry is consistent, the list is not.
func (t *Table) Flows(yield func(Flow) bool) {
	now, more := t.clock.Load(), true
	for i := range t.out.shards {
		t.out.shardEntries(&t.out.shards[i], func(f *flow) {
			if more && f.alive(now) {
				more = yield(f.line(now))
			}
		})
		if !more {
			return
		}
	}
}

// line returns the flow as people read it.
func (f *flow) line(now uint32) Flow {
	state := f.track.state.Load()
	l := Flow{
		Zone: f.zone, Protocol: f.protocol,
		Inside: f.inside, Outside: f.outside, Remote: f.remote,
		FromOutside: state&flagInward != 0,
		Packets:     f.packets.Load(), Bytes: f.bytes.Load(),
		Expires: f.expires.Load() - now,
	}
	if isICMP(f.protocol) {
		l.Remote.Port = 0 // askedOutside is the table's own
	}
	switch {
	case f.protocol == frame.ProtoTCP:
		l.State = tcpState(state)
	case state&(flagSeen*bothSides) == flagSeen*bothSides:
		l.State = Replied
	default:
		l.State = Unreplied
	}
	return l
}

// Flush ends the flows that match, and returns their number.
func (t *Table) Flush(match func(*Flow) bool) int {
	now := t.clock.Load()
	return t.sweep(func(f *flow) bool {
		if !f.alive(now) {
			return false
		}
		l := f.line(now)
		return match(&l)
	})
}
