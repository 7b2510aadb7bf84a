package gateway

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dns"
)

type noNames struct{}

func (noNames) Lookup(string) (netip.Addr, bool)  { return netip.Addr{}, false }
func (noNames) Reverse(netip.Addr) (string, bool) { return "", false }

func newResolver(t *testing.T) *dns.Resolver {
	r := dns.New(dns.Config{Name: "gateway", Gateway: []netip.Prefix{config.Address}}, noNames{}, dns.Env{})
	t.Cleanup(r.Close)
	return r
}

// question asks for the address of "gateway" (RFC 1035 clause 4).
var question = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07gateway\x00\x00\x01\x00\x01"

// The resolver's answers go back to whoever asked, and wrong checksums are not
// listened to.
func TestDNS(t *testing.T) {
	l := newLab(t)
	if err := l.gateway.SetDNS(newResolver(t)); err != nil {
		t.Fatal(err)
	}
	bad := udpPacket("10.0.0.1", 53, question)
	bad[len(bad)-1]++
	l.send(bad)
	l.send(udpPacket("10.0.0.1", 53, question))
	b := l.next()
	var f frame.Frame
	f.Set(b, 0)
	d, ok := datagramOf(&f)
	if !ok || f.Dst() != guestMAC || d.src.String() != "10.0.0.1:53" || d.dst.String() != "10.0.0.5:49152" {
		t.Fatalf("received % x", b)
	}
	if id, rcode := binary.BigEndian.Uint16(d.payload), d.payload[3]&15; id != 0x1234 || rcode != 0 || d.payload[7] != 1 {
		t.Errorf("answer % x", d.payload)
	}
}

// The port of DNS over TCP is open while there is a resolver, as often as there
// is one.
func TestDNSPortOpens(t *testing.T) {
	l := newLab(t)
	r := newResolver(t)
	const synAck, reset = 0x12, 0x14
	known := false
	for i := range 6 {
		on := i%2 == 1
		var serving *dns.Resolver
		if on {
			serving = r
		}
		if err := l.gateway.SetDNS(serving); err != nil {
			t.Fatal(err)
		}
		l.send(syn(uint16(40000 + i)))
		if !known {
			l.know()
			known = true
		}
		want := byte(reset)
		if on {
			want = synAck
		}
		if b := l.next(); b[14+20+13] != want {
			t.Fatalf("open %v: flags %#x of % x, want %#x", on, b[14+20+13], b, want)
		}
	}
}

func syn(from uint16) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, from)
	b[3], b[12], b[13], b[14] = 53, 0x50, 2, 0xff
	src, dst := guest.As4(), config.Address.Addr().As4()
	binary.BigEndian.PutUint16(b[16:], frame.Checksum(b, frame.PseudoHeader(src[:], dst[:], frame.ProtoTCP, len(b))))
	return packet("10.0.0.1", frame.ProtoTCP, 64, b)
}
