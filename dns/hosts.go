package dns

import (
	"bytes"
	"fmt"
	"net/netip"
)

const (
	maxHostsFile = 16 << 20 // bytes
	maxHostNames = 500_000
	maxProblems  = 20 // of one file, that are told
)

// hostLine is a line of hosts(5).
type hostLine struct {
	addr  netip.Addr
	names []string // the first is the one that the address has in turn
}

// problems are what is wrong with a file, of which the first are kept.
type problems struct {
	path  string
	texts []string
	more  int
}

func (p *problems) add(line int, format string, args ...any) {
	if len(p.texts) == maxProblems {
		p.more++
		return
	}
	p.texts = append(p.texts, fmt.Sprintf("%s:%d: %s", p.path, line, fmt.Sprintf(format, args...)))
}

func (p *problems) list() []string {
	if p.more > 0 {
		return append(p.texts, fmt.Sprintf("%s: %d more such lines", p.path, p.more))
	}
	return p.texts
}

// parseHosts reads a file in the format of hosts(5): an address and its names,
// and # before what is no part of it. A bad line is left out, and so is a bad name
// from a line; the rest counts.
func parseHosts(path string, data []byte) ([]hostLine, []string) {
	var out []hostLine
	p := &problems{path: path}
	names := 0
	for number := 1; len(data) > 0; number++ {
		var line []byte
		line, data, _ = bytes.Cut(data, []byte("\n"))
		line, _, _ = bytes.Cut(line, []byte("#"))
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		h, ok := parseHostLine(p, number, fields)
		if names += len(h.names); names > maxHostNames {
			p.add(number, "more than %d names: the rest is left out", maxHostNames)
			break
		}
		if ok {
			out = append(out, h)
		}
	}
	return out, p.list()
}

func parseHostLine(p *problems, number int, fields [][]byte) (h hostLine, ok bool) {
	addr, err := netip.ParseAddr(string(fields[0]))
	if err != nil {
		p.add(number, "%s is no address: write an address and then its names", excerpt(fields[0]))
		return h, false
	}
	if len(fields) == 1 {
		p.add(number, "%v has no name: write one behind it", addr)
		return h, false
	}
	h.addr = addr.Unmap().WithZone("")
	for _, f := range fields[1:] {
		name := string(f)
		if key, ok := wireName(name); !ok || key == rootName {
			p.add(number, "%s cannot be a name: use labels of 1 to 63 letters, digits and hyphens, with dots between them", excerpt(f))
			continue
		}
		h.names = append(h.names, name)
	}
	return h, len(h.names) > 0
}

// excerpt quotes the beginning of what a file says.
func excerpt(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q…", b[:40])
	}
	return fmt.Sprintf("%q", b)
}
