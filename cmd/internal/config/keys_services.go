package config

import (
	"net/netip"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

func dhcpKeys() []key[DHCP] {
	return []key[DHCP]{
		unpaired(filled(list("range", ranges(), func(d *DHCP) *[]Range { return &d.Ranges })), func(d *DHCP) []Range { return d.Ranges }),
		value("lease", leases(), func(d *DHCP) *time.Duration { return &d.Lease }),
		value("max_leases", integers(), func(d *DHCP) *int { return &d.MaxLeases }),
		value("authoritative", truths(), func(d *DHCP) *bool { return &d.Authoritative }),
		value("probe", truths(), func(d *DHCP) *bool { return &d.Probe }),
		value("no_override", truths(), func(d *DHCP) *bool { return &d.NoOverride }),
		value("router", words(), func(d *DHCP) *string { return &d.Router }),
		list("ntp", addresses(), func(d *DHCP) *[]netip.Addr { return &d.NTP }),
		list("domain_search", domainNames(), func(d *DHCP) *[]string { return &d.Search }),
		value("next_server", addresses(), func(d *DHCP) *netip.Addr { return &d.NextServer }),
		value("server_name", labels(), func(d *DHCP) *string { return &d.ServerName }),
		value("bootfile", labels(), func(d *DHCP) *string { return &d.Bootfile }),
		named("options", optionKeys(), joined("", labels(), func(o *DHCPOption) *string { return &o.Value }),
			func(o *DHCPOption) *string { return &o.Key }, func(d *DHCP) *[]DHCPOption { return &d.Options }),
		value("hosts_file", labels(), func(d *DHCP) *string { return &d.HostsFile }),
		table("hosts", dhcpHostKeys(), func(d *DHCP) *[]DHCPHost { return &d.Hosts }),
	}
}

func dhcpHostKeys() []key[DHCPHost] {
	return []key[DHCPHost]{
		terse(value("mac", macs(), func(h *DHCPHost) *frame.MAC { return &h.MAC })),
		value("client_id", clientIDs(), func(h *DHCPHost) *[]byte { return &h.ClientID }),
		terse(value("address", addresses(), func(h *DHCPHost) *netip.Addr { return &h.Address })),
		terse(value("name", domainNames(), func(h *DHCPHost) *string { return &h.Name })),
		value("lease", leases(), func(h *DHCPHost) *time.Duration { return &h.Lease }),
		value("ignore", onlyTrue(), func(h *DHCPHost) *bool { return &h.Ignore }),
	}
}

func dnsKeys() []key[DNS] {
	return []key[DNS]{
		value("enabled", truths(), func(d *DNS) *bool { return &d.Enabled }),
		value("name", domainNames(), func(d *DNS) *string { return &d.Name }),
		value("domain", domainNames(), func(d *DNS) *string { return &d.Domain }),
		list("upstream", words(), func(d *DNS) *[]string { return &d.Upstream }),
		value("slaac", truths(), func(d *DNS) *bool { return &d.SLAAC }),
		value("forward_plain", truths(), func(d *DNS) *bool { return &d.ForwardPlain }),
		value("cache", integers(), func(d *DNS) *int { return &d.Cache }),
		named("domains", domainNames(), evenEmpty(list("", words(), func(d *DNSDomain) *[]string { return &d.Upstream })),
			func(d *DNSDomain) *string { return &d.Name }, func(d *DNS) *[]DNSDomain { return &d.Domains }),
		named("hosts", domainNames(), filled(list("", addresses(), func(h *DNSHost) *[]netip.Addr { return &h.Addresses })),
			func(h *DNSHost) *string { return &h.Name }, func(d *DNS) *[]DNSHost { return &d.Hosts }),
		named("txt", domainNames(), filled(list("", wholeTexts(), func(t *DNSText) *[]string { return &t.Values })),
			func(t *DNSText) *string { return &t.Name }, func(d *DNS) *[]DNSText { return &d.TXT }),
		value("hosts_file", labels(), func(d *DNS) *string { return &d.HostsFile }),
		table("srv", srvKeys(), func(d *DNS) *[]DNSService { return &d.SRV }),
	}
}

func srvKeys() []key[DNSService] {
	return []key[DNSService]{
		terse(value("name", domainNames(), func(s *DNSService) *string { return &s.Name })),
		terse(value("target", domainNames(), func(s *DNSService) *string { return &s.Target })),
		value("port", integers(), func(s *DNSService) *int { return &s.Port }),
		value("priority", integers(), func(s *DNSService) *int { return &s.Priority }),
		value("weight", integers(), func(s *DNSService) *int { return &s.Weight }),
	}
}
