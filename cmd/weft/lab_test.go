package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/ports/porttest"
)

// Real TCP with every pair of port kinds, offloads on and off, small and jumbo.
// A partial checksum that leaves wrong shows here: ping works and TCP hangs.
func TestTCPBetweenPortKinds(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		mtu  int
	}{
		{"internal", "internal", 1500},
		{"internal", "raw", 1500},
		{"raw", "raw", 1500},
		{"raw-off", "raw", 1500},
		{"raw-off", "raw-off", 1500},
		{"internal", "raw-off", 1500},
		{"internal", "raw", 9000},
		{"raw-off", "raw-off", 9000},
	} {
		t.Run(fmt.Sprintf("%s to %s, MTU %d", tt.a, tt.b, tt.mtu), func(t *testing.T) {
			l := newLAN(t, tt.mtu, tt.a, tt.b)
			porttest.Ping(t, l.hosts[0], address(2))
			porttest.TCPTransfer(t, l.hosts[0], l.hosts[1], address(2), 16<<20)
			// The longest packet that fits crosses, a longer one is not made.
			size := fmt.Sprint(tt.mtu - 28)
			l.hosts[0].Run(t, "ping", "-n", "-c", "1", "-w", "5", "-M", "do", "-s", size, address(2))
			if tt.a == "raw" || tt.a == "internal" {
				if p := l.port("lan", "p1"); p.RX.Bytes/max(p.RX.Frames, 1) < 4000 {
					t.Errorf("super-frames did not cross whole: %d bytes in %d frames", p.RX.Bytes, p.RX.Frames)
				}
			}
		})
	}
}

// Tags survive from and to every kind of port, also where the kernel holds
// them out of band, and an oversized frame is a counted drop.
func TestTaggedAndOversizedFrames(t *testing.T) {
	l := newLAN(t, 1500, "raw", "internal", "raw")
	for _, h := range l.hosts {
		h.Quiet(t)
	}
	var conns []*porttest.RawConn
	for _, h := range l.hosts {
		conns = append(conns, h.RawConn(t, "eth0"))
	}
	payload := bytes.Repeat([]byte("weft"), 100)
	for name, tags := range map[string][]byte{
		"untagged": nil,
		"802.1Q":   {0x81, 0, 0x60, 0x64},
		"priority": {0x81, 0, 0xe0, 0},
		"QinQ":     {0x88, 0xa8, 0, 9, 0x81, 0, 0, 7},
	} {
		t.Run(name, func(t *testing.T) {
			for i, from := range conns {
				frame := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, byte(i)}, tags...)
				frame = append(append(frame, 0x88, 0xb5), payload...)
				from.Send(frame)
				for j, to := range conns {
					if j == i {
						continue
					}
					got := to.RecvMatch(60*time.Second, func(f []byte) bool { return bytes.Equal(f[6:12], frame[6:12]) })
					if !bytes.Equal(got, frame) {
						t.Errorf("from p%d to p%d: % x, want % x", i+1, j+1, got[:min(len(got), 30)], frame[:30])
					}
				}
			}
		})
	}
	l.host.MTU(t, "p1", 4000)
	l.hosts[0].MTU(t, "eth0", 4000)
	conns[0].Send(append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 2000)...))
	waitDrops(t, l.weftProcess, "p1", "oversized", 1)
}

func waitDrops(t *testing.T, w *weftProcess, port, reason string, n uint64) {
	t.Helper()
	var p api.Port
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if p = w.port("lan", port); p.Drops[reason] >= n {
			return
		}
	}
	t.Errorf("port %s: drops %v, want %d %s", port, p.Drops, n, reason)
}

// Two networks in one process do not hear each other.
func TestNetworksAreSeparate(t *testing.T) {
	porttest.Require(t)
	host, a, b, c := porttest.NewNS(t, "host"), porttest.NewNS(t, "a"), porttest.NewNS(t, "b"), porttest.NewNS(t, "c")
	startWeft(t, host, fmt.Sprintf(`
networks:
  one: {ports: {a: {type: internal, netns: %s, address: 10.0.0.1/24}, b: {type: internal, netns: %s, address: 10.0.0.2/24}}}
  two: {ports: {c: {type: internal, netns: %s, address: 10.0.0.2/24}}}
`, a.Name, b.Name, c.Name))
	porttest.Ping(t, a, address(2))
	b.Down(t, "b")
	if err := porttest.TryPing(a, address(2), 2*time.Second); err == nil {
		t.Error("a host of network two answered on network one")
	}
}

