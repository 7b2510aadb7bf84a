package daemon

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/nat"
	"github.com/weft/weft/sockets"
)

func endpoint(address string, port uint16) nat.Endpoint {
	return nat.EndpointOf(netip.AddrPortFrom(netip.MustParseAddr(address), port))
}

func natFlow(protocol uint8, state nat.State, inside, outside, remote nat.Endpoint) nat.Flow {
	return nat.Flow{Protocol: protocol, State: state, Inside: inside, Outside: outside, Remote: remote, Packets: 3, Bytes: 200, Expires: 60}
}

// A flow is told as its opener sends, with a port only where its protocol has one.
func TestDescribeFlow(t *testing.T) {
	out := natFlow(6, nat.Established, endpoint("10.0.0.10", 40000), endpoint("192.0.2.2", 1024), endpoint("198.51.100.7", 443))
	in := natFlow(17, nat.Replied, endpoint("10.0.0.10", 53), endpoint("192.0.2.2", 5353), endpoint("203.0.113.5", 9))
	in.FromOutside = true
	for _, c := range []struct {
		flow nat.Flow
		want api.Flow
	}{
		{out, api.Flow{
			Protocol: "tcp", State: "established",
			Original:   api.FlowEnds{Source: "10.0.0.10:40000", Destination: "198.51.100.7:443"},
			Translated: api.FlowEnds{Source: "192.0.2.2:1024", Destination: "198.51.100.7:443"},
		}},
		{in, api.Flow{
			Protocol: "udp", State: "replied",
			Original:   api.FlowEnds{Source: "203.0.113.5:9", Destination: "192.0.2.2:5353"},
			Translated: api.FlowEnds{Source: "203.0.113.5:9", Destination: "10.0.0.10:53"},
		}},
		{natFlow(1, nat.Replied, endpoint("10.0.0.10", 0), endpoint("192.0.2.2", 8), endpoint("198.51.100.7", 8)), api.Flow{
			Protocol: "icmp", State: "replied",
			Original:   api.FlowEnds{Source: "10.0.0.10:0", Destination: "198.51.100.7:8"},
			Translated: api.FlowEnds{Source: "192.0.2.2:8", Destination: "198.51.100.7:8"},
		}},
		{natFlow(47, nat.Unreplied, endpoint("10.0.0.10", 0), endpoint("192.0.2.2", 0), endpoint("198.51.100.7", 0)), api.Flow{
			Protocol: "47", State: "unreplied",
			Original:   api.FlowEnds{Source: "10.0.0.10", Destination: "198.51.100.7"},
			Translated: api.FlowEnds{Source: "192.0.2.2", Destination: "198.51.100.7"},
		}},
	} {
		c.want.Network, c.want.Packets, c.want.Bytes, c.want.ExpiresSeconds = "lab", 3, 200, 60
		flow := trackedByNAT(&c.flow)
		if diff := cmp.Diff(c.want, flow.describe("lab")); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// A filter looks at the ends before and after translation.
func TestChosenFlow(t *testing.T) {
	flow := natFlow(6, nat.FinWait, endpoint("10.0.0.10", 40000), endpoint("192.0.2.2", 1024), endpoint("198.51.100.7", 443))
	tr := trackedByNAT(&flow)
	for want, filters := range map[bool][][]string{
		true:  {{"address", "10.0.0.10"}, {"address", "192.0.2.0/24", "port", "1024"}, {"port", "443", "protocol", "6", "state", "fin-wait"}, {}},
		false: {{"address", "10.0.0.11"}, {"address", "10.0.0.10", "port", "1024"}, {"port", "80"}, {"protocol", "udp"}, {"state", "closed"}},
	} {
		for _, keys := range filters {
			var f api.FlowFilter
			for pair := range slices.Chunk(keys, 2) {
				if err := f.Set(pair[0], pair[1]); err != nil {
					t.Fatal(err)
				}
			}
			if tr.chosenBy(&f) != want {
				t.Errorf("%q: want %v", keys, want)
			}
		}
	}
}

// Both sides of the control interface know the same states and protocols.
func TestFlowWords(t *testing.T) {
	var states []string
	for s := nat.State(0); s.String() != "unknown"; s++ {
		states = append(states, s.String())
	}
	if diff := cmp.Diff(states, api.FlowStates()); diff != "" {
		t.Errorf("states (-nat +api):\n%s", diff)
	}
	var classes []string
	for c := range nat.NumClasses {
		classes = append(classes, c.String())
	}
	if diff := cmp.Diff(classes, api.NATProtocols()); diff != "" {
		t.Errorf("protocols (-nat +api):\n%s", diff)
	}
}

// Sockets have words of their own, none of which gets out.
func TestRelayState(t *testing.T) {
	for _, c := range []struct {
		flow sockets.Flow
		want string
	}{
		{sockets.Flow{State: "open", Packets: 1}, "unreplied"},
		{sockets.Flow{State: "open", Packets: 2}, "replied"},
		{sockets.Flow{State: "closing"}, "fin-wait"},
		{sockets.Flow{State: "syn-sent"}, "syn-sent"},
		{sockets.Flow{State: "syn-received"}, "syn-received"},
		{sockets.Flow{State: "established"}, "established"},
		{sockets.Flow{State: "closed"}, "closed"},
	} {
		if got := trackedByRelay(&c.flow).state; got != c.want || !slices.Contains(api.FlowStates(), got) {
			t.Errorf("%s: %s, want %s", c.flow.State, got, c.want)
		}
	}
}

// A flow is by a published port where its destination becomes what that stands for.
func TestLeads(t *testing.T) {
	for _, c := range []struct {
		publish, was, is string
		want             bool
	}{
		{"8000-8009", "192.0.2.2:8000", "10.0.0.10:80", true},
		{"8000-8009", "192.0.2.2:8009", "10.0.0.10:89", true},
		{"127.0.0.1:8000", "127.0.0.1:8000", "10.0.0.10:80", true},
		{"8000-8009", "192.0.2.2:8010", "10.0.0.10:90", false},
		{"8000-8009", "192.0.2.2:7999", "10.0.0.10:79", false},
		{"8000-8009", "192.0.2.2:8001", "10.0.0.10:80", false},
		{"8000-8009", "192.0.2.2:8000", "10.0.0.11:80", false},
		{"127.0.0.1:8000", "192.0.2.2:8000", "10.0.0.10:80", false},
	} {
		p, err := config.ParsePublish("tcp", c.publish, "10.0.0.10:80")
		if err != nil {
			t.Fatal(err)
		}
		if got := leads(p, netip.MustParseAddrPort(c.was), netip.MustParseAddrPort(c.is)); got != c.want {
			t.Errorf("%s: %s to %s: %v", c.publish, c.was, c.is, got)
		}
	}
}

// One port of a range is not published by itself, and who would take it away is told
// of the range.
func TestWholeOf(t *testing.T) {
	n := parse(t, "a: {forward: nat, address: 10.0.0.1/24, nat: {publish: [{protocol: tcp, listen: 8000-8002, to: '10.0.0.9:80'}]}}").Network("a")
	for listen, want := range map[string]string{"8001": "8000-8002", "8001-8002": "8000-8002", "8002-8003": "", "127.0.0.1:8001": "", "80": ""} {
		l, err := config.ParseListen(listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := wholeOf(n, config.TCP, l); got != want || wholeOf(n, config.UDP, l) != "" {
			t.Errorf("%s: %q, want %q", listen, got, want)
		}
	}
}

// What is no publish is refused before anything is changed.
func TestPublishInWordsOfTheFile(t *testing.T) {
	d := &Daemon{}
	for want, err := range map[string]error{
		`network "lab": listen: "ssh" is not a port: write a number of 1-65535, or a range such as 8000-8010`:         d.AddPublish("lab", api.PublishSpec{Protocol: "tcp", Listen: "ssh", To: "10.0.0.10:22"}),
		`network "lab": to: 10.0.0.10 has no port: write it too, such as 10.0.0.10:22`:                                d.AddPublish("lab", api.PublishSpec{Protocol: "tcp", Listen: "22", To: "10.0.0.10"}),
		`network "lab": 10.0.0.1 has no port: write it too, such as 10.0.0.1:19888`:                                   d.RemovePublish("lab", "tcp", "10.0.0.1", ""),
		`network "lab": ":80" has no address: write "80" for the uplink, or an address of this host before the colon`: d.RemovePublish("lab", "tcp", ":80", ""),
	} {
		if err == nil || err.Error() != want || !errors.Is(err, api.ErrInvalid) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
