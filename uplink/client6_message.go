package uplink

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

const (
	header6Len = 4   // RFC 8415 clause 8: type and transaction
	maxDUIDLen = 130 // RFC 8415 clause 11.1
	minDUIDLen = 3

	// maxReply6 bounds the work that one message makes. A longer one would come in
	// fragments, and of these none is taken.
	maxReply6 = 1452

	// maxLeased is how many addresses of one server are taken.
	maxLeased = 4

	// infinite6 is a time of DHCPv6 that does not end (RFC 8415 clause 7.7).
	infinite6 = (1<<32 - 1) * time.Second
)

// reply6 is what a DHCPv6 server said, as far as one can tell without knowing what it
// answers.
type reply6 struct {
	kind           dhcpv6.MessageType
	xid            dhcpv6.TransactionID
	from           netip.Addr // where it is
	client, server []byte     // DUIDs; empty where they are not there
	preference     uint8
	rapid          bool
	status         iana.StatusCode
	text           string          // with the status, for people
	ia             *dhcpv6.OptIANA // of this client; nil where there is none
	dns            []netip.Addr
	refresh        time.Duration // 0: not said, as the next two
	solMax, infMax time.Duration
}

// parseReply6 reads a message, which may be anything. It returns nil where that is
// none of a server to a client with this IAID.
func parseReply6(b []byte, iaid [4]byte) *reply6 {
	if len(b) < header6Len || len(b) > maxReply6 {
		return nil
	}
	r := &reply6{kind: dhcpv6.MessageType(b[0]), xid: dhcpv6.TransactionID(b[1:4])}
	if r.kind != dhcpv6.MessageTypeAdvertise && r.kind != dhcpv6.MessageTypeReply {
		return nil
	}
	var options dhcpv6.Options
	if options.FromBytesWithParser(b[header6Len:], parseOption6) != nil {
		return nil
	}
	seen := map[dhcpv6.OptionCode]bool{}
	for _, o := range options {
		// RFC 8415 clause 21: what must come once and comes again is not read again.
		if code := o.Code(); code != dhcpv6.OptionIANA && seen[code] {
			continue
		}
		seen[o.Code()] = true
		r.read(o, iaid)
	}
	return r
}

// parseOption6 reads what a client needs; of the rest it needs no more than the
// length.
func parseOption6(code dhcpv6.OptionCode, data []byte) (dhcpv6.Option, error) {
	switch code {
	case dhcpv6.OptionIANA, dhcpv6.OptionStatusCode:
		return dhcpv6.ParseOption(code, data)
	}
	return &dhcpv6.OptionGeneric{OptionCode: code, OptionData: data}, nil
}

func (r *reply6) read(o dhcpv6.Option, iaid [4]byte) {
	switch o := o.(type) {
	case *dhcpv6.OptIANA:
		if o.IaId == iaid && r.ia == nil {
			r.ia = o
		}
		return
	case *dhcpv6.OptStatusCode:
		r.status, r.text = o.StatusCode, forPeople([]byte(o.StatusMessage))
		return
	}
	data := o.ToBytes()
	switch o.Code() {
	case dhcpv6.OptionClientID:
		r.client = data
	case dhcpv6.OptionServerID:
		if len(data) >= minDUIDLen && len(data) <= maxDUIDLen {
			r.server = slices.Clone(data)
		}
	case dhcpv6.OptionPreference:
		if len(data) == 1 {
			r.preference = data[0]
		}
	case dhcpv6.OptionRapidCommit:
		r.rapid = len(data) == 0
	case dhcpv6.OptionDNSRecursiveNameServer:
		for ; len(data) >= 16 && len(r.dns) < maxResolvers; data = data[16:] {
			if a := netip.AddrFrom16([16]byte(data)); isResolver(a) && !slices.Contains(r.dns, a) {
				r.dns = append(r.dns, a)
			}
		}
	case dhcpv6.OptionInformationRefreshTime:
		r.refresh = secondsOf(data)
	case dhcpv6.OptionSolMaxRT:
		r.solMax = secondsOf(data)
	case dhcpv6.OptionInfMaxRT:
		r.infMax = secondsOf(data)
	}
}

