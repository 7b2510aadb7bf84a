package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// settingWord is what a Use line calls a setting.
const settingWord = "KEY=VALUE"

// A setting is a key of the configuration file that can change while traffic
// runs: its path there, and the values it takes, where those are few.
type setting struct {
	path   string
	values []string

	entries bool // it is a map from names: what stands behind the path and a dot is one, dots and all
	resets  bool // it is a list of maps, which no VALUE is: it can only be reset
}

func portSettings() []setting {
	truth := []string{"true", "false"}
	return []setting{
		{path: "mode", values: []string{"bridge", "vepa", "private", "passthrough"}},
		{path: "hairpin", values: truth},
		{path: "isolated", values: truth},
		{path: "vlan.access"},
		{path: "vlan.trunk"},
		{path: "vlan.native"},
		{path: "stp.edge", values: []string{"auto", "true", "false"}},
		{path: "stp.priority"},
		{path: "stp.cost"},
		{path: "stp.root_guard", values: truth},
		{path: "stp.bpdu_guard", values: truth},
		{path: "security.max_macs"},
		{path: "security.sticky", values: truth},
		{path: "security.sources"},
		{path: "storm.broadcast"},
		{path: "storm.multicast"},
		{path: "storm.unknown"},
		{path: "guard.ra", values: truth},
		{path: "guard.dhcp", values: truth},
		{path: "rate.ingress.average"},
		{path: "rate.ingress.peak"},
		{path: "rate.ingress.burst"},
		{path: "rate.egress.average"},
		{path: "rate.egress.peak"},
		{path: "rate.egress.burst"},
	}
}

func networkSettings() []setting {
	truth := []string{"true", "false"}
	return []setting{
		{path: "mac"},
		{path: "mtu"},
		{path: "reserved_groups", values: []string{"switch", "wire"}},
		{path: "stp.enabled", values: truth},
		{path: "stp.priority"},
		{path: "stp.hello"},
		{path: "stp.max_age"},
		{path: "stp.forward_delay"},
		{path: "snooping.enabled", values: truth},
		{path: "snooping.querier", values: truth},
		{path: "snooping.interval"},
		{path: "fdb.ageing"},
		{path: "fdb.limit"},
		{path: "fdb.port_limit"},
		{path: "address"},
		{path: "vlan"},
		{path: "host_port"},
		{path: "forward", values: []string{"isolated", "nat", "route"}},
		{path: "inbound.ipv4", values: []string{"open", "published"}},
		{path: "inbound.ipv6", values: []string{"open", "published"}},
		{path: "routes", resets: true},
		{path: "reach"},
		{path: "uplink.interface"},
		{path: "uplink.address"},
		{path: "uplink.gateway"},
		{path: "uplink.proxy_arp", values: truth},
		{path: "nat.ports"},
		{path: "nat.addresses"},
		{path: "nat.mapping", values: []string{"endpoint-independent", "symmetric"}},
		{path: "nat.filtering", values: []string{"address", "endpoint", "none"}},
		{path: "nat.max_flows"},
		{path: "nat.max_flows_per_host"},
		{path: "nat.publish", resets: true},
		{path: "nat.ipv6", values: []string{"masquerade", "route"}}, // or a prefix
		{path: "nat.timeouts.udp"},
		{path: "nat.timeouts.tcp"},
		{path: "nat.timeouts.tcp_transitory"},
		{path: "nat.timeouts.icmp"},
		{path: "nat.timeouts.other"},
		{path: "dhcp.range"},
		{path: "dhcp.lease"},
		{path: "dhcp.max_leases"},
		{path: "dhcp.authoritative", values: truth},
		{path: "dhcp.probe", values: truth},
		{path: "dhcp.no_override", values: truth},
		{path: "dhcp.router"},
		{path: "dhcp.ntp"},
		{path: "dhcp.domain_search"},
		{path: "dhcp.next_server"},
		{path: "dhcp.server_name"},
		{path: "dhcp.bootfile"},
		{path: "dhcp.options", entries: true},
		{path: "dhcp.hosts", resets: true},
		{path: "dhcp.hosts_file"},
		{path: "ra.enabled", values: truth},
		{path: "ra.interval"},
		{path: "ra.lifetime"},
		{path: "ra.preference", values: []string{"low", "medium", "high"}},
		{path: "ra.managed", values: []string{"auto", "true", "false"}},
		{path: "ra.other", values: []string{"auto", "true", "false"}},
		{path: "ra.mtu"},
		{path: "ra.hop_limit"},
		{path: "ra.valid"},
		{path: "ra.preferred"},
		{path: "ra.autonomous", values: truth},
		{path: "ra.rdnss"},
		{path: "ra.dnssl"},
		{path: "ra.routes"},
		{path: "dhcp6.range"},
		{path: "dhcp6.lease"},
		{path: "dhcp6.max_leases"},
		{path: "dhcp6.rapid_commit", values: truth},
		{path: "dhcp6.stateless", values: truth},
		{path: "dhcp6.ntp"},
		{path: "dhcp6.domain_search"},
		{path: "dhcp6.options", entries: true},
		{path: "dhcp6.hosts", resets: true},
		{path: "dhcp6.delegate", resets: true},
		{path: "dns.enabled", values: truth},
		{path: "dns.slaac", values: truth},
		{path: "dns.name"},
		{path: "dns.domain"},
		{path: "dns.upstream"},
		{path: "dns.forward_plain", values: truth},
		{path: "dns.cache"},
		{path: "dns.domains", entries: true},
		{path: "dns.hosts", entries: true},
		{path: "dns.txt", entries: true},
		{path: "dns.srv", resets: true},
		{path: "dns.hosts_file"},
	}
}

