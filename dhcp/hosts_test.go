package dhcp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dhcp/lease"
)

var sameHosts = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestParseHosts(t *testing.T) {
	mac := func(last byte) frame.MAC { return frame.MAC{0x52, 0x54, 0, 0xfb, 0, last} }
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		line string
		want Host
	}{
		// As libvirt writes it.
		{"52:54:00:fb:00:01,192.168.122.10,web", Host{MAC: mac(1), Address: addr("192.168.122.10"), Name: "web"}},
		{"52:54:00:fb:00:01,192.168.122.10,web,infinite", Host{MAC: mac(1), Address: addr("192.168.122.10"), Name: "web", Lease: Infinite}},
		{"id:01:52:54:00:fb:00:01,192.168.122.10", Host{ClientID: []byte{1, 0x52, 0x54, 0, 0xfb, 0, 1}, Address: addr("192.168.122.10")}},
		// Any order after the client, blanks, case, tags, a comment, an end of Windows.
		{" 52:54:00:FB:00:01 , Web , 1h , 192.168.122.10 ", Host{MAC: mac(1), Address: addr("192.168.122.10"), Name: "web", Lease: time.Hour}},
		{"set:known,52:54:0:fb:0:1,tag:lan,web,net:x", Host{MAC: mac(1), Name: "web"}},
		{"52:54:00:fb:00:01,192.168.122.10 # the first", Host{MAC: mac(1), Address: addr("192.168.122.10")}},
		{"52:54:00:fb:00:01,192.168.122.10\r", Host{MAC: mac(1), Address: addr("192.168.122.10")}},
		{"52:54:00:fb:00:01,web.lab.example.", Host{MAC: mac(1), Name: "web"}},
		{"52:54:00:fb:00:01,my_host", Host{MAC: mac(1), Name: "my_host"}},
		{"52:54:00:fb:00:01,ignore", Host{MAC: mac(1), Ignore: true}},
		{"52:54:00:fb:00:01,id:printer,192.168.122.10", Host{MAC: mac(1), ClientID: []byte("printer"), Address: addr("192.168.122.10")}},
		{"52:54:00:fb:00:01,id:*,192.168.122.10", Host{MAC: mac(1), Address: addr("192.168.122.10")}},
		{"id:Printer,IGNORE", Host{ClientID: []byte("Printer"), Ignore: true}},
		{"id:01:zz,printer", Host{ClientID: []byte("01:zz"), Name: "printer"}},
		// Lease times.
		{"52:54:00:fb:00:01,45m", Host{MAC: mac(1), Lease: 45 * time.Minute}},
		{"52:54:00:fb:00:01,120", Host{MAC: mac(1), Lease: 2 * time.Minute}},
		{"52:54:00:fb:00:01,600s", Host{MAC: mac(1), Lease: 10 * time.Minute}},
		{"52:54:00:fb:00:01,365d", Host{MAC: mac(1), Lease: 365 * 24 * time.Hour}},
		{"52:54:00:fb:00:01,52w", Host{MAC: mac(1), Lease: 52 * 7 * 24 * time.Hour}},
		// What is not quite a time is a name.
		{"52:54:00:fb:00:01,1h1", Host{MAC: mac(1), Name: "1h1"}},
		{"52:54:00:fb:00:01,m", Host{MAC: mac(1), Name: "m"}},
	} {
		got, _, problems := parseHosts("hosts", []byte(tt.line))
		if len(problems) > 0 || len(got) != 1 || !cmp.Equal(got[0], tt.want, sameHosts) {
			t.Errorf("%q: %v %v", tt.line, problems, cmp.Diff([]Host{tt.want}, got, sameHosts))
		}
	}
}

