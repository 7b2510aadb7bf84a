package nat

import "github.com/weft/weft/dataplane/frame"

// Maps reports whether a packet to an outside address may be for somebody inside,
// rather than for the uplink's own host: its port is mapped or published, or only
// Inbound can tell. It needs no lock.
func (t *Table) Maps(f *frame.Frame, p *frame.Parsed) bool {
	switch {
	case p.FragOffset != 0:
		return true
	case p.Protocol == frame.ProtoICMP:
		return p.Layer == frame.LayerTransport && !asks(f, p)
	case classOf(p.Protocol) == ClassOther || !hasHeader(p):
		return false
	}
	to := Endpoint{Addr: p.Dst(), Port: p.DstPort}
	return t.mappingAt(p.Protocol, &to) != nil || t.catalog.Load().outside(p.Protocol, &to) != nil
}
