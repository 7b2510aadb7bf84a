package dhcp

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/weft/weft/dataplane/frame"
)

var sameRecords6 = append(cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}, sameRecords...)

// fileRecord6 is a record that differs from all others by number: an address, or
// every third a prefix.
func fileRecord6(i int) Record6 {
	r := fileRecord(i)
	a := netip.MustParseAddr("2001:db8::").As16()
	a[4], a[5], a[6] = byte(i>>16), byte(i>>8), byte(i)
	six := Record6{
		Prefix: netip.PrefixFrom(netip.AddrFrom16(a), 128), DUID: r.ClientID, IAID: uint32(i), MAC: r.MAC, Hostname: r.Hostname,
		Granted: r.Granted, Expires: r.Expires, Duration: r.Duration, State: r.State,
	}
	if i%3 == 2 {
		six.Prefix, six.Via = netip.PrefixFrom(netip.AddrFrom16(a), 56), netip.MustParseAddr("fe80::1")
	}
	return six
}

func fileRecords6(from, to int) (records []Record6) {
	for i := from; i < to; i++ {
		records = append(records, fileRecord6(i))
	}
	return records
}

func commit6(t *testing.T, f *File, network string, put []Record6, remove ...netip.Prefix) {
	t.Helper()
	if err := f.Commit6(network, put, remove); err != nil {
		t.Fatal(err)
	}
}

func wantRecords6(t *testing.T, f *File, network string, want []Record6) {
	t.Helper()
	got, err := f.Load6(network)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if diff := cmp.Diff(want, got, sameRecords6); diff != "" {
		t.Errorf("network %s: %s", network, diff)
	}
}

// TestFileOfBothFamilies: one file, and neither family sees the other's leases.
func TestFileOfBothFamilies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	odd := []Record6{
		{Prefix: netip.MustParsePrefix("2001:db8::/56"), State: Expired, Duration: Infinite, DUID: bytes.Repeat([]byte{0xff}, 130), IAID: 1<<32 - 1, Via: netip.MustParseAddr("fe80::ff")},
		{Prefix: netip.MustParsePrefix("2001:db8::/60"), State: Active, Hostname: strings.Repeat("x", 63), Granted: time.Unix(1<<40, 999_999_999)},
		{Prefix: netip.MustParsePrefix("2001:db8::/128"), State: Declined, MAC: frame.MAC{255, 255, 255, 255, 255, 255}, Expires: time.Unix(-5, 0)},
	}
	wantRecords6(t, f, "lan", nil)
	commit6(t, f, "lan", odd)
	commit6(t, f, "dmz", fileRecords6(0, 3))
	commit(t, f, "lan", fileRecords(0, 4))
	closeFile(t, f)
	f = openTestFile(t, path)
	wantRecords6(t, f, "lan", odd)
	wantRecords6(t, f, "dmz", fileRecords6(0, 3))
	wantRecords(t, f, "lan", fileRecords(0, 4))
	wantRecords(t, f, "dmz", nil)
	commit6(t, f, "lan", odd[:1], odd[1].Prefix, netip.MustParsePrefix("2001:db8:9::/48"))
	commit(t, f, "lan", nil, fileRecord(0).Address)
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	wantRecords6(t, f, "lan", []Record6{odd[0], odd[2]})
	wantRecords(t, f, "lan", fileRecords(1, 4))
}

