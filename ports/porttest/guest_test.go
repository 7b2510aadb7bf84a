package porttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

func TestParseAnswer(t *testing.T) {
	tests := []struct {
		name, serial string
		out          string
		code         int
		done         bool
	}{
		{"nothing yet", "", "", 0, false},
		{"half a marker", "BEGIN x-1", "", 0, false},
		{"running", "BEGIN x-1\nfirst\n", "first\n", 0, false},
		{"no exit code yet", "BEGIN x-1\nfirst\n\nEND x-1 ", "first\n", 0, false},
		{"half an exit code", "BEGIN x-1\nfirst\n\nEND x-1 12", "first\n", 0, false},
		{"done", "BEGIN x-1\nfirst\n\nEND x-1 0\n", "first\n", 0, true},
		{"no newline at the end", "BEGIN x-1\nfirst\nEND x-1 0\n", "first", 0, true},
		{"silent", "BEGIN x-1\n\nEND x-1 127\n", "", 127, true},
		{"after another", "BEGIN x-0\na\n\nEND x-0 0\nBEGIN x-1\nb\n\nEND x-1 3\n", "b\n", 3, true},
		{"another's token is longer", "BEGIN x-12\na\n\nEND x-12 0\n", "", 0, false},
		{"a marker in the output", "BEGIN x-1\n\nEND x-9 0\n\nEND x-1 0\n", "\nEND x-9 0\n", 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, code, done := parseAnswer(tt.serial, "x-1")
			if out != tt.out || code != tt.code || done != tt.done {
				t.Errorf("got %q, %d, %v, want %q, %d, %v", out, code, done, tt.out, tt.code, tt.done)
			}
		})
	}
}

