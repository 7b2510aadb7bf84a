package gateway

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ra"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
)

// advertised is a router that the tests know.
var advertised = ndp.Advertisement{
	HopLimit: 64, Lifetime: 1800 * time.Second, MAC: gatewayMAC,
	Prefixes: []ndp.Prefix{{Prefix: config.Address6[0].Masked(), OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: time.Hour}},
}

// expectRA expects a router advertisement to an address.
func (l *lab) expectRA(to netip.Addr, mac frame.MAC) ndp.Advertisement {
	l.t.Helper()
	var f frame.Frame
	f.Set(l.next(), 0)
	var p frame.Parsed
	if p.Parse(&f); !ndp.Valid(&f, &p) || f.Bytes()[p.L4] != ndp.RouterAdvertisement {
		l.t.Fatalf("received % x, want a router advertisement", f.Bytes())
	}
	src, dst := endsOf(&f, &p)
	if src != ndp.LinkLocal(gatewayMAC) || dst != to || f.Src() != gatewayMAC || f.Dst() != mac {
		l.t.Fatalf("advertised by %v (%v) to %v (%v), want it at %v (%v)", src, f.Src(), dst, f.Dst(), to, mac)
	}
	a, err := ndp.ParseAdvertisement(f.Bytes()[p.L4:p.End])
	if err != nil {
		l.t.Fatal(err)
	}
	return a
}

// The router is advertised, to all and to who asks, from its link-local address; and
// takes leave.
func TestRouter(t *testing.T) {
	l := newLab(t)
	a := ra.New(ra.Config{Advertisement: advertised, Interval: 600 * time.Second}, ra.Env{
		Send: l.gateway.SendRA, Rand: func(time.Duration) time.Duration { return 0 }, Log: slog.New(slog.DiscardHandler),
	})
	l.gateway.SetRA(a)
	all := frame.MAC{0x33, 0x33, 0, 0, 0, 1}
	if got := l.expectRA(ndp.AllNodes, all); !slices.Equal(got.Prefixes, advertised.Prefixes) || got.Lifetime != advertised.Lifetime {
		t.Errorf("advertised %+v", got)
	}
	l.send(solicit("2001:db8:eeee::5")) // is not on the link
	l.send(solicit(own[1].guest))
	l.expectRA(netip.MustParseAddr(own[1].guest), guestMAC)
	if s := a.Stats(); s.Received != 1 {
		t.Errorf("the advertiser has heard %d solicitations, want 1", s.Received)
	}
	l.gateway.SetRA(nil)
	l.send(solicit(own[1].guest))
	l.aliveAt(own[1].gateway)
	a.Close()
	if got := l.expectRA(ndp.AllNodes, all); got.Lifetime != 0 {
		t.Errorf("took leave with %+v", got)
	}
	if s := a.Stats(); s.Received != 1 {
		t.Errorf("the advertiser has heard %d solicitations, want 1", s.Received)
	}
}

// solicit is a router solicitation.
func solicit(from string) []byte {
	src := netip.MustParseAddr(from)
	mac := guestMAC
	if src.IsUnspecified() {
		mac = frame.MAC{}
	}
	return ndp.Packet(guestMAC, ndp.GroupMAC(ndp.AllRouters), src, ndp.AllRouters, ndp.Solicitation(mac)).Bytes()
}

// Whom a solicitation is from says the frame, and only those of the link are heard.
func TestSolicitations(t *testing.T) {
	l := newLab(t)
	lies := ndp.Packet(guestMAC, gatewayMAC, netip.MustParseAddr(own[1].guest), ndp.AllRouters, ndp.Solicitation(frame.MAC{2, 9, 9, 9, 9, 9})).Bytes()
	damaged := solicit(own[1].guest)
	damaged[len(damaged)-1]++
	for _, tt := range []struct {
		what   string
		packet []byte
		src    string
		ok     bool
	}{
		{"a link-local address", solicit(own[1].guest), own[1].guest, true},
		{"a global address", solicit(own[2].guest), own[2].guest, true},
		{"no address yet", solicit("::"), "::", true},
		{"another MAC address in it", lies, own[1].guest, true},
		{"a strange address", solicit("2001:db8:eeee::5"), "", false},
		{"an address of the gateway", solicit(own[2].gateway), "", false},
		{"a wrong checksum", damaged, "", false},
		{"no solicitation", ping(own[1].gateway, "x"), "", false},
		{"IPv4", ping(own[0].gateway, "x"), "", false},
	} {
		f := framed(append(make([]byte, frame.Headroom), tt.packet...))
		s, ok := l.gateway.solicitationOf(f)
		if ok != tt.ok || ok && s != (ra.Solicitation{Src: netip.MustParseAddr(tt.src), MAC: guestMAC}) {
			t.Errorf("%s: %+v, %v", tt.what, s, ok)
		}
	}
}

// A gateway without IPv6 advertises nothing.
func TestNoRouter(t *testing.T) {
	cfg := config
	cfg.Address6 = nil
	l := newLabOf(t, cfg)
	l.gateway.SendRA(ndp.AllNodes, ndp.GroupMAC(ndp.AllNodes), advertised.Message())
	l.aliveAt(own[0].gateway)
	l.send(ping(own[0].gateway, "end"))
	if b := l.next(); !bytes.HasSuffix(b, []byte("end")) {
		t.Errorf("received % x", b)
	}
}

// A flood of addresses does not make the gateway forget how to answer, nor remember all
// of them.
func TestManyNeighbors(t *testing.T) {
	l := newLab(t)
	for i := range 3 * maxOrigins / 2 {
		src := netip.AddrFrom16([16]byte{0xfe, 0x80, 8: 1, 14: byte(i >> 8), 15: byte(i)})
		mac := frame.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}
		l.gateway.stack.know(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), mac, "a")
		l.gateway.stack.know(src, mac, "a")
	}
	if n := len(l.gateway.stack.origins.all); n > maxOrigins {
		t.Errorf("%d neighbours are remembered", n)
	}
	for _, o := range own {
		l.aliveAt(o.gateway)
	}
	for _, family := range []tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber, ipv6.ProtocolNumber} {
		list, err := l.gateway.stack.stack.Neighbors(nic, family)
		if err != nil || len(list) == 0 || len(list) > maxOrigins {
			t.Errorf("the stack knows %d neighbours: %v", len(list), err)
		}
	}
}
