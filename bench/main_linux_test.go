package bench

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"
)

// standInVariable makes the test binary a stand-in for weft, which joins hosts
// by the kernel where the configuration asks for ports. The harness is tested
// with it, not the switch.
const standInVariable = "WEFT_BENCH_STAND_IN"

func TestMain(m *testing.M) {
	if os.Getenv(standInVariable) != "" {
		if err := standIn(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "weft:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// standIn understands what the harness says to weft, and nothing else.
func standIn(args []string) error {
	flags := flag.NewFlagSet("weft run", flag.ContinueOnError)
	config := flags.String("c", "", "")
	socket := flags.String("socket", "", "")
	if len(args) == 0 || args[0] != "run" {
		return fmt.Errorf("arguments %q", args)
	}
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if *config == "" || filepath.Dir(*socket) != filepath.Dir(*config) {
		return fmt.Errorf("configuration %q, socket %q", *config, *socket)
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	if err := standInPorts(*config); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "weft: ready")
	<-terminate
	return nil
}

type standInConfig struct {
	LeaseFile string `yaml:"lease_file"`
	Metrics   struct{ Listen string }
	Networks  map[string]standInNetwork
}

type standInNetwork struct {
	Forward, Address string
	HostPort         bool `yaml:"host_port"`
	Uplink           struct{ Interface, Address string }
	RA               struct{ Enabled bool }
	NAT              struct {
		MaxFlows int `yaml:"max_flows"`
	}
	Ports map[string]struct{ Type, Interface, Netns, Address string }
}

func standInPorts(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c standInConfig
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		return err
	}
	if c.Metrics.Listen != "off" || len(c.Networks) != 1 {
		return fmt.Errorf("configuration %+v", c)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "standin"
	br := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(br); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(br); err != nil {
		return err
	}
	for _, network := range c.Networks {
		if network.Forward == "nat" {
			return standInNAT(network)
		}
		if network.Forward != "isolated" {
			return fmt.Errorf("forward %q", network.Forward)
		}
		for name, p := range network.Ports {
			if p.Type == "internal" {
				p.Interface = "to-" + name
				err = standInInternal(name, p.Interface, p.Netns, p.Address)
			}
			if err == nil {
				err = standInAttach(br, p.Interface)
			}
			if err != nil {
				return fmt.Errorf("port %q: %w", name, err)
			}
		}
	}
	return nil
}

// standInNAT routes and masquerades, whatever kind of uplink is asked for.
func standInNAT(network standInNetwork) error {
	addresses := map[string]string{network.Ports["h1"].Interface: network.Address}
	switch network.Uplink.Address {
	case "host", "sockets": // the host's, which it has
	default:
		addresses[network.Uplink.Interface] = network.Uplink.Address
	}
	for name, cidr := range addresses {
		ip, subnet, err := net.ParseCIDR(cidr)
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		subnet.IP = ip
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: subnet}); err != nil {
			return fmt.Errorf("%s on %s: %w", cidr, name, err)
		}
		if ip.To4() != nil {
			continue
		}
		// The stand-in is a router, which asks for neighbours from here.
		local := &net.IPNet{IP: append(net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0}, ip[8:]...), Mask: net.CIDRMask(64, 128)}
		if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: local}); err != nil {
			return fmt.Errorf("%s on %s: %w", local, name, err)
		}
	}
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	family := familyOf(netip.MustParsePrefix(network.Address).Addr())
	return (&Namespace{Name: "here", family: family, handle: here}).translate(network.Uplink.Interface)
}

func standInAttach(br netlink.Link, name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return errors.Join(netlink.LinkSetMaster(link, br), netlink.LinkSetUp(link))
}

func standInInternal(name, near, namespace, address string) error {
	ns, err := netns.GetFromName(namespace)
	if err != nil {
		return err
	}
	defer ns.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = near
	err = netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(ns)})
	if err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(name)
	if err != nil {
		return err
	}
	ip, subnet, err := net.ParseCIDR(address)
	if err != nil {
		return err
	}
	subnet.IP = ip
	return errors.Join(inside.AddrAdd(link, &netlink.Addr{IPNet: subnet}), inside.LinkSetUp(link))
}

// useStandIn makes every process that the test starts from this binary a
// stand-in, and returns the path of the binary.
func useStandIn(t *testing.T) string {
	t.Setenv(standInVariable, "1")
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// traces lists what this process's labs have on the machine now. Folders and
// namespaces of others, who may run at the same time, do not count.
func traces(t *testing.T, labs ...string) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{os.TempDir(), "/run/netns"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			if slices.ContainsFunc(labs, func(lab string) bool { return strings.HasPrefix(e.Name(), lab) }) {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	return found
}

// checkDescriptors fails the test where it ends with other descriptors open
// than it began with.
func checkDescriptors(t *testing.T) {
	t.Helper()
	before := descriptors(t)
	t.Cleanup(func() {
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors open, %d at the beginning", after, before)
		}
	})
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		// The runtime's own poller comes with the first pipe and stays.
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(target, "[event") {
			n++
		}
	}
	return n
}

// families calls f for both.
func families(t *testing.T, f func(t *testing.T, family Family)) {
	t.Helper()
	for _, family := range []Family{IPv4, IPv6} {
		t.Run(family.String(), func(t *testing.T) { f(t, family) })
	}
}

// newLab returns a lab that the test closes, and demands that nothing is left.
func newLab(t *testing.T, f Family) *Lab {
	t.Helper()
	lab, err := NewLab(f)
	if err != nil {
		t.Fatal(err)
	}
	id := filepath.Base(lab.dir)
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
		if left := traces(t, id); left != nil {
			t.Errorf("left behind: %v", left)
		}
	})
	return lab
}

// newPair returns two settled hosts joined by one veth pair.
func newPair(t *testing.T, f Family) (*Host, *Host) {
	t.Helper()
	bed, err := direct{}.Setup(t.Context(), newLab(t, f))
	if err != nil {
		t.Fatal(err)
	}
	if err := settle(t.Context(), bed.Hosts); err != nil {
		t.Fatal(err)
	}
	return bed.Hosts[0], bed.Hosts[1]
}
