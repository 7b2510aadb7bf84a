package dhcp

import "github.com/weft/weft/dataplane/frame"

// All that a message says of its client, anybody can write who knows the client's
// MAC address, and all do. What can not be written is the port that a frame
// comes by; and who sends with the MAC address of another is the switch's matter.

// genuine reports whether a message comes in a frame of the client that it names.
// One by a relay, or of other hardware than Ethernet, says nothing about that.
func (m *message) genuine() bool {
	mac, ethernet := m.ethernet()
	return m.relay != 0 || !ethernet || m.sender == mac
}

// isFrom reports whether a message comes from where a client was heard last, if
// that is known. It is needed to take something away from a client.
func (m *message) isFrom(port string) bool {
	return m.genuine() && (port == "" || port == m.port)
}

// vouchesFor reports whether a message may change whose and where a lease is: it
// is from there, or in a frame of that client, which has moved to another port.
func (m *message) vouchesFor(mac frame.MAC, port string) bool {
	own, ethernet := m.ethernet()
	return m.isFrom(port) || m.relay == 0 && ethernet && m.sender == own && own == mac
}
