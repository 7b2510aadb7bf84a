package dhcp

import (
	"fmt"
	"net/netip"

	"go.etcd.io/bbolt"
)

// change is one call of Commit or Commit6.
type change struct {
	family  []byte // bucketNetworks or bucketNetworks6
	network []byte
	put     [][2][]byte // key and value
	remove  [][]byte
	done    bool // guarded by File.writing, like err
	err     error
}

// Commit writes and removes records of a network. Calls that come while another
// one is writing are written together: a transaction costs two waits for the
// disk, however many records it has.
func (f *File) Commit(network string, put []Record, remove []netip.Addr) error {
	c, err := newChange(bucketNetworks, network, put, encodeRecord, remove, recordKey)
	return f.commit(c, err)
}

// Commit6 is Commit for the leases of IPv6.
func (f *File) Commit6(network string, put []Record6, remove []netip.Prefix) error {
	c, err := newChange(bucketNetworks6, network, put, encodeRecord6, remove, recordKey6)
	return f.commit(c, err)
}

func (f *File) commit(c *change, err error) error {
	if err == nil {
		f.queued.Lock()
		f.queue = append(f.queue, c)
		f.queued.Unlock()
		err = f.await(c)
	}
	if err != nil {
		return fmt.Errorf("lease file %s: %w", f.path, fileError(f.path, err))
	}
	return nil
}

// await writes all that is queued, unless somebody who was faster has written c.
func (f *File) await(c *change) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if c.done {
		return c.err
	}
	f.queued.Lock()
	queue := f.queue
	f.queue = nil
	f.queued.Unlock()
	err := f.guarded(func() error {
		return f.db.Update(func(tx *bbolt.Tx) error {
			for _, c := range queue {
				if err := c.apply(tx); err != nil {
					return err
				}
			}
			return nil
		})
	})
	for _, c := range queue {
		c.done, c.err = true, err
	}
	return err
}

func newChange[R, A any](family []byte, network string, put []R, encode func(*R) (key, value []byte, err error), remove []A, keyOf func(A) ([]byte, error)) (*change, error) {
	if network == "" || len(network) > 255 {
		return nil, fmt.Errorf("%.20q is no name of a network", network)
	}
	c := &change{family: family, network: networkKey(network), put: make([][2][]byte, len(put)), remove: make([][]byte, len(remove))}
	for i := range put {
		key, value, err := encode(&put[i])
		if err != nil {
			return nil, err
		}
		c.put[i] = [2][]byte{key, value}
	}
	for i, what := range remove {
		key, err := keyOf(what)
		if err != nil {
			return nil, err
		}
		c.remove[i] = key
	}
	return c, nil
}

func (c *change) apply(tx *bbolt.Tx) error {
	networks, err := tx.CreateBucketIfNotExists(c.family)
	if err != nil {
		return err
	}
	b, err := networks.CreateBucketIfNotExists(c.network)
	if err != nil {
		return err
	}
	for _, key := range c.remove {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	for _, record := range c.put {
		if err := b.Put(record[0], record[1]); err != nil {
			return err
		}
	}
	return nil
}
