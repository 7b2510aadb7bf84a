package dhcp

import "github.com/insomniacslk/dhcp/dhcpv4"

// Sizes of messages.
const (
	minMessage  = 576 // every client can receive it (RFC 2131 section 2)
	maxMessage  = 1500
	ipUDPHeader = 28
	endLen      = 1
	overloadLen = 3

	// The codec ends both fields with a zero byte. The end option is before it.
	fileRoom  = maxFile - endLen
	snameRoom = maxSName - endLen
)

// item is one option of an answer.
type item struct {
	code uint8
	data []byte
	must bool
}

// size is the bytes of an option. One longer than 255 is sent in parts
// (RFC 3396).
func (i item) size() int {
	return len(i.data) + 2*max(1, (len(i.data)+254)/255)
}

// layout puts options into the space that there is.
type layout struct {
	items       []item
	seen        [256]bool
	room        int  // bytes for options behind the header
	file, sname bool // the field may be used for options
}

// room is how much space the options of an answer to a message have. What option
// 57 says counts the headers of IP and UDP (RFC 2132 section 9.10).
func (e *engine) room(m *message) int {
	limit := maxMessage
	if e.set.MTU != 0 {
		limit = e.set.MTU
	}
	size := max(minMessage, min(m.maxSize, limit))
	return size - ipUDPHeader - headerLen
}

// must adds an option that an answer makes no sense without.
func (l *layout) must(code uint8, data []byte) { l.add(item{code: code, data: data, must: true}) }

// may adds an option that is left out where there is no room.
func (l *layout) may(code uint8, data []byte) { l.add(item{code: code, data: data}) }

func (l *layout) add(i item) {
	l.seen[i.code] = true
	l.items = append(l.items, i)
}

func (l *layout) has(code uint8) bool { return l.seen[code] }

// pack fills a message: first the space behind the header, then the fields for
// the boot file and the server's name, where these are free (option 52). What
// does not fit any more is left out.
func (l *layout) pack(p *dhcpv4.DHCPv4) {
	p.Options = dhcpv4.Options{}
	total := endLen
	for _, i := range l.items {
		total += i.size()
	}
	room := l.room - endLen
	overload := total > l.room && (l.file || l.sname)
	if overload {
		room -= overloadLen
	}
	file, sname := dhcpv4.Options{}, dhcpv4.Options{}
	fileLeft, snameLeft := 0, 0
	if overload && l.file {
		fileLeft = fileRoom
	}
	if overload && l.sname {
		snameLeft = snameRoom
	}
	for _, i := range l.items {
		n := i.size()
		switch {
		case n <= room || i.must:
			room -= n
			p.Options[i.code] = i.data
		case n <= fileLeft:
			fileLeft -= n
			file[i.code] = i.data
		case n <= snameLeft:
			snameLeft -= n
			sname[i.code] = i.data
		}
	}
	l.overload(p, file, sname)
}

// overload writes the fields, and says which of them hold options.
func (l *layout) overload(p *dhcpv4.DHCPv4, file, sname dhcpv4.Options) {
	used := byte(0)
	if len(file) > 0 {
		used |= overloadsFile
		p.BootFileName = string(append(file.ToBytes(), 255))
	}
	if len(sname) > 0 {
		used |= overloadsSName
		p.ServerHostName = string(append(sname.ToBytes(), 255))
	}
	if used != 0 {
		p.Options[optOverload] = []byte{used}
	}
}
