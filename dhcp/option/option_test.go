package option

import (
	"bytes"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		key, value string
		code       uint8
		want       string
	}{
		// Addresses.
		{"1", "255.255.255.0", 1, "\xff\xff\xff\x00"},
		{"router", "192.0.2.1", 3, "\xc0\x00\x02\x01"},
		{"option:router", "192.0.2.1, 192.0.2.2", 3, "\xc0\x00\x02\x01\xc0\x00\x02\x02"},
		{"option:42", "192.0.2.1", 42, "\xc0\x00\x02\x01"},
		{" Option:NTP-Server ", " 192.0.2.1 ", 42, "\xc0\x00\x02\x01"},
		{"ntp-servers", "192.0.2.1", 42, "\xc0\x00\x02\x01"},
		{"static-route", "10.0.0.1,192.0.2.1", 33, "\x0a\x00\x00\x01\xc0\x00\x02\x01"},
		// Numbers.
		{"26", "1400", 26, "\x05\x78"},
		{"mtu", "0x578", 26, "\x05\x78"},
		{"default-ttl", "255", 23, "\xff"},
		{"path-mtu-plateau", "68,1500", 25, "\x00\x44\x05\xdc"},
		{"time-offset", "-3600", 2, "\xff\xff\xf1\xf0"},
		{"time-offset", "2147483647", 2, "\x7f\xff\xff\xff"},
		// Times.
		{"T1", "1800", 58, "\x00\x00\x07\x08"},
		{"t2", "30m", 59, "\x00\x00\x07\x08"},
		{"arp-timeout", "2h", 35, "\x00\x00\x1c\x20"},
		{"arp-timeout", "1D", 35, "\x00\x01\x51\x80"},
		{"arp-timeout", "1w", 35, "\x00\x09\x3a\x80"},
		{"arp-timeout", "5s", 35, "\x00\x00\x00\x05"},
		{"arp-timeout", "infinite", 35, "\xff\xff\xff\xff"},
		// Switches.
		{"ip-forward-enable", "true", 19, "\x01"},
		{"ip-forward-enable", "No", 19, "\x00"},
		{"ip-forward-enable", "1", 19, "\x01"},
		// Text keeps its commas; quotes keep its blanks.
		{"root-path", "/srv/root,v3,tcp", 17, "/srv/root,v3,tcp"},
		{"root-path", `" padded "`, 17, " padded "},
		{"root-path", "01:02:03", 17, "01:02:03"},
		{"bootfile-name", "pxelinux.0", 67, "pxelinux.0"},
		{"domain-name", "lab.example", 15, "lab.example"},
		// The two examples of RFC 3397 section 2.
		{"domain-search", "eng.apple.com,marketing.apple.com", 119,
			"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04"},
		{"domain-search", "Lab.Example., lab.example", 119, "\x03lab\x07example\x00\xc0\x00"},
		// Never compressed: RFC 5223 and RFC 6011.
		{"lost-server", "lost.example", 137, "\x04lost\x07example\x00"},
		{"sip-ua-domain", "a.example,b.example", 141, "\x01a\x07example\x00\x01b\x07example\x00"},
		// The two forms of RFC 3361 section 3.
		{"sip-server", "192.0.2.10,192.0.2.11", 120, "\x01\xc0\x00\x02\x0a\xc0\x00\x02\x0b"},
		{"sip-server", "example.com,example.net", 120, "\x00\x07example\x03com\x00\x07example\x03net\x00"},
		// The examples of RFC 3442, "Classless Route Option Format".
		{"121", "0.0.0.0/0,10.0.0.1", 121, "\x00\x0a\x00\x00\x01"},
		{"121", "10.0.0.0/8,10.0.0.1", 121, "\x08\x0a\x0a\x00\x00\x01"},
		{"121", "10.17.0.0/16,10.0.0.1", 121, "\x10\x0a\x11\x0a\x00\x00\x01"},
		{"121", "10.27.129.0/24,10.0.0.1", 121, "\x18\x0a\x1b\x81\x0a\x00\x00\x01"},
		{"121", "10.229.0.128/25,10.0.0.1", 121, "\x19\x0a\xe5\x00\x80\x0a\x00\x00\x01"},
		{"121", "10.198.122.47/32,10.0.0.1", 121, "\x20\x0a\xc6\x7a\x2f\x0a\x00\x00\x01"},
		{"249", "10.198.122.47,10.0.0.1", 249, "\x20\x0a\xc6\x7a\x2f\x0a\x00\x00\x01"},
		// Unknown ones and those of vendors, by what they look like.
		{"224", "hello, world", 224, "hello, world"},
		{"224", "01:2:ff", 224, "\x01\x02\xff"},
		{"224", "0x0102FF", 224, "\x01\x02\xff"},
		{"224", "0x05", 224, "\x05"},
		{"224", "5", 224, "5"},
		{"224", "192.0.2.1,192.0.2.2", 224, "\xc0\x00\x02\x01\xc0\x00\x02\x02"},
		{"224", "192.0.2.1,other", 224, "192.0.2.1,other"},
		{"224", `"192.0.2.1"`, 224, "192.0.2.1"},
		{"224", `"01:02"`, 224, "01:02"},
		{"224", "001:02", 224, "001:02"},
		{"224", "http://192.0.2.1/", 224, "http://192.0.2.1/"},
		{"vendor-class", "PXEClient", 60, "PXEClient"},
		{"vendor-encap", "06:01:08", 43, "\x06\x01\x08"},
		{"254", "x", 254, "x"},
	} {
		got, err := Parse(tt.key, tt.value)
		if err != nil || got.Code != tt.code || string(got.Data) != tt.want {
			t.Errorf("%s %q: %d %q %v, want %d %q", tt.key, tt.value, got.Code, got.Data, err, tt.code, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ key, value, want string }{
		{"", "x", "has no number and no name"},
		{"option:", "x", "has no number and no name"},
		{"0", "x", "is not the number of an option: 1-254"},
		{"255", "x", "is not the number of an option: 1-254"},
		{"256", "x", "is not the number of an option: 1-254"},
		{"4294967297", "x", "is not the number of an option: 1-254"},
		{"4x", "x", "is not the number of an option: 1-254"},
		{"-1", "x", "is not the name of an option"},
		{"ntp-sever", "x", "is not the name of an option that is known here: give its number"},
		{"option6:23", "x", "is an option of DHCPv6"},
		{"server-ip-address", "192.0.2.1", "use next_server"},
		{"lease-time", "1h", "is set by the server itself: use lease"},
		{"53", "1", "is set by the server itself"},
		{"3", "", "has no value"},
		{"3", "  ", "has no value"},
		{"17", `""`, "has no value"},
		{"3", "192.0.2.1,", `"" is not an IPv4 address`},
		{"3", "192.0.2.256", `"192.0.2.256" is not an IPv4 address`},
		{"3", "2001:db8::1", `"2001:db8::1" is not an IPv4 address`},
		{"3", "::ffff:192.0.2.1", "is not an IPv4 address"},
		{"1", "255.255.255.0,255.0.0.0", "takes one value, not 2"},
		{"33", "10.0.0.1", "takes addresses in pairs, not 1"},
		{"26", "65536", `"65536" is not a whole number from 0 to 65535`},
		{"26", "-1", "is not a whole number"},
		{"26", "1k", "is not a whole number"},
		{"23", "256", "from 0 to 255"},
		{"2", "2147483648", "from -2147483648 to 2147483647"},
		{"25", "68,x", `"x" is not a whole number`},
		{"58", "-1", "is not a time"},
		{"58", "4294967296", "is not a time"},
		{"58", "49711d", "is not a time"},
		{"58", "h", "is not a time"},
		{"19", "maybe", `"maybe" is neither true nor false`},
		{"15", "a..b", "is not a domain name: a part between dots has 1-63 characters"},
		{"15", strings.Repeat("a", 64), "a part between dots"},
		{"15", strings.Repeat("a.", 128), "1-253 characters"},
		{"15", "two words", "it has letters, digits, - and dots"},
		{"119", "lab,bad name", "is not a domain name"},
		{"137", "bad name", "is not a domain name"},
		{"120", "example.com,192.0.2.1", "takes names or IPv4 addresses, not both"},
		{"121", "10.0.0.0/8", "takes a network and its router in turn"},
		{"121", "10.0.0.1/8,192.0.2.1", `"10.0.0.1/8" has bits beside its prefix: 10.0.0.0/8 is the network`},
		{"121", "2001:db8::/32,192.0.2.1", "is not an IPv4 network such as 10.0.0.0/8"},
		{"121", "2001:db8::,192.0.2.1", "is not an IPv4 network"},
		{"121", "10.0.0.0/33,192.0.2.1", "is not an IPv4 network"},
		{"121", "10.0.0.0/8,gateway", `"gateway" is not an IPv4 address`},
		{"17", "a\x00b", "control character U+0000"},
		{"17", "a\nb", "control character U+000A"},
		{"17", "\xff\xfe", "is not text in UTF-8"},
		{"224", "0x012", "is not hex bytes"},
		{"224", strings.Repeat("x", MaxData+1), "is 1025 bytes long: at most 1024"},
		{"119", strings.Repeat("abcdefghi.jklmnopqrs,", 3) + many(200), "at most 1024"},
	} {
		got, err := Parse(tt.key, tt.value)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n") {
			t.Errorf("%s %.40q: %v %v, want %q", tt.key, tt.value, got, err, tt.want)
		}
	}
	if got, err := Parse("224", strings.Repeat("x", MaxData)); err != nil || len(got.Data) != MaxData {
		t.Errorf("the longest value: %v", err)
	}
}

