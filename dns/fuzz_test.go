package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// echo is a connection to an upstream without a network: it answers each query with
// the same header and question, and bytes behind it.
type echo struct {
	net.Conn
	tail  []byte
	query []byte
}

func (e *echo) SetDeadline(time.Time) error { return nil }
func (e *echo) Close() error                { return nil }

func (e *echo) Write(b []byte) (int, error) {
	e.query = bytes.Clone(b)
	return len(b), nil
}

func (e *echo) Read(b []byte) (int, error) {
	if e.query == nil {
		return 0, net.ErrClosed
	}
	q := e.query
	e.query = nil
	q[2], q[3] = 0x80, 0
	binary.BigEndian.PutUint16(q[6:], 1)
	binary.BigEndian.PutUint16(q[10:], 0)
	return copy(b, append(q[:len(q)-optLen], e.tail...)), nil
}

func (l *lab) total() (n uint64) {
	for _, c := range l.Stats().Queries {
		n += c
	}
	return n
}

func FuzzAnswer(f *testing.F) {
	tail := []byte("\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x00\x00\x04\x01\x02\x03\x04")
	cfg := labConfig()
	cfg.Cache, cfg.Upstream, cfg.Domains = 100, []string{"192.0.2.1"}, map[string][]string{"corp.test": {"192.0.2.2"}}
	l := newLab(f, cfg, labLeases(), func(e *Env) {
		e.Dial = func(context.Context, string, string) (net.Conn, error) { return &echo{tail: tail}, nil }
	})
	for _, q := range hotQueries(f, l) {
		f.Add(q.msg, uint16(0), byte(0), false)
		f.Add(q.msg, uint16(11), byte(1), true)
		f.Add(q.msg, uint16(headerLen), byte(0xc0), true)
	}
	f.Add([]byte{}, uint16(0), byte(0), false)
	f.Add(bytes.Repeat([]byte{0xc0, 12}, 50), uint16(2), byte(1), false)
	f.Fuzz(func(t *testing.T, msg []byte, at uint16, with byte, tcp bool) {
		msg = bytes.Clone(msg)
		if len(msg) > 0 {
			msg[int(at)%len(msg)] ^= with
		}
		sent := bytes.Clone(msg)
		before := l.total()
		replies := make(chan []byte, 2)
		l.Answer(msg, Client{Port: "a", TCP: tcp}, func(b []byte) { replies <- b })
		if !bytes.Equal(msg, sent) {
			t.Fatal("the query was changed")
		}
		if len(sent) < headerLen || len(sent) > maxMessage || sent[2]&0x80 != 0 {
			if len(replies) != 0 || l.total() != before+1 {
				t.Fatalf("%d replies to %x, %d counted", len(replies), sent, l.total()-before)
			}
			return
		}
		select {
		case b := <-replies:
			checkReply(t, sent, b, tcp)
		case <-time.After(patience):
			t.Fatalf("no reply to %x", sent)
		}
		if len(replies) != 0 || l.total() != before+1 {
			t.Fatalf("%d more replies, %d counted", len(replies), l.total()-before)
		}
	})
}

// checkReply looks at a reply with another codec than ours.
func checkReply(t *testing.T, sent, reply []byte, tcp bool) {
	var q, m wire.Msg
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("reply %x: %v", reply, err)
	}
	if !m.Response || m.Id != binary.BigEndian.Uint16(sent) || len(m.Question) > 1 {
		t.Fatalf("reply %v to %x", &m, sent)
	}
	if !tcp && len(reply) > maxPayload {
		t.Fatalf("%d bytes over UDP", len(reply))
	}
	if q.Unpack(sent) != nil || len(q.Question) != 1 || binary.BigEndian.Uint16(sent[4:]) != 1 {
		return
	}
	if len(m.Question) == 1 && m.Question[0] != q.Question[0] {
		t.Fatalf("question %v for %v", m.Question, q.Question)
	}
	if !tcp && q.IsEdns0() == nil && len(reply) > minPayload {
		t.Fatalf("%d bytes without EDNS", len(reply))
	}
	if q.Opcode != wire.OpcodeQuery && m.Rcode != wire.RcodeNotImplemented {
		t.Fatalf("opcode %d: %v", q.Opcode, &m)
	}
}

