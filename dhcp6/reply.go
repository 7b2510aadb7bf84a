package dhcp6

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// Status codes (RFC 8415 section 21.13).
const (
	dhcpStatusSuccess      = 0
	dhcpStatusNoAddrs      = 2
	dhcpStatusNoBinding    = 3
	dhcpStatusNotOnLink    = 4
	dhcpStatusUseMulticast = 5
	dhcpStatusNoPrefix     = 6
)

// maxReply is what an answer with its options fits in: every link of IPv6 carries it
// whole (RFC 8200 section 5), with the headers of IPv6 and UDP.
const maxReply = 1280 - 48

// result is what becomes of the identity associations of a message, as the options of
// the answer.
type result struct {
	options  []dhcpv6.Option
	given    int // leases
	duration time.Duration
	why      string // nothing was left to give

	name, asked, refused string
}

func option(code uint16, data []byte) dhcpv6.Option {
	return &dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionCode(code), OptionData: data}
}

func status(code uint16, text string) dhcpv6.Option {
	return option(optStatus, append(binary.BigEndian.AppendUint16(nil, code), text...))
}

// addIA adds the answer to an identity association.
func (r *result) addIA(a *ia, t1, t2 uint32, options ...dhcpv6.Option) {
	data := binary.BigEndian.AppendUint32(nil, a.iaid)
	if a.kind != optIATA {
		data = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(data, t1), t2)
	}
	r.options = append(r.options, option(a.kind, append(data, dhcpv6.Options(options).ToBytes()...)))
}

// add answers an identity association with a status.
func (r *result) add(a *ia, code uint16, text string) { r.addIA(a, 0, 0, status(code, text)) }

// zero tells a client that it has nothing of what it says it has.
func (r *result) zero(a *ia) {
	if len(a.claims) == 0 {
		r.add(a, dhcpStatusNoBinding, "no lease is known")
		return
	}
	r.addIA(a, 0, 0, zeros(a, netip.Prefix{})...)
}

func zeros(a *ia, but netip.Prefix) (options []dhcpv6.Option) {
	for i, p := range a.claims {
		if p != but && !slices.Contains(a.claims[:i], p) {
			options = append(options, leaseOption(p, 0, 0))
		}
	}
	return options
}

// leaseOption is an address or a prefix, with its lifetimes in seconds.
func leaseOption(p netip.Prefix, preferred, valid uint32) dhcpv6.Option {
	times := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, preferred), valid)
	if p.Bits() == 128 {
		return option(optIAAddress, append(p.Addr().AsSlice(), times...))
	}
	return option(optIAPrefix, append(append(times, byte(p.Bits())), p.Addr().AsSlice()...))
}

// lease answers an identity association with its lease. Whatever else the client says
// that it has, it is to have no longer. The preferred lifetime is three quarters of
// the valid one, so that a machine that no longer hears its server begins nothing new
// with an address that it is about to lose.
func (r *result) lease(m *message, a *ia, x netip.Prefix) {
	r.given++
	valid := uint32(infiniteOnTheWire)
	preferred, t1, t2 := valid, valid, valid
	if r.duration != dhcp.Infinite {
		valid = seconds(r.duration)
		preferred = max(1, valid/4*3)
		t1, t2 = preferred/2, uint32(uint64(preferred)*4/5) // RFC 8415 section 21.4
	}
	options := []dhcpv6.Option{leaseOption(x, preferred, valid)}
	if m.kind == dhcpv6.MessageTypeRenew || m.kind == dhcpv6.MessageTypeRebind {
		options = append(options, zeros(a, x)...)
	}
	r.addIA(a, t1, t2, options...)
}

// leaseReply makes an Advertise or a Reply with leases.
func (e *engine) leaseReply(m *message, kind dhcpv6.MessageType, r *result) Reply {
	options := e.begin(m)
	if kind == dhcpv6.MessageTypeReply && m.kind == dhcpv6.MessageTypeSolicit {
		options = append(options, option(optRapid, nil))
	}
	options = append(options, r.options...)
	if kind == dhcpv6.MessageTypeAdvertise {
		if data := e.set.options[optPreference]; data != nil {
			options = append(options, option(optPreference, data))
		}
	}
	if m.fqdn != nil {
		options = append(options, option(optFQDN, e.fqdnReply(m, r.name)))
	}
	return e.send(m, kind, e.configured(m, options))
}

// statusReply makes a Reply that says how it went.
func (e *engine) statusReply(m *message, code uint16, text string, more ...dhcpv6.Option) Reply {
	return e.send(m, dhcpv6.MessageTypeReply, append(append(e.begin(m), status(code, text)), more...))
}

// informationReply is without leases (RFC 8415 section 18.3.6).
func (e *engine) informationReply(m *message) Reply {
	return e.send(m, dhcpv6.MessageTypeReply, e.configured(m, e.begin(m)))
}

// begin is what every answer begins with.
func (e *engine) begin(m *message) (options []dhcpv6.Option) {
	if m.duid != nil {
		options = append(options, option(optClientID, m.duid))
	}
	return append(options, option(optServerID, e.set.duid))
}

