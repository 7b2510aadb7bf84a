package dataplane

import (
	"fmt"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// records returns what a capture holds, as "port direction verdict payload".
func records(t *testing.T, c *Capture, n int) []string {
	t.Helper()
	var list []string
	for range n {
		select {
		case r := <-c.Records():
			dir := "received"
			if r.Direction == Sent {
				dir = "sent"
			}
			list = append(list, fmt.Sprintf("%s %s %s %s", r.Port, dir, r.Verdict, r.Frame.Bytes()[14:]))
			c.Done(r)
		case <-time.After(5 * time.Second):
			t.Fatalf("%d of %d records came: %q", len(list), n, list)
		}
	}
	return list
}

func TestCaptureOfNetworkAndPort(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	all, atB := l.net.Capture(""), l.net.Capture("b")
	defer all.Close()
	a.send(ethernet(broadcast, a.mac, "one"))
	b.next()
	b.send(ethernet(a.mac, b.mac, "two"))
	a.next()
	a.send(ethernet(frame.MAC{0x01, 0x80, 0xc2}, a.mac, "bpdu"))
	b.port.SetMTU(100)
	a.send(ethernet(b.mac, a.mac, string(make([]byte, 200))))
	b.drops(EgressOversized, 1)

	long := string(make([]byte, 200))
	want := fmt.Sprint([]string{"a received flooded one", "b received forwarded two", "a received reserved-group bpdu",
		"a received forwarded " + long, "b sent egress-oversized " + long})
	if got := fmt.Sprint(records(t, all, 5)); got != want {
		t.Errorf("network:\n%q, want\n%q", got, want)
	}
	want = fmt.Sprint([]string{"b sent forwarded one", "b received forwarded two", "b sent egress-oversized " + long})
	if got := fmt.Sprint(records(t, atB, 3)); got != want {
		t.Errorf("port:\n%q, want\n%q", got, want)
	}
	atB.Close()
	b.port.SetMTU(1500)
	a.send(ethernet(b.mac, a.mac, "after"))
	b.next()
	if n := len(atB.Records()); n != 0 {
		t.Errorf("%d records after Close", n)
	}
}

// A capture of a port goes on with the port that takes its place, and ends with
// the network.
func TestCaptureOutlivesThePort(t *testing.T) {
	l := newLab(t)
	a, _ := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	c := l.net.Capture("b")
	defer c.Close()
	l.net.RemovePort("b")
	again := l.station(l.net, "b", frame.CapAll)
	a.send(ethernet(broadcast, a.mac, "to the new one"))
	again.next()
	if got := records(t, c, 1); got[0] != "b sent forwarded to the new one" {
		t.Errorf("%q", got)
	}
	select {
	case <-c.Ended():
		t.Error("ended too early")
	default:
	}
	l.sw.RemoveNetwork("lan")
	<-c.Ended()
}

// Nobody reads the capture: frames go on, and what is missed is counted.
func TestCaptureNeverDelays(t *testing.T) {
	l := newLab(t)
	a, b := l.station(l.net, "a", frame.CapAll), l.station(l.net, "b", frame.CapAll)
	c := l.net.Capture("")
	defer c.Close()
	for i := range 2 * captureLen {
		f := ethernet(broadcast, a.mac, fmt.Sprint(i))
		a.send(f)
		b.expect(f)
	}
	if c.Missed() != captureLen {
		t.Errorf("missed %d, want %d", c.Missed(), captureLen)
	}
}
