package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	good := State{Name: "eth0", Index: 3, Up: true, Carrier: true, Ethernet: true, Link: "ether", Addresses: prefixes("192.0.2.7/24")}
	with := func(change func(*State)) State {
		s := good
		change(&s)
		return s
	}
	for _, tt := range []struct {
		name  string
		state State
		load  error
		how   string
		why   string
	}{
		{"all there", good, nil, ByHost, `interface "eth0" has an IPv4 address and takes eBPF programs`},
		{"no carrier yet", with(func(s *State) { s.Carrier = false }), nil, ByHost, "takes eBPF programs"},
		{"no eBPF", good, errors.New("load share: it takes CAP_BPF"), BySockets, "load share: it takes CAP_BPF"},
		{"IPv6 alone", with(func(s *State) { s.Addresses, s.Addresses6 = nil, prefixes("2001:db8::7/64") }), nil, ByHost, `interface "eth0" has an IPv6 address and takes eBPF programs`},
		{"both", with(func(s *State) { s.Addresses6 = prefixes("2001:db8::7/64") }), nil, ByHost, `interface "eth0" has an IPv4 and an IPv6 address and takes eBPF programs`},
		{"no default route", State{}, nil, BySockets, "this host has no default route"},
		{"missing", State{Name: "eth9"}, nil, BySockets, `interface "eth9" does not exist`},
		{"a tunnel", with(func(s *State) { s.Ethernet, s.Link = false, "none" }), nil, BySockets, `interface "eth0" carries no Ethernet (none)`},
		{"of a bridge", with(func(s *State) { s.Master = `bridge "br0"` }), nil, BySockets, `interface "eth0" belongs to bridge "br0": name that`},
		{"down", with(func(s *State) { s.Up = false }), nil, BySockets, `interface "eth0" is down`},
		{"no address", with(func(s *State) { s.Addresses, s.LinkLocal = nil, netip.MustParseAddr("fe80::1") }), nil, BySockets, `interface "eth0" has no IPv4 address and no global IPv6 address`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			how, why := choose(tt.state, tt.load, new(TakenPorts))
			if how != tt.how || !strings.Contains(why, tt.why) || strings.Contains(why, "\n") {
				t.Errorf("%s: %s", how, why)
			}
		})
	}
}

// An address whose ports the host keeps for itself is of no use to guests.
func TestChooseByPorts(t *testing.T) {
	s := State{Name: "eth0", Index: 3, Up: true, Ethernet: true, Link: "ether", Addresses: prefixes("192.0.2.7/24")}
	for first, want := range map[uint16]string{1024: BySockets, 1024 + FewPorts - 1: BySockets, 1024 + FewPorts: ByHost} {
		ports := new(TakenPorts)
		ports.Kernel.AddRange(first, 65535)
		how, why := choose(s, nil, ports)
		if how != want {
			t.Errorf("programs of the host from %d on: %s: %s", first, how, why)
		}
		if how == BySockets && !strings.Contains(why, fmt.Sprintf("only %d ports", first-1024)) {
			t.Errorf("programs of the host from %d on: %s", first, why)
		}
	}
}

func TestUsable(t *testing.T) {
	p := new(TakenPorts)
	p.Kernel.AddRange(32768, 60999)
	for _, port := range []uint16{1024, 2000, 40000, 65535} {
		p.BoundTCP.Add(port)
	}
	p.BoundUDP.Add(3000)
	for _, tt := range []struct {
		first, last uint16
		want        Usable
	}{
		{1024, 65535, Usable{"1024-32767, 61000-65535", 3, 31744 + 4535 + 1 - 3}},
		{40000, 50000, Usable{"none", 0, 0}},
		{32767, 61000, Usable{"32767, 61000", 0, 2}},
		{3000, 3000, Usable{"3000", 1, 0}},
	} {
		if got := p.Usable(tt.first, tt.last); got != tt.want {
			t.Errorf("%d-%d: %+v, want %+v", tt.first, tt.last, got, tt.want)
		}
	}
}

func TestProbe(t *testing.T) { bothFamilies(t, testProbe) }

func testProbe(t *testing.T, m *machine, as func(string) string) {
	m.ns.Addr(t, "eth0", as("192.0.2.7/24"))
	h, _ := m.follow(t, "eth0")
	if how, why := Probe(h.State()); how != ByHost {
		t.Errorf("%s: %s", how, why)
	}
	m.ns.Sysctl(t, "net.ipv4.ip_local_port_range", "1024 65535")
	m.ns.Do(func() {
		if how, why := Probe(h.State()); how != BySockets || !strings.Contains(why, "only 0 ports") {
			t.Errorf("with no port left: %s: %s", how, why)
		}
	})
	lo, _ := m.follow(t, "lo")
	if how, why := Probe(lo.State()); how != BySockets || !strings.Contains(why, "carries no Ethernet (loopback)") {
		t.Errorf("%s: %s", how, why)
	}
	m.ip(t, "tuntap add tun0 mode tun")
	tun, _ := m.follow(t, "tun0")
	if how, why := Probe(tun.State()); how != BySockets || !strings.Contains(why, "carries no Ethernet (none)") {
		t.Errorf("%s: %s", how, why)
	}
}
