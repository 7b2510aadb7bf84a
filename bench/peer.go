package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Names of the peers that other files speak of.
const (
	// Baseline is the peer that ratios refer to, where a scenario names no other.
	Baseline     = "bridge"
	peerDirect   = "direct"
	weftPrefix   = "weft-" // of the names of peers that are weft
	peerRaw      = "weft-raw"
	peerInternal = "weft-internal"
	peerEight    = "weft-8ports"
	peerServices = "weft-services"
	peerDnsmasq  = "dnsmasq"

	peerMasquerade = "kernel-masquerade"
	peerNAT        = "weft-nat"
	peerNATHost    = "weft-nat-host"
	peerNATSockets = "weft-nat-sockets"
)

// Peer is one way to join hosts.
type Peer interface {
	// Name is short, unique and the same from one version to the next.
	Name() string
	// About says in a few words what joins the hosts.
	About() string
	// Available returns nil where the peer can be set up on this machine,
	// and otherwise an error that names what is missing.
	Available() error
	// Setup joins two or more hosts, which reach one another soon after.
	// Everything it makes belongs to lab, and goes when lab is closed, after
	// an error too.
	Setup(ctx context.Context, lab *Lab) (*Bed, error)
}

// Bed is what a peer has set up: the hosts, and the process that switches
// between them, nil where the kernel does.
type Bed struct {
	Hosts  []*Host
	Switch *Process

	// ready waits until the hosts reach one another; nil: they are neighbours.
	ready func(ctx context.Context, hosts []*Host) error
}

// Peers returns every peer that this version knows. weft is the path of the
// binary to measure; where it is empty the peers of weft are not available.
func Peers(weft string) []Peer {
	return []Peer{
		direct{},
		kernelBridge{},
		weftPeer{peerRaw, "weft, two veth ends as raw ports", weft, []string{"raw", "raw"}},
		weftPeer{peerInternal, "weft, two internal ports", weft, []string{"internal", "internal"}},
		weftPeer{peerEight, "weft, four raw and four internal ports", weft, []string{
			"raw", "raw", "raw", "raw", "internal", "internal", "internal", "internal"}},
		servicesPeer{weft},
		dnsmasq{},
		masquerade{},
		natPeer{peerNAT, "weft, NAT, uplink with its own address", weft, ""},
		natPeer{peerNATHost, "weft, NAT, uplink that shares the host's address", weft, "host"},
		natPeer{peerNATSockets, "weft, NAT by sockets of the host", weft, "sockets"},
	}
}

func findPeer(peers []Peer, name string) Peer {
	for _, p := range peers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// direct joins two hosts by one veth pair: no switch at all, the limit.
type direct struct{}

func (direct) Name() string     { return peerDirect }
func (direct) About() string    { return "one veth pair, no switch: the limit" }
func (direct) Available() error { return probeVeth() }

func (direct) Setup(_ context.Context, lab *Lab) (*Bed, error) {
	hosts, err := lab.hosts(2)
	if err != nil {
		return nil, err
	}
	if err := veth(hosts[0].NS, hosts[0].Interface, hosts[1].NS, hosts[1].Interface); err != nil {
		return nil, err
	}
	return &Bed{Hosts: hosts}, nil
}

// kernelBridge joins two hosts by a kernel bridge in a namespace of its own,
// with br_netfilter off there: what is compared is switching, not a firewall.
type kernelBridge struct{}

func (kernelBridge) Name() string  { return Baseline }
func (kernelBridge) About() string { return "kernel bridge, br_netfilter off" }

func (kernelBridge) Available() error {
	if err := probeVeth(); err != nil {
		return err
	}
	return probeBridge()
}

func (kernelBridge) Setup(_ context.Context, lab *Lab) (*Bed, error) {
	hosts, _, err := bridged(lab, 2)
	if err != nil {
		return nil, err
	}
	return &Bed{Hosts: hosts}, nil
}

// bridged joins n hosts by the kernel bridge br0 of a namespace, which it returns.
func bridged(lab *Lab, n int) ([]*Host, *Namespace, error) {
	hosts, sw, err := lab.hostsBeside("switch", n)
	if err != nil {
		return nil, nil, err
	}
	for _, table := range []string{"iptables", "ip6tables", "arptables"} {
		if err := sw.sysctl("net/bridge/bridge-nf-call-"+table, "0"); err != nil {
			return nil, nil, err
		}
	}
	var ends []string
	for i, h := range hosts {
		end := fmt.Sprintf("p%d", i+1)
		if err := veth(h.NS, h.Interface, sw, end); err != nil {
			return nil, nil, err
		}
		ends = append(ends, end)
	}
	return hosts, sw, bridge(sw, "br0", ends)
}

// weftPeer joins hosts by weft, one port of the given type for each.
type weftPeer struct {
	name, about string
	binary      string
	types       []string // raw or internal
}

func (p weftPeer) Name() string  { return p.name }
func (p weftPeer) About() string { return p.about }

func (p weftPeer) Available() error {
	if p.binary == "" {
		return fmt.Errorf("no weft binary was given")
	}
	if _, err := exec.LookPath(p.binary); err != nil {
		return fmt.Errorf("weft binary: %w", err)
	}
	return probeVeth()
}

func (p weftPeer) Setup(ctx context.Context, lab *Lab) (*Bed, error) {
	hosts, sw, err := lab.hostsBeside("switch", len(p.types))
	if err != nil {
		return nil, err
	}
	var ports strings.Builder
	for i, h := range hosts {
		port := fmt.Sprintf("h%d", i+1)
		if p.types[i] == "internal" {
			h.Interface = port // the name that weft gives to the netdev
			fmt.Fprintf(&ports, "      %s: {type: internal, netns: %s, address: %s}\n", port, h.NS.Name, h.prefix())
			continue
		}
		end := fmt.Sprintf("p%d", i+1)
		if err := veth(h.NS, h.Interface, sw, end); err != nil {
			return nil, err
		}
		fmt.Fprintf(&ports, "      %s: {type: raw, interface: %s}\n", port, end)
	}
	return weftBed(ctx, lab, hosts, sw, p.binary, weftConfig(ports.String()))
}

// weftBed starts weft with a configuration in the namespace beside the hosts.
func weftBed(ctx context.Context, lab *Lab, hosts []*Host, sw *Namespace, binary, config string) (*Bed, error) {
	file := lab.path("weft.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	process, err := lab.start(ctx, sw, "weft: ready", binary, "run", "-c", file, "--socket", lab.path("weft.sock"))
	if err != nil {
		return nil, err
	}
	return &Bed{Hosts: hosts, Switch: process}, nil
}

// weftConfig returns a configuration with one plain network that has the given
// ports, lines of YAML six blanks deep.
func weftConfig(ports string) string {
	return "metrics: {listen: \"off\"}\nnetworks:\n  bench:\n    forward: isolated\n    ports:\n" + ports
}