// What the commands show while traffic runs.
func TestShow(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw")
	porttest.TCPTransfer(t, l.hosts[0], l.hosts[1], address(2), 1<<20)

	var status api.Status
	l.query(&status, "status")
	if status.Networks != 1 || status.Ports != 2 || status.PID != l.Pid() || status.Fastpath.State != "off" || status.Fastpath.Reason == "" {
		t.Errorf("status: %+v", status)
	}
	var networks []api.Network
	l.query(&networks, "network", "list")
	if len(networks) != 1 || networks[0].Name != "lan" || networks[0].Up != 2 || networks[0].FDB.Entries != 2 {
		t.Errorf("networks: %+v", networks)
	}
	mac := l.hosts[1].Link(t, "eth0").Attrs().HardwareAddr.String()
	if got := l.fdbOf("p2"); len(got) != 1 || got[0] != mac {
		t.Errorf("addresses at p2: %v, want %s", got, mac)
	}
	for _, args := range [][]string{{"port", "list"}, {"port", "show", "lan", "p1"}, {"network", "show", "lan"}, {"fdb", "list"}, {"status"}} {
		if out := l.do(args...); !strings.Contains(out, "lan") && args[0] != "status" {
			t.Errorf("weft %s:\n%s", strings.Join(args, " "), out)
		}
	}
	out := l.host.Run(t, "curl", "-sS", "--unix-socket", l.socket, "http://weft/v1/ports")
	var ports []api.Port
	if err := json.Unmarshal([]byte(out), &ports); err != nil || len(ports) != 2 || ports[0].RX.Bytes == 0 {
		t.Errorf("curl: %v\n%s", err, out)
	}
	metrics := l.host.Run(t, "curl", "-sS", "http://127.0.0.1:9820/metrics")
	for _, want := range []string{
		`weft_port_frames_total{direction="rx",network="lan",port="p1"}`,
		`weft_port_bytes_total{direction="tx",network="lan",port="p2"}`,
		`weft_fdb_entries{network="lan"} 2`, `weft_fdb_moves_total{network="lan"} 0`,
		`weft_port_up{network="lan",port="p1"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if strings.Contains(metrics, mac) {
		t.Error("metrics hold a MAC address")
	}
}

// The FDB by hand, on a running network.
func TestFDBCommands(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw")
	porttest.Ping(t, l.hosts[0], address(2))
	l.do("fdb", "add", "lan", "02:00:00:00:00:99", "p2")
	var entries []api.FDBEntry
	l.query(&entries, "fdb", "list", "lan")
	var static int
	for _, e := range entries {
		if e.Kind == "static" && e.MAC == "02:00:00:00:00:99" && e.Port == "p2" {
			static++
		}
	}
	if static != 1 {
		t.Errorf("entries: %+v", entries)
	}
	l.do("fdb", "flush", "lan")
	if got := l.fdbOf("p2"); !slices.Contains(got, "02:00:00:00:00:99") {
		t.Errorf("after flush: %v", got)
	}
	l.do("fdb", "del", "lan", "02:00:00:00:00:99")
	if got := l.fdbOf("p2"); slices.Contains(got, "02:00:00:00:00:99") {
		t.Errorf("after del: %v", got)
	}
	l.fails("02:00:00:00:00:99", "fdb", "del", "lan", "02:00:00:00:00:99")
	l.fails(`port "p9" does not exist`, "fdb", "add", "lan", "02:00:00:00:00:99", "p9")
	porttest.Ping(t, l.hosts[0], address(2))
}

// A capture holds the frames, the port and direction of each, the reason of a
// drop, and checksums that a reader finds right.
func TestCapture(t *testing.T) {
	l := newLAN(t, 1500, "internal", "raw")
	file := filepath.Join(t.TempDir(), "lan.pcapng")
	c := l.host.Start(t, l.bin, "capture", "lan", "-w", file, "--socket", l.socket)
	c.WaitOutput(t, "apturing", 60*time.Second)
	porttest.TCPTransfer(t, l.hosts[0], l.hosts[1], address(2), 100<<10)
	l.hosts[0].RawConn(t, "eth0").Send([]byte{0x01, 0x80, 0xc2, 0, 0, 0x0e, 2, 0, 0, 0, 0, 1, 0x88, 0xcc, 0, 0})
	waitDrops(t, l.weftProcess, "p1", "reserved-group", 1)
	time.Sleep(200 * time.Millisecond) // the last block is on its way
	c.Signal(t, syscall.SIGINT)
	if err := c.Wait(t, 60*time.Second); err != nil {
		t.Fatalf("capture: %v\n%s", err, c.Output())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := pcapgo.NewNgReader(bytes.NewReader(b), pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	var frames, commented int
	for {
		_, _, options, err := r.ReadPacketDataWithOptions()
		if err != nil {
			break
		}
		frames++
		if len(options.Comments) == 1 && options.Comments[0] == "dropped: reserved-group" {
			commented++
		}
	}
	if frames < 10 || commented != 1 || r.NInterfaces() < 2 {
		t.Errorf("%d frames on %d interfaces, %d with the comment of the drop", frames, r.NInterfaces(), commented)
	}
	verdicts := l.host.Run(t, "tcpdump", "-nvv", "-r", file, "tcp")
	if strings.Contains(verdicts, "incorrect") || !strings.Contains(verdicts, "correct") {
		t.Errorf("checksums in the capture:\n%s", verdicts)
	}
}
