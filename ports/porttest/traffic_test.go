package porttest

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// pair returns two hosts joined by a veth, with an address of each family.
func pair(t testing.TB, options ...VethOption) (a, b *NS) {
	t.Helper()
	a, b = NewNS(t, "a"), NewNS(t, "b")
	Veth(t, a, "eth0", b, "eth0", options...)
	for i, ns := range []*NS{a, b} {
		host := string(rune('1' + i))
		ns.Addr(t, "eth0", "10.0.0."+host+"/24")
		ns.Addr(t, "eth0", "fd00::"+host+"/64")
	}
	return a, b
}

func TestPing(t *testing.T) {
	Require(t)
	a, _ := pair(t)
	Ping(t, a, "10.0.0.2")
	Ping(t, a, "fd00::2")
	if err := TryPing(a, "10.0.0.9", time.Second); err == nil {
		t.Error("a host that is not there answers")
	}
	r := record(func(t testing.TB) { Ping(t, a, "192.0.2.1") }) // no route: fails at once
	if !strings.Contains(r.failed, "192.0.2.1") {
		t.Errorf("failed with %q", r.failed)
	}
}

func TestTCPTransfer(t *testing.T) {
	Require(t)
	tests := map[string][]VethOption{
		"offloads":    nil,
		"no offloads": {VethOffloadsOff()},
		"jumbo":       {VethMTU(9000)},
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t, options...)
			TCPTransfer(t, a, b, "10.0.0.2", 4<<20)
			TCPTransfer(t, b, a, "fd00::1", 1<<20)
			TCPTransfer(t, a, b, "10.0.0.2", 0)
		})
	}
}

func TestTCPTransferFails(t *testing.T) {
	Require(t)
	a, b := pair(t)
	a.Down(t, "eth0")
	r := record(func(t testing.TB) { TCPTransfer(t, a, b, "10.0.0.2", 1) })
	if !strings.Contains(r.failed, "10.0.0.2") {
		t.Errorf("transfer over a link that is down: %q", r.failed)
	}
	a.Up(t, "eth0")

	// A switch that lets the handshake and small frames through but no full
	// segment: the classic symptom that this helper is here to find.
	b.MTU(t, "eth0", 600)
	a.Run(t, "ip", "route", "add", "10.0.0.2/32", "dev", "eth0", "advmss", "1460")
	b.Run(t, "ip", "route", "add", "10.0.0.1/32", "dev", "eth0", "advmss", "1460")
	a.OffloadsOff(t, "eth0")
	if err := TryTCPTransfer(a, b, "10.0.0.2", 1<<20, 2*time.Second); err == nil {
		t.Error("full segments are lost, and nothing was noticed")
	}
}

func TestCheckStream(t *testing.T) {
	const seed, size = 7, 100_000
	whole, err := io.ReadAll(stream(seed, size))
	if err != nil || len(whole) != size {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	if err := checkStream(bytes.NewReader(whole), seed, size); err != nil {
		t.Errorf("the right content: %v", err)
	}
	changed := bytes.Clone(whole)
	changed[size/2] ^= 1
	wrong := map[string][]byte{
		"one bit":    changed,
		"too short":  whole[:size-1],
		"too long":   append(bytes.Clone(whole), 0),
		"other seed": mustRead(t, stream(seed+1, size)),
		"nothing":    nil,
	}
	for name, content := range wrong {
		if err := checkStream(bytes.NewReader(content), seed, size); err == nil {
			t.Errorf("%s: taken as right", name)
		}
	}
}

func mustRead(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The two ends must be in the namespaces named, not in the test's own.
func TestConnectInside(t *testing.T) {
	Require(t)
	a, b := pair(t)
	client, server, err := connect(a, b, "10.0.0.2", time.Now().Add(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	defer server.Close()
	if got := server.RemoteAddr().(*net.TCPAddr).IP.String(); got != "10.0.0.1" {
		t.Errorf("client comes from %s", got)
	}
	if out := a.Run(t, "ss", "-Htn", "dst", "10.0.0.2"); !strings.Contains(out, "ESTAB") {
		t.Errorf("no connection in namespace a: %q", out)
	}
}
