package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/client"
	"github.com/weft/weft/ports/porttest"
)

// client6DHCP is what the clients in this file are served by.
const client6DHCP = both + `ra: {lifetime: 1800s}
dhcp6: {range: "` + pool6 + `", lease: 2m, ntp: ["2001:db8:1::5"], domain_search: [lab, corp.example]}
dns: {domain: lab, upstream: none}
`

// clientKinds6 are DHCPv6 clients that others have made, and how they are used.
func clientKinds6() []clientKind {
	dhclient := clientKind{
		name: "dhclient",
		vars: map[string]string{
			"address": "new_ip6_address", "dns": "new_dhcp6_name_servers", "search": "new_dhcp6_domain_search",
			"valid": "new_max_life", "preferred": "new_preferred_life",
		},
		files: map[string]string{
			"leases": "",
			"conf":   "send fqdn.fqdn \"dhclient.lab\";\nrequest dhcp6.name-servers, dhcp6.domain-search;\n",
		},
		command: strings.Fields("dhclient -6 -d -v -cf DIR/conf -lf DIR/leases -pf DIR/pid -sf DIR/script eth0"),
		release: func(c *realClient) {
			cmd := c.folder(strings.Fields("dhclient -6 -r -cf DIR/conf -lf DIR/leases -pf DIR/pid -sf DIR/script eth0"))
			c.ns.Run(c.t, cmd[0], cmd[1:]...)
		},
		obtained: []string{"BOUND6", "REBOOT6", "RENEW6", "REBIND6"},
	}
	dhcpcd := clientKind{
		name: "dhcpcd",
		vars: map[string]string{
			"address": "new_dhcp6_ia_na1_ia_addr1", "dns": "new_dhcp6_name_servers", "search": "new_dhcp6_domain_search",
			"valid": "new_dhcp6_ia_na1_ia_addr1_vltime", "preferred": "new_dhcp6_ia_na1_ia_addr1_pltime",
		},
		files: map[string]string{
			"conf": "ipv6only\nduid\nhostname dhcpcd\nfqdn both\noption dhcp6_name_servers, dhcp6_domain_search\n",
		},
		// It keeps what it knows below fixed folders. Here they are its own.
		command: []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && mount --bind DIR /var/lib/dhcpcd &&" +
			" exec dhcpcd -6 -B -d -f DIR/conf -c DIR/script eth0"},
		release:  func(c *realClient) { c.Signal(c.t, syscall.SIGALRM) },
		obtained: []string{"BOUND6", "REBOOT6"},
	}
	return []clientKind{dhclient, dhcpcd}
}

// clientScript6 keeps what a client tells of each event, and sets the address that
// dhclient has got. dhcpcd does that by itself.
const clientScript6 = `#!/bin/sh
case $reason in
PREINIT6) exit 0 ;;
RELEASE6|EXPIRE6) [ -z "$old_ip6_address" ] || ip -6 addr del "$old_ip6_address/128" dev eth0 ;;
*6) [ -z "$new_ip6_address" ] || ip -6 addr replace "$new_ip6_address/128" dev eth0 ;;
esac
n=$(ls DIR/events | wc -l)
{ echo "reason=$reason"; env; } >DIR/event
mv DIR/event DIR/events/$n
`

