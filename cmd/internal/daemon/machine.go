package daemon

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/uplink"
)

// machine is what weft follows of the host it runs on.
type machine struct {
	byDefault *uplink.Host      // the interface of the default route
	addresses *uplink.Addresses // of all interfaces

	mu            sync.Mutex // guards what follows
	current, next string     // interface of the default route, and the one that may become that
	since         time.Time  // next is
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

// settleTime is how long another default route has to last before it is followed,
// unless the interface of the former one is gone. A route that flaps ends no flows.
const settleTime = 5 * time.Second

// DefaultInterface returns the name of the interface of the default route, or of the
// one that was: it may come back, and flows wait for it. It is empty where there has
// been none.
func (m *machine) DefaultInterface() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == "" {
		m.current = m.byDefault.State().Name
	}
	return m.current
}

// settle follows the default route to another interface, and reports whether it has.
func (m *machine) settle() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch now := m.byDefault.State().Name; {
	case now == "" || now == m.current:
		m.next = ""
	case now != m.next:
		m.next, m.since = now, time.Now()
	}
	if m.next == "" || time.Since(m.since) < settleTime && hasLink(m.current) {
		return false
	}
	m.current, m.next = m.next, ""
	return true
}

func hasLink(name string) bool {
	info, err := netdev.Find("", name)
	return err == nil && info.Up && info.Carrier
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
		return r.Type == unix.RTN_LOCAL || r.Type == unix.RTN_BROADCAST || r.Type == unix.RTN_ANYCAST
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
