package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// A virtual machine that knows nothing but SLAAC: it has an address and a way out by
// what is advertised, speaks with hosts both ways, and asks for names by IPv6.
func TestGuestBySLAAC(t *testing.T) {
	t.Parallel()
	const mac = "52:54:00:00:00:09"
	s := layServed6(t, 1500, "raw")
	s.ports += "      vm1: {type: tap}\n"
	s.write(s.yaml(`address: "2001:db8:1::1/64"
mac: "52:54:00:00:00:fe"
ra: {lifetime: 1800s}
dns: {domain: lab, upstream: none, hosts: {db: "2001:db8:1::60"}}
`))
	s.start()
	h := s.hosts[0]
	// The address keeps it from waiting for DHCP of IPv4, which is not there.
	g := porttest.StartGuest(t, s.host, porttest.GuestConfig{
		Netdevs: []string{"tap,ifname=vm1,script=no,downscript=no"}, MAC: mac, Address: "fe80::99/64",
	})
	const own = "2001:db8:1:0:5054:ff:fe00:9" // of its MAC (RFC 4291 appendix A)
	eventually(t, "the guest has made an address", func() bool {
		return strings.Contains(g.Run(t, "ip -6 addr show eth0"), " "+own+"/64 ")
	})
	for command, want := range map[string]string{
		"ip -6 route":                            "default via " + gatewayLocal,
		"ping -6 -c 1 -w 20 " + gateway6:         "1 packets received",
		"nslookup -type=aaaa db.lab " + gateway6: "2001:db8:1::60",
		"nslookup gateway.lab " + gateway6:       gateway6,
		"ip -4 addr show eth0; echo nothing":     "nothing",
	} {
		if out := g.Run(t, command); !strings.Contains(out, want) {
			t.Errorf("in the guest, %s lacks %q:\n%s", command, want, out)
		}
	}
	host := address6(t, h, subnet6)
	g.Run(t, "ping -6 -c 1 -w 20 "+host)
	porttest.Ping(t, h, own)
	sum := h.Run(t, "sh", "-c", "curl -gsS 'http://["+own+"]/data' | sha256sum")
	want := h.Run(t, "curl", "-gsS", "http://["+own+"]/data.sha256")
	if strings.Fields(sum)[0] != strings.Fields(want)[0] {
		t.Errorf("downloaded %s, want %s", sum, want)
	}
	if out, err := g.TryRun("ping -6 -c 1 -w 5 "+elsewhere6, time.Minute); err == nil {
		t.Errorf("somebody is at %s:\n%s", elsewhere6, out)
	}
}
