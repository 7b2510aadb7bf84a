package main

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// What guests do most: transfers by TCP and UDP.

// natHTTP downloads and uploads from every kind of port.
func natHTTP(t *testing.T, l *natLab) {
	file := l.file(t)
	for i, guest := range l.guests {
		l.download(t, guest, l.url(webAddress)+"/data")
		l.outside(t, i+1, "HTTP", l.data.lastPeer())
		l.upload(t, guest, webAddress, file)
		if i == 0 { // to a neighbour, without a router between
			startWeb(t, l.near, l.at(nearAddress, 80), l.data.data)
			l.download(t, guest, l.url(nearAddress)+"/data")
		}
	}
}

// file returns one with the data that all servers have.
func (l *natLab) file(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, l.data.data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// download has curl get that data.
func (l *natLab) download(t *testing.T, guest *porttest.NS, url string, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "data")
	guest.Run(t, "curl", append(args, "-sS", "-m", "60", "-o", file, url)...)
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(got)); sum != l.data.sum {
		t.Errorf("%s: got %d bytes with SHA-256 %s, want %d with %s", url, len(got), sum, len(l.data.data), l.data.sum)
	}
}

// upload has curl put a file with that data.
func (l *natLab) upload(t *testing.T, guest *porttest.NS, server, file string) {
	t.Helper()
	if sum := guest.Run(t, "curl", "-sS", "-m", "60", "-T", file, l.url(server)+"/upload"); sum != l.data.sum {
		t.Errorf("upload to %s: the server has SHA-256 %q, want %s", server, sum, l.data.sum)
	}
}

// iperfReport is what is used of what "iperf3 -J" says.
type iperfReport struct {
	Error string
	End   struct {
		Received struct{ Bytes float64 } `json:"sum_received"`
		Sum      struct {
			Packets float64
			Lost    float64 `json:"lost_percent"`
		}
	}
}

