package config

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/dataplane/frame"
)

func texts(changes []Change) string {
	out := make([]string, len(changes))
	for i, c := range changes {
		out[i] = c.Text
	}
	return strings.Join(out, "\n")
}

func TestDiffOrder(t *testing.T) {
	old := mustParse(t, `
networks:
  gone: {ports: {b: {type: tap}, a: {type: raw}}}
  lan:
    fdb: {static: [{mac: 02:00:00:00:00:01, port: vm1}, {mac: 02:00:00:00:00:02, port: vm1}]}
    ports:
      vm1: {type: tap}
      vm2: {type: tap}
      h1: {type: internal, mac: 02:00:00:00:00:11, address: 10.0.0.1/8}
`)
	new := mustParse(t, `
metrics: {listen: off}
networks:
  came:
    fdb: {static: [{mac: 02:00:00:00:00:09, port: z}]}
    ports: {z: {type: tap}, b: {type: raw}}
  lan:
    mtu: 9000
    fdb: {ageing: 60s, limit: 10, port_limit: 5, static: [{mac: 02:00:00:00:00:01, port: vm1}, {mac: 02:00:00:00:00:02, vlan: 7, port: vm3}]}
    ports:
      vm1: {type: raw, interface: eth1}
      vm3: {type: tap}
      h1: {type: internal, netns: lab, mac: 02:00:00:00:00:12, address: [10.0.0.2/8, "fd00::1/64"]}
`)
	want := `- port gone/a (raw)
- port gone/b (tap)
- port lan/vm2 (tap)
- network "gone"
~ metrics: listen 127.0.0.1:9820 -> off
~ network lan: mtu 1500 -> 9000
~ network lan: fdb.ageing 5m0s -> 1m0s
~ network lan: fdb.limit 8192 -> 10
~ network lan: fdb.port_limit 0 -> 5
~ network lan: fdb.static - 02:00:00:00:00:02 vlan 0 port vm1
~ port lan/h1: netns "" -> "lab"
~ port lan/h1: mac "02:00:00:00:00:11" -> "02:00:00:00:00:12"
~ port lan/h1: address [10.0.0.1/8] -> [10.0.0.2/8 fd00::1/64]
~ port lan/vm1: type tap -> raw
~ port lan/vm1: interface "vm1" -> "eth1"
+ network "came"
+ port came/b (raw)
+ port came/z (tap)
+ port lan/vm3 (tap)
~ network came: fdb.static + 02:00:00:00:00:09 vlan 0 port z
~ network lan: fdb.static + 02:00:00:00:00:02 vlan 7 port vm3`
	changes := Diff(old, new)
	if got := texts(changes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	sign := map[Op]string{OpAdd: "+", OpRemove: "-", OpChange: "~"}
	for _, c := range changes {
		if !strings.HasPrefix(c.Text, sign[c.Op]+" ") || (c.Port != "" && !strings.Contains(c.Text, c.Network+"/"+c.Port)) || !strings.Contains(c.Text, c.Network) {
			t.Errorf("%+v", c)
		}
	}
}

func TestDiffAccounts(t *testing.T) {
	old := mustParse(t, inPort("type: tap, group: kvm"))
	new := mustParse(t, inPort("type: tap, owner: labuser"))
	want := "~ port lan/vm9: owner \"\" -> \"labuser\"\n~ port lan/vm9: group \"kvm\" -> \"\""
	if got := texts(Diff(old, new)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, c := range Diff(old, new) {
		if c.Op != OpChange || c.Network != "lan" || c.Port != "vm9" {
			t.Errorf("%+v", c)
		}
	}
}

func TestDiffPolicy(t *testing.T) {
	old := mustParse(t, bridged("", "a: {type: tap, vlan: {access: 10}, rate: {ingress: {average: 1Gbit}}}, b: {type: tap, security: {sources: 02:00:00:00:00:01}}"))
	new := mustParse(t, "networks: {lan: {reserved_groups: wire, stp: {enabled: true}, ports: {a: {type: tap, vlan: {trunk: [20-30, 10], native: 10}, stp: {edge: true}}, "+
		"b: {type: tap, vlan: {access: 20}, storm: {unknown: 5}}}}}")
	want := `- port lan/uplink (raw)
~ network lan: forward bridge -> isolated
~ network lan: uplink.interface "eth1" -> ""
~ network lan: reserved_groups switch -> wire
~ network lan: stp.enabled false -> true
~ port lan/a: vlan.access 10 -> none
~ port lan/a: vlan.trunk [] -> [10 20-30]
~ port lan/a: vlan.native none -> 10
~ port lan/a: stp.edge auto -> true
~ port lan/a: rate.ingress.average 1Gbit -> 0
~ port lan/a: rate.ingress.burst 31250kB -> 0
~ port lan/b: vlan.access none -> 20
~ port lan/b: security.sources [02:00:00:00:00:01] -> []
~ port lan/b: storm.unknown 0 -> 5`
	if got := texts(Diff(old, new)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// One value changed is one change, whichever it is.
func TestDiffSeesEveryValue(t *testing.T) {
	base := mustParse(t, "networks: {lan: {fdb: {static: [{mac: 02:00:00:00:00:01, port: h1}]}, ports: {h1: {type: internal}}}}")
	addr := netip.MustParseAddr("10.0.0.1")
	for key, change := range map[string]func(*Config){
		"listen":                        func(c *Config) { c.Metrics.Listen = "off" },
		"forward":                       func(c *Config) { c.Networks[0].Forward = "x" },
		"~ lease_file":                  func(c *Config) { c.LeaseFile = "/x" },
		"~ network lan: address":        func(c *Config) { c.Networks[0].Addresses = make([]netip.Prefix, 1) },
		"host_port":                     func(c *Config) { c.Networks[0].HostPort = "x" },
		"dhcp.range":                    func(c *Config) { c.Networks[0].DHCP.Ranges = []Range{{addr, addr}} },
		"dhcp.lease":                    func(c *Config) { c.Networks[0].DHCP.Lease++ },
		"dhcp.max_leases":               func(c *Config) { c.Networks[0].DHCP.MaxLeases++ },
		"dhcp.authoritative":            func(c *Config) { c.Networks[0].DHCP.Authoritative = false },
		"dhcp.probe":                    func(c *Config) { c.Networks[0].DHCP.Probe = false },
		"dhcp.no_override":              func(c *Config) { c.Networks[0].DHCP.NoOverride = true },
		"dhcp.router":                   func(c *Config) { c.Networks[0].DHCP.Router = "x" },
		"dhcp.ntp":                      func(c *Config) { c.Networks[0].DHCP.NTP = []netip.Addr{addr} },
		"dhcp.domain_search":            func(c *Config) { c.Networks[0].DHCP.Search = []string{"x"} },
		"dhcp.next_server":              func(c *Config) { c.Networks[0].DHCP.NextServer = addr },
		"dhcp.server_name":              func(c *Config) { c.Networks[0].DHCP.ServerName = "x" },
		"dhcp.bootfile":                 func(c *Config) { c.Networks[0].DHCP.Bootfile = "x" },
		"dhcp.options +":                func(c *Config) { c.Networks[0].DHCP.Options = []DHCPOption{{Key: "42", Value: "x"}} },
		"dhcp.hosts_file":               func(c *Config) { c.Networks[0].DHCP.HostsFile = "/x" },
		"dhcp.hosts +":                  func(c *Config) { c.Networks[0].DHCP.Hosts = []DHCPHost{{Name: "x"}} },
		"ra.enabled":                    func(c *Config) { c.Networks[0].RA.Enabled = false },
		"ra.interval":                   func(c *Config) { c.Networks[0].RA.Interval++ },
		"ra.lifetime":                   func(c *Config) { c.Networks[0].RA.Lifetime = 0 },
		"ra.preference":                 func(c *Config) { c.Networks[0].RA.Preference = "x" },
		"ra.managed":                    func(c *Config) { c.Networks[0].RA.Managed = "x" },
		"ra.other":                      func(c *Config) { c.Networks[0].RA.Other = "x" },
		"ra.mtu":                        func(c *Config) { c.Networks[0].RA.MTU++ },
		"ra.hop_limit":                  func(c *Config) { c.Networks[0].RA.HopLimit++ },
		"ra.valid":                      func(c *Config) { c.Networks[0].RA.Valid++ },
		"ra.preferred":                  func(c *Config) { c.Networks[0].RA.Preferred++ },
		"ra.autonomous":                 func(c *Config) { c.Networks[0].RA.Autonomous = false },
		"ra.rdnss":                      func(c *Config) { c.Networks[0].RA.RDNSSAuto = false },
		"ra.dnssl":                      func(c *Config) { c.Networks[0].RA.DNSSLAuto = false },
		"ra.routes":                     func(c *Config) { c.Networks[0].RA.Routes = []netip.Prefix{netip.PrefixFrom(addr, 8)} },
		"dhcp6.range":                   func(c *Config) { c.Networks[0].DHCP6.Ranges = []Range{{addr, addr}} },
		"dhcp6.lease":                   func(c *Config) { c.Networks[0].DHCP6.Lease++ },
		"dhcp6.max_leases":              func(c *Config) { c.Networks[0].DHCP6.MaxLeases++ },
		"dhcp6.rapid_commit":            func(c *Config) { c.Networks[0].DHCP6.Rapid = false },
		"dhcp6.stateless":               func(c *Config) { c.Networks[0].DHCP6.Stateless = true },
		"dhcp6.ntp":                     func(c *Config) { c.Networks[0].DHCP6.NTP = []netip.Addr{addr} },
		"dhcp6.domain_search":           func(c *Config) { c.Networks[0].DHCP6.Search = []string{"x"} },
		"dhcp6.options +":               func(c *Config) { c.Networks[0].DHCP6.Options = []DHCP6Option{{Key: "59", Value: "x"}} },
		"dhcp6.delegate +":              func(c *Config) { c.Networks[0].DHCP6.Delegate = []Delegate{{Length: 56}} },
		"dhcp6.hosts +":                 func(c *Config) { c.Networks[0].DHCP6.Hosts = []DHCP6Host{{Name: "x"}} },
		"dns.slaac":                     func(c *Config) { c.Networks[0].DNS.SLAAC = false },
		"nat.ipv6":                      func(c *Config) { c.Networks[0].NAT.IPv6 = "x" },
		"inbound.ipv4":                  func(c *Config) { c.Networks[0].Inbound.IPv4 = "x" },
		"inbound.ipv6":                  func(c *Config) { c.Networks[0].Inbound.IPv6 = "x" },
		"~ network lan: uplink.address": func(c *Config) { c.Networks[0].Uplink.Address6 = "x" },
		"~ network lan: uplink.gateway": func(c *Config) { c.Networks[0].Uplink.Gateway6 = netip.IPv6Unspecified() },
		"guard.ra":                      func(c *Config) { c.Networks[0].Ports[0].Guard.RA = true },
		"guard.dhcp":                    func(c *Config) { c.Networks[0].Ports[0].Guard.DHCP = true },
		"dns.enabled":                   func(c *Config) { c.Networks[0].DNS.Enabled = false },
		"dns.name":                      func(c *Config) { c.Networks[0].DNS.Name = "x" },
		"dns.domain":                    func(c *Config) { c.Networks[0].DNS.Domain = "x" },
		"dns.upstream":                  func(c *Config) { c.Networks[0].DNS.Upstream = []string{"host"} },
		"dns.forward_plain":             func(c *Config) { c.Networks[0].DNS.ForwardPlain = true },
		"dns.cache":                     func(c *Config) { c.Networks[0].DNS.Cache++ },
		"dns.domains +":                 func(c *Config) { c.Networks[0].DNS.Domains = []DNSDomain{{Name: "x"}} },
		"dns.hosts +":                   func(c *Config) { c.Networks[0].DNS.Hosts = []DNSHost{{"x", []netip.Addr{addr}}} },
		"dns.txt +":                     func(c *Config) { c.Networks[0].DNS.TXT = []DNSText{{"x", []string{"y"}}} },
		"dns.srv +":                     func(c *Config) { c.Networks[0].DNS.SRV = []DNSService{{Name: "x"}} },
		"dns.hosts_file":                func(c *Config) { c.Networks[0].DNS.HostsFile = "/x" },
		"uplink.address":                func(c *Config) { c.Networks[0].Uplink.Address = "x" },
		"uplink.gateway":                func(c *Config) { c.Networks[0].Uplink.Gateway = addr },
		"uplink.proxy_arp":              func(c *Config) { c.Networks[0].Uplink.ProxyARP = true },
		"routes +":                      func(c *Config) { c.Networks[0].Routes = []Route{{Via: addr}} },
		"reach":                         func(c *Config) { c.Networks[0].Reach = []string{"x"} },
		"nat.ports":                     func(c *Config) { c.Networks[0].NAT.First++ },
		"nat.addresses":                 func(c *Config) { c.Networks[0].NAT.Addresses = []Range{{addr, addr}} },
		"nat.mapping":                   func(c *Config) { c.Networks[0].NAT.Mapping = "x" },
		"nat.filtering":                 func(c *Config) { c.Networks[0].NAT.Filtering = "x" },
		"nat.max_flows":                 func(c *Config) { c.Networks[0].NAT.MaxFlows++ },
		"nat.max_flows_per_host":        func(c *Config) { c.Networks[0].NAT.MaxFlowsPerHost++ },
		"nat.timeouts.udp":              func(c *Config) { c.Networks[0].NAT.Timeouts.UDP++ },
		"nat.timeouts.tcp":              func(c *Config) { c.Networks[0].NAT.Timeouts.TCP++ },
		"nat.timeouts.tcp_transitory":   func(c *Config) { c.Networks[0].NAT.Timeouts.TCPTransitory++ },
		"nat.timeouts.icmp":             func(c *Config) { c.Networks[0].NAT.Timeouts.ICMP++ },
		"nat.timeouts.other":            func(c *Config) { c.Networks[0].NAT.Timeouts.Other++ },
		"nat.publish +":                 func(c *Config) { c.Networks[0].NAT.Publish = []Publish{{Protocol: "x"}} },
		"uplink.reflective":             func(c *Config) { c.Networks[0].Uplink.Reflective = true },
		"uplink.interface":              func(c *Config) { c.Networks[0].Uplink.Interface = "x" },
		"reserved_groups":               func(c *Config) { c.Networks[0].ReservedGroups = "x" },
		"stp.enabled":                   func(c *Config) { c.Networks[0].STP.Enabled = true },
		"stp.priority":                  func(c *Config) { c.Networks[0].STP.Priority++ },
		"stp.hello":                     func(c *Config) { c.Networks[0].STP.Hello++ },
		"stp.max_age":                   func(c *Config) { c.Networks[0].STP.MaxAge++ },
		"stp.forward_delay":             func(c *Config) { c.Networks[0].STP.ForwardDelay++ },
		"snooping.enabled":              func(c *Config) { c.Networks[0].Snooping.Enabled = true },
		"snooping.querier":              func(c *Config) { c.Networks[0].Snooping.Querier = false },
		"snooping.interval":             func(c *Config) { c.Networks[0].Snooping.Interval++ },
		"mtu":                           func(c *Config) { c.Networks[0].MTU++ },
		"fdb.ageing":                    func(c *Config) { c.Networks[0].FDB.Ageing++ },
		"fdb.limit":                     func(c *Config) { c.Networks[0].FDB.Limit++ },
		"fdb.port_limit":                func(c *Config) { c.Networks[0].FDB.PortLimit++ },
		"fdb.static -":                  func(c *Config) { c.Networks[0].FDB.Static = nil },
		"type":                          func(c *Config) { c.Networks[0].Ports[0].Type = "x" },
		"interface":                     func(c *Config) { c.Networks[0].Ports[0].Interface = "x" },
		"netns":                         func(c *Config) { c.Networks[0].Ports[0].Netns = "x" },
		"owner":                         func(c *Config) { c.Networks[0].Ports[0].Owner = "x" },
		"group":                         func(c *Config) { c.Networks[0].Ports[0].Group = "x" },
		"~ port lan/h1: mac":            func(c *Config) { c.Networks[0].Ports[0].MAC[5]++ },
		"~ port lan/h1: address":        func(c *Config) { c.Networks[0].Ports[0].Addresses = make([]netip.Prefix, 1) },
		"mode":                          func(c *Config) { c.Networks[0].Ports[0].Mode = "x" },
		"hairpin":                       func(c *Config) { c.Networks[0].Ports[0].Hairpin = true },
		"isolated":                      func(c *Config) { c.Networks[0].Ports[0].Isolated = true },
		"vlan.access":                   func(c *Config) { c.Networks[0].Ports[0].VLAN.Access = 1 },
		"vlan.trunk":                    func(c *Config) { c.Networks[0].Ports[0].VLAN.Trunk = make([]VLANRange, 1) },
		"vlan.native":                   func(c *Config) { c.Networks[0].Ports[0].VLAN.Native = 1 },
		"stp.edge":                      func(c *Config) { c.Networks[0].Ports[0].STP.Edge = "x" },
		"stp.cost":                      func(c *Config) { c.Networks[0].Ports[0].STP.Cost++ },
		// The network has a key of that name too.
		"~ port lan/h1: stp.priority": func(c *Config) { c.Networks[0].Ports[0].STP.Priority++ },
		"stp.root_guard":              func(c *Config) { c.Networks[0].Ports[0].STP.RootGuard = true },
		"stp.bpdu_guard":              func(c *Config) { c.Networks[0].Ports[0].STP.BPDUGuard = true },
		"security.max_macs":           func(c *Config) { c.Networks[0].Ports[0].Security.MaxMACs++ },
		"security.sticky":             func(c *Config) { c.Networks[0].Ports[0].Security.Sticky = true },
		"security.sources":            func(c *Config) { c.Networks[0].Ports[0].Security.Sources = []frame.MAC{{2}} },
		"storm.broadcast":             func(c *Config) { c.Networks[0].Ports[0].Storm.Broadcast++ },
		"storm.multicast":             func(c *Config) { c.Networks[0].Ports[0].Storm.Multicast++ },
		"storm.unknown":               func(c *Config) { c.Networks[0].Ports[0].Storm.Unknown++ },
		"rate.ingress.average":        func(c *Config) { c.Networks[0].Ports[0].Rate.Ingress.Average++ },
		"rate.ingress.peak":           func(c *Config) { c.Networks[0].Ports[0].Rate.Ingress.Peak++ },
		"rate.ingress.burst":          func(c *Config) { c.Networks[0].Ports[0].Rate.Ingress.Burst++ },
		"rate.egress.average":         func(c *Config) { c.Networks[0].Ports[0].Rate.Egress.Average++ },
		"rate.egress.peak":            func(c *Config) { c.Networks[0].Ports[0].Rate.Egress.Peak++ },
		"rate.egress.burst":           func(c *Config) { c.Networks[0].Ports[0].Rate.Egress.Burst++ },
	} {
		c := base.Clone()
		change(c)
		if got := Diff(base, c); len(got) != 1 || !strings.Contains(": "+got[0].Text, ": "+key+" ") {
			t.Errorf("%s: %+v", key, got)
		}
	}
}