func FuzzReadAnswer(f *testing.F) {
	add := func(rrs ...string) {
		m := says(f, stub("a.test", wire.TypeA), 0, rrs...)
		m.Compress = true
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[headerLen+12:], uint16(len(m.Answer)), uint16(len(m.Ns)), false)
	}
	add("a.test. 60 IN A 10.0.0.1")
	add("a.test. 60 IN CNAME b.test.", "b.test. 60 IN A 10.0.0.1", soaText)
	add("a.test. 60 IN RRSIG A 8 2 60 20300101000000 20200101000000 1 test. AAAA", "test. 9 IN DNAME example.")
	f.Add([]byte{0xc0, 24, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4}, uint16(1), uint16(0), true)
	f.Fuzz(func(t *testing.T, tail []byte, answers, authority uint16, do bool) {
		q := question{name: "\x01a\x04test\x00", kind: wire.TypeA, do: do}
		msg := appendQuery(nil, 7, q, false)
		msg[2], msg[3] = 0x80, 0
		binary.BigEndian.PutUint16(msg[6:], answers)
		binary.BigEndian.PutUint16(msg[8:], authority)
		e, err := readAnswer(append(msg, tail...), q, time.Unix(0, 0))
		if err != nil {
			return
		}
		a := asker{id: 7, question: msg[headerLen : headerLen+len(q.name)+4], limit: maxMessage}
		var young, old wire.Msg
		if err := young.Unpack(e.reply(&a, 0)); err != nil {
			t.Fatalf("reply: %v", err)
		}
		if err := old.Unpack(e.reply(&a, 3*time.Second)); err != nil {
			t.Fatalf("reply: %v", err)
		}
		if len(young.Answer) != int(e.answers) || len(young.Ns) != int(e.authority) || len(young.Extra) != 0 {
			t.Fatalf("%v of %+v", &young, e)
		}
		for i, rr := range append(young.Answer, young.Ns...) {
			was, is := rr.Header(), append(old.Answer, old.Ns...)[i].Header()
			if is.Ttl != was.Ttl-min(was.Ttl, 3) || was.Ttl > uint32(maxLife/time.Second) {
				t.Fatalf("TTL %d, and then %d", was.Ttl, is.Ttl)
			}
			if e.life > time.Duration(was.Ttl)*time.Second {
				t.Fatalf("kept for %v with a TTL of %d", e.life, was.Ttl)
			}
			was.Ttl = is.Ttl
			if rr.String() != append(old.Answer, old.Ns...)[i].String() {
				t.Fatalf("%v became %v", rr, append(old.Answer, old.Ns...)[i])
			}
		}
	})
}

func FuzzParseHosts(f *testing.F) {
	f.Add("192.168.122.20 db.lab db # the database\n")
	f.Add("fd00::1%x a\n\n#\n ::ffff:1.2.3.4 .. b")
	f.Add("nameserver 127.0.0.53\nnameserver\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, problems := parseHosts("hosts", []byte(text))
		for _, h := range lines {
			if !h.addr.IsValid() || h.addr.Zone() != "" || h.addr.Is4In6() || len(h.names) == 0 {
				t.Fatalf("line %+v", h)
			}
		}
		if len(problems) > maxProblems+1 {
			t.Fatalf("%d problems", len(problems))
		}
		for _, p := range problems {
			if !strings.HasPrefix(p, "hosts:") || strings.Contains(p, "\n") || len(p) > 400 {
				t.Fatalf("problem %q", p)
			}
		}
		z, _ := buildZone(&Config{Name: "gateway", Domain: "lab"}, lines)
		z.fillGaps(func(name string) bool { return strings.HasSuffix(name, "\x03lab\x00") })
		for _, h := range lines {
			key, _ := wireName(h.names[0])
			if n := z.names[key]; n == nil || !n.whole {
				t.Fatalf("%q is not in the zone", h.names[0])
			}
		}
		if servers, problems := parseResolvConf("r", []byte(text)); len(servers) > maxNameservers || len(problems) > maxProblems+2 {
			t.Fatalf("%d servers, %d problems", len(servers), len(problems))
		}
	})
}
