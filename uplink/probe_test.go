package uplink

import (
	"errors"
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
		{"no carrier yet", with(func(s *State) { s.Carrier = false }), nil, ByHost, "192.0.2.7"},
		{"no eBPF", good, errors.New("load share: it takes CAP_BPF"), BySockets, "load share: it takes CAP_BPF"},
		{"no default route", State{}, nil, BySockets, "no IPv4 default route"},
		{"missing", State{Name: "eth9"}, nil, BySockets, `interface "eth9" does not exist`},
		{"a tunnel", with(func(s *State) { s.Ethernet, s.Link = false, "none" }), nil, BySockets, `interface "eth0" carries no Ethernet (none)`},
		{"of a bridge", with(func(s *State) { s.Master = `bridge "br0"` }), nil, BySockets, `interface "eth0" belongs to bridge "br0": name that`},
		{"down", with(func(s *State) { s.Up = false }), nil, BySockets, `interface "eth0" is down`},
		{"no address", with(func(s *State) { s.Addresses = nil }), nil, BySockets, `interface "eth0" has no IPv4 address`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			how, why := choose(tt.state, tt.load)
			if how != tt.how || !strings.Contains(why, tt.why) || strings.Contains(why, "\n") {
				t.Errorf("%s: %s", how, why)
			}
		})
	}
}

func TestProbe(t *testing.T) {
	m := newMachine(t)
	m.ns.Addr(t, "eth0", "192.0.2.7/24")
	h, _ := m.follow(t, "eth0")
	if how, why := Probe(h.State()); how != ByHost {
		t.Errorf("%s: %s", how, why)
	}
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
