package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What the beds of NAT have: a host inside, whose gateway translates, and one
// outside, which knows no way to the inside but by the translated address.
const (
	natClients = 8  // addresses of the host inside
	natRemotes = 25 // addresses of the host outside

	natGuestEnd, natUplink = "p1", "up0" // interfaces of what joins them
)

// natHosts makes the two hosts, and the namespace between them.
func natHosts(lab *Lab) ([]*Host, *Namespace, error) {
	hosts, sw, err := lab.hostsBeside("switch", 2)
	if err != nil {
		return nil, nil, err
	}
	hosts[1].Address = lab.family.plan().remote
	return hosts, sw, errors.Join(
		veth(hosts[0].NS, hosts[0].Interface, sw, natGuestEnd),
		veth(hosts[1].NS, hosts[1].Interface, sw, natUplink))
}

// natReady gives the hosts their addresses and the one inside its gateway, and
// waits until that one reaches the other.
func natReady(ctx context.Context, hosts []*Host) error {
	for i, n := range []int{natClients, natRemotes} {
		h := hosts[i]
		if err := h.NS.station(h.Interface, h.prefix()); err != nil {
			return err
		}
		for k := 1; k < n; k++ {
			address := netip.PrefixFrom(addressAfter(h.Address, k), h.prefix().Bits())
			if err := h.NS.address(h.Interface, address); err != nil {
				return err
			}
		}
	}
	gateway := hosts[0].family().plan().gateway.Addr()
	err := hosts[0].NS.links.RouteReplace(&netlink.Route{Gw: net.IP(gateway.AsSlice())})
	if err != nil {
		return fmt.Errorf("host %s: default route: %w", hosts[0].Address, err)
	}
	var t traffic
	_, _, err = t.meet(ctx, hosts[0], hosts[1], probePort)
	return errors.Join(err, t.stop())
}

// meetTimeout is how long two hosts have to reach one another.
const meetTimeout = 5 * time.Second

// meet connects two UDP sockets whichever address the first one has for the second:
// it sends until it is heard, and the other answers to where that came from.
func (t *traffic) meet(ctx context.Context, from, to *Host, port uint16) (out, in int, err error) {
	in, err = t.open(to, func() (int, error) { return socket(unix.SOCK_DGRAM, netip.AddrPortFrom(to.Address, port)) })
	if err != nil {
		return -1, -1, err
	}
	out, err = t.open(from, func() (int, error) { return udp(from, to, port) })
	if err != nil {
		return -1, -1, err
	}
	b := make([]byte, minPayload)
	deadline := time.Now().Add(meetTimeout)
	for ctx.Err() == nil {
		if time.Now().After(deadline) {
			return -1, -1, fmt.Errorf("%s does not reach %s within %v", from.Address, to.Address, meetTimeout)
		}
		if _, err := unix.Write(out, b); err != nil && !retry(err) {
			return -1, -1, fmt.Errorf("meet: %w", err)
		}
		_, source, err := unix.Recvfrom(in, b, 0)
		if err == nil {
			if err = unix.Connect(in, source); err == nil {
				_, err = unix.Write(in, b)
			}
		}
		if err == nil {
			_, err = unix.Read(out, b)
		}
		if err == nil {
			return out, in, nil
		}
		if !retry(err) && err != unix.EHOSTUNREACH && err != unix.ENETUNREACH {
			return -1, -1, fmt.Errorf("meet: %w", err)
		}
	}
	return -1, -1, context.Cause(ctx)
}

// masquerade joins the hosts by the kernel: routing, connection tracking, and a
// rule of nftables that masquerades.
type masquerade struct{}

func (masquerade) Name() string  { return peerMasquerade }
func (masquerade) About() string { return "kernel routing, nftables masquerade" }

func (masquerade) Available() error {
	if _, err := exec.LookPath("nft"); err != nil {
		return errors.New("nft is not installed (package nftables)")
	}
	return probe(func(n *Namespace) error {
		return errors.Join(veth(n, "a", n, "b"), n.translate("b"))
	})
}

func (masquerade) Setup(_ context.Context, lab *Lab) (*Bed, error) {
	hosts, sw, err := natHosts(lab)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		sw.station(natGuestEnd, lab.family.plan().gateway),
		sw.station(natUplink, lab.family.plan().outside),
		sw.translate(natUplink))
	return &Bed{Hosts: hosts, ready: natReady}, err
}

// natRules masquerades what leaves by an interface, of a family that has a word
// in nftables.
const natRules = `table %s bench {
	chain postrouting {
		type nat hook postrouting priority srcnat
		oifname "%s" masquerade
	}
}
`

// translate has the namespace forward, and masquerade what leaves by an interface.
func (n *Namespace) translate(name string) error {
	table, forward := "ip", "net/ipv4/ip_forward"
	if n.family == IPv6 {
		table, forward = "ip6", "net/ipv6/conf/all/forwarding"
	}
	if err := n.sysctl(forward, "1"); err != nil {
		return err
	}
	return <-n.Go(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(fmt.Sprintf(natRules, table, name))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft in %s: %w: %s", n.Name, err, strings.TrimSpace(string(out)))
		}
		return nil
	})
}

// natPeer joins the hosts by weft.
type natPeer struct {
	name, about string
	binary      string
	shared      string // a word for how the uplink's address is the host's; empty: it has its own
}

func (p natPeer) Name() string     { return p.name }
func (p natPeer) About() string    { return p.about }
func (p natPeer) Available() error { return weftPeer{binary: p.binary}.Available() }

func (p natPeer) Setup(ctx context.Context, lab *Lab) (*Bed, error) {
	hosts, sw, err := natHosts(lab)
	if err != nil {
		return nil, err
	}
	address := p.shared
	if address == "" {
		address = lab.family.plan().outside.String()
	} else if err := sw.station(natUplink, lab.family.plan().outside); err != nil {
		return nil, err
	}
	config := "lease_file: " + lab.path("leases.db") + "\nmetrics: {listen: \"off\"}\nnetworks:\n  bench:\n    forward: nat\n" +
		lab.family.gatewayKeys(lab.family.plan().gateway) + "    host_port: false\n" +
		"    uplink: {interface: " + natUplink + ", address: \"" + address + "\"}\n" +
		"    nat: {max_flows: 1048576}\n" +
		"    ports:\n      h1: {type: raw, interface: " + natGuestEnd + "}\n"
	bed, err := weftBed(ctx, lab, hosts, sw, p.binary, config)
	if err != nil {
		return nil, err
	}
	bed.ready = natReady
	return bed, nil
}

// runNATFrames floods by a flow that has gone both ways before.
func runNATFrames(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	f := &flood{}
	out, in, err := f.meet(ctx, bed.Hosts[0], bed.Hosts[1], floodPort)
	if err != nil {
		return Sample{}, errors.Join(err, f.stop())
	}
	f.fd = in
	if f, err = f.start(bed.Hosts[0], bed.Hosts[1], out); err != nil {
		return Sample{}, err
	}
	return measureFlood(ctx, bed, f, timing)
}
