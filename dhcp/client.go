package dhcp

import "github.com/weft/weft/dataplane/frame"

// client is who sent a message: by its client identifier, or by its hardware
// address where it sent none (RFC 2131 section 4.2).
type client struct {
	key   string    // one for each client
	mac   frame.MAC // zero where its hardware address is not Ethernet
	host  *Host     // its reservation, or nil
	byMAC bool      // the reservation names its MAC address
}

// Keys begin with a letter, so that no client identifier is taken for a
// hardware address.
func keyOfID(id []byte) string      { return "i" + string(id) }
func keyOfMAC(mac frame.MAC) string { return "h" + string(mac[:]) }

// idOf is the inverse of keyOfID, nil for a hardware address.
func idOf(key string) []byte {
	if key == "" || key[0] != 'i' {
		return nil
	}
	return []byte(key[1:])
}

// identify says who sent a message. A client without an identifier and with a
// hardware address that is not Ethernet's cannot be told from others
// (RFC 4390 has such ones send an identifier).
func (s *settings) identify(m *message) (c client, ok bool) {
	mac, ethernet := m.ethernet()
	if m.hwType == hwEthernet && !ethernet || !ethernet && m.clientID == nil {
		return client{}, false
	}
	c.mac = mac
	if m.clientID != nil {
		c.key = keyOfID(m.clientID)
		c.host = s.hostsByID[c.key]
	} else {
		c.key = keyOfMAC(mac)
	}
	if c.host == nil && ethernet {
		c.host = s.hostsByMAC[mac]
	}
	c.byMAC = c.host != nil && ethernet && c.host.MAC == mac
	return c, true
}

// plain reports whether a key says no more than a MAC address: there is no client
// identifier, or it is the one that RFC 2132 section 9.14 makes of the address.
func plain(key string, mac frame.MAC) bool {
	return key[0] == 'h' || len(key) == 2+len(mac) && key[1] == hwEthernet && key[2:] == string(mac[:])
}

// same reports whether two are one client. Firmware and installers often send no
// identifier, and the system behind the same MAC address sends one.
func same(key string, mac frame.MAC, otherKey string, otherMAC frame.MAC) bool {
	if key == otherKey || key == "" || otherKey == "" {
		return key == otherKey
	}
	return mac == otherMAC && mac != frame.MAC{} && (plain(key, mac) || plain(otherKey, otherMAC))
}

// is reports whether a client is the one with that key and MAC address, as far
// as address a is concerned. A reservation for a MAC address is for whatever
// boots behind it: firmware and system have an identifier each, and are one
// client there.
func (s *settings) is(c client, key string, mac frame.MAC, a ip4) bool {
	return same(c.key, c.mac, key, mac) || c.byMAC && s.hostsByAddr[a] == c.host && c.mac == mac
}
