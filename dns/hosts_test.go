package dns

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
	wire "github.com/miekg/dns"
)

func TestParseHosts(t *testing.T) {
	text := "# names of the lab\n" +
		"192.168.122.20 db.lab db # the database\n" +
		"\n" +
		"\t fd00:1::20\tdb.lab\r\n" +
		"nonsense here\n" +
		"192.168.122.21\n" +
		"192.168.122.22 good bad..name also-good\n" +
		"192.168.122.23 " + strings.Repeat("x", 64) + "\n" +
		"::ffff:192.168.122.24 mapped\n" +
		"fe80::1%eth0 scoped\n" +
		"192.168.122.25 last"
	lines, problems := parseHosts("hosts", []byte(text))
	var got []string
	for _, h := range lines {
		got = append(got, fmt.Sprint(h.addr, h.names))
	}
	want := []string{
		"192.168.122.20[db.lab db]", "fd00:1::20[db.lab]", "192.168.122.22[good also-good]",
		"192.168.122.24[mapped]", "fe80::1[scoped]", "192.168.122.25[last]",
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], " [", "[")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	const nameHelp = " cannot be a name: use labels of 1 to 63 letters, digits and hyphens, with dots between them"
	if d := cmp.Diff([]string{
		`hosts:5: "nonsense" is no address: write an address and then its names`,
		`hosts:6: 192.168.122.21 has no name: write one behind it`,
		`hosts:7: "bad..name"` + nameHelp,
		`hosts:8: "` + strings.Repeat("x", 40) + `"…` + nameHelp,
	}, problems); d != "" {
		t.Error(d)
	}
}

func TestHostsBounds(t *testing.T) {
	lines, problems := parseHosts("hosts", bytes.Repeat([]byte("10.0.0.1 a b c d e f g h i j\n"), maxHostNames/10+5))
	if len(lines) != maxHostNames/10 || len(problems) != 1 || !strings.Contains(problems[0], fmt.Sprintf("hosts:%d: more than", maxHostNames/10+1)) {
		t.Errorf("%d lines, %q", len(lines), problems)
	}
	_, problems = parseHosts("hosts", bytes.Repeat([]byte("x\n"), 1000))
	if len(problems) != maxProblems+1 || problems[maxProblems] != "hosts: 980 more such lines" {
		t.Errorf("%d problems, the last is %q", len(problems), problems[len(problems)-1])
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	next := path + ".new" // as editors do
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func TestHostsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "10.0.0.1 a.test a2.test\nbad line\n192.168.122.7 box\n")
	cfg := labConfig()
	cfg.HostsFile = path
	l := newLab(t, cfg, labLeases())
	l.expect("a.test", wire.TypeA, "NOERROR aa | a.test. 60 IN A 10.0.0.1")
	l.expect("a2.test", wire.TypeA, "NOERROR aa | a2.test. 60 IN A 10.0.0.1")
	l.expect("1.0.0.10.in-addr.arpa", wire.TypePTR, "NOERROR aa | 1.0.0.10.in-addr.arpa. 60 IN PTR a.test.")
	l.expect("box.lab", wire.TypeA, "NOERROR aa | box.lab. 60 IN A 192.168.122.7")
	l.expect("7.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 7.122.168.192.in-addr.arpa. 60 IN PTR box.lab.")
	if n := l.log.count(path + ":2: "); n != 1 {
		t.Errorf("log: %s", l.log.buf.String())
	}
	l.Tick()
	l.Tick()
	if n := l.log.count(path + ":2: "); n != 1 {
		t.Error("the log repeats itself")
	}

	write(t, path, "10.0.0.2 a.test a2.test\nbad line\n192.168.122.7 box\n") // of the same length
	l.Tick()
	l.expect("a.test", wire.TypeA, "NOERROR aa | a.test. 60 IN A 10.0.0.2")
	if err := os.WriteFile(path, []byte("10.0.0.3 a.test b2.test\n"), 0o600); err != nil { // in place
		t.Fatal(err)
	}
	l.Tick()
	l.expect("a.test", wire.TypeA, "NOERROR aa | a.test. 60 IN A 10.0.0.3")
	l.expect("a2.test", wire.TypeA, "REFUSED")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l.Tick()
	l.Tick()
	l.expect("a.test", wire.TypeA, "NOERROR aa | a.test. 60 IN A 10.0.0.3")
	if n := l.log.count("no such file"); n != 1 {
		t.Errorf("%d messages of a file that is gone", n)
	}
	write(t, path, "10.0.0.4 a.test\n")
	l.Tick()
	l.expect("a.test", wire.TypeA, "NOERROR aa | a.test. 60 IN A 10.0.0.4")

	cfg.HostsFile = ""
	l.Reconfigure(cfg)
	l.expect("a.test", wire.TypeA, "REFUSED")
	cfg.HostsFile = path
	l.Reconfigure(cfg)
	l.expect("a.test", wire.TypeA, "NOERROR aa | a.test. 60 IN A 10.0.0.4")
}

