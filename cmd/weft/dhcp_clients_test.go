package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// clientKind is a DHCP client that others have made, and how it is used. None of
// them touches anything outside its namespace and a folder of the test.
type clientKind struct {
	name     string
	vars     map[string]string // what it calls what it got, by the word used here
	files    map[string]string // configuration
	command  []string          // DIR stands for the folder
	renew    syscall.Signal    // 0: it does so by itself, at T1
	release  func(c *realClient)
	rebinds  string   // what it writes when it asks all servers
	renewed  []string // what it calls the events
	obtained []string
}

// iscVars are dhclient's, which dhcpcd shares.
func iscVars() map[string]string {
	return map[string]string{
		"address": "new_ip_address", "mask": "new_subnet_mask", "router": "new_routers", "dns": "new_domain_name_servers",
		"domain": "new_domain_name", "search": "new_domain_search", "ntp": "new_ntp_servers", "mtu": "new_interface_mtu",
		"lease": "new_dhcp_lease_time", "broadcast": "new_broadcast_address", "server": "new_dhcp_server_identifier",
	}
}

func clientKinds() []clientKind {
	udhcpc := clientKind{
		name: "udhcpc",
		vars: map[string]string{
			"address": "ip", "mask": "subnet", "router": "router", "dns": "dns", "domain": "domain", "search": "search",
			"ntp": "ntpsrv", "mtu": "mtu", "lease": "lease", "broadcast": "broadcast", "server": "serverid",
		},
		command: strings.Fields("busybox udhcpc -f -i eth0 -s DIR/script -t 120 -T 1 -A 1 -x hostname:udhcpc" +
			" -O ntpsrv -O mtu -O search -O lease -O broadcast"),
		renew:    syscall.SIGUSR1,
		release:  func(c *realClient) { c.Signal(c.t, syscall.SIGUSR2) },
		rebinds:  "broadcasting renew",
		renewed:  []string{"renew"},
		obtained: []string{"bound"},
	}
	dhclient := clientKind{
		name: "dhclient",
		vars: iscVars(),
		files: map[string]string{
			"leases": "",
			"conf": "send host-name \"dhclient\";\nsend dhcp-client-identifier \"a-client\";\n" +
				"request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search, interface-mtu, ntp-servers;\n" +
				"timeout 60; retry 1; initial-interval 1; backoff-cutoff 2; reboot 30; select-timeout 0;\n",
		},
		command: strings.Fields("dhclient -4 -d -v -cf DIR/conf -lf DIR/leases -pf DIR/pid -sf DIR/script eth0"),
		release: func(c *realClient) {
			cmd := c.folder(strings.Fields("dhclient -4 -r -cf DIR/conf -lf DIR/leases -pf DIR/pid -sf DIR/script eth0"))
			c.ns.Run(c.t, cmd[0], cmd[1:]...)
		},
		rebinds:  "on eth0 to 255.255.255.255 port 67",
		renewed:  []string{"RENEW", "REBIND"},
		obtained: []string{"BOUND", "REBOOT"},
	}
	dhcpcd := clientKind{
		name: "dhcpcd",
		vars: iscVars(),
		files: map[string]string{
			"conf": "hostname dhcpcd\nclientid\nnoarp\nnoipv4ll\nreboot 30\n" +
				"option subnet_mask, broadcast_address, routers, domain_name, domain_name_servers, domain_search, interface_mtu, ntp_servers\n",
		},
		// It keeps what it knows below fixed folders. Here they are its own.
		command: []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs none /run && mount --bind DIR /var/lib/dhcpcd &&" +
			" exec dhcpcd -4 -B -d -f DIR/conf -c DIR/script eth0"},
		release:  func(c *realClient) { c.Signal(c.t, syscall.SIGALRM) },
		rebinds:  "rebinding",
		renewed:  []string{"RENEW", "REBIND"},
		obtained: []string{"BOUND", "REBOOT"},
	}
	return []clientKind{udhcpc, dhclient, dhcpcd}
}

// clientScript keeps what a client tells of each event, and sets the address in
// the namespace that it runs in. dhcpcd does that by itself.
const clientScript = `#!/bin/sh
reason=${reason:-$1}
case $reason in
deconfig|EXPIRE|FAIL|RELEASE|STOP) [ -n "$dhcpcd" ] || ip -4 addr flush dev eth0 ;;
bound|renew) ip addr replace "$ip/$mask" dev eth0 ;;
BOUND|RENEW|REBIND|REBOOT) [ -n "$dhcpcd" ] || ip addr replace "$new_ip_address/24" dev eth0 ;;
PREINIT) ip link set eth0 up ;;
esac
n=$(ls DIR/events | wc -l)
{ echo "reason=$reason"; env; } >DIR/event
mv DIR/event DIR/events/$n
`

