package nat

import (
	"fmt"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// RFC 5382, for TCP.

func TestRFC5382REQ1(t *testing.T) {
	eachFamily(t, func(t *testing.T) { independent(t, syn) })
}

// exchange is a connection as both of its ends send it: who begins is the client,
// whose numbers start at 100, and the other end's at 500.
type exchange struct {
	name     string
	segments []segmentOf
	state    string // at the end
}

type segmentOf struct {
	server   bool
	flags    uint8
	seq, ack uint32
	data     int
}

// begun is the opening of a connection.
var begun = []segmentOf{{false, tcpSYN, 100, 0, 0}, {true, tcpSA, 500, 101, 0}, {false, tcpACK, 101, 501, 0}}

func then(first []segmentOf, more ...segmentOf) []segmentOf {
	return append(first[:len(first):len(first)], more...)
}

// validExchanges are the sequences that RFC 9293 clause 3.5 and 3.6 draws, and what a lossy
// network makes of them.
var validExchanges = []exchange{
	{"data both ways", then(begun, segmentOf{false, tcpACK, 101, 501, 500}, segmentOf{true, tcpACK, 501, 601, 300}, segmentOf{false, tcpACK, 601, 801, 0}), "established"},
	{"data in the SYN", []segmentOf{{false, tcpSYN, 100, 0, 20}, {true, tcpSA, 500, 121, 0}, {false, tcpACK, 121, 501, 0}}, "established"},
	{"SYN and answer again", []segmentOf{begun[0], begun[0], begun[1], begun[1], begun[2]}, "established"},
	{"answer lost, SYN again", []segmentOf{begun[0], begun[1], begun[0], begun[1], begun[2]}, "established"},
	{"closed by the client", then(begun, segmentOf{false, tcpFA, 101, 501, 0}, segmentOf{true, tcpACK, 501, 102, 0}, segmentOf{true, tcpFA, 501, 102, 0}, segmentOf{false, tcpACK, 102, 502, 0}), "time-wait"},
	{"closed by the server", then(begun, segmentOf{true, tcpFA, 501, 101, 0}, segmentOf{false, tcpFA, 101, 502, 0}, segmentOf{true, tcpACK, 502, 102, 0}), "time-wait"},
	{"closed by both at once", then(begun, segmentOf{false, tcpFA, 101, 501, 0}, segmentOf{true, tcpFA, 501, 101, 0}, segmentOf{false, tcpACK, 102, 502, 0}, segmentOf{true, tcpACK, 502, 102, 0}), "time-wait"},
	{"half closed, data goes on", then(begun, segmentOf{false, tcpFA, 101, 501, 0}, segmentOf{true, tcpACK, 501, 102, 700}, segmentOf{false, tcpACK, 102, 1201, 0}, segmentOf{true, tcpACK, 1201, 102, 700}), "fin-wait"},
	{"last FIN again", then(begun, segmentOf{false, tcpFA, 101, 501, 0}, segmentOf{true, tcpFA, 501, 102, 0}, segmentOf{false, tcpACK, 102, 502, 0}, segmentOf{true, tcpFA, 501, 102, 0}, segmentOf{false, tcpACK, 102, 502, 0}), "time-wait"},
	{"lost and sent again", then(begun, segmentOf{false, tcpACK, 301, 501, 200}, segmentOf{true, tcpACK, 501, 101, 0}, segmentOf{false, tcpACK, 101, 501, 200}, segmentOf{true, tcpACK, 501, 501, 0}), "established"},
	{"keepalive", then(begun, segmentOf{false, tcpACK, 100, 501, 0}, segmentOf{true, tcpACK, 501, 101, 0}), "established"},
	{"beyond the window that was seen", then(begun, segmentOf{false, tcpACK, 9000, 501, 10}, segmentOf{true, tcpACK, 501, 101, 0}), "established"},
	{"old SYN before it", []segmentOf{begun[0], {true, tcpSA, 500, 91, 0}, {false, tcpRST, 91, 0, 0}, begun[0], begun[1], begun[2]}, "established"},
	{"client has lost it all", then(begun, segmentOf{false, tcpSYN, 9000, 0, 0}, segmentOf{true, tcpACK, 501, 101, 0}, segmentOf{false, tcpRST, 101, 0, 0},
		segmentOf{false, tcpSYN, 9000, 0, 0}, segmentOf{true, tcpSA, 700, 9001, 0}, segmentOf{false, tcpACK, 9001, 701, 0}), "established"},
	{"urgent data", then(begun, segmentOf{false, tcpACK | tcpURG, 101, 501, 1}, segmentOf{true, tcpACK, 501, 102, 0}), "established"},
	{"refused", []segmentOf{begun[0], {true, tcpRA, 0, 101, 0}}, "closed"},
	{"reset by the client", then(begun, segmentOf{false, tcpRST, 101, 0, 0}), "closed"},
	{"reset by the server", then(begun, segmentOf{true, tcpRA, 501, 101, 0}), "closed"},
	{"another one after it", then(begun, segmentOf{true, tcpRA, 501, 101, 0}, segmentOf{false, tcpSYN, 90000, 0, 0}, segmentOf{true, tcpSA, 70000, 90001, 0}, segmentOf{false, tcpACK, 90001, 70001, 0}), "established"},
	{"simultaneous open", []segmentOf{{false, tcpSYN, 100, 0, 0}, {true, tcpSYN, 500, 0, 0}, {false, tcpSA, 100, 501, 0}, {true, tcpSA, 500, 101, 0}}, "established"},
}

// run sends the exchange with the client inside, or outside towards a published
// port, and has every segment come through as it was.
func (e exchange) run(t *testing.T, fromOutside bool) {
	cfg := ZoneConfig{}
	const inside, remote = guestA + ":5000", remoteA + ":80"
	if fromOutside {
		cfg.Publish = []Publish{{Protocol: frame.ProtoTCP, First: 5000, Last: 5000, To: endpointOf(inside)}}
	}
	l := newLab(t, cfg)
	for i, s := range e.segments {
		if inward := s.server != fromOutside; inward {
			l.mustIn(tcp(remote, outsideA+":5000", s.flags, s.seq, s.ack, s.data), inside)
		} else if src := l.mustOut(tcp(inside, remote, s.flags, s.seq, s.ack, s.data)); src != outsideA+":5000" {
			t.Fatalf("segment %d left as %s", i, src)
		}
	}
	if f := l.only(); f.State.String() != e.state {
		t.Errorf("the flow is %v, want %s", f.State, e.state)
	}
}

func TestRFC5382REQ2(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, e := range validExchanges {
			for _, outside := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/from outside %v", e.name, outside), func(t *testing.T) { e.run(t, outside) })
			}
		}
	})
}

