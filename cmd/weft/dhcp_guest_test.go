package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/weft/weft/ports/porttest"
)

// nmap looks for DHCP servers, and finds this one and what it offers.
func TestNmapSeesTheOffer(t *testing.T) {
	l := newDHCPLAN(t, clientDHCP, "raw", "internal")
	for i, ns := range l.hosts {
		ns.Addr(t, "eth0", address(200+i)+"/24") // nmap wants one
		out := ns.Run(t, "nmap", "--script", "broadcast-dhcp-discover", "--script-args", "broadcast-dhcp-discover.timeout=5s", "-e", "eth0")
		for _, want := range []string{
			"DHCPOFFER", "IP Offered: 10.0.0.", "Server Identifier: 10.0.0.1", "Subnet Mask: 255.255.255.0", "Router: 10.0.0.1",
			"Domain Name Server: 10.0.0.1", "Domain Name: lab", "IP Address Lease Time: 2m00s",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("through %s nmap lacks %q:\n%s", ns.Name, want, out)
			}
		}
	}
	if n := l.messages("discover", "offer"); n < 2 {
		t.Errorf("%d offers", n)
	}
}

// A guest gets its address, its name is known, and it knows the others'.
func TestGuestByDHCP(t *testing.T) {
	l := makeDHCPLAN(t, "raw")
	l.ports += "      vm1: {type: tap}\n"
	const mac = "52:54:00:00:00:09"
	l.write(l.yaml("range: 10.0.0.50-10.0.0.99\nrouter: 10.0.0.1\nhosts:\n- {mac: \"02:c1:00:00:00:01\", address: 10.0.0.20, name: web}\n---\ndns: {domain: lab, upstream: none}\n"))
	l.start()
	l.hosts[0].Addr(t, "eth0", address(200)+"/24")
	g := porttest.StartGuest(t, l.host, porttest.GuestConfig{Netdevs: []string{"tap,ifname=vm1,script=no,downscript=no"}, MAC: mac})
	v := l.waitLease(mac, "active")
	within(t, v.Address, "10.0.0.50", "10.0.0.99")
	if v.Port != "vm1" || v.Hostname != "" {
		t.Errorf("lease: %+v", v)
	}
	for command, want := range map[string]string{
		"ip -4 -o addr show eth0": v.Address + "/24", "ip route": "default via 10.0.0.1", "cat /etc/resolv.conf": "nameserver 10.0.0.1",
	} {
		if out := g.Run(t, command); !strings.Contains(out, want) {
			t.Errorf("in the guest, %s lacks %q:\n%s", command, want, out)
		}
	}
	porttest.Ping(t, l.hosts[0], v.Address)

	// It comes back under a name, and has what it had.
	g.Run(t, "killall udhcpc; udhcpc -i eth0 -n -q -s /bin/udhcpc.sh -x hostname:guest9")
	if now := l.waitLease(mac, "active"); now.Address != v.Address || now.Hostname != "guest9" {
		t.Errorf("lease: %+v, was %s", now, v.Address)
	}
	for _, question := range [][2]string{{"guest9.lab", v.Address}, {"gateway.lab", "10.0.0.1"}, {"web.lab", "10.0.0.20"}, {v.Address, "guest9.lab"}} {
		if out := g.Run(t, "nslookup "+question[0]); !strings.Contains(out, question[1]) {
			t.Errorf("in the guest, nslookup %s:\n%s", question[0], out)
		}
	}
	if out, err := g.TryRun("nslookup nobody.lab", time.Minute); err == nil {
		t.Errorf("nobody has an address:\n%s", out)
	}
	if _, err := exec.LookPath("dig"); err == nil {
		if out := l.hosts[0].Run(t, "dig", "+short", "@10.0.0.1", "guest9.lab"); strings.TrimSpace(out) != v.Address {
			t.Errorf("dig: %s", out)
		}
	}
}
