package porttest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

const (
	pingTimeout     = 30 * time.Second
	transferTimeout = 180 * time.Second
)

// Ping sends ICMP echo requests to an IPv4 or IPv6 address from inside a
// namespace until one is answered. No answer in 30 seconds ends the test.
func Ping(t testing.TB, from *NS, addr string) {
	t.Helper()
	if err := TryPing(from, addr, pingTimeout); err != nil {
		t.Fatal(err)
	}
}

// TryPing is Ping with an error in place of a failure, and a time limit that is
// rounded up to whole seconds. The command gives up early where it is told that
// the host is unreachable, as the kernel says from memory for a while: it is run
// again then.
func TryPing(from *NS, addr string, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(100 * time.Millisecond) {
		seconds := (time.Until(deadline) + time.Second - 1) / time.Second
		_, err := from.TryRun("ping", "-n", "-q", "-c", "1", "-i", "0.2", "-w", fmt.Sprint(max(1, int(seconds))), addr)
		if err == nil || time.Until(deadline) < time.Second/2 {
			return err
		}
	}
}

// TCPTransfer opens a TCP connection between two namespaces, to addr in the
// namespace `to`, and sends size bytes each way at the same time. Content that
// arrives changed, short or not at all within three minutes ends the test.
func TCPTransfer(t testing.TB, from, to *NS, addr string, size int64) {
	t.Helper()
	if err := TryTCPTransfer(from, to, addr, size, transferTimeout); err != nil {
		t.Fatalf("TCP %s -> %s (%s): %v", from.Name, to.Name, addr, err)
	}
}

// TryTCPTransfer is TCPTransfer with an error in place of a failure, and a time
// limit.
func TryTCPTransfer(from, to *NS, addr string, size int64, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	client, server, err := connect(from, to, addr, deadline)
	if err != nil {
		return err
	}
	defer client.Close()
	defer server.Close()

	there, back := rand.Uint64(), rand.Uint64()
	results := make(chan error, 4)
	go func() { results <- sendStream(client, there, size) }()
	go func() { results <- sendStream(server, back, size) }()
	go func() { results <- checkStream(server, there, size) }()
	go func() { results <- checkStream(client, back, size) }()
	for range cap(results) {
		err = errors.Join(err, <-results)
	}
	return err
}

// connect returns both ends of a connection. Both carry the deadline.
func connect(from, to *NS, addr string, deadline time.Time) (client, server *net.TCPConn, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()

	// Plain TCP: with the MPTCP that Go listens with by default, options
	// would make the segments differ from what most guests send.
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	var l net.Listener
	to.Do(func() { l, err = lc.Listen(ctx, "tcp", net.JoinHostPort(addr, "0")) })
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if err := l.(*net.TCPListener).SetDeadline(deadline); err != nil {
		return nil, nil, err
	}

	// One literal address: Dial opens its socket on this goroutine, and so in
	// this namespace.
	var conn net.Conn
	from.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String()) })
	if err != nil {
		return nil, nil, err
	}
	client = conn.(*net.TCPConn)
	accepted, err := l.Accept()
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	server = accepted.(*net.TCPConn)
	return client, server, errors.Join(client.SetDeadline(deadline), server.SetDeadline(deadline))
}

// stream returns size bytes that only their seed foretells.
func stream(seed uint64, size int64) io.Reader {
	key := sha256.Sum256(fmt.Append(nil, seed))
	return io.LimitReader(rand.NewChaCha8(key), size)
}

func sendStream(c *net.TCPConn, seed uint64, size int64) error {
	// 64 KiB a write, so that the stack may build full super-frames.
	buf := make([]byte, 64<<10)
	if _, err := io.CopyBuffer(onlyWriter{c}, stream(seed, size), buf); err != nil {
		return err
	}
	return c.CloseWrite()
}

// checkStream reads to the end and compares with what was sent.
func checkStream(r io.Reader, seed uint64, size int64) error {
	got := sha256.New()
	n, err := io.Copy(got, r)
	if err != nil {
		return fmt.Errorf("after %d of %d bytes: %w", n, size, err)
	}
	want := sha256.New()
	if _, err := io.Copy(want, stream(seed, size)); err != nil {
		return err
	}
	return compare(got, want, n, size)
}

func compare(got, want hash.Hash, n, size int64) error {
	if g, w := got.Sum(nil), want.Sum(nil); n != size || string(g) != string(w) {
		return fmt.Errorf("got %d bytes with SHA-256 %x…, want %d with %x…", n, g[:4], size, w[:4])
	}
	return nil
}

// onlyWriter hides ReadFrom, which would copy in pieces of its own size.
type onlyWriter struct{ io.Writer }
