package dhcp6

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

const (
	headerLen  = 4 // type and transaction (RFC 8415 section 8)
	clientPort = 546

	// maxPayload bounds the work that one message makes. Clients send some 100 to
	// 400 bytes.
	maxPayload = 2048

	// maxIAs and maxClaims bound one message's identity associations, and what
	// stands in all of them. A router has some two, and an answer has to have room
	// for all.
	maxIAs    = 12
	maxClaims = 16

	// A DUID is a type and 1 to 128 bytes (RFC 8415 section 11.1).
	minDUID = 3
	maxDUID = 130

	duidLLT, duidLL = 1, 3
	hwEthernet      = 1

	iaAddressLen = 24
	iaPrefixLen  = 25

	// smallest is the smallest prefix that a wish makes of a bigger one: less is of
	// no use to a link. maxDelegated is the smallest that can be configured.
	smallest     = 64
	maxDelegated = 126
)

// Options by number that the server itself reads or writes.
const (
	optClientID   = 1
	optServerID   = 2
	optIANA       = 3
	optIATA       = 4
	optIAAddress  = 5
	optORO        = 6
	optPreference = 7
	optElapsed    = 8
	optRelay      = 9
	optAuth       = 11
	optUnicast    = 12
	optStatus     = 13
	optRapid      = 14
	optInterface  = 18
	optReconfMsg  = 19
	optReconfAcc  = 20
	optDNS        = 23
	optSearch     = 24
	optIAPD       = 25
	optIAPrefix   = 26
	optSNTP       = 31
	optRefresh    = 32
	optFQDN       = 39
	optNTP        = 56
	optSolMaxRT   = 82
	optInfMaxRT   = 83
)

// message is what a client said, checked and owned by the server.
type message struct {
	kind dhcpv6.MessageType
	xid  dhcpv6.TransactionID

	// Where it came from.
	port      string
	vlan      uint16
	mac       frame.MAC // of the frame
	src       netip.Addr
	multicast bool

	duid   []byte // of the client; nil without
	server []byte // option 2; nil without
	ias    []ia
	wants  []uint16 // option 6, in the client's order
	listed bool     // option 6 is there
	fqdn   []byte   // option 39; nil without
	rapid  bool     // option 14 is there

	// foreign: the other family has the name that the client asks for, for another
	// machine.
	foreign bool
}

// ia is one identity association of a message.
type ia struct {
	kind   uint16 // optIANA, optIATA or optIAPD
	iaid   uint32
	claims []netip.Prefix // that the client has, or wishes for; an address has 128 bits
	hint   int            // length that is wished for a prefix; 0: none
}

func (a *ia) delegates() bool { return a.kind == optIAPD }

// claimed reports whether the client says that it has something.
func (a *ia) claimed(p netip.Prefix) bool {
	for _, c := range a.claims {
		if c == p {
			return true
		}
	}
	return false
}

// parse reads what a guest sent, which may be anything. It returns nil where that is
// no message that can be answered, and what is to be counted for it.
func parse(r *Request) (m *message, outcome string) {
	b := r.Payload
	if len(b) < headerLen || len(b) > maxPayload {
		return nil, outcomeMalformed
	}
	m = &message{
		kind: dhcpv6.MessageType(b[0]), xid: dhcpv6.TransactionID(b[1:headerLen]),
		port: r.Port, vlan: r.VLAN, mac: r.MAC, src: r.Src, multicast: r.Multicast,
	}
	if m.kind == dhcpv6.MessageTypeRelayForward {
		return nil, outcomeRelay
	}
	if r.MAC == (frame.MAC{}) || r.MAC.IsGroup() || !r.Src.Is6() || r.Src.IsMulticast() || r.Src.IsUnspecified() {
		return nil, outcomeMalformed
	}
	options, err := walk(b[headerLen:])
	if err != nil || !m.readOptions(options) {
		return nil, outcomeMalformed
	}
	return m, ""
}

