package nat

import (
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// Both sides of the TCP tests.
const (
	tcpIn  = guestA + ":5000"
	tcpOut = outsideA + ":5000"
	tcpRe  = remoteA + ":80"
)

// step is one segment, what becomes of it, and what the flow is then. The state
// "" is that no flow is there.
type step struct {
	in       bool // from outside
	flags    uint8
	seq, ack uint32
	data     int
	verdict  Verdict
	state    string
}

const (
	tcpSA = tcpSYN | tcpACK
	tcpFA = tcpFIN | tcpACK
	tcpRA = tcpRST | tcpACK
)

// The opening of a connection whose sides begin at 100 and 500.
var opening3 = []step{
	{false, tcpSYN, 100, 0, 0, Translated, "syn-sent"},
	{true, tcpSA, 500, 101, 0, Translated, "syn-received"},
	{false, tcpACK, 101, 501, 0, Translated, "established"},
}

func after(first []step, then ...step) []step { return append(first[:len(first):len(first)], then...) }

// TestTCP is the state machine. Windows are 1000 bytes, without a scale.
func TestTCP(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		closed := after(opening3,
			step{false, tcpFA, 101, 501, 0, Translated, "fin-wait"},
			step{true, tcpACK, 501, 102, 0, Translated, "fin-wait"},
			step{true, tcpFA, 501, 102, 0, Translated, "fin-wait"},
			step{false, tcpACK, 102, 502, 0, Translated, "time-wait"})
		resets := after(opening3, step{true, tcpRST, 501, 0, 0, Translated, "closed"})
		for name, steps := range map[string][]step{
			"data": after(opening3,
				step{false, tcpACK, 101, 501, 700, Translated, "established"},
				step{true, tcpACK, 501, 801, 900, Translated, "established"},
				step{false, tcpACK, 801, 1401, 0, Translated, "established"}),
			"closed by both":                   closed,
			"retransmission in time-wait":      after(closed, step{true, tcpFA, 501, 102, 0, Translated, "time-wait"}),
			"SYN on time-wait":                 after(closed, step{false, tcpSYN, 7000, 0, 0, Translated, "syn-sent"}, step{true, tcpSA, 9000, 7001, 0, Translated, "syn-received"}),
			"SYN on time-wait from outside":    after(closed, step{true, tcpSYN, 7000, 0, 0, Translated, "syn-sent"}, step{false, tcpSA, 9000, 7001, 0, Translated, "syn-received"}),
			"SYN with FIN on time-wait":        after(closed, step{false, tcpSYN | tcpFIN, 7000, 0, 0, Invalid, "time-wait"}),
			"SYN on established":               after(opening3, step{true, tcpSYN, 501, 0, 0, Translated, "established"}, step{false, tcpSYN, 4000, 0, 0, Translated, "established"}),
			"SYN on half closed":               after(opening3, step{true, tcpFA, 501, 101, 0, Translated, "fin-wait"}, step{false, tcpSYN, 4000, 0, 0, Translated, "fin-wait"}),
			"simultaneous close":               after(opening3, step{false, tcpFA, 101, 501, 0, Translated, "fin-wait"}, step{true, tcpFA, 501, 101, 0, Translated, "fin-wait"}, step{false, tcpACK, 102, 502, 0, Translated, "fin-wait"}, step{true, tcpACK, 502, 102, 0, Translated, "time-wait"}),
			"half close goes on":               after(opening3, step{false, tcpFA, 101, 501, 0, Translated, "fin-wait"}, step{true, tcpACK, 501, 102, 900, Translated, "fin-wait"}, step{false, tcpACK, 102, 1401, 0, Translated, "fin-wait"}, step{true, tcpFA, 1401, 102, 0, Translated, "fin-wait"}, step{false, tcpACK, 102, 1402, 0, Translated, "time-wait"}),
			"FIN out of window":                after(opening3, step{true, tcpFA, 100000, 101, 0, Translated, "established"}),
			"FIN acknowledged by a stray":      after(opening3, step{false, tcpFA, 101, 501, 0, Translated, "fin-wait"}, step{true, tcpFA, 501, 101, 0, Translated, "fin-wait"}, step{true, tcpACK, 502, 103, 0, Translated, "fin-wait"}),
			"reset":                            resets,
			"reset by the inside":              after(opening3, step{false, tcpRST, 101, 0, 0, Translated, "closed"}),
			"reset after the window":           after(opening3, step{true, tcpRST, 501 + 1001, 0, 0, Invalid, "established"}),
			"reset within the window":          after(opening3, step{true, tcpRST, 501 + 1000, 0, 0, Translated, "established"}),
			"reset before the window":          after(opening3, step{true, tcpRST, 1<<32 + 501 - 65536, 0, 0, Invalid, "established"}),
			"reset of the inside, forged":      after(opening3, step{false, tcpRST, 101 + 2000, 0, 0, Invalid, "established"}),
			"SYN on closed":                    after(resets, step{false, tcpSYN, 7000, 0, 0, Translated, "syn-sent"}),
			"data of the receiver of a reset":  after(resets, step{false, tcpACK, 101, 501, 10, Translated, "closed"}),
			"data of the sender of a reset":    after(resets, step{true, tcpACK, 501, 101, 10, Translated, "established"}),
			"data out of window after a reset": after(resets, step{true, tcpACK, 90000, 101, 10, Translated, "closed"}),
			"refused":                          {opening3[0], {true, tcpRA, 0, 101, 0, Translated, "closed"}},
			"refused, forged":                  {opening3[0], {true, tcpRA, 0, 102, 0, Invalid, "syn-sent"}, {true, tcpRST, 101, 0, 0, Invalid, "syn-sent"}},
			"refused, retried":                 {opening3[0], {true, tcpRA, 0, 101, 0, Translated, "closed"}, {false, tcpSYN, 900, 0, 0, Translated, "syn-sent"}, {true, tcpSA, 1, 901, 0, Translated, "syn-received"}},
			"SYN again":                        {opening3[0], opening3[0], opening3[1], opening3[1], opening3[2]},
			"SYN with another number":          {opening3[0], {false, tcpSYN, 3000, 0, 0, Translated, "syn-sent"}, {true, tcpSA, 500, 3001, 0, Translated, "syn-received"}},
			"SYN-ACK of something else":        {opening3[0], {true, tcpSA, 500, 102, 0, Translated, "syn-sent"}, {true, tcpSA, 500, 4000000, 0, Translated, "syn-sent"}},
			"old connection on the other side": {opening3[0], {true, tcpACK, 300, 7, 0, Translated, "syn-sent"}, {false, tcpRST, 7, 0, 0, Translated, "syn-sent"}, opening3[0], opening3[1]},
			"given up before the answer":       {opening3[0], {false, tcpRST, 101, 0, 0, Translated, "closed"}},
			"simultaneous open": {opening3[0], {true, tcpSYN, 500, 0, 0, Translated, "syn-received"},
				{false, tcpSA, 100, 501, 0, Translated, "syn-received"}, {true, tcpSA, 500, 101, 0, Translated, "established"}},
			"simultaneous open, plain ACKs": {opening3[0], {true, tcpSYN, 500, 0, 0, Translated, "syn-received"},
				{false, tcpACK, 101, 501, 0, Translated, "syn-received"}, {true, tcpACK, 501, 101, 0, Translated, "established"}},
			"picked up from inside":     {{false, tcpACK, 101, 501, 5, Translated, "new"}, {false, tcpACK, 106, 501, 5, Translated, "new"}, {true, tcpACK, 501, 111, 5, Translated, "established"}},
			"picked up by the end":      {{false, tcpFA, 101, 501, 0, Translated, "fin-wait"}, {true, tcpFA, 501, 102, 0, Translated, "fin-wait"}, {false, tcpACK, 102, 502, 0, Translated, "time-wait"}},
			"picked up, reset":          {{false, tcpACK, 101, 501, 5, Translated, "new"}, {true, tcpRST, 501, 0, 0, Translated, "closed"}},
			"picked up, reset far away": {{false, tcpACK, 101, 501, 5, Translated, "new"}, {true, tcpRST, 501 + 1<<21, 0, 0, Invalid, "new"}},
			"picked up, SYN":            {{false, tcpACK, 101, 501, 5, Translated, "new"}, {false, tcpSYN, 5, 0, 0, Translated, "new"}},
			"picked up at an answer":    {{false, tcpSA, 100, 501, 0, Translated, "new"}, {true, tcpACK, 501, 101, 0, Translated, "established"}},
			"reset without a flow":      {{false, tcpRST, 1, 0, 0, Invalid, ""}, {true, tcpRST, 1, 0, 0, NotMine, ""}},
			"no flags":                  {{false, 0, 1, 0, 0, Invalid, ""}},
			"all flags":                 {{false, 0x3f, 1, 0, 0, Invalid, ""}},
			"SYN and RST":               {{false, tcpSYN | tcpRST, 1, 0, 0, Invalid, ""}},
			"SYN and FIN":               {{false, tcpSYN | tcpFIN, 1, 0, 0, Invalid, ""}},
			"FIN and RST":               {{false, tcpFIN | tcpRST, 1, 0, 0, Invalid, ""}},
			"FIN alone":                 {{false, tcpFIN, 1, 0, 0, Invalid, ""}},
			"URG alone":                 after(opening3, step{false, tcpURG, 101, 0, 0, Invalid, "established"}),
			"SYN and URG":               {{false, tcpSYN | tcpURG, 1, 0, 0, Translated, "syn-sent"}},
			"no flags on established":   after(opening3, step{true, 0, 501, 101, 5, Invalid, "established"}),
		} {
			t.Run(name, func(t *testing.T) {
				l := newLab(t, ZoneConfig{})
				for i, s := range steps {
					l.take(s, fmt.Sprintf("step %d", i))
				}
			})
		}
	})
}

