package daemon

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/fastpath"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/ports/tap"
	"github.com/weft/weft/uplink"
)

// sharing is the I/O of an uplink on an interface that stays the host's: a tap beside
// it, to which programs in the kernel bring what is weft's. It follows the interface
// as the host changes it.
type sharing struct {
	o      *outlet
	share  *fastpath.Share
	host   *uplink.Host
	taken  *uplink.Taken
	port   *dataplane.Port
	shadow string // name of the tap

	// Guarded by Daemon.changing.
	io    *tap.Port
	seen  uplink.State
	ports *uplink.TakenPorts // as last told to the table

	mu       sync.Mutex // guards what follows; Daemon.changing is not held
	public   map[publicPorts]*nat.PortSet
	peers    map[sharedPeer]bool
	refused  int                  // peers that found no room, in the second that warn ends
	held     map[heldPort]int     // descriptors that keep published ports
	attached *fastpath.Attachment // nil while the interface is not there
	broken   bool                 // the tap has gone
	trouble  string
}

// publicPorts are those of a protocol that are open to all: to those of one family
// where of is the unspecified address of that, to both where it is zero.
type publicPorts struct {
	protocol uint8
	of       netip.Addr
}

// sharedPeer is somebody outside with whom there are flows by a port.
type sharedPeer struct {
	remote   netip.Addr
	port     uint16
	protocol uint8
}

// share opens an uplink beside the host.
func (o *outlet) share() error {
	share, err := fastpath.LoadShare()
	if err != nil {
		return err
	}
	s := &sharing{o: o, held: map[heldPort]int{}, share: share, peers: map[sharedPeer]bool{}, public: map[publicPorts]*nat.PortSet{}}
	if s.host, err = uplink.FollowHost(o.name, func(uplink.State) { o.d.nudge() }); err != nil {
		return err
	}
	o.later(s.host.Close)
	s.seen = s.host.State()
	if s.seen.Index != 0 && (!s.seen.Ethernet || s.seen.Master != "") { // which passes by no waiting
		return fmt.Errorf("%w: name another interface, or write uplink.address: sockets", s.seen.Shareable())
	}
	if s.taken, err = uplink.FollowTaken(addressesOf(s.seen).list(), func(*uplink.TakenPorts) { o.d.nudge() }); err != nil {
		return err
	}
	o.later(s.taken.Close)
	cfg := dataplane.UplinkConfig{MAC: s.seen.MAC, MTU: s.seen.MTU, Shared: true, Changed: s.setUsed}
	if err := o.add(cfg); err != nil {
		return err
	}
	if s.port, err = o.uplink.Network().AddPort(o.name, dataplane.Policy{}); err != nil {
		return err
	}
	s.shadow = fmt.Sprintf("weftu%d", s.seen.Index)
	o.shared = s
	o.later(s.close)
	return s.open()
}

// shareable returns the address of each family that is shared, zero where there is
// none: all others of the interface stay the host's alone.
func shareable(s uplink.State) (four, six netip.Prefix) {
	if len(s.Addresses) > 0 {
		four = s.Addresses[0]
	}
	if len(s.Addresses6) > 0 {
		six = s.Addresses6[0]
	}
	return four, six
}

func addressesOf(s uplink.State) addressPair {
	four, six := shareable(s)
	return addressPair{four.Addr(), six.Addr()}
}

// open makes the tap.
func (s *sharing) open() error {
	io, err := tap.Open(s.shadow)
	if err != nil {
		return err
	}
	err = io.Transient()
	if err == nil {
		err = netdev.Configure("", s.shadow, netdev.Settings{MTU: s.seen.MTU, Alias: aliasPrefix + "uplink/" + s.o.name, Up: true})
	}
	var info netdev.Info
	if err == nil {
		info, err = netdev.Find("", s.shadow)
	}
	if err == nil {
		_, err = netdev.Quiet(info.Index, false) // for as long as it is there
	}
	if err != nil {
		io.Stop()
		_ = io.Close()
		return err
	}
	s.io = io
	s.port.Attach(io, s.seen.MTU, func(error) {
		s.mu.Lock()
		s.broken = true
		s.mu.Unlock()
		s.o.d.nudge()
	})
	return s.attach(info.Index)
}

// attach has the kernel bring what is weft's.
func (s *sharing) attach(shadow int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.seen.Up || s.seen.Index == 0 {
		return nil // until it is
	}
	a, err := s.share.Attach(s.seen.Index, shadow)
	if err != nil {
		return err
	}
	at := addressesOf(s.seen)
	a.SetAddresses(at.four, at.six)
	s.attached = a
	for k, set := range s.public {
		for port := range 1 << 16 {
			if set.Has(uint16(port)) {
				s.tell(sharedPeer{remote: k.of, port: uint16(port), protocol: k.protocol}, true)
			}
		}
	}
	for k := range s.peers {
		s.tell(k, true)
	}
	return nil
}

// setUsed is told which outside ports are in use, and with whom, by the table of flows.
func (s *sharing) setUsed(protocol uint8, port uint16, remote netip.Addr, used bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := sharedPeer{remote, port, protocol}
	switch one := remote.IsValid() && !remote.IsUnspecified(); {
	case one && used:
		s.peers[k] = true
	case one:
		delete(s.peers, k)
	case protocol != frame.ProtoTCP && protocol != frame.ProtoUDP:
		return
	default:
		s.setPublic(publicPorts{protocol, remote}, port, used)
	}
	if s.attached != nil {
		s.tell(k, used)
	}
}

