package dhcp

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// memStore is a store in memory. It fails when it is told to: either before it
// wrote anything, or after it wrote all.
type memStore struct {
	mu       sync.Mutex
	networks map[string]map[netip.Addr]Record
	commits  int
	fail     error
	written  bool                  // a commit that fails is written all the same
	wait     chan struct{}         // where it is set, a commit ends when it is closed
	entered  chan struct{}         // a commit that waits says so
	unsure   map[netip.Addr]Record // that were written by a commit that failed
}

var errDisk = errors.New("disk is full")

func newMemStore() *memStore {
	return &memStore{networks: map[string]map[netip.Addr]Record{}, entered: make(chan struct{}, 16), unsure: map[netip.Addr]Record{}}
}

func (m *memStore) Load(network string) (records []Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	for _, r := range m.networks[network] {
		records = append(records, r)
	}
	return records, nil
}

func (m *memStore) Commit(network string, put []Record, remove []netip.Addr) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commits++
	if m.wait != nil {
		m.entered <- struct{}{}
		<-m.wait
	}
	if m.fail != nil && !m.written {
		return m.fail
	}
	if m.networks[network] == nil {
		m.networks[network] = map[netip.Addr]Record{}
	}
	for _, r := range put {
		r.ClientID = slices.Clone(r.ClientID)
		m.networks[network][r.Address] = r
		if m.fail != nil {
			m.unsure[r.Address] = r
		} else {
			delete(m.unsure, r.Address)
		}
	}
	for _, a := range remove {
		delete(m.networks[network], a)
		if slices.ContainsFunc(put, func(r Record) bool { return r.Address == a }) {
			panic(fmt.Sprintf("%s is put and removed", a))
		}
	}
	return m.fail
}

// lab is a server with a clock that stands still.
type lab struct {
	t      testing.TB
	cfg    Config
	store  *memStore
	server *Server
	mono   time.Duration
	wall   time.Time
	sent   []Reply
	probed []netip.Addr
	arp    func(netip.Addr) // answers probes
	logged bytes.Buffer
	holder func(string) (frame.MAC, bool)
}

// labConfig is ten addresses, without probes.
func labConfig() Config {
	return Config{
		Server:        netip.MustParsePrefix("192.168.7.1/24"),
		Ranges:        []Range{ipRange("192.168.7.10", "192.168.7.19")},
		Lease:         time.Hour,
		Authoritative: true,
		Router:        ip("192.168.7.1"),
		DNS:           ip("192.168.7.1"),
		Domain:        "lab",
	}
}

func ip(s string) netip.Addr           { return netip.MustParseAddr(s) }
func ipRange(first, last string) Range { return Range{First: ip(first), Last: ip(last)} }

// lan is an address of the lab's network.
func lan(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 7, n}) }

