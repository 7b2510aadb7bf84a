// Package config is the configuration of weft as a passive value: what a file
// or a command asks for, checked as far as it can be without looking at the
// machine. It opens no interface and looks up no user.
//
// A Config comes from Parse, Load or Default; a command changes a Clone, calls
// Normalize and Validate, and hands the two values to Diff. Nobody changes a
// Config that others may read.
//
// The trap: in a Config every default is filled in. A Network made by hand
// starts from NewNetwork, and a Port needs Normalize before Validate accepts it.
package config

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// Values of Port.Type.
const (
	TypeTap      = "tap"      // a persistent tap that a virtual machine opens
	TypeRaw      = "raw"      // an existing interface
	TypeInternal = "internal" // a netdev of weft's own, for a host
)

// ForwardIsolated is the only value of Network.Forward in this version.
const ForwardIsolated = "isolated"

// ModeBridge is the only value of Port.Mode in this version.
const ModeBridge = "bridge"

// MetricsOff as Metrics.Listen means that no metrics are served.
const MetricsOff = "off"

// What applies where a file says nothing.
const (
	DefaultNetwork = "default"
	DefaultListen  = "127.0.0.1:9820"
	DefaultMTU     = 1500
	DefaultAgeing  = 300 * time.Second
	DefaultLimit   = 8192
)

// Config is all that weft is configured by.
type Config struct {
	Metrics  Metrics
	Networks []Network // sorted by name
}

// Metrics says where the counters are served.
type Metrics struct {
	Listen string // host:port, or MetricsOff
}

// Network is one L2 domain.
type Network struct {
	Name    string // 1-15 characters of A-Z a-z 0-9 . _ -
	Forward string // ForwardIsolated
	MTU     int    // bytes after the Ethernet header, 68-65517
	FDB     FDB
	Ports   []Port // sorted by name
}

// FDB bounds the MAC table of a network.
type FDB struct {
	Ageing    time.Duration // 1s-12h; 0 means never
	Limit     int           // entries of the network, 1-1048576
	PortLimit int           // entries of one port, 0-Limit; 0 means Limit
	Static    []StaticEntry // sorted by VLAN, then MAC
}

// StaticEntry pins an address to a port.
type StaticEntry struct {
	MAC  frame.MAC
	VLAN uint16 // 0-4094, 0 for untagged
	Port string // a port of the same network
}

// Port is one attachment to a network.
type Port struct {
	Name      string // as Network.Name
	Type      string // TypeTap, TypeRaw or TypeInternal
	Interface string // 1-15 bytes; the port's name where the file has none

	// Netns is the named network namespace that holds the netdev of an
	// internal port; empty for the host's own.
	Netns string

	// Owner and Group may open a tap port; names or numbers, empty for root only.
	Owner, Group string

	MAC       frame.MAC      // of an internal port's netdev, else zero
	Addresses []netip.Prefix // put on an internal port's netdev, in this order
	Mode      string         // ModeBridge
}

// Default returns the configuration that weft runs without a file: one
// isolated network without ports.
func Default() *Config {
	c := empty()
	c.Networks = []Network{NewNetwork(DefaultNetwork)}
	return c
}

func empty() *Config { return &Config{Metrics: Metrics{Listen: DefaultListen}} }

// NewNetwork returns a network without ports that has every default.
func NewNetwork(name string) Network {
	return Network{
		Name:    name,
		Forward: ForwardIsolated,
		MTU:     DefaultMTU,
		FDB:     FDB{Ageing: DefaultAgeing, Limit: DefaultLimit},
	}
}

// DeriveMAC returns the address of an internal port that the file gives none:
// the same for the same two names on every machine and at every start, unicast
// and locally administered (IEEE 802-2014 clause 8.2).
func DeriveMAC(network, port string) frame.MAC {
	sum := sha256.Sum256([]byte("weft port " + network + "\x00" + port))
	m := frame.MAC(sum[:6])
	m[0] = m[0]&^1 | 2
	return m
}

// Normalize fills the defaults of ports in and sorts c as its fields promise.
func (c *Config) Normalize() {
	c.fill()
	c.sort()
}

func (c *Config) fill() {
	for i := range c.Networks {
		n := &c.Networks[i]
		for j := range n.Ports {
			n.Ports[j].fill(n.Name)
		}
	}
}

func (p *Port) fill(network string) {
	if p.Interface == "" {
		p.Interface = p.Name
	}
	if p.Mode == "" {
		p.Mode = ModeBridge
	}
	if p.Type == TypeInternal && p.MAC == (frame.MAC{}) {
		p.MAC = DeriveMAC(network, p.Name)
	}
}

func (c *Config) sort() {
	slices.SortStableFunc(c.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	for i := range c.Networks {
		n := &c.Networks[i]
		slices.SortStableFunc(n.Ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) })
		slices.SortStableFunc(n.FDB.Static, compareStatic)
	}
}

func compareStatic(a, b StaticEntry) int {
	if a.VLAN != b.VLAN {
		return int(a.VLAN) - int(b.VLAN)
	}
	return slices.Compare(a.MAC[:], b.MAC[:])
}

// Clone returns a copy that shares nothing with c.
func (c *Config) Clone() *Config {
	out := *c
	out.Networks = slices.Clone(c.Networks)
	for i := range out.Networks {
		n := &out.Networks[i]
		n.FDB.Static = slices.Clone(n.FDB.Static)
		n.Ports = slices.Clone(n.Ports)
		for j := range n.Ports {
			n.Ports[j].Addresses = slices.Clone(n.Ports[j].Addresses)
		}
	}
	return &out
}

// Network returns the network of that name, nil where there is none. The
// result points into c.
func (c *Config) Network(name string) *Network {
	for i := range c.Networks {
		if c.Networks[i].Name == name {
			return &c.Networks[i]
		}
	}
	return nil
}

// Port returns the port of that name, nil where there is none. The result
// points into n.
func (n *Network) Port(name string) *Port {
	for i := range n.Ports {
		if n.Ports[i].Name == name {
			return &n.Ports[i]
		}
	}
	return nil
}