// realClient is a client at work.
type realClient struct {
	*porttest.Process
	clientKind
	t    *testing.T
	ns   *porttest.NS
	dir  string
	seen int // events
}

func startClient(t *testing.T, kind clientKind, ns *porttest.NS) *realClient {
	t.Helper()
	c := &realClient{clientKind: kind, t: t, ns: ns, dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(c.dir, "events"), 0o700); err != nil {
		t.Fatal(err)
	}
	kind.files = maps.Clone(kind.files)
	if kind.files == nil {
		kind.files = map[string]string{}
	}
	script := strings.ReplaceAll(clientScript, "DIR", c.dir)
	if kind.name == "dhcpcd" {
		script = strings.Replace(script, "\n", "\ndhcpcd=1\n", 1)
	}
	kind.files["script"] = script
	for name, text := range kind.files {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	return c
}

// folder puts the folder into a command.
func (c *realClient) folder(command []string) []string {
	out := slices.Clone(command)
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "DIR", c.dir)
	}
	return out
}

// start starts the client, again with what it remembers.
func (c *realClient) start() {
	c.t.Helper()
	args := c.folder(c.command)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // the rest would be in the events
	c.Process = c.ns.StartCmd(c.t, cmd)
}

// event is what the client told its script.
type event struct {
	reason string
	vars   map[string]string
}

// wait returns the next event of one of these names; those before it are over.
func (c *realClient) wait(reasons ...string) event {
	c.t.Helper()
	var passed []string
	for end := time.Now().Add(120 * time.Second); time.Now().Before(end); {
		b, err := os.ReadFile(filepath.Join(c.dir, "events", fmt.Sprint(c.seen)))
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		c.seen++
		e := event{vars: map[string]string{}}
		for line := range strings.Lines(string(b)) {
			key, value, _ := strings.Cut(strings.TrimRight(line, "\n"), "=")
			if key == "reason" && e.reason == "" {
				e.reason = value
			}
			e.vars[key] = value
		}
		if slices.Contains(reasons, e.reason) {
			return e
		}
		passed = append(passed, e.reason)
	}
	c.t.Fatalf("%s: no event %v; there were %v", c.name, reasons, passed)
	panic("unreachable")
}

// skip forgets the events so far.
func (c *realClient) skip() {
	files, _ := os.ReadDir(filepath.Join(c.dir, "events"))
	c.seen = len(files)
}

// got is a fact about the lease in an event.
func (c *realClient) got(e event, fact string) string { return e.vars[c.vars[fact]] }

// addressOf returns what eth0 has.
func (c *realClient) addressOf() string {
	c.t.Helper()
	m := regexp.MustCompile(`inet ([0-9./]+)`).FindStringSubmatch(c.ns.Run(c.t, "ip", "-4", "-o", "addr", "show", "eth0"))
	if m == nil {
		return ""
	}
	return m[1]
}

// askToRenew has the client renew, where it does not by itself.
func (c *realClient) askToRenew() {
	c.t.Helper()
	if c.renew != 0 {
		c.Signal(c.t, c.renew)
	}
}

// T1 and T2 are options of their own here, so that renewing takes seconds while
// the shortest lease has two minutes.
const clientDHCP = `range: 10.0.0.50-10.0.0.99
lease: 2m
router: 10.0.0.1
ntp: [10.0.0.5, 10.0.0.6]
domain_search: [lab, corp.example]
options: {58: "2", 59: "5"}
---
mtu: 1400
dns: {domain: lab, upstream: none}
`

// The life of a client, for each of them, on ports of both kinds: every step is
// what the client says, what its interface has and what weft says.
func TestRealClients(t *testing.T) {
	for _, kind := range clientKinds() {
		for _, port := range []string{"raw", "internal"} {
			t.Run(kind.name+" on a port of type "+port, func(t *testing.T) {
				t.Parallel()
				clientLife(t, kind, port)
			})
		}
	}
}

func clientLife(t *testing.T, kind clientKind, port string) {
	l := newDHCPLAN(t, clientDHCP, port)
	c := startClient(t, kind, l.hosts[0])
	addr, v := c.checkObtained(l)

	// It renews. All of them ask the one server first.
	time.Sleep(time.Second) // what ends later is to be seen in whole seconds
	c.skip()
	c.askToRenew()
	c.checkRenewed(addr)
	if now := l.waitLease(addr, "active"); !now.Expires.After(*v.Expires) {
		t.Errorf("the lease ended %v, renewed it ends %v", v.Expires, now.Expires)
	}
	c.serverAway(l, port)
	c.checkRenewed(addr)
	l.waitLease(addr, "active")

	addr = c.checkSentAway(l)
	c.checkReboot(l, addr)

	// dhcpcd gives its address up before the kernel knows whom to send this to.
	porttest.Ping(t, c.ns, "10.0.0.1")
	c.release(c)
	if v := l.waitLease(addr, "expired"); v.MAC != c.hardware() {
		t.Errorf("released: %+v", v)
	}
	l.waitMessages("release", "released", 1)
}