func newLab(t testing.TB, edit ...func(*Config)) *lab {
	l := &lab{t: t, cfg: labConfig(), store: newMemStore(), wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	for _, e := range edit {
		e(&l.cfg)
	}
	l.start()
	return l
}

func (l *lab) start() {
	l.t.Helper()
	var err error
	if l.server, err = newServer("lan", l.cfg, l.store, l.env(), func() lease.Instant { return lease.Instant{Mono: l.mono, Wall: l.wall} }); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) env() Env {
	return Env{
		Now:  func() time.Time { return l.wall },
		Send: func(r []Reply) { l.sent = append(l.sent, r...) },
		Probe: func(a netip.Addr, vlan uint16) {
			l.probed = append(l.probed, a)
			if l.arp != nil {
				l.arp(a)
			}
		},
		Holder: l.holder,
		Log:    slog.New(slog.NewTextHandler(&l.logged, nil)),
	}
}

// restart kills the server and starts another one on what is stored.
func (l *lab) restart() {
	l.t.Helper()
	l.server.Close()
	l.start()
}

func (l *lab) reconfigure(edit func(*Config)) {
	l.t.Helper()
	edit(&l.cfg)
	if err := l.server.Reconfigure(l.cfg); err != nil {
		l.t.Fatal(err)
	}
}

// pass lets time go by, and the server do what is due meanwhile.
func (l *lab) pass(d time.Duration) {
	end := l.mono + d
	for {
		next := l.server.Tick().Sub(l.wall)
		if l.mono+next > end {
			break
		}
		step := max(next, time.Millisecond)
		l.mono += step
		l.wall = l.wall.Add(step)
	}
	l.wall = l.wall.Add(end - l.mono)
	l.mono = end
	l.server.Tick()
}

// guest is a client.
type guest struct {
	mac  frame.MAC
	port string
	with []func(*dhcpv4.DHCPv4) // for all of its messages
}

func newGuest(n int, with ...func(*dhcpv4.DHCPv4)) *guest {
	return &guest{mac: frame.MAC{2, 0, 0, 0, byte(n >> 8), byte(n)}, port: "vm", with: with}
}

func opt(code uint8, data ...byte) func(*dhcpv4.DHCPv4) {
	return func(p *dhcpv4.DHCPv4) { p.Options[code] = data }
}

func optString(code uint8, text string) func(*dhcpv4.DHCPv4) { return opt(code, []byte(text)...) }

func requested(a netip.Addr) func(*dhcpv4.DHCPv4) { return opt(optRequested, a.AsSlice()...) }
func serverID(a netip.Addr) func(*dhcpv4.DHCPv4)  { return opt(optServerID, a.AsSlice()...) }
func ciaddr(a netip.Addr) func(*dhcpv4.DHCPv4) {
	return func(p *dhcpv4.DHCPv4) { p.ClientIPAddr = a.AsSlice() }
}
func giaddr(a netip.Addr) func(*dhcpv4.DHCPv4) {
	return func(p *dhcpv4.DHCPv4) { p.GatewayIPAddr = a.AsSlice() }
}
func broadcastBit(p *dhcpv4.DHCPv4) { p.SetBroadcast() }

func (g *guest) payload(kind dhcpv4.MessageType, edit ...func(*dhcpv4.DHCPv4)) []byte {
	p := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: 1, ClientHWAddr: g.mac[:], Options: dhcpv4.Options{},
		TransactionID: dhcpv4.TransactionID{1, 2, 3, g.mac[5]},
	}
	p.Options[optType] = []byte{byte(kind)}
	p.Options[optPRL] = []byte{optNetmask, optRouter, optDNS, optDomain, optHostname}
	for _, e := range slices.Concat(g.with, edit) {
		e(p)
	}
	return p.ToBytes()
}

func (g *guest) request(kind dhcpv4.MessageType, edit ...func(*dhcpv4.DHCPv4)) Request {
	payload := g.payload(kind, edit...)
	// A client that has an address sends with it.
	return Request{Port: g.port, MAC: g.mac, Src: netip.AddrFrom4([4]byte(payload[12:16])), Dst: ip("255.255.255.255"), Payload: payload}
}

// heard is a reply, read.
type heard struct {
	*dhcpv4.DHCPv4
	Reply
}

func (h heard) yours() netip.Addr {
	a, _ := netip.AddrFromSlice(h.YourIPAddr.To4())
	return a
}

func (l *lab) read(replies []Reply) (out []heard) {
	l.t.Helper()
	for _, r := range replies {
		p, err := dhcpv4.FromBytes(r.Payload)
		if err != nil {
			l.t.Fatalf("reply: %v", err)
		}
		out = append(out, heard{DHCPv4: p, Reply: r})
	}
	return out
}

// hear returns what the server has sent since.
func (l *lab) hear() []heard {
	l.t.Helper()
	out := l.read(l.sent)
	l.sent = nil
	return out
}

