package dhcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
)

// bbolt trusts its file: it maps it and follows the numbers in it. A wrong one
// ends the process by a fault that no recover catches, sends it round in circles,
// or gives away a page that is in use. So a file is read once before bbolt gets
// it, and whatever bbolt would follow is checked: every page that is reached is
// in the file and reached once, every element is inside its page, keys are in
// order, and what is free is not in use.
//
// The layout is that of bbolt's version 2, in the byte order of the machine.
const (
	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	pageElement  = 16 // branch: pos 4, ksize 4, page 8; leaf: flags 4, pos 4, ksize 4, vsize 4
	pageBucket   = 16 // root 8, sequence 8
	pageMetaSize = 64
	maxPageSize  = 65536
	pageDepth    = 64 // of trees and of buckets in buckets; a sound file has 6

	flagBranch, flagLeaf, flagFreelist = 0x01, 0x02, 0x10
	flagBucket                         = 0x01 // of a leaf's element

	metaMagic, metaVersion = 0xED0CDAED, 2
	noFreelist             = math.MaxUint64
)

// pageMeta is what a meta page says.
type pageMeta struct {
	pageSize                int64
	root, freelist, end, tx uint64
}

// pageChecker walks a file.
type pageChecker struct {
	file io.ReaderAt
	meta pageMeta
	used []bool // by page
	last uint64 // page that was read last
}

// checkPages reports what is wrong with a file of size bytes. A file is sound
// with one of its two meta pages, but may be what it was one transaction earlier;
// halved is that.
func checkPages(file io.ReaderAt, size int64) (halved bool, err error) {
	meta, halved, err := readMeta(file)
	if err != nil {
		return false, err
	}
	// In this order, so that a wild number does not make a big product.
	if meta.end < 4 || meta.end > uint64(size/meta.pageSize) {
		return false, fmt.Errorf("it has %d bytes and should have %d pages of %d", size, meta.end, meta.pageSize)
	}
	c := pageChecker{file: file, meta: meta, used: make([]bool, meta.end)}
	c.used[0], c.used[1] = true, true
	err = c.tree(meta.root, nil, nil, 0)
	if err == nil {
		err = c.free()
	}
	if err != nil {
		return false, fmt.Errorf("page %d: %w", c.last, err)
	}
	return halved, nil
}

// readMeta reads the meta page that counts: the newer one of the two, or the one
// that is sound, and whether the other is not.
func readMeta(file io.ReaderAt) (m pageMeta, halved bool, err error) {
	first, ok, err := metaAt(file, 0)
	if err != nil {
		return m, false, err
	}
	if ok {
		second, ok, err := metaAt(file, first.pageSize)
		if ok && second.pageSize == first.pageSize && second.tx > first.tx {
			return second, false, err
		}
		return first, !ok, err
	}
	for at := int64(1024); at <= maxPageSize; at *= 2 {
		second, ok, err := metaAt(file, at)
		if err != nil || ok && second.pageSize == at {
			return second, true, err
		}
	}
	return m, false, errors.New("it does not begin like one")
}

// metaAt reads a meta page, and whether it is one.
func metaAt(file io.ReaderAt, at int64) (m pageMeta, ok bool, err error) {
	page := make([]byte, pageHeader+pageMetaSize)
	if n, err := file.ReadAt(page, at); n < len(page) {
		if err == io.EOF {
			err = nil
		}
		return m, false, err
	}
	m, ok = parseMeta(page)
	return m, ok, nil
}

func parseMeta(page []byte) (m pageMeta, ok bool) {
	order, b := binary.NativeEndian, page[pageHeader:]
	sum := fnv.New64a()
	sum.Write(b[:56])
	m = pageMeta{
		pageSize: int64(order.Uint32(b[8:])),
		root:     order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), end: order.Uint64(b[40:]), tx: order.Uint64(b[48:]),
	}
	return m, order.Uint32(b) == metaMagic && order.Uint32(b[4:]) == metaVersion && order.Uint64(b[56:]) == sum.Sum64() &&
		m.pageSize >= 1024 && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0
}

// page reads a page with what overflows it, and marks it as used.
func (c *pageChecker) page(id uint64) (page []byte, flags uint16, count int, err error) {
	if id < 2 || id >= c.meta.end {
		return nil, 0, 0, fmt.Errorf("it points to page %d of %d", id, c.meta.end)
	}
	c.last = id
	order, head := binary.NativeEndian, make([]byte, pageHeader)
	if _, err := c.file.ReadAt(head, int64(id)*c.meta.pageSize); err != nil {
		return nil, 0, 0, err
	}
	flags, count = order.Uint16(head[8:]), int(order.Uint16(head[10:]))
	length := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head) != id || length > c.meta.end-id {
		return nil, 0, 0, errors.New("it does not begin like one")
	}
	for i := id; i < id+length; i++ {
		if c.used[i] {
			return nil, 0, 0, fmt.Errorf("page %d is used twice", i)
		}
		c.used[i] = true
	}
	page = make([]byte, int64(length)*c.meta.pageSize)
	_, err = c.file.ReadAt(page, int64(id)*c.meta.pageSize)
	return page, flags, count, err
}

