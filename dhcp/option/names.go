package option

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// checkName checks a domain name by the lengths of RFC 1035 section 2.3.4. An
// underscore is let through: names of services have one.
func checkName(name string) error {
	bare := strings.TrimSuffix(name, ".")
	if bare == "" || len(bare) > 253 {
		return fmt.Errorf("%q is not a domain name: 1-253 characters", name)
	}
	for part := range strings.SplitSeq(bare, ".") {
		if part == "" || len(part) > 63 {
			return fmt.Errorf("%q is not a domain name: a part between dots has 1-63 characters", name)
		}
		for _, c := range []byte(part) {
			if c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
				return fmt.Errorf("%q is not a domain name: it has letters, digits, - and dots", name)
			}
		}
	}
	return nil
}

// parseNames encodes names as labels (RFC 1035 section 3.1), and where compress
// is set points to what stands before (section 4.1.4, as RFC 3397 has it).
func parseNames(names []string, compress bool) ([]byte, error) {
	var data []byte
	seen := map[string]int{}
	for _, name := range names {
		if err := checkName(name); err != nil {
			return nil, err
		}
		rest := strings.ToLower(strings.TrimSuffix(name, "."))
		for rest != "" {
			if at, ok := seen[rest]; ok && compress {
				data = append(data, 0xc0|byte(at>>8), byte(at))
				break
			}
			if len(data) > MaxData {
				return nil, fmt.Errorf("has too many names: at most %d bytes of them", MaxData)
			}
			seen[rest] = len(data)
			var part string
			part, rest, _ = strings.Cut(rest, ".")
			data = append(append(data, byte(len(part))), part...)
			if rest == "" {
				data = append(data, 0)
			}
		}
	}
	return data, nil
}

// parseServers encodes SIP servers (RFC 3361): either names or addresses.
func parseServers(parts []string) ([]byte, error) {
	if data, err := parseEach(parts, parseAddress); err == nil {
		return append([]byte{1}, data...), nil
	}
	for _, part := range parts {
		if _, err := netip.ParseAddr(part); err == nil {
			return nil, errors.New("takes names or IPv4 addresses, not both")
		}
	}
	data, err := parseNames(parts, false)
	return append([]byte{0}, data...), err
}

// parseRoutes encodes network and router in turn (RFC 3442): the length of the
// prefix, as many of its bytes as matter, and the router.
func parseRoutes(parts []string) (data []byte, err error) {
	if len(parts)%2 != 0 {
		return nil, errors.New("takes a network and its router in turn: 10.0.0.0/8,192.0.2.1")
	}
	for i := 0; i < len(parts); i += 2 {
		network, err := netip.ParsePrefix(parts[i])
		if addr, failed := netip.ParseAddr(parts[i]); failed == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || !network.Addr().Is4() {
			return nil, fmt.Errorf("%q is not an IPv4 network such as 10.0.0.0/8", parts[i])
		}
		if network != network.Masked() {
			return nil, fmt.Errorf("%q has bits beside its prefix: %s is the network", parts[i], network.Masked())
		}
		bits := network.Bits()
		data = append(append(data, byte(bits)), network.Addr().AsSlice()[:(bits+7)/8]...)
		if data, err = parseAddress(data, parts[i+1]); err != nil {
			return nil, err
		}
	}
	return data, nil
}
