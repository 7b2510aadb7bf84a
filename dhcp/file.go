package dhcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// ErrCorrupt is in the error of OpenFile for a file whose content is not what
// was written to it. The file is left as it is.
var ErrCorrupt = errors.New("is damaged")

// The buckets of a lease file: what it is, and two with a bucket of records for each
// network: of IPv4 and of IPv6. That of IPv6 is made when the first of its leases is
// written: files are older than it. A network that is no longer configured keeps its
// buckets.
var (
	bucketAbout     = []byte("weft")
	bucketNetworks  = []byte("networks")
	bucketNetworks6 = []byte("networks6")
	keySchema       = []byte("schema")
)

// schema is the version of the layout.
const schema = "1"

// growBytes is by how much a file grows at least.
const growBytes = 256 << 10

// maxBadRecords is how many records a Load reports one by one.
const maxBadRecords = 10

// File is a Store in one file. The file is locked while it is open. Its methods
// are safe for concurrent use, but none may be called after Close.
type File struct {
	// Log gets a line for every record that Load can not read; slog.Default
	// where it is nil. It is set before the first call.
	Log *slog.Logger

	path string
	file *os.File // the descriptor that db works with

	queued sync.Mutex
	queue  []*change

	writing sync.Mutex // held by who works on db
	db      *bbolt.DB
	broken  error // set when db is not to be touched any more
	halved  bool  // what was committed last may be missing; until it is logged
}

var _ Store = (*File)(nil)

// OpenFile opens a lease file, and makes it, and its folder, where there is
// none. The error is one line that names the file and what to do; a file that is
// damaged (ErrCorrupt), locked or not weft's is not changed. The caller closes
// the File.
func OpenFile(path string) (*File, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("lease file %s: %w", path, fileError(path, err))
	}
	return f, nil
}

func openFile(path string) (*File, error) {
	// 0700: who has which address is nobody else's business.
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err := makeFile(path); err != nil {
			return nil, err
		}
		file, err = os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		return nil, err
	}
	f := &File{path: path, file: file}
	if err := f.open(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// open locks the file, checks it and has bbolt work with it.
func (f *File) open() error {
	if err := lock(f.file); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNotRegular
	}
	if info.Size() == 0 {
		return damaged(errors.New("it is empty"))
	}
	if f.halved, err = checkPages(f.file, info.Size()); err != nil {
		return damaged(err)
	}
	err = f.guarded(func() (err error) {
		f.db, err = openBolt(f.path, func(string, int, os.FileMode) (*os.File, error) { return f.file, nil })
		return err
	})
	if err != nil {
		return err
	}
	return f.guarded(func() error { return f.db.View(checkSchema) })
}

// openBolt opens a database for what a lease file needs: the list of free pages
// is in the file, since bbolt would find it by following the whole file from a
// goroutine of its own, where no fault can be caught.
func openBolt(path string, open func(string, int, os.FileMode) (*os.File, error)) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      lockWait,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
		OpenFile:     open,
	})
	if err == nil {
		db.AllocSize = growBytes
	}
	return db, err
}

// makeFile makes an empty lease file. It appears under its name when it is
// whole: what is found there half written was not broken off here.
func makeFile(path string) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	name := temporary.Name()
	defer os.Remove(name)
	db, err := openBolt(name, func(string, int, os.FileMode) (*os.File, error) { return temporary, nil })
	if err != nil {
		return errors.Join(err, temporary.Close())
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketNetworks)
		if err != nil {
			return err
		}
		about, err := tx.CreateBucket(bucketAbout)
		if err != nil {
			return err
		}
		return about.Put(keySchema, []byte(schema))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	// A link never replaces a file that somebody else made meanwhile.
	if err := os.Link(name, path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFolder(path)
}

