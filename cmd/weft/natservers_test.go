package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft/weft/ports/porttest"
)

// webData is what the servers of HTTP and FTP have: bytes that no mistake in a
// few places leaves as they are.
func webData() []byte {
	data := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// webServer has data at /data, and answers what is put to /upload with its
// SHA-256.
type webServer struct {
	data []byte
	sum  string

	mu    sync.Mutex
	peers []netip.Addr // of the requests, as the server sees them
}

func startWeb(t *testing.T, ns *porttest.NS, addr string, data []byte) *webServer {
	t.Helper()
	w := &webServer{data: data, sum: fmt.Sprintf("%x", sha256.Sum256(data))}
	server := &http.Server{Handler: w}
	l := listenTCP(t, ns, addr)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return w
}

// ServeHTTP implements http.Handler.
func (w *webServer) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	peer, _ := netip.ParseAddrPort(in.RemoteAddr)
	w.mu.Lock()
	w.peers = append(w.peers, peer.Addr())
	w.mu.Unlock()
	if in.URL.Path == "/data" {
		http.ServeContent(out, in, "", time.Time{}, bytes.NewReader(w.data))
		return
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, in.Body); err == nil {
		fmt.Fprintf(out, "%x", sum.Sum(nil))
	}
}

// lastPeer returns whom the last request came from.
func (w *webServer) lastPeer() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.peers) == 0 {
		return "nobody"
	}
	return w.peers[len(w.peers)-1].String()
}

func listenTCP(t *testing.T, ns *porttest.NS, addr string) net.Listener {
	t.Helper()
	lc := net.ListenConfig{KeepAlive: -1} // who is idle says nothing at all
	var l net.Listener
	var err error
	ns.Do(func() { l, err = lc.Listen(t.Context(), "tcp", addr) })
	if err != nil {
		t.Fatalf("in %s: %v", ns.Name, err)
	}
	return l
}

func listenUDP(t *testing.T, ns *porttest.NS, addr string) *net.UDPConn {
	t.Helper()
	var c net.PacketConn
	var err error
	ns.Do(func() { c, err = net.ListenPacket("udp", addr) })
	if err != nil {
		t.Fatalf("in %s: %v", ns.Name, err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

// startEcho tells whoever comes by TCP or UDP whom it sees, and then what it
// hears: by TCP a line with the address and port once, by UDP before every
// datagram.
func startEcho(t *testing.T, ns *porttest.NS, addr string) {
	t.Helper()
	l, c := listenTCP(t, ns, addr), listenUDP(t, ns, addr)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := fmt.Fprintf(conn, "%s\n", conn.RemoteAddr()); err == nil {
					_, _ = io.Copy(conn, conn)
				}
			}()
		}
	}()
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, peer, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(append([]byte(peer.String()+"\n"), buf[:n]...), peer)
		}
	}()
}

// echoing is a connection to an echo server.
type echoing struct {
	net.Conn
	udp  bool
	seen string // whom the server sees, address:port
}

// dialEcho connects a host to an echo server, from a local address and port
// where one is given (":0": any).
func dialEcho(from *porttest.NS, network, local, addr string) (*echoing, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		// A port may still wait for the rest of an earlier connection.
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	e := &echoing{udp: network == "udp"}
	var err error
	if e.udp {
		d.LocalAddr, err = net.ResolveUDPAddr(network, local)
	} else {
		d.LocalAddr, err = net.ResolveTCPAddr(network, local)
	}
	if err != nil {
		return nil, err
	}
	from.Do(func() { e.Conn, err = d.Dial(network, addr) })
	if err != nil {
		return nil, err
	}
	if e.udp {
		return e, nil
	}
	line := make([]byte, 0, 64) // byte by byte: what follows is not the line's
	_ = e.SetReadDeadline(time.Now().Add(10 * time.Second))
	for one := make([]byte, 1); !bytes.HasSuffix(line, []byte("\n")) && len(line) < 64; line = append(line, one[0]) {
		if _, err := io.ReadFull(e, one); err != nil {
			e.Close()
			return nil, err
		}
	}
	e.seen = strings.TrimSpace(string(line))
	return e, nil
}

// say sends text and waits for its echo. A datagram that is lost is sent again.
func (e *echoing) say(text string) error {
	if !e.udp {
		_ = e.SetDeadline(time.Now().Add(20 * time.Second))
		got := make([]byte, len(text))
		if _, err := e.Write([]byte(text)); err != nil {
			return err
		}
		if _, err := io.ReadFull(e, got); err != nil {
			return err
		}
		if string(got) != text {
			return fmt.Errorf("%q came back as %q", text, got)
		}
		return nil
	}
	var err error
	for range 5 {
		if err = e.sayOnce(text, 2*time.Second); err == nil {
			return nil
		}
	}
	return err
}

func (e *echoing) sayOnce(text string, timeout time.Duration) error {
	if _, err := e.Write([]byte(text)); err != nil {
		return err
	}
	_ = e.SetReadDeadline(time.Now().Add(timeout))
	buf := make([]byte, 1<<16)
	for {
		n, err := e.Read(buf)
		if err != nil {
			return err
		}
		seen, heard, _ := strings.Cut(string(buf[:n]), "\n")
		if heard == text { // else it is the answer to one that was given up
			e.seen = seen
			return nil
		}
	}
}

// askEcho makes a connection for one question and returns whom the server sees.
func askEcho(from *porttest.NS, network, addr string) (seen string, err error) {
	e, err := dialEcho(from, network, ":0", addr)
	if err != nil {
		return "", err
	}
	defer e.Close()
	err = e.say("weft")
	return e.seen, err
}

// startFTP runs vsftpd with one file, "data".
func (f family) startFTP(t *testing.T, ns *porttest.NS, data []byte) {
	t.Helper()
	// Not in t.TempDir, whose parent the server's user may not enter.
	dir, err := os.MkdirTemp("", "weft-ftp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := f.of("listen=YES", "listen=NO\nlisten_ipv6=YES") + "\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nwrite_enable=NO\nseccomp_sandbox=NO\nxferlog_enable=NO\n" +
		"anon_root=" + dir + "/root\nsecure_chroot_dir=" + dir + "/empty\n"
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(dir+"/root", 0o755), os.Mkdir(dir+"/empty", 0o755),
		os.WriteFile(dir+"/root/data", data, 0o644), os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o600)); err != nil {
		t.Fatal(err)
	}
	ns.Start(t, "vsftpd", dir+"/conf")
	eventually(t, "the FTP server listens", func() bool { return dialled(ns, "tcp", f.at("127.0.0.1", 21)) == nil })
}
