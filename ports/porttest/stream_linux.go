package porttest

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Stream is a TCP transfer, both ways at once, that lasts until it is told to
// end. It is for changes that must not hurt a connection.
type Stream struct {
	name string
	stop chan struct{}
	once sync.Once
	ways [2]oneWay
	done sync.WaitGroup
}

// oneWay is what one end has sent and the other has got.
type oneWay struct {
	sent, got         hash.Hash
	sentSize, gotSize int64
	sendErr, gotErr   error
}

// TCPStream opens a TCP connection between two namespaces, to addr in the
// namespace `to`, and sends both ways until Stop, for three minutes at most. It
// ends with the test in any case.
func TCPStream(t testing.TB, from, to *NS, addr string) *Stream {
	t.Helper()
	client, server, err := connect(from, to, addr, time.Now().Add(transferTimeout))
	if err != nil {
		t.Fatalf("TCP %s -> %s (%s): %v", from.Name, to.Name, addr, err)
	}
	s := &Stream{name: from.Name + " - " + to.Name, stop: make(chan struct{})}
	for i, ends := range [2][2]*net.TCPConn{{client, server}, {server, client}} {
		w := &s.ways[i]
		w.sent, w.got = sha256.New(), sha256.New()
		s.done.Go(func() { w.sentSize, w.sendErr = sendUntil(ends[0], w.sent, s.stop) })
		s.done.Go(func() { w.gotSize, w.gotErr = io.Copy(w.got, ends[1]) })
	}
	t.Cleanup(func() {
		s.end()
		client.Close() // also wakes what waits for a switch that lost the way
		server.Close()
		s.done.Wait()
	})
	return s
}

// Stop ends the transfer and returns the bytes that have crossed, of both ways.
// Content that has arrived changed or short ends the test.
func (s *Stream) Stop(t testing.TB) int64 {
	t.Helper()
	s.end()
	s.done.Wait()
	var err error
	var size int64
	for i := range s.ways {
		w := &s.ways[i]
		err = errors.Join(err, w.sendErr, w.gotErr, compare(w.got, w.sent, w.gotSize, w.sentSize))
		size += w.gotSize
	}
	if err != nil {
		t.Fatalf("TCP %s: %v", s.name, err)
	}
	return size
}

func (s *Stream) end() { s.once.Do(func() { close(s.stop) }) }

// sendUntil sends random bytes until stop, and notes in sum what it has sent.
func sendUntil(c *net.TCPConn, sum hash.Hash, stop <-chan struct{}) (size int64, err error) {
	source := rand.NewChaCha8(sha256.Sum256([]byte(c.LocalAddr().String())))
	buf := make([]byte, 64<<10)
	for {
		select {
		case <-stop:
			return size, c.CloseWrite()
		default:
		}
		_, _ = source.Read(buf) // never fails
		n, err := c.Write(buf)
		sum.Write(buf[:n])
		size += int64(n)
		if err != nil {
			return size, err
		}
	}
}