// tree checks the tree below a page, whose keys are from low on and below high;
// nil is no bound.
func (c *pageChecker) tree(id uint64, low, high []byte, depth int) error {
	if depth > pageDepth {
		return errors.New("its trees are too deep")
	}
	page, flags, count, err := c.page(id)
	if err != nil {
		return err
	}
	switch flags {
	case flagLeaf:
		// bbolt keeps an empty bucket inside its value.
		if count == 0 && id != c.meta.root {
			return errors.New("it is empty")
		}
		_, err := c.leaf(page, count, low, high, depth)
		return err
	case flagBranch:
		return c.branch(page, count, low, high, depth)
	}
	return fmt.Errorf("it is of kind %#x", flags)
}

func (c *pageChecker) branch(page []byte, count int, low, high []byte, depth int) error {
	if count == 0 {
		return errors.New("it is empty")
	}
	order, end := binary.NativeEndian, pageHeader+count*pageElement
	if end > len(page) {
		return errNoRoom
	}
	keys, children := make([][]byte, count+1), make([]uint64, count)
	for i := range count {
		at := pageHeader + i*pageElement
		e := page[at:]
		var err error
		if keys[i], end, err = cut(page, end, at, order.Uint32(e), order.Uint32(e[4:])); err != nil {
			return err
		}
		children[i] = order.Uint64(e[8:])
	}
	keys[count] = high
	if err := inOrder(keys[:count], low, high); err != nil {
		return err
	}
	for i, child := range children {
		if err := c.tree(child, keys[i], keys[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// leaf returns where the last element ends.
func (c *pageChecker) leaf(page []byte, count int, low, high []byte, depth int) (int, error) {
	order, keys, end := binary.NativeEndian, make([][]byte, count), pageHeader+count*pageElement
	if end > len(page) {
		return 0, errNoRoom
	}
	for i := range count {
		at := pageHeader + i*pageElement
		e := page[at:]
		flags, pos, klen, vlen := order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		var err error
		if keys[i], end, err = cut(page, end, at, pos, klen); err != nil {
			return 0, err
		}
		var value []byte
		if value, end, err = cut(page, end, end, 0, vlen); err != nil {
			return 0, err
		}
		if flags&flagBucket != 0 {
			if err := c.bucket(value, depth+1); err != nil {
				return 0, err
			}
		}
	}
	return end, inOrder(keys, low, high)
}

// bucket checks a bucket by the value that stands for it: a small one is inside,
// a bigger one has pages of its own.
func (c *pageChecker) bucket(value []byte, depth int) error {
	if len(value) < pageBucket {
		return errors.New("a bucket is cut short")
	}
	order := binary.NativeEndian
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, nil, nil, depth)
	}
	page := value[pageBucket:]
	if len(page) < pageHeader || depth > pageDepth || order.Uint64(page) != 0 || order.Uint16(page[8:]) != flagLeaf || order.Uint32(page[12:]) != 0 {
		return errors.New("a bucket is not one")
	}
	end, err := c.leaf(page, int(order.Uint16(page[10:])), nil, nil, depth)
	if err == nil && end != len(page) {
		return errors.New("a bucket is longer than what is in it")
	}
	return err
}

var errNoRoom = errors.New("it has more elements than room")

// cut returns the length bytes at at+pos, where at is the place of the element
// that says so, and where they end. They begin where the last ones end: so no
// element is left out, and no two have the same bytes, which bounds the work by
// the size of the file.
func cut(page []byte, last, at int, pos, length uint32) ([]byte, int, error) {
	from, to := uint64(at)+uint64(pos), uint64(at)+uint64(pos)+uint64(length)
	if from != uint64(last) || to > uint64(len(page)) {
		return nil, 0, errors.New("an element is not in its place")
	}
	return page[from:to], int(to), nil
}

func inOrder(keys [][]byte, low, high []byte) error {
	for i, key := range keys {
		if i > 0 && bytes.Compare(keys[i-1], key) >= 0 ||
			low != nil && bytes.Compare(key, low) < 0 || high != nil && bytes.Compare(key, high) >= 0 || len(key) == 0 {
			return errors.New("its keys are out of order")
		}
	}
	return nil
}

// free checks the list of free pages.
func (c *pageChecker) free() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	page, flags, n, err := c.page(c.meta.freelist)
	if err != nil {
		return err
	}
	if flags != flagFreelist {
		return fmt.Errorf("it is of kind %#x", flags)
	}
	count, ids, order := uint64(n), page[pageHeader:], binary.NativeEndian
	if count == math.MaxUint16 { // the count does not fit and stands first
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return errors.New("its list of free pages is longer than its page")
	}
	for i := range count {
		id := order.Uint64(ids[8*i:])
		if id < 2 || id >= c.meta.end || c.used[id] {
			return fmt.Errorf("it says that page %d is free, which is in use", id)
		}
		c.used[id] = true
	}
	return nil
}
