package uplink

import (
	"fmt"
	"net/netip"

	"github.com/weft/weft/dataplane/fastpath"
)

// What Probe chooses between.
const (
	ByHost    = "host"    // weft shares the host's address
	BySockets = "sockets" // weft opens ordinary sockets of the host
)

// Probe says which way an uplink with "address: auto" goes by the interface that
// has the state s, and why.
func Probe(s State) (how, why string) {
	_, err := fastpath.LoadShare()
	var ports *TakenPorts
	if err == nil && s.Shareable() == nil {
		v4, v6 := s.Shared()
		ports, err = ReadTaken([]netip.Addr{v4.Addr(), v6.Addr()})
	}
	return choose(s, err, ports)
}

// choose decides by whether the kernel has taken the programs, and by what ports of
// the address are not weft's.
func choose(s State, load error, ports *TakenPorts) (how, why string) {
	if err := s.Shareable(); err != nil {
		return BySockets, err.Error()
	}
	if load != nil {
		return BySockets, load.Error()
	}
	if left := ports.Usable(1024, 65535).Free; left < FewPorts {
		return BySockets, fmt.Sprintf("this host leaves guests only %d ports of its address: shorten net.ipv4.ip_local_port_range", left)
	}
	return ByHost, fmt.Sprintf("interface %q has %s and takes eBPF programs", s.Name, s.families())
}

// Shared returns the addresses that weft shares where it does, one of each family,
// zero where there is none.
func (s *State) Shared() (v4, v6 netip.Prefix) {
	if len(s.Addresses) > 0 {
		v4 = s.Addresses[0]
	}
	if len(s.Addresses6) > 0 {
		v6 = s.Addresses6[0]
	}
	return v4, v6
}

// families says of which there are addresses.
func (s *State) families() string {
	switch {
	case len(s.Addresses6) == 0:
		return "an IPv4 address"
	case len(s.Addresses) == 0:
		return "an IPv6 address"
	}
	return "an IPv4 and an IPv6 address"
}

// Shareable says in one line why weft cannot share an address of the interface at
// this moment, of neither family, or returns nil.
func (s *State) Shareable() error {
	switch {
	case s.Name == "":
		return ErrNoDefault
	case s.Index == 0:
		return fmt.Errorf("interface %q does not exist", s.Name)
	case !s.Ethernet:
		return fmt.Errorf("interface %q carries no Ethernet (%s)", s.Name, s.Link)
	case s.Master != "":
		return fmt.Errorf("interface %q belongs to %s: name that, or release it with \"ip link set %s nomaster\"", s.Name, s.Master, s.Name)
	case !s.Up:
		return fmt.Errorf("interface %q is down: bring it up with \"ip link set %s up\"", s.Name, s.Name)
	case len(s.Addresses)+len(s.Addresses6) == 0:
		return fmt.Errorf("interface %q has no IPv4 address and no global IPv6 address", s.Name)
	}
	return nil
}
