package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane/fastpath"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports"
	"github.com/weft/weft/ports/afpacket"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/ports/tap"
	"golang.org/x/sys/unix"
)

// device is the kernel interface under one port: how it is made or found,
// opened and left. Its methods are called by one goroutine at a time.
type device struct {
	network string
	cfg     config.Port
	mtu     int
	guard   *fastpath.Guard // nil where eBPF is not to be had

	made   bool // weft made the interface and removes it
	seized *seizure
}

// aliasPrefix marks, in an interface's alias, what weft has made: such an
// interface is taken over at the next start, and removed at a clean stop. Which
// port it was made for does not matter, for ports are renamed and moved; that
// it is no other running weft's is what seize, or the tap's descriptor, ensures.
const aliasPrefix = "weft:"

func (d *device) alias() string { return aliasPrefix + d.network + "/" + d.cfg.Name }

// check says why the port cannot be, without changing anything.
func (d *device) check() error {
	info, err := netdev.Find(d.cfg.Netns, d.cfg.Interface)
	missing := errors.Is(err, netdev.ErrMissing)
	if missing && d.cfg.Type == config.TypeRaw {
		return err
	}
	if missing {
		if _, err := netdev.NamespaceID(d.cfg.Netns); err != nil {
			return fmt.Errorf("%w: make it with \"ip netns add %s\"", err, d.cfg.Netns)
		}
		return tap.CheckPermissions(d.cfg.Owner, d.cfg.Group)
	}
	if err != nil {
		return err
	}
	if err := d.fits(info); err != nil {
		return err
	}
	if err := netdev.Usable(info); err != nil {
		return fmt.Errorf("interface %q %w", info.Name, err)
	}
	return tap.CheckPermissions(d.cfg.Owner, d.cfg.Group)
}

// kindTap is the kernel's name of a tap's kind.
const kindTap = "tuntap"

// fits refuses an interface of another kind than the port is for.
func (d *device) fits(info netdev.Info) error {
	if d.cfg.Type != config.TypeRaw && info.Kind != kindTap {
		return fmt.Errorf("interface %q exists and is no tap (%s): name another", info.Name, info.Kind)
	}
	return nil
}

// make brings the interface into being where weft is the one to do so, and
// into shape. It is called again when the interface has gone.
func (d *device) make() error {
	if d.cfg.Type == config.TypeRaw {
		return nil
	}
	info, err := netdev.Find(d.cfg.Netns, d.cfg.Interface)
	missing := errors.Is(err, netdev.ErrMissing)
	if err != nil && !missing {
		return err
	}
	if !missing {
		if err := d.fits(info); err != nil {
			return err
		}
		if err := d.seize(info); err != nil {
			return err // before anything of another weft's is touched
		}
	}
	d.made = d.made || missing || strings.HasPrefix(info.Alias, aliasPrefix)
	if d.cfg.Type == config.TypeInternal {
		if missing {
			return nil // open makes the tap, and sets it up
		}
		return netdev.Configure(d.cfg.Netns, d.cfg.Interface, netdev.Settings{Up: true})
	}
	if err := tap.Create(d.cfg.Interface, d.cfg.Owner, d.cfg.Group); err != nil {
		return err
	}
	want := netdev.Settings{MTU: d.mtu, Up: true}
	if d.made {
		want.Alias = d.alias()
	}
	return netdev.Configure("", d.cfg.Interface, want)
}

// setMTU changes the MTU of an interface that weft has made.
func (d *device) setMTU(mtu int) error {
	d.mtu = mtu
	if !d.made {
		return nil
	}
	// The kernel drops IPv6 addresses below an MTU of 1280: they come back with it.
	want := netdev.Settings{MTU: mtu, Addresses: d.addresses(), Fixed: d.cfg.Seat}
	err := netdev.Configure(d.cfg.Netns, d.cfg.Interface, want)
	if errors.Is(err, netdev.ErrMissing) {
		return nil // it gets the MTU when it is made again
	}
	return err
}