func TestGuestArguments(t *testing.T) {
	c := GuestConfig{Netdevs: []string{"tap,ifname=a", "tap,ifname=b"}, Address: "10.0.0.9/24", MTU: 9000, Device: "vmxnet3", Memory: 192}
	mac := net.HardwareAddr{0x52, 0x54, 0, 1, 2, 0}
	got := strings.Join(c.arguments("/cache", mac, "/tmp/console"), " ")
	for _, want := range []string{
		"-m 192 ", "-kernel /cache/vmlinuz ", "-serial file:/tmp/console ", "weft.ip=10.0.0.9/24", "weft.mtu=9000",
		"-netdev tap,ifname=a,id=net0 -device vmxnet3,netdev=net0,mac=52:54:00:01:02:00,",
		"-netdev tap,ifname=b,id=net1 -device vmxnet3,netdev=net1,mac=52:54:00:01:02:01,",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	c = GuestConfig{Netdevs: []string{"tap"}}
	got = strings.Join(c.arguments("/cache", mac, "/tmp/console"), " ")
	if !strings.Contains(got, "-m 128 ") || !strings.Contains(got, "virtio-net-pci") || strings.Contains(got, "weft.") {
		t.Errorf("defaults: %s", got)
	}
}

func TestGuestMAC(t *testing.T) {
	a, err := (&GuestConfig{}).mac()
	b, _ := (&GuestConfig{}).mac()
	if err != nil || !bytes.HasPrefix(a, []byte{0x52, 0x54, 0}) || bytes.Equal(a, b) {
		t.Errorf("random addresses %v, %v, %v", a, b, err)
	}
	if got, err := (&GuestConfig{MAC: "02:00:00:00:00:01"}).mac(); err != nil || got.String() != "02:00:00:00:00:01" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := (&GuestConfig{MAC: "mine"}).mac(); err == nil {
		t.Error("a wrong address was taken")
	}
}

// A guest and its host joined by a tap, without a switch: what works here and
// not through weft is weft's fault.
func TestGuestOnTap(t *testing.T) {
	Require(t)
	for _, device := range []string{"virtio-net-pci", "vmxnet3"} {
		t.Run(device, func(t *testing.T) {
			ns := NewNS(t, "vm")
			ns.Run(t, "ip", "tuntap", "add", "vm1", "mode", "tap", "vnet_hdr")
			ns.Addr(t, "vm1", "10.0.0.1/24")
			ns.Up(t, "vm1")
			g := StartGuest(t, ns, GuestConfig{
				Netdevs: []string{"tap,ifname=vm1,script=no,downscript=no"},
				Address: "10.0.0.9/24",
				MTU:     1400,
				Device:  device,
			})
			Ping(t, ns, "10.0.0.9")
			g.Run(t, "ping -c 1 -w 10 10.0.0.1")
			if out := g.Run(t, "cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu"); out != g.MAC.String()+"\n1400\n" {
				t.Errorf("address and MTU of the guest: %q, want %s and 1400", out, g.MAC)
			}
			download(t, ns, g)
			upload(t, ns, g)
		})
	}
}

// download fetches the guest's file and compares it with what the guest says of
// it over the serial port.
func download(t *testing.T, ns *NS, g *Guest) {
	t.Helper()
	conn := dial(t, ns, "10.0.0.9:80")
	fmt.Fprint(conn, "GET /data HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	want, _, _ := strings.Cut(g.Run(t, "sha256sum /srv/data"), " ")
	if got := fmt.Sprintf("%x", sha256.Sum256(body)); got != want || len(body) != 4<<20 {
		t.Errorf("downloaded %d bytes with %s, the guest has %s", len(body), got, want)
	}
}

// upload sends content and compares the guest's sum with its own.
func upload(t *testing.T, ns *NS, g *Guest) {
	t.Helper()
	content := mustRead(t, stream(rand.Uint64(), 4<<20))
	conn := dial(t, ns, "10.0.0.9:81")
	if _, err := conn.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(content)); !strings.HasPrefix(string(answer), want) {
		t.Errorf("the guest read %q, sent %s", answer, want)
	}
}

func dial(t *testing.T, ns *NS, addr string) *net.TCPConn {
	t.Helper()
	var conn net.Conn
	var err error
	ns.Do(func() { conn, err = net.DialTimeout("tcp", addr, 10*time.Second) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// The serial port carries commands whatever they write, and says how they ended.
func TestGuestRun(t *testing.T) {
	Require(t)
	g := StartGuest(t, NewNS(t, "vm"), GuestConfig{Address: "10.0.0.9/24"})
	tests := []struct{ command, want string }{
		{"echo one", "one\n"},
		{"printf 'no newline'", "no newline"},
		{"true", ""},
		{"echo to stderr >&2", "to stderr\n"},
		{"echo 'quotes \"and\" $signs' '*'", "quotes \"and\" $signs *\n"},
		{"for i in 1 2\ndo\necho $i\ndone", "1\n2\n"},
		{"cat", ""}, // its input is at an end
		{"echo END weft-1-1 0", "END weft-1-1 0\n"},
		{"seq 1 20000 | tail -n 1", "20000\n"},
		{"echo " + strings.Repeat("x", 8000), strings.Repeat("x", 8000) + "\n"},
	}
	for _, tt := range tests {
		if got := g.Run(t, tt.command); got != tt.want {
			t.Errorf("%.40q: got %.60q, want %.60q", tt.command, got, tt.want)
		}
	}
	_, err := g.TryRun("echo some output; exit 7", guestRunTimeout)
	if err == nil || !strings.Contains(err.Error(), "exit status 7") || !strings.Contains(err.Error(), "some output") {
		t.Errorf("failing command: %v", err)
	}
	if _, err := g.TryRun("sleep 2", 100*time.Millisecond); err == nil {
		t.Error("a command outlived its time unnoticed")
	}
	if got := g.Run(t, "echo after"); got != "after\n" {
		t.Errorf("after a command that took too long: %q", got)
	}
	g.Kill()
	if _, err := g.TryRun("true", guestRunTimeout); err == nil {
		t.Error("a dead guest answers")
	}
}