func natIperf(t *testing.T, l *natLab) {
	const size = 16 << 20
	for name, args := range map[string][]string{
		"TCP":            {"-n", "16M"},
		"TCP reverse":    {"-n", "16M", "-R"},
		"TCP 8 streams":  {"-n", "16M", "-P", "8"},
		"UDP":            {"-u", "-b", "10M", "-l", "1200", "-n", "400K"},
		"UDP reverse":    {"-u", "-b", "10M", "-l", "1200", "-n", "400K", "-R"},
		"UDP fragmented": {"-u", "-b", "10M", "-l", "8000", "-n", "600K"},
	} {
		t.Run(name, func(t *testing.T) {
			var out string
			var err error
			for range 50 { // the server has to end the test before, and to listen again
				out, err = l.guests[1].TryRun("iperf3", append(args, "-J", "-c", l.ip(iperfAddress), "--connect-timeout", "10000")...)
				if !strings.Contains(out, "busy running a test") && !strings.Contains(out, "unable to receive control message") && !strings.Contains(out, "Connection refused") {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
			var r iperfReport
			_, report, _ := strings.Cut(out, "{") // a warning may come before it
			if jsonErr := json.Unmarshal([]byte("{"+report), &r); jsonErr != nil || err != nil || r.Error != "" {
				t.Fatalf("%v, %v, %s\n%s", err, jsonErr, r.Error, out)
			}
			// A machine that does other work loses some.
			if strings.HasPrefix(name, "UDP") {
				if r.End.Sum.Packets < 50 || r.End.Sum.Lost > 50 {
					t.Errorf("of %v datagrams %v %% are lost\n%s", r.End.Sum.Packets, r.End.Sum.Lost, out)
				}
			} else if r.End.Received.Bytes < size/8 { // the rest was on its way at the end
				t.Errorf("%v bytes arrived", r.End.Received.Bytes)
			}
		})
	}
}

// natManyConnections has several guests use the same ports at once: nobody else
// may have the same one outside, and everybody gets what is his.
func natManyConnections(t *testing.T, l *natLab) {
	const each = 150
	for _, network := range []string{"tcp", "udp"} {
		var mu sync.Mutex
		var all []*echoing
		var errs error
		var dials sync.WaitGroup
		for g, guest := range l.guests {
			dials.Go(func() {
				for i := range each {
					e, err := dialEcho(guest, network, fmt.Sprintf(":%d", 24000+i), l.at(webAddress, 7))
					if err == nil {
						err = e.say(fmt.Sprintf("guest %d, connection %d", g, i))
					}
					mu.Lock()
					errs = errors.Join(errs, err)
					if e != nil {
						all = append(all, e)
					}
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		dials.Wait()
		if errs != nil {
			t.Errorf("%s: %v", network, errs)
		}
		seen := map[string]bool{}
		for i, e := range all { // all are open now
			if err := e.say(fmt.Sprint("again ", i)); err != nil {
				t.Errorf("%s, connection %d: %v", network, i, err)
				break
			}
			l.outside(t, 1, network, e.seen)
			if seen[e.seen] {
				t.Errorf("%s: two connections are %s", network, e.seen)
			}
			seen[e.seen] = true
		}
		for _, e := range all {
			e.Close()
		}
	}
}

func natFTP(t *testing.T, l *natLab) {
	server := "ftp" + strings.TrimPrefix(l.url(ftpAddress), "http")
	l.download(t, l.guests[0], server+"/data") // EPSV
	if l.family == family4 {                   // the other way has no room for a longer address
		l.download(t, l.guests[1], server+"/data", "--disable-epsv") // PASV
	}
}

func natDNS(t *testing.T, l *natLab) {
	for _, guest := range l.guests {
		for _, by := range []string{"+notcp", "+tcp"} {
			if a := dig(t, guest, "@"+l.ip(dnsAddress), "name.test", l.of("A", "AAAA"), by); len(a.answer) != 1 || !strings.HasSuffix(a.answer[0], " "+l.ip(nameAddress)) {
				t.Errorf("%s from %s:\n%s", by, guest.Name, a.raw)
			}
		}
	}
}

// natVirtualMachine boots a guest whose virtual card leaves checksums and
// segmentation to whom it sends to.
func natVirtualMachine(t *testing.T, l *natLab) {
	vm := porttest.StartGuest(t, l.host, porttest.GuestConfig{
		Netdevs: []string{"tap,ifname=vm1,script=no,downscript=no"}, Address: l.of(address(9)+"/24", "slaac"),
	})
	guest := address(9)
	if l.family == family4 {
		vm.Run(t, "ip route add default via "+gatewayAddress)
	} else { // the router has said all
		lan := netip.MustParsePrefix(l.cidr("10.0.0.0/24"))
		guest = ndp.FromPrefix(lan, frame.MAC(vm.MAC)).String()
	}
	if sum := vm.Run(t, "wget -q -O - "+l.url(webAddress)+"/data | sha256sum"); !strings.HasPrefix(sum, l.data.sum) {
		t.Errorf("the guest got data with SHA-256 %s, want %s", sum, l.data.sum)
	}
	l.outside(t, 1, "HTTP", l.data.lastPeer())
	// Its own server, published.
	p := published{"tcp", "8080", l.at(guest, 80)}
	l.gateway.publish(t, p)
	defer l.gateway.unpublish(t, p)
	file := filepath.Join(t.TempDir(), "data")
	l.web.Run(t, "curl", "-sS", "-m", "60", "-o", file, l.url(outsideAddress)+":8080/data")
	want := l.web.Run(t, "curl", "-sS", "-m", "60", l.url(outsideAddress)+":8080/data.sha256")
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(got)); !strings.HasPrefix(want, sum) {
		t.Errorf("from the guest: SHA-256 %s, want %s", sum, want)
	}
}

// natIdle has connections that nobody has used since the lab was made.
func natIdle(t *testing.T, l *natLab) {
	const idle = 20 * time.Second
	time.Sleep(idle - time.Since(l.began))
	for _, e := range l.idle {
		if err := e.say("still there"); err != nil {
			t.Errorf("a connection that was idle for %v: %v", time.Since(l.began), err)
		}
	}
}
