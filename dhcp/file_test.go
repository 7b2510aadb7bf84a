package dhcp

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/weft/weft/dataplane/frame"
)

var sameRecords = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) && a.IsZero() == b.IsZero() }),
}

// fileRecord is a record that differs from all others by number.
func fileRecord(i int) Record {
	granted := time.Unix(1_700_000_000+int64(i), int64(i))
	return Record{
		Address:  netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
		MAC:      frame.MAC{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)},
		ClientID: []byte{1, 2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)},
		Hostname: fmt.Sprintf("host-%d", i),
		Granted:  granted, Expires: granted.Add(time.Hour), Duration: time.Hour,
		State: Active,
	}
}

func fileRecords(from, to int) []Record {
	var records []Record
	for i := from; i < to; i++ {
		records = append(records, fileRecord(i))
	}
	return records
}

func openTestFile(t *testing.T, path string) *File {
	t.Helper()
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeFile(t *testing.T, f *File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, f *File, network string, put []Record, remove ...netip.Addr) {
	t.Helper()
	if err := f.Commit(network, put, remove); err != nil {
		t.Fatal(err)
	}
}

// wantRecords compares what the file has for a network, in order of addresses.
func wantRecords(t *testing.T, f *File, network string, want []Record) {
	t.Helper()
	got, err := f.Load(network)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if diff := cmp.Diff(want, got, sameRecords); diff != "" {
		t.Errorf("network %s: %s", network, diff)
	}
}

func TestFileKeepsRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	wantRecords(t, f, "lan", nil)

	odd := []Record{
		{Address: netip.MustParseAddr("10.0.0.1"), State: Active, Duration: Infinite, Granted: time.Unix(1_700_000_000, 5)},
		{Address: netip.MustParseAddr("10.0.0.2"), State: Declined, Expires: time.Unix(-5, 0)},
		{Address: netip.MustParseAddr("10.0.0.3"), State: Expired, Hostname: strings.Repeat("x", 63), ClientID: bytes.Repeat([]byte{0xff}, 255), Duration: -1},
		{Address: netip.MustParseAddr("10.0.0.255"), State: Active, MAC: frame.MAC{255, 255, 255, 255, 255, 255}, Granted: time.Unix(1<<40, 999_999_999), ClientID: []byte{0}},
	}
	commit(t, f, "lan", odd)
	commit(t, f, "dmz", fileRecords(0, 3))
	closeFile(t, f)

	f = openTestFile(t, path)
	wantRecords(t, f, "lan", odd)
	wantRecords(t, f, "dmz", fileRecords(0, 3))
	wantRecords(t, f, "other", nil)

	// What is there is replaced, what is removed is gone, and both at once.
	renewed := fileRecord(1)
	renewed.Expires, renewed.State, renewed.Hostname = renewed.Expires.Add(time.Hour), Expired, ""
	commit(t, f, "dmz", []Record{renewed, fileRecord(7)}, fileRecord(0).Address, netip.MustParseAddr("10.9.9.9"))
	commit(t, f, "lan", nil, odd[0].Address, odd[1].Address, odd[2].Address, odd[3].Address)
	closeFile(t, f)

	f = openTestFile(t, path)
	defer f.Close()
	wantRecords(t, f, "lan", nil)
	wantRecords(t, f, "dmz", []Record{renewed, fileRecord(2), fileRecord(7)})
}

// Infinite and never are what the server compares with.
func TestFileKeepsForEver(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	defer f.Close()
	commit(t, f, "lan", []Record{{Address: netip.MustParseAddr("10.0.0.1"), State: Active, Duration: Infinite}})
	got, err := f.Load("lan")
	if err != nil || len(got) != 1 || got[0].Duration != Infinite || !got[0].Expires.IsZero() || got[0].ClientID != nil {
		t.Errorf("%+v %v", got, err)
	}
}

// It keeps nothing of its arguments, and what it returns is not the file's.
func TestFileSharesNothing(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	put := fileRecords(0, 1)
	commit(t, f, "lan", put)
	clear(put[0].ClientID)
	got, err := f.Load("lan")
	if err != nil {
		t.Fatal(err)
	}
	closeFile(t, f)
	// The file is not mapped any more: reading in it would be a fault.
	if diff := cmp.Diff(fileRecords(0, 1), got, sameRecords); diff != "" {
		t.Error(diff)
	}
}

func TestFileRefuses(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	defer f.Close()
	for _, tt := range []struct {
		network string
		put     []Record
		remove  []netip.Addr
		want    string
	}{
		{"", fileRecords(0, 1), nil, "is no name of a network"},
		{strings.Repeat("n", 256), fileRecords(0, 1), nil, "is no name of a network"},
		{"lan", append(fileRecords(0, 1), Record{}), nil, "address invalid IP can not be stored"},
		{"lan", fileRecords(0, 1), []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}, "can not be stored"},
		{"lan", append(fileRecords(0, 1), Record{Address: netip.MustParseAddr("10.0.0.9"), ClientID: make([]byte, recordLimit)}), nil, "the lease of 10.0.0.9 has"},
	} {
		if err := f.Commit(tt.network, tt.put, tt.remove); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("network %.10q: %v, want %q", tt.network, err, tt.want)
		}
	}
	wantRecords(t, f, "lan", nil) // all or nothing
}

