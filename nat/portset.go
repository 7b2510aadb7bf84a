package nat

// PortSet is a set of ports. The zero PortSet is empty.
type PortSet [65536 / 64]uint64

// Add puts a port into the set.
func (s *PortSet) Add(port uint16) { s[port>>6] |= 1 << (port & 63) }

// AddRange puts the ports from first to last into the set, both included.
func (s *PortSet) AddRange(first, last uint16) {
	for p := int(first); p <= int(last); p++ {
		s.Add(uint16(p))
	}
}

// Has reports whether the set holds a port.
func (s *PortSet) Has(port uint16) bool { return s[port>>6]>>(port&63)&1 != 0 }

// Remove takes a port out of the set.
func (s *PortSet) Remove(port uint16) { s[port>>6] &^= 1 << (port & 63) }
