package dhcp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

// Bounds of a file of reservations, and of what is said about a bad one.
const (
	maxHostsSize     = 16 << 20
	maxHosts         = 65536
	maxHostsProblems = 100
)

// The lease times a reservation may have.
const (
	minHostLease = 2 * time.Minute
	maxHostLease = 365 * 24 * time.Hour
)

// hostsStamp is what tells one content of a file from the next: a change in
// place, or by another file that is renamed over it. The zero stamp is that of
// no file.
type hostsStamp struct {
	device, inode   uint64
	size            int64
	written, change int64 // nanoseconds
	young           bool  // never that of a file: its content is to be read again
}

// youngHosts is how long a file is read again each time. Two writes within one
// tick of the file system's clock have the same times.
const youngHosts = time.Second

// stampHosts returns the stamp of the file now.
func stampHosts(path string) hostsStamp {
	info, err := os.Stat(path)
	if err != nil {
		return hostsStamp{}
	}
	return stampOf(info)
}

func stampOf(info os.FileInfo) hostsStamp {
	s := hostsStamp{size: info.Size(), written: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.device, s.inode, s.change = uint64(st.Dev), st.Ino, st.Ctim.Nano()
	}
	return s
}

// readHosts reads a file of reservations, and returns the stamp that the content
// had. Where stampHosts returns another one, the file is to be read again.
// Lines are where the hosts stand; problems are lines that were left out; the error is that of a file which can
// not be read at all.
func readHosts(path string) (hosts []Host, lines []int, stamp hostsStamp, problems []error, err error) {
	// A pipe without a writer must not stop the server.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, hostsStamp{}, nil, fmt.Errorf("hosts file %s: %w", path, bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, hostsStamp{}, nil, fmt.Errorf("hosts file %s: %w", path, bare(err))
	}
	stamp = stampOf(info)
	if !info.Mode().IsRegular() {
		return nil, nil, stamp, nil, fmt.Errorf("hosts file %s: is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxHostsSize+1))
	switch {
	case err != nil:
		return nil, nil, hostsStamp{}, nil, fmt.Errorf("hosts file %s: %w", path, bare(err))
	case len(data) > maxHostsSize:
		return nil, nil, stamp, nil, fmt.Errorf("hosts file %s: is longer than %d MiB", path, maxHostsSize>>20)
	}
	if age := time.Since(info.ModTime()); age.Abs() < youngHosts {
		stamp.young = true
	}
	hosts, lines, problems = parseHosts(path, data)
	return hosts, lines, stamp, problems, nil
}

// bare is an error of package os without the name of the file, which the message
// has already.
func bare(err error) error {
	var named *os.PathError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}

// hostsReader collects what the lines of a file say.
type hostsReader struct {
	name     string
	line     int
	hosts    []Host
	lines    []int // of hosts
	problems []error
	silent   int // problems that were not kept
	macs     map[frame.MAC]int
	ids      map[string]int
	addrs    map[netip.Addr]int
}

// parseHosts reads reservations in the format of dnsmasq's dhcp-hostsfile, one a
// line, of parts that are separated by commas: a MAC address or id: and a client
// identifier, and then in any order an address, a name, a lease time, "ignore"
// and tags, which mean nothing here. A bad line is left out and reported as one
// of the problems; the others hold.
func parseHosts(name string, data []byte) (hosts []Host, lines []int, problems []error) {
	r := hostsReader{name: name, macs: map[frame.MAC]int{}, ids: map[string]int{}, addrs: map[netip.Addr]int{}}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // of an editor that marks UTF-8
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		r.line++
		text, _, _ := strings.Cut(string(line), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		if len(r.hosts) == maxHosts {
			r.problem(fmt.Errorf("more than %d hosts: this line and the rest are left out", maxHosts))
			break
		}
		h, err := parseHost(text)
		if err == nil {
			err = r.claim(h)
		}
		if err != nil {
			r.problem(err)
			continue
		}
		r.hosts, r.lines = append(r.hosts, h), append(r.lines, r.line)
	}
	if r.silent > 0 {
		r.problems = append(r.problems, fmt.Errorf("%s: %d more lines are left out", r.name, r.silent))
	}
	return r.hosts, r.lines, r.problems
}

func (r *hostsReader) problem(err error) {
	if len(r.problems) == maxHostsProblems {
		r.silent++
		return
	}
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %w", r.name, r.line, err))
}

// claim takes what only one line may have.
func (r *hostsReader) claim(h Host) error {
	if line, ok := r.macs[h.MAC]; ok {
		return fmt.Errorf("%s is in line %d already", h.MAC, line)
	}
	if line, ok := r.ids[string(h.ClientID)]; ok {
		return fmt.Errorf("the client identifier is in line %d already", line)
	}
	if line, ok := r.addrs[h.Address]; ok {
		return fmt.Errorf("%s is in line %d already", h.Address, line)
	}
	if h.MAC != (frame.MAC{}) {
		r.macs[h.MAC] = r.line
	}
	if h.ClientID != nil {
		r.ids[string(h.ClientID)] = r.line
	}
	if h.Address.IsValid() {
		r.addrs[h.Address] = r.line
	}
	return nil
}

func parseHost(line string) (Host, error) {
	var h Host
	for part := range strings.SplitSeq(line, ",") {
		if err := h.parsePart(strings.TrimSpace(part)); err != nil {
			return Host{}, err
		}
	}
	if h.MAC == (frame.MAC{}) && h.ClientID == nil {
		return Host{}, errors.New("a client is known by its MAC address, or by id: and a client identifier: begin the line with one")
	}
	if !h.Address.IsValid() && h.Name == "" && h.Lease == 0 && !h.Ignore {
		return Host{}, errors.New("nothing for the client: give an address, a name, a lease time or ignore")
	}
	return h, nil
}

// parsePart takes one part of a line for what it looks like, in dnsmasq's order.
func (h *Host) parsePart(part string) error {
	lower := strings.ToLower(part)
	lease, isLease := parseHostLease(lower)
	switch {
	case part == "":
		return errors.New("an empty part between commas")
	case strings.HasPrefix(lower, "set:"), strings.HasPrefix(lower, "tag:"), strings.HasPrefix(lower, "net:"):
		return nil
	case strings.HasPrefix(lower, "id:"):
		return h.setClientID(part[len("id:"):])
	case lower == "ignore":
		h.Ignore = true
		return nil
	case strings.HasPrefix(part, "["):
		return fmt.Errorf("%s: this server gives IPv4 addresses only", part)
	case strings.Contains(part, ":"):
		return h.setMAC(part)
	case isLease:
		return h.setLease(part, lease)
	}
	addr, err := netip.ParseAddr(part)
	switch {
	case err == nil:
		return h.setAddress(addr)
	case strings.Trim(part, "0123456789.") == "":
		return fmt.Errorf("%q is not an IPv4 address", part)
	}
	return h.setName(lower)
}

func (h *Host) setClientID(text string) error {
	switch {
	case text == "*": // "whatever it says": here the MAC address counts anyway
		return nil
	case h.ClientID != nil:
		return errors.New("two client identifiers: give each client a line of its own")
	case text == "" || len(text) > 3*255:
		return errors.New("id: has 1-255 bytes, as text or as hex 01:02:ff")
	}
	h.ClientID = []byte(text)
	if raw, ok := colonBytes(text); ok {
		h.ClientID = raw
	}
	if len(h.ClientID) > 255 {
		return errors.New("id: has 1-255 bytes, as text or as hex 01:02:ff")
	}
	return nil
}

func (h *Host) setMAC(text string) error {
	if strings.Contains(text, "*") {
		return fmt.Errorf("%s: a MAC address with * is not supported: give each client a line of its own", text)
	}
	raw, ok := colonBytes(text)
	switch {
	case !ok || len(raw) != 6:
		return fmt.Errorf("%q is not a MAC address such as 52:54:00:fb:00:01", text)
	case h.MAC != (frame.MAC{}):
		return errors.New("two MAC addresses: give each a line of its own")
	case frame.MAC(raw).IsGroup() || frame.MAC(raw) == frame.MAC{}:
		return fmt.Errorf("%s is no client's MAC address", text)
	}
	h.MAC = frame.MAC(raw)
	return nil
}

func (h *Host) setAddress(addr netip.Addr) error {
	switch {
	case !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast():
		return fmt.Errorf("%s is not an address for a client", addr)
	case h.Address.IsValid():
		return errors.New("two addresses: a client has one")
	}
	h.Address = addr
	return nil
}

func (h *Host) setLease(text string, lease time.Duration) error {
	switch {
	case h.Lease != 0:
		return errors.New("two lease times")
	case lease != Infinite && (lease < minHostLease || lease > maxHostLease):
		return fmt.Errorf("%s is no lease time: 2m to 365d, or infinite", text)
	}
	h.Lease = lease
	return nil
}

// setName keeps the host part. In lower case, as names are compared.
func (h *Host) setName(name string) error {
	if h.Name != "" {
		return fmt.Errorf("%q is a second name", name)
	}
	host, domain, qualified := strings.Cut(strings.TrimSuffix(name, "."), ".")
	good := lease.IsHostLabel(host)
	for qualified && good {
		var label string
		label, domain, qualified = strings.Cut(domain, ".")
		good = lease.IsHostLabel(label)
	}
	if !good {
		return fmt.Errorf("%q is neither an address, a name, a lease time nor ignore", name)
	}
	h.Name = host
	return nil
}

// What may stand behind the number of a lease time, and what each is.
const hostLeaseUnits = "smhdw"

var hostLeaseUnit = [...]time.Duration{time.Second, time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour}

// parseHostLease reads 45m, 1h, 3600, infinite. It reports whether the text is a
// time at all, not whether it is a good one.
func parseHostLease(text string) (time.Duration, bool) {
	if text == "infinite" {
		return Infinite, true
	}
	if text == "" {
		return 0, false
	}
	unit, digits := time.Second, text
	if i := strings.IndexByte(hostLeaseUnits, text[len(text)-1]); i >= 0 {
		unit, digits = hostLeaseUnit[i], text[:len(text)-1]
	}
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	if digits == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || time.Duration(n) > maxHostLease/unit {
		return maxHostLease + 1, true
	}
	return time.Duration(n) * unit, true
}

// colonBytes reads bytes in hex with colons between them.
func colonBytes(text string) ([]byte, bool) {
	parts := strings.Split(text, ":")
	if len(parts) < 2 {
		return nil, false
	}
	raw := make([]byte, 0, len(parts))
	for _, part := range parts {
		n, err := strconv.ParseUint(part, 16, 8)
		if err != nil || len(part) > 2 {
			return nil, false
		}
		raw = append(raw, byte(n))
	}
	return raw, true
}