func TestFileOfManyNetworks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	const networks, rounds = 6, 40
	var wg sync.WaitGroup
	for n := range networks {
		wg.Go(func() {
			name := fmt.Sprint("net", n)
			for i := range rounds {
				var gone []netip.Addr
				if i >= 10 {
					gone = []netip.Addr{fileRecord(i - 10 + 1000*n).Address}
				}
				if err := f.Commit(name, []Record{fileRecord(i + 1000*n)}, gone); err != nil {
					t.Error(err)
				}
				if got, err := f.Load(name); err != nil || len(got) != min(i+1, 10) {
					t.Errorf("%s: %d records after %d: %v", name, len(got), i, err)
				}
			}
		})
	}
	wg.Wait()
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	for n := range networks {
		wantRecords(t, f, fmt.Sprint("net", n), fileRecords(1000*n+rounds-10, 1000*n+rounds))
	}
}

// Calls that find another one writing share one transaction.
func TestFileWritesTogether(t *testing.T) {
	f := openTestFile(t, filepath.Join(t.TempDir(), "leases.db"))
	defer f.Close()
	commit(t, f, "net0", nil)
	before := transaction(t, f)
	f.writing.Lock()
	const calls = 8
	var wg sync.WaitGroup
	for n := range calls {
		wg.Go(func() {
			if err := f.Commit(fmt.Sprint("net", n), fileRecords(n, n+1), nil); err != nil {
				t.Error(err)
			}
		})
	}
	for queued := 0; queued < calls; time.Sleep(time.Millisecond) {
		f.queued.Lock()
		queued = len(f.queue)
		f.queued.Unlock()
	}
	f.writing.Unlock()
	wg.Wait()
	if after := transaction(t, f); after != before+1 {
		t.Errorf("%d calls took %d transactions", calls, after-before)
	}
	for n := range calls {
		wantRecords(t, f, fmt.Sprint("net", n), fileRecords(n, n+1))
	}
}

func transaction(t *testing.T, f *File) (id int) {
	t.Helper()
	if err := f.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}

// A record that the disk has changed is reported and left; the others load.
func TestFileWithBadRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	commit(t, f, "lan", fileRecords(0, 3))
	var log bytes.Buffer
	f.Log = slog.New(slog.NewTextHandler(&log, nil))
	bad := fileRecord(1)
	put := func(key, value []byte) {
		err := f.db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketNetworks).Bucket(networkKey("lan")).Put(key, value)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	_, value, err := encodeRecord(&bad)
	if err != nil {
		t.Fatal(err)
	}
	value[3] ^= 4
	put(bad.Address.AsSlice(), value)
	put([]byte("strange"), value)
	wantRecords(t, f, "lan", []Record{fileRecord(0), fileRecord(2)})
	for _, want := range []string{"the record of 10.0.0.1 does not fit its checksum", "is no address", "file=" + path, "network=lan"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %q lacks %q", log.String(), want)
		}
	}
	closeFile(t, f)
	f = openTestFile(t, path) // it is kept
	defer f.Close()
	f.Log = slog.New(slog.NewTextHandler(&log, nil))
	log.Reset()
	wantRecords(t, f, "lan", []Record{fileRecord(0), fileRecord(2)})
	if strings.Count(log.String(), "\n") != 2 {
		t.Errorf("log %q", log.String())
	}
	commit(t, f, "lan", []Record{bad})
	wantRecords(t, f, "lan", fileRecords(0, 3))
	// Many do not fill the log.
	for i := range 50 {
		put([]byte{9, byte(i)}, nil)
	}
	log.Reset()
	wantRecords(t, f, "lan", fileRecords(0, 3))
	if n := strings.Count(log.String(), "\n"); n != maxBadRecords+1 || !strings.Contains(log.String(), "leases=41") {
		t.Errorf("%d lines: %s", n, log.String())
	}
}

func TestFileOfManyRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	f := openTestFile(t, path)
	const all = 20_000
	order := rand.New(rand.NewPCG(1, 2)).Perm(all)
	for some := range slices.Chunk(order, 500) {
		var put []Record
		for _, i := range some {
			put = append(put, fileRecord(i))
		}
		commit(t, f, "lan", put)
	}
	var gone []netip.Addr
	for i := range all / 2 {
		gone = append(gone, fileRecord(i).Address)
	}
	commit(t, f, "lan", nil, gone...)
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	wantRecords(t, f, "lan", fileRecords(all/2, all))
}

func BenchmarkFileCommit(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint("records=", n), func(b *testing.B) {
			f, err := OpenFile(filepath.Join(b.TempDir(), "leases.db"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			if err := f.Commit("lan", fileRecords(0, 65536), nil); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				put := make([]Record, n)
				for j := range put {
					put[j] = fileRecord((i*n + j) * 40503 & 65535)
				}
				if err := f.Commit("lan", put, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
