package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// Config is what a resolver answers and whom it asks. A resolver keeps it, so it
// is not to be changed once it was given away.
//
// Names are of letters, digits and hyphens with dots between them, in any case.
// One without a dot is also known with the domain, unless it ends with a dot. A
// service name ("_ldap._tcp") counts as one without a dot.
type Config struct {
	// Name is that of the gateway itself. It and Hosts come before leases.
	Name string

	// Domain is the local domain; empty for none. Names in it that are not known
	// do not exist, unless Domains names servers that know more.
	Domain string

	// Gateway are the addresses of the gateway with their subnets. Addresses in
	// them whose name is not known have none, unless Domains says otherwise.
	Gateway []netip.Prefix

	// Upstream are the servers that know the rest: ADDRESS, ADDRESS:PORT, or
	// "host" for the name servers of Env.ResolvConf. Empty: the rest is refused.
	Upstream []string

	// Domains are the servers of single domains and all below; an empty list
	// makes the domain local-only.
	Domains map[string][]string

	// Hosts are addresses by name. A name with an address is answered from here
	// in all types, so that nothing set here leads elsewhere in another one.
	Hosts map[string][]netip.Addr

	// TXT are texts by name. The values of a name are the strings of one record
	// (RFC 1035 clause 3.3.14); one of more than 255 bytes becomes several.
	TXT map[string][]string

	SRV []SRV

	HostsFile string // in the format of hosts(5), read again when it changes; empty: none

	Cache int // answers of upstreams that are kept; 0: none

	// ForwardPlain: addresses of names without a dot are asked for elsewhere, too.
	ForwardPlain bool

	// Payload is the size in bytes of the largest answer over UDP that the network
	// carries in one packet: its MTU without the headers. Longer ones are cut, and
	// asked for again over TCP. 0, and anything above 1232: 1232.
	Payload int
}

// payload is the largest answer over UDP.
func (c *Config) payload() int {
	if c.Payload <= 0 {
		return maxPayload
	}
	return min(c.Payload, maxPayload)
}

// SRV is where a service is (RFC 2782).
type SRV struct {
	Name     string // _service._protocol, with a domain or without
	Target   string // the host; empty: there is decidedly none
	Port     uint16
	Priority uint16
	Weight   uint16
}

// Client is where a query comes from.
type Client struct {
	// Port is that of the switch, or whatever else tells one guest from others. No
	// port has more than a quarter of what may wait for upstreams.
	Port string

	TCP bool
}

// Names are the names of leases. It is asked for every query that may be for one,
// from many goroutines at once, and must not wait for a disk.
type Names interface {
	// Lookup returns the addresses of a host, of both families; none where the name is
	// not known. It is in lower case, without a domain. What is returned is not changed.
	Lookup(name string) []netip.Addr
	Reverse(addr netip.Addr) (string, bool)
}

// Env is where a resolver works. The zero value of a field is the usual one.
type Env struct {
	Now        func() time.Time // of the cache; time.Now
	ResolvConf string           // /etc/resolv.conf
	Dial       func(ctx context.Context, network, address string) (net.Conn, error)
	Log        *slog.Logger // silent
}

// Resolver answers the queries of a network. Its methods are for any goroutine.
type Resolver struct {
	env       Env
	names     Names
	stats     counters
	forwarder *forwarder
	snapshot  atomic.Pointer[snapshot]

	mu        sync.Mutex // of what makes the next snapshot
	cfg       Config
	hosts     *watched // nil: no such file is in use
	hostLines []hostLine
	resolv    *watched
	servers   []netip.AddrPort // of ResolvConf
	swept     time.Time
}

// snapshot is all that a query needs. It does not change.
type snapshot struct {
	zone         *zone
	routes       *routes
	cache        *cache
	names        Names
	subnets      []netip.Prefix
	domain       string // in wire form; empty: none
	domainText   string
	forwardPlain bool
	payload      int
}

