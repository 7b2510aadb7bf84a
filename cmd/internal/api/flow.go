package api

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Flow is a tracked connection. Its ends are "address:port", an address of IPv6 in
// brackets; of an ICMP echo the identifier stands for the port, and other protocols
// have the address alone, without brackets.
// Original is how whoever opened it sends, and Translated how that goes on.
type Flow struct {
	Network        string   `json:"network"`
	Protocol       string   `json:"protocol"` // as ProtocolName has it
	State          string   `json:"state"`    // one of FlowStates
	Original       FlowEnds `json:"original"`
	Translated     FlowEnds `json:"translated"`
	Packets        uint64   `json:"packets"` // both directions
	Bytes          uint64   `json:"bytes"`
	ExpiresSeconds int64    `json:"expires_seconds"` // until it is forgotten, if nothing more comes; 0 for a connection by sockets
	Offloaded      bool     `json:"offloaded"`       // its frames cross in the kernel
}

// FlowEnds are the two ends of a flow.
type FlowEnds struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
}

// Values of Flow.State. TCP has those up to FlowClosed, everything else the last two.
const (
	FlowNew         = "new" // begun before weft was; only one side has sent since
	FlowSynSent     = "syn-sent"
	FlowSynReceived = "syn-received"
	FlowEstablished = "established"
	FlowFinWait     = "fin-wait"
	FlowTimeWait    = "time-wait"
	FlowClosed      = "closed"
	FlowUnreplied   = "unreplied" // only one side has sent
	FlowReplied     = "replied"
)

// FlowStates returns all values of Flow.State.
func FlowStates() []string {
	return []string{
		FlowNew, FlowSynSent, FlowSynReceived, FlowEstablished, FlowFinWait, FlowTimeWait, FlowClosed,
		FlowUnreplied, FlowReplied,
	}
}

// Numbers of flows in one answer.
const (
	DefaultFlowLimit = 10_000
	MaxFlowLimit     = 1_000_000
)

// TotalHeader is the HTTP header with the number of all flows that a filter
// chooses, where the answer holds no more than its limit of them.
const TotalHeader = "Weft-Total"

// ProtocolName names an IP protocol: tcp, udp, icmp, icmpv6, or its number.
func ProtocolName(protocol uint8) string {
	switch protocol {
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	}
	return strconv.Itoa(int(protocol))
}

// ProtocolNames returns the names that ProtocolName knows.
func ProtocolNames() []string { return []string{"tcp", "udp", "icmp", "icmpv6"} }

// HasPorts reports whether the ends of a flow of an IP protocol are told apart by a
// number besides the address.
func HasPorts(protocol uint8) bool { return slices.Contains([]uint8{1, 6, 17, 58}, protocol) }

// FlowFilter chooses flows. A field that is left as it is chooses all.
type FlowFilter struct {
	Network  string
	Protocol string       // as Flow.Protocol
	Address  netip.Prefix // that an end is in, before or after translation
	Port     uint16       // of an end; with Address, of the same one
	State    string
}

// FlowFilterKeys are those that Set takes; they are the query parameters and the
// flags of the command line, too.
func FlowFilterKeys() []string { return []string{"protocol", "address", "port", "state"} }

// Set makes the filter choose by one more key, in the words of a user. Its error
// says what the value may be.
func (f *FlowFilter) Set(key, value string) (err error) {
	switch key {
	case "network":
		if f.Network = value; value == "" {
			return errors.New("name a network, or leave it out for all")
		}
	case "protocol":
		f.Protocol, err = parseProtocol(value)
	case "address":
		f.Address, err = parseAddress(value)
	case "port":
		port, perr := strconv.ParseUint(value, 10, 16)
		if f.Port = uint16(port); perr != nil || port == 0 {
			return errors.New("say a number from 1 to 65535")
		}
	case "state":
		if f.State = strings.ToLower(value); !slices.Contains(FlowStates(), f.State) {
			return fmt.Errorf("say one of %s", strings.Join(FlowStates(), ", "))
		}
	default:
		return fmt.Errorf("unknown key %q", key)
	}
	return err
}

func parseProtocol(text string) (string, error) {
	text = strings.ToLower(text)
	if n, err := strconv.ParseUint(text, 10, 8); err == nil {
		return ProtocolName(uint8(n)), nil
	}
	if slices.Contains(ProtocolNames(), text) {
		return text, nil
	}
	return "", errors.New("say tcp, udp, icmp, icmpv6 or a number from 0 to 255")
}

func parseAddress(text string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked(), nil
	}
	if inner, ok := strings.CutPrefix(text, "["); ok { // as the ends of flows are shown
		text = strings.TrimSuffix(inner, "]")
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, errors.New("write an address such as 192.0.2.1 or 2001:db8::1, or a prefix such as 192.0.2.0/24 or 2001:db8::/32")
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// Empty reports whether the filter chooses every flow.
func (f FlowFilter) Empty() bool { return f == FlowFilter{} }

// Query returns the filter as Set would take it, for a URL.
func (f FlowFilter) Query() url.Values {
	q := url.Values{}
	for key, value := range map[string]string{"network": f.Network, "protocol": f.Protocol, "state": f.State} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Address.IsValid() {
		q.Set("address", f.Address.String())
	}
	if f.Port != 0 {
		q.Set("port", strconv.Itoa(int(f.Port)))
	}
	return q
}

// Match reports whether the filter chooses a flow of its network that has these
// ends: those before translation and those after it.
func (f *FlowFilter) Match(protocol, state string, ends ...netip.AddrPort) bool {
	if f.Protocol != "" && f.Protocol != protocol || f.State != "" && f.State != state {
		return false
	}
	if !f.Address.IsValid() && f.Port == 0 {
		return true
	}
	return slices.ContainsFunc(ends, func(end netip.AddrPort) bool {
		return (!f.Address.IsValid() || f.Address.Contains(end.Addr().Unmap())) && (f.Port == 0 || f.Port == end.Port())
	})
}
