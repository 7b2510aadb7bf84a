package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
	"github.com/weft/weft/ports/porttest"
)

// digged is what dig has printed of an answer. Records have single blanks and no
// TTL; sections are sorted.
type digged struct {
	raw                           string
	status, flags                 string
	answer, authority, additional []string
}

// dig asks the gateway, or whom the arguments name, once.
func dig(t *testing.T, from *porttest.NS, args ...string) digged {
	t.Helper()
	a, err := tryDig(from, args...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tryDig(from *porttest.NS, args ...string) (digged, error) {
	// Without a file of its own settings, and without a cookie, which would make
	// no two answers alike.
	all := []string{"-r", "+time=20", "+tries=1", "+nocookie"}
	if !slices.ContainsFunc(args, func(s string) bool { return strings.HasPrefix(s, "@") }) {
		all = append(all, "@"+gatewayAddress)
	}
	out, err := from.TryRun("dig", append(all, args...)...)
	if err != nil {
		return digged{}, err
	}
	return parseDig(out), nil
}

var (
	digStatus = regexp.MustCompile(`status: (\w+)`)
	digFlags  = regexp.MustCompile(`;; flags: ([a-z ]*);`)
)

func parseDig(out string) digged {
	a := digged{raw: out}
	if m := digStatus.FindStringSubmatch(out); m != nil {
		a.status = m[1]
	}
	if m := digFlags.FindStringSubmatch(out); m != nil {
		a.flags = m[1]
	}
	var section *[]string
	for _, line := range strings.Split(out, "\n") {
		switch {
		case line == ";; ANSWER SECTION:":
			section = &a.answer
		case line == ";; AUTHORITY SECTION:":
			section = &a.authority
		case line == ";; ADDITIONAL SECTION:":
			section = &a.additional
		case line == "" || strings.HasPrefix(line, ";"):
			section = nil
		case section != nil:
			words := strings.Fields(line)
			*section = append(*section, strings.Join(slices.Delete(words, 1, 2), " "))
		}
	}
	slices.Sort(a.answer)
	slices.Sort(a.authority)
	slices.Sort(a.additional)
	return a
}

// leaseOf gets a lease on eth0 of a host by BusyBox' client, under a host name
// where one is given, and returns the address; empty where nobody answers. The
// address is not put on eth0.
func leaseOf(t *testing.T, h *porttest.NS, name string) string {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" != bound ] || echo \"$ip\" >"+dir+"/ip\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "4", "-T", "1", "-s", script}
	if name != "" {
		args = append(args, "-x", "hostname:"+name)
	}
	out, err := h.TryRun("busybox", args...)
	ip, readErr := os.ReadFile(filepath.Join(dir, "ip"))
	if (err == nil) != (readErr == nil) {
		t.Fatalf("udhcpc: %v, %v\n%s", err, readErr, out)
	}
	return strings.TrimSpace(string(ip))
}

// upstream is a name server of the test's own, which keeps count.
type upstream struct {
	addr string
	zone map[string][]dns.RR // by name and type
	soa  dns.RR

	mu     sync.Mutex
	asked  map[string]int
	silent bool
	fails  bool
}

// startUpstream runs a name server with records of the form of a zone file. All
// that it does not have it says is not there.
func startUpstream(t *testing.T, ns *porttest.NS, addr string, records ...string) *upstream {
	t.Helper()
	u := &upstream{addr: addr, zone: map[string][]dns.RR{}, asked: map[string]int{}}
	for _, text := range append(records, ". 300 SOA ns.example. root.example. 1 3600 600 86400 60") {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		if h := rr.Header(); h.Rrtype == dns.TypeSOA {
			u.soa = rr
		} else {
			k := u.key(h.Name, h.Rrtype)
			u.zone[k] = append(u.zone[k], rr)
		}
	}
	var packets net.PacketConn
	var listener net.Listener
	var err error
	ns.Do(func() {
		if packets, err = net.ListenPacket("udp", addr); err == nil {
			listener, err = net.Listen("tcp", addr)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range []*dns.Server{{PacketConn: packets, Handler: u}, {Listener: listener, Handler: u}} {
		var up, down sync.WaitGroup
		up.Add(1)
		server.NotifyStartedFunc = up.Done
		down.Go(func() { _ = server.ActivateAndServe() })
		up.Wait()
		t.Cleanup(func() {
			_ = server.Shutdown()
			down.Wait()
		})
	}
	return u
}

func (u *upstream) key(name string, kind uint16) string {
	return strings.ToLower(name) + " " + dns.TypeToString[kind]
}

// ServeDNS implements dns.Handler.
func (u *upstream) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	question := q.Question[0]
	k := u.key(question.Name, question.Qtype)
	u.mu.Lock()
	u.asked[k]++
	silent, fails := u.silent, u.fails
	u.mu.Unlock()
	if silent {
		return
	}
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.Answer = u.zone[k]
	for next := m.Answer; len(next) == 1 && next[0].Header().Rrtype == dns.TypeCNAME; {
		next = u.zone[u.key(next[0].(*dns.CNAME).Target, question.Qtype)]
		m.Answer = append(slices.Clone(m.Answer), next...)
	}
	switch {
	case fails:
		m.Answer, m.Rcode = nil, dns.RcodeServerFailure
	case len(m.Answer) == 0:
		m.Ns = []dns.RR{u.soa}
		if !u.has(question.Name) {
			m.Rcode = dns.RcodeNameError
		}
	}
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(1232, opt.Do())
		size = int(opt.UDPSize())
	}
	if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
		m.Truncate(size)
	}
	_ = w.WriteMsg(m)
}

func (u *upstream) has(name string) bool {
	for k := range u.zone {
		if strings.HasPrefix(k, strings.ToLower(name)+" ") {
			return true
		}
	}
	return false
}

// count returns how often a name was asked for.
func (u *upstream) count(name, kind string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.asked[dns.Fqdn(name)+" "+kind]
}

// set makes the server fail, or say nothing.
func (u *upstream) set(fails, silent bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fails, u.silent = fails, silent
}