// TestFileWithoutIPv6: a file from before works, and so does one of after for who
// knows IPv4 only: nothing of it has changed.
func TestFileWithoutIPv6(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	commit(t, f, "lan", fileRecords(0, 4))
	if err := f.db.View(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucketNetworks6) != nil {
			t.Error("the bucket is made before it is needed")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	wantRecords6(t, f, "lan", nil)
	commit6(t, f, "lan", fileRecords6(0, 4))
	wantRecords6(t, f, "lan", fileRecords6(0, 4))
	wantRecords(t, f, "lan", fileRecords(0, 4))
	if err := f.db.View(checkSchema); err != nil {
		t.Error(err)
	}
}

// TestFileWithoutBucket: what stands where the leases of IPv6 are to be is no reason to
// begin without them.
func TestFileWithoutBucket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	commit6(t, f, "lan", fileRecords6(0, 1))
	err := f.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketNetworks6).Put([]byte("lan"), []byte("x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	closeFile(t, f)
	_, err = OpenFile(path)
	oneLine(t, err, path, "is no network")
	if !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

func TestFileRefusesIPv6(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	defer f.Close()
	good := fileRecord6(0)
	for want, put := range map[string]Record6{
		"prefix invalid Prefix can not be stored":  {},
		"prefix 10.0.0.0/8 can not be stored":      {Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		"prefix 2001:db8::1/64 can not be stored":  {Prefix: netip.MustParsePrefix("2001:db8::1/64")},
		"leads over 10.0.0.1, which is no address": {Prefix: good.Prefix, Via: netip.MustParseAddr("10.0.0.1")},
		"the lease of 2001:db8::/128 has":          {Prefix: good.Prefix, DUID: make([]byte, recordLimit)},
	} {
		if err := f.Commit6("lan", []Record6{good, put}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if err := f.Commit6("lan", nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}); err == nil {
		t.Error("removed")
	}
	if err := f.Commit6("", nil, nil); err == nil {
		t.Error("without a network")
	}
	wantRecords6(t, f, "lan", nil)
}

// A record that the disk has changed is reported and left; the others load.
func TestFileWithBadRecord6(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	defer f.Close()
	commit6(t, f, "lan", fileRecords6(0, 3))
	var log bytes.Buffer
	f.Log = slog.New(slog.NewTextHandler(&log, nil))
	bad := fileRecord6(1)
	key, value, err := encodeRecord6(&bad)
	if err != nil {
		t.Fatal(err)
	}
	value[3] ^= 4
	err = f.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketNetworks6).Bucket(networkKey("lan"))
		return errors.Join(b.Put(key, value), b.Put([]byte("strange"), value))
	})
	if err != nil {
		t.Fatal(err)
	}
	wantRecords6(t, f, "lan", []Record6{fileRecord6(0), fileRecord6(2)})
	for _, want := range []string{"the record of 2001:db8:0:100::/128 does not fit its checksum", "is no prefix"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %q", log.String(), want)
		}
	}
}

func TestDecodeRecord6(t *testing.T) {
	r := fileRecord6(5)
	key, value, err := encodeRecord6(&r)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeRecord6(key, value); err != nil || !cmp.Equal(r, got, sameRecords6) {
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
		if got, err := decodeRecord6(k, v); err == nil {
			t.Errorf("bit %d: %+v", i, got)
		}
	}
	for n := range value {
		if _, err := decodeRecord6(key, value[:n]); err == nil {
			t.Errorf("%d bytes of %d", n, len(value))
		}
	}
	newer := slices.Clone(value)
	newer[0]++
	if _, err := decodeRecord6(key, newer); err == nil || !strings.Contains(err.Error(), "is of version 2; this weft knows version 1") {
		t.Errorf("version: %v", err)
	}
}

// Whatever a value with a good checksum holds, it is a record that is stored and loaded
// as it is, or an error.
func FuzzDecodeRecord6(f *testing.F) {
	for i := range 3 {
		r := fileRecord6(i)
		key, value, err := encodeRecord6(&r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(key, value[:len(value)-4])
	}
	f.Fuzz(func(t *testing.T, key, body []byte) {
		decodeRecord6(key, body)
		r, err := decodeRecord6(key, sealed(key, body))
		if err != nil {
			return
		}
		again, value, err := encodeRecord6(&r)
		if err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%x became %x: %v", key, again, err)
		}
		if got, err := decodeRecord6(again, value); err != nil || !cmp.Equal(r, got, sameRecords6) {
			t.Errorf("%+v became %+v: %v", r, got, err)
		}
	})
}