func startClient6(t *testing.T, kind clientKind, ns *porttest.NS) *realClient {
	t.Helper()
	c := &realClient{clientKind: kind, t: t, ns: ns, dir: t.TempDir()}
	files := map[string]string{"script": clientScript6}
	maps.Copy(files, kind.files)
	if err := os.Mkdir(filepath.Join(c.dir, "events"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(strings.ReplaceAll(text, "DIR", c.dir)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	local6(t, ns) // to ask from
	c.start()
	return c
}

// leases are those of the network lan.
func (s *served) leases() *dhcpLAN { return &dhcpLAN{lan: s.lan} }

// messages6 returns how many messages of DHCPv6 of a type ended one way.
func (s *served) messages6(kind, outcome string) uint64 {
	s.t.Helper()
	c := client.New(s.socket)
	defer c.Close()
	n, err := c.Network(s.t.Context(), "lan")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range n.DHCP6.Messages {
		if m.Type == kind && m.Outcome == outcome {
			return m.Count
		}
	}
	return 0
}

func (s *served) waitMessages6(kind, outcome string, n uint64) {
	s.t.Helper()
	eventually(s.t, kind+" "+outcome, func() bool { return s.messages6(kind, outcome) >= n })
}

// The life of a client, for each of them: every step is what the client says, what
// its interface has and what weft says.
func TestRealClients6(t *testing.T) {
	for _, kind := range clientKinds6() {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := newServed6(t, client6DHCP, "raw")
			c := startClient6(t, kind, s.hosts[0])
			addr, v := c.checkObtained6(s)

			time.Sleep(time.Second) // what ends later is to be seen in whole seconds
			c.renews6()
			s.waitMessages6("renew", "reply", 1)
			eventually(t, "the lease ends later", func() bool {
				now := s.leases().waitLease(addr, "active")
				return now.Expires.After(*v.Expires)
			})

			s.Kill()
			c.comesBack(s)
			if now, _ := s.leases().leaseOf(addr); now.State != "active" || now.MAC != c.hardware() || now.Hostname != v.Hostname {
				t.Errorf("after kill -9 the lease is %+v, was %+v", now, v)
			}
			porttest.Ping(t, c.ns, gateway6)
			c.usesAddress(addr)

			c.release(c)
			if v := s.leases().waitLease(addr, "expired"); v.MAC != c.hardware() {
				t.Errorf("released: %+v", v)
			}
			s.waitMessages6("release", "released", 1)
			c.Kill()
			c.skip()
			c.start()
			if again := c.got(c.wait(c.obtained...), "address"); again != addr {
				t.Errorf("had %s, after a restart it got %s", addr, again)
			}
			s.leases().waitLease(addr, "active")
		})
	}
}

// renews6 makes the client renew: dhcpcd by a signal. dhclient takes its times from its
// file when it begins.
func (c *realClient) renews6() {
	c.t.Helper()
	if c.name == "dhcpcd" {
		c.Signal(c.t, syscall.SIGUSR1)
		return
	}
	c.Kill()
	c.hurry("renew")
	c.start()
}

// comesBack starts the server again, and the client, which has had no server to go on
// with: dhclient binds anew, dhcpcd asks whether it is still on that link.
func (c *realClient) comesBack(s *served) {
	c.t.Helper()
	c.Kill()
	if c.name == "dhcpcd" {
		s.start()
		c.start()
		s.waitMessages6("confirm", "reply", 1)
		return
	}
	c.hurry("renew")
	c.hurry("rebind")
	c.start()
	c.WaitOutput(c.t, "Forming Rebind", 120*time.Second)
	s.start()
	s.waitMessages6("rebind", "reply", 1)
}

// hurry makes the time until dhclient does something pass.
func (c *realClient) hurry(what string) {
	c.t.Helper()
	file := filepath.Join(c.dir, "leases")
	b, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	text := regexp.MustCompile(what+` \d+;`).ReplaceAllString(string(b), what+" 1;")
	if text == string(b) {
		c.t.Fatalf("no time to %s in %s", what, text)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// usesAddress checks that the client's address is one of its interface, from which
// the gateway is reached.
func (c *realClient) usesAddress(addr string) {
	c.t.Helper()
	if got := address6(c.t, c.ns, addr+"/128"); got != addr {
		c.t.Errorf("eth0 has %s, want %s", got, addr)
	}
	c.ns.Run(c.t, "ping", "-6", "-n", "-c", "1", "-w", "20", "-I", addr, gateway6)
}

func (c *realClient) checkObtained6(s *served) (addr string, v api.Lease) {
	c.t.Helper()
	e := c.wait(c.obtained...)
	addr = c.got(e, "address")
	within(c.t, addr, "2001:db8:1::1000", "2001:db8:1::1fff")
	for fact, want := range map[string]string{"dns": gateway6, "search": "lab corp.example", "valid": "120", "preferred": "90"} {
		// dhclient ends each domain with a dot.
		if got := strings.TrimSpace(strings.ReplaceAll(c.got(e, fact)+" ", ". ", " ")); got != want {
			c.t.Errorf("%s got %s %q, want %q", c.name, fact, got, want)
		}
	}
	v = s.leases().waitLease(addr, "active")
	if v.MAC != c.hardware() || v.Hostname != c.name || v.Port != "p1" || v.Kind != "dynamic" || v.IAID == nil || !strings.HasPrefix(v.ClientID, "00:0") {
		c.t.Errorf("lease: %+v", v)
	}
	c.usesAddress(addr)
	return addr, v
}

// What clients learn that want no address: by asking for it, and by advertisements
// that say there is more to ask for.
func TestStatelessClients(t *testing.T) {
	const settings = both + `ra: {lifetime: 1800s}
dhcp6: {stateless: true, ntp: ["2001:db8:1::5"], domain_search: [lab, corp.example], options: {"59": "tftp://[2001:db8:1::1]/boot"}}
dns: {domain: lab, upstream: none}
`
	for _, c := range []struct {
		name    string
		files   map[string]string
		command string
		reasons []string
		vars    [2]string
	}{
		{"dhclient", map[string]string{"leases": "", "conf": "request dhcp6.name-servers, dhcp6.domain-search;\n"},
			"dhclient -6 -S -d -v -cf DIR/conf -lf DIR/leases -pf DIR/pid -sf DIR/script eth0",
			[]string{"BOUND6", "RENEW6"}, [2]string{"new_dhcp6_name_servers", "new_dhcp6_domain_search"}},
		{"dhcpcd", map[string]string{"conf": "ipv6only\nduid\noption dhcp6_name_servers, dhcp6_domain_search\n"},
			"", []string{"INFORM6"}, [2]string{"new_dhcp6_name_servers", "new_dhcp6_domain_search"}},
		{"dhcp6c", map[string]string{"conf": "interface eth0 { information-only; request domain-name-servers; request domain-name; script \"DIR/script\"; };\n"},
			"", []string{"NBI", "INFOREQ", "", "OTHER"}, [2]string{"new_domain_name_servers", "new_domain_name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServed6(t, settings, "raw")
			address6(t, s.hosts[0], subnet6)
			kind := clientKind{name: c.name, files: c.files, command: strings.Fields(c.command),
				vars: map[string]string{"dns": c.vars[0], "search": c.vars[1]}}
			switch c.name {
			case "dhcpcd":
				kind.command = clientKinds6()[1].command
			case "dhcp6c":
				kind.command = dhcp6c
			}
			p := startClient6(t, kind, s.hosts[0])
			e := p.wait(c.reasons...)
			search := strings.TrimSpace(strings.ReplaceAll(p.got(e, "search")+" ", ". ", " "))
			if dns := strings.TrimSpace(p.got(e, "dns")); dns != gateway6 || search != "lab corp.example" {
				t.Errorf("%s got DNS %q and domains %q", c.name, dns, search)
			}
			if list := s.leases().list(); len(list) != 0 {
				t.Errorf("leases: %+v", list)
			}
			s.waitMessages6("information", "reply", 1)
			// Who wants an address is told that there is none.
			raw := newRawClient6(t, s.hosts[0], 1)
			a := raw.ask(raw.message(1, raw.wantsAddress(), wants6(23, 24, 56, 59)), dhcpPatience)
			if a == nil || a.Options.OneIANA() != nil && a.Options.OneIANA().Options.OneAddress() != nil {
				t.Errorf("the answer to a SOLICIT: %v", a)
			}
			a = raw.ask(raw.message(11, wants6(23, 24, 31, 56, 59)), dhcpPatience)
			if a == nil || a.GetOneOption(59) == nil || a.GetOneOption(56) == nil || len(a.Options.DNS()) != 1 {
				t.Errorf("the answer to an INFORMATION-REQUEST: %v", a)
			}
		})
	}
}

// dhcp6c is the client of WIDE, which keeps its DUID below a fixed folder.
var dhcp6c = []string{"unshare", "--mount", "sh", "-c",
	"mount -t tmpfs none /run && mkdir -p /var/lib/dhcpv6 && mount --bind DIR /var/lib/dhcpv6 && exec dhcp6c -f -D -c DIR/conf eth0"}
