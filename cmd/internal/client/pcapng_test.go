package client

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// recording returns a pcapng file of n frames of growing length, and the
// offsets at which one of its blocks ends.
func recording(t *testing.T, n int) (file []byte, ends []int) {
	t.Helper()
	var buf bytes.Buffer
	ng, err := pcapgo.NewNgWriter(&buf, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		frame := bytes.Repeat([]byte{byte(i)}, 60+i)
		info := gopacket.CaptureInfo{CaptureLength: len(frame), Length: len(frame)}
		if err := ng.WritePacket(info, frame); err != nil {
			t.Fatal(err)
		}
	}
	if err := ng.Flush(); err != nil {
		t.Fatal(err)
	}
	file = buf.Bytes()
	for off := 0; off < len(file); {
		off += int(binary.LittleEndian.Uint32(file[off+4:]))
		ends = append(ends, off)
	}
	return file, ends
}

func TestCopyBlocks(t *testing.T) {
	file, _ := recording(t, 500)
	readers := map[string]io.Reader{
		"at once":     bytes.NewReader(file),
		"byte a read": iotest.OneByteReader(bytes.NewReader(file)),
		"data + EOF":  iotest.DataErrReader(bytes.NewReader(file)),
	}
	for name, r := range readers {
		var out bytes.Buffer
		n, _, err := CopyBlocks(&out, r)
		if n != 500 || err != nil || !bytes.Equal(out.Bytes(), file) {
			t.Errorf("%s: %d frames, %v, same bytes: %v", name, n, err, bytes.Equal(out.Bytes(), file))
		}
	}
}

// Wherever the stream breaks off, the copy ends with the last whole block.
func TestCopyBlocksCut(t *testing.T) {
	file, ends := recording(t, 3)
	for cut := range file {
		var out bytes.Buffer
		_, _, err := CopyBlocks(&out, bytes.NewReader(file[:cut]))
		whole := 0
		for _, end := range ends {
			if end <= cut {
				whole = end
			}
		}
		if out.Len() != whole {
			t.Errorf("cut at %d: %d bytes copied, want %d", cut, out.Len(), whole)
		}
		if want := cut != whole; errors.Is(err, io.ErrUnexpectedEOF) != want || (err != nil) != want {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

func TestCopyBlocksBigEndian(t *testing.T) {
	var file []byte
	block := func(kind uint32, body ...uint32) {
		n := uint32(12 + 4*len(body))
		for _, v := range append(append([]uint32{kind, n}, body...), n) {
			file = binary.BigEndian.AppendUint32(file, v)
		}
	}
	block(blockSection, byteOrderMark, 0x00010000, 0xffffffff, 0xffffffff)
	block(1, 0x00010000, 0)
	block(blockPacket, 0, 0, 0, 4, 4, 0xaabbccdd)
	n, _, err := CopyBlocks(io.Discard, bytes.NewReader(file))
	if n != 1 || err != nil {
		t.Errorf("%d frames, %v", n, err)
	}
}

func TestCopyBlocksRefusesGarbage(t *testing.T) {
	block := func(n uint32) string {
		return string(binary.LittleEndian.AppendUint32([]byte{6, 0, 0, 0}, n)) + strings.Repeat("\x00", 64)
	}
	for text, want := range map[string]string{
		block(8):                           "pcapng: a block of 8 bytes",
		block(13):                          "pcapng: a block of 13 bytes",
		block(1 << 30):                     "pcapng: a block of 1073741824 bytes",
		"\n\r\r\n\x1c\x00\x00\x00nonsense": "pcapng: a section without byte-order mark",
	} {
		if _, _, err := CopyBlocks(io.Discard, strings.NewReader(text)); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A reader at the other end of a pipe sees a frame when it crosses, not when
// a buffer is full.
func TestCopyBlocksFlushes(t *testing.T) {
	file, _ := recording(t, 1)
	in, feed := io.Pipe()
	seen, out := io.Pipe()
	done := make(chan error, 1)
	go func() { _, _, err := CopyBlocks(out, in); done <- err }()
	if _, err := feed.Write(file); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(file))
	if _, err := io.ReadFull(seen, got); err != nil || !bytes.Equal(got, file) {
		t.Errorf("%v", err)
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCopyBlocksReportsAFullDisk(t *testing.T) {
	file, _ := recording(t, 1)
	full := errors.New("no space left")
	for _, stream := range [][]byte{file, file[:len(file)-1]} {
		_, _, err := CopyBlocks(failing{full}, bytes.NewReader(stream))
		if !errors.Is(err, full) {
			t.Errorf("%d of %d bytes: %v", len(stream), len(file), err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// What the capture itself has missed stands in options of the packets.
func TestCopyBlocksCountsMisses(t *testing.T) {
	var buf bytes.Buffer
	ng, err := pcapgo.NewNgWriter(&buf, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	for i, lost := range []uint64{0, 7, 0, 100_000} {
		frame := bytes.Repeat([]byte{4}, 61+i) // looks like the option's code
		options := pcapgo.NgPacketOptions{Comments: []string{"dropped: runt"}}
		if lost > 0 {
			options.DropCount = &lost
		}
		info := gopacket.CaptureInfo{CaptureLength: len(frame), Length: len(frame)}
		if err := ng.WritePacketWithOptions(info, frame, options); err != nil {
			t.Fatal(err)
		}
	}
	if err := ng.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, missed, err := CopyBlocks(io.Discard, &buf); n != 4 || missed != 100_007 || err != nil {
		t.Errorf("%d frames, %d missed, %v", n, missed, err)
	}
	if n := dropCount(make([]byte, 32), binary.LittleEndian); n != 0 {
		t.Errorf("a block without options: %d", n)
	}
	liar := make([]byte, 40)
	binary.LittleEndian.PutUint32(liar[20:], 1<<31)
	if n := dropCount(liar, binary.LittleEndian); n != 0 {
		t.Errorf("a block that lies about its length: %d", n)
	}
}
