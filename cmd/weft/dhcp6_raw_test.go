package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// wire6 is where any number of DHCPv6 clients sit that the tests make themselves:
// an interface whose frames they read and write, past the kernel.
type wire6 struct {
	t    *testing.T
	conn *porttest.RawConn

	mu   sync.Mutex
	open map[dhcpv6.TransactionID]chan *dhcpv6.Message
	here map[netip.Addr]frame.MAC // the clients, by their link-local addresses
}

func newWire6(t *testing.T, ns *porttest.NS) *wire6 {
	t.Helper()
	w := &wire6{t: t, conn: ns.RawConn(t, "eth0"), open: map[dhcpv6.TransactionID]chan *dhcpv6.Message{}, here: map[netip.Addr]frame.MAC{}}
	stop, done := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				w.receive(w.conn.Recv(100 * time.Millisecond))
			}
		}
	}()
	return w
}

// receive gives an answer to whoever waits for it. It tells servers that run on a
// kernel where the clients are.
func (w *wire6) receive(f []byte) {
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	if ns, _ := p.Layer(layers.LayerTypeICMPv6NeighborSolicitation).(*layers.ICMPv6NeighborSolicitation); ns != nil {
		w.answerNS(frame.MAC(f[6:12]), netip.AddrFrom16([16]byte(f[22:38])), netip.AddrFrom16([16]byte(ns.TargetAddress)))
		return
	}
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.DstPort != 546 {
		return
	}
	m, err := dhcpv6.MessageFromBytes(udp.Payload)
	if err != nil {
		w.t.Errorf("a server sent what is no message: %v: % x", err, udp.Payload)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.open[m.TransactionID]; c != nil {
		select {
		case c <- m:
		default: // nobody waits any more
		}
	}
}

func (w *wire6) answerNS(mac frame.MAC, from, target netip.Addr) {
	w.mu.Lock()
	at, here := w.here[target]
	w.mu.Unlock()
	if here {
		n := ndp.Neighbor{Target: target, MAC: at, Solicited: true, Override: true}
		_ = w.conn.TrySend(ndp.Packet(at, mac, target, from, n.Advertisement()).Bytes()) // who needs it asks again
	}
}

// rawClient6 is one client on a wire, and what it has.
type rawClient6 struct {
	*wire6
	mac     frame.MAC
	duid    dhcpv6.DUID
	iaid    [4]byte
	options []dhcpv6.Modifier
	server  dhcpv6.DUID // that answered last

	address, prefix string // that the last reply gave; empty where it gave none
}

// client makes a client by its number, which is in its MAC and so in its DUID.
func (w *wire6) client(n int) *rawClient6 {
	mac := frame.MAC{2, 0xc6, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(mac[2:], uint32(n))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.here[ndp.LinkLocal(mac)] = mac
	return &rawClient6{wire6: w, mac: mac, duid: &dhcpv6.DUIDLL{HWType: 1, LinkLayerAddr: mac[:]}, iaid: [4]byte{0, 0, 0, 7}}
}

// newRawClient6 is a client on a wire of its own.
func newRawClient6(t *testing.T, ns *porttest.NS, n int) *rawClient6 {
	t.Helper()
	return newWire6(t, ns).client(n)
}

// message makes a message of the client's.
func (c *rawClient6) message(kind dhcpv6.MessageType, with ...dhcpv6.Modifier) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind}
	var random [4]byte
	binary.BigEndian.PutUint32(random[:], rand.Uint32())
	copy(m.TransactionID[:], random[:])
	m.AddOption(dhcpv6.OptClientID(c.duid))
	m.AddOption(dhcpv6.OptElapsedTime(0))
	for _, modify := range slices.Concat(c.options, with) {
		modify(m)
	}
	return m
}

// wantsAddress has the message ask for one, or for these.
func (c *rawClient6) wantsAddress(addrs ...string) dhcpv6.Modifier {
	return func(m dhcpv6.DHCPv6) {
		ia := &dhcpv6.OptIANA{IaId: c.iaid}
		for _, a := range addrs {
			ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP(a)})
		}
		m.AddOption(ia)
	}
}

// wantsPrefix has the message ask for one, or for these.
func (c *rawClient6) wantsPrefix(prefixes ...string) dhcpv6.Modifier {
	return func(m dhcpv6.DHCPv6) {
		ia := &dhcpv6.OptIAPD{IaId: c.iaid}
		for _, text := range prefixes {
			p := netip.MustParsePrefix(text)
			ia.Options.Add(&dhcpv6.OptIAPrefix{Prefix: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}})
		}
		m.AddOption(ia)
	}
}

// holds has it say what the client has.
func (c *rawClient6) holds() dhcpv6.Modifier {
	return func(m dhcpv6.DHCPv6) {
		if c.address != "" {
			c.wantsAddress(c.address)(m)
		}
		if c.prefix != "" {
			c.wantsPrefix(c.prefix)(m)
		}
	}
}

// toServer names the server that the client has chosen.
func (c *rawClient6) toServer() dhcpv6.Modifier {
	return func(m dhcpv6.DHCPv6) { m.AddOption(dhcpv6.OptServerID(c.server)) }
}

// called is what the client calls itself.
func called(name string) dhcpv6.Modifier { return dhcpv6.WithFQDN(0, name) }

// wants6 is the list of options that a client asks for.
func wants6(codes ...dhcpv6.OptionCode) dhcpv6.Modifier { return dhcpv6.WithRequestedOptions(codes...) }