// walk takes options apart. Only their lengths are looked at: one that is none of
// ours may be broken inside.
func walk(b []byte) (options dhcpv6.Options, err error) {
	err = options.FromBytesWithParser(b, func(code dhcpv6.OptionCode, data []byte) (dhcpv6.Option, error) {
		o := &dhcpv6.OptionGeneric{OptionCode: code}
		return o, o.FromBytes(data)
	})
	return options, err
}

// readOptions takes the options that are what they must be. One that is not makes
// the whole message a malformed one: to guess what such a client means is how two
// clients get one address.
func (m *message) readOptions(options dhcpv6.Options) bool {
	claims := 0
	for _, o := range options {
		data := o.ToBytes()
		switch code := uint16(o.Code()); code {
		case optClientID:
			if m.duid != nil || !goodDUID(data) {
				return false
			}
			m.duid = data
		case optServerID:
			if m.server != nil || len(data) == 0 {
				return false
			}
			m.server = data
		case optIANA, optIATA, optIAPD:
			a, ok := readIA(code, data)
			if claims += len(a.claims); !ok || len(m.ias) == maxIAs || claims > maxClaims || m.ia(code, a.iaid) != nil {
				return false
			}
			m.ias = append(m.ias, a)
		case optORO:
			// Some send several; together they are one.
			if len(data)%2 != 0 {
				return false
			}
			m.listed = true
			for ; len(data) > 0; data = data[2:] {
				m.wants = append(m.wants, binary.BigEndian.Uint16(data))
			}
		case optFQDN:
			if m.fqdn == nil && len(data) > 0 {
				m.fqdn = data
			}
		case optRapid:
			m.rapid = true
		}
	}
	return true
}

func goodDUID(b []byte) bool { return len(b) >= minDUID && len(b) <= maxDUID }

// ia returns an identity association by kind and number; nil where there is none.
func (m *message) ia(kind uint16, iaid uint32) *ia {
	for i := range m.ias {
		if m.ias[i].kind == kind && m.ias[i].iaid == iaid {
			return &m.ias[i]
		}
	}
	return nil
}

func readIA(kind uint16, b []byte) (a ia, ok bool) {
	fixed := 12 // IAID, T1, T2
	if kind == optIATA {
		fixed = 4
	}
	if len(b) < fixed {
		return a, false
	}
	a = ia{kind: kind, iaid: binary.BigEndian.Uint32(b)}
	options, err := walk(b[fixed:])
	if err != nil {
		return a, false
	}
	for _, o := range options {
		data := o.ToBytes()
		switch {
		case o.Code() == optIAAddress && kind != optIAPD:
			if len(data) < iaAddressLen {
				return a, false
			}
			if addr := netip.AddrFrom16([16]byte(data)); !addr.IsUnspecified() {
				a.claims = append(a.claims, netip.PrefixFrom(addr, 128))
			}
		case o.Code() == optIAPrefix && kind == optIAPD:
			if len(data) < iaPrefixLen || data[8] > 128 {
				return a, false
			}
			if a.hint == 0 {
				a.hint = int(data[8])
			}
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte(data[9:])), int(data[8])).Masked()
			if !p.Addr().IsUnspecified() && p.Bits() < 128 {
				a.claims = append(a.claims, p)
			}
		}
	}
	return a, true
}

// wishedName is the host part of what a client calls itself (RFC 4704).
func (m *message) wishedName() string {
	if len(m.fqdn) < 1 {
		return ""
	}
	return lease.HostPart(m.fqdn[1:], true)
}

// duidMAC returns the MAC address that a DUID is made of, zero where there is none.
func duidMAC(duid []byte) frame.MAC {
	at := map[uint16]int{duidLLT: 8, duidLL: 4}[binary.BigEndian.Uint16(duid)]
	if at == 0 || len(duid) != at+6 || binary.BigEndian.Uint16(duid[2:]) != hwEthernet {
		return frame.MAC{}
	}
	return frame.MAC(duid[at:])
}

// seconds is a duration on the wire.
func seconds(d time.Duration) uint32 {
	if d/time.Second >= infiniteOnTheWire {
		return infiniteOnTheWire
	}
	return uint32(d / time.Second)
}
