package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	wire "github.com/miekg/dns"
)

// udpBuffer is what an upstream may send over UDP. We offer maxPayload; some send
// more all the same.
const udpBuffer = 4096

var errStrange = errors.New("the answer is to another question")

// exchange asks one upstream one question: over UDP, without EDNS where that is too
// much for it (RFC 6891 clause 6.2.2), and over TCP where the answer is cut short.
// Whatever the upstream says is an answer, also that it cannot help; an error is
// silence or nonsense.
func (f *forwarder) exchange(ctx context.Context, u *upstream, q question) (*entry, error) {
	edns := true
	msg, err := f.roundTrip(ctx, "udp", u, q, edns)
	if err == nil && (rcodeOf(msg) == wire.RcodeFormatError || rcodeOf(msg) == wire.RcodeNotImplemented) {
		edns = false
		msg, err = f.roundTrip(ctx, "udp", u, q, edns)
	}
	if err == nil && msg[2]&(bitTC>>8) != 0 {
		msg, err = f.roundTrip(ctx, "tcp", u, q, edns)
		if err == nil && msg[2]&(bitTC>>8) != 0 {
			err = errors.New("the answer is cut short over TCP")
		}
	}
	if err != nil {
		return nil, err
	}
	return readAnswer(msg, q, f.env.Now())
}

func rcodeOf(msg []byte) int { return int(msg[3] & rcodeBits) }

// roundTrip sends a query from a socket of its own and returns the answer to it.
func (f *forwarder) roundTrip(ctx context.Context, network string, u *upstream, q question, edns bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, f.attempt)
	defer cancel()
	conn, err := f.env.Dial(ctx, network, u.addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	// The past as a deadline wakes whoever reads or writes.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	id := uint16(rand.Uint32()) // of the runtime's cryptographic generator
	msg := appendQuery(make([]byte, 2, 512), id, q, edns)
	if network == "tcp" {
		binary.BigEndian.PutUint16(msg, uint16(len(msg)-2))
		return talkTCP(conn, msg, id, q)
	}
	return talkUDP(conn, msg[2:], id, q)
}

// talkUDP waits for the answer that has the id and the question. Others may be
// forged, and are no reason to give up (RFC 5452 clause 9.1).
func talkUDP(conn net.Conn, msg []byte, id uint16, q question) ([]byte, error) {
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	buf := make([]byte, udpBuffer)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(buf[:n], id, q) {
			return buf[:n], nil
		}
	}
}

// talkTCP is for a message with its length in front (RFC 1035 clause 4.2.2).
func talkTCP(conn net.Conn, msg []byte, id uint16, q question) ([]byte, error) {
	if _, err := conn.Write(msg); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	if !answers(answer, id, q) {
		return nil, errStrange
	}
	return answer, nil
}

// appendQuery writes a query that asks for recursion.
func appendQuery(b []byte, id uint16, q question, edns bool) []byte {
	flags := uint16(bitRD)
	if q.cd {
		flags |= bitCD
	}
	var additional byte
	if edns {
		additional = 1
	}
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = append(b, 0, 1, 0, 0, 0, 0, 0, additional)
	b = append(b, q.name...)
	b = binary.BigEndian.AppendUint16(b, q.kind)
	b = binary.BigEndian.AppendUint16(b, wire.ClassINET)
	if edns {
		b = appendOPT(b, 0, q.do)
	}
	return b
}

// answers reports whether a message answers a query: its id, and its question but
// for the case of letters. A server that did not understand may leave the
// question out, but only with an error.
func answers(msg []byte, id uint16, q question) bool {
	if len(msg) < headerLen || binary.BigEndian.Uint16(msg) != id {
		return false
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&bitQR == 0 || flags&opcodeBits != 0 {
		return false
	}
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
		code := rcodeOf(msg)
		return code != wire.RcodeSuccess && code != wire.RcodeNameError
	case 1:
		var got query
		_, ok := got.parseQuestion(msg)
		return ok && string(got.key()) == q.name && got.kind == q.kind && got.class == wire.ClassINET
	}
	return false
}

// badAnswer is the error for a message that is an answer, but none to believe.
func badAnswer(what string, err error) error {
	if err == nil {
		return fmt.Errorf("the answer has %s", what)
	}
	return fmt.Errorf("the answer has %s: %w", what, err)
}