// TestRFC5382REQ2a opens from both sides at once, through a mapping that only the
// inside SYN has made. The connection lives as any other.
func TestRFC5382REQ2a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, cfg := range []ZoneConfig{{}, {Filtering: ByEndpoint}, {Symmetric: true}} {
			l := newLab(t, cfg)
			out := l.mustOut(syn(tcpIn, tcpRe))
			l.mustIn(tcp(tcpRe, out, tcpSYN, 500, 0, 0), tcpIn)
			l.mustOut(tcp(tcpIn, tcpRe, tcpSA, 100, 501, 0))
			l.mustIn(tcp(tcpRe, out, tcpSA, 500, 101, 0), tcpIn)
			if f := l.only(); f.State != Established || f.Expires != 7440 {
				t.Errorf("%+v: %v, %d s left", cfg, f.State, f.Expires)
			}
		}
	})
}

func TestRFC5382REQ3(t *testing.T) {
	eachFamily(t, func(t *testing.T) { filtered(t, syn, ZoneConfig{}, Translated, Filtered) })
}

func TestRFC5382REQ3a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		filtered(t, syn, ZoneConfig{Filtering: None}, Translated, Translated)
		filtered(t, syn, ZoneConfig{Filtering: ByEndpoint}, Filtered, Filtered)
	})
}

// TestRFC5382REQ3b has TCP and UDP under the one setting that there is.
func TestRFC5382REQ3b(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		for _, filtering := range []Filtering{ByAddress, ByEndpoint, None} {
			var got [2]Verdict
			for i, one := range []func(src, dst string) packet{udp, syn} {
				l := newLab(t, ZoneConfig{Filtering: filtering})
				got[i], _ = l.in(one(remoteA+":81", l.mustOut(one(guestA+":5000", remoteA+":80"))))
			}
			if got[0] != got[1] {
				t.Errorf("%v: UDP is %v, TCP %v", filtering, got[0], got[1])
			}
		}
	})
}

// TestRFC5382REQ4 has SYNs that nobody asked for: to no mapping, and to one that
// talks to somebody else. They leave no trace, and an outbound SYN of the same
// connection after them opens it.
func TestRFC5382REQ4(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		l.wantIn(tcp(tcpRe, outsideA+":5000", tcpSYN, 500, 0, 0), NotMine)
		if n := len(l.flows()); n != 0 {
			t.Fatalf("%d flows", n)
		}
		l.mustOut(syn(tcpIn, remoteB+":1"))
		l.now++
		l.wantIn(tcp(tcpRe, outsideA+":5000", tcpSYN, 500, 0, 0), Filtered)
		if f := l.only(); f.Packets != 1 || f.Expires != 240 {
			t.Fatalf("the flow of another connection has changed: %+v", f)
		}
		for range 5 {
			l.now++
			l.mustOut(syn(tcpIn, tcpRe))
		}
		l.mustIn(tcp(tcpRe, outsideA+":5000", tcpSA, 500, 101, 0), tcpIn)
		l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 0))
		if n := len(l.flows()); n != 2 {
			t.Errorf("%d flows", n)
		}
	})
}