// settingsOf returns what the commands of a group can set.
func settingsOf(cmd *cobra.Command) []setting {
	switch cmd.Parent().Name() {
	case "port":
		return portSettings()
	case "network":
		return networkSettings()
	}
	return nil
}

func paths(known []setting) []string {
	var all []string
	for _, s := range known {
		all = append(all, s.path)
	}
	return all
}

// settingsHelp explains what stands in place of KEY and VALUE, the keys of one
// map in one line.
func settingsHelp(known []setting) string {
	text := "KEY is one of the configuration file, VALUE as it is written there, a list with\n" +
		"commas. KEY= resets a key to its default, and so all keys below it: \"stp=\".\n" +
		entryHelp(known) + resetHelp(known) + "\nKeys:"
	last := ""
	for i, s := range known {
		level := s.path[:strings.LastIndex(s.path, ".")+1]
		if i == 0 || level != last {
			text += "\n "
		}
		text += " " + s.path
		if s.resets {
			text += "="
		}
		if s.entries {
			text += " " + s.path + "." + entryWord
		}
		last = level
	}
	return text
}

// entryHelp explains keys with a name in them, where there are any.
func entryHelp(known []setting) string {
	if !slices.ContainsFunc(known, func(s setting) bool { return s.entries }) {
		return ""
	}
	return "KEY." + entryWord + "=VALUE changes one entry of a map, \"dns.hosts.web.lab=10.0.0.9\", and KEY." + entryWord + "=\n" +
		"takes it away; [] is an empty list.\n"
}

// resetHelp explains keys that take no value, where there are any.
func resetHelp(known []setting) string {
	if !slices.ContainsFunc(known, func(s setting) bool { return s.resets }) {
		return ""
	}
	return "A key that stands here with its = can only be reset: what it holds is written in the\n" +
		"file, and has commands of its own where there are such (\"weft lease\", \"weft publish\").\n"
}

// entryWord stands for a name that the user chooses, in a path that is shown.
const entryWord = "NAME"

// split returns the steps of a path. The name of an entry is one, whatever dots it
// has; nil where a step is empty.
func split(known []setting, path string) []string {
	for _, s := range known {
		if name, ok := strings.CutPrefix(path, s.path+"."); ok && s.entries && name != "" {
			return append(strings.Split(s.path, "."), name)
		}
	}
	steps := strings.Split(path, ".")
	if slices.Contains(steps, "") {
		return nil
	}
	return steps
}

// parseSettings turns KEY=VALUE words into the JSON merge patch that asks for
// them (RFC 7396): each value a string, for the daemon to judge, and none for
// KEY= alone. Whichever of a key and one below it came last in a patch would
// win, so both at once are refused.
func parseSettings(known []setting, words []string) (json.RawMessage, error) {
	patch := map[string]any{}
	var seen [][]string
	for _, word := range words {
		path, value, ok := strings.Cut(word, "=")
		steps := split(known, path)
		if steps == nil {
			return nil, fmt.Errorf("%q names no key: write it like mode=vepa", word)
		}
		if !ok {
			return nil, fmt.Errorf("%q has no value: write %s=VALUE, or %s= for the default", word, path, path)
		}
		for _, other := range seen {
			if err := clash(other, steps); err != nil {
				return nil, err
			}
		}
		seen = append(seen, steps)
		put(patch, steps, value)
	}
	return json.Marshal(patch)
}

// clash refuses two paths of which one holds the other.
func clash(a, b []string) error {
	both := min(len(a), len(b))
	switch first, second := strings.Join(a, "."), strings.Join(b, "."); {
	case !slices.Equal(a[:both], b[:both]):
		return nil
	case len(a) == len(b):
		return fmt.Errorf("%q is given twice", first)
	default:
		return fmt.Errorf("%q and %q in one command: one is part of the other, so set them one after the other", first, second)
	}
}