// frameOf6 puts a message into a frame to all DHCP servers.
func (c *rawClient6) frameOf6(m *dhcpv6.Message) []byte {
	to := netip.MustParseAddr("ff02::1:2")
	return udp6(c.mac, ndp.GroupMAC(to), ndp.LinkLocal(c.mac), to, 546, 547, m.ToBytes())
}

// udp6 makes a frame with a UDP packet of IPv6.
func udp6(srcMAC, dstMAC frame.MAC, src, dst netip.Addr, srcPort, dstPort uint16, payload []byte) []byte {
	ip := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	udp := &layers.UDP{SrcPort: layers.UDPPort(srcPort), DstPort: layers.UDPPort(dstPort)}
	_ = udp.SetNetworkLayerForChecksum(ip) // it fails for other layers only
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: srcMAC[:], DstMAC: dstMAC[:], EthernetType: layers.EthernetTypeIPv6}, ip, udp, gopacket.Payload(payload))
	if err != nil {
		panic(err) // a packet of this file's own
	}
	return b.Bytes()
}

// ask sends a message, again and again until an answer comes. Without one it
// returns nil.
func (c *rawClient6) ask(m *dhcpv6.Message, patience time.Duration) *dhcpv6.Message {
	answers := make(chan *dhcpv6.Message, 8)
	c.mu.Lock()
	c.open[m.TransactionID] = answers
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.open, m.TransactionID)
		c.mu.Unlock()
	}()
	f := c.frameOf6(m)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_ = c.conn.TrySend(f) // a full queue is a lost frame
		select {
		case a := <-answers:
			return a
		case <-time.After(min(time.Second, time.Until(end))):
		}
	}
	return nil
}

// answered is ask for a message whose answer has to be of a type. It notes what the
// client has by a reply.
func (c *rawClient6) answered(m *dhcpv6.Message, want dhcpv6.MessageType) *dhcpv6.Message {
	c.t.Helper()
	a := c.ask(m, dhcpPatience)
	if a == nil || a.MessageType != want {
		c.t.Fatalf("%s: answer to %v: %v, want %s", c.mac, m, a, want)
	}
	c.server = a.Options.ServerID()
	if m.MessageType != dhcpv6.MessageTypeInformationRequest && m.MessageType != dhcpv6.MessageTypeConfirm {
		c.address, c.prefix = given(a)
	}
	return a
}

// given returns what a message gives for good: its first address and prefix.
func given(m *dhcpv6.Message) (address, prefix string) {
	if ia := m.Options.OneIANA(); ia != nil {
		if a := ia.Options.OneAddress(); a != nil && a.ValidLifetime > 0 {
			address = a.IPv6Addr.String()
		}
	}
	if ia := m.Options.OneIAPD(); ia != nil {
		for _, p := range ia.Options.Prefixes() {
			if p.ValidLifetime > 0 {
				prefix = p.Prefix.String()
			}
		}
	}
	return address, prefix
}

// obtain gets a lease of an address, or what else is asked for in its place, in four
// messages.
func (c *rawClient6) obtain(with ...dhcpv6.Modifier) *rawClient6 {
	c.t.Helper()
	if len(with) == 0 || !asksForIA(with) {
		with = append(slices.Clone(with), c.wantsAddress())
	}
	c.answered(c.message(dhcpv6.MessageTypeSolicit, with...), dhcpv6.MessageTypeAdvertise)
	c.answered(c.message(dhcpv6.MessageTypeRequest, append(slices.Clone(with), c.toServer())...), dhcpv6.MessageTypeReply)
	if c.address == "" && c.prefix == "" {
		c.t.Fatalf("%s: the server gives nothing", c.mac)
	}
	return c
}

// asksForIA reports whether options have an identity association among them.
func asksForIA(with []dhcpv6.Modifier) bool {
	m := new(dhcpv6.Message)
	for _, modify := range with {
		modify(m)
	}
	return m.Options.OneIANA() != nil || m.Options.OneIAPD() != nil
}

// tells sends a message of the server's choice about what the client has, which is
// answered with a status of success.
func (c *rawClient6) tells(kind dhcpv6.MessageType) {
	c.t.Helper()
	a := c.ask(c.message(kind, c.holds(), c.toServer()), dhcpPatience)
	if a == nil || a.MessageType != dhcpv6.MessageTypeReply {
		c.t.Fatalf("%s: answer to a %s: %v", c.mac, kind, a)
	}
	if status := a.Options.Status(); status != nil && status.StatusCode != 0 {
		c.t.Errorf("%s: status of a %s: %v", c.mac, kind, status)
	}
}

// renews goes on with what the client has, by the server that it knows, or, for a
// rebinding, by any. It keeps what it had.
func (c *rawClient6) renews(kind dhcpv6.MessageType, with ...dhcpv6.Modifier) {
	c.t.Helper()
	address, prefix := c.address, c.prefix
	with = append(slices.Clone(with), c.holds())
	if kind == dhcpv6.MessageTypeRenew {
		with = append(with, c.toServer())
	}
	c.answered(c.message(kind, with...), dhcpv6.MessageTypeReply)
	if c.address != address || c.prefix != prefix {
		c.t.Fatalf("%s: had %q and %q, after a %s it has %q and %q", c.mac, address, prefix, kind, c.address, c.prefix)
	}
}
