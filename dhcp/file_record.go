package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net/netip"
	"slices"
	"time"
)

// A record in a lease file has the address as its key, so that a network's
// leases are in the order of their addresses, and as its value
//
//	version      1 byte   1
//	state        1 byte   State
//	MAC          6 bytes
//	granted      8 bytes  seconds since 1970, and 4 bytes of nanoseconds
//	expires      8 bytes  likewise; the zero time.Time: never
//	duration     8 bytes  nanoseconds; the highest: for ever
//	client id    its length as a varint, and its bytes
//	hostname     likewise
//	checksum     4 bytes  CRC-32C of key and what stands above
//
// with numbers in network byte order. The checksum tells a record that the disk
// has changed from one that was written so.
const (
	recordVersion = 1
	recordFixed   = 2 + 6 + 12 + 12 + 8
	recordLimit   = 4096 // bytes; a client's message is shorter
)

// recordKey returns the key of an address.
func recordKey(addr netip.Addr) ([]byte, error) {
	if !addr.IsValid() || addr.Zone() != "" {
		return nil, fmt.Errorf("address %s can not be stored", addr)
	}
	return addr.AsSlice(), nil
}

func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// encodeRecord returns key and value of a record.
func encodeRecord(r *Record) (key, value []byte, err error) {
	if key, err = recordKey(r.Address); err != nil {
		return nil, nil, err
	}
	v := make([]byte, 0, recordFixed+len(r.ClientID)+len(r.Hostname)+8)
	v = append(v, recordVersion, byte(r.State))
	v = append(v, r.MAC[:]...)
	v = appendTime(v, r.Granted)
	v = appendTime(v, r.Expires)
	v = binary.BigEndian.AppendUint64(v, uint64(r.Duration))
	v = appendText(v, r.ClientID)
	v, err = seal(key, appendText(v, r.Hostname))
	if err != nil {
		return nil, nil, fmt.Errorf("the lease of %s %w", r.Address, err)
	}
	return key, v, nil
}

// seal appends the checksum.
func seal(key, v []byte) ([]byte, error) {
	v = binary.BigEndian.AppendUint32(v, recordSum(key, v))
	if len(v) > recordLimit {
		return nil, fmt.Errorf("has %d bytes: at most %d", len(v), recordLimit)
	}
	return v, nil
}

func recordSum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Update(0, table, key), table, value)
}

// decodeRecord reads what encodeRecord wrote. The record keeps nothing of key
// and value.
func decodeRecord(key, value []byte) (Record, error) {
	addr, ok := netip.AddrFromSlice(key)
	if !ok {
		return Record{}, fmt.Errorf("the key %.16x is no address", key)
	}
	r, err := decodeValue(key, value)
	if err != nil {
		return Record{}, fmt.Errorf("the record of %s %w", addr, err)
	}
	r.Address = addr
	return r, nil
}

// bodyOf returns a value without its checksum, which is checked. At the front of
// every record, of either family, is its version and its state; fixed is how long
// it is before its texts.
func bodyOf(key, value []byte, fixed int) (body []byte, err error) {
	switch {
	case len(value) < fixed+2+4 || len(value) > recordLimit:
		return nil, fmt.Errorf("has %d bytes", len(value))
	case value[0] != recordVersion:
		return nil, fmt.Errorf("is of version %d; this weft knows version %d", value[0], recordVersion)
	}
	body = value[:len(value)-4]
	if binary.BigEndian.Uint32(value[len(body):]) != recordSum(key, body) {
		return nil, errors.New("does not fit its checksum")
	}
	if s := State(body[1]); s != Active && s != Expired && s != Declined {
		return nil, fmt.Errorf("is in state %d, which is none", body[1])
	}
	return body, nil
}

// cutTexts reads the two texts at the end of a record.
func cutTexts(b []byte) (id []byte, name string, err error) {
	id, rest, ok := cutText(b)
	last, rest, good := cutText(rest)
	if !ok || !good || len(rest) > 0 {
		return nil, "", errors.New("ends in the wrong place")
	}
	if len(id) > 0 {
		return slices.Clone(id), string(last), nil
	}
	return nil, string(last), nil
}

func decodeValue(key, value []byte) (r Record, err error) {
	body, err := bodyOf(key, value, recordFixed)
	if err != nil {
		return r, err
	}
	r.State = State(body[1])
	copy(r.MAC[:], body[2:8])
	r.Granted, r.Expires = readTime(body[8:20]), readTime(body[20:32])
	r.Duration = time.Duration(binary.BigEndian.Uint64(body[32:40]))
	r.ClientID, r.Hostname, err = cutTexts(body[recordFixed:])
	return r, err
}

// readTime reads a time. A wild number of nanoseconds is not carried over, so
// that no two encodings are the same time.
func readTime(b []byte) time.Time {
	nanos := min(binary.BigEndian.Uint32(b[8:]), 999_999_999)
	t := time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nanos))
	if t.IsZero() {
		return time.Time{}
	}
	return t
}

// cutText takes what appendText appended off the front of b.
func cutText(b []byte) (text, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	b = b[used:]
	return b[:n], b[n:], true
}
