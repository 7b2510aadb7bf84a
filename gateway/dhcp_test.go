package gateway

import (
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp6"
)

// forgetful is a store of leases that has none.
type forgetful struct{}

func (forgetful) Load(string) ([]dhcp.Record, error)                   { return nil, nil }
func (forgetful) Commit(string, []dhcp.Record, []netip.Addr) error     { return nil }
func (forgetful) Load6(string) ([]dhcp.Record6, error)                 { return nil, nil }
func (forgetful) Commit6(string, []dhcp.Record6, []netip.Prefix) error { return nil }

func leased(first, last string) dhcp.Range {
	return dhcp.Range{First: netip.MustParseAddr(first), Last: netip.MustParseAddr(last)}
}

// serveLeases gives a gateway servers of both families.
func (l *lab) serveLeases(now func() time.Time) (*dhcp.Server, *dhcp6.Server) {
	quiet := slog.New(slog.DiscardHandler)
	four, err := dhcp.New("lan", dhcp.Config{
		Server: config.Address, Ranges: []dhcp.Range{leased("10.0.0.10", "10.0.0.20")}, Lease: time.Hour,
	}, forgetful{}, dhcp.Env{Now: now, Send: l.gateway.SendDHCP, Probe: func(a netip.Addr, _ uint16) { l.gateway.Probe(a) }, Log: quiet})
	if err != nil {
		l.t.Fatal(err)
	}
	six, err := dhcp6.New("lan", dhcp6.Config{
		MAC: gatewayMAC, Links: config.Address6, Ranges: []dhcp.Range{leased("2001:db8:1::10", "2001:db8:1::20")}, Lease: time.Hour,
	}, forgetful{}, dhcp6.Env{Now: now, Send: l.gateway.SendDHCP6, Routes: func([]dhcp6.Delegation) {}, Log: quiet})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = four.Close()
		_ = six.Close()
	})
	return four, six
}

// Ports of clients (RFC 2131 clause 4.1, RFC 8415 clause 7.2).
const (
	clientPort  = 68
	client6Port = 546
)

// asClient builds a datagram of a client's to a MAC address.
func asClient(to frame.MAC, from, addr string, srcPort, dstPort uint16, payload []byte) []byte {
	b := udpFrom(from, addr, dstPort, string(payload))
	at := headerLen(addr)
	udp := b[at:]
	udp[0], udp[1] = byte(srcPort>>8), byte(srcPort)
	udp[4], udp[5] = byte(len(udp)>>8), byte(len(udp))
	summed(from, addr, frame.ProtoUDP, 6, udp)
	copy(b, to[:])
	return b
}

// offers is the first byte of what offers a lease: BOOTREPLY (RFC 951), and Advertise
// (RFC 8415 clause 7.3).
const offers = 2

// Whoever asks for a lease gets an offer, of either family, where he is and from the
// address that is right.
func TestLeases(t *testing.T) {
	l := newLab(t)
	four, six := l.serveLeases(time.Now)
	l.gateway.SetDHCP(four)
	l.gateway.SetDHCP6(six)
	mac := net.HardwareAddr(guestMAC[:])
	discover, err := dhcpv4.NewDiscovery(mac)
	if err != nil {
		t.Fatal(err)
	}
	solicit, err := dhcpv6.NewSolicit(mac)
	if err != nil {
		t.Fatal(err)
	}
	servers := frame.MAC{0x33, 0x33, 0, 1, 0, 2}
	stranger := asClient(servers, "2001:db8:eeee::5", "ff02::1:2", client6Port, dhcp6Port, solicit.ToBytes())
	l.send(stranger) // is not on the link: hears nothing, and nobody hears of him
	for _, tt := range []struct {
		what   string
		packet []byte
		from   string
	}{
		{"a broadcast", asClient(broadcast, "0.0.0.0", "255.255.255.255", clientPort, dhcpPort, discover.ToBytes()), "10.0.0.1:67"},
		{"to all servers", asClient(servers, own[1].guest, "ff02::1:2", client6Port, dhcp6Port, solicit.ToBytes()), "[" + own[1].gateway + "]:547"},
	} {
		l.send(tt.packet)
		var d datagram
		for ok := false; !ok; { // what else comes asks whether somebody has the address
			f := new(frame.Frame)
			f.Set(l.next(), 0)
			if d, ok = datagramOf(f); ok && f.Dst() != guestMAC {
				t.Errorf("%s: answered at %v", tt.what, f.Dst())
			}
		}
		if d.src.String() != tt.from || d.payload[0] != offers {
			t.Errorf("%s: answer from %v: % x", tt.what, d.src, d.payload)
		}
	}
	if seen := six.Stats().Messages; len(seen) != 1 {
		t.Errorf("the server has seen %v, want one message", seen)
	}
}

// A server that is new is woken, so that it can do what is due, without any message.
func TestNewServerIsWoken(t *testing.T) {
	l := newLab(t)
	var asked atomic.Int64
	four, six := l.serveLeases(func() time.Time {
		asked.Add(1)
		return time.Now()
	})
	time.Sleep(time.Millisecond) // the loops may have begun or not
	for _, set := range []func(){func() { l.gateway.SetDHCP(four) }, func() { l.gateway.SetDHCP6(six) }} {
		l.gateway.SetDHCP(nil)
		l.gateway.SetDHCP6(nil)
		before := asked.Load()
		set()
		eventually(t, "the server looks at its clock", func() bool { return asked.Load() > before })
	}
}