// checkRenewed waits until the client has renewed its address.
func (c *realClient) checkRenewed(addr string) {
	c.t.Helper()
	if e := c.wait(c.renewed...); c.got(e, "address") != addr || c.addressOf() != addr+"/24" {
		c.t.Errorf("renewed %s as %s, eth0 has %s", addr, c.got(e, "address"), c.addressOf())
	}
}

// checkSentAway makes the client's address one that is no longer to be had: it is
// told so, and begins anew.
func (c *realClient) checkSentAway(l *dhcpLAN) (addr string) {
	c.t.Helper()
	l.apply(strings.Replace(clientDHCP, "10.0.0.50-10.0.0.99", "10.0.0.150-10.0.0.160", 1))
	c.askToRenew()
	addr = c.got(c.wait(c.obtained...), "address")
	within(c.t, addr, "10.0.0.150", "10.0.0.160")
	if n := l.messages("request", "nak"); n == 0 {
		c.t.Error("no NAK was sent")
	}
	if now := c.addressOf(); now != addr+"/24" {
		c.t.Errorf("eth0 has %s, want %s", now, addr)
	}
	return addr
}

// checkReboot kills the client, which comes back with what it remembers, or as a
// stranger, to the same address.
func (c *realClient) checkReboot(l *dhcpLAN, addr string) {
	c.t.Helper()
	acks := l.messages("request", "ack")
	c.Kill()
	c.ns.Run(c.t, "ip", "-4", "addr", "flush", "dev", "eth0")
	c.skip()
	c.start()
	if e := c.wait(c.obtained...); c.got(e, "address") != addr {
		c.t.Errorf("had %s, after a restart it got %s", addr, c.got(e, "address"))
	}
	if now := l.messages("request", "ack"); now <= acks {
		c.t.Errorf("%d requests acknowledged, were %d", now, acks)
	}
}

func (c *realClient) hardware() string {
	c.t.Helper()
	return c.ns.Link(c.t, "eth0").Attrs().HardwareAddr.String()
}

// checkObtained waits for the first lease, and compares what the client got
// with what is configured and with what weft says.
func (c *realClient) checkObtained(l *dhcpLAN) (addr string, v api.Lease) {
	c.t.Helper()
	e := c.wait(c.obtained...)
	addr = c.got(e, "address")
	within(c.t, addr, "10.0.0.50", "10.0.0.99")
	for fact, want := range map[string]string{
		"mask": "255.255.255.0", "router": "10.0.0.1", "dns": "10.0.0.1", "domain": "lab", "search": "lab corp.example",
		"ntp": "10.0.0.5 10.0.0.6", "mtu": "1400", "lease": "120", "broadcast": "10.0.0.255", "server": "10.0.0.1",
	} {
		got := c.got(e, fact)
		if fact == "search" { // dhclient ends each with a dot
			got = strings.ReplaceAll(got+" ", ". ", " ")
			got = strings.TrimSpace(got)
		}
		if got != want {
			c.t.Errorf("%s got %s %q, want %q", c.name, fact, got, want)
		}
	}
	if now := c.addressOf(); now != addr+"/24" {
		c.t.Errorf("eth0 has %q, want %s", now, addr)
	}
	v = l.waitLease(addr, "active")
	if v.MAC != c.hardware() || v.Hostname != c.name || v.Port != "p1" || v.Kind != "dynamic" {
		c.t.Errorf("lease: %+v", v)
	}
	porttest.Ping(c.t, c.ns, "10.0.0.1")
	return addr, v
}

// serverAway takes the server away until the client asks all servers, and brings
// it back: the whole process where the interface outlives that, else DHCP alone.
func (c *realClient) serverAway(l *dhcpLAN, port string) {
	c.t.Helper()
	if port == "raw" {
		l.stop()
	} else {
		_, network, _ := strings.Cut(clientDHCP, "---\n")
		l.apply("---\n" + network)
	}
	said := len(c.Output())
	c.askToRenew()
	for end := time.Now().Add(120 * time.Second); !strings.Contains(c.Output()[said:], c.rebinds); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("%s does not ask other servers:\n%s", c.name, c.Output()[said:])
		}
	}
	c.skip()
	if port == "raw" {
		l.start()
	} else {
		l.apply(clientDHCP)
	}
}
