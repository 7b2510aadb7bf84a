package dhcp

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"pgregory.net/rapid"

	"github.com/weft/weft/dhcp/option"
)

func wants(codes ...byte) func(*dhcpv4.DHCPv4) { return opt(optPRL, codes...) }

func withoutList(p *dhcpv4.DHCPv4) { delete(p.Options, optPRL) }

func richConfig(c *Config) {
	c.NTP = []netip.Addr{lan(2), lan(3)}
	c.Search = []string{"lab", "corp.example"}
	c.MTU = 1400
	c.NextServer, c.ServerName, c.Bootfile = lan(5), "boot.lab", "pxelinux.0"
}

// TestOptions is the value of each option that is made of the configuration.
func TestOptions(t *testing.T) {
	l := newLab(t, richConfig, func(c *Config) {
		c.Options = []option.Option{{Code: 42, Data: []byte{1, 2, 3, 4}}, {Code: 150, Data: []byte{9}}, {Code: 3}}
	})
	all := []byte{1, 3, 6, 12, 15, 26, 28, 42, 66, 67, 119, 150}
	h := l.say(newGuest(1), discover, wants(all...), optString(optHostname, "vm"))
	l.must(h, offered)
	for _, tt := range []struct {
		code byte
		want string
	}{
		{1, "\xff\xff\xff\x00"}, {3, ""}, {6, "\xc0\xa8\x07\x01"}, {12, "vm"}, {15, "lab"}, {26, "\x05\x78"},
		{28, "\xc0\xa8\x07\xff"}, {42, "\x01\x02\x03\x04"}, {66, "boot.lab"}, {67, "pxelinux.0"},
		{119, "\x03lab\x00\x04corp\x07example\x00"}, {150, "\x09"},
	} {
		if got := h.Options[tt.code]; string(got) != tt.want {
			t.Errorf("option %d: %q, want %q", tt.code, got, tt.want)
		}
	}
	if h.ServerIPAddr.String() != "192.168.7.5" || h.BootFileName != "" || h.ServerHostName != "" {
		t.Errorf("header: %s", h.Summary())
	}
	// An option that is not on the list is not sent, but for those of the lease.
	h = l.say(newGuest(1), discover, wants(6, 6, 6))
	var got []int
	for code := range h.Options {
		got = append(got, int(code))
	}
	slices.Sort(got)
	if want := []int{1, 6, 51, 53, 54, 58, 59}; !slices.Equal(got, want) {
		t.Errorf("options %v, want %v", got, want)
	}
	if h.BootFileName != "pxelinux.0" || h.ServerHostName != "boot.lab" {
		t.Errorf("header: %s", h.Summary())
	}
	// Without a list: all, and the boot names in the header.
	h = l.say(newGuest(1), discover, withoutList)
	for _, code := range []byte{1, 6, 15, 26, 28, 42, 119, 150} {
		if h.Options[code] == nil {
			t.Errorf("option %d is missing", code)
		}
	}
	if h.BootFileName != "pxelinux.0" || h.Options[67] != nil {
		t.Errorf("header: %s", h.Summary())
	}
}

func TestNoOverride(t *testing.T) {
	l := newLab(t, richConfig, func(c *Config) {
		c.NoOverride = true
		c.Options = []option.Option{{Code: 200, Data: bytes.Repeat([]byte{7}, 200)}, {Code: 201, Data: bytes.Repeat([]byte{8}, 100)}}
	})
	h := l.say(newGuest(1), discover, wants(66, 67, 1, 3, 6, 200, 201))
	l.must(h, offered)
	if h.BootFileName != "pxelinux.0" || h.ServerHostName != "boot.lab" || h.Options[66] != nil || h.Options[optOverload] != nil {
		t.Errorf("%s", h.Summary())
	}
	if h.Options[200] == nil || h.Options[201] != nil {
		t.Errorf("not left out from the end: %s", h.Summary())
	}
}

