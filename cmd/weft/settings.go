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
}

func portSettings() []setting {
	truth := []string{"true", "false"}
	return []setting{
		{"mode", []string{"bridge", "vepa", "private", "passthrough"}},
		{"hairpin", truth},
		{"isolated", truth},
		{"vlan.access", nil},
		{"vlan.trunk", nil},
		{"vlan.native", nil},
		{"stp.edge", []string{"auto", "true", "false"}},
		{"stp.priority", nil},
		{"stp.cost", nil},
		{"stp.root_guard", truth},
		{"stp.bpdu_guard", truth},
		{"security.max_macs", nil},
		{"security.sticky", truth},
		{"security.sources", nil},
		{"storm.broadcast", nil},
		{"storm.multicast", nil},
		{"storm.unknown", nil},
		{"rate.ingress.average", nil},
		{"rate.ingress.peak", nil},
		{"rate.ingress.burst", nil},
		{"rate.egress.average", nil},
		{"rate.egress.peak", nil},
		{"rate.egress.burst", nil},
	}
}

func networkSettings() []setting {
	truth := []string{"true", "false"}
	return []setting{
		{"mac", nil},
		{"mtu", nil},
		{"reserved_groups", []string{"switch", "wire"}},
		{"stp.enabled", truth},
		{"stp.priority", nil},
		{"stp.hello", nil},
		{"stp.max_age", nil},
		{"stp.forward_delay", nil},
		{"snooping.enabled", truth},
		{"snooping.querier", truth},
		{"snooping.interval", nil},
		{"fdb.ageing", nil},
		{"fdb.limit", nil},
		{"fdb.port_limit", nil},
		{"address", nil},
		{"vlan", nil},
		{"host_port", nil},
		{"dhcp.range", nil},
		{"dhcp.lease", nil},
		{"dhcp.max_leases", nil},
		{"dhcp.authoritative", truth},
		{"dhcp.probe", truth},
		{"dhcp.no_override", truth},
		{"dhcp.router", nil},
		{"dhcp.ntp", nil},
		{"dhcp.domain_search", nil},
		{"dhcp.next_server", nil},
		{"dhcp.server_name", nil},
		{"dhcp.bootfile", nil},
		{"dhcp.options", nil},
		{"dhcp.hosts", nil},
		{"dhcp.hosts_file", nil},
		{"dns.enabled", truth},
		{"dns.name", nil},
		{"dns.domain", nil},
		{"dns.upstream", nil},
		{"dns.forward_plain", truth},
		{"dns.cache", nil},
		{"dns.domains", nil},
		{"dns.hosts", nil},
		{"dns.txt", nil},
		{"dns.srv", nil},
		{"dns.hosts_file", nil},
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
		"commas. KEY= resets a key to its default, and so all keys below it: \"stp=\".\n\nKeys:"
	last := ""
	for i, s := range known {
		level := s.path[:strings.LastIndex(s.path, ".")+1]
		if i == 0 || level != last {
			text += "\n "
		}
		text += " " + s.path
		last = level
	}
	return text
}

// parseSettings turns KEY=VALUE words into the JSON merge patch that asks for
// them (RFC 7396): each value a string, for the daemon to judge, and none for
// KEY= alone. Whichever of a key and one below it came last in a patch would
// win, so both at once are refused.
func parseSettings(words []string) (json.RawMessage, error) {
	patch := map[string]any{}
	var seen []string
	for _, word := range words {
		path, value, ok := strings.Cut(word, "=")
		if slices.Contains(strings.Split(path, "."), "") {
			return nil, fmt.Errorf("%q names no key: write it like mode=vepa", word)
		}
		if !ok {
			return nil, fmt.Errorf("%q has no value: write %s=VALUE, or %s= for the default", word, path, path)
		}
		for _, other := range seen {
			if err := clash(other, path); err != nil {
				return nil, err
			}
		}
		seen = append(seen, path)
		put(patch, strings.Split(path, "."), value)
	}
	return json.Marshal(patch)
}

// clash refuses two paths of which one holds the other.
func clash(a, b string) error {
	if a == b {
		return fmt.Errorf("%q is given twice", a)
	}
	if strings.HasPrefix(b, a+".") || strings.HasPrefix(a, b+".") {
		return fmt.Errorf("%q and %q in one command: one is part of the other, so set them one after the other", a, b)
	}
	return nil
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
	if m[last] = nil; value != "" {
		m[last] = value
	}
}

// checkSettings is parseSettings for the arguments of a command.
func checkSettings(cmd *cobra.Command, words []string) (json.RawMessage, error) {
	patch, err := parseSettings(words)
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
			"  weft network set lab snooping.enabled=true fdb.ageing=",
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
