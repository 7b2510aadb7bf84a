package client

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Of the pcapng format (draft-ietf-opsawg-pcapng, sections 3.1, 4.1 and 4.3).
const (
	blockSection  = 0x0a0d0d0a // a palindrome: the same in both byte orders
	blockPacket   = 0x00000006 // enhanced packet block
	byteOrderMark = 0x1a2b3c4d

	blockHeaderLen = 8
	blockMinLen    = 12
	blockMaxLen    = 16 << 20
)

// CopyBlocks copies the pcapng stream r to w in whole blocks only, so that w
// holds a valid file wherever r breaks off, and returns the number of frames
// copied and of those that the capture says it has missed. It flushes whenever r has nothing more at hand. A stream that ends
// in the middle of a block is io.ErrUnexpectedEOF.
func CopyBlocks(w io.Writer, r io.Reader) (frames, missed uint64, err error) {
	in, out := bufio.NewReaderSize(r, 64<<10), bufio.NewWriterSize(w, 64<<10)
	defer func() {
		// A full disk is worse news than the end of the stream.
		if full := out.Flush(); full != nil {
			err = full
		}
	}()
	var order binary.ByteOrder = binary.LittleEndian
	var block []byte
	for {
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return frames, missed, err
			}
		}
		if block, err = readBlock(in, block[:0], &order); err == io.EOF {
			return frames, missed, nil
		} else if err != nil {
			return frames, missed, err
		}
		if _, err := out.Write(block); err != nil {
			return frames, missed, err
		}
		if order.Uint32(block) == blockPacket {
			frames++
			missed += dropCount(block, order)
		}
	}
}

// dropCount returns the option epb_dropcount of an enhanced packet block: how
// many frames were lost since the one before. 0 where it has none.
func dropCount(block []byte, order binary.ByteOrder) uint64 {
	const fixed, dropcount, endofopt = 28, 4, 0
	if len(block) < fixed+4 {
		return 0
	}
	pad := func(n int) int { return (n + 3) &^ 3 }
	at := fixed + pad(int(order.Uint32(block[20:])))
	for end := len(block) - 4; at >= fixed && at+4 <= end; {
		code, n := order.Uint16(block[at:]), int(order.Uint16(block[at+2:]))
		if code == endofopt || at+4+n > end {
			return 0
		}
		if code == dropcount && n == 8 {
			return order.Uint64(block[at+4:])
		}
		at += 4 + pad(n)
	}
	return 0
}

// readBlock reads the next block into buf. order is that of the section, and
// changes where a section begins. io.EOF means that there is none.
func readBlock(r *bufio.Reader, buf []byte, order *binary.ByteOrder) ([]byte, error) {
	head, err := r.Peek(blockMinLen)
	if len(head) == 0 {
		return nil, err
	}
	if err != nil {
		return nil, short(err)
	}
	if binary.LittleEndian.Uint32(head) == blockSection {
		switch uint32(byteOrderMark) {
		case binary.LittleEndian.Uint32(head[blockHeaderLen:]):
			*order = binary.LittleEndian
		case binary.BigEndian.Uint32(head[blockHeaderLen:]):
			*order = binary.BigEndian
		default:
			return nil, errors.New("pcapng: a section without byte-order mark")
		}
	}
	n := (*order).Uint32(head[4:])
	if n < blockMinLen || n > blockMaxLen || n%4 != 0 {
		return nil, fmt.Errorf("pcapng: a block of %d bytes", n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, short(err)
	}
	return buf, nil
}

func short(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
