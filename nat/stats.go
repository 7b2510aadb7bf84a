package nat

// Class is a group of protocols that are counted together.
type Class uint8

const (
	ClassTCP Class = iota
	ClassUDP
	ClassICMP
	ClassOther
	NumClasses
)

// String returns the name of the class: tcp, udp, icmp, other.
func (c Class) String() string {
	return [...]string{"tcp", "udp", "icmp", "other", "unknown"}[min(c, NumClasses)]
}

// Counters counts the flows of one zone and class.
type Counters struct {
	Flows    int // now
	Mappings int // now; of ports and ICMP identifiers

	Made    uint64 // flows, since the zone was set
	Expired uint64 // flows whose time ran out

	// New flows that were refused, by reason.
	TableFull, HostFull, PortsFull, Unsupported uint64
}

// ZoneStats are the counters of one zone.
type ZoneStats struct {
	Zone    Zone
	Classes [NumClasses]Counters // by Class
}

// Stats are the counters of a table, in the order of its zones.
type Stats struct {
	Zones []ZoneStats
}

// Stats returns the counters.
func (t *Table) Stats() (s Stats) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, z := range *t.zones.Load() {
		if z != nil {
			s.Zones = append(s.Zones, ZoneStats{Zone: z.id, Classes: z.stats})
		}
	}
	return s
}