// many is n names that have nothing in common.
func many(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("host%d.zone%d", i, i))
	}
	return strings.Join(names, ",")
}

// What the server makes anew for each message is refused, and all else is taken
// in some form.
func TestEveryCode(t *testing.T) {
	values := []string{"192.0.2.1", "1", "x.example", "192.0.2.1,192.0.2.2", "10.0.0.0/8,192.0.2.1"}
	for code := 1; code <= 254; code++ {
		taken := false
		for _, v := range values {
			got, err := Parse(fmt.Sprint(code), v)
			if err == nil && int(got.Code) != code {
				t.Fatalf("option %d became %d", code, got.Code)
			}
			taken = taken || err == nil
		}
		_, isOwned := owned[uint8(code)]
		if taken == isOwned {
			t.Errorf("option %d: taken %v, the server's own %v", code, taken, isOwned)
		}
	}
	for _, code := range []uint8{50, 51, 52, 53, 54, 55, 57, 61, 80, 81, 82} {
		if owned[code] == "" {
			t.Errorf("option %d: anybody may set it", code)
		}
	}
}

// Each name leads to the option it stands at, and none to two.
func TestNames(t *testing.T) {
	seen := map[string]int{}
	for code := range table {
		name := Name(uint8(code))
		if name == "" {
			continue
		}
		lower := strings.ToLower(name)
		if other, ok := seen[lower]; ok {
			t.Errorf("%q is option %d and %d", name, other, code)
		}
		seen[lower] = code
		if got, err := parseKey(name); err != nil || int(got) != code {
			t.Errorf("%q: %d %v, want %d", name, got, err, code)
		}
	}
	for alias := range aliases {
		if _, ok := seen[alias]; ok || alias != strings.ToLower(alias) {
			t.Errorf("%q can not be an alias", alias)
		}
	}
	for code, want := range map[uint8]string{0: "", 1: "netmask", 58: "T1", 121: "classless-static-route", 224: "", 255: ""} {
		if got := Name(code); got != want {
			t.Errorf("option %d is called %q, want %q", code, got, want)
		}
	}
}