// TestNoOverrideFields: they are never option space, also where they are empty.
func TestNoOverrideFields(t *testing.T) {
	l := newLab(t, func(c *Config) {
		c.NoOverride = true
		c.Options = []option.Option{{Code: 200, Data: make([]byte, 250)}, {Code: 201, Data: make([]byte, 50)}}
	})
	h := l.say(newGuest(1), discover, wants(200, 201))
	if l.must(h, offered); h.Options[optOverload] != nil || h.Options[201] != nil || h.BootFileName != "" || h.ServerHostName != "" {
		t.Errorf("%s", h.Summary())
	}
}

// TestLayout packs options of any size into any room.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := layout{room: rapid.IntRange(308, 400).Draw(t, "room"), file: rapid.Bool().Draw(t, "file"), sname: rapid.Bool().Draw(t, "sname")}
		l.must(optType, []byte{2})
		total := endLen + 3
		n := rapid.IntRange(0, 12).Draw(t, "options")
		for i := range n {
			data := make([]byte, rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(50, 130), rapid.IntRange(200, 400)).Draw(t, "length"))
			l.may(byte(100+i), data)
			total += len(data) + 2
			if len(data) > 255 {
				total += 2
			}
		}
		p := &dhcpv4.DHCPv4{}
		l.pack(p)
		raw := p.ToBytes()
		if len(raw) > headerLen+max(l.room, 60) {
			t.Fatalf("%d bytes of options in a room of %d", len(raw)-headerLen, l.room)
		}
		back, err := dhcpv4.FromBytes(raw)
		if err != nil {
			t.Fatal(err)
		}
		used := byte(0)
		if o := back.Options[optOverload]; o != nil {
			used = o[0]
		}
		if used&overloadsFile != 0 && !l.file || used&overloadsSName != 0 && !l.sname {
			t.Fatalf("a field is used that is not free: %d", used)
		}
		if !readOverload(back, raw) || used&overloadsFile != 0 && !ends(raw[108:236]) || used&overloadsSName != 0 && !ends(raw[44:108]) {
			t.Fatal("the fields can not be read")
		}
		fits := total <= l.room
		if fits && (used != 0 || len(back.Options) != 1+n) {
			t.Fatalf("%d bytes fit into %d, and overload is %d with %d of %d options", total, l.room, used, len(back.Options), n)
		}
		for _, i := range l.items {
			if data, ok := back.Options[i.code]; ok && !bytes.Equal(data, i.data) {
				t.Fatalf("option %d has %d bytes, want %d", i.code, len(data), len(i.data))
			}
		}
	})
}

// ends reports whether options end with the end option.
func ends(b []byte) bool {
	for len(b) > 1 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
		} else {
			b = b[min(len(b), 2+int(b[1])):]
		}
	}
	return len(b) > 0 && b[0] == 255
}

// TestLayoutEdges: the last byte of each place is used, and not one more.
func TestLayoutEdges(t *testing.T) {
	for over := range 2 {
		l := layout{room: 308, file: true, sname: true}
		l.may(200, make([]byte, 250))
		l.may(201, make([]byte, 308-endLen-252-2+over))
		p := &dhcpv4.DHCPv4{}
		l.pack(p)
		if used := len(p.Options[optOverload]) > 0; used != (over > 0) || len(p.Options)+num(p.BootFileName != "") != 2+over {
			t.Errorf("%d bytes too many: overload %v", over, used)
		}
	}
	for over := range 2 {
		l := layout{room: 308, file: true, sname: true}
		l.must(199, make([]byte, 250))
		l.must(198, make([]byte, 50-3))
		l.may(200, make([]byte, 124))
		l.may(201, make([]byte, 60+over))
		p := &dhcpv4.DHCPv4{}
		l.pack(p)
		if len(p.BootFileName) != 127 || (len(p.ServerHostName) == 63) != (over == 0) {
			t.Errorf("%d bytes too many: %d and %d bytes in the fields", over, len(p.BootFileName), len(p.ServerHostName))
		}
	}
}

