package dns

import (
	"encoding/binary"

	wire "github.com/miekg/dns"
)

const (
	optLen = 11 // of an OPT record without options

	// toQuestion is a compressed name: that of the question, which always stands
	// at the same place.
	toQuestion = 0xc000 | headerLen
)

// begin starts a reply with room for n bytes of records.
func (a *asker) begin(flags uint16, rcode, n int) []byte {
	b := make([]byte, headerLen, headerLen+len(a.question)+n+optLen)
	binary.BigEndian.PutUint16(b, a.id)
	// Opcode, RD and CD are the client's (RFC 1035 clause 4.1.1, RFC 4035 clause
	// 3.2.2); recursion is available, as far as any resolver of a network says so.
	flags |= bitQR | bitRA | a.flags&(opcodeBits|bitRD|bitCD) | uint16(rcode&rcodeBits)
	binary.BigEndian.PutUint16(b[2:], flags)
	if a.question != nil {
		b[5] = 1
	}
	return append(b, a.question...)
}

// finish completes a reply: counts, but for what is additional and fits, and an
// OPT record where the client sent one.
// What is too long for the client is cut down to the question and a TC bit:
// part of an answer would be of no use to it (RFC 2181 clause 9).
func (a *asker) finish(b []byte, rcode int, answers, authority uint16) []byte {
	size := len(b)
	if a.edns {
		size += optLen
	}
	if size > a.limit {
		b = b[:headerLen+len(a.question)]
		b[2] |= bitTC >> 8
		answers, authority = 0, 0
	}
	binary.BigEndian.PutUint16(b[6:], answers)
	binary.BigEndian.PutUint16(b[8:], authority)
	if a.edns {
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
		b = appendOPT(b, rcode, a.do)
	}
	return b
}

// status is a reply without records.
func (a *asker) status(rcode int) []byte {
	return a.finish(a.begin(0, rcode, 0), rcode, 0, 0)
}

// appendOPT says what we can take (RFC 6891 clause 6.1.2), with the upper bits of
// the rcode, and the DO bit as it was asked (RFC 3225 clause 3).
func appendOPT(b []byte, rcode int, do bool) []byte {
	var flags byte
	if do {
		flags = 0x80
	}
	return append(b, 0, 0, byte(wire.TypeOPT), maxPayload>>8, maxPayload&255, byte(rcode>>4), 0, flags, 0, 0, 0)
}

// appendRecord adds a record of class IN whose name stands elsewhere in the
// message.
func appendRecord(b []byte, name, kind uint16, ttl uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, name)
	return appendAfterName(b, kind, ttl, data)
}

func appendAfterName(b []byte, kind uint16, ttl uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, wire.ClassINET)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}
