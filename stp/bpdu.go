package stp

import "encoding/binary"

// BPDU types (9.3) and the lengths that they need.
const (
	typeConfig = 0x00
	typeRST    = 0x02
	typeTCN    = 0x80

	lenConfig = 35
	lenRST    = 36
	lenTCN    = 4

	versionRST = 2
)

// Flags (9.3.3). A Configuration BPDU knows the first and the last one only.
const (
	flagTC         = 0x01
	flagProposal   = 0x02
	flagRole       = 0x0c
	flagLearning   = 0x10
	flagForwarding = 0x20
	flagAgreement  = 0x40
	flagTCAck      = 0x80

	flagRoleAlternate  = 0x04 // or Backup
	flagRoleRoot       = 0x08
	flagRoleDesignated = 0x0c
)

// message is a BPDU. A TCN has none but its kind.
type message struct {
	kind   uint8 // BPDU type
	flags  uint8
	vector vector
	times  times
}

// decode checks a BPDU as 9.3.4 says and reads it. A version above ours is read
// as ours (9.3.4). The message age of an RST BPDU may be anything: what is too
// old takes the place of what the port knew, and ages at once.
func decode(b []byte) (m message, ok bool) {
	if len(b) < lenTCN || b[0] != 0 || b[1] != 0 {
		return m, false
	}
	m.kind = b[3]
	switch {
	case m.kind == typeTCN:
		return m, true
	case m.kind == typeConfig && len(b) >= lenConfig:
		m.parameters(b)
		// Also where a role is: such a bridge knows only designated ones.
		m.flags = m.flags&(flagTC|flagTCAck) | flagRoleDesignated
		return m, binary.BigEndian.Uint16(b[27:]) < binary.BigEndian.Uint16(b[29:])
	case m.kind == typeRST && b[2] >= versionRST && len(b) >= lenRST:
		m.parameters(b)
		if m.flags&flagRole == 0 {
			// Role unknown: to be taken for a Configuration BPDU (9.2.9).
			m.flags = m.flags&flagTC | flagRoleDesignated
		}
		return m, true
	}
	return m, false
}

// parameters reads what Configuration and RST BPDUs have in common. A timer out
// of range is moved into it rather than refused: to go deaf for a neighbour
// because of its timers would make the loop that it could have cut.
func (m *message) parameters(b []byte) {
	m.flags = b[4]
	m.vector = vector{
		root:   BridgeID(binary.BigEndian.Uint64(b[5:])),
		cost:   binary.BigEndian.Uint32(b[13:]),
		bridge: BridgeID(binary.BigEndian.Uint64(b[17:])),
		port:   binary.BigEndian.Uint16(b[25:]),
	}
	m.times = times{
		messageAge:   wholeSeconds(b[27:]),
		maxAge:       clamp(wholeSeconds(b[29:]), minAge, maxAge),
		hello:        clamp(wholeSeconds(b[31:]), minHello, maxHello),
		forwardDelay: clamp(wholeSeconds(b[33:]), minDelay, maxDelay),
	}
}

// wholeSeconds reads a time in units of 1/256 s (9.2.8), rounded to the nearest
// second. An STP bridge adds its own delay to the message age; in fractions,
// that would make every hello a change.
func wholeSeconds(b []byte) uint16 {
	return uint16((uint32(binary.BigEndian.Uint16(b)) + 128) >> 8)
}

// encode is the inverse of decode.
func (m *message) encode() []byte {
	if m.kind == typeTCN {
		return []byte{0, 0, 0, typeTCN}
	}
	version := byte(0)
	if m.kind == typeRST {
		version = versionRST
	}
	b := append(make([]byte, 0, lenRST), 0, 0, version, m.kind, m.flags)
	b = binary.BigEndian.AppendUint64(b, uint64(m.vector.root))
	b = binary.BigEndian.AppendUint32(b, m.vector.cost)
	b = binary.BigEndian.AppendUint64(b, uint64(m.vector.bridge))
	b = binary.BigEndian.AppendUint16(b, m.vector.port)
	for _, s := range [...]uint16{m.times.messageAge, m.times.maxAge, m.times.hello, m.times.forwardDelay} {
		b = binary.BigEndian.AppendUint16(b, s<<8)
	}
	if m.kind == typeRST {
		b = append(b, 0) // Version 1 Length
	}
	return b
}

// role returns the port role flags.
func (m *message) role() uint8 { return m.flags & flagRole }

func (m *message) has(flag uint8) bool { return m.flags&flag != 0 }
