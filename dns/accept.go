package dns

import (
	"errors"
	"math"
	"time"

	wire "github.com/miekg/dns"
)

const (
	maxLife     = 24 * time.Hour   // of an answer in the cache
	maxNegative = 15 * time.Minute // of one that there is nothing (RFC 2308 clause 5)
	maxChain    = 16               // aliases that an answer leads over
)

// readAnswer makes an entry of an upstream's message, whose id and question have
// been compared. Records that do not answer the question are left out, the rest
// is packed anew: what a guest gets was written by our codec.
func readAnswer(msg []byte, q question, now time.Time) (*entry, error) {
	e := &entry{question: q, rcode: rcodeOf(msg), born: now}
	if e.rcode != wire.RcodeSuccess && e.rcode != wire.RcodeNameError {
		return e, nil
	}
	var m wire.Msg
	if err := m.Unpack(msg); err != nil {
		return nil, badAnswer("records that cannot be read", err)
	}
	if len(m.Question) != 1 {
		return nil, badAnswer("no question", nil)
	}
	if m.Rcode > rcodeBits {
		e.rcode = wire.RcodeServerFailure // the upper bits are in its OPT record
		return e, nil
	}
	c := chain{kind: q.kind, do: q.do, owners: []string{wire.CanonicalName(m.Question[0].Name)}}
	out := wire.Msg{Question: m.Question, Compress: true}
	out.Question[0].Name = c.owners[0]
	out.Answer = c.answer(m.Answer)
	out.Ns = c.authority(m.Ns)
	e.life = lifetime(&out, c.found)
	return e, e.pack(&out)
}

// chain are the names that a question leads to: its own, and those of aliases.
type chain struct {
	kind   uint16
	do     bool // signatures are wanted
	owners []string
	found  bool // there is a record of the type that was asked for
}

func (c *chain) has(name string) bool {
	for _, o := range c.owners {
		if o == name {
			return true
		}
	}
	return false
}

// end is the last name, of which a negative answer speaks (RFC 2308 clause 2.1).
func (c *chain) end() string { return c.owners[len(c.owners)-1] }

// answer returns the records of the answer section that belong to the chain.
func (c *chain) answer(rrs []wire.RR) []wire.RR {
	aliases := map[string]string{}
	for _, rr := range rrs {
		if alias, ok := rr.(*wire.CNAME); ok {
			aliases[wire.CanonicalName(alias.Hdr.Name)] = wire.CanonicalName(alias.Target)
		}
	}
	for c.kind != wire.TypeCNAME && len(c.owners) <= maxChain { // also round and round
		next, ok := aliases[c.end()]
		if !ok {
			break
		}
		c.owners = append(c.owners, next)
	}
	var out []wire.RR
	for _, rr := range rrs {
		if c.keeps(rr) {
			c.found = c.found || rr.Header().Rrtype == c.kind
			out = append(out, rr)
		}
	}
	return out
}

func (c *chain) keeps(rr wire.RR) bool {
	h := rr.Header()
	owner := wire.CanonicalName(h.Name)
	kind := h.Rrtype
	if sig, ok := rr.(*wire.RRSIG); ok && c.kind != wire.TypeRRSIG {
		if !c.do {
			return false // RFC 4035 clause 3.2.1
		}
		kind = sig.TypeCovered
	}
	switch {
	case h.Class != wire.ClassINET || h.Rdlength == 0:
		return false
	case kind == c.kind || kind == wire.TypeCNAME:
		return c.has(owner)
	case kind == wire.TypeDNAME: // stands above the name that it changes (RFC 6672)
		for _, o := range c.owners {
			if wire.IsSubDomain(owner, o) {
				return true
			}
		}
	}
	return false
}

// authority returns what denies: the SOA record of a zone that the end of the
// chain is in, and for those who verify it the proofs.
func (c *chain) authority(rrs []wire.RR) []wire.RR {
	var out []wire.RR
	for _, rr := range rrs {
		h := rr.Header()
		if h.Class != wire.ClassINET || h.Rdlength == 0 {
			continue
		}
		switch rr := rr.(type) {
		case *wire.SOA:
			if c.found || !wire.IsSubDomain(h.Name, c.end()) {
				continue
			}
			// RFC 2308 clause 5: the lower one is how long "no" lasts.
			h.Ttl = min(h.Ttl, rr.Minttl, uint32(maxNegative/time.Second))
		case *wire.NSEC, *wire.NSEC3, *wire.RRSIG:
			if !c.do {
				continue
			}
		default:
			continue
		}
		out = append(out, rr)
	}
	return out
}

// lifetime is that of the shortest-lived record; none where nothing says how long
// there is nothing.
func lifetime(m *wire.Msg, found bool) time.Duration {
	shortest, denied := uint32(math.MaxUint32), false
	for _, rrs := range [][]wire.RR{m.Answer, m.Ns} {
		for _, rr := range rrs {
			h := rr.Header()
			if h.Ttl > math.MaxInt32 {
				h.Ttl = 0 // RFC 2181 clause 8
			}
			h.Ttl = min(h.Ttl, uint32(maxLife/time.Second))
			shortest = min(shortest, h.Ttl)
			denied = denied || h.Rrtype == wire.TypeSOA
		}
	}
	if !found && !denied {
		return 0
	}
	return time.Duration(shortest) * time.Second
}

// pack writes the records, and notes where their TTLs stand.
func (e *entry) pack(m *wire.Msg) error {
	msg, err := m.Pack()
	if err != nil {
		return badAnswer("records that cannot be written", err)
	}
	start := headerLen + len(e.name) + 4
	if len(msg) > maxMessage || len(msg) < start || string(msg[headerLen:start-4]) != e.name {
		return badAnswer("a name or a length that cannot be written", nil)
	}
	// The codec takes a record whose data ends early with the message, and writes
	// one that nobody can read.
	if err := new(wire.Msg).Unpack(msg); err != nil {
		return badAnswer("records that are not whole", err)
	}
	e.answers, e.authority = uint16(len(m.Answer)), uint16(len(m.Ns))
	at := start
	for range len(m.Answer) + len(m.Ns) {
		fixed, ok := skipName(msg, at)
		if !ok || fixed+fixedRR > len(msg) {
			return errors.New("records were written wrong")
		}
		e.ttls = append(e.ttls, uint16(fixed+4))
		at = fixed + fixedRR + int(msg[fixed+8])<<8 + int(msg[fixed+9])
	}
	e.body = msg[start:]
	return nil
}
