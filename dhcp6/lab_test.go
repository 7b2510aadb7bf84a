package dhcp6

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

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/dhcp/lease"
)

// memStore is a store in memory. It fails when it is told to: either before it
// wrote anything, or after it wrote all.
type memStore struct {
	mu       sync.Mutex
	networks map[string]map[netip.Prefix]dhcp.Record6
	commits  int
	fail     error
	written  bool          // a commit that fails is written all the same
	wait     chan struct{} // where it is set, a commit ends when it is closed
	entered  chan struct{} // a commit that waits says so
}

var errDisk = errors.New("disk is full")

func newMemStore() *memStore {
	return &memStore{networks: map[string]map[netip.Prefix]dhcp.Record6{}, entered: make(chan struct{}, 16)}
}

func (m *memStore) Load6(network string) (records []dhcp.Record6, err error) {
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

func (m *memStore) Commit6(network string, put []dhcp.Record6, remove []netip.Prefix) error {
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
		m.networks[network] = map[netip.Prefix]dhcp.Record6{}
	}
	for _, p := range remove {
		delete(m.networks[network], p)
		if slices.ContainsFunc(put, func(r dhcp.Record6) bool { return r.Prefix == p }) {
			panic(fmt.Sprintf("%s is put and removed", p))
		}
	}
	for _, r := range put {
		r.DUID = slices.Clone(r.DUID)
		m.networks[network][r.Prefix] = r
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
	routes []Delegation
	routed int // times
	holder func(string) (frame.MAC, bool)
	logged bytes.Buffer
}

// labConfig is ten addresses, and sixteen prefixes.
func labConfig() Config {
	return Config{
		MAC:      frame.MAC{0x52, 0x54, 0, 1, 2, 3},
		Links:    []netip.Prefix{netip.MustParsePrefix("2001:db8:1::1/64")},
		Ranges:   []dhcp.Range{addrRange("2001:db8:1::10", "2001:db8:1::19")},
		Lease:    time.Hour,
		Rapid:    true,
		Delegate: []Pool{{Prefix: netip.MustParsePrefix("2001:db8:100::/52"), Length: 56}},
		DNS:      []netip.Addr{ip("2001:db8:1::1")},
		Domain:   "lab",
	}
}

func ip(s string) netip.Addr                  { return netip.MustParseAddr(s) }
func px(s string) netip.Prefix                { return netip.MustParsePrefix(s) }
func addrRange(first, last string) dhcp.Range { return dhcp.Range{First: ip(first), Last: ip(last)} }
func one(a netip.Addr) netip.Prefix           { return netip.PrefixFrom(a, 128) }
func withHosts(hosts ...Host) func(*Config)   { return func(c *Config) { c.Hosts = hosts } }
func withRange(first, last string) func(*Config) {
	return func(c *Config) { c.Ranges = []dhcp.Range{addrRange(first, last)} }
}

// lan is an address of the lab's network.
func lan(n byte) netip.Addr {
	a := ip("2001:db8:1::").As16()
	a[15] = n
	return netip.AddrFrom16(a)
}

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
	l.server, err = newServer("lan", l.cfg, l.store, l.env(), func() lease.Instant { return lease.Instant{Mono: l.mono, Wall: l.wall} })
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) env() Env {
	return Env{
		Now:    func() time.Time { return l.wall },
		Send:   func(r []Reply) { l.sent = append(l.sent, r...) },
		Routes: func(d []Delegation) { l.routes = d; l.routed++ },
		Holder: l.holder,
		Log:    slog.New(slog.NewTextHandler(&l.logged, &slog.HandlerOptions{Level: slog.LevelInfo})),
	}
}

// restart kills the server and starts another one on what is stored.
func (l *lab) restart() {
	l.t.Helper()
	l.server.Close()
	l.start()
}

func (l *lab) reconfigure(edit ...func(*Config)) {
	l.t.Helper()
	for _, e := range edit {
		e(&l.cfg)
	}
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

// hear returns what the server has sent since.
func (l *lab) hear() (out []heard) {
	l.t.Helper()
	for _, r := range l.sent {
		p, err := dhcpv6.MessageFromBytes(r.Payload)
		if err != nil {
			l.t.Fatalf("reply: %v", err)
		}
		out = append(out, heard{Message: p, Reply: r})
	}
	l.sent = nil
	return out
}

// say sends one message and returns the reply; nil where there is none.
func (l *lab) say(g *guest, kind dhcpv6.MessageType, edit ...func(*dhcpv6.Message)) *heard {
	l.t.Helper()
	return l.send(g.request(kind, edit...))
}

func (l *lab) send(r Request) *heard {
	l.t.Helper()
	l.sent = nil
	l.server.Receive([]Request{r})
	out := l.hear()
	if len(out) > 1 {
		l.t.Fatalf("%d replies to one message", len(out))
	}
	l.check()
	if len(out) == 0 {
		return nil
	}
	return &out[0]
}

// must is the one lease in a reply of that type.
func (l *lab) must(h *heard, kind dhcpv6.MessageType) netip.Prefix {
	l.t.Helper()
	if h == nil {
		l.t.Fatalf("no reply, want %s\nlog: %s", kind, l.logged.String())
	}
	if got := h.leases(); h.MessageType != kind || len(got) != 1 {
		l.t.Fatalf("%d leases in %s, want one in %s", len(got), h.Message.Summary(), kind)
	}
	return h.leases()[0]
}

// lease gets an address or a prefix by the whole exchange.
func (l *lab) lease(g *guest, edit ...func(*dhcpv6.Message)) netip.Prefix {
	l.t.Helper()
	if len(edit) == 0 {
		edit = append(edit, na(1))
	}
	want := l.must(l.say(g, solicit, edit...), advertise)
	if got := l.must(l.say(g, request, edit...), reply); got != want {
		l.t.Fatalf("advertised %s, got %s", want, got)
	}
	return want
}

// at is what the server lists.
func (l *lab) at(p netip.Prefix) (Lease, bool) {
	for _, x := range l.server.Leases() {
		if x.Prefix == p {
			return x, true
		}
	}
	return Lease{}, false
}

func (l *lab) wantState(p netip.Prefix, want dhcp.State) {
	l.t.Helper()
	if x, ok := l.at(p); !ok || x.State != want {
		l.t.Errorf("%s is %v (%v), want %v", p, x.State, ok, want)
	}
}

func (l *lab) wantGone(p netip.Prefix) {
	l.t.Helper()
	if x, ok := l.at(p); ok {
		l.t.Errorf("%s is still known: %+v", p, x)
	}
	if _, ok := l.store.networks["lan"][p]; ok {
		l.t.Errorf("%s is still stored", p)
	}
}

func (l *lab) wantCount(kind, outcome string, want uint64) {
	l.t.Helper()
	if n := l.server.Stats().Messages[dhcp.MessageKey{Type: kind, Outcome: outcome}]; n != want {
		l.t.Errorf("%s/%s counted %d, want %d: %v", kind, outcome, n, want, l.server.Stats().Messages)
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
