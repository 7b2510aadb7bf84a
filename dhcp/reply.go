package dhcp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/weft/weft/dataplane/frame"
)

const (
	serverPort = 67
	clientPort = 68
)

var broadcastMAC = frame.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// leaseReply makes an OFFER or an ACK (RFC 2131 table 3).
func (e *engine) leaseReply(kind dhcpv4.MessageType, c client, m *message, yours ip4, name string) Reply {
	p := e.packet(m)
	p.YourIPAddr = yours.net()
	if m.kind == dhcpv4.MessageTypeRequest {
		p.ClientIPAddr = m.client.net()
	}
	l := e.layout(kind, m)
	seconds := uint32(infiniteOnTheWire)
	d := e.set.duration(c, m)
	if d != Infinite {
		seconds = uint32(d / time.Second)
	}
	l.must(optLease, binary.BigEndian.AppendUint32(nil, seconds))
	if d != Infinite {
		l.must(optRenewal, e.orOwn(optRenewal, seconds/2))
		l.must(optRebinding, e.orOwn(optRebinding, uint32(uint64(seconds)*7/8)))
	}
	if kind == dhcpv4.MessageTypeAck && m.kind == dhcpv4.MessageTypeDiscover {
		l.must(optRapidCommit, nil)
	}
	if len(m.fqdn) >= fqdnHeader {
		l.must(optFQDN, e.fqdnReply(m, name))
	}
	e.configured(&l, p, m, name)
	l.pack(p)
	return e.address(m, p, yours)
}

// orOwn is a time in seconds, unless the configuration has that option.
func (e *engine) orOwn(code uint8, seconds uint32) []byte {
	if data, ok := e.set.options[code]; ok {
		return data
	}
	return binary.BigEndian.AppendUint32(nil, seconds)
}

// informReply is an ACK without an address and times (RFC 2131 section 4.3.5).
func (e *engine) informReply(c client, m *message) Reply {
	p := e.packet(m)
	p.ClientIPAddr = m.client.net()
	l := e.layout(dhcpv4.MessageTypeAck, m)
	name := ""
	if c.host != nil {
		name = c.host.Name
	}
	e.configured(&l, p, m, name)
	l.pack(p)
	return e.address(m, p, 0)
}

// nak tells a client to begin anew. All on the wire hear it, as the client may
// have an address that does not work (RFC 2131 section 4.3.2).
func (e *engine) nak(m *message, why string) Reply {
	if m.relay == 0 {
		// To all, nothing goes out that the sender chose.
		bare := *m
		bare.clientID, bare.agent = nil, nil
		m = &bare
	}
	p := e.packet(m)
	p.ServerIPAddr = nil
	if m.relay != 0 {
		p.SetBroadcast()
	}
	l := e.layout(dhcpv4.MessageTypeNak, m)
	l.must(optText, []byte(why))
	l.pack(p)
	if m.relay != 0 {
		return e.send(m, p, m.relay, serverPort, m.sender)
	}
	return e.send(m, p, ^ip4(0), clientPort, broadcastMAC)
}

// packet is the header of an answer.
func (e *engine) packet(m *message) *dhcpv4.DHCPv4 {
	p := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        iana.HWType(m.hwType),
		ClientHWAddr:  m.hwAddr,
		TransactionID: m.xid,
		Flags:         m.flags,
		GatewayIPAddr: m.relay.net(),
		ServerIPAddr:  e.set.server.net(),
	}
	if e.set.NextServer.Is4() {
		p.ServerIPAddr = toIP4(e.set.NextServer).net()
	}
	return p
}

// layout begins an answer with what each one has, in the order in which what
// does not fit is left out from the end.
func (e *engine) layout(kind dhcpv4.MessageType, m *message) layout {
	l := layout{room: e.room(m)}
	l.must(optType, []byte{byte(kind)})
	l.must(optServerID, e.set.server.append(nil))
	if m.clientID != nil {
		l.must(optClientID, m.clientID) // RFC 6842
	}
	if m.agent != nil {
		l.must(optAgent, m.agent)
	}
	return l
}

// configured adds what the client asks for, in its order. The names for network
// boot go to the header, or to options where the client wants them there, which
// leaves the header's fields as room for more options.
func (e *engine) configured(l *layout, p *dhcpv4.DHCPv4, m *message, name string) {
	l.must(optNetmask, e.set.options[optNetmask])
	p.ServerHostName, p.BootFileName = e.set.ServerName, e.set.Bootfile
	for _, code := range e.wanted(m) {
		data := e.set.options[code]
		switch {
		case data != nil:
		case code == optHostname:
			data = []byte(name)
		case e.set.NoOverride:
		case code == optTFTPServer:
			data, p.ServerHostName = []byte(p.ServerHostName), ""
		case code == optBootfile:
			data, p.BootFileName = []byte(p.BootFileName), ""
		}
		if len(data) > 0 && !l.has(code) {
			l.may(code, data)
		}
	}
	l.file = !e.set.NoOverride && p.BootFileName == ""
	l.sname = !e.set.NoOverride && p.ServerHostName == ""
}

// wanted is the options that a client gets: those on its list, else all.
func (e *engine) wanted(m *message) []uint8 {
	if m.wants != nil {
		return m.wants
	}
	return append(e.set.order[:len(e.set.order):len(e.set.order)], optHostname)
}

// address says where an answer goes (RFC 2131 section 4.1).
func (e *engine) address(m *message, p *dhcpv4.DHCPv4, yours ip4) Reply {
	mac, ethernet := m.ethernet()
	switch {
	case m.relay != 0:
		return e.send(m, p, m.relay, serverPort, m.sender)
	case m.client != 0 && m.kind != dhcpv4.MessageTypeDiscover:
		return e.send(m, p, m.client, clientPort, m.sender)
	case m.flags&broadcastFlag != 0 || !ethernet || yours == 0:
		return e.send(m, p, ^ip4(0), clientPort, broadcastMAC)
	}
	return e.send(m, p, yours, clientPort, mac)
}

func (e *engine) send(m *message, p *dhcpv4.DHCPv4, to ip4, port uint16, mac frame.MAC) Reply {
	return Reply{VLAN: m.vlan, MAC: mac, Dst: netip.AddrPortFrom(to.addr(), port), Payload: p.ToBytes()}
}

// net is the address as the codec wants it.
func (a ip4) net() net.IP { return a.append(make([]byte, 0, 4)) }
