package dhcp6

import (
	"cmp"
	"slices"

	"github.com/weft/weft/dataplane/frame"
)

// client is who sent a message.
type client struct {
	key  string    // its DUID
	mac  frame.MAC // of its frames
	host *Host     // its reservation, or nil
}

// identify says who sent a message. A reservation is found by the DUID, else by the
// MAC address of the frames, else by that in the DUID.
func (s *settings) identify(m *message) client {
	c := client{key: string(m.duid), mac: m.mac, host: s.hostsByDUID[string(m.duid)]}
	if c.host == nil {
		c.host = s.hostsByMAC[m.mac]
	}
	if c.host == nil && m.duid != nil {
		if mac := duidMAC(m.duid); mac != (frame.MAC{}) {
			c.host = s.hostsByMAC[mac]
		}
	}
	return c
}

// belongs reports whether a reservation is for the client with that DUID and MAC
// address.
func (s *settings) belongs(h *Host, key string, mac frame.MAC) bool {
	return h != nil && key != "" && s.identify(&message{duid: []byte(key), mac: mac}).host == h
}

// All that a message says of its client, anybody can write who has heard its DUID.
// What can not be written is the port that a frame comes by; and who sends with the
// MAC address of another is the switch's matter.

// isFrom reports whether a message comes from where a client was heard last, if
// that is known. It is needed to take something away from a client.
func (m *message) isFrom(mac frame.MAC, port string) bool {
	return m.mac == mac && (port == "" || port == m.port)
}

// vouchesFor reports whether a message may change whose and where a lease is: it
// is from there, or in a frame of that client, which has moved to another port.
func (m *message) vouchesFor(mac frame.MAC, port string) bool {
	return m.mac == mac || m.port == port
}

// leases returns what an identity association has or had, what it has first, and of
// these the latest.
func (e *engine) leases(c client, a *ia) (all []*binding) {
	for _, b := range e.clients[c.key] {
		if b.of(c.key, a) {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b *binding) int {
		return cmp.Or(cmp.Compare(a.state, b.state), cmp.Compare(b.granted, a.granted))
	})
	return all
}