// take sends one segment.
func (l *lab) take(s step, what string) {
	l.t.Helper()
	v := Translated
	if s.in {
		v, _ = l.in(tcp(tcpRe, tcpOut, s.flags, s.seq, s.ack, s.data))
	} else {
		v, _ = l.out(tcp(tcpIn, tcpRe, s.flags, s.seq, s.ack, s.data))
	}
	state := ""
	for _, f := range l.flows() {
		state = f.State.String()
	}
	if v != s.verdict || state != s.state {
		l.t.Errorf("%s %+v: %v and %q, want %v and %q", what, s, v, state, s.verdict, s.state)
	}
}

// TestTCPTimerOnlyInWindow has data out of window change neither state nor timer.
func TestTCPTimerOnlyInWindow(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			s         step
			refreshes bool
		}{
			"in window":              {step{in: true, flags: tcpACK, seq: 501, ack: 101, data: 10}, true},
			"in window, outward":     {step{flags: tcpACK, seq: 101, ack: 501, data: 10}, true},
			"keepalive":              {step{in: true, flags: tcpACK, seq: 500, ack: 101}, true},
			"beyond the window":      {step{in: true, flags: tcpACK, seq: 1502, ack: 101, data: 10}, false},
			"long ago":               {step{in: true, flags: tcpACK, seq: 1<<32 + 501 - 65600, ack: 101, data: 10}, false},
			"acknowledges too much":  {step{in: true, flags: tcpACK, seq: 501, ack: 102, data: 10}, false},
			"acknowledges too early": {step{in: true, flags: tcpACK, seq: 501, ack: 1<<32 + 101 - 65600, data: 10}, false},
			"SYN":                    {step{in: true, flags: tcpSYN, seq: 501}, false},
		} {
			l := newLab(t, ZoneConfig{})
			establish(l)
			l.now += 1000
			tt.s.verdict, tt.s.state = Translated, "established"
			l.take(tt.s, name)
			want := uint32(6440)
			if tt.refreshes {
				want = 7440
			}
			l.tab.tick(l.now)
			if left := l.only().Expires; left != want {
				t.Errorf("%s: %d seconds are left, want %d", name, left, want)
			}
		}
	})
}