func TestParseHostsRefuses(t *testing.T) {
	const m = "52:54:00:fb:00:01"
	for _, tt := range []struct{ line, want string }{
		{m, "nothing for the client: give an address, a name, a lease time or ignore"},
		{m + ",set:known", "nothing for the client"},
		{"web,192.168.122.10", "a client is known by its MAC address, or by id: and a client identifier: begin the line with one"},
		{"id:*,192.168.122.10", "begin the line with one"},
		{m + ",52:54:00:fb:00:02,192.168.122.10", "two MAC addresses: give each a line of its own"},
		{m + ",192.168.122.10,192.168.122.11", "two addresses: a client has one"},
		{m + ",web,db", `"db" is a second name`},
		{m + ",web,1h,2h", "two lease times"},
		{m + ",id:a,id:b,web", "two client identifiers"},
		{m + ",,web", "an empty part between commas"},
		{m + ",web,", "an empty part between commas"},
		{"52:54:00:fb:*:*,web", "52:54:00:fb:*:*: a MAC address with * is not supported: give each client a line of its own"},
		{"52:54:00:fb:00,web", `"52:54:00:fb:00" is not a MAC address such as 52:54:00:fb:00:01`},
		{"52:54:00:fb:00:01:02,web", "is not a MAC address"},
		{"52:54:00:fb:00:001,web", "is not a MAC address"},
		{"01:00:5e:00:00:01,web", "01:00:5e:00:00:01 is no client's MAC address"},
		{"00:00:00:00:00:00,web", "00:00:00:00:00:00 is no client's MAC address"},
		{m + ",[fd00::1]", "[fd00::1]: this server gives IPv4 addresses only"},
		{m + ",0.0.0.0", "0.0.0.0 is not an address for a client"},
		{m + ",224.0.0.1", "224.0.0.1 is not an address for a client"},
		{m + ",192.168.122.256,web", `"192.168.122.256" is not an IPv4 address`},
		{m + ",192.168.122,web", `"192.168.122" is not an IPv4 address`},
		{m + ",-", `"-" is neither an address, a name, a lease time nor ignore`},
		{m + ",_host", `"_host" is neither an address, a name, a lease time nor ignore`},
		{m + ",-web", `"-web" is neither`},
		{m + ",web..lab", `"web..lab" is neither`},
		{m + "," + strings.Repeat("a", 64), "is neither an address"},
		{m + ",1m", "1m is no lease time: 2m to 365d, or infinite"},
		{m + ",366d", "366d is no lease time"},
		{m + ",99999999999999999999w", "is no lease time"},
		{m + ",0", "0 is no lease time"},
		{"id:,web", "id: has 1-255 bytes"},
		{"id:" + strings.Repeat("x", 256) + ",web", "id: has 1-255 bytes"},
		{"id:" + strings.Repeat("1:", 255) + "1,web", "id: has 1-255 bytes"},
	} {
		// The lines around a bad one hold.
		data := "02:00:00:00:00:01,10.0.0.1\n\n" + tt.line + "\n02:00:00:00:00:02,10.0.0.2"
		got, _, problems := parseHosts("hosts", []byte(data))
		if len(got) != 2 || len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "hosts:3: ") || !strings.Contains(problems[0].Error(), tt.want) {
			t.Errorf("%.60q: %d hosts, %v, want %q", tt.line, len(got), problems, tt.want)
		}
	}
	if got, _, problems := parseHosts("hosts", []byte("id:"+strings.Repeat("1:", 254)+"1,web")); len(got) != 1 || len(got[0].ClientID) != 255 {
		t.Errorf("the longest identifier: %v", problems)
	}
}

// What two lines claim belongs to the first.
func TestParseHostsTwice(t *testing.T) {
	got, _, problems := parseHosts("hosts", []byte(`# reservations
02:00:00:00:00:01,id:a,10.0.0.1,web
02:00:00:00:00:01,10.0.0.2
02:00:00:00:00:02,id:a,10.0.0.3
02:00:00:00:00:02,10.0.0.1
02:00:00:00:00:02,10.0.0.2
02:00:00:00:00:03,db
02:00:00:00:00:04,ignore
`))
	if len(got) != 4 || got[1].Address != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("%+v", got)
	}
	want := "[hosts:3: 02:00:00:00:00:01 is in line 2 already hosts:4: the client identifier is in line 2 already hosts:5: 10.0.0.1 is in line 2 already]"
	if s := fmt.Sprint(problems); s != want {
		t.Errorf("%s, want %s", s, want)
	}
}

func TestParseHostsBounds(t *testing.T) {
	var many bytes.Buffer
	many.WriteString("\xef\xbb\xbf")
	for i := range maxHosts + 10 {
		fmt.Fprintf(&many, "02:00:%02x:%02x:%02x:01,ignore\n", i>>16, i>>8&255, i&255)
	}
	got, _, problems := parseHosts("hosts", many.Bytes())
	if len(got) != maxHosts || len(problems) != 1 || problems[0].Error() != "hosts:65537: more than 65536 hosts: this line and the rest are left out" {
		t.Errorf("%d hosts, %v", len(got), problems)
	}
	bad := strings.Repeat("bad\n", maxHostsProblems+7)
	got, _, problems = parseHosts("hosts", []byte(bad+"02:00:00:00:00:01,ignore"))
	if len(got) != 1 || len(problems) != maxHostsProblems+1 || problems[maxHostsProblems].Error() != "hosts: 7 more lines are left out" {
		t.Errorf("%d hosts, %d problems, the last %v", len(got), len(problems), problems[len(problems)-1])
	}
}