// TestAskedTwice: what is sent in any case, or asked for twice, takes room once.
func TestAskedTwice(t *testing.T) {
	// Type, server, lease, two times and mask are 3+6+6+6+6+6; 1 for the end.
	fill := minMessage - ipUDPHeader - headerLen - 33 - endLen
	l := newLab(t, func(c *Config) {
		c.NoOverride = true
		c.Options = []option.Option{{Code: 200, Data: make([]byte, 100)}, {Code: 201, Data: make([]byte, fill-100-4)}}
	})
	h := l.say(newGuest(1), discover, wants(1, 200, 200, 1, 201))
	if h.Options[201] == nil || len(h.Payload) != minMessage-ipUDPHeader {
		t.Errorf("%d bytes: %s", len(h.Payload), h.Summary())
	}
}

func TestOverride(t *testing.T) {
	// A configured option goes before what the boot fields make.
	l := newLab(t, richConfig, func(c *Config) { c.Options = []option.Option{{Code: 67, Data: []byte("other.efi")}} })
	h := l.say(newGuest(1), discover, wants(67))
	if string(h.Options[67]) != "other.efi" || h.BootFileName != "pxelinux.0" {
		t.Errorf("%s", h.Summary())
	}
	// The times of RFC 2131 section 4.4.5 can be others.
	l = newLab(t, func(c *Config) { c.Options = []option.Option{{Code: 58, Data: []byte{0, 0, 0, 60}}} })
	if h := l.say(newGuest(1), discover); h.IPAddressRenewalTime(0) != time.Minute || h.IPAddressRebindingTime(0) != 3150*time.Second {
		t.Errorf("%s", h.Summary())
	}
	bad := labConfig()
	bad.Options = []option.Option{{Code: 54, Data: []byte{1, 2, 3, 4}}}
	if _, err := New("lan", bad, newMemStore(), Env{}); err == nil || !contains(err.Error(), "option 54 is set by the server itself") {
		t.Errorf("%v", err)
	}
}

// TestOverload: what does not fit behind the header goes into its two fields.
func TestOverload(t *testing.T) {
	big := func(c *Config) {
		c.Options = []option.Option{
			{Code: 200, Data: bytes.Repeat([]byte{1}, 230)},
			{Code: 201, Data: bytes.Repeat([]byte{2}, 120)},
			{Code: 202, Data: bytes.Repeat([]byte{3}, 60)},
			{Code: 203, Data: bytes.Repeat([]byte{4}, 60)},
		}
	}
	l := newLab(t, big)
	h := l.say(newGuest(1), discover, wants(200, 201, 202, 203))
	if l.must(h, offered); !bytes.Equal(h.Options[optOverload], []byte{3}) || len(h.Payload) > 576-28 {
		t.Fatalf("%d bytes: %s", len(h.Payload), h.Summary())
	}
	file, sname := dhcpv4.Options{}, dhcpv4.Options{}
	if err := file.FromBytes(h.Payload[108:236]); err != nil {
		t.Fatal(err)
	}
	if err := sname.FromBytes(h.Payload[44:108]); err != nil {
		t.Fatal(err)
	}
	if len(h.Options[200]) != 230 || len(file[201]) != 120 || len(sname[202]) != 60 || h.Options[203] != nil {
		t.Errorf("200: %d, 201: %d, 202: %d, 203: %d", len(h.Options[200]), len(file[201]), len(sname[202]), len(h.Options[203]))
	}
	// The boot file's field is not to be had.
	l = newLab(t, big, func(c *Config) { c.Bootfile = "x" })
	h = l.say(newGuest(1), discover, wants(200, 201, 202))
	if !bytes.Equal(h.Options[optOverload], []byte{2}) || h.BootFileName != "x" {
		t.Errorf("%s", h.Summary())
	}
	// A client that can take more gets it all behind the header, and one that
	// claims too much no more than the network carries.
	for _, tt := range []struct {
		size       int
		all        bool
		mtu, limit int
	}{{1000, true, 0, 1000}, {0xffff, true, 0, 1500}, {0, false, 0, 576}, {100, false, 0, 576}, {1400, false, 600, 600}} {
		l = newLab(t, big, func(c *Config) { c.MTU = tt.mtu })
		h = l.say(newGuest(1), discover, wants(200, 201, 202, 203), opt(optMaxSize, byte(tt.size>>8), byte(tt.size)))
		if all := h.Options[203] != nil && h.Options[optOverload] == nil; all != tt.all || len(h.Payload)+28 > tt.limit {
			t.Errorf("size %d: all %v in %d bytes", tt.size, all, len(h.Payload))
		}
	}
}