// TestTCPWindowScale has windows count as scaled where both SYNs say so (RFC
// 7323 clause 2.2), and SYNs' own as they stand.
func TestTCPWindowScale(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, tt := range []struct {
			inside, outside int
			room            uint32 // of the inside, after its first ACK
		}{{-1, -1, 1000}, {3, -1, 1000}, {-1, 3, 1000}, {3, 5, 8000}, {0, 0, 1000}, {14, 2, 1000 << 14}, {15, 2, 1000 << 14}} {
			for late := range uint32(2) {
				l := newLab(t, ZoneConfig{})
				p := tcp(tcpIn, tcpRe, tcpSYN, 100, 0, 0)
				p.scale = tt.inside
				l.mustOut(p)
				p = tcp(tcpRe, tcpOut, tcpSA, 500, 101, 0)
				p.scale = tt.outside
				l.mustIn(p, tcpIn)
				l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 0))
				want := Translated
				if late > 0 {
					want = Invalid
				}
				if v, _ := l.in(tcp(tcpRe, tcpOut, tcpRST, 501+tt.room+late, 0, 0)); v != want {
					t.Errorf("scales %d and %d: %v", tt.inside, tt.outside, v)
				}
			}
		}
	})
}

// TestTCPWrap opens a connection whose numbers pass through zero.
func TestTCPWrap(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		const start = 0xffffff00
		l.mustOut(tcp(tcpIn, tcpRe, tcpSYN, start, 0, 0))
		l.mustIn(tcp(tcpRe, tcpOut, tcpSA, start, start+1, 0), tcpIn)
		l.mustOut(tcp(tcpIn, tcpRe, tcpACK, start+1, start+1, 0))
		seq := uint32(start + 1)
		for range 3 {
			l.now += 100
			l.mustOut(tcp(tcpIn, tcpRe, tcpACK, seq, start+1, 900))
			seq += 900
			l.mustIn(tcp(tcpRe, tcpOut, tcpACK, start+1, seq, 0), tcpIn)
		}
		l.tab.tick(l.now)
		if f := l.only(); f.State != Established || f.Expires != 7440 || f.Packets != 9 {
			t.Errorf("%+v", f)
		}
		l.wantIn(tcp(tcpRe, tcpOut, tcpRST, start-70000, 0, 0), Invalid)
	})
}