// TestHostsFileBeforeLeases: a name of the file is its own, both ways, as long as it
// stands there.
func TestHostsFileBeforeLeases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	write(t, path, "10.0.0.1 web.lab\n")
	cfg := labConfig()
	cfg.HostsFile = path
	l := newLab(t, cfg, labLeases())
	l.expect("web.lab", wire.TypeA, "NOERROR aa | web.lab. 60 IN A 10.0.0.1")
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, noName+"122.168.192.in-addr.arpa."+soaData)
	l.expect("1.0.0.10.in-addr.arpa", wire.TypePTR, "NOERROR aa | 1.0.0.10.in-addr.arpa. 60 IN PTR web.lab.")

	write(t, path, "192.168.122.50 web.lab\n") // of the same host
	l.Tick()
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 50.122.168.192.in-addr.arpa. 60 IN PTR web.lab.")
	write(t, path, "10.0.0.1 web\n")
	l.Tick()
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, noName+"122.168.192.in-addr.arpa."+soaData)
	write(t, path, "10.0.0.1 web.\n") // not with the domain, with which the lease has it
	l.Tick()
	l.expect("web.lab", wire.TypeA, "NOERROR aa | web.lab. 10 IN A 192.168.122.50")
	l.expect("50.122.168.192.in-addr.arpa", wire.TypePTR, "NOERROR aa | 50.122.168.192.in-addr.arpa. 10 IN PTR web.lab.")
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	write(t, big, "")
	if err := os.Truncate(big, maxHostsFile+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: "is no regular file", big: "at most 16777216 are read", "/dev/zero": "is no regular file", dir + "/none": "no such file",
	} {
		l := newLab(t, Config{HostsFile: path}, nil)
		l.Tick()
		if l.log.count(want) != 1 {
			t.Errorf("%s: log %s", path, l.log.buf.String())
		}
	}
}

// TestSettledFileIsNotRead: a file that has not changed for long is only looked at.
func TestSettledFileIsNotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "1")
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	w := &watched{path: path, limit: 10}
	if _, changed, err := w.read(); !changed || err != nil {
		t.Fatal(changed, err)
	}
	at := w.readAt
	if _, changed, err := w.read(); changed || err != nil || w.readAt != at {
		t.Errorf("read again: %v %v", changed, err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, changed, err := w.read(); changed || err != nil || w.readAt == at {
		t.Errorf("touched: %v %v", changed, err)
	}
}

// TestYoungFile: the time of a file that was just written may be that of the next
// change, too.
func TestYoungFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	now := time.Now()
	w := &watched{path: path, limit: 10}
	for _, text := range []string{"1", "2"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
		if data, changed, err := w.read(); string(data) != text || !changed || err != nil {
			t.Errorf("read %q, changed %v, %v", data, changed, err)
		}
	}
}

func TestParseResolvConf(t *testing.T) {
	text := "# made by hand\n; so\nsearch lab\nnameserver 127.0.0.53\n nameserver\t192.0.2.1 # first\n" +
		"nameserver fe80::1%eth0\nnameserver 192.0.2.1\nnameserver dns.example\nnameserver\noptions edns0\n#nameserver 192.0.2.9\nnameserver 2001:db8::1"
	got, problems := parseResolvConf("resolv.conf", []byte(text))
	var list []string
	for _, a := range got {
		list = append(list, a.String())
	}
	if s := strings.Join(list, " "); s != "127.0.0.53:53 192.0.2.1:53 [fe80::1%eth0]:53 [2001:db8::1]:53" {
		t.Error(s)
	}
	if d := cmp.Diff([]string{
		`resolv.conf:8: "dns.example" is no address: a name server is given by one`,
		`resolv.conf:9: nameserver has no address: write one behind it`,
	}, problems); d != "" {
		t.Error(d)
	}
	var many strings.Builder
	for i := range 20 {
		fmt.Fprintf(&many, "nameserver 192.0.2.%d\n", i)
	}
	if got, problems := parseResolvConf("r", []byte(many.String())); len(got) != maxNameservers || len(problems) != 1 {
		t.Errorf("%v, %q", got, problems)
	}
	if _, problems := parseResolvConf("r", nil); len(problems) != 1 || !strings.Contains(problems[0], "names no server") {
		t.Errorf("%q", problems)
	}
}

// TestHostUpstream: the resolvers of the host are followed, and the gateway itself is
// never one of them.
func TestHostUpstream(t *testing.T) {
	first, second := addressServer(t, "192.0.2.1"), addressServer(t, "192.0.2.2")
	path := filepath.Join(t.TempDir(), "resolv.conf")
	write(t, path, "nameserver 192.168.122.1\nnameserver 127.0.0.53\n")
	cfg := Config{Gateway: []netip.Prefix{netip.MustParsePrefix("192.168.122.1/24")}, Cache: 10, Upstream: []string{"host"}, Domains: map[string][]string{"corp.test": {"host"}}}
	l := newLab(t, cfg, nil, func(e *Env) {
		e.ResolvConf = path
		e.Dial = dialer(map[string]*server{"127.0.0.53:53": first, "192.0.2.53:53": second})
	}).patient()
	servers := func() string {
		var out []string
		for _, u := range l.Stats().Upstreams {
			out = append(out, u.Domain+"@"+u.Address)
		}
		return strings.Join(out, " ")
	}
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
	l.expect("a.corp.test", wire.TypeA, "NOERROR | a.corp.test. 300 IN A 192.0.2.1")
	if got := servers(); got != "@127.0.0.53:53 corp.test@127.0.0.53:53" {
		t.Error(got)
	}
	write(t, path, "nameserver 192.0.2.53\n")
	l.Tick()
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.2")
	if got := servers(); got != "@192.0.2.53:53 corp.test@192.0.2.53:53" {
		t.Error(got)
	}
	write(t, path, "# nothing\n")
	l.Tick()
	l.expect("a.test", wire.TypeA, "REFUSED")
	write(t, path, "nameserver 127.0.0.53\n")
	l.Tick()
	l.expect("a.test", wire.TypeA, "NOERROR | a.test. 300 IN A 192.0.2.1")
	cfg.Upstream, cfg.Domains = nil, nil
	l.Reconfigure(cfg)
	l.expect("a.test", wire.TypeA, "REFUSED")
	l.wait("the probes are over", func() bool { return !l.probing() })
}
