package porttest

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	guestBootTimeout = 240 * time.Second
	guestRunTimeout  = 180 * time.Second
)

// GuestConfig describes a guest. Only Netdevs must be given.
type GuestConfig struct {
	// Netdevs are arguments of QEMU's -netdev without their id, such as
	// "tap,ifname=vm1,script=no,downscript=no": eth0 and those after it. QEMU
	// runs in the namespace of the guest and looks for interfaces there.
	Netdevs []string
	// Address of eth0, such as 10.0.0.9/24; without one it asks by DHCP. "slaac": it
	// makes one of what routers advertise, and has it when StartGuest returns.
	Address string
	// MTU of eth0 in bytes of IP packet; 0 means the card's own.
	MTU int
	// Device is QEMU's name of the network card, with properties if need be:
	// virtio-net-pci where empty. The guest's kernel has a driver for vmxnet3
	// besides, a card without virtio, but none for the e1000 family.
	Device string
	// MAC of eth0, the other cards count up from it; random where empty.
	MAC string
	// Memory in MiB; 128 where 0.
	Memory int
}

// Guest is a QEMU virtual machine that runs a real Linux kernel. It serves HTTP
// on port 80 (/data, 4 MiB, and /data.sha256), and on port 81 answers the
// SHA-256 of what it is sent. See guest/init.
type Guest struct {
	*Process
	MAC net.HardwareAddr // of eth0

	console string // file with what the guest writes on its first serial port
	mu      sync.Mutex
	stdin   io.Writer // second serial port: requests
	serial  int       // number of requests so far
}

// StartGuest boots a guest inside a namespace and waits until it is up. It is
// killed at the end of the test, and what it wrote on its console is shown if
// the test has failed. Where the guest cannot be made (no QEMU, no package
// source) the test ends as it does in Require.
func StartGuest(t testing.TB, ns *NS, c GuestConfig) *Guest {
	t.Helper()
	images := buildGuest(t)
	mac, err := c.mac()
	if err != nil {
		t.Fatalf("guest: %v", err)
	}
	g := &Guest{MAC: mac, console: filepath.Join(t.TempDir(), "console")}
	cmd := exec.Command("qemu-system-x86_64", c.arguments(images, mac, g.console)...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("guest: %v", err)
	}
	g.stdin = stdin
	g.Process = ns.StartCmd(t, cmd)
	t.Cleanup(func() {
		stdin.Close()
		if t.Failed() {
			t.Logf("console of the guest in namespace %s:\n%s", ns.Name, g.Console())
		}
	})
	if err := g.waitReady(guestBootTimeout); err != nil {
		t.Fatalf("guest in namespace %s: %v", ns.Name, err)
	}
	return g
}

// arguments returns QEMU's command line. The first serial port, the guest's
// console, is a file; the second, which carries commands, is QEMU's standard
// input and output, so that nothing the kernel says gets between.
func (c *GuestConfig) arguments(images string, mac net.HardwareAddr, console string) []string {
	device, memory := c.Device, c.Memory
	if device == "" {
		device = "virtio-net-pci"
	}
	if memory == 0 {
		memory = 128
	}
	kernel := "console=ttyS0 quiet panic=-1"
	if c.Address != "" {
		kernel += " weft.ip=" + c.Address
	}
	if c.MTU != 0 {
		kernel += " weft.mtu=" + strconv.Itoa(c.MTU)
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", "q35,accel=tcg", "-m", strconv.Itoa(memory),
		"-kernel", filepath.Join(images, "vmlinuz"),
		"-initrd", filepath.Join(images, "initramfs.gz"),
		"-append", kernel,
		"-serial", "file:" + console,
		"-chardev", "stdio,id=commands,signal=off", "-serial", "chardev:commands",
	}
	for i, netdev := range c.Netdevs {
		// No ROM: booting from the network is not asked for and takes time.
		args = append(args, "-netdev", fmt.Sprintf("%s,id=net%d", netdev, i),
			"-device", fmt.Sprintf("%s,netdev=net%d,mac=%s,romfile=", device, i, addMAC(mac, i)))
	}
	return args
}