// TestTCPSuper takes the length of a super-frame from its packet.
func TestTCPSuper(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.mustOut(tcp(tcpIn, tcpRe, tcpSYN, 100, 0, 0))
		p := tcp(tcpRe, tcpOut, tcpSA, 500, 101, 0)
		p.window = 60000
		l.mustIn(p, tcpIn)
		l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 50000))
		l.now += 100
		l.mustIn(tcp(tcpRe, tcpOut, tcpACK, 501, 50101, 0), tcpIn)
		l.tab.tick(l.now)
		if f := l.only(); f.Expires != 7440 || f.Bytes != uint64(4*(20+headerLen(map[bool][]byte{true: {0x60}, false: {0x45}}[l.six]))+50000) {
			t.Errorf("%+v", f)
		}
	})
}

// TestSegmentOptions reads options that are cut short, or lie about their length.
func TestSegmentOptions(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for name, tt := range map[string]struct {
			options []byte
			scale   int
		}{
			"none": {nil, -1}, "alone": {[]byte{3, 3, 7, 0}, 7}, "after others": {[]byte{2, 4, 5, 0xb4, 1, 3, 3, 2}, 2},
			"too large": {[]byte{3, 3, 200, 0}, 14}, "behind the end": {[]byte{0, 3, 3, 7}, -1},
			"wrong length": {[]byte{3, 2, 7, 0}, -1}, "length 0": {[]byte{9, 0, 3, 3}, -1}, "length 1": {[]byte{9, 1, 3, 3}, -1},
			"cut short": {[]byte{1, 1, 3, 3}, -1}, "cut after its kind": {[]byte{1, 1, 1, 3}, -1},
			"longer than the header": {[]byte{9, 90, 3, 3}, -1},
		} {
			w := wire{protocol: frame.ProtoTCP, head: append([]byte{tcpSYN}, tt.options...)}
			f, p := w.frame()
			var s segment
			s.read(f, p)
			if s.hasScale != (tt.scale >= 0) || s.hasScale && int(s.scale) != tt.scale {
				t.Errorf("%s: %v %d", name, s.hasScale, s.scale)
			}
		}
	})
}
