package main

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/ports/porttest"
)

// wire is where any number of DHCP clients sit that the tests make themselves:
// an interface whose frames they read and write, past the kernel.
type wire struct {
	t    *testing.T
	conn *porttest.RawConn
	// again is when a client without an answer asks again.
	again time.Duration

	mu   sync.Mutex
	open map[dhcpv4.TransactionID]chan heard
}

// heard is an answer and how it came.
type heard struct {
	*dhcpv4.DHCPv4
	mac net.HardwareAddr // that it was sent to
	ip  string
}

func newWire(t *testing.T, ns *porttest.NS) *wire {
	t.Helper()
	w := &wire{t: t, conn: ns.RawConn(t, "eth0"), again: time.Second, open: map[dhcpv4.TransactionID]chan heard{}}
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

// receive gives an answer to whoever waits for it.
func (w *wire) receive(f []byte) {
	p := gopacket.NewPacket(f, layers.LayerTypeEthernet, gopacket.Default)
	eth, _ := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	ip, _ := p.Layer(layers.LayerTypeIPv4).(*layers.IPv4)
	udp, _ := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
	if udp == nil || udp.SrcPort != 67 {
		return
	}
	m, err := dhcpv4.FromBytes(udp.Payload)
	if err != nil {
		w.t.Errorf("a server sent what is no message: %v: % x", err, udp.Payload)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.open[m.TransactionID]; c != nil {
		select {
		case c <- heard{m, slices.Clone(eth.DstMAC), ip.DstIP.String()}:
		default: // nobody waits any more
		}
	}
}

// answers opens a channel for the answers to a transaction.
func (w *wire) answers(id dhcpv4.TransactionID) (c chan heard, done func()) {
	c = make(chan heard, 8)
	w.mu.Lock()
	w.open[id] = c
	w.mu.Unlock()
	return c, func() {
		w.mu.Lock()
		delete(w.open, id)
		w.mu.Unlock()
	}
}

// rawClient is one client on a wire.
type rawClient struct {
	*wire
	mac     net.HardwareAddr
	id      []byte // option 61, where there is one
	options []dhcpv4.Modifier
}

// client makes a client by its number, which is in its MAC.
func (w *wire) client(n int) *rawClient {
	mac := net.HardwareAddr{2, 0xc1, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(mac[2:], uint32(n))
	return &rawClient{wire: w, mac: mac}
}

// message makes a message of the client's.
func (c *rawClient) message(kind dhcpv4.MessageType, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	var xid dhcpv4.TransactionID
	binary.BigEndian.PutUint32(xid[:], rand.Uint32())
	all := []dhcpv4.Modifier{dhcpv4.WithTransactionID(xid), dhcpv4.WithHwAddr(c.mac), dhcpv4.WithMessageType(kind)}
	if c.id != nil {
		all = append(all, dhcpv4.WithGeneric(dhcpv4.OptionClientIdentifier, c.id))
	}
	m, err := dhcpv4.New(append(append(all, c.options...), with...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// frameOf puts a message into a frame: broadcast, or from the client's address
// to the server's where it has one. All servers here have address(1).
func frameOf(m *dhcpv4.DHCPv4, toMAC net.HardwareAddr) []byte {
	src, dst := net.IPv4zero, net.IPv4bcast
	if toMAC == nil {
		toMAC = layers.EthernetBroadcast
	} else {
		dst = net.ParseIP(address(1))
	}
	if !m.ClientIPAddr.IsUnspecified() {
		src = m.ClientIPAddr
	}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: src.To4(), DstIP: dst.To4()}
	udp := &layers.UDP{SrcPort: 68, DstPort: 67}
	_ = udp.SetNetworkLayerForChecksum(ip) // it fails for other layers only
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: m.ClientHWAddr, DstMAC: toMAC, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload(m.ToBytes()))
	if err != nil {
		panic(err) // a message of this file's own
	}
	return b.Bytes()
}

// ask sends a message, again and again until an answer comes. Without one it
// returns false.
func (c *rawClient) ask(m *dhcpv4.DHCPv4, patience time.Duration) (heard, bool) {
	return c.askAt(m, nil, patience)
}

// askAt is ask, to one MAC address.
func (c *rawClient) askAt(m *dhcpv4.DHCPv4, mac net.HardwareAddr, patience time.Duration) (heard, bool) {
	answers, done := c.answers(m.TransactionID)
	defer done()
	f := frameOf(m, mac)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		_ = c.conn.TrySend(f) // a full queue is a lost frame
		select {
		case a := <-answers:
			return a, true
		case <-time.After(min(c.again, time.Until(end))):
		}
	}
	return heard{}, false
}

// tell sends a message that has no answer.
func (c *rawClient) tell(m *dhcpv4.DHCPv4) {
	c.t.Helper()
	c.conn.Send(frameOf(m, nil))
}

// patience is for answers that must come.
const dhcpPatience = 30 * time.Second

// silence is how long to wait for an answer that must not come.
const dhcpSilence = 1500 * time.Millisecond

// discover returns the offer that the client gets.
func (c *rawClient) discover(with ...dhcpv4.Modifier) heard {
	c.t.Helper()
	offer, ok := c.ask(c.message(dhcpv4.MessageTypeDiscover, with...), dhcpPatience)
	if !ok || offer.MessageType() != dhcpv4.MessageTypeOffer {
		c.t.Fatalf("%s: offer: %v %v", c.mac, ok, offer)
	}
	return offer
}

// selecting makes the request for an offer.
func (c *rawClient) selecting(offer *dhcpv4.DHCPv4, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return c.message(dhcpv4.MessageTypeRequest, slices.Concat(with, []dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier())),
	})...)
}

