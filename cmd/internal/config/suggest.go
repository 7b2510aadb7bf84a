package config

import "strings"

// hint returns what to append to a message about an unknown word.
func hint(word string, known []string) string {
	if near := nearest(word, known); near != "" {
		return "; did you mean " + quoted(near) + "?"
	}
	if len(known) == 0 {
		return ""
	}
	return "; known here: " + strings.Join(known, ", ")
}

// elsewhere is hint for what other servers have as a key of its own and this one
// says by another; empty for all other words.
func elsewhere(at place, word string) string {
	list, _, _ := strings.Cut(at.key, "[")
	key := list + "." + word
	if at.network != "" && at.port == "" {
		if why := elsewhereInNetwork(key); why != "" {
			return why
		}
	}
	switch key {
	case "dns.cname":
		return ": a second name of a host is one more line of hosts, with the same address"
	case "dns.address":
		return ": write names with their addresses in hosts"
	case "dns.server":
		return ": write upstream for all names, or domains for those of one domain"
	case "dhcp.option", "dhcp6.option":
		return ": write options, a map of numbers or names with their values"
	}
	if at.port != "" {
		switch key {
		case ".ra_guard", ".ipv6_ra_guard", ".dhcp_guard", ".dhcp_snooping":
			return ": write guard: {ra: true, dhcp: true}"
		}
	}
	return ""
}

// elsewhereInNetwork is elsewhere for what goes out of a network.
func elsewhereInNetwork(key string) string {
	switch key {
	case ".hostfwd", ".portfwd", ".port_forward", ".port_forwards", ".forwards", ".dnat", ".redirect", ".publish":
		return `: write nat: {publish: [{protocol: tcp, listen: 19888, to: "192.168.122.10:22"}]}`
	case "nat.hostfwd", "nat.portfwd", "nat.port_forward", "nat.forward", "nat.forwards", "nat.dnat", "nat.redirect":
		return `: write publish: [{protocol: tcp, listen: 19888, to: "192.168.122.10:22"}]`
	case ".masquerade", ".snat", "nat.masquerade", "nat.snat", "nat.enabled":
		return ": forward: nat is all that it takes"
	case ".gateway", ".gw":
		return ": the gateway that weft is has address, and one outside is the gateway of uplink"
	case ".static_routes", ".static-routes":
		return ": write routes"
	case ".address6", ".addresses", ".ipv6", ".ipv6_address", "uplink.address6", "uplink.ipv6", "uplink.addresses":
		return ": write both in address, such as " + bothAddresses(key)
	case "uplink.gateway6", "uplink.gateways":
		return ": write both in gateway, such as [192.0.2.1, \"fe80::1\"]"
	case "uplink.proxy_nd", "uplink.proxy_ndp", "uplink.ndp_proxy":
		return ": write proxy_arp, which is for both families"
	case ".radvd", ".router_advertisement", ".router_advertisements", ".slaac":
		return ": write ra"
	case "dhcp6.pd", "dhcp6.prefix_delegation", "dhcp6.delegated", ".prefix_delegation":
		return ": write dhcp6: {delegate: [{prefix: \"2001:db8:100::/48\", length: 56}]}"
	case "dhcp6.dns", "dhcp6.domain_name", "ra.dns":
		return ": the domain is that of dns, and servers are rdnss of ra, or dns-servers in options of dhcp6"
	case ".nat66", ".nptv6", ".npt", "nat.nat66", "nat.nptv6", "nat.npt", "nat.prefix":
		return ": write nat: {ipv6: masquerade}, or an outside prefix in its place"
	case "uplink.dev", "uplink.device", "uplink.nic", "uplink.ifname":
		return ": write interface"
	case "routes.dst", "routes.destination", "routes.prefix", "routes.subnet":
		return ": write to"
	case "routes.gateway", "routes.gw", "routes.nexthop", "routes.next_hop":
		return ": write via"
	case "nat.publish.proto":
		return ": write protocol"
	case "nat.publish.port", "nat.publish.host_port", "nat.publish.from":
		return ": write listen for the outside port, and to for that of the guest"
	case "nat.publish.target", "nat.publish.guest", "nat.publish.guest_port":
		return `: write to, such as "192.168.122.10:22"`
	}
	return ""
}

func bothAddresses(key string) string {
	if strings.HasPrefix(key, "uplink.") {
		return `[192.0.2.2/24, "2001:db8::2/64"] or [dhcp, slaac]`
	}
	return `[192.168.122.1/24, "2001:db8::1/64"]`
}

// nearest returns the known word that takes the fewest edits to reach, empty
// where all of them need more than a third of the letters changed, of the longer
// of the two: passthru is short for passthrough.
func nearest(word string, known []string) string {
	const longest = 32 // nobody mistypes by so much, and edits is quadratic
	if len(word) > longest {
		return ""
	}
	best, least := "", longest
	for _, k := range known {
		most := max(1, max(len(word), len(k))/3)
		if d := edits(strings.ToLower(word), strings.ToLower(k)); d <= most && d < least {
			best, least = k, d
		}
	}
	return best
}

// edits counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (the restricted Damerau-Levenshtein distance).
func edits(a, b string) int {
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
