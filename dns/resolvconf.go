package dns

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
)

const (
	defaultResolvConf = "/etc/resolv.conf"
	maxResolvConf     = 1 << 20 // bytes
	maxNameservers    = 8       // the C library uses 3
)

// parseResolvConf reads the name servers from a file in the format of
// resolv.conf(5). They may be on the host itself, as the stub of systemd-resolved
// at 127.0.0.53 is, and link-local with a scope.
func parseResolvConf(path string, data []byte) ([]netip.AddrPort, []string) {
	var out []netip.AddrPort
	p := &problems{path: path}
	for number := 1; len(data) > 0; number++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != "nameserver" {
			continue // comments begin with # or ;
		}
		if len(fields) == 1 {
			p.add(number, "nameserver has no address: write one behind it")
			continue
		}
		addr, err := netip.ParseAddr(string(fields[1]))
		if err != nil {
			p.add(number, "%s is no address: a name server is given by one", excerpt(fields[1]))
			continue
		}
		server := netip.AddrPortFrom(addr.Unmap(), port)
		if slices.Contains(out, server) {
			continue
		}
		if len(out) == maxNameservers {
			p.add(number, "more than %d name servers: the rest is left out", maxNameservers)
			break
		}
		out = append(out, server)
	}
	if len(out) == 0 {
		p.texts = append(p.texts, fmt.Sprintf("%s names no server: names of elsewhere are refused until it does", path))
	}
	return out, p.list()
}