// configured adds what the client asks for, in its order, as long as there is room.
func (e *engine) configured(m *message, options dhcpv6.Options) dhcpv6.Options {
	room := maxReply - headerLen - len(options.ToBytes())
	wants := m.wants
	if !m.listed {
		wants = e.set.order
	}
	seen := map[uint16]bool{optPreference: true}
	for _, code := range wants {
		data, ok := e.set.options[code]
		if code == optRefresh && m.kind != dhcpv6.MessageTypeInformationRequest {
			continue // RFC 8415 section 21.23
		}
		if ok && !seen[code] && 4+len(data) <= room {
			room -= 4 + len(data)
			options = append(options, option(code, data))
		}
		seen[code] = true
	}
	return options
}

func (e *engine) send(m *message, kind dhcpv6.MessageType, options dhcpv6.Options) Reply {
	p := dhcpv6.Message{MessageType: kind, TransactionID: m.xid, Options: dhcpv6.MessageOptions{Options: options}}
	return Reply{VLAN: m.vlan, MAC: m.mac, Dst: netip.AddrPortFrom(m.src, clientPort), Payload: p.ToBytes()}
}

// Times that clients are told (RFC 8415 section 7.6, and 21.23 for the last two).
const (
	solMaxRT   = 3600 // seconds
	infMaxRT   = 3600
	refreshMin = 600
	refreshMax = 86400

	// surely is the preference that makes a client take the first server it hears (RFC
	// 8415 section 18.2.1), and not wait a second for others.
	surely = 255

	maxOption = 1024 // bytes of the data of a configured option
)

// ownOptions are those of the protocol itself, which no setting replaces.
var ownOptions = []uint16{0, optClientID, optServerID, optIANA, optIATA, optIAAddress, optORO, optElapsed, optRelay, optAuth, optUnicast,
	optStatus, optRapid, optInterface, optReconfMsg, optReconfAcc, optIAPD, optIAPrefix, optFQDN}

// makeOptions encodes what does not depend on the lease.
func (s *settings) makeOptions() error {
	s.options = map[uint16][]byte{}
	set := func(code uint16, data []byte) {
		if len(data) == 0 {
			return
		}
		if _, ok := s.options[code]; !ok {
			s.order = append(s.order, code)
		}
		s.options[code] = data
	}
	set(optDNS, wireAddresses(s.DNS))
	search, err := s.searchList()
	if err != nil {
		return err
	}
	set(optSearch, search)
	set(optNTP, ntpServers(s.NTP))
	set(optSNTP, wireAddresses(s.NTP))
	refresh := uint32(refreshMax)
	if s.Lease != 0 {
		refresh = min(max(seconds(s.Lease), refreshMin), refreshMax)
	}
	set(optRefresh, binary.BigEndian.AppendUint32(nil, refresh))
	set(optSolMaxRT, binary.BigEndian.AppendUint32(nil, solMaxRT))
	set(optInfMaxRT, binary.BigEndian.AppendUint32(nil, infMaxRT))
	set(optPreference, []byte{surely})
	for _, o := range s.Options {
		if slices.Contains(ownOptions, o.Code) {
			return fmt.Errorf("dhcp6: option %d is set by the server itself: leave it out", o.Code)
		}
		if len(o.Data) > maxOption {
			return fmt.Errorf("dhcp6: option %d has %d bytes: at most %d", o.Code, len(o.Data), maxOption)
		}
		set(o.Code, slices.Clone(o.Data))
		if len(o.Data) == 0 {
			delete(s.options, o.Code) // not to be sent at all
		}
	}
	return nil
}

// searchList is the data of option 24 (RFC 3646 section 4).
func (s *settings) searchList() (data []byte, err error) {
	domains := s.Search
	if len(domains) == 0 && s.Domain != "" {
		domains = []string{s.Domain}
	}
	for _, d := range domains {
		d = strings.ToLower(strings.TrimSuffix(d, "."))
		for label := range strings.SplitSeq(d, ".") {
			if !lease.IsHostLabel(label) {
				return nil, fmt.Errorf("dhcp6: domain search %s: %q is not a domain", strings.Join(domains, ","), d)
			}
		}
		data = append(data, lease.FullName(d, "")...)
	}
	if len(data) > maxOption {
		return nil, fmt.Errorf("dhcp6: domain search %s: %d bytes are too long: at most %d", strings.Join(domains, ","), len(data), maxOption)
	}
	return data, nil
}

func wireAddresses(addrs []netip.Addr) (data []byte) {
	for _, a := range addrs {
		if a.Is6() && !a.Is4In6() {
			data = append(data, a.AsSlice()...)
		}
	}
	return data
}

// ntpServers is the data of option 56: one suboption for each address, by whether it
// is a group's (RFC 5908 section 4).
func ntpServers(addrs []netip.Addr) (data []byte) {
	for _, a := range addrs {
		if !a.Is6() || a.Is4In6() {
			continue
		}
		kind := byte(1)
		if a.IsMulticast() {
			kind = 2
		}
		data = append(append(data, 0, kind, 0, 16), a.AsSlice()...)
	}
	return data
}
