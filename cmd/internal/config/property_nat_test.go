package config

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyForward draws where a network with a gateway goes on.
func anyForward(t *rapid.T, n *Network, number int) {
	n.Forward = rapid.SampledFrom([]string{ForwardIsolated, ForwardNAT, ForwardRoute}).Draw(t, "forward")
	if !n.Forwards() {
		return
	}
	// Outside is 10.NUMBER.0.0/24, apart from all networks.
	out := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(number), 0, i}) }
	words := []string{AddressAuto, AddressHost, AddressDHCP, "cidr"}
	if n.Forward == ForwardNAT {
		words = append(words, AddressSockets)
	}
	if !hasIPv4(n) {
		words = words[:2]
	}
	u := &n.Uplink
	u.Address = rapid.SampledFrom(words).Draw(t, "uplink")
	if u.Address != AddressAuto || rapid.Bool().Draw(t, "named") {
		u.Interface = rapid.SampledFrom([]string{"é", "{", "1e", "up"}).Draw(t, "uplink's interface") + "o" + fmt.Sprint(number)
	}
	if !hasIPv4(n) {
		anyForward6(t, n, number)
		return
	}
	guest := n.Gateway().Addr().Next()
	if guest == lastOf(n.Gateway()) {
		guest = n.Gateway().Addr().Prev()
	}
	vias := []netip.Addr{guest}
	if u.Address == "cidr" {
		u.Address = netip.PrefixFrom(out(2), 24).String()
		vias = append(vias, out(3))
		if rapid.Bool().Draw(t, "gateway outside") {
			u.Gateway = out(1)
		}
		if n.Forward == ForwardNAT && rapid.Bool().Draw(t, "pool") {
			n.NAT.Addresses = []Range{{out(10), out(12)}, {out(20), out(20)}}[:rapid.IntRange(1, 2).Draw(t, "addresses")]
		}
	}
	if n.Forward == ForwardRoute && u.Owned() {
		u.ProxyARP = rapid.Bool().Draw(t, "proxy_arp")
	}
	n.Routes = anyList(t, "routes", 0, 3, func(i int) Route {
		to := netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i)}), 16)
		return Route{to, rapid.SampledFrom(vias).Draw(t, "via")}
	})
	if n.Forward == ForwardNAT {
		anyNAT(t, &n.NAT, guest, number)
	}
	anyForward6(t, n, number)
}

func anyNAT(t *rapid.T, v *NAT, guest netip.Addr, number int) {
	v.First = rapid.IntRange(1, maxPort).Draw(t, "first port")
	v.Last = rapid.IntRange(v.First, maxPort).Draw(t, "last port")
	v.Mapping = rapid.SampledFrom([]string{MappingEndpointIndependent, MappingSymmetric}).Draw(t, "mapping")
	v.Filtering = rapid.SampledFrom([]string{FilterAddress, FilterEndpoint, FilterNone}).Draw(t, "filtering")
	v.MaxFlows = rapid.IntRange(1, maxFlows).Draw(t, "max_flows")
	if rapid.Bool().Draw(t, "per host") {
		v.MaxFlowsPerHost = rapid.IntRange(1, v.MaxFlows).Draw(t, "max_flows_per_host")
	}
	for _, d := range []*time.Duration{&v.Timeouts.UDP, &v.Timeouts.TCP, &v.Timeouts.TCPTransitory, &v.Timeouts.ICMP, &v.Timeouts.Other} {
		*d = time.Duration(rapid.IntRange(1, maxTimeout).Draw(t, "timeout")) * time.Second
	}
	v.Publish = anyList(t, "publish", 0, 3, func(i int) Publish {
		first := 1000*(number+1) + 10*i // of no other network
		return Publish{
			Protocol: rapid.SampledFrom([]string{TCP, UDP}).Draw(t, "protocol"),
			Listen: Listen{rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.IPv4Unspecified()}).Draw(t, "listen"),
				first, first + rapid.IntRange(0, 9).Draw(t, "ports")},
			To: netip.AddrPortFrom(guest, rapid.Uint16Range(1, maxPort-9).Draw(t, "to")),
		}
	})
}

// anyReach lets networks that can reach each other.
func anyReach(t *rapid.T, c *Config) {
	for i := range c.Networks {
		n := &c.Networks[i]
		if !n.Forwards() {
			continue
		}
		if rapid.Bool().Draw(t, "reach host") {
			n.Reach = append(n.Reach, ReachHost)
		}
		for j := range c.Networks[:i] {
			if o := &c.Networks[j]; o.Forwards() && rapid.Bool().Draw(t, "reach") {
				n.Reach, o.Reach = append(n.Reach, o.Name), append(o.Reach, n.Name)
			}
		}
	}
}

// Two that are published are refused exactly where one port is that of both.
func TestPublishClashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := mustParseNAT(t)
		type port struct {
			protocol string
			number   int
		}
		owners := map[port][]Listen{}
		for range rapid.IntRange(0, 12).Draw(t, "number") {
			first := rapid.IntRange(1, 30).Draw(t, "first")
			p := Publish{
				Protocol: rapid.SampledFrom([]string{TCP, UDP}).Draw(t, "protocol"),
				Listen:   Listen{rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.IPv4Unspecified()}).Draw(t, "listen"), first, first + rapid.IntRange(0, 5).Draw(t, "more")},
				To:       netip.MustParseAddrPort("10.0.0.9:80"),
			}
			want := false
			for n := p.Listen.First; n <= p.Listen.Last; n++ {
				for _, l := range owners[port{p.Protocol, n}] {
					a, b := l.Addr, p.Listen.Addr
					want = want || a == b || a.IsValid() && b.IsValid() && (a.IsUnspecified() || b.IsUnspecified())
				}
			}
			before := c.Clone()
			err := c.AddPublish("lan", p)
			if (err != nil) != want {
				t.Fatalf("%v: %v, want a clash: %v", p, err, want)
			}
			if err != nil {
				if d := sameConfig(before, c); d != "" {
					t.Fatal(d)
				}
				// A file with both is refused for the same.
				before.Networks[0].NAT.Publish = append(before.Networks[0].NAT.Publish, p)
				if Validate(before) == nil {
					t.Fatalf("%v is accepted", p)
				}
				continue
			}
			for n := p.Listen.First; n <= p.Listen.Last; n++ {
				owners[port{p.Protocol, n}] = append(owners[port{p.Protocol, n}], p.Listen)
			}
			if c.Normalize(); Validate(c) != nil {
				t.Fatal(Validate(c))
			}
		}
		for _, p := range slices.Clone(c.Networks[0].NAT.Publish) {
			if !c.RemovePublish("lan", p.Protocol, p.Listen) || c.RemovePublish("lan", p.Protocol, p.Listen) {
				t.Fatalf("%v is not removed once", p)
			}
		}
		if d := sameConfig(mustParseNAT(t), c); d != "" {
			t.Fatal(d)
		}
	})
}

func mustParseNAT(t *rapid.T) *Config {
	c, err := Parse("good.yaml", []byte("networks: {lan: {forward: nat, address: 10.0.0.1/24}}"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
