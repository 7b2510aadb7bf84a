package fastpath

import (
	"net/netip"
	"testing"

	"github.com/weft/weft/ports/porttest"
	"golang.org/x/sys/unix"
)

// setAddress gives the family of the test another address, and the other none.
func (s *sharing) setAddress(addr netip.Addr) {
	if s.v6 {
		s.SetAddresses(netip.Addr{}, addr)
	} else {
		s.SetAddresses(addr, netip.Addr{})
	}
}

// No frame is weft's without an address, and another address moves them. Those of
// the other family do not count.
func TestShareAddress(t *testing.T) {
	forFamilies(t, func(t *testing.T, s *sharing) {
		s.attach(t, attachShare)
		s.use(40000, 40000)
		syn := s.tcp(t, 4444, 40000, "S")
		other := family{v6: !s.v6}
		for _, step := range []struct {
			addr netip.Addr
			want uint32
		}{
			{s.hostAddr, tcxRedirect}, {s.addr("10.0.0.9"), tcxNext}, {s.hostAddr, tcxRedirect}, {netip.Addr{}, tcxNext},
			{netip.AddrFrom16(s.hostAddr.As16()), tcxRedirect}, {other.addr("10.0.0.1"), tcxNext},
			{s.all().Addr(), tcxNext}, {s.hostAddr, tcxRedirect},
		} {
			s.setAddress(step.addr)
			if got := s.judge(t, syn); got != step.want {
				t.Errorf("address %v: verdict %#x, want %#x", step.addr, got, step.want)
			}
		}
		testWithout(t, s)
	})
}

// testWithout looks at what both have an interest in while nothing is shared.
func testWithout(t *testing.T, s *sharing) {
	frames, wire := s.frames(t), s.far.RawConn(t, "eth0")
	s.SetAddresses(netip.Addr{}, netip.Addr{})
	wire.Send(s.arp(t, "10.0.0.1")) // of interest to nobody but the host
	if s.v6 {
		wire.Send(s.neighbor(t, 136, s.farAddr, s.hostAddr))
	}
	porttest.Ping(t, s.far, s.hostAddr.String())
	s.SetAddresses(family{}.addr("10.0.0.1"), netip.Addr{})
	if s.v6 {
		wire.Send(s.neighbor(t, 136, s.farAddr, s.hostAddr))
	}
	if got := s.next(t, frames, wire); len(got) != 0 {
		t.Errorf("without an address weft got % x", got)
	}
}

// Ports are given back, each for itself.
func TestShareGivenBack(t *testing.T) {
	forFamilies(t, func(t *testing.T, s *sharing) {
		s.attach(t, attachShare)
		s.use(40000, 40000)
		syn := s.tcp(t, 4444, 40000, "S")
		s.SetUsed(unix.IPPROTO_TCP, 40000, s.farAddr, false)
		s.SetUsed(unix.IPPROTO_SCTP, 40000, netip.Addr{}, true) // is none of these
		s.SetUsed(unix.IPPROTO_TCP, 40000, s.addr("10.0.0.3"), true)
		s.SetUsed(unix.IPPROTO_TCP, 40001, s.farAddr, true)
		s.SetUsed(unix.IPPROTO_UDP, 40000, s.farAddr, true)
		// The same bytes as the other family has them are another address.
		if words, _ := inPacket(s.farAddr); s.v6 {
			s.setPeer(sharePeer{Remote: words, Port: 40000, Protocol: unix.IPPROTO_TCP, Version: 4}, true)
		} else {
			s.setPeer(sharePeer{Remote: words, Port: 40000, Protocol: unix.IPPROTO_TCP, Version: 6}, true)
		}
		if got := s.judge(t, syn); got != tcxNext {
			t.Errorf("verdict %#x for a port given back", got)
		}
		for _, all := range []netip.Addr{{}, s.all().Addr()} {
			for _, port := range []uint16{0, 65535} {
				s.SetUsed(unix.IPPROTO_TCP, port, all, true)
				if s.judge(t, s.tcp(t, 4444, port, "S")) != tcxRedirect {
					t.Errorf("port %d is not open by %v", port, all)
				}
				s.SetUsed(unix.IPPROTO_TCP, port, all, false)
				if s.judge(t, s.tcp(t, 4444, port, "S")) != tcxNext {
					t.Errorf("port %d stays open by %v", port, all)
				}
			}
		}
	})
}
