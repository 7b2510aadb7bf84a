package config

import (
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// portKeys begins with what a port is made of, which is fixed while it runs;
// its policy follows.
func portKeys() []key[Port] {
	return []key[Port]{
		fixed(value("type", words(), func(p *Port) *string { return &p.Type })),
		fixed(value("interface", labels(), func(p *Port) *string { return &p.Interface })),
		fixed(value("netns", labels(), func(p *Port) *string { return &p.Netns })),
		fixed(value("owner", labels(), func(p *Port) *string { return &p.Owner })),
		fixed(value("group", labels(), func(p *Port) *string { return &p.Group })),
		fixed(value("mac", macs(), func(p *Port) *frame.MAC { return &p.MAC })),
		fixed(list("address", prefixes(), func(p *Port) *[]netip.Prefix { return &p.Addresses })),
		value("mode", words(), func(p *Port) *string { return &p.Mode }),
		brief(value("hairpin", truths(), func(p *Port) *bool { return &p.Hairpin })),
		brief(value("isolated", truths(), func(p *Port) *bool { return &p.Isolated })),
		brief(mapping("vlan", vlanKeys(), func(p *Port) *VLAN { return &p.VLAN })),
		brief(mapping("stp", portSTPKeys(), func(p *Port) *PortSTP { return &p.STP })),
		brief(mapping("security", securityKeys(), func(p *Port) *Security { return &p.Security })),
		brief(mapping("guard", guardKeys(), func(p *Port) *Guard { return &p.Guard })),
		brief(mapping("storm", stormKeys(), func(p *Port) *Storm { return &p.Storm })),
		brief(mapping("rate", ratesKeys(), func(p *Port) *Rates { return &p.Rate })),
	}
}

func vlanKeys() []key[VLAN] {
	return []key[VLAN]{
		value("access", vlanIDs(), func(v *VLAN) *uint16 { return &v.Access }),
		filled(list("trunk", vlanRanges(), func(v *VLAN) *[]VLANRange { return &v.Trunk })),
		value("native", vlanIDs(), func(v *VLAN) *uint16 { return &v.Native }),
	}
}

func portSTPKeys() []key[PortSTP] {
	return []key[PortSTP]{
		value("edge", words(), func(s *PortSTP) *string { return &s.Edge }),
		value("priority", integers(), func(s *PortSTP) *int { return &s.Priority }),
		value("cost", integers(), func(s *PortSTP) *int { return &s.Cost }),
		value("root_guard", truths(), func(s *PortSTP) *bool { return &s.RootGuard }),
		value("bpdu_guard", truths(), func(s *PortSTP) *bool { return &s.BPDUGuard }),
	}
}

func securityKeys() []key[Security] {
	return []key[Security]{
		value("max_macs", integers(), func(s *Security) *int { return &s.MaxMACs }),
		value("sticky", truths(), func(s *Security) *bool { return &s.Sticky }),
		list("sources", macs(), func(s *Security) *[]frame.MAC { return &s.Sources }),
	}
}

func stormKeys() []key[Storm] {
	return []key[Storm]{
		value("broadcast", integers(), func(s *Storm) *int { return &s.Broadcast }),
		value("multicast", integers(), func(s *Storm) *int { return &s.Multicast }),
		value("unknown", integers(), func(s *Storm) *int { return &s.Unknown }),
	}
}

func ratesKeys() []key[Rates] {
	return []key[Rates]{
		mapping("ingress", rateKeys(), func(r *Rates) *Rate { return &r.Ingress }),
		mapping("egress", rateKeys(), func(r *Rates) *Rate { return &r.Egress }),
	}
}

func rateKeys() []key[Rate] {
	return []key[Rate]{
		value("average", rates(), func(r *Rate) *uint64 { return &r.Average }),
		value("peak", rates(), func(r *Rate) *uint64 { return &r.Peak }),
		value("burst", sizes(), func(r *Rate) *int { return &r.Burst }),
	}
}
