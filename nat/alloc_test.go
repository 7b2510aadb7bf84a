package nat

import (
	"reflect"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

// TestNoAllocations of established flows in both directions, of what is
// refused, and of what is not the table's.
func TestNoAllocations(t *testing.T) {
	eachFamily(t, func(t *testing.T) {
		l := newLab(t, ZoneConfig{MaxPerHost: 6})
		establish(l)
		l.mustOut(udp(guestA+":6000", remoteA+":80"))
		l.mustOut(echo(guestA+":7000", remoteA))
		l.mustOut(packet{protocol: protoGRE, src: guestA, dst: remoteA})
		l.mustOut(udp(guestA+":6001", remoteA+":80"))
		l.mustOut(udp(guestA+":6002", remoteA+":80"))
		reply := packet{protocol: frame.ProtoICMP, kind: icmpEchoReply, src: remoteA, dst: outsideA + ":7000", data: 9}
		for name, tt := range map[string]struct {
			p       packet
			inbound bool
			want    Verdict
		}{
			"tcp out":     {tcp(tcpIn, tcpRe, tcpACK, 101, 501, 10), false, Translated},
			"tcp in":      {tcp(tcpRe, tcpOut, tcpACK, 501, 101, 10), true, Translated},
			"udp out":     {udp(guestA+":6000", remoteA+":80"), false, Translated},
			"udp in":      {udp(remoteA+":80", outsideA+":6000"), true, Translated},
			"echo out":    {echo(guestA+":7000", remoteA), false, Translated},
			"echo in":     {reply, true, Translated},
			"gre out":     {packet{protocol: protoGRE, src: guestA, dst: remoteA}, false, Translated},
			"gre in":      {packet{protocol: protoGRE, src: remoteA, dst: outsideA}, true, Translated},
			"host full":   {udp(guestA+":6009", remoteA+":80"), false, HostFull},
			"invalid":     {tcp(tcpIn, tcpRe, 0, 101, 501, 10), false, Invalid},
			"forged":      {tcp(tcpRe, tcpOut, tcpRST, 90000, 101, 10), true, Invalid},
			"a stranger":  {udp(remoteB+":80", outsideA+":6000"), true, Filtered},
			"not ours":    {udp(remoteB+":80", outsideA+":6009"), true, NotMine},
			"a ping":      {echo(remoteB+":80", outsideA), true, NotMine},
			"no such GRE": {packet{protocol: protoGRE, src: remoteB, dst: outsideA}, true, NotMine},
		} {
			f, p := l.frame(tt.p)
			src, dst := Endpoint{Addr: p.Src(), Port: p.SrcPort}, Endpoint{Addr: p.Dst(), Port: p.DstPort}
			if id, ok := queryID(f, p); ok {
				src.Port, dst.Port = id, id
			}
			mustNotAllocateHere(t, name, func() {
				l.now++ // refreshes too
				r := Result{}
				if tt.inbound {
					r = l.tab.Inbound(f, p, l.now)
					setDestination(f, p, new(dst))
				} else {
					r = l.tab.Outbound(0, 0, f, p, l.now)
					setSource(f, p, new(src))
				}
				if r.Verdict != tt.want {
					t.Fatalf("%s: %v, want %v", name, r.Verdict, tt.want)
				}
			})
			l.now = 1
		}
		mustNotAllocateHere(t, "expire", func() { l.tab.Expire(1) })
		mustNotAllocateHere(t, "owns", func() { l.tab.Owns(l.endpoint(outsideA).Addr) })
	})
}

// TestFlowSize keeps a flow in two cache lines, and what a search reads in the
// first: a million of them are what the memory is for.
func TestFlowSize(t *testing.T) {
	if n := reflect.TypeFor[flow]().Size(); n != 128 {
		t.Errorf("a flow has %d bytes", n)
	}
	if n := reflect.TypeFor[bucket[flow]]().Size(); n != 64 {
		t.Errorf("a bucket has %d bytes", n)
	}
	if f, _ := reflect.TypeFor[flow]().FieldByName("expires"); f.Offset+f.Type.Size() != 64 {
		t.Errorf("the first line ends at %d", f.Offset+f.Type.Size())
	}
}
