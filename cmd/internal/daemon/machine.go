package daemon

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft/weft/uplink"
)

// machine is what weft follows of the host it runs on.
type machine struct {
	byDefault *uplink.Host      // the interface of the default route
	addresses *uplink.Addresses // of all interfaces
	last      atomic.Pointer[string]
}

// followMachine calls changed for every change, from other goroutines.
func followMachine(changed func()) (*machine, error) {
	m := &machine{}
	var err error
	if m.byDefault, err = uplink.FollowHost("", func(uplink.State) { changed() }); err != nil {
		return nil, err
	}
	if m.addresses, err = uplink.FollowAddresses(func([]netip.Addr) { changed() }); err != nil {
		m.byDefault.Close()
		return nil, err
	}
	return m, nil
}

// DefaultInterface returns the name of the interface of the default route, or of the
// one that was: it may come back, and flows wait for it. It is empty where there has
// been none.
func (m *machine) DefaultInterface() string {
	if name := m.byDefault.State().Name; name != "" {
		m.last.Store(&name)
	}
	if last := m.last.Load(); last != nil {
		return *last
	}
	return ""
}

// Addresses returns the addresses that this host can be reached at.
func (m *machine) Addresses() []netip.Addr { return m.addresses.List() }

// IsLocal reports whether what is sent to an address ends at this host: it is one of
// its own, or the table of local routes says so.
func (m *machine) IsLocal(a netip.Addr) bool {
	if slices.Contains(m.Addresses(), a) {
		return true
	}
	routes, err := netlink.RouteGet(a.AsSlice())
	return err == nil && slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_BROADCAST
	})
}

func (m *machine) close() {
	m.byDefault.Close()
	m.addresses.Close()
}

// stateOf reads what an interface is like now.
func stateOf(name string) (uplink.State, error) {
	h, err := uplink.FollowHost(name, nil)
	if err != nil {
		return uplink.State{}, err
	}
	defer h.Close()
	return h.State(), nil
}