func TestRFC5382REQ5(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		const least, leastTransitory = 2*3600 + 4*60, 4 * 60
		l.mustOut(syn(tcpIn, tcpRe))
		l.wait(leastTransitory)
		l.mustIn(tcp(tcpRe, tcpOut, tcpSA, 500, 101, 0), tcpIn)
		l.wait(leastTransitory)
		l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 501, 0))
		l.wait(least)
		l.mustIn(tcp(tcpRe, tcpOut, tcpFA, 501, 101, 0), tcpIn)
		l.wait(least) // one side only has closed: still established for the other
		l.mustOut(tcp(tcpIn, tcpRe, tcpFA, 101, 502, 0))
		l.wait(leastTransitory)
		l.mustIn(tcp(tcpRe, tcpOut, tcpACK, 502, 102, 0), tcpIn)
		l.wait(leastTransitory)
		l.mustIn(tcp(tcpRe, tcpOut, tcpACK, 502, 102, 0), tcpIn)
	})
}

func TestRFC5382REQ5a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Timeouts: Timeouts{TCPEstablished: 9000, TCPTransitory: 300}})
		l.mustOut(syn(tcpIn, tcpRe))
		opening := l.only().Expires
		l.tab.Flush(func(*Flow) bool { return true })
		establish(l)
		open := l.only().Expires
		l.tab.Flush(func(*Flow) bool { return true })
		closeBoth(l)
		if closed := l.only().Expires; opening != 300 || open != 9000 || closed != 300 {
			t.Errorf("opening lasts %d s, established %d, closed %d", opening, open, closed)
		}
	})
}

func TestRFC5382REQ6(t *testing.T) {
	eachFamily(t, func(t *testing.T) { payloadKept(t, frame.ProtoTCP) })
}

func TestRFC5382REQ7(t *testing.T) {
	eachFamily(t, func(t *testing.T) { notOverloaded(t, syn) })
}

// talk opens, uses and closes a connection between two guests by their outside
// endpoints, and returns as whom each was seen by the other.
func talk(l *lab, client, server, clientOut, serverOut string) (seenByServer, seenByClient string) {
	l.t.Helper()
	for i, s := range then(begun, segmentOf{false, tcpACK, 101, 501, 500}, segmentOf{true, tcpACK, 501, 601, 500},
		segmentOf{true, tcpFA, 1001, 601, 0}, segmentOf{false, tcpFA, 601, 1002, 0}, segmentOf{true, tcpACK, 1002, 602, 0}) {
		p, to, seen := tcp(client, serverOut, s.flags, s.seq, s.ack, s.data), server, &seenByServer
		if s.server {
			p, to, seen = tcp(server, clientOut, s.flags, s.seq, s.ack, s.data), client, &seenByClient
		}
		src, dst := l.hairpin(p)
		if dst != to || i > 1 && *seen != src {
			l.t.Fatalf("segment %d: %s -> %s, for %s, before from %s", i, src, dst, to, *seen)
		}
		*seen = src
	}
	return seenByServer, seenByClient
}

func TestRFC5382REQ8(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Publish: []Publish{{Protocol: frame.ProtoTCP, First: 8080, Last: 8080, To: endpointOf(guestB + ":80")}}})
		talk(l, guestA+":5000", guestB+":80", outsideA+":5000", outsideA+":8080")
		states := map[State]int{}
		for _, f := range l.flows() {
			states[f.State]++
		}
		if states[TimeWait] != 2 {
			t.Errorf("both halves should have seen it all: %v", l.flows())
		}
	})
}

func TestRFC5382REQ8a(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{Filtering: None})
		l.mustOut(syn("10.1.0.9:5000", remoteA+":80")) // so that the port is not preserved
		a, b := l.mustOut(syn(guestA+":5000", remoteB+":80")), l.mustOut(syn(guestB+":6000", remoteB+":80"))
		if atB, atA := talk(l, guestA+":5000", guestB+":6000", a, b); atB != a || atA != b {
			t.Errorf("they see each other as %s and %s, want %s and %s", atB, atA, a, b)
		}
	})
}

func TestRFC5382REQ9(t *testing.T) {
	eachFamily(t, func(t *testing.T) { unreachable(t, syn) })
}

func TestRFC5382REQ10(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{})
		out := establish(l)
		l.wait(7439)
		anyICMP(l, false, router, outsideA, tcp(out, tcpRe, tcpSYN, 100, 0, 0))
		anyICMP(l, false, remoteA, outsideA, tcp(out, tcpRe, tcpACK, 101, 501, 0))
		anyICMP(l, true, guestA, remoteA, tcp(tcpRe, tcpIn, tcpSA, 500, 101, 0))
		for _, f := range l.flows() {
			if f.Protocol == frame.ProtoTCP && (f.State != Established || f.Expires != 1) {
				t.Errorf("the flow has changed: %+v", f)
			}
		}
		l.mustIn(tcp(tcpRe, out, tcpACK, 501, 101, 1), tcpIn)
		l.mustOut(tcp(tcpIn, tcpRe, tcpACK, 101, 502, 1))
	})
}