func TestReadHosts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "hosts")
	write := func(name, data string, age time.Duration) {
		t.Helper()
		when := time.Now().Add(-age)
		writeFile(t, name, []byte(data))
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	read := func(want int) hostsStamp {
		t.Helper()
		hosts, _, stamp, problems, err := readHosts(path)
		if err != nil || len(hosts) != want || len(problems) != 0 {
			t.Fatalf("%d hosts, %v %v, want %d", len(hosts), problems, err, want)
		}
		return stamp
	}
	const one, two = "02:00:00:00:00:01,web\n", "02:00:00:00:00:02,web\n"

	write(path, one, time.Hour)
	stamp := read(1)
	if stampHosts(path) != stamp || read(1) != stamp {
		t.Error("what has not changed has another stamp")
	}
	// In place, of the same length, with the time set back as it was.
	old, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	for changed := false; !changed; changed = stampHosts(path) != stamp { // within a tick of the clock it can not be seen
		time.Sleep(5 * time.Millisecond)
		writeFile(t, path, []byte(two))
		if err := os.Chtimes(path, old.ModTime(), old.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	// By renaming.
	stamp = read(1)
	write(path+".new", one+two, time.Hour)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if stampHosts(path) == stamp {
		t.Error("another file has the same stamp")
	}
	// A file that was written just now may be written again in the same tick.
	write(path, one+two, 0)
	if stamp = read(2); stampHosts(path) == stamp {
		t.Error("what is being written counts as read")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if stampHosts(path) != (hostsStamp{}) || stampHosts(path) == stamp {
		t.Error("no file has a stamp")
	}
}

func TestReadHostsRefuses(t *testing.T) {
	dir := t.TempDir()
	long, pipe, folder := filepath.Join(dir, "long"), filepath.Join(dir, "pipe"), filepath.Join(dir, "folder")
	writeFile(t, long, nil)
	for _, err := range []error{os.Truncate(long, maxHostsSize+1), unix.Mkfifo(pipe, 0o600), os.Mkdir(folder, 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ path, want string }{
		{filepath.Join(dir, "none"), "no such file or directory"},
		{long, "is longer than 16 MiB"},
		{pipe, "is not a regular file"},
		{folder, "is not a regular file"},
	} {
		hosts, _, stamp, problems, err := readHosts(tt.path)
		if err == nil || err.Error() != "hosts file "+tt.path+": "+tt.want || hosts != nil || problems != nil {
			t.Errorf("%v %v %v, want %q", hosts, problems, err, tt.want)
		}
		if stampHosts(tt.path) != stamp {
			t.Errorf("%s: read again though nothing has changed", tt.path)
		}
	}
}

// Whatever is in a file, hosts are good ones and each line is one or a problem.
func FuzzParseHosts(f *testing.F) {
	f.Add([]byte("52:54:00:fb:00:01,id:01:02,192.168.122.10,web,1h # x\nid:a,set:b,ignore\n"))
	f.Add([]byte("52:54:00:fb:*:01,[::1],infinite\n,\n#\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		hosts, _, problems := parseHosts("hosts", data)
		if n := bytes.Count(data, []byte("\n")) + 1; len(hosts)+len(problems) > n {
			t.Errorf("%d hosts and %d problems in %d lines", len(hosts), len(problems), n)
		}
		addrs := map[netip.Addr]bool{}
		for _, h := range hosts {
			good := (h.MAC != frame.MAC{} || len(h.ClientID) > 0) && !h.MAC.IsGroup() && len(h.ClientID) <= 255 &&
				(!h.Address.IsValid() || h.Address.Is4() && !addrs[h.Address]) && (h.Name == "" || lease.IsHostLabel(h.Name)) &&
				(h.Lease == 0 || h.Lease == Infinite || h.Lease >= minHostLease && h.Lease <= maxHostLease)
			if !good {
				t.Errorf("%+v", h)
			}
			addrs[h.Address] = true
		}
		for _, p := range problems {
			if strings.Contains(p.Error(), "\n") {
				t.Errorf("%q", p)
			}
		}
	})
}