// TestLongOption is RFC 3396.
func TestLongOption(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789"), 40)
	l := newLab(t, func(c *Config) { c.Options = []option.Option{{Code: 200, Data: long}} })
	h := l.say(newGuest(1), discover, wants(200), opt(optMaxSize, 5, 0))
	if !bytes.Equal(h.Options[200], long) {
		t.Errorf("%d bytes", len(h.Options[200]))
	}
	if bytes.Count(h.Payload, append([]byte{200, 255}, long[:255]...)) != 1 {
		t.Error("not split at 255")
	}
	if h := l.say(newGuest(1), discover, wants(200)); h.Options[200] != nil || len(h.Payload) > 576-28 {
		t.Error("sent without room")
	}
}

// TestEchoes: what a client and a relay sent comes back (RFC 6842, RFC 3046).
func TestEchoes(t *testing.T) {
	l := newLab(t)
	agent := []byte{1, 2, 'e', '1'}
	for _, edit := range [][]func(*dhcpv4.DHCPv4){
		{requested(lan(12)), giaddr(lan(99))},
		{ciaddr(ip("10.9.9.9")), giaddr(lan(99))},
	} {
		h := l.say(newGuest(1, opt(optClientID, 7, 8, 9), opt(optAgent, agent...)), request, edit...)
		l.must(h, nak)
		if !bytes.Equal(h.Options[optClientID], []byte{7, 8, 9}) || !bytes.Equal(h.Options[optAgent], agent) {
			t.Errorf("%s", h.Summary())
		}
	}
	// What goes to all holds nothing that the sender chose.
	h := l.say(newGuest(1, opt(optClientID, 7, 8, 9), opt(optAgent, agent...)), request, requested(lan(12)))
	l.must(h, nak)
	if h.Reply.MAC != broadcastMAC || h.Options[optClientID] != nil || h.Options[optAgent] != nil {
		t.Errorf("%s", h.Summary())
	}
	h = l.say(newGuest(1, opt(optClientID, 7, 8, 9), opt(optAgent, agent...)), discover)
	if !bytes.Equal(h.Options[optClientID], []byte{7, 8, 9}) || !bytes.Equal(h.Options[optAgent], agent) {
		t.Errorf("%s", h.Summary())
	}
	if i := bytes.LastIndex(h.Payload, append([]byte{optAgent, 4}, agent...)); i < 0 || h.Payload[i+6] != 255 {
		t.Error("option 82 is not the last")
	}
}