// rebooting makes the request of a client that remembers an address.
func (c *rawClient) rebooting(addr string, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return c.message(dhcpv4.MessageTypeRequest, append([]dhcpv4.Modifier{
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(addr).To4())),
	}, with...)...)
}

// renewing makes the request of a client that uses an address.
func (c *rawClient) renewing(addr string, with ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return c.message(dhcpv4.MessageTypeRequest, append([]dhcpv4.Modifier{dhcpv4.WithClientIP(net.ParseIP(addr).To4())}, with...)...)
}

// obtain gets a lease and returns its address.
func (c *rawClient) obtain(with ...dhcpv4.Modifier) string {
	c.t.Helper()
	ack, ok := c.ask(c.selecting(c.discover(with...).DHCPv4, with...), dhcpPatience)
	if !ok || ack.MessageType() != dhcpv4.MessageTypeAck {
		c.t.Fatalf("%s: ack: %v %v", c.mac, ok, ack)
	}
	return ack.YourIPAddr.String()
}

// answered checks the type of an answer and returns it.
func (c *rawClient) answered(m *dhcpv4.DHCPv4, want dhcpv4.MessageType) heard {
	c.t.Helper()
	got, ok := c.ask(m, dhcpPatience)
	if !ok || got.MessageType() != want {
		c.t.Fatalf("%s: answer to %v: %v %v, want %s", c.mac, m, ok, got, want)
	}
	return got
}

// unanswered checks that there is no answer.
func (c *rawClient) unanswered(m *dhcpv4.DHCPv4) {
	c.t.Helper()
	if got, ok := c.ask(m, dhcpSilence); ok {
		c.t.Errorf("%s: an answer to %v: %v", c.mac, m, got)
	}
}

// release gives a lease back.
func (c *rawClient) release(addr string) {
	c.t.Helper()
	c.tell(c.message(dhcpv4.MessageTypeRelease, dhcpv4.WithClientIP(net.ParseIP(addr).To4()),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(address(1)).To4()))))
}

// decline says that somebody else has an address.
func (c *rawClient) decline(addr string) {
	c.t.Helper()
	c.tell(c.rebooting(addr, dhcpv4.WithMessageType(dhcpv4.MessageTypeDecline),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(address(1)).To4()))))
}

// hostname is what the client calls itself.
func hostname(name string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptHostName(name)) }

// wants is the list of options that a client asks for.
func wants(codes ...uint8) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.OptionParameterRequestList, codes)
}

// requested asks for an address.
func requested(addr string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(addr).To4()))
}
