package dhcp6

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"
)

// fuzzLab is a server with something of everything.
func fuzzLab(t testing.TB) *lab {
	return newLab(t, func(c *Config) {
		c.MaxLeases = 20
		c.Names = []string{"gateway"}
		c.NTP = []netip.Addr{ip("2001:db8:1::1")}
		c.Hosts = []Host{
			{DUID: []byte("nobody guesses this one"), Address: lan(0x12), Name: "web"}, {DUID: []byte{0, 2, 3, 4}, Address: lan(0x40)}, {MAC: newGuest(9).mac, Ignore: true},
		}
		c.Options = []Option{{Code: 200, Data: make([]byte, 300)}, {Code: 201, Data: make([]byte, 1000)}}
	})
}

// receive hands over what a guest sent, and checks what must hold whatever that was:
// at most one reply, which a client can read, to who asked; and nothing is given away
// that is not to be.
func (l *lab) receive(payload []byte, multicast bool) {
	l.t.Helper()
	g := newGuest(2)
	h := l.send(Request{Port: "vm", VLAN: 3, MAC: g.mac, Src: g.linkLocal(), Multicast: multicast, Payload: payload})
	if h != nil {
		if h.Dst.Addr() != g.linkLocal() || h.MAC != g.mac || h.VLAN != 3 || len(h.Payload) > 1452 {
			l.t.Fatalf("%d bytes to %s", len(h.Payload), h.Dst)
		}
		for _, p := range h.leases() {
			if p == one(lan(1)) || p == one(lan(0x12)) || !l.cfg.Links[0].Contains(p.Addr()) && !l.cfg.Delegate[0].Prefix.Contains(p.Addr()) {
				l.t.Fatalf("gave away %s", p)
			}
		}
	}
	if n := len(l.server.engine.bindings); n > 10+16+2 {
		l.t.Fatalf("%d bindings", n)
	}
}

// seeds are messages of all kinds.
func seeds() (all [][]byte) {
	for kind := solicit; kind <= dhcpv6.MessageTypeRelayReply; kind++ {
		for _, g := range []*guest{newGuest(1), newGuest(2, fqdn(1, "vm.lab"), oro(optDNS, 200, 201))} {
			all = append(all,
				g.request(kind, na(1), pd(2)).Payload,
				g.request(kind, na(1, lan(0x12), lan(0x13)), pd(2, px("2001:db8:100:100::/60"))).Payload,
				g.request(kind, opt(optIATA, 0, 0, 0, 1), rapidly, na(3, ip("2001:db8:9::1")), pd(0, px("::/64"))).Payload,
				g.request(kind).Payload,
			)
		}
	}
	return all
}

// readable reports whether the test's codec reads a client's DUID back: it knows less
// of them than the server, which only returns them.
func readable(payload []byte) bool {
	options, err := walk(payload[min(len(payload), headerLen):])
	if err != nil {
		return true
	}
	for _, o := range options {
		if o.Code() == optClientID {
			if _, err := dhcpv6.DUIDFromBytes(o.ToBytes()); err != nil {
				return false
			}
		}
	}
	return true
}

func FuzzReceive(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, true)
	}
	f.Add(seeds()[9], false)
	f.Fuzz(func(t *testing.T, payload []byte, multicast bool) {
		if !readable(payload) {
			return
		}
		l := fuzzLab(t)
		l.receive(payload, multicast)
		l.receive(payload, multicast)
		l.pass(graceTime)
		l.restart()
		l.check()
	})
}

// FuzzMutated changes good messages in the middle of an exchange, so that what lies
// behind the first checks is reached too.
func FuzzMutated(f *testing.F) {
	all := seeds()
	for i := range all {
		f.Add(byte(i), byte(len(all)-i), uint16(4+i), byte(i), uint16(12), []byte{0, 3, 0, 1})
	}
	f.Fuzz(func(t *testing.T, first, second byte, at uint16, value byte, insertAt uint16, insert []byte) {
		l := fuzzLab(t)
		for _, n := range []byte{first, second} {
			payload := append([]byte{}, all[int(n)%len(all)]...)
			payload[int(at)%len(payload)] = value
			i := headerLen + int(insertAt)%(len(payload)-headerLen)
			payload = append(payload[:i:i], append(append([]byte{}, insert...), payload[i:]...)...)
			if readable(payload) {
				l.receive(payload, true)
			}
			l.check()
		}
	})
}
