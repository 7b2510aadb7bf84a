package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weft/weft/ports/porttest"
)

// What cannot be is refused in a line that names the thing, and nothing is
// left of the attempt.
func TestRefusals(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	porttest.Veth(t, host, "good", host, "good-peer")
	porttest.Veth(t, host, "member", host, "member-peer")
	host.Run(t, "ip", "link", "add", "br9", "type", "bridge")
	host.Run(t, "ip", "link", "set", "member", "master", "br9")
	links := func() string { return host.Run(t, "ip", "-br", "link") }
	before := links()

	const frame = "metrics: {listen: \"off\"}\nnetworks:\n  lan:\n    ports:\n      good: {type: raw}\n%s"
	tests := []struct {
		name, yaml string
		want       []string // each a line
	}{
		{"missing interface", "      vm9: {type: raw, interface: veth9}", []string{`weft: network "lan": port "vm9": interface "veth9" does not exist`}},
		{"two missing interfaces", "      a: {type: raw, interface: no-a}\n      b: {type: raw, interface: no-b}",
			[]string{`port "a": interface "no-a" does not exist`, `port "b": interface "no-b" does not exist`}},
		{"a bridge's member", "      member: {type: raw}", []string{`interface "member" belongs to bridge "br9"`}},
		{"a bridge", "      br9: {type: raw}", []string{`interface "br9" is a bridge`}},
		{"loopback", "      lo: {type: raw}", []string{`interface "lo" carries no Ethernet`}},
		{"no tap", "      good-peer: {type: tap}", []string{`interface "good-peer" exists and is no tap`}},
		{"internal on a veth", "      good-peer: {type: internal}", []string{`interface "good-peer" exists and is no tap`}},
		{"no namespace", "      h: {type: internal, netns: nowhere}", []string{`network namespace "nowhere" does not exist`}},
		{"no user", "      vm: {type: tap, owner: nobody-here}", []string{`owner "nobody-here" is not a user`}},
		{"long name", "      x: {type: tap, interface: a-name-too-long-for-linux}", []string{":6: "}},
		{"one interface twice", "      again: {type: raw, interface: good}", []string{`"good"`}},
		{"unknown keys", "      x: {type: tap, colour: red}\n    speed: 10", []string{":6: ", ":7: "}},
		{"metrics address", "metrics: {listen: \"203.0.113.1:1\"}", nil}, // duplicate key
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWeft(t, host, fmt.Sprintf(frame, tt.yaml))
			out, err := host.TryRun(w.bin, "run", "-c", w.config, "--socket", w.socket)
			if err == nil {
				t.Fatalf("accepted:\n%s", out)
			}
			var lines []string
			for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
				if strings.HasPrefix(line, "weft: ") {
					lines = append(lines, line)
				}
			}
			if tt.want != nil && len(lines) != len(tt.want) {
				t.Errorf("want %d lines, got:\n%s", len(tt.want), out)
			}
			for i, want := range tt.want {
				if i < len(lines) && !strings.Contains(lines[i], want) {
					t.Errorf("line %d is\n%s\nwant %q", i, lines[i], want)
				}
			}
			if after := links(); after != before {
				t.Errorf("interfaces were\n%s, are\n%s", before, after)
			}
			if _, err := os.Stat(w.socket); err == nil {
				t.Error("the socket is left")
			}
		})
	}
}

func TestRefusesWithoutPrivilege(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	w := newWeft(t, host, "networks: {lan: {}}")
	out, err := host.TryRun("setpriv", "--bounding-set", "-net_admin", w.bin, "run", "-c", w.config, "--socket", w.socket)
	if err == nil || out != "weft: not permitted to make taps and packet sockets: run as root, or with CAP_NET_ADMIN and CAP_NET_RAW\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// A second weft is kept off the socket, off a raw interface, off a tap and off
// an internal port of the first, which does not notice.
func TestSecondWeft(t *testing.T) {
	l := newLAN(t, 1500, "raw", "internal")
	second := newWeft(t, l.host, "metrics: {listen: \"off\"}\nnetworks: {}\n")
	out, err := l.host.TryRun(second.bin, "run", "-c", second.config, "--socket", l.socket)
	if err == nil || !strings.Contains(out, fmt.Sprintf("socket %s is in use by another weft (pid %d)", l.socket, l.Pid())) {
		t.Errorf("same socket: %v: %s", err, out)
	}
	second.write("metrics: {listen: \"127.0.0.1:9820\"}\n")
	out, err = l.host.TryRun(second.bin, "run", "-c", second.config, "--socket", second.socket)
	if err == nil || !strings.Contains(out, "metrics.listen 127.0.0.1:9820") {
		t.Errorf("same metrics address: %v: %s", err, out)
	}
	second.write("metrics: {listen: \"off\"}\nnetworks: {lan: {}}\n")
	second.start()
	second.fails(`interface "p1" is in use by another weft`, "port", "add", "lan", "mine", "--type", "raw", "--interface", "p1")
	second.fails(`interface "eth0" is held by another process`, "port", "add", "lan", "mine", "--type", "internal", "--netns", l.hosts[1].Name, "--interface", "eth0")
	l.do("port", "add", "lan", "vm1", "--type", "tap")
	second.fails(`interface "vm1" is in use by another weft`, "port", "add", "lan", "vm1", "--type", "tap")
	second.fails("exists and is no tap", "port", "add", "lan", "mine", "--type", "tap", "--interface", "p1")
	if out := second.do("port", "list"); strings.Contains(out, "mine") {
		t.Errorf("a refused port is listed:\n%s", out)
	}
	porttest.Ping(t, l.hosts[0], address(2))
	second.stop()
	porttest.Ping(t, l.hosts[0], address(2))
	if _, err := l.host.Handle().LinkByName("vm1"); err != nil {
		t.Error("the second weft took the first one's tap away")
	}
}

// The built-in network, without any file.
func TestDefaultNetwork(t *testing.T) {
	porttest.Require(t)
	host := porttest.NewNS(t, "host")
	w := newWeft(t, host, "")
	w.startBuiltin()
	if !strings.Contains(w.Output(), "network default leaves by sockets of this host") {
		t.Errorf("weft did not say how guests get out where there is no default route:\n%s", w.Output())
	}
	if out := w.do("network", "list"); !strings.Contains(out, "default   nat       sockets") {
		t.Errorf("network list:\n%s", out)
	}
	w.do("port", "add", "default", "h1", "--type", "internal")
	w.stop()
}