// A client's library reads what was meant.
func TestClientReadsRoutes(t *testing.T) {
	got := parsed(t, "classless-static-route", "10.0.0.0/8,192.0.2.1,0.0.0.0/0,192.0.2.2,10.1.2.3,192.0.2.3")
	var routes dhcpv4.Routes
	if err := routes.FromBytes(got); err != nil {
		t.Fatal(err)
	}
	want := []string{"10.0.0.0/8 192.0.2.1", "0.0.0.0/0 192.0.2.2", "10.1.2.3/32 192.0.2.3"}
	for i, r := range routes {
		if len(routes) != len(want) || r.Dest.String()+" "+r.Router.String() != want[i] {
			t.Errorf("routes %v, want %v", routes, want)
		}
	}
}

func TestClientReadsNames(t *testing.T) {
	want := []string{"eng.apple.com", "marketing.apple.com", "apple.com", "com", "other.example"}
	got := parsed(t, "domain-search", strings.Join(want, ","))
	labels, err := rfc1035label.FromBytes(got)
	if err != nil || strings.Join(labels.Labels, " ") != strings.Join(want, " ") {
		t.Errorf("names %v %v, want %v", labels, err, want)
	}
}

func TestClientReadsTheRest(t *testing.T) {
	m, err := dhcpv4.New(
		dhcpv4.WithGeneric(dhcpv4.OptionNTPServers, parsed(t, "42", "192.0.2.1,192.0.2.2")),
		dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, parsed(t, "mtu", "1400")),
		dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, parsed(t, "T1", "infinite")),
	)
	if err != nil {
		t.Fatal(err)
	}
	if ntp := m.NTPServers(); len(ntp) != 2 || !ntp[1].Equal(net.IPv4(192, 0, 2, 2)) {
		t.Errorf("NTP servers %v", ntp)
	}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, m.Options); err != nil || mtu != 1400 {
		t.Errorf("MTU %d %v", mtu, err)
	}
	if t1 := m.IPAddressRenewalTime(0); t1.Seconds() != math.MaxUint32 {
		t.Errorf("T1 %v", t1)
	}
}

