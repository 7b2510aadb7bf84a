package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/token"

	"github.com/weft/weft/dataplane/frame"
)

// YAML returns the text that Parse makes c of again, every default written
// out. C must be valid.
func (c *Config) YAML() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "metrics:\n  listen: %s\n", plain(c.Metrics.Listen))
	if len(c.Networks) > 0 {
		b.WriteString("networks:\n")
	}
	for i := range c.Networks {
		writeNetwork(&b, &c.Networks[i])
	}
	return b.Bytes()
}

func writeNetwork(b *bytes.Buffer, n *Network) {
	fmt.Fprintf(b, "  %s:\n    forward: %s\n    mtu: %d\n", plain(n.Name), plain(n.Forward), n.MTU)
	f := &n.FDB
	fmt.Fprintf(b, "    fdb:\n      ageing: %v\n      limit: %d\n      port_limit: %d\n", f.Ageing, f.Limit, f.PortLimit)
	if len(f.Static) > 0 {
		b.WriteString("      static:\n")
	}
	for _, s := range f.Static {
		fmt.Fprintf(b, "        - {mac: %s, vlan: %d, port: %s}\n", plain(s.MAC.String()), s.VLAN, plain(s.Port))
	}
	if len(n.Ports) > 0 {
		b.WriteString("    ports:\n")
	}
	for i := range n.Ports {
		p := &n.Ports[i]
		fmt.Fprintf(b, "      %s: {%s}\n", plain(p.Name), strings.Join(pairs(p), ", "))
	}
}

func pairs(p *Port) []string {
	var out []string
	add := func(key, text string) {
		if text != "" {
			out = append(out, key+": "+text)
		}
	}
	add("type", plain(p.Type))
	add("interface", plain(p.Interface))
	add("netns", plain(p.Netns))
	add("owner", plain(p.Owner))
	add("group", plain(p.Group))
	if p.MAC != (frame.MAC{}) {
		add("mac", plain(p.MAC.String()))
	}
	add("address", addressList(p.Addresses))
	add("mode", plain(p.Mode))
	return out
}

func addressList(list []netip.Prefix) string {
	if len(list) == 0 {
		return ""
	}
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = plain(a.String())
	}
	return "[" + strings.Join(out, ", ") + "]"
}

// plain quotes what some reader of YAML would not take for a string as it
// stands; the empty string stays empty, for a key that is left out.
func plain(s string) string {
	if s == "" || isWord(s) && !token.IsNeedQuoted(s) {
		return s
	}
	return strconv.Quote(s)
}

// isWord reports whether s begins with a letter and goes on with what means
// nothing to YAML, in a flow map too.
func isWord(s string) bool {
	first := s[0] | 0x20
	return first >= 'a' && first <= 'z' && !strings.ContainsFunc(s, func(c rune) bool { return !isNameRune(c) })
}
