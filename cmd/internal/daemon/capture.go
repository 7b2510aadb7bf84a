package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
)

// Capture implements api.Backend.
func (d *Daemon) Capture(ctx context.Context, network, port string, w io.Writer, opts api.CaptureOptions) error {
	cfg := d.config()
	n := d.sw.Network(network)
	if _, err := findNetwork(cfg, network); err != nil {
		if n = d.uplinkNetwork(network); n == nil || port != "" {
			return err
		}
	}
	if port != "" {
		if _, err := findPort(cfg, network, port); err != nil {
			return err
		}
	}
	defer d.captures.Add(-1)
	if d.captures.Add(1) > maxCaptures {
		return api.Mark(api.ErrConflict, fmt.Errorf("%d captures are under way, which is the most: end one", maxCaptures))
	}
	if n == nil {
		return fmt.Errorf("network %q is being removed", network)
	}
	c := n.Capture(port)
	defer c.Close()
	out, err := newCaptureWriter(w, network, port, opts.Snaplen)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.Ended():
			return fmt.Errorf("network %q was removed", network)
		case r := <-c.Records():
			err := out.write(r)
			c.Done(r)
			if err == nil && (len(c.Records()) == 0 || out.buf.Len() > captureBuffer) {
				err = out.flush(c.Missed())
			}
			if err != nil {
				return err
			}
		}
	}
}

// maxCaptures bounds the memory of captures together with dataplane's bound on
// the bytes that wait in each.
const maxCaptures = 16

// captureBuffer bounds the memory of a capture whose frames come faster than
// they are written, in bytes: then the queue overflows, and misses are counted.
const captureBuffer = 256 << 10

// captureWriter turns records into pcapng: an interface block for each port,
// the verdict of a dropped frame as the packet's comment.
type captureWriter struct {
	w          io.Writer
	buf        bytes.Buffer
	ng         *pcapgo.NgWriter
	snaplen    int
	interfaces map[string]int // by port
	network    string
	missed     uint64 // as last written
	lost       uint64 // missed since, told by the next packet
	scratch    []byte
}

func newCaptureWriter(w io.Writer, network, port string, snaplen int) (*captureWriter, error) {
	c := &captureWriter{w: w, network: network, snaplen: snaplen, interfaces: map[string]int{}}
	first := port
	if first == "" {
		first = network
	}
	var err error
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "weft", OS: "linux"}}
	if c.ng, err = pcapgo.NewNgWriterInterface(&c.buf, c.interfaceOf(first), options); err != nil {
		return nil, err
	}
	if port != "" {
		c.interfaces[port] = 0
	}
	return c, c.flush(0)
}

func (c *captureWriter) interfaceOf(port string) pcapgo.NgInterface {
	return pcapgo.NgInterface{
		Name: port, Description: "weft network " + c.network, LinkType: layers.LinkTypeEthernet,
		SnapLength: uint32(c.snaplen), TimestampResolution: 9,
	}
}

func (c *captureWriter) write(r *dataplane.Record) error {
	id, ok := c.interfaces[r.Port]
	if !ok {
		var err error
		if id, err = c.ng.AddInterface(c.interfaceOf(r.Port)); err != nil {
			return err
		}
		c.interfaces[r.Port] = id
	}
	// A partial checksum means nothing to a reader. A super-frame's is
	// completed as that of the one long packet that it looks like.
	if r.Frame.Offload.Flags&frame.NeedsChecksum != 0 && r.Verdict != dataplane.BadOffload {
		r.Frame.Offload.GSOType = frame.GSONone
		r.Frame.CompleteChecksum()
	}
	c.scratch = r.Frame.AppendWire(c.scratch[:0])
	data := c.scratch
	info := gopacket.CaptureInfo{Timestamp: r.Time, InterfaceIndex: id, Length: len(data)}
	if c.snaplen > 0 && len(data) > c.snaplen {
		data = data[:c.snaplen]
	}
	info.CaptureLength = len(data)
	return c.ng.WritePacketWithOptions(info, data, c.options(r))
}

// Directions of the enhanced packet block's flags word
// (draft-ietf-opsawg-pcapng, section 4.3.1).
const (
	inbound  = 1
	outbound = 2
)

func (c *captureWriter) options(r *dataplane.Record) pcapgo.NgPacketOptions {
	o := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: inbound}}
	if r.Direction == dataplane.Sent {
		o.Flags.Direction = outbound
	}
	if r.Verdict.IsDrop() {
		o.Comments = []string{"dropped: " + r.Verdict.String()}
	}
	if c.lost > 0 {
		lost := c.lost
		o.DropCount, c.lost = &lost, 0
	}
	return o
}

// flush sends whole blocks to the reader. missed is how many frames the
// capture has not seen so far.
func (c *captureWriter) flush(missed uint64) error {
	c.lost += missed - c.missed
	c.missed = missed
	if err := c.ng.Flush(); err != nil {
		return err
	}
	_, err := c.w.Write(c.buf.Bytes())
	c.buf.Reset()
	return err
}
