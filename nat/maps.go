package nat

import "github.com/weft/weft/dataplane/frame"

// Maps reports whether a packet to an outside address may be for somebody inside,
// rather than for the uplink's own host: its port is mapped or published, or only
// Inbound can tell. It needs no lock.
func (t *Table) Maps(f *frame.Frame, p *frame.Parsed) bool {
	switch {
	case p.FragOffset != 0, t.covers(p.Dst()):
		return true
	case isICMP(p.Protocol):
		return p.Layer == frame.LayerTransport && !asks(f, p)
	case classOf(p.Protocol) == ClassOther || !hasHeader(p):
		return false
	}
	k := tuple{protocol: p.Protocol}
	k.local = Endpoint{Addr: p.Dst(), Port: p.DstPort}
	k.remote = Endpoint{Addr: p.Src(), Port: p.SrcPort}
	return t.mappingAt(p.Protocol, &k.local) != nil || t.catalog.Load().outside(p.Protocol, &k.local) != nil || t.findIn(&k) != nil
}
