package daemon

import (
	"fmt"
	"net/netip"

	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/ports/netdev"
)

// builtin returns the configuration that weft runs without a file, in a subnet
// that this host does not use, and what there is to say about the choice.
func builtin() (*config.Config, string, error) {
	used, err := netdev.Subnets(aliasPrefix)
	if err != nil {
		return nil, "", err
	}
	first := subnet(122)
	owner, taken := usedBy(used, first)
	if !taken {
		return config.DefaultOn(first), "", nil
	}
	for i := 1; i < 256; i++ {
		next := subnet(byte(122 + i))
		if _, taken := usedBy(used, next); !taken {
			return config.DefaultOn(next), fmt.Sprintf("network %q is %v: this host uses %v itself (%s)", config.DefaultNetwork, next, first, owner), nil
		}
	}
	return nil, "", fmt.Errorf("network %q: this host uses all of 192.168.0.0/16 itself: write a file with another address, and start with -c", config.DefaultNetwork)
}

func subnet(third byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, third, 0}), 24)
}

// usedBy returns the interface by which this host reaches something of a subnet.
func usedBy(used []netdev.Subnet, p netip.Prefix) (string, bool) {
	for _, u := range used {
		if u.Prefix.Overlaps(p) {
			return u.Interface, true
		}
	}
	return "", false
}
