package fastpath

import (
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

func TestMain(m *testing.M) { porttest.CheckLeaks(m) }

// While the guard is attached, the stack behind the interface hears nothing,
// and a packet socket still does. Both ways of attaching, each more than once:
// the second attachment of the older kind replaces what a killed process left.
func TestGuard(t *testing.T) {
	porttest.Require(t)
	host, peer := porttest.NewNS(t, "host"), porttest.NewNS(t, "peer")
	porttest.Veth(t, host, "port", peer, "eth0")
	host.Addr(t, "port", "10.0.0.1/24")
	peer.Addr(t, "eth0", "10.0.0.2/24")
	index := host.Link(t, "port").Attrs().Index
	g, err := LoadGuard()
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	socket := host.RawConn(t, "port")
	for name, attach := range map[string]func(int) (func() error, error){"tcx": g.attachNew, "clsact": g.attachClsact} {
		t.Run(name, func(t *testing.T) {
			porttest.Ping(t, peer, "10.0.0.1")
			var first, detach func() error
			host.Do(func() {
				if name == "clsact" {
					_, err = attach(index) // and is killed
				}
				if err == nil {
					first, err = g.attach(index, attach)
				}
				if err == nil {
					detach, err = g.attach(index, attach)
				}
				if err == nil {
					err = first() // the other one holds
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := porttest.TryPing(peer, "10.0.0.1", time.Second); err == nil {
				t.Error("the stack answered behind the guard")
			}
			if socket.RecvMatch(30*time.Second, func(f []byte) bool { return strings.Contains(string(f), "\x0a\x00\x00\x01") }) == nil {
				t.Error("the packet socket heard nothing")
			}
			host.Do(func() { err = detach() })
			if err != nil {
				t.Fatal(err)
			}
			porttest.Ping(t, peer, "10.0.0.1")
			if out := host.Run(t, "tc", "filter", "show", "dev", "port", "ingress"); out != "" {
				t.Errorf("left behind: %s", out)
			}
		})
	}
}