// TestIdentity: a client identifier makes a client, whatever the MAC address.
func TestIdentity(t *testing.T) {
	l := newLab(t)
	a := l.lease(newGuest(1, opt(optClientID, 1, 1)))
	b := l.lease(newGuest(1, opt(optClientID, 1, 2)))
	c := l.lease(newGuest(2))
	if a == b || b == c || a == c {
		t.Errorf("%s %s %s", a, b, c)
	}
	if l.renew(newGuest(1, opt(optClientID, 1, 2)), a) == ack || l.renew(newGuest(2), a) == ack {
		t.Error("renewed the lease of another identifier")
	}
	if again := l.lease(newGuest(77, opt(optClientID, 1, 1))); again != a {
		t.Errorf("with another MAC address: %s", again)
	}
	// An identifier that looks like a MAC address is none.
	id := append([]byte{}, newGuest(2).mac[:]...)
	if d := l.lease(newGuest(5, opt(optClientID, id...))); d == c {
		t.Error("took the lease of a MAC address by an identifier")
	}
	x, _ := l.at(a)
	if !bytes.Equal(x.ClientID, []byte{1, 1}) {
		t.Errorf("%x", x.ClientID)
	}
	// It is known after a restart.
	l.restart()
	if again := l.lease(newGuest(1, opt(optClientID, 1, 1))); again != a {
		t.Errorf("after a restart: %s", again)
	}
}

// TestMalformed is what is dropped without an answer.
func TestMalformed(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	good := g.payload(discover)
	cut := func(i int, b byte) []byte {
		out := bytes.Clone(good)
		out[i] = b
		return out
	}
	for _, tt := range []struct {
		name    string
		payload []byte
	}{
		{"empty", nil},
		{"short", good[:239]},
		{"without options", good[:240]},
		{"a reply", cut(0, 2)},
		{"hardware address too long", cut(2, 17)},
		{"no cookie", cut(236, 0)},
		{"option beyond the end", append(bytes.Clone(good[:240]), 53, 1, 1, 61, 200, 1)},
		{"too long", append(bytes.Clone(good), make([]byte, maxPayload)...)},
		{"type of two bytes", g.payload(discover, opt(optType, 1, 1))},
		{"BOOTP", g.payload(discover, func(p *dhcpv4.DHCPv4) { delete(p.Options, optType) })},
		{"requested address of three bytes", g.payload(discover, opt(optRequested, 1, 2, 3))},
		{"server identifier of five bytes", g.payload(discover, opt(optServerID, 1, 2, 3, 4, 5))},
		{"size of one byte", g.payload(discover, opt(optMaxSize, 1))},
		{"lease of no bytes", g.payload(discover, opt(optLease))},
		{"client identifier of 256 bytes", g.payload(discover, opt(optClientID, make([]byte, 256)...))},
		{"relay information of 300 bytes", g.payload(discover, opt(optAgent, make([]byte, 300)...))},
		{"overload of two bytes", g.payload(discover, opt(optOverload, 1, 1))},
		{"overloaded file that is cut", g.payload(discover, opt(optOverload, 1), func(p *dhcpv4.DHCPv4) { p.BootFileName = strings.Repeat("\x0c\xff", 63) })},
	} {
		before := l.count("invalid", "malformed")
		l.server.Receive([]Request{{Port: "vm", MAC: g.mac, Payload: tt.payload}})
		if len(l.sent) != 0 || l.count("invalid", "malformed") != before+1 {
			t.Errorf("%s: %d replies", tt.name, len(l.sent))
		}
		l.sent = nil
	}
	// Options in the header's fields count, and a missing end option does not.
	h := l.say(g, discover, opt(optOverload, 3), func(p *dhcpv4.DHCPv4) {
		p.BootFileName, p.ServerHostName = "\x0c\x02vm\xff", "\x32\x04\xc0\xa8\x07\x0b\xff"
	})
	if a := l.must(h, offered); a != lan(11) || h.HostName() != "vm" {
		t.Errorf("overloaded: %s", h.Summary())
	}
	l.server.Receive([]Request{{Port: "vm", MAC: g.mac, Payload: bytes.TrimRight(good, "\xff\x00")}})
	if len(l.sent) != 1 {
		t.Error("no answer to a message without its end")
	}
	for _, kind := range []dhcpv4.MessageType{offered, ack, nak, 0, 77} {
		if h := l.say(g, kind); h != nil {
			t.Errorf("answered to type %d", kind)
		}
	}
	l.check()
}