// say sends one message and returns the reply; nil where there is none.
func (l *lab) say(g *guest, kind dhcpv4.MessageType, edit ...func(*dhcpv4.DHCPv4)) *heard {
	l.t.Helper()
	l.sent = nil
	l.server.Receive([]Request{g.request(kind, edit...)})
	out := l.hear()
	if len(out) > 1 {
		l.t.Fatalf("%d replies to one message", len(out))
	}
	if len(out) == 0 {
		return nil
	}
	return &out[0]
}

const (
	discover = dhcpv4.MessageTypeDiscover
	offered  = dhcpv4.MessageTypeOffer
	request  = dhcpv4.MessageTypeRequest
	ack      = dhcpv4.MessageTypeAck
	nak      = dhcpv4.MessageTypeNak
	decline  = dhcpv4.MessageTypeDecline
	release  = dhcpv4.MessageTypeRelease
	inform   = dhcpv4.MessageTypeInform
)

// must is the address in a reply of that type.
func (l *lab) must(h *heard, kind dhcpv4.MessageType) netip.Addr {
	l.t.Helper()
	if h == nil {
		l.t.Fatalf("no reply, want %s\nlog: %s", kind, l.logged.String())
	}
	if h.MessageType() != kind {
		l.t.Fatalf("reply is %s %s, want %s", h.MessageType(), h.Message(), kind)
	}
	return h.yours()
}

// lease gets an address by the whole exchange.
func (l *lab) lease(g *guest, edit ...func(*dhcpv4.DHCPv4)) netip.Addr {
	l.t.Helper()
	h := l.say(g, discover, edit...)
	if h == nil && len(l.probed) > 0 {
		l.pass(probeTime)
		if out := l.hear(); len(out) == 1 {
			h = &out[0]
		}
	}
	a := l.must(h, offered)
	h = l.say(g, request, slices.Concat(edit, []func(*dhcpv4.DHCPv4){requested(a), serverID(l.cfg.Server.Addr())})...)
	if got := l.must(h, ack); got != a {
		l.t.Fatalf("ACK for %s, offered %s", got, a)
	}
	return a
}

// renewed asks for more time, and returns the type of the reply, 0 for none.
func (l *lab) renew(g *guest, a netip.Addr, edit ...func(*dhcpv4.DHCPv4)) dhcpv4.MessageType {
	l.t.Helper()
	h := l.say(g, request, append([]func(*dhcpv4.DHCPv4){ciaddr(a)}, edit...)...)
	if h == nil {
		return 0
	}
	return h.MessageType()
}

// at is what the server lists for an address.
func (l *lab) at(a netip.Addr) (Lease, bool) {
	for _, x := range l.server.Leases() {
		if x.Address == a {
			return x, true
		}
	}
	return Lease{}, false
}

func (l *lab) wantState(a netip.Addr, want State) {
	l.t.Helper()
	if x, ok := l.at(a); !ok || x.State != want {
		l.t.Errorf("%s is %v (%v), want %v", a, x.State, ok, want)
	}
}

func (l *lab) count(kind, outcome string) uint64 {
	return l.server.Stats().Messages[MessageKey{Type: kind, Outcome: outcome}]
}

func (l *lab) wantCount(kind, outcome string, want uint64) {
	l.t.Helper()
	if n := l.count(kind, outcome); n != want {
		l.t.Errorf("%s/%s counted %d, want %d", kind, outcome, n, want)
	}
}

// wantLog checks how often a text is in the log.
func (l *lab) wantLog(text string, want int) {
	l.t.Helper()
	if n := strings.Count(l.logged.String(), text); n != want {
		l.t.Errorf("%q is logged %d times, want %d:\n%s", text, n, want, l.logged.String())
	}
}

// check compares the engine's indexes with its bindings.
func (l *lab) check() {
	l.t.Helper()
	if err := l.server.engine.consistent(); err != nil {
		l.t.Fatal(err)
	}
}

func contains(text, part string) bool { return strings.Contains(text, part) }

var ip6Prefix = netip.MustParsePrefix("2001:db8::1/64")
