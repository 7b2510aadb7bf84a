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
		return builtinOn(first, used), "", nil
	}
	for i := 1; i < 256; i++ {
		next := subnet(byte(122 + i))
		if _, taken := usedBy(used, next); !taken {
			return builtinOn(next, used), fmt.Sprintf("network %q is %v: this host uses %v itself (%s)", config.DefaultNetwork, next, first, owner), nil
		}
	}
	return nil, "", fmt.Errorf("network %q: this host uses all of 192.168.0.0/16 itself: write a file with another address, and start with -c", config.DefaultNetwork)
}

// builtinOn has a unique local subnet that this host does not use: where it is a guest
// of another weft's default network, the usual one is taken.
func builtinOn(subnet netip.Prefix, used []netdev.Subnet) *config.Config {
	c := config.DefaultOn(subnet)
	n := &c.Networks[0]
	own := config.ULA(n.Name)
	next := own
	for i := 1; i < 256; i++ {
		if _, taken := usedBy(used, next); !taken {
			break
		}
		next = config.ULA(fmt.Sprintf("%s %d", n.Name, i))
	}
	if next == own {
		return c
	}
	for i, a := range n.Addresses {
		if a == own {
			n.Addresses[i] = next
		}
	}
	n.ULA = false
	c.Normalize()
	return c
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
