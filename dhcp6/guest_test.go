package dhcp6

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// guest is a client.
type guest struct {
	mac  frame.MAC
	port string
	duid []byte
	with []func(*dhcpv6.Message) // for all of its messages
}

func newGuest(n int, with ...func(*dhcpv6.Message)) *guest {
	mac := frame.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)}
	return &guest{mac: mac, port: "vm", duid: append([]byte{0, 3, 0, 1}, mac[:]...), with: with}
}

// linkLocal is the guest's own address.
func (g *guest) linkLocal() netip.Addr {
	a := [16]byte{0: 0xfe, 1: 0x80}
	copy(a[10:], g.mac[:])
	return netip.AddrFrom16(a)
}

func opt(code uint16, data ...byte) func(*dhcpv6.Message) {
	return func(m *dhcpv6.Message) { m.AddOption(option(code, data)) }
}

func fqdn(flags byte, name string) func(*dhcpv6.Message) {
	return opt(optFQDN, append([]byte{flags}, lease.FullName(name, "")...)...)
}

func oro(codes ...uint16) func(*dhcpv6.Message) {
	var data []byte
	for _, c := range codes {
		data = append(data, byte(c>>8), byte(c))
	}
	return opt(optORO, data...)
}

// na is an IA_NA with addresses.
func na(iaid byte, addrs ...netip.Addr) func(*dhcpv6.Message) {
	return func(m *dhcpv6.Message) {
		o := &dhcpv6.OptIANA{IaId: [4]byte{3: iaid}}
		for _, a := range addrs {
			o.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: a.AsSlice()})
		}
		m.AddOption(o)
	}
}

// pd is an IA_PD with prefixes.
func pd(iaid byte, prefixes ...netip.Prefix) func(*dhcpv6.Message) {
	return func(m *dhcpv6.Message) {
		o := &dhcpv6.OptIAPD{IaId: [4]byte{3: iaid}}
		for _, p := range prefixes {
			o.Options.Add(&dhcpv6.OptIAPrefix{Prefix: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}})
		}
		m.AddOption(o)
	}
}

// serverID is the lab's server's.
func serverID(m *dhcpv6.Message) {
	opt(optServerID, 0, 3, 0, 1, 0x52, 0x54, 0, 1, 2, 3)(m)
}

func rapidly(m *dhcpv6.Message) { opt(optRapid)(m) }

const (
	solicit     = dhcpv6.MessageTypeSolicit
	advertise   = dhcpv6.MessageTypeAdvertise
	request     = dhcpv6.MessageTypeRequest
	confirm     = dhcpv6.MessageTypeConfirm
	renew       = dhcpv6.MessageTypeRenew
	rebind      = dhcpv6.MessageTypeRebind
	reply       = dhcpv6.MessageTypeReply
	release     = dhcpv6.MessageTypeRelease
	decline     = dhcpv6.MessageTypeDecline
	information = dhcpv6.MessageTypeInformationRequest
)

func (g *guest) request(kind dhcpv6.MessageType, edit ...func(*dhcpv6.Message)) Request {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: dhcpv6.TransactionID{1, 2, g.mac[5]}}
	if g.duid != nil {
		m.AddOption(option(optClientID, g.duid))
	}
	for _, e := range slices.Concat(g.with, edit) {
		e(m)
	}
	switch kind {
	case request, renew, release, decline:
		if m.GetOneOption(optServerID) == nil {
			serverID(m)
		}
	}
	return Request{Port: g.port, MAC: g.mac, Src: g.linkLocal(), Multicast: true, Payload: m.ToBytes()}
}

// heard is a reply, read.
type heard struct {
	*dhcpv6.Message
	Reply
}

// leases are those in a message that last.
func (h *heard) leases() (all []netip.Prefix) {
	for p, valid := range h.lifetimes() {
		if valid > 0 {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, comparePrefixes)
	return all
}

func (h *heard) lifetimes() map[netip.Prefix]time.Duration {
	all := map[netip.Prefix]time.Duration{}
	if h == nil {
		return all
	}
	for _, o := range h.Message.Options.IANA() {
		for _, a := range o.Options.Addresses() {
			addr, _ := netip.AddrFromSlice(a.IPv6Addr)
			all[one(addr)] = a.ValidLifetime
		}
	}
	for _, o := range h.Message.Options.IAPD() {
		for _, p := range o.Options.Prefixes() {
			addr, _ := netip.AddrFromSlice(p.Prefix.IP)
			bits, _ := p.Prefix.Mask.Size()
			all[netip.PrefixFrom(addr, bits)] = p.ValidLifetime
		}
	}
	return all
}

// status is that of an identity association; -1 without.
func (h *heard) status(kind uint16, iaid byte) int {
	for _, o := range h.Message.Options.Get(dhcpv6.OptionCode(kind)) {
		var s *dhcpv6.OptStatusCode
		switch o := o.(type) {
		case *dhcpv6.OptIANA:
			if o.IaId[3] == iaid {
				s = o.Options.Status()
			}
		case *dhcpv6.OptIAPD:
			if o.IaId[3] == iaid {
				s = o.Options.Status()
			}
		case *dhcpv6.OptIATA:
			if o.IaId[3] == iaid {
				s = o.Options.Status()
			}
		}
		if s != nil {
			return int(s.StatusCode)
		}
	}
	return -1
}

func (h *heard) top() int {
	if s := h.Message.Options.Status(); s != nil {
		return int(s.StatusCode)
	}
	return -1
}
