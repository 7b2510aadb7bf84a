package apitest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/weft/weft/cmd/internal/api"
)

// FDB implements api.Backend.
func (b *Backend) FDB(networkName string) ([]api.FDBEntry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	chosen, err := b.choose(networkName)
	if err != nil {
		return nil, err
	}
	var all []api.FDBEntry
	for _, n := range chosen {
		all = slices.AppendSeq(all, maps.Values(n.fdb))
	}
	slices.SortFunc(all, func(a, b api.FDBEntry) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.VLAN, b.VLAN), cmp.Compare(a.MAC, b.MAC))
	})
	return all, nil
}

// AddFDB implements api.Backend.
func (b *Backend) AddFDB(networkName string, s api.FDBSpec) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	mac, err := parseMAC(s.MAC)
	if err != nil {
		return err
	}
	if _, ok := n.ports[s.Port]; !ok {
		return noPort(networkName, s.Port)
	}
	n.fdb[fdbKey{s.VLAN, mac}] = api.FDBEntry{Network: networkName, MAC: mac, VLAN: s.VLAN, Port: s.Port, Kind: "static"}
	return nil
}

// RemoveFDB implements api.Backend.
func (b *Backend) RemoveFDB(networkName, text string, vlan uint16) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return err
	}
	mac, err := parseMAC(text)
	if err != nil {
		return err
	}
	if _, ok := n.fdb[fdbKey{vlan, mac}]; !ok {
		return api.Mark(api.ErrNotFound, fmt.Errorf("network %q: no entry for %s in VLAN %d", networkName, mac, vlan))
	}
	delete(n.fdb, fdbKey{vlan, mac})
	return nil
}

// FlushFDB implements api.Backend.
func (b *Backend) FlushFDB(networkName, port string) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.network(networkName)
	if err != nil {
		return 0, err
	}
	if _, ok := n.ports[port]; port != "" && !ok {
		return 0, noPort(networkName, port)
	}
	before := len(n.fdb)
	maps.DeleteFunc(n.fdb, func(_ fdbKey, e api.FDBEntry) bool {
		return e.Kind == "dynamic" && (port == "" || e.Port == port)
	})
	return before - len(n.fdb), nil
}

// Apply implements api.Backend. It knows networks and nothing below them; a
// network called "bad" is refused with two errors.
func (b *Backend) Apply(name string, text []byte, dryRun bool) ([]string, error) {
	var c struct {
		Networks map[string]any `yaml:"networks"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, api.Mark(api.ErrInvalid, fmt.Errorf("%s:1: not YAML", name))
	}
	if _, ok := c.Networks["bad"]; ok {
		return nil, api.Mark(api.ErrInvalid, fmt.Errorf("%s:2: first\n%s:3: second", name, name))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var changes []string
	for _, old := range slices.Sorted(maps.Keys(b.networks)) {
		if _, ok := c.Networks[old]; !ok {
			changes = append(changes, fmt.Sprintf("- network %q", old))
		}
	}
	next := map[string]*network{}
	for _, want := range slices.Sorted(maps.Keys(c.Networks)) {
		if next[want] = b.networks[want]; next[want] == nil {
			next[want] = newNetwork()
			changes = append(changes, fmt.Sprintf("+ network %q", want))
		}
	}
	if !dryRun {
		b.networks = next
	}
	return changes, nil
}

// Config implements api.Backend.
func (b *Backend) Config() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := "networks:\n"
	for _, name := range slices.Sorted(maps.Keys(b.networks)) {
		text += "  " + name + ": {}\n"
	}
	return []byte(text)
}

type capture struct {
	network, port string
	events        chan event
}

// event is a frame, or the error that ends the capture.
type event struct {
	frame []byte
	err   error
}

// Inject has a frame cross a port: every capture of it will hold the frame.
func (b *Backend) Inject(networkName, port string, frame []byte) {
	for _, c := range b.capturing(networkName, port) {
		c.events <- event{frame: frame}
	}
}

// FailCaptures ends all captures with err, after the frames injected so far.
func (b *Backend) FailCaptures(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.captures {
		c.events <- event{err: err}
	}
}

// Captures returns the number of captures under way.
func (b *Backend) Captures() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.captures)
}

func (b *Backend) capturing(networkName, port string) []*capture {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []*capture
	for c := range b.captures {
		if c.network == networkName && (c.port == "" || c.port == port) {
			found = append(found, c)
		}
	}
	return found
}

// Capture implements api.Backend.
func (b *Backend) Capture(ctx context.Context, networkName, port string, w io.Writer, o api.CaptureOptions) error {
	c := &capture{network: networkName, port: port, events: make(chan event, 64)}
	ng, err := pcapgo.NewNgWriter(w, layers.LinkTypeEthernet)
	if err != nil {
		return err
	}
	if err := ng.Flush(); err != nil {
		return err
	}
	b.mu.Lock()
	b.captures[c] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.captures, c)
		b.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-c.events:
			if e.err != nil {
				return e.err
			}
			kept := e.frame
			if o.Snaplen > 0 {
				kept = kept[:min(len(kept), o.Snaplen)]
			}
			info := gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(kept), Length: len(e.frame)}
			if err := errors.Join(ng.WritePacket(info, kept), ng.Flush()); err != nil {
				return err
			}
		}
	}
}
