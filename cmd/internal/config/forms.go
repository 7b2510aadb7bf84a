package config

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// A form is how the values of a type look. None of its writings is empty but
// that of no value at all, which a file leaves out.
type form[V any] struct {
	parse func(string) (V, error)
	write func(V) string

	bare  bool // needs no quotes in YAML, and must have none where it is a number
	quote bool // has quotes in the texts of Diff
	whole bool // may hold commas and blanks, so that a list has quotes in Diff, and one text is one value
}

func (f form[V]) output(v V) output {
	s := f.write(v)
	o := output{kind: aValue, file: s, text: s, word: s}
	if !f.bare {
		o.file = plain(s)
	}
	switch {
	case f.quote:
		o.text = strconv.Quote(s)
	case s == "":
		o.text = "none"
	}
	return o
}

func (f form[V]) outputList(list []V) output {
	files, texts := make([]string, len(list)), make([]string, len(list))
	for i, v := range list {
		files[i], texts[i] = f.output(v).file, f.write(v)
		if f.whole {
			texts[i] = strconv.Quote(texts[i])
		}
	}
	o := output{kind: aValue, text: "[" + strings.Join(texts, " ") + "]"}
	if len(list) > 0 {
		o.file = "[" + strings.Join(files, ", ") + "]"
	}
	return o
}

// asIs parses and writes what needs neither.
func asIs(s string) string { return s }

func noError(s string) (string, error) { return s, nil }

// words are keywords, and names that cannot look like anything else.
func words() form[string] { return form[string]{parse: noError, write: asIs} }

// labels are chosen by users, of whatever letters.
func labels() form[string] { return form[string]{parse: noError, write: asIs, quote: true} }

func integers() form[int] { return form[int]{parse: parseInt, write: strconv.Itoa, bare: true} }

func truths() form[bool] { return form[bool]{parse: parseBool, write: strconv.FormatBool, bare: true} }

// onlyTrue writes nothing for false, which is the default.
func onlyTrue() form[bool] {
	write := func(b bool) string {
		if !b {
			return ""
		}
		return "true"
	}
	return form[bool]{parse: parseBool, write: write, bare: true}
}

func durations() form[time.Duration] {
	return form[time.Duration]{parse: parseDuration, write: time.Duration.String, bare: true}
}

func macs() form[frame.MAC] {
	write := func(m frame.MAC) string {
		if m == (frame.MAC{}) {
			return ""
		}
		return m.String()
	}
	return form[frame.MAC]{parse: parseMAC, write: write, quote: true}
}

func prefixes() form[netip.Prefix] {
	return form[netip.Prefix]{parse: parsePrefix, write: netip.Prefix.String}
}

// staticVLANs are those of FDB entries, where 0 is untagged.
func staticVLANs() form[uint16] {
	return form[uint16]{parse: parseVLAN, write: func(v uint16) string { return strconv.Itoa(int(v)) }, bare: true}
}

// vlanIDs are those of ports, where 0 is none.
func vlanIDs() form[uint16] {
	write := func(v uint16) string {
		if v == 0 {
			return ""
		}
		return strconv.Itoa(int(v))
	}
	return form[uint16]{parse: parseVLANID, write: write, bare: true}
}

func vlanRanges() form[VLANRange] {
	return form[VLANRange]{parse: parseVLANRange, write: VLANRange.String, bare: true}
}

func rates() form[uint64] { return form[uint64]{parse: parseRate, write: FormatRate, bare: true} }

func sizes() form[int] { return form[int]{parse: parseSize, write: FormatSize, bare: true} }

// orFalse takes "false" for no value.
func orFalse(f form[string]) form[string] {
	f.parse = func(s string) (string, error) {
		switch s {
		case "false":
			return "", nil
		case "true":
			return "", errors.New("true is not a name: write that of the interface, such as " + DefaultHostPort + ", or false")
		}
		return s, nil
	}
	return f
}

// addresses has the zero Addr for none.
func addresses() form[netip.Addr] {
	write := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	return form[netip.Addr]{parse: parseAddr, write: write}
}

// subnets has the zero Prefix for none.
func subnets() form[netip.Prefix] {
	write := func(p netip.Prefix) string {
		if !p.IsValid() {
			return ""
		}
		return p.String()
	}
	return form[netip.Prefix]{parse: parsePrefix, write: write}
}

func portRanges() form[PortRange] {
	return form[PortRange]{parse: parsePorts, write: formatPorts, bare: true}
}

func listens() form[Listen] { return form[Listen]{parse: ParseListen, write: Listen.String} }

// targets has the zero AddrPort for none.
func targets() form[netip.AddrPort] {
	write := func(p netip.AddrPort) string {
		if p == (netip.AddrPort{}) {
			return ""
		}
		return p.String()
	}
	return form[netip.AddrPort]{parse: parseTarget, write: write}
}

func ranges() form[Range] { return form[Range]{parse: parseRange, write: Range.String} }

// leases has 0 for none.
func leases() form[time.Duration] {
	return form[time.Duration]{parse: ParseLease, write: FormatLease, bare: true}
}

// domainNames are those of DNS, which are the same in any letters.
func domainNames() form[string] { return form[string]{parse: parseName, write: asIs} }

// optionKeys are numbers and names of DHCP options; package option knows them.
func optionKeys() form[string] { return form[string]{parse: parseLabel, write: asIs} }

func clientIDs() form[[]byte] { return form[[]byte]{parse: parseClientID, write: formatClientID} }

// wholeTexts are of whatever letters, blanks and commas too.
func wholeTexts() form[string] { return form[string]{parse: noError, write: asIs, whole: true} }