// open returns the I/O of the interface.
func (d *device) open() (ports.Port, error) {
	if d.cfg.Type == config.TypeInternal {
		return d.openInternal()
	}
	return afpacket.Open(d.cfg.Interface, 0)
}

func (d *device) openInternal() (ports.Port, error) {
	var io *tap.Port
	err := netdev.Do(d.cfg.Netns, func() (err error) {
		io, err = tap.Open(d.cfg.Interface)
		return err
	})
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("interface %q is held by another process: stop that one or name another interface", d.cfg.Interface)
	}
	if err != nil {
		return nil, err
	}
	want := netdev.Settings{MTU: d.mtu, MAC: d.cfg.MAC, Addresses: d.addresses(), Fixed: d.cfg.Seat, Alias: d.alias(), Up: true}
	if !d.made {
		want = netdev.Settings{Addresses: d.addresses(), Fixed: d.cfg.Seat, Up: true}
	}
	if err := netdev.Configure(d.cfg.Netns, d.cfg.Interface, want); err != nil {
		io.Stop()
		_ = io.Close()
		return nil, err
	}
	return io, nil
}

// addresses are those that the interface gets. That of the host in a network has the
// addresses of the gateway, and with any of IPv6 its link-local one too.
func (d *device) addresses() []netip.Prefix {
	six := func(p netip.Prefix) bool { return p.Addr().Is6() }
	if !d.cfg.Seat || !slices.ContainsFunc(d.cfg.Addresses, six) {
		return d.cfg.Addresses
	}
	return append(slices.Clip(d.cfg.Addresses), netip.PrefixFrom(ndp.LinkLocal(d.cfg.MAC), 64))
}

// release undoes what weft did to the interface, and removes it where weft
// made it and remove is set.
func (d *device) release(remove bool) error {
	d.unseize()
	if !remove || !d.made {
		return nil
	}
	// By now the name may be somebody else's.
	info, err := netdev.Find(d.cfg.Netns, d.cfg.Interface)
	if errors.Is(err, netdev.ErrMissing) {
		return nil
	}
	if err != nil || info.Kind != kindTap || !strings.HasPrefix(info.Alias, aliasPrefix) {
		return err
	}
	return netdev.Delete(d.cfg.Netns, d.cfg.Interface)
}

// unseize gives the interface back to the host's stack, if it is seized.
func (d *device) unseize() {
	if d.seized != nil {
		d.seized.release()
		d.seized = nil
	}
}

// seizure is an interface taken from the host's stack and from other wefts.
type seizure struct {
	index int
	undo  []func()
}

func (s *seizure) release() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
}

// seize makes weft the only one that works the interface. It holds for one
// incarnation of it: one made anew under the same name is seized anew. The tap
// of an internal port needs none of it: its descriptor is exclusive, and its
// interface is meant for a stack.
func (d *device) seize(info netdev.Info) error {
	if d.cfg.Type == config.TypeInternal || d.seized != nil && d.seized.index == info.Index {
		return nil
	}
	if err := netdev.Usable(info); err != nil {
		return fmt.Errorf("interface %q %w", info.Name, err)
	}
	d.unseize()
	s := &seizure{index: info.Index}
	release, err := netdev.Claim(info.Index)
	if err != nil {
		return fmt.Errorf("interface %q %w", info.Name, err)
	}
	s.undo = append(s.undo, release)
	if d.guard != nil {
		detach, err := d.guard.Attach(info.Index)
		if err != nil {
			s.release()
			return fmt.Errorf("interface %q: %w", info.Name, err)
		}
		s.undo = append(s.undo, func() { _ = detach() })
	}
	restore, err := netdev.Quiet(info.Index, d.guard == nil)
	if err != nil {
		s.release()
		return fmt.Errorf("interface %q: %w", info.Name, err)
	}
	s.undo = append(s.undo, restore)
	d.seized = s
	return nil
}
