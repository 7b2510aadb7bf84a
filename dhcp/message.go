package dhcp

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane/frame"
)

// The layout of a message (RFC 2131 section 2).
const (
	opRequest    = 1
	offsetHLen   = 2
	offsetSName  = 44
	offsetFile   = 108
	offsetCookie = 236
	headerLen    = 240 // with the magic cookie

	hwEthernet    = 1
	maxHWLen      = 16
	broadcastFlag = 0x8000

	// maxPayload bounds the work that one message makes. Clients send some 300
	// bytes; the longest with a purpose, of network boot, stay below 1500.
	maxPayload = 4096
	// maxIdentifier is the longest client identifier. RFC 3396 would let a client
	// make it as long as the message, and leases keep it.
	maxIdentifier = 255
)

// Options by number that the server itself reads or writes.
const (
	optNetmask        = 1
	optRouter         = 3
	optDNS            = 6
	optHostname       = 12
	optDomain         = 15
	optMTU            = 26
	optBroadcast      = 28
	optNTP            = 42
	optRequested      = 50
	optLease          = 51
	optOverload       = 52
	optType           = 53
	optServerID       = 54
	optPRL            = 55
	optText           = 56
	optMaxSize        = 57
	optRenewal        = 58
	optRebinding      = 59
	optClientID       = 61
	optTFTPServer     = 66
	optBootfile       = 67
	optRapidCommit    = 80
	optFQDN           = 81
	optAgent          = 82
	optSearch         = 119
	overloadsFile     = 1
	overloadsSName    = 2
	infiniteOnTheWire = 1<<32 - 1
)

// message is what a client said, checked and owned by the server.
type message struct {
	kind dhcpv4.MessageType

	// Where it came from.
	port     string
	vlan     uint16
	sender   frame.MAC // of the frame
	src, dst netip.Addr

	xid        dhcpv4.TransactionID
	hwType     uint16
	hwAddr     []byte
	flags      uint16
	client     ip4 // ciaddr
	relay      ip4 // giaddr
	requested  ip4
	server     ip4
	withServer bool // option 54 is there

	clientID []byte // option 61, nil without
	hostname []byte
	fqdn     []byte
	wants    []byte // option 55, in the client's order; nil without
	agent    []byte // option 82, to be returned (RFC 3046 section 2.2)
	maxSize  int
	lease    time.Duration // option 51; 0: no wish
	rapid    bool          // RFC 4039

	// foreign: the other family has the name that the client asks for, for another
	// machine.
	foreign bool
}

// parser reads messages. It keeps a buffer, so it is not safe for concurrent use.
type parser struct {
	buf []byte
}

// parse reads what a guest sent, which may be anything. It returns nil where
// that is no message of a client that can be answered.
func (p *parser) parse(r *Request) *message {
	b := r.Payload
	if len(b) < headerLen || len(b) > maxPayload || b[0] != opRequest || b[offsetHLen] > maxHWLen {
		return nil
	}
	// Who forgets the end option is understood all the same.
	p.buf = append(append(p.buf[:0], b...), 255)
	packet, err := dhcpv4.FromBytes(p.buf)
	if err != nil || !readOverload(packet, p.buf) {
		return nil
	}
	m := &message{
		port: r.Port, vlan: r.VLAN, sender: r.MAC, src: r.Src, dst: r.Dst,
		xid:    packet.TransactionID,
		hwType: uint16(packet.HWType),
		hwAddr: packet.ClientHWAddr,
		flags:  packet.Flags,
		client: ip4(binary.BigEndian.Uint32(p.buf[12:])),
		relay:  ip4(binary.BigEndian.Uint32(p.buf[24:])),
	}
	if !m.readOptions(packet.Options) {
		return nil
	}
	return m
}

// readOverload adds the options that stand in the header's fields (RFC 2132
// section 9.3). RFC 3396 fixes the order: file, then sname.
func readOverload(packet *dhcpv4.DHCPv4, raw []byte) bool {
	data, ok := packet.Options[optOverload]
	if !ok {
		return true
	}
	if len(data) != 1 {
		return false
	}
	if data[0]&overloadsFile != 0 && packet.Options.FromBytes(raw[offsetFile:offsetCookie]) != nil {
		return false
	}
	return data[0]&overloadsSName == 0 || packet.Options.FromBytes(raw[offsetSName:offsetFile]) == nil
}

// readOptions takes the options whose length is what it must be. One that is not
// makes the whole message a malformed one: to guess what such a client means is
// how two clients get one address.
func (m *message) readOptions(o dhcpv4.Options) bool {
	kind, good := o[optType], true
	fixed := func(code uint8, length int) []byte {
		b, ok := o[code]
		if ok && len(b) != length {
			good = false
		}
		if !ok || len(b) != length {
			return nil
		}
		return b
	}
	if len(kind) != 1 {
		return false
	}
	m.kind = dhcpv4.MessageType(kind[0])
	if b := fixed(optRequested, 4); b != nil {
		m.requested = ip4(binary.BigEndian.Uint32(b))
	}
	if b := fixed(optServerID, 4); b != nil {
		m.server, m.withServer = ip4(binary.BigEndian.Uint32(b)), true
	}
	if b := fixed(optMaxSize, 2); b != nil {
		m.maxSize = int(binary.BigEndian.Uint16(b))
	}
	if b := fixed(optLease, 4); b != nil {
		m.lease = leaseFromWire(binary.BigEndian.Uint32(b))
	}
	_, m.rapid = o[optRapidCommit]
	if len(o[optClientID]) > maxIdentifier || len(o[optAgent]) > 255 {
		return false
	}
	if len(o[optClientID]) > 0 {
		m.clientID = o[optClientID]
	}
	m.hostname, m.fqdn, m.agent, m.wants = o[optHostname], o[optFQDN], o[optAgent], o[optPRL]
	return good
}

func leaseFromWire(seconds uint32) time.Duration {
	if seconds == infiniteOnTheWire {
		return Infinite
	}
	return time.Duration(seconds) * time.Second
}

func (m *message) isDiscover() bool { return m.kind == dhcpv4.MessageTypeDiscover }

// ethernet returns the client's MAC address, where its hardware address is one
// that a frame can be sent to.
func (m *message) ethernet() (frame.MAC, bool) {
	if m.hwType != hwEthernet || len(m.hwAddr) != 6 {
		return frame.MAC{}, false
	}
	mac := frame.MAC(m.hwAddr)
	return mac, mac != frame.MAC{} && !mac.IsGroup()
}