// syncFolder makes a new name durable.
func syncFolder(path string) error {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func checkSchema(tx *bbolt.Tx) error {
	about := tx.Bucket(bucketAbout)
	if about == nil || tx.Bucket(bucketNetworks) == nil {
		return errNotOurs
	}
	if got := about.Get(keySchema); string(got) != schema {
		return fmt.Errorf("is of version %.20q; this weft knows %q: run the weft that wrote it, or set lease_file", got, schema)
	}
	if key, value := tx.Cursor().Seek(bucketNetworks6); bytes.Equal(key, bucketNetworks6) && value != nil {
		return damaged(fmt.Errorf("%q is no bucket", key))
	}
	for _, family := range [][]byte{bucketNetworks, bucketNetworks6} {
		if b := tx.Bucket(family); b != nil {
			if err := checkNetworks(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkNetworks finds what is no bucket, or of another name: it would be a network
// without leases.
func checkNetworks(b *bbolt.Bucket) error {
	return b.ForEach(func(key, value []byte) error {
		if name := key[:max(0, len(key)-4)]; value != nil || !bytes.Equal(key, networkKey(string(name))) {
			return damaged(fmt.Errorf("%.40q is no network", key))
		}
		return nil
	})
}

// networkKey is the key of the bucket of a network: its name and the checksum of
// that.
func networkKey(network string) []byte {
	return binary.BigEndian.AppendUint32([]byte(network), recordSum([]byte(network), nil))
}

// guarded calls f, which works on the mapped file. Where somebody changes the
// file meanwhile, bbolt panics or reads beyond its end; both become an error, and
// the database is not touched again, since its locks may be held for ever.
func (f *File) guarded(call func() error) (err error) {
	if f.broken != nil {
		return f.broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			f.broken = damaged(fmt.Errorf("%v", p))
			err = f.broken
		}
	}()
	return call()
}

// Load returns the records of a network. One that can not be read is logged and
// left where it is, until the address is committed anew.
func (f *File) Load(network string) ([]Record, error) {
	return load(f, bucketNetworks, network, decodeRecord)
}

// Load6 is Load for the leases of IPv6.
func (f *File) Load6(network string) ([]Record6, error) {
	return load(f, bucketNetworks6, network, decodeRecord6)
}

func load[R any](f *File, family []byte, network string, decode func(key, value []byte) (R, error)) ([]R, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	var records []R
	var bad []error
	err := f.guarded(func() error {
		return f.db.View(func(tx *bbolt.Tx) error {
			networks := tx.Bucket(family)
			if networks == nil {
				return nil
			}
			if b := networks.Bucket(networkKey(network)); b != nil {
				records, bad = loadBucket(b, decode)
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("lease file %s: %w", f.path, fileError(f.path, err))
	}
	f.trim()
	f.report(network, bad)
	return records, nil
}

func loadBucket[R any](b *bbolt.Bucket, decode func(key, value []byte) (R, error)) (records []R, bad []error) {
	n, c := 0, b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		n++
	}
	records = make([]R, 0, n)
	for k, v := c.First(); k != nil; k, v = c.Next() {
		r, err := decode(k, v)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		records = append(records, r)
	}
	return records, bad
}

func (f *File) report(network string, bad []error) {
	log := f.Log
	if log == nil {
		log = slog.Default()
	}
	if f.halved {
		f.halved = false
		log.Warn("one of the two headers of the lease file is damaged: the leases that were given last may be missing", "file", f.path)
	}
	for i, err := range bad {
		if i == maxBadRecords {
			log.Warn("more leases can not be read: their addresses count as free", "network", network, "file", f.path, "leases", len(bad)-i)
			return
		}
		log.Warn("a lease can not be read: its address counts as free", "network", network, "file", f.path, "err", err)
	}
}

// Close closes the file and unlocks it. It waits for a Commit that is writing.
func (f *File) Close() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if f.db == nil || f.broken != nil {
		return errors.Join(unlock(f.file), f.file.Close())
	}
	return f.db.Close()
}
