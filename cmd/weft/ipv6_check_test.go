package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// The keys of IPv6 in a file that cannot be: one line for each, that says where it is
// and what.
func TestCheckOfIPv6(t *testing.T) {
	t.Parallel()
	porttest.Require(t)
	w := newWeft(t, porttest.NewNS(t, "host"), "")
	const six = "address: \"2001:db8:1::1/64\"\n"
	for name, c := range map[string]struct {
		settings string
		line     int
		want     string
	}{
		"the subnet itself":              {"address: \"2001:db8:1::/64\"", 3, "2001:db8:1::1/64"},
		"a link-local gateway":           {"address: \"fe80::1/64\"", 3, "link-local"},
		"a group":                        {"address: \"ff02::1/64\"", 3, "ff02::1"},
		"SLAAC in a longer prefix":       {"address: \"2001:db8:1::1/80\"", 3, "autonomous: false"},
		"nine addresses":                 {"address: [" + strings.Repeat("ula, ", 8) + "ula]", 3, "at most 8"},
		"the same subnet twice":          {"address: [\"2001:db8:1::1/64\", \"2001:db8:1::2/64\"]", 3, "overlaps"},
		"an IPv4 address in disguise":    {"address: \"::ffff:10.0.0.1/120\"", 3, "10.0.0.1"},
		"an MTU too small for IPv6":      {six + "mtu: 1000", 4, "1280"},
		"an unknown word":                {"address: ulla", 3, "ulla"},
		"a key of ra":                    {six + "ra:\n  liftime: 30m", 5, "lifetime"},
		"a quick router":                 {six + "ra:\n  interval: 1s", 5, "4s-1800s"},
		"a router gone before the next":  {six + "ra:\n  lifetime: 60s", 5, "lifetime"},
		"preferred for longer than good": {six + "ra: {valid: 20m, preferred: 30m}", 4, "preferred"},
		"a preference":                   {six + "ra: {preference: best}", 4, "best"},
		"an MTU to tell":                 {six + "ra: {mtu: 1600}", 4, "1600"},
		"a resolver of IPv4":             {six + "ra: {rdnss: 10.0.0.1}", 4, "10.0.0.1"},
		"a route of IPv4":                {six + "ra: {routes: [10.0.0.0/8]}", 4, "10.0.0.0/8"},
		"a range of IPv4":                {six + "dhcp6: {range: 10.0.0.2-10.0.0.9}", 4, "10.0.0.2"},
		"a range of elsewhere":           {six + "dhcp6:\n  range: \"2001:db8:2::2-2001:db8:2::9\"", 5, "2001:db8:2::2"},
		"a range over the gateway":       {six + "dhcp6: {range: \"2001:db8:1::1-2001:db8:1::9\"}", 4, "gateway"},
		"a backward range":               {six + "dhcp6: {range: \"2001:db8:1::9-2001:db8:1::2\"}", 4, "2001:db8:1::9"},
		"overlapping ranges":             {six + "dhcp6: {range: [\"2001:db8:1::10-2001:db8:1::20\", \"2001:db8:1::15-2001:db8:1::25\"]}", 4, "overlap"},
		"stateless with a range":         {six + "dhcp6: {stateless: true, range: \"" + pool6 + "\"}", 4, "stateless"},
		"a short lease":                  {six + "dhcp6: {range: \"" + pool6 + "\", lease: 1s}", 4, "lease"},
		"a reservation for nobody":       {six + "dhcp6:\n  hosts:\n    - {address: \"2001:db8:1::9\"}", 6, "duid"},
		"a DUID of two bytes":            {six + "dhcp6:\n  hosts:\n    - {duid: \"00:01\", address: \"2001:db8:1::9\"}", 6, "2 bytes"},
		"a reservation twice":            {six + "dhcp6:\n  hosts:\n    - {duid: \"00:01:02\", address: \"2001:db8:1::9\"}\n    - {duid: \"00:01:02\", address: \"2001:db8:1::8\"}", 7, "00:01:02"},
		"an address twice":               {six + "dhcp6:\n  hosts:\n    - {duid: \"00:01:02\", address: \"2001:db8:1::9\"}\n    - {duid: \"00:01:03\", address: \"2001:db8:1::9\"}", 7, "2001:db8:1::9"},
		"a reservation of elsewhere":     {six + "dhcp6:\n  hosts:\n    - {duid: \"00:01:02\", address: \"2001:db8:2::9\"}", 6, "2001:db8:2::9"},
		"a pool over the subnet":         {six + "dhcp6:\n  delegate:\n    - {prefix: \"2001:db8::/32\", length: 56}", 6, "2001:db8::/32"},
		"prefixes longer than 64":        {six + "dhcp6: {delegate: [{prefix: \"2001:db8:100::/48\", length: 72}]}", 4, "72"},
		"prefixes shorter than a pool":   {six + "dhcp6: {delegate: [{prefix: \"2001:db8:100::/48\", length: 40}]}", 4, "40"},
		"an unknown option":              {six + "dhcp6: {stateless: true, options: {no-such: 1}}", 4, "no-such"},
		"the server's option":            {six + "dhcp6: {stateless: true, options: {\"2\": 1}}", 4, "server itself"},
		"DHCP without IPv4":              {six + "dhcp: {range: 10.0.0.2-10.0.0.9}", 4, "IPv4"},
		"a guard of neither kind":        {"ports:\n  p1:\n    type: tap\n    guard: {nd: true}", 6, "nd"},
		"a guard of a word":              {"ports: {p1: {type: tap, guard: true}}", 3, "guard"},
		"a route between families":       {six + "forward: nat\nroutes:\n  - {to: \"2001:db8:7::/64\", via: 10.0.0.7}", 6, "10.0.0.7"},
		"itself as upstream":             {six + "dns: {upstream: \"2001:db8:1::1\"}", 4, "loop"},
	} {
		t.Run(name, func(t *testing.T) {
			w.write("networks:\n  lan:\n    " + strings.ReplaceAll(c.settings, "\n", "\n    ") + "\n")
			out, err := w.host.TryRun(w.bin, "check", w.config)
			if want := fmt.Sprintf("weft: %s:%d: ", w.config, c.line); err == nil || !strings.HasPrefix(out, want) ||
				!strings.Contains(out, c.want) || strings.Count(out, "\n") != 1 || !strings.Contains(err.Error(), "exit status 1") {
				t.Errorf("want one line that begins with %q and holds %q, got %v:\n%s", want, c.want, err, out)
			}
		})
	}
}
