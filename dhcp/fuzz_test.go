package dhcp

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/option"
)

// fuzzLab is a server with something of everything.
func fuzzLab(t testing.TB) *lab {
	return newLab(t, richConfig, func(c *Config) {
		c.Probe = true
		c.MaxLeases = 8
		c.Names = []string{"gateway"}
		c.Hosts = []Host{
			{MAC: newGuest(1).mac, Address: lan(12), Name: "web"},
			{ClientID: []byte{1, 2, 3}, Address: lan(40)},
			{MAC: newGuest(9).mac, Ignore: true},
		}
		c.Options = []option.Option{{Code: 200, Data: make([]byte, 300)}, {Code: 201, Data: make([]byte, 100)}}
	})
}

// receive hands over what a guest sent, and checks what must hold whatever that
// was: at most one reply, which a client can read, to an address of the
// network; and no more state than there are addresses.
func (l *lab) receive(payload []byte) {
	l.t.Helper()
	l.sent = nil
	l.server.Receive([]Request{{Port: "vm", VLAN: 3, MAC: frame.MAC{2, 9}, Src: netip.IPv4Unspecified(), Dst: ip("255.255.255.255"), Payload: payload}})
	out := l.hear()
	if len(out) > 1 {
		l.t.Fatalf("%d replies", len(out))
	}
	for _, h := range out {
		to := h.Dst.Addr()
		if h.OpCode != dhcpv4.OpcodeBootReply || !l.cfg.Server.Contains(to) && to != ip("255.255.255.255") || len(h.Payload) > maxMessage {
			l.t.Fatalf("%d bytes to %s: %s", len(h.Payload), h.Dst, h.Summary())
		}
		if a := h.yours(); h.MessageType() != nak && !a.IsUnspecified() && (a == lan(1) || !l.cfg.Server.Contains(a)) {
			l.t.Fatalf("gave away %s", a)
		}
	}
	if n := len(l.server.engine.bindings); n > 11 {
		l.t.Fatalf("%d bindings of 11 addresses", n)
	}
	l.check()
}

// seeds are messages of all kinds.
func seeds() (all [][]byte) {
	g := newGuest(2, opt(optClientID, 1, 2, 3), optString(optHostname, "vm.lab"), opt(optFQDN, []byte("\x05\x00\x00\x03vm1\x03lab\x00")...), opt(optAgent, 1, 2, 3, 4))
	for kind := discover; kind <= inform; kind++ {
		for _, g := range []*guest{newGuest(1), g} {
			all = append(all, g.payload(kind),
				g.payload(kind, requested(lan(12)), serverID(lan(1))),
				g.payload(kind, ciaddr(lan(12)), giaddr(lan(99)), broadcastBit, opt(optMaxSize, 4, 0)),
				g.payload(kind, opt(optOverload, 3), opt(optRapidCommit), func(p *dhcpv4.DHCPv4) { p.BootFileName = "\x0c\x02vm\xff" }))
		}
	}
	return all
}

func FuzzReceive(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		l := fuzzLab(t)
		l.receive(payload)
		l.pass(probeTime)
		l.receive(payload)
		l.pass(offerTime)
		l.restart()
		l.check()
	})
}

// FuzzMutated changes good messages in the middle of an exchange, so that what
// lies behind the first checks is reached too.
func FuzzMutated(f *testing.F) {
	all := seeds()
	for i := range all {
		f.Add(byte(i), byte(len(all)-i), uint16(240+i), byte(i), uint16(12), []byte{12, 2, 'a', '.'})
	}
	f.Fuzz(func(t *testing.T, first, second byte, at uint16, value byte, insertAt uint16, insert []byte) {
		l := fuzzLab(t)
		for _, n := range []byte{first, second} {
			payload := append([]byte{}, all[int(n)%len(all)]...)
			payload[int(at)%len(payload)] = value
			i := headerLen + int(insertAt)%(len(payload)-headerLen)
			payload = append(payload[:i:i], append(append([]byte{}, insert...), payload[i:]...)...)
			l.receive(payload)
			l.pass(probeTime)
			l.check()
		}
	})
}
