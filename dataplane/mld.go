package dataplane

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

// The gateway tells switches on its link which groups it listens to (RFC 3810): one that
// snoops and has heard of nobody keeps neighbour solicitations from it.

const (
	mldQuery    = 130
	mldv2Report = 143

	modeIsExclude   = 2 // a record's type: what listens to all sources
	changeToExclude = 4 // and began just now
)

// mldv2Routers is where reports of MLDv2 go (RFC 3810 clause 5.2.14).
var mldv2Routers = netip.MustParseAddr("ff02::16")

// dhcp6Servers is the group of DHCPv6 servers (RFC 8415 clause 7.1).
var dhcp6Servers = netip.MustParseAddr("ff02::1:2")

// groups are those that the gateway listens to, but for all nodes, which nobody reports.
func (g *gateway) groups() []netip.Addr {
	list := []netip.Addr{ndp.AllRouters}
	if g.serves.dhcp6 {
		list = append(list, dhcp6Servers)
	}
	for _, a := range append([]netip.Addr{g.six.link}, g.six.own...) {
		if of := ndp.SolicitedNode(a); !slices.Contains(list, of) {
			list = append(list, of)
		}
	}
	return list
}

// mldReport makes a report of the gateway's groups: a packet with hop limit 1 and a router
// alert, from the link-local address.
func (g *gateway) mldReport(record byte) *frame.Frame {
	groups := g.groups()
	m := make([]byte, 8, 8+20*len(groups))
	m[0] = mldv2Report
	binary.BigEndian.PutUint16(m[6:], uint16(len(groups)))
	for _, group := range groups {
		a := group.As16()
		m = append(append(m, record, 0, 0, 0), a[:]...)
	}
	whole := ndp.Packet(g.mac, ndp.GroupMAC(mldv2Routers), g.six.link, mldv2Routers, m).Bytes()
	const at = frame.HeaderLen + ipv6Len
	alert := [8]byte{frame.ProtoICMPv6, 0, 5, 2, 0, 0, 1, 0} // padded to 8 bytes (RFC 2711)
	b := append(make([]byte, frame.Headroom, frame.Headroom+len(whole)+len(alert)), whole[:at]...)
	b = append(append(b, alert[:]...), whole[at:]...)
	f := wrap(b)
	ip := f.Bytes()[frame.HeaderLen:]
	binary.BigEndian.PutUint16(ip[4:], uint16(len(alert)+len(m)))
	ip[6], ip[7] = frame.ExtHopByHop, 1
	return f
}

// isMLDQuery reports whether a packet asks who listens to groups, as a neighbour does (RFC
// 3810 clause 5.1.14).
func isMLDQuery(f *frame.Frame, p *frame.Parsed) bool {
	return isMLD(f, p) && f.Bytes()[p.L4] == mldQuery && f.Bytes()[p.L3+7] == 1 && source(f, p).IsLinkLocalUnicast()
}

// answerMLD reports the gateway's groups to where the question came from: a switch that
// wants to know which port they are at asks by all of them.
func (w *worker) answerMLD(s *snapshot) {
	g := s.gateway
	if g.six.link.IsValid() && w.port.answers.take(w.network.sw.ticks(), 1) {
		w.back(s, g.mldReport(modeIsExclude))
	}
}
