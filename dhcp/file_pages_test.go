package dhcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// addresses are those of records.
func addresses(records []Record) (all []netip.Addr) {
	for _, r := range records {
		all = append(all, r.Address)
	}
	return all
}

// soundFile is the content of a file with three networks, the first of which has
// pages of its own, and with free pages.
func soundFile(t testing.TB, records int) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.db")
	f, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	gone := addresses(fileRecords(records, records+records/4))
	for _, err := range []error{
		f.Commit("lan", fileRecords(0, records+records/4), nil),
		f.Commit("lan", nil, gone),
		f.Commit("dmz", fileRecords(0, 2), nil),
		f.Commit("dmz", fileRecords(2, 5), nil),
		f.Commit("one", fileRecords(0, 1), nil),
		f.Commit6("lan", fileRecords6(0, records/2), nil),
		f.Commit6("six", fileRecords6(0, 3), nil),
		f.Close(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSoundFilesPass(t *testing.T) {
	for _, records := range []int{0, 1, 30, 600, 30_000} {
		data := soundFile(t, records)
		if halved, err := checkPages(bytes.NewReader(data), int64(len(data))); err != nil || halved {
			t.Errorf("%d records: halved %v, %v", records, halved, err)
		}
	}
	// One whose list of free pages has its count in front, and one without list.
	path := filepath.Join(t.TempDir(), "free.db")
	for _, noSync := range []bool{false, true} {
		os.Remove(path)
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: noSync, PageSize: 1024, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		name := []byte("b")
		fill := func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket(name)
			for i := 0; err == nil && i < 67_000; i++ {
				err = b.Put(binary.BigEndian.AppendUint32(nil, uint32(i)), make([]byte, 900))
			}
			return err
		}
		for _, step := range []func(*bbolt.Tx) error{fill, func(tx *bbolt.Tx) error { return tx.DeleteBucket(name) }, func(*bbolt.Tx) error { return nil }} {
			if err := db.Update(step); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checkPages(file, info.Size()); err != nil {
			t.Errorf("without list %v: %v", noSync, err)
		}
		file.Close()
	}
}

// Each kind of damage is named, and nothing is changed on disk.
func TestDamagedFiles(t *testing.T) {
	sound := soundFile(t, 600)
	m, halved, err := readMeta(bytes.NewReader(sound))
	if err != nil || halved {
		t.Fatal(err)
	}
	size := int(m.pageSize)
	put := func(page uint64, at int, value any) func([]byte) []byte {
		return func(b []byte) []byte {
			if _, err := binary.Encode(b[int(page)*size+at:], binary.NativeEndian, value); err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	lan := bucketPage(t, sound, "lan")
	first := pageHeader // the first element
	leaf := binary.NativeEndian.Uint64(sound[int(lan)*size+first+8:])
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "it is empty"},
		{"zeros", func(b []byte) []byte { clear(b); return b }, "it does not begin like one"},
		{"text", func([]byte) []byte { return []byte("networks:\n") }, "it does not begin like one"},
		{"garbage", func(b []byte) []byte {
			r := rand.New(rand.NewPCG(1, 1))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}, "it does not begin like one"},
		{"half", func(b []byte) []byte { return b[:len(b)/2] }, "bytes and should have"},
		{"three pages", func(b []byte) []byte { return b[:3*size] }, "and should have"},
		{"ten bytes", func(b []byte) []byte { return b[:10] }, "it does not begin like one"},
		{"other page", put(lan, 0, uint64(5000)), fmt.Sprintf("page %d: it does not begin like one", lan)},
		{"kind", put(lan, 8, uint16(8)), "it is of kind 0x8"},
		{"count", put(lan, 10, uint16(60000)), "it has more elements than room"},
		{"no elements", put(lan, 10, uint16(0)), "it is empty"},
		{"an element less", put(lan, 10, binary.NativeEndian.Uint16(sound[int(lan)*size+10:])-1), "an element is not in its place"},
		{"a leaf without elements", put(leaf, 10, uint16(0)), "it is empty"},
		{"a leaf with one less", put(leaf, 10, binary.NativeEndian.Uint16(sound[int(leaf)*size+10:])-1), "an element is not in its place"},
		{"overflow", put(lan, 12, uint32(1<<31)), "it does not begin like one"},
		{"swallows others", put(lan, 12, uint32(2)), "is used twice"},
		{"circle", put(lan, first+8, lan), fmt.Sprintf("page %d is used twice", lan)},
		{"the head as a page", put(lan, first+8, uint64(1)), "it points to page 1"},
		{"outside", put(lan, first+8, uint64(1)<<60), "it points to page"},
		{"element outside", put(lan, first, uint32(1<<31)), "an element is not in its place"},
		{"element in the head", put(lan, first, uint32(0)), "an element is not in its place"},
		{"long key", put(lan, first+4, uint32(1<<31)), "an element is not in its place"},
		{"empty key", put(lan, first+4, uint32(0)), "an element is not in its place"},
		{"order", put(lan, int(binary.NativeEndian.Uint32(sound[int(lan)*size+first:]))+first, uint8(0xff)), "its keys are out of order"},
		{"free list's kind", put(m.freelist, 8, uint16(2)), "it is of kind 0x2"},
		{"free list's count", put(m.freelist, 10, uint16(60000)), "longer than its page"},
		{"in use and free", put(m.freelist, pageHeader, lan), fmt.Sprintf("it says that page %d is free, which is in use", lan)},
		{"twice free", put(m.freelist, pageHeader+8, binary.NativeEndian.Uint64(sound[int(m.freelist)*size+pageHeader:])), "which is in use"},
		{"a bucket without its element", func(b []byte) []byte {
			at := bytes.LastIndex(b, networkKey("one")) + len(networkKey("one"))
			clear(b[at+pageBucket+10 : at+pageBucket+12])
			return b
		}, "a bucket is longer than what is in it"},
		{"network's name of IPv6", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("six"), []byte("sex")) }, "is no network"},
		{"network's name", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("dmz"), []byte("dmx")) }, "is no network"},
	} {
		path := filepath.Join(t.TempDir(), "leases.db")
		data := tt.damage(slices.Clone(sound))
		writeFile(t, path, data)
		_, err := OpenFile(path)
		oneLine(t, err, path, tt.want)
		if !errors.Is(err, ErrCorrupt) || !strings.HasSuffix(err.Error(), "): move it away to start without leases: mv "+path+" "+path+".bad") {
			t.Errorf("%s: %v", tt.name, err)
		}
		if now := fileContent(t, path); !bytes.Equal(data, now) {
			t.Errorf("%s: the file was changed", tt.name)
		}
		// The remedy works.
		if err := os.Rename(path, path+".bad"); err != nil {
			t.Fatal(err)
		}
		closeFile(t, openTestFile(t, path))
	}
}