func parsed(t *testing.T, key, value string) []byte {
	t.Helper()
	o, err := Parse(key, value)
	if err != nil {
		t.Fatal(err)
	}
	return o.Data
}

// Whatever is written, an option is made that fits, or one clause says why not.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"192.0.2.1,192.0.2.2", "1h", "10.0.0.0/8,192.0.2.1", "a.b,c.b", "01:02", "0x01", `"x"`, `"`, ",", "true"} {
		for _, key := range []string{"3", "mtu", "option:T1", "119", "120", "121", "224", "255"} {
			f.Add(key, s)
		}
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		o, err := Parse(key, value)
		if err != nil {
			if err.Error() == "" || strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%q %q: error %q", key, value, err)
			}
			return
		}
		if _, isOwned := owned[o.Code]; isOwned || o.Code == 0 || o.Code == 255 {
			t.Errorf("%q: option %d", key, o.Code)
		}
		if len(o.Data) == 0 || len(o.Data) > MaxData {
			t.Errorf("%q %q: %d bytes", key, value, len(o.Data))
		}
		again, err := Parse(key, value)
		if err != nil || !bytes.Equal(again.Data, o.Data) {
			t.Errorf("%q %q: not the same again", key, value)
		}
		if table[o.Code].format == search {
			if labels, err := rfc1035label.FromBytes(o.Data); err != nil || len(labels.Labels) != strings.Count(value, ",")+1 {
				t.Errorf("%q: %v %v", value, labels, err)
			}
		}
	})
}
