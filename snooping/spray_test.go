package snooping

import (
	"testing"
	"time"
)

// A host that reports in every VLAN makes the querier ask in a few of them, and
// takes nothing from other ports. What it has opened closes with its silence.
func TestVLANSpray(t *testing.T) {
	l := newLab(t, Config{Querier: true, Interval: 100 * time.Second}, 0)
	spray := func() {
		for vlan := uint16(1); vlan < 4095; vlan++ {
			l.receive(1, joinFrame("239.1.2.3"), vlan)
		}
	}
	spray()
	if n := len(l.domains); n != 2+MaxPortDomains {
		t.Errorf("%d domains, want those of VLAN 0 and %d more", n, MaxPortDomains)
	}
	if got := l.Stats(); got.Refused != 4094-MaxPortDomains || got.Groups != MaxPortDomains {
		t.Errorf("%+v", got)
	}
	l.receive(2, joinFrame("239.1.2.3"), 4000)
	l.run(30 * time.Second)
	l.wantPortsIn(4000, "239.1.2.3", 2)
	l.run(time.Hour)
	if n := len(l.domains); n != 2 {
		t.Errorf("%d domains after a long silence, want 2", n)
	}
	spray()
	if n := len(l.domains); n != 2+MaxPortDomains {
		t.Errorf("%d domains the second time", n)
	}
}
