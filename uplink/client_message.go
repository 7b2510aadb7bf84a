package uplink

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/weft/weft/dataplane/frame"
)

// The layout of a message (RFC 2131 clause 2).
const (
	opReply      = 2
	offsetHLen   = 2
	offsetSName  = 44
	offsetFile   = 108
	offsetCookie = 236
	messageLen   = 240 // with the magic cookie
	maxHWLen     = 16

	// maxReply bounds the work that one message makes, and is what servers are
	// told. A longer one would come in fragments, and of these none is taken.
	maxReply = 1472

	// maxText is how much of a server's message is shown to people.
	maxText = 80
)

// reply is what a server said, checked as far as one can without knowing what it
// answers.
type reply struct {
	kind    dhcpv4.MessageType
	xid     uint32
	mac     frame.MAC
	yours   netip.Addr
	server  netip.Addr // option 54; zero where it is not there
	options dhcpv4.Options
}

// parseReply reads a message, which may be anything. It returns nil where that is
// none of a DHCP server to an Ethernet client.
func parseReply(b []byte) *reply {
	if len(b) < messageLen || len(b) > maxReply || b[0] != opReply || b[1] != byte(iana.HWTypeEthernet) || b[offsetHLen] != 6 {
		return nil
	}
	// Who forgets the end option is understood all the same.
	raw := append(append(make([]byte, 0, len(b)+1), b...), 255)
	p, err := dhcpv4.FromBytes(raw)
	if err != nil || !readOverload(p.Options, raw) || len(p.Options[optType]) != 1 {
		return nil
	}
	r := &reply{
		kind:    dhcpv4.MessageType(p.Options[optType][0]),
		xid:     binary.BigEndian.Uint32(b[4:]),
		mac:     frame.MAC(b[28:34]),
		yours:   netip.AddrFrom4([4]byte(b[16:])),
		options: p.Options,
	}
	if id := p.Options[optServerID]; len(id) == 4 {
		r.server = netip.AddrFrom4([4]byte(id))
	}
	return r
}

// readOverload adds the options that stand in the header's fields (RFC 2132 clause
// 9.3), in the order of RFC 3396: file, then sname.
func readOverload(o dhcpv4.Options, raw []byte) bool {
	data, ok := o[optOverload]
	if !ok {
		return true
	}
	if len(data) != 1 {
		return false
	}
	if data[0]&1 != 0 && o.FromBytes(raw[offsetFile:offsetCookie]) != nil {
		return false
	}
	return data[0]&2 == 0 || o.FromBytes(raw[offsetSName:offsetFile]) == nil
}

// number returns an option of four bytes.
func (r *reply) number(code uint8) (uint32, bool) {
	b := r.options[code]
	if len(b) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(b), true
}

// text returns what the server wants people to read, as plain characters.
func (r *reply) text() string {
	b := r.options[optMessage]
	b = b[:min(len(b), maxText)]
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, string(b))
}

// wanted is what servers are asked for, the classless routes before the router as
// RFC 3442 has it.
var wanted = []byte{optNetmask, optRoutes, optRouter, optDNS, optMTU, optLease, optServerID, optRenewal, optRebinding}

// ask is what stands in a message of the client (RFC 2131 table 5).
type ask struct {
	kind      dhcpv4.MessageType
	xid       uint32
	seconds   time.Duration // since the client began to ask
	client    netip.Addr    // ciaddr; zero: the client can not be reached by an address, and asks for broadcasts
	requested netip.Addr    // option 50; zero: none
	server    netip.Addr    // option 54; zero: none
}

// encode makes the payload of a message.
func (c *ClientConfig) encode(a ask) []byte {
	p := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootRequest,
		HWType:        iana.HWTypeEthernet,
		ClientHWAddr:  c.MAC[:],
		NumSeconds:    uint16(min(a.seconds/time.Second, 0xffff)),
		ClientIPAddr:  ip4(a.client),
		YourIPAddr:    net.IPv4zero,
		ServerIPAddr:  net.IPv4zero,
		GatewayIPAddr: net.IPv4zero,
		Options:       make(dhcpv4.Options),
	}
	binary.BigEndian.PutUint32(p.TransactionID[:], a.xid)
	o := p.Options
	o[optType] = []byte{byte(a.kind)}
	o[optClientID] = c.ClientID
	if len(c.ClientID) == 0 {
		o[optClientID] = append([]byte{byte(iana.HWTypeEthernet)}, c.MAC[:]...)
	}
	if a.requested.IsValid() {
		o[optRequested] = a.requested.AsSlice()
	}
	if a.server.IsValid() {
		o[optServerID] = a.server.AsSlice()
	}
	if a.kind == dhcpv4.MessageTypeDiscover || a.kind == dhcpv4.MessageTypeRequest {
		if !a.client.IsValid() {
			p.SetBroadcast()
		}
		o[optPRL] = wanted
		o[optMaxSize] = binary.BigEndian.AppendUint16(nil, maxReply+ipLen+udpLen)
		if c.Hostname != "" {
			o[optHostname] = []byte(c.Hostname)
		}
	}
	return p.ToBytes()
}

func ip4(a netip.Addr) net.IP {
	if !a.IsValid() {
		return net.IPv4zero
	}
	return a.AsSlice()
}