// New returns a resolver that answers at once. Its files have been read; upstreams
// are probed from the first Tick on. names may be nil. Close it after use.
func New(cfg Config, names Names, env Env) *Resolver {
	if env.Now == nil {
		env.Now = time.Now
	}
	if env.ResolvConf == "" {
		env.ResolvConf = defaultResolvConf
	}
	if env.Dial == nil {
		env.Dial = (&net.Dialer{}).DialContext
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	r := &Resolver{env: env, names: names}
	r.forwarder = newForwarder(&r.env, &r.stats)
	r.swept = env.Now()
	r.Reconfigure(cfg)
	return r
}

// Answer answers one query in wire form. The query is borrowed for the call. reply
// is called at most once, with bytes that are then its own: before Answer returns
// where the answer is known here, from another goroutine where an upstream is
// asked. A message that is no query gets no answer, nor does one too many.
func (r *Resolver) Answer(msg []byte, from Client, reply func([]byte)) {
	var q query
	var b []byte
	var outcome Outcome
	start := r.env.Now()
	s := r.snapshot.Load()
	switch q.parse(msg, from.TCP, s.payload) {
	case ignored:
		r.stats.dropped()
		return
	case malformed:
		b, outcome = q.status(wire.RcodeFormatError), Malformed
	case unsupported:
		b, outcome = q.status(wire.RcodeNotImplemented), Unsupported
	default:
		g := s.routes.find(&q)
		if b, outcome = r.answer(&q, s, g, start); b == nil {
			if !r.forwarder.forward(&q, g, s.cache, waiter{port: from.Port, reply: reply, start: start}) {
				r.stats.dropped()
			}
			return
		}
	}
	r.stats.answered(outcome, r.env.Now().Sub(start))
	reply(b)
}

// answer answers without asking anybody; nil where that cannot be.
func (r *Resolver) answer(q *query, s *snapshot, g *group, now time.Time) ([]byte, Outcome) {
	switch {
	case q.version != 0:
		return q.status(wire.RcodeBadVers), Unsupported // RFC 6891 clause 6.1.3
	case q.class != wire.ClassINET || !served(q.kind):
		return q.status(wire.RcodeRefused), Refused
	case r.forwarder.upstreams.probeReturned(q):
		return q.status(wire.RcodeRefused), Refused
	}
	if b, outcome := s.local(q, g); b != nil {
		return b, outcome
	}
	if e, age := s.cache.get(q, g, now); e != nil {
		return e.reply(&q.asker, age), Cached
	}
	// Who does not want recursion has had all there is (RFC 1034 clause 4.3.1).
	if len(g.upstreams) == 0 || q.flags&bitRD == 0 {
		return q.status(wire.RcodeRefused), Refused
	}
	return nil, 0
}

// served reports whether questions of a type are answered: not transfers, and not
// what is no type of data (RFC 6895 clause 3.1), but for ANY.
func served(kind uint16) bool {
	return kind != 0 && kind != wire.TypeOPT && (kind < 249 || kind > wire.TypeANY || kind == wire.TypeANY)
}

// Reconfigure changes the configuration. What was cached from servers that are
// still asked in the same order stays, unless Cache is another.
func (r *Resolver) Reconfigure(cfg Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cfg.Name == "" {
		cfg.Name = "gateway"
	}
	r.cfg = cfg
	r.readFiles()
	r.build(true)
}

// Tick is to be called once a second. It reads files that have changed, sends
// probes to upstreams, and removes what has grown old.
func (r *Resolver) Tick() {
	now := r.env.Now()
	r.mu.Lock()
	if hosts, servers := r.readFiles(); hosts || servers {
		r.build(servers)
	}
	if age := now.Sub(r.swept); age >= time.Minute || age < 0 {
		r.swept = now
		r.sweep(now)
	}
	r.mu.Unlock()
	r.forwarder.probe(now)
}

// Close ends what is under way. Queries that wait for an upstream get no answer,
// and reply is not called once Close has returned, but by a call of Answer that
// has not. It is not to be called from reply.
func (r *Resolver) Close() { r.forwarder.stop() }

// readFiles reads what has changed of the files that are in use.
func (r *Resolver) readFiles() (hosts, servers bool) {
	if r.cfg.HostsFile == "" {
		hosts = r.hosts != nil
		r.hosts, r.hostLines = nil, nil
	} else {
		if r.hosts == nil || r.hosts.path != r.cfg.HostsFile {
			r.hosts, r.hostLines = &watched{path: r.cfg.HostsFile, limit: maxHostsFile}, nil
		}
		var data []byte
		if data, hosts = r.read(r.hosts, "hosts file"); hosts {
			var problems []string
			r.hostLines, problems = parseHosts(r.hosts.path, data)
			r.warn(problems)
		}
	}
	if r.usesHost() {
		if r.resolv == nil {
			r.resolv = &watched{path: r.env.ResolvConf, limit: maxResolvConf}
		}
		var data []byte
		if data, servers = r.read(r.resolv, "name servers of the host"); servers {
			var problems []string
			r.servers, problems = parseResolvConf(r.resolv.path, data)
			r.warn(problems)
		}
	}
	return hosts, servers
}

func (r *Resolver) read(w *watched, what string) ([]byte, bool) {
	data, changed, err := w.read()
	if err != nil {
		r.env.Log.Warn(fmt.Sprintf("%s: %v: what it said before stays in use until it can be read", what, err))
	}
	return data, changed
}

func (r *Resolver) warn(problems []string) {
	for _, p := range problems {
		r.env.Log.Warn(p)
	}
}

func (r *Resolver) usesHost() bool {
	for _, list := range r.cfg.Domains {
		if slices.Contains(list, "host") {
			return true
		}
	}
	return slices.Contains(r.cfg.Upstream, "host")
}

// build makes the next snapshot, with new routes where they may be others.
func (r *Resolver) build(routes bool) {
	old := r.snapshot.Load()
	s := &snapshot{names: r.names, subnets: r.cfg.Gateway, forwardPlain: r.cfg.ForwardPlain, payload: r.cfg.payload()}
	if domain, ok := wireName(r.cfg.Domain); ok && domain != rootName {
		s.domain, s.domainText = domain, r.cfg.Domain
	}
	changed := false
	if old != nil {
		s.routes = old.routes
	}
	if routes {
		s.routes, changed = buildRoutes(&r.cfg, r.servers, s.routes, r.forwarder.upstreams, r.env.Log)
	}
	var problems []string
	s.zone, problems = buildZone(&r.cfg, r.hostLines)
	s.zone.fillGaps(s.routes.isLocal)
	r.warn(problems[:min(len(problems), maxProblems)])
	if old != nil && old.cache.size == r.cfg.Cache {
		s.cache = old.cache
	} else {
		s.cache = newCache(r.cfg.Cache)
	}
	r.snapshot.Store(s)
	if changed {
		r.forwarder.upstreams.reset(s.routes)
		r.sweep(r.env.Now())
	}
}

// sweep removes what is no longer good from the cache.
func (r *Resolver) sweep(now time.Time) {
	s := r.snapshot.Load()
	groups := s.routes.all()
	s.cache.sweep(now, func(e *entry) bool { return slices.Contains(groups, e.group) })
}
