package bench

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// decode returns what another decoder takes a frame for, with sums that are right.
func decode(t *testing.T, b []byte) gopacket.Packet {
	t.Helper()
	p := gopacket.NewPacket(b, layers.LayerTypeEthernet, gopacket.Default)
	if p.ErrorLayer() != nil {
		t.Fatal(p.ErrorLayer().Error())
	}
	type summed interface {
		SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
	}
	for _, l := range p.Layers() {
		if l, ok := l.(summed); ok {
			if err := l.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err, mismatches := p.VerifyChecksums(); err != nil || len(mismatches) > 0 {
		t.Errorf("checksums %v %v", mismatches, err)
	}
	return p
}

func TestDHCPFrames(t *testing.T) {
	for _, o := range []dhcpOffer{{client: 0x01020304}, {client: 7, requests: true, address: netip.MustParseAddr("10.0.0.5"), server: []byte{10, 0, 0, 1}}} {
		b := make([]byte, dhcpFrame)
		b = b[:putDHCP4(b, 0xcafe, &o, true)]
		p := decode(t, b)
		eth, m := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet), p.Layer(layers.LayerTypeDHCPv4).(*layers.DHCPv4)
		if eth.SrcMAC.String() != m.ClientHWAddr.String() || binary.BigEndian.Uint32(eth.SrcMAC[2:]) != o.client || eth.SrcMAC[0] != 2 {
			t.Errorf("from %v, for %v", eth.SrcMAC, m.ClientHWAddr)
		}
		kind := "Discover"
		if o.requests {
			kind = "Request"
			for code, want := range map[byte]string{50: string(o.address.AsSlice()), 54: string(o.server)} {
				if got := string(optionOf(b[42:], code)); got != want {
					t.Errorf("option %d is %x", code, got)
				}
			}
		}
		if m.Xid != 0xcafe || !strings.Contains(m.Options.String(), kind) || string(optionOf(b[42:], 12)[:1]) != "c" {
			t.Errorf("%+v", m)
		}
	}
}

// What is in the messages of IPv6 another codec finds there.
func TestDHCPMessages6(t *testing.T) {
	id := &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: net.HardwareAddr{2, 3, 4, 5, 6, 7}}
	for _, o := range []dhcpOffer{
		{client: 0x01020304}, {client: 7, requests: true, address: netip.MustParseAddr("2001:db8::7"), server: id.ToBytes()},
	} {
		b := make([]byte, dhcpFrame)
		for i := range b {
			b[i] = 0xee // of a message before
		}
		m, err := dhcpv6.MessageFromBytes(b[:putDHCP6(b, 0x7ffcafe, &o, true)])
		if err != nil {
			t.Fatal(err)
		}
		if m.TransactionID != (dhcpv6.TransactionID{0xff, 0xca, 0xfe}) || m.Options.OneIANA().IaId != [4]byte(binary.BigEndian.AppendUint32(nil, o.client)) {
			t.Errorf("%s", m.Summary())
		}
		if kind, client, err := questionOf(IPv6, m.ToBytes()); err != nil || client != o.client || (kind == dhcpRequestKind) != o.requests {
			t.Errorf("kind %d of client %d: %v", kind, client, err)
		}
		if o.requests != (m.Options.ServerID() != nil) || o.requests && !m.Options.ServerID().Equal(id) {
			t.Errorf("for server %v", m.Options.ServerID())
		}
		if name := m.Options.FQDN(); name == nil || !strings.HasPrefix(name.DomainName.Labels[0], "c") {
			t.Errorf("name %v", name)
		}
	}
}

// An answer is one only where all of it is there.
func TestParseDHCP(t *testing.T) {
	question := make([]byte, dhcpFrame)
	question = question[:putDHCP4(question, 77, &dhcpOffer{client: 9}, false)]
	b := make([]byte, dhcpFrame)
	b = b[:putAnswer4(b, question[42:], dhcpAckKind, 9)]
	want := dhcpAnswer{id: 77, client: 9, kind: dhcpAckKind, address: netip.MustParseAddr("10.1.0.9"), server: []byte{10, 0, 0, 2}}
	checkAnswer(t, parseDHCP4, b, 42+dhcpFixed+12, want)
	if _, ok := parseDHCP4(question); ok {
		t.Error("a question is an answer")
	}
}

func TestParseDHCP6(t *testing.T) {
	b := make([]byte, dhcpFrame)
	question := func(o dhcpOffer) []byte { return b[:putDHCP6(b, 77, &o, false)] }
	solicit := dhcpOffer{client: 9}
	request := dhcpOffer{client: 9, requests: true, address: netip.MustParseAddr("2001:db8::9"), server: []byte{0, 3, 0, 1, 2, 3, 4, 5, 6, 7}}
	server := append([]byte{0, 4, 9}, make([]byte, 15)...)
	for _, c := range []struct {
		question dhcpOffer
		kind     byte
		address  netip.Addr
		whole    bool // else it is a refusal without its end too
	}{
		{solicit, dhcpOfferKind, request.address, true},
		{request, dhcpAckKind, request.address, true},
		{request, dhcpNakKind, netip.Addr{}, false},
	} {
		message, err := answer6(question(c.question), c.kind, 9)
		if err != nil {
			t.Fatal(err)
		}
		least := len(message)
		if !c.whole {
			least = 0
		}
		checkAnswer(t, parseDHCP6, message, least, dhcpAnswer{id: 77, client: 9, kind: c.kind, address: c.address, server: server})
	}
	if _, ok := parseDHCP6(question(request)); ok {
		t.Error("a question is an answer")
	}
	// No address is one that is good for no time (RFC 8415 clause 18.2.10.1).
	gone := binary.BigEndian.AppendUint64(append(option6(nil, dhcp6Address, 24), make([]byte, 16)...), 0)
	if a := addressOf6(gone); a.IsValid() {
		t.Errorf("an address without a lifetime: %v", a)
	}
}

// checkAnswer demands that a whole frame is the answer that is wanted, and that
// its first bytes are not, up to least of them.
func checkAnswer(t *testing.T, parse func([]byte) (dhcpAnswer, bool), b []byte, least int, want dhcpAnswer) {
	t.Helper()
	addresses := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	options := cmp.Options{cmp.AllowUnexported(dhcpAnswer{}), addresses}
	if got, ok := parse(b); !ok || !cmp.Equal(got, want, options) {
		t.Errorf("%+v %v, want %+v", got, ok, want)
	}
	for n := range least {
		if got, ok := parse(b[:n]); ok && cmp.Equal(got, want, options) {
			t.Errorf("%d bytes: %+v", n, got)
		}
	}
}