// put sets a value in nested maps; the path is not empty.
func put(m map[string]any, path []string, value string) {
	for _, step := range path[:len(path)-1] {
		next, ok := m[step].(map[string]any)
		if !ok {
			next = map[string]any{}
			m[step] = next
		}
		m = next
	}
	last := path[len(path)-1]
	switch value {
	case "":
		m[last] = nil
	case "[]": // which no text can mean
		m[last] = []any{}
	default:
		m[last] = value
	}
}

// checkSettings is parseSettings for the arguments of a command.
func checkSettings(cmd *cobra.Command, words []string) (json.RawMessage, error) {
	patch, err := parseSettings(settingsOf(cmd), words)
	if err != nil {
		return nil, usagef("%s%w", where(cmd), err)
	}
	return patch, nil
}

// missingSettings is the error of a command that was told nothing to set.
func missingSettings(cmd *cobra.Command) error {
	return usagef("%s%s is missing: the keys are %s", where(cmd), settingWord, strings.Join(paths(settingsOf(cmd)), ", "))
}

// completeSetting offers keys, and the values of one that takes only few.
func completeSetting(known []setting, typed string) ([]string, cobra.ShellCompDirective) {
	path, _, valued := strings.Cut(typed, "=")
	var found []string
	for _, s := range known {
		switch {
		case !valued:
			found = append(found, s.path+"=")
			if s.entries {
				found = append(found, s.path+".")
			}
		case s.path == path:
			for _, v := range s.values {
				found = append(found, path+"="+v)
			}
		}
	}
	found = slices.DeleteFunc(found, func(word string) bool { return !strings.HasPrefix(word, typed) })
	if valued {
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func newNetworkSetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "set NETWORK " + settingWord + "...",
		Short: "Change settings of a network while traffic runs",
		Long: "Change settings of a network while traffic runs, all of them or none. They stay\n" +
			"until they are set again, a configuration is applied, or the daemon ends.\n\n" + settingsHelp(networkSettings()),
		Example: "  weft network set lab stp.enabled=true stp.priority=4096\n" +
			"  weft network set lab snooping.enabled=true fdb.ageing=\n" +
			"  weft network set lab dns.hosts.web.lab=10.0.0.9 dns.domains.corp.example=[]\n" +
			"  weft network set lab dhcp.options.ntp-server=10.0.0.1 dns.txt.lab=\n" +
			"  weft network set lab forward=nat uplink.interface=eth0 nat.ports=20000-29999\n" +
			"  weft network set lab address=10.0.0.1/24,ula dhcp6.stateless=true ra.interval=60s",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := checkSettings(cmd, args[1:])
			if err != nil {
				return err
			}
			_, err = a.client().SetNetwork(cmd.Context(), args[0], patch)
			return err
		},
	}
}

// vlanHelp is for the one map whose keys exclude each other.
const vlanHelp = "\n\nA port has vlan.access, or vlan.trunk with or without vlan.native. So whoever sets\n" +
	"one resets the other: \"vlan.access= vlan.trunk=10,20\" makes a trunk port of an\n" +
	"access port. \"vlan=\" alone resets all of vlan: the port carries every VLAN again."

func newPortSetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "set NETWORK PORT " + settingWord + "...",
		Short: "Change the policy of a port while traffic runs",
		Long: "Change the policy of a port while traffic runs, all that is given or nothing. It\n" +
			"stays until it is set again, a configuration is applied, or the daemon ends.\n\n" + settingsHelp(portSettings()) + vlanHelp,
		Example: "  weft port set lab vm1 mode=vepa\n" +
			"  weft port set lab vm1 vlan.access=10\n" +
			"  weft port set lab vm1 vlan.access= vlan.trunk=10,20-30 vlan.native=10\n" +
			"  weft port set lab vm1 rate.ingress.average=100Mbit storm.broadcast=1000\n" +
			"  weft port set lab vm1 guard.ra=true guard.dhcp=true\n" +
			"  weft port set lab vm1 vlan=",
		ValidArgsFunction: a.completeNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			patch, err := checkSettings(cmd, args[2:])
			if err != nil {
				return err
			}
			_, err = a.client().SetPort(cmd.Context(), args[0], args[1], patch)
			return err
		},
	}
}

// settingsOfNewPort reads the settings of "port add"; none are nil. The mode
// has a flag of its own too.
func settingsOfNewPort(cmd *cobra.Command, words []string) (json.RawMessage, error) {
	if len(words) == 0 {
		return nil, nil
	}
	patch, err := checkSettings(cmd, words)
	if err != nil {
		return nil, err
	}
	moded := func(word string) bool { return strings.HasPrefix(word, "mode=") }
	if cmd.Flags().Changed("mode") && slices.ContainsFunc(words, moded) {
		return nil, usagef(`%s"mode" is given twice: drop --mode`, where(cmd))
	}
	return patch, nil
}