// bucketPage is the page at the root of a network's tree, a branch.
func bucketPage(t *testing.T, data []byte, network string) (page uint64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "leases.db")
	writeFile(t, path, data)
	f := openTestFile(t, path)
	defer f.Close()
	err := f.db.View(func(tx *bbolt.Tx) error {
		page = uint64(tx.Bucket(bucketNetworks).Bucket(networkKey(network)).Root())
		info, err := tx.Page(int(page))
		if err == nil && info.Type != "branch" {
			err = fmt.Errorf("page %d is a %s", page, info.Type)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// Where one of the two heads is damaged, the other holds; it is said, since the
// last commit may be gone.
func TestFileWithOneHead(t *testing.T) {
	sound := soundFile(t, 100)
	for _, page := range []int{0, 1} {
		path := filepath.Join(t.TempDir(), "leases.db")
		data := slices.Clone(sound)
		data[page*os.Getpagesize()+pageHeader+50] ^= 1
		writeFile(t, path, data)
		f := openTestFile(t, path)
		var log bytes.Buffer
		f.Log = slog.New(slog.NewTextHandler(&log, nil))
		got, err := f.Load("dmz")
		if err != nil || len(got) != 2 && len(got) != 5 {
			t.Errorf("head %d: %d records, %v", page, len(got), err)
		}
		commit(t, f, "dmz", fileRecords(0, 7))
		wantRecords(t, f, "dmz", fileRecords(0, 7))
		wantRecords(t, f, "lan", fileRecords(0, 100))
		if strings.Count(log.String(), "one of the two headers of the lease file is damaged") != 1 {
			t.Errorf("head %d: log %q", page, log.String())
		}
		closeFile(t, f)
	}
}

// wreck changes a file at random: bits, a piece of it, its length.
func wreck(r *rand.Rand, data []byte) []byte {
	data = slices.Clone(data)
	switch r.IntN(8) {
	case 0:
		return data[:r.IntN(len(data))]
	case 1, 2: // a piece
		at, n := r.IntN(len(data)), 1+r.IntN(4096)
		for i := at; i < min(at+n, len(data)); i++ {
			data[i] = byte(r.Uint32())
		}
	case 3: // a page by another
		from, to := r.IntN(len(data)/4096), r.IntN(len(data)/4096)
		copy(data[to*4096:(to+1)*4096], data[from*4096:])
	case 4: // numbers at the front of a page
		at := r.IntN(len(data)/4096)*4096 + r.IntN(96)
		data[at] ^= 1 << r.IntN(8)
	default:
		for range 1 + r.IntN(3) {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
	}
	return data
}

// However a file is wrecked: it is refused and left as it is, or it works, and
// then whatever is missing was said to be.
func TestWreckedFiles(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	path := filepath.Join(t.TempDir(), "leases.db")
	refused, worked := 0, 0
	for _, size := range []struct{ records, rounds int }{{600, 200}, {20_000, 4}} {
		sound, want := soundFile(t, size.records), fileRecords(0, size.records)
		for i := range size.rounds {
			data := wreck(r, sound)
			writeFile(t, path, data)
			f, err := OpenFile(path)
			if err != nil {
				refused++
				if got := fileContent(t, path); !errors.Is(err, ErrCorrupt) && !errors.Is(err, errNotOurs) && !strings.Contains(err.Error(), "is of version") || !bytes.Equal(got, data) {
					t.Fatalf("round %d: %v; the file is changed: %v", i, err, !bytes.Equal(got, data))
				}
				continue
			}
			worked++
			useWrecked(t, f, path, want)
			if t.Failed() {
				t.Fatalf("round %d", i)
			}
		}
	}
	if refused < 20 || worked < 20 {
		t.Errorf("%d refused, %d worked", refused, worked)
	}
}

func useWrecked(t *testing.T, f *File, path string, want []Record) {
	t.Helper()
	var log bytes.Buffer
	f.Log = slog.New(slog.NewTextHandler(&log, nil))
	got, err := f.Load("lan")
	if err != nil {
		t.Error(err)
	}
	if len(got) != len(want) && log.Len() == 0 {
		t.Errorf("%d of %d records, and nothing was said", len(got), len(want))
	}
	for _, r := range got {
		i := int(r.Address.As4()[2])<<8 | int(r.Address.As4()[3])
		if i >= len(want) || r.Hostname != want[i].Hostname || r.MAC != want[i].MAC {
			if log.Len() == 0 { // else an earlier state
				t.Errorf("%+v was never stored", r)
			}
		}
	}
	six, err := f.Load6("lan")
	if err != nil || len(six) != len(want)/2 && log.Len() == 0 {
		t.Errorf("%d of %d records of IPv6, and nothing was said: %v", len(six), len(want)/2, err)
	}
	// All of it is written anew, which uses all that the file says is free.
	commit(t, f, "lan", want)
	for i := range 20 {
		commit(t, f, "dmz", fileRecords(0, 2*i))
		commit6(t, f, "dmz", fileRecords6(0, 2*i))
		commit(t, f, "lan", want[i:i+1])
	}
	closeFile(t, f)
	f = openTestFile(t, path)
	defer f.Close()
	f.Log = slog.New(slog.DiscardHandler)
	again, err := f.Load("lan")
	if err != nil || len(again) < len(want) {
		t.Errorf("%d records, %v", len(again), err)
	}
}

// Who cuts the file under a running weft gets an error for it, not the end of
// all networks.
func TestFileCutWhileOpen(t *testing.T) {
	for _, size := range []int64{0, 4096, 8192, 40_960} {
		path := filepath.Join(t.TempDir(), "leases.db")
		writeFile(t, path, soundFile(t, 600))
		f := openTestFile(t, path)
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		var err error
		for i := 0; err == nil && i < 100; i++ {
			err = f.Commit("lan", fileRecords(0, 600), nil)
		}
		oneLine(t, err, path, "is damaged")
		if err := f.Commit("lan", fileRecords(0, 1), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d: then %v", size, err)
		}
		if _, err := f.Load("lan"); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d: load: %v", size, err)
		}
		closeFile(t, f)
		if _, err := OpenFile(path); !errors.Is(err, ErrCorrupt) { // not locked
			t.Errorf("cut to %d: open: %v", size, err)
		}
	}
}

// Whatever is in a file, reading it ends, within its own size of memory.
func FuzzCheckPages(f *testing.F) {
	sound := soundFile(f, 40)
	f.Add(sound[:8*4096], uint32(0), uint64(0))
	f.Add(sound[:8*4096], uint32(4*4096), uint64(1))
	f.Fuzz(func(t *testing.T, data []byte, at uint32, value uint64) {
		if len(data) > 1<<20 {
			return
		}
		data = slices.Clone(data)
		if len(data) > 8 {
			i := int(at) % (len(data) - 8)
			binary.NativeEndian.PutUint64(data[i:], binary.NativeEndian.Uint64(data[i:])^value)
		}
		checkPages(bytes.NewReader(data), int64(len(data)))
	})
}
