package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

const quick = "range: 10.0.0.50-10.0.0.99\nprobe: false\n"

// What the commands say about leases, and do to them.
func TestLeaseCommands(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw", "internal")
	one, two := newWire(t, l.hosts[0]).client(1), newWire(t, l.hosts[1]).client(2)
	two.id = []byte{0, 'd', 'b'}
	addr1, addr2 := one.obtain(hostname("Web.example")), two.obtain()

	var list []api.Lease
	l.query(&list, "lease", "list", "lan")
	if len(list) != 2 {
		t.Fatalf("leases: %+v", list)
	}
	for _, v := range list {
		switch left := time.Until(*v.Expires); {
		case v.Network != "lan" || v.State != "active" || v.Kind != "dynamic", left < 50*time.Minute, left > time.Hour:
			t.Errorf("lease: %+v", v)
		case v.Address == addr1 && (v.MAC != one.mac.String() || v.Hostname != "web" || v.ClientID != "" || v.Port != "p1"),
			v.Address == addr2 && (v.MAC != two.mac.String() || v.Hostname != "" || v.ClientID != "00:64:62" || v.Port != "p2"):
			t.Errorf("lease: %+v", v)
		}
	}
	var v api.Lease
	for _, who := range []string{addr1, one.mac.String(), strings.ToUpper(one.mac.String()), "web", "WEB"} {
		if l.query(&v, "lease", "show", "lan", who); v.Address != addr1 {
			t.Errorf("lease show %s: %+v", who, v)
		}
	}
	for _, args := range [][]string{{"lease", "list"}, {"lease", "show", "lan", "web"}} {
		if out := l.do(args...); !strings.Contains(out, addr1) || !strings.Contains(out, one.mac.String()) || !strings.Contains(out, "active") {
			t.Errorf("weft %s:\n%s", strings.Join(args, " "), out)
		}
	}
	l.fails("10.0.0.7", "lease", "show", "lan", "10.0.0.7")
	l.fails("10.0.0.7", "lease", "release", "lan", "10.0.0.7")
	l.fails(`"nowhere"`, "lease", "list", "nowhere")

	l.do("lease", "release", "lan", "web")
	if v, ok := l.leaseOf(addr1); ok && v.State != "expired" {
		t.Errorf("after release: %+v", v)
	}
	l.fails(addr1, "lease", "release", "lan", addr1)
	if again := one.obtain(); again != addr1 {
		t.Errorf("released by hand, the client came back and got %s, had %s", again, addr1)
	}
	metrics := l.host.Run(t, "curl", "-sS", "http://127.0.0.1:9820/metrics")
	for _, want := range []string{
		`weft_dhcp_leases{network="lan",state="active"} 2`,
		`weft_dhcp_pool_addresses{network="lan",state="free"} 48`,
		`weft_dhcp_pool_addresses{network="lan",state="used"} 2`,
		`weft_dhcp_messages_total{network="lan",outcome="ack",type="request"} `,
		`weft_dhcp_messages_total{network="lan",outcome="offer",type="discover"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// Reservations by command: they are for one client, beat what it has, and end
// when they are taken away.
func TestReservationCommands(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	w := newWire(t, l.hosts[0])
	one, two, three := w.client(1), w.client(2), w.client(3)
	two.id = []byte("box-2")
	had := one.obtain()

	l.do("lease", "add", "lan", "--mac", one.mac.String(), "--address", "10.0.0.20", "--name", "web")
	l.do("lease", "add", "lan", "--client-id", "box-2", "--address", "10.0.0.60", "--name", "db", "--lease", "infinite")
	l.fails("reserved already", "lease", "add", "lan", "--mac", three.mac.String(), "--address", "10.0.0.20")
	l.fails("10.9.9.9", "lease", "add", "lan", "--mac", three.mac.String(), "--address", "10.9.9.9")
	if v, _ := l.leaseOf("10.0.0.20"); v.State != "reserved" || v.Kind != "static" || v.Hostname != "web" || v.Expires != nil {
		t.Errorf("reserved: %+v", v)
	}

	// The client is told to begin anew at its next renewal.
	one.answered(one.renewing(had), dhcpv4.MessageTypeNak)
	if addr := one.obtain(); addr != "10.0.0.20" {
		t.Errorf("reserved by MAC: %s", addr)
	}
	ack := two.answered(two.selecting(two.discover().DHCPv4), dhcpv4.MessageTypeAck)
	if ack.YourIPAddr.String() != "10.0.0.60" || ack.IPAddressLeaseTime(0) != (1<<32-1)*time.Second {
		t.Errorf("reserved by client id: %v", ack.Summary())
	}
	if addr := three.obtain(requested("10.0.0.60")); addr == "10.0.0.60" || addr == "10.0.0.20" {
		t.Errorf("a stranger got %s", addr)
	}
	three.answered(three.rebooting("10.0.0.20"), dhcpv4.MessageTypeNak)
	if v, _ := l.leaseOf("10.0.0.60"); v.State != "active" || v.Kind != "static" || v.Hostname != "db" || v.Expires != nil {
		t.Errorf("lease without an end: %+v", v)
	}
	var v api.Lease
	if l.query(&v, "lease", "show", "lan", "web"); v.Address != "10.0.0.20" || v.State != "active" || v.Kind != "static" {
		t.Errorf("lease show web: %+v", v)
	}

	l.do("lease", "rm", "lan", "web")
	l.fails("web", "lease", "rm", "lan", "web")
	one.answered(one.renewing("10.0.0.20"), dhcpv4.MessageTypeNak) // outside the range
	within(t, one.obtain(), "10.0.0.50", "10.0.0.99")
}

// An address is reserved for one while another has it. Both never have it at
// once.
func TestReservationOfALease(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	w := newWire(t, l.hosts[0])
	one, two := w.client(1), w.client(2)
	addr := one.obtain()
	l.do("lease", "add", "lan", "--mac", two.mac.String(), "--address", addr)
	meanwhile := two.obtain(requested(addr))
	if meanwhile == addr {
		t.Errorf("two clients have %s", addr)
	}
	within(t, meanwhile, "10.0.0.50", "10.0.0.99")
	one.answered(one.renewing(addr), dhcpv4.MessageTypeNak)
	l.do("lease", "release", "lan", addr)
	if got := one.obtain(); got == addr {
		t.Errorf("%s is reserved for another", addr)
	}
	two.answered(two.renewing(meanwhile), dhcpv4.MessageTypeNak) // there is a better one
	if got := two.obtain(); got != addr {
		t.Errorf("got %s, want %s", got, addr)
	}
}

// What is in the configuration is a reservation too, and a hosts file is read
// again when it changes.
func TestHostsFile(t *testing.T) {
	l := makeDHCPLAN(t, "raw")
	file := filepath.Join(t.TempDir(), "hosts")
	replaceFile(t, file, "# by MAC and by client id\n02:c1:00:00:00:01,10.0.0.20,web\nid:box-2,10.0.0.21,db,infinite\n02:c1:00:00:00:04,ignore\n")
	l.write(l.yaml(quick + "hosts_file: " + file + "\nhosts:\n- {mac: \"02:c1:00:00:00:03\", address: 10.0.0.22, name: three}\n"))
	l.start()
	w := newWire(t, l.hosts[0])
	one, two, three, four := w.client(1), w.client(2), w.client(3), w.client(4)
	two.id = []byte("box-2")
	for want, c := range map[string]*rawClient{"10.0.0.20": one, "10.0.0.21": two, "10.0.0.22": three} {
		if addr := c.obtain(); addr != want {
			t.Errorf("%s got %s, want %s", c.mac, addr, want)
		}
		if v, _ := l.leaseOf(want); v.Kind != "static" || v.State != "active" {
			t.Errorf("lease: %+v", v)
		}
	}
	four.unanswered(four.message(dhcpv4.MessageTypeDiscover))

	// A line that is no good is told by its number, and the others hold.
	replaceFile(t, file, "02:c1:00:00:00:01,10.0.0.30,web\nnonsense!\n02:c1:00:00:00:04,four\n")
	l.WaitOutput(t, file+":2: ", 60*time.Second)
	one.answered(one.renewing("10.0.0.20"), dhcpv4.MessageTypeNak)
	if addr := one.obtain(); addr != "10.0.0.30" {
		t.Errorf("after the edit: %s", addr)
	}
	within(t, four.obtain(), "10.0.0.50", "10.0.0.99")
	if v, _ := l.leaseOf(four.mac.String()); v.Hostname != "four" {
		t.Errorf("a name alone: %+v", v)
	}

	// Without the file there are no reservations of it, which is told too.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	l.WaitOutput(t, "hosts file "+file+":", 60*time.Second)
	if addr := three.obtain(); addr != "10.0.0.22" {
		t.Errorf("reserved in the configuration: %s", addr)
	}
}

// An address that somebody squats on is not offered, whatever the client asks
// for, and is set aside.
func TestSquattedAddress(t *testing.T) {
	// Of one port, answers for half of the addresses are believed.
	l := newDHCPLAN(t, "range: 10.0.0.50-10.0.0.53\n", "raw", "internal", "internal")
	squatter := l.hosts[1]
	squatter.Addr(t, "eth0", "10.0.0.50/24")
	squatter.Addr(t, "eth0", "10.0.0.51/24")
	l.hosts[2].Addr(t, "eth0", "10.0.0.52/24")
	one := newWire(t, l.hosts[0]).client(1)
	if addr := one.discover(requested("10.0.0.50")).YourIPAddr.String(); addr != "10.0.0.53" {
		t.Errorf("offered %s", addr)
	}
	if addr := one.obtain(requested("10.0.0.50")); addr != "10.0.0.53" {
		t.Errorf("got %s", addr)
	}
	v, _ := l.leaseOf("10.0.0.50")
	if mac := squatter.Link(t, "eth0").Attrs().HardwareAddr.String(); v.State != "declined" || v.MAC != mac {
		t.Errorf("lease: %+v, want it declined by %s", v, mac)
	}
	if left := time.Until(*v.Expires); left < 8*time.Minute || left > 10*time.Minute {
		t.Errorf("quarantine ends in %v", left)
	}
	two := one.wire.client(2)
	two.unanswered(two.message(dhcpv4.MessageTypeDiscover)) // nothing is left
	if n := strings.Count(l.Output(), "address is in use by somebody without a lease"); n != 3 {
		t.Errorf("told %d times:\n%s", n, l.Output())
	}
	l.do("lease", "release", "lan", "10.0.0.53")
	if addr := two.obtain(); addr != "10.0.0.53" {
		t.Errorf("got %s", addr)
	}
}

// A client that finds its address in use gets another one. That is remembered,
// as is a lease that was given back.
func TestDecline(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	one := newWire(t, l.hosts[0]).client(1)
	had := one.obtain()
	one.decline(had)
	l.waitLease(had, "declined")
	if addr := one.obtain(requested(had)); addr == had {
		t.Error("the client got the declined address again")
	}
	l.waitMessages("decline", "quarantined", 1)
	two := one.wire.client(2)
	released := two.obtain()
	two.release(released)
	l.waitLease(released, "expired")
	l.stop()
	l.start()
	for addr, state := range map[string]string{had: "declined", released: "expired"} {
		if v, _ := l.leaseOf(addr); v.State != state {
			t.Errorf("after a restart: %+v, was %s", v, state)
		}
	}
}

// A pool that is used up is told once, and not again for guests that make it be
// full and not full by turns.
func TestPoolExhaustion(t *testing.T) {
	l := newDHCPLAN(t, "range: 10.0.0.50-10.0.0.51\nprobe: false\n", "raw", "raw")
	w, other := newWire(t, l.hosts[0]), newWire(t, l.hosts[1])
	const warning = "gets no lease"
	addr := w.client(1).obtain()
	second := other.client(2).obtain()
	for n := 3; n < 6; n++ {
		c := w.client(n)
		c.unanswered(c.message(dhcpv4.MessageTypeDiscover))
	}
	if n := strings.Count(l.Output(), warning); n != 1 {
		t.Errorf("told %d times:\n%s", n, l.Output())
	}
	if n := l.messages("discover", "exhausted"); n < 3 {
		t.Errorf("%d exhausted", n)
	}
	w.client(1).release(addr)
	l.waitLease(addr, "expired")
	if got := w.client(3).obtain(); got != addr {
		t.Errorf("got %s, free was %s", got, addr)
	}
	one := w.client(1)
	one.unanswered(one.message(dhcpv4.MessageTypeDiscover))
	if n := strings.Count(l.Output(), warning); n != 1 {
		t.Errorf("told %d times:\n%s", n, l.Output())
	}
	// One more by a wider range; max_leases then is what holds.
	l.apply("range: 10.0.0.50-10.0.0.60\nprobe: false\nmax_leases: 3\n")
	within(t, one.obtain(), "10.0.0.52", "10.0.0.60")
	four := other.client(4)
	four.unanswered(four.message(dhcpv4.MessageTypeDiscover))
	other.client(2).answered(other.client(2).renewing(second), dhcpv4.MessageTypeAck)
}

// A lease outlives the process, however that ends, and its client may go on.
func TestLeaseSurvivesRestart(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	w := newWire(t, l.hosts[0])
	one := w.client(1)
	addr := one.obtain(hostname("web"))
	var before, after []api.Lease
	l.query(&before, "lease", "list")
	for name, end := range map[string]func(){"stop": l.stop, "kill -9": func() { l.Kill() }} {
		end()
		l.start()
		l.query(&after, "lease", "list")
		for i := range after {
			after[i].Port = before[0].Port // who is where is not kept
			if d := after[i].Expires.Sub(*before[0].Expires); d.Abs() <= time.Second {
				after[i].Expires = before[0].Expires // rounded
			}
		}
		got, _ := json.Marshal(after)
		want, _ := json.Marshal(before)
		if string(got) != string(want) {
			t.Errorf("after %s: %s\nbefore: %s", name, got, want)
		}
		one.answered(one.rebooting(addr, hostname("web")), dhcpv4.MessageTypeAck)
		one.answered(one.renewing(addr, hostname("web")), dhcpv4.MessageTypeAck)
		two := w.client(2)
		two.answered(two.rebooting(addr), dhcpv4.MessageTypeNak)
		l.query(&before, "lease", "list")
	}
}

// A lease file that can not be used ends weft with one line, and stays as it is.
func TestBadLeaseFile(t *testing.T) {
	l := newDHCPLAN(t, quick, "raw")
	newWire(t, l.hosts[0]).client(1).obtain()
	other := newWeft(t, porttest.NewNS(t, "other"), "metrics: {listen: \"off\"}\nlease_file: "+l.leases+"\nnetworks: {lan: {address: 10.0.0.1/24, dhcp: {range: 10.0.0.2}}}\n")
	refused := func(name, want string, wrap ...string) {
		t.Helper()
		before, err := os.ReadFile(l.leases)
		if err != nil {
			t.Fatal(err)
		}
		args := append(wrap, other.bin, "run", "-c", other.config, "--socket", other.socket)
		out, err := other.host.TryRun(args[0], args[1:]...)
		if err == nil || !strings.Contains(err.Error(), "exit status 1") || strings.Count(out, "\n") != 1 ||
			!strings.HasPrefix(out, "weft: ") || !strings.Contains(out, l.leases) || !strings.Contains(out, want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		after, err := os.ReadFile(l.leases)
		if err != nil || string(after) != string(before) {
			t.Errorf("%s: the file was changed: %v", name, err)
		}
	}
	refused("in use", "another weft")
	l.stop()
	good, err := os.ReadFile(l.leases)
	if err != nil {
		t.Fatal(err)
	}
	refused("read-only", "read-only", "unshare", "--mount", "sh", "-c",
		`mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"`, l.leases)
	refused("read-only folder", "read-only", "unshare", "--mount", "sh", "-c",
		`mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"`, filepath.Dir(l.leases))
	for name, bad := range map[string][]byte{
		"text":      []byte(strings.Repeat("these are no leases\n", 1000)),
		"empty":     nil,
		"cut":       good[:len(good)/2],
		"shredded":  append(append([]byte{}, good[:8192]...), make([]byte, len(good)-8192)...),
		"bits flip": flip(good),
	} {
		replaceFile(t, l.leases, string(bad))
		refused(name, "mv "+l.leases)
	}
	replaceFile(t, l.leases, string(good))
	l.start()
	if list := l.list(); len(list) != 1 || list[0].State != "active" {
		t.Errorf("with the good file again: %+v", list)
	}
}

// flip changes one bit in every 64 bytes.
func flip(b []byte) []byte {
	out := append([]byte{}, b...)
	for i := 0; i < len(out); i += 64 {
		out[i] ^= 4
	}
	return out
}