// mac returns the address of eth0. Random ones begin with 52:54:00, which QEMU
// and libvirt give to guests by convention.
func (c *GuestConfig) mac() (net.HardwareAddr, error) {
	if c.MAC != "" {
		return net.ParseMAC(c.MAC)
	}
	mac := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0}
	_, err := rand.Read(mac[3:5])
	return mac, err
}

// addMAC returns the n-th address after mac.
func addMAC(mac net.HardwareAddr, n int) net.HardwareAddr {
	next := append(net.HardwareAddr(nil), mac...)
	next[len(next)-1] += byte(n)
	return next
}

// Console returns what the guest has written on its console so far.
func (g *Guest) Console() string {
	text, err := os.ReadFile(g.console)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(text), "\r", "")
}

func (g *Guest) waitReady(timeout time.Duration) error {
	return g.poll(timeout, func() bool { return strings.Contains(g.Console(), "GUEST READY\n") })
}

// Run runs a shell command in the guest and returns what it wrote to standard
// output and standard error. A command that fails, or runs for more than three
// minutes, ends the test.
func (g *Guest) Run(t testing.TB, command string) string {
	t.Helper()
	out, err := g.TryRun(command, guestRunTimeout)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TryRun is Run with a time limit, and with an error, which holds the output, in
// place of a failure. Commands of several goroutines run one after the other.
func (g *Guest) TryRun(command string, timeout time.Duration) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.serial++
	token := fmt.Sprintf("weft-%d-%d", g.Pid(), g.serial)
	request := token + " " + base64.StdEncoding.EncodeToString([]byte(command)) + "\n"
	if _, err := io.WriteString(g.stdin, request); err != nil {
		return "", fmt.Errorf("guest: %q: %w", command, err)
	}
	var out string
	var code int
	err := g.poll(timeout, func() (done bool) {
		out, code, done = parseAnswer(g.Output(), token)
		return done
	})
	if err != nil {
		return out, fmt.Errorf("guest: %q: %w\n%s", command, err, out)
	}
	if code != 0 {
		return out, fmt.Errorf("guest: %q: exit status %d\n%s", command, code, out)
	}
	return out, nil
}

// poll waits until done answers yes. It fails when QEMU ends or the time is up.
func (g *Guest) poll(timeout time.Duration, done func() bool) error {
	deadline := time.Now().Add(timeout)
	for !done() {
		select {
		case <-g.Exited():
			return fmt.Errorf("QEMU has ended: %s", g.Output())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer in %v", timeout)
		}
	}
	return nil
}

// parseAnswer finds what a command wrote between its markers. A line of output
// that looks like the end marker of another command is just output, as the
// token is in both markers.
func parseAnswer(serial, token string) (out string, code int, done bool) {
	_, out, begun := strings.Cut(serial, "BEGIN "+token+"\n")
	if !begun {
		return "", 0, false
	}
	out, end, ended := strings.Cut(out, "\nEND "+token+" ")
	number, _, whole := strings.Cut(end, "\n")
	if !ended || !whole {
		return out, 0, false
	}
	code, err := strconv.Atoi(number)
	return out, code, err == nil
}

// buildGuest makes the kernel and the initramfs, or finds them made, and returns
// their folder.
func buildGuest(t testing.TB) string {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatalf("guest: %v", err)
	}
	cache := filepath.Join(root, ".cache", "guest")
	if _, err = exec.LookPath("qemu-system-x86_64"); err == nil {
		script := filepath.Join(root, "ports", "porttest", "guest", "build.sh")
		var out []byte
		if out, err = exec.Command("sh", script, cache).CombinedOutput(); err != nil {
			err = fmt.Errorf("make the guest: %w: %s", err, out)
		}
	}
	require(t, err, promised(os.Getenv))
	return cache
}

// repository returns the folder with go.mod. Tests run in their package's.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the present folder")
		}
		dir = parent
	}
}