func secondsOf(data []byte) time.Duration {
	if len(data) != 4 {
		return 0
	}
	return time.Duration(binary.BigEndian.Uint32(data)) * time.Second
}

// forPeople returns the plain characters of what a server wants people to read.
func forPeople(b []byte) string {
	b = b[:min(len(b), maxText)]
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, string(b))
}

// iaStatus returns the status of the client's addresses with what the server says of
// it: the one for them, else that of the message.
func (r *reply6) iaStatus() (iana.StatusCode, string) {
	if r.ia != nil {
		if s := r.ia.Options.Status(); s != nil && s.StatusCode != iana.StatusSuccess {
			return s.StatusCode, forPeople([]byte(s.StatusMessage))
		}
	}
	return r.status, r.text
}

// leased6 is an address as a server gives it.
type leased6 struct {
	addr             netip.Addr
	preferred, valid time.Duration // infinite6: it does not end
}

// leased returns the addresses that a server gives, those among them that it takes
// away with a valid lifetime of zero. An unfit one is none (RFC 8415 clause 21.6).
func (r *reply6) leased() (all []leased6) {
	if r.ia == nil || r.ia.T1 > r.ia.T2 && r.ia.T2 > 0 { // RFC 8415 clause 21.4
		return nil
	}
	for _, o := range r.ia.Options.Addresses() {
		a, ok := netip.AddrFromSlice(o.IPv6Addr)
		s := o.Options.Status()
		if !ok || !isGlobal(a) || o.PreferredLifetime > o.ValidLifetime || s != nil && s.StatusCode != iana.StatusSuccess ||
			len(all) == maxLeased || slices.ContainsFunc(all, func(l leased6) bool { return l.addr == a }) {
			continue
		}
		all = append(all, leased6{a, o.PreferredLifetime, o.ValidLifetime})
	}
	return all
}

// ask6 is what stands in a message of the client.
type ask6 struct {
	kind      dhcpv6.MessageType
	xid       dhcpv6.TransactionID
	elapsed   time.Duration // since the first message of the exchange
	server    []byte        // nil: any
	addresses []netip.Addr  // that it is about
}

// encode makes the payload of a message (RFC 8415 clauses 18.2 and 21).
func (c *Client6Config) encode(a ask6) []byte {
	m := &dhcpv6.Message{MessageType: a.kind, TransactionID: a.xid}
	add := func(code dhcpv6.OptionCode, data []byte) {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: code, OptionData: data})
	}
	add(dhcpv6.OptionClientID, c.duid())
	if a.server != nil {
		add(dhcpv6.OptionServerID, a.server)
	}
	hundredths := uint16(min(a.elapsed/(10*time.Millisecond), 0xffff))
	add(dhcpv6.OptionElapsedTime, binary.BigEndian.AppendUint16(nil, hundredths))
	if a.kind != dhcpv6.MessageTypeInformationRequest {
		ia := &dhcpv6.OptIANA{IaId: c.iaid()}
		for _, addr := range a.addresses {
			ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: addr.AsSlice()})
		}
		m.AddOption(ia)
	}
	switch a.kind {
	case dhcpv6.MessageTypeSolicit:
		add(dhcpv6.OptionRapidCommit, nil)
		fallthrough
	case dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionSolMaxRT))
	case dhcpv6.MessageTypeInformationRequest:
		m.AddOption(dhcpv6.OptRequestedOption(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionInformationRefreshTime, dhcpv6.OptionInfMaxRT))
	}
	return m.ToBytes()
}

// duid returns how servers tell the client from others.
func (c *Client6Config) duid() []byte {
	if len(c.DUID) > 0 {
		return c.DUID
	}
	return (&dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: c.MAC[:]}).ToBytes()
}

// iaid is the same at each start, as RFC 8415 clause 12 wants it.
func (c *Client6Config) iaid() [4]byte { return [4]byte(c.MAC[2:]) }
