package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A record of IPv6 has as its key the 16 bytes of the prefix and its length, and as
// its value
//
//	version      1 byte   1
//	state        1 byte   State
//	MAC          6 bytes
//	granted      8 bytes  seconds since 1970, and 4 bytes of nanoseconds
//	expires      8 bytes  likewise; the zero time.Time: never
//	duration     8 bytes  nanoseconds; the highest: for ever
//	IAID         4 bytes
//	via          16 bytes all zero: none
//	DUID         its length as a varint, and its bytes
//	hostname     likewise
//	checksum     4 bytes  CRC-32C of key and what stands above
//
// with numbers in network byte order.
const (
	recordFixed6 = recordFixed + 4 + 16
	keyLen6      = 16 + 1
)

// recordKey6 returns the key of a prefix.
func recordKey6(p netip.Prefix) ([]byte, error) {
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || p != p.Masked() {
		return nil, fmt.Errorf("prefix %s can not be stored", p)
	}
	return append(p.Addr().AsSlice(), byte(p.Bits())), nil
}

// encodeRecord6 returns key and value of a record.
func encodeRecord6(r *Record6) (key, value []byte, err error) {
	if key, err = recordKey6(r.Prefix); err != nil {
		return nil, nil, err
	}
	v := make([]byte, 0, recordFixed6+len(r.DUID)+len(r.Hostname)+8)
	v = append(v, recordVersion, byte(r.State))
	v = append(v, r.MAC[:]...)
	v = appendTime(v, r.Granted)
	v = appendTime(v, r.Expires)
	v = binary.BigEndian.AppendUint64(v, uint64(r.Duration))
	v = binary.BigEndian.AppendUint32(v, r.IAID)
	via := r.Via
	switch {
	case !via.IsValid():
		via = netip.IPv6Unspecified()
	case !via.Is6() || via.Is4In6():
		return nil, nil, fmt.Errorf("the lease of %s leads over %s, which is no address of IPv6", r.Prefix, via)
	}
	b := via.As16()
	v = append(v, b[:]...)
	v = appendText(v, r.DUID)
	v, err = seal(key, appendText(v, r.Hostname))
	if err != nil {
		return nil, nil, fmt.Errorf("the lease of %s %w", r.Prefix, err)
	}
	return key, v, nil
}

// decodeRecord6 reads what encodeRecord6 wrote. The record keeps nothing of key
// and value.
func decodeRecord6(key, value []byte) (Record6, error) {
	if len(key) != keyLen6 {
		return Record6{}, fmt.Errorf("the key %.17x is no prefix", key)
	}
	p := netip.PrefixFrom(netip.AddrFrom16([16]byte(key)), int(key[16]))
	if _, err := recordKey6(p); err != nil {
		return Record6{}, fmt.Errorf("the key %x is no prefix", key)
	}
	r, err := decodeValue6(key, value)
	if err != nil {
		return Record6{}, fmt.Errorf("the record of %s %w", p, err)
	}
	r.Prefix = p
	return r, nil
}

func decodeValue6(key, value []byte) (r Record6, err error) {
	body, err := bodyOf(key, value, recordFixed6)
	if err != nil {
		return r, err
	}
	r.State = State(body[1])
	copy(r.MAC[:], body[2:8])
	r.Granted, r.Expires = readTime(body[8:20]), readTime(body[20:32])
	r.Duration = time.Duration(binary.BigEndian.Uint64(body[32:40]))
	r.IAID = binary.BigEndian.Uint32(body[40:44])
	if via := netip.AddrFrom16([16]byte(body[44:60])); via.Is4In6() {
		return r, errors.New("leads over an address that is none of IPv6")
	} else if !via.IsUnspecified() {
		r.Via = via
	}
	r.DUID, r.Hostname, err = cutTexts(body[recordFixed6:])
	return r, err
}
