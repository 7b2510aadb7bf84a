package uplink

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft/weft/nat"
)

// FewPorts is where an address has too few ports left for guests: a browser alone
// has a hundred open.
const FewPorts = 1024

// Usable is what a host leaves guests of a range of ports.
type Usable struct {
	Ranges string // such as "1024-32767, 61000-65535"; "none" where nothing is left
	InUse  int    // of those, bound by sockets, weft's own among them: of TCP or of UDP, whichever has more
	Free   int    // the others
}

// Usable says what of the ports from first to last guests may have.
func (p *TakenPorts) Usable(first, last uint16) Usable {
	var ranges []string
	total, tcp, udp := 0, 0, 0
	for port := int(first); port <= int(last); port++ {
		if p.Kernel.Has(uint16(port)) {
			continue
		}
		from := port
		for ; port <= int(last) && !p.Kernel.Has(uint16(port)); port++ {
			total++
			tcp += oneIn(&p.BoundTCP, port)
			udp += oneIn(&p.BoundUDP, port)
		}
		ranges = append(ranges, rangeText(from, port-1))
	}
	if len(ranges) == 0 {
		ranges = []string{"none"}
	}
	inUse := max(tcp, udp)
	return Usable{Ranges: strings.Join(ranges, ", "), InUse: inUse, Free: total - inUse}
}

func oneIn(set *nat.PortSet, port int) int {
	if set.Has(uint16(port)) {
		return 1
	}
	return 0
}

func rangeText(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// ReadTaken returns which ports of addrs are not weft's at this moment, as FollowTaken
// does.
func ReadTaken(addrs []netip.Addr) (*TakenPorts, error) {
	t := &Taken{}
	t.setAddresses(addrs)
	defer t.closeFiles()
	return t.open()
}
