package dns

import (
	"encoding/binary"

	wire "github.com/miekg/dns"
)

const (
	headerLen = 12 // RFC 1035 clause 4.1.1
	fixedRR   = 10 // type, class, TTL and length of a record, after its name

	// The smallest limit of a client, and the largest that is used over UDP: what
	// fits into nearly every path without fragments.
	minPayload = 512
	maxPayload = 1232
	maxMessage = 65535
)

// Bits of the second word of the header.
const (
	bitQR      = 1 << 15
	bitAA      = 1 << 10
	bitTC      = 1 << 9
	bitRD      = 1 << 8
	bitRA      = 1 << 7
	bitCD      = 1 << 4
	opcodeBits = 15 << 11
	rcodeBits  = 15
)

// verdict is what parsing a message came to.
type verdict uint8

const (
	valid       verdict = iota
	ignored             // no query; nothing is answered
	malformed           // FORMERR
	unsupported         // NOTIMP
)

// asker is what a reply needs to know of its query.
type asker struct {
	id       uint16
	flags    uint16 // of the query's header
	question []byte // name as the client wrote it, type and class; nil where it has none
	edns     bool
	version  uint8 // of EDNS
	do       bool
	limit    int // bytes of the reply
}

// query is one question. It lives on the stack of Answer; the question is the
// client's and is borrowed.
type query struct {
	asker
	kind   uint16 // the type that is asked for
	class  uint16
	name   [maxName]byte // in wire form, lower case
	length int           // of name, with the last 0
	labels int
	starts [maxLabels + 1]uint8 // where each label begins, the empty one too

	offered int // bytes that the client takes over UDP, as its OPT record says
}

// key is the name in lower case.
func (q *query) key() []byte { return q.name[:q.length] }

// label is the i-th label, without its length.
func (q *query) label(i int) []byte {
	at := int(q.starts[i])
	return q.name[at+1 : at+1+int(q.name[at])]
}

// parse reads a message without the codec: most have one question and at most
// an OPT record, and what is stranger than that needs no answer but FORMERR. It
// keeps no more than the question, and allocates nothing. payload is the most that
// the network carries over UDP; a query that it has carried is no shorter than the
// question and the OPT record of a reply that is cut down.
func (q *query) parse(msg []byte, tcp bool, payload int) verdict {
	if len(msg) < headerLen || len(msg) > maxMessage {
		return ignored
	}
	q.id = binary.BigEndian.Uint16(msg)
	q.flags = binary.BigEndian.Uint16(msg[2:])
	if q.flags&bitQR != 0 {
		return ignored // an answer to nothing we asked; answering it might never end
	}
	q.limit = minPayload
	if tcp {
		q.limit = maxMessage
	}
	count := func(at int) int { return int(binary.BigEndian.Uint16(msg[at:])) }
	end, ok := 0, count(4) == 1 // RFC 9619: one question
	if ok {
		end, ok = q.parseQuestion(msg)
	}
	switch {
	case q.flags&opcodeBits != 0:
		return unsupported
	case !ok:
		return malformed
	case !q.parseRecords(msg, end, count(6)+count(8), count(10)):
		return malformed
	}
	if !tcp {
		q.limit = min(max(q.offered, minPayload), payload)
	}
	return valid
}

// parseQuestion returns where the question ends. A compressed name is refused:
// there is nothing before it that it could point at.
func (q *query) parseQuestion(msg []byte) (end int, ok bool) {
	at := headerLen
	for {
		if at >= len(msg) {
			return 0, false
		}
		n := int(msg[at])
		if n > maxLabel || at+1+n > len(msg) || q.length+1+n > maxName {
			return 0, false
		}
		q.starts[q.labels] = uint8(q.length)
		q.name[q.length] = byte(n)
		for i, c := range msg[at+1 : at+1+n] {
			q.name[q.length+1+i] = lower(c)
		}
		q.length += 1 + n
		at += 1 + n
		if n == 0 {
			break
		}
		q.labels++
	}
	if at+4 > len(msg) {
		return 0, false
	}
	q.kind = binary.BigEndian.Uint16(msg[at:])
	q.class = binary.BigEndian.Uint16(msg[at+2:])
	q.question = msg[headerLen : at+4]
	return at + 4, true
}

// parseRecords walks the records behind the question, of which only the OPT
// among the additional ones matters. There may be one (RFC 6891 clause 6.1.1).
func (q *query) parseRecords(msg []byte, at, others, additional int) bool {
	for i := range others + additional {
		root := at < len(msg) && msg[at] == 0
		fixed, ok := skipName(msg, at)
		if !ok || fixed+fixedRR > len(msg) {
			return false
		}
		at = fixed + fixedRR + int(binary.BigEndian.Uint16(msg[fixed+8:]))
		if at > len(msg) {
			return false
		}
		if i < others || binary.BigEndian.Uint16(msg[fixed:]) != wire.TypeOPT {
			continue
		}
		if q.edns || !root {
			return false
		}
		q.edns = true
		q.version = msg[fixed+5]
		q.do = msg[fixed+6]&0x80 != 0
		q.offered = int(binary.BigEndian.Uint16(msg[fixed+2:]))
	}
	return true
}

// skipName returns where the name at a place ends. It follows no pointer.
func skipName(msg []byte, at int) (end int, ok bool) {
	for at < len(msg) {
		switch n := int(msg[at]); {
		case n == 0:
			return at + 1, true
		case n <= maxLabel:
			at += 1 + n
		case n >= 0xc0: // a pointer ends a name
			return at + 2, at+2 <= len(msg)
		default:
			return 0, false
		}
	}
	return 0, false
}