// setPublic notes whether a port is open to all. mu is held.
func (s *sharing) setPublic(of publicPorts, port uint16, used bool) {
	set := s.public[of]
	if set == nil {
		set = new(nat.PortSet)
		s.public[of] = set
	}
	if used {
		set.Add(port)
	} else {
		set.Remove(port)
	}
}

// tell has the kernel know of one. mu is held.
func (s *sharing) tell(k sharedPeer, used bool) {
	if s.attached.SetUsed(k.protocol, k.port, k.remote, used) {
		return
	}
	if s.refused++; s.refused == 1 {
		time.AfterFunc(time.Second, s.warn) // not here: the table of flows waits
	}
}

// warn says how many peers have found no room in the second before.
func (s *sharing) warn() {
	s.mu.Lock()
	n := s.refused
	s.refused = 0
	s.mu.Unlock()
	s.o.log.Warn("no room for more addresses outside: these get no answers; lower nat.max_flows or nat.max_flows_per_host", "refused", n)
}

// setPrefixes has the kernel bring what is for the networks that are not translated,
// but for the addresses that this machine has there. It has those of their gateways
// by their host ports only: from outside they are weft's.
func (s *sharing) setPrefixes() {
	var prefixes []netip.Prefix
	var gateways, but []netip.Addr
	for i := range s.o.networks {
		n := &s.o.networks[i]
		prefixes = append(prefixes, s.o.d.seenOutside(n)...)
		for _, a := range n.Addresses {
			gateways = append(gateways, a.Addr())
		}
	}
	for _, a := range s.o.d.machine.Addresses() {
		inside := slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
		if inside && !slices.Contains(gateways, a) {
			but = append(but, a)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached == nil {
		return // it is told once it is
	}
	s.trouble = ""
	if err := s.attached.SetPrefixes(prefixes, but); err != nil {
		s.o.log.Error("uplink", "error", err)
		s.trouble = err.Error()
	}
}

// describe follows the host, and fills in what its interface is like now.
func (s *sharing) describe(cfg *dataplane.UplinkConfig) {
	now := s.host.State()
	s.mu.Lock()
	broken, incarnation := s.broken, now.Index != s.seen.Index || now.Up != s.seen.Up
	s.broken = false
	if s.attached != nil {
		at := addressesOf(now)
		s.attached.SetAddresses(at.four, at.six)
	}
	s.mu.Unlock()
	mtu := s.seen.MTU
	s.seen = now
	if broken || incarnation || now.MTU != mtu {
		s.shut()
		s.reopen()
	}
	s.setPrefixes()
	four, six := shareable(now)
	cfg.Address, cfg.Address6, cfg.Routes, cfg.Neighbors = four, nil, slices.Clone(now.Routes), nil
	if six.IsValid() {
		cfg.Address6 = []netip.Prefix{six}
	}
	for _, n := range now.Neighbors {
		cfg.Neighbors = append(cfg.Neighbors, dataplane.Neighbor{Address: n.Addr, MAC: n.MAC})
	}
	if now.Index != 0 {
		cfg.MAC, cfg.MTU = now.MAC, now.MTU
	}
	s.taken.SetAddresses(addressesOf(now).list())
	if ports := s.taken.Ports(); ports != s.ports {
		s.o.uplink.NAT().SetTaken(frame.ProtoTCP, &ports.TCP)
		s.o.uplink.NAT().SetTaken(frame.ProtoUDP, &ports.UDP)
		s.ports = ports
	}
}

// reopen makes the tap again after shut.
func (s *sharing) reopen() {
	err := s.open()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble = ""; err != nil {
		s.o.log.Error("uplink", "error", err)
		s.trouble = err.Error()
	}
}

// address is the shared one of the family of another address.
func (s *sharing) address(like netip.Addr) netip.Addr { return addressesOf(s.host.State()).like(like) }

// hostHas reports whether a program of the host has a port now.
func (s *sharing) hostHas(at heldPort) bool {
	s.mu.Lock()
	_, ours := s.held[at]
	s.mu.Unlock()
	return at.addr.IsValid() && !ours && !portFree(at)
}

// hold keeps the ports of published ones from other programs, and lets go of all others.
// What somebody has already stays his: see portsFree.
func (s *sharing) hold(published []nat.Publish) {
	now := addressesOf(s.host.State())
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[heldPort]bool{}
	for _, at := range heldPorts(published, now) {
		wanted[at] = true
	}
	for at, fd := range s.held {
		if !wanted[at] {
			unix.Close(fd)
			delete(s.held, at)
		}
	}
	for at := range wanted {
		if _, ours := s.held[at]; ours {
			continue
		}
		if fd, err := hold(at); err == nil {
			s.held[at] = fd
		}
	}
}

// shut takes the tap away.
func (s *sharing) shut() {
	s.mu.Lock()
	a := s.attached
	s.attached = nil
	s.mu.Unlock()
	if a != nil {
		_ = a.Close()
	}
	if s.io != nil {
		s.port.Detach()
		s.io = nil
	}
}

func (s *sharing) close() {
	s.hold(nil)
	s.shut()
}

// state is that of the interface.
func (s *sharing) state() (state, detail string) {
	now := s.host.State()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case now.Index == 0:
		return api.StateMissing, fmt.Sprintf("interface %q does not exist", s.o.name)
	case !now.Up:
		return api.StateDown, fmt.Sprintf("interface is down: ip link set %s up", s.o.name)
	case !now.Carrier:
		return api.StateNoCarrier, "the interface has no link"
	case s.trouble != "":
		return api.StateFailed, s.trouble
	}
	return api.StateUp, ""
}
