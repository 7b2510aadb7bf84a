package dhcp

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeRecord(t *testing.T) {
	r := fileRecord(5)
	key, value, err := encodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeRecord(key, value); err != nil || !cmp.Equal(r, got, sameRecords) {
		t.Errorf("%+v %v", got, err)
	}
	// No bit of key and value can change unnoticed.
	for i := range len(key)*8 + len(value)*8 {
		k, v := slices.Clone(key), slices.Clone(value)
		if i < len(key)*8 {
			k[i/8] ^= 1 << (i % 8)
		} else {
			j := i - len(key)*8
			v[j/8] ^= 1 << (j % 8)
		}
		if got, err := decodeRecord(k, v); err == nil {
			t.Errorf("bit %d: %+v", i, got)
		}
	}
	for n := range value {
		if _, err := decodeRecord(key, value[:n]); err == nil {
			t.Errorf("%d bytes of %d", n, len(value))
		}
	}
	if _, err := decodeRecord(key, append(slices.Clone(value), 0)); err == nil {
		t.Error("a byte too many")
	}
	newer := slices.Clone(value)
	newer[0]++
	if _, err := decodeRecord(key, newer); err == nil || !strings.Contains(err.Error(), "is of version 2; this weft knows version 1") {
		t.Errorf("version: %v", err)
	}
}

// sealed gives body the checksum that it should have.
func sealed(key, body []byte) []byte {
	sum := recordSum(key, body)
	return append(slices.Clone(body), byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
}

// A value with a good checksum was not written by this weft perhaps: whatever it
// holds, it is a record that is stored and loaded as it is, or an error.
func FuzzDecodeRecord(f *testing.F) {
	for i := range 3 {
		r := fileRecord(i)
		key, value, err := encodeRecord(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, value[:len(value)-4])
	}
	f.Add([]byte{10, 0, 0, 1}, []byte{1, 1})
	f.Fuzz(func(t *testing.T, key, body []byte) {
		decodeRecord(key, body)
		r, err := decodeRecord(key, sealed(key, body))
		if err != nil {
			return
		}
		again, value, err := encodeRecord(&r)
		if err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%x became %x: %v", key, again, err)
		}
		if got, err := decodeRecord(again, value); err != nil || !cmp.Equal(r, got, sameRecords) {
			t.Errorf("%+v became %+v: %v", r, got, err)
		}
	})
}
