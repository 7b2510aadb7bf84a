package gateway

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/dns"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// Bounds of DNS over TCP (RFC 7766 clauses 6.2.2 and 6.2.3). What is beyond them
// ends at once: whoever opens connections and says nothing, from however many
// addresses, ends his own.
const (
	maxConns     = 128
	maxPortConns = 32 // behind one port of the switch
	maxPipelined = 32 // queries without an answer in one connection
	idleTimeout  = 10 * time.Second
	finishTime   = 5 * time.Second
)

// conversation is a connection that asks for names.
type conversation struct {
	net.Conn
	end  endpoint
	port string       // of the switch
	used atomic.Int64 // when the last query came: a number that grows
}

// endpoint is what a net.Conn of gVisor's does not let us do.
type endpoint interface {
	Abort()        // ends the connection without waiting for the client
	State() uint32 // a tcp.EndpointState
}

// conversations are those that there are now.
type conversations struct {
	mu   sync.Mutex
	list []*conversation
	uses atomic.Int64
}

// admit adds a connection. Where there are too many already it ends one: of the
// same port if that has its share, else of the port with most, the one that has
// been silent for longest.
func (s *conversations) admit(c *conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := map[string]int{}
	most := c.port
	for _, o := range s.list {
		if of[o.port]++; of[o.port] > of[most] {
			most = o.port
		}
	}
	switch {
	case of[c.port] >= maxPortConns:
		s.evict(c.port)
	case len(s.list) >= maxConns:
		s.evict(most)
	}
	c.used.Store(s.uses.Add(1))
	s.list = append(s.list, c)
}

// evict ends the connection of a port that has been silent for longest.
func (s *conversations) evict(port string) {
	oldest := -1
	for i, o := range s.list {
		if o.port == port && (oldest < 0 || o.used.Load() < s.list[oldest].used.Load()) {
			oldest = i
		}
	}
	if oldest >= 0 {
		s.list[oldest].end.Abort()
		s.list = slices.Delete(s.list, oldest, oldest+1)
	}
}

func (s *conversations) leave(c *conversation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.list, c); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// end ends all of them.
func (s *conversations) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.list {
		c.end.Abort()
	}
	s.list = nil
}

// listener is the open port of DNS over TCP.
type listener struct {
	end    tcpip.Endpoint
	queue  *waiter.Queue
	closed chan struct{}
}

// accept returns the next connection and its client, an error once the listener is closed. It is
// what gonet does, but keeps the endpoint, which can be aborted.
func (l *listener) accept() (*conversation, netip.Addr, error) {
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	l.queue.EventRegister(&entry)
	defer l.queue.EventUnregister(&entry)
	for {
		var client tcpip.FullAddress
		end, queue, err := l.end.Accept(&client)
		switch err.(type) {
		case nil:
			addr, _ := netip.AddrFromSlice(client.Addr.AsSlice())
			return &conversation{Conn: gonet.NewTCPConn(queue, end), end: end}, addr, nil
		case *tcpip.ErrWouldBlock:
		default:
			return nil, netip.Addr{}, errors.New(err.String())
		}
		select {
		case <-l.closed:
			return nil, netip.Addr{}, net.ErrClosed
		case <-ready:
		}
	}
}

func (l *listener) close() {
	close(l.closed)
	l.end.Close()
}

// listenTCP opens or closes the port of DNS over TCP, at all addresses.
func (g *Gateway) listenTCP(open bool) error {
	if open == (g.tcp != nil) {
		return nil
	}
	if !open {
		for _, l := range g.tcp {
			l.close()
		}
		g.tcp = nil
		g.stack.conversations.end()
		return nil
	}
	v4, v6 := g.own.families()
	for family, is := range map[tcpip.NetworkProtocolNumber]bool{ipv4.ProtocolNumber: v4, ipv6.ProtocolNumber: v6} {
		if !is {
			continue
		}
		l, err := g.stack.listen(family, dnsPort)
		if err != nil {
			return errors.Join(err, g.listenTCP(false))
		}
		g.tcp = append(g.tcp, l)
		g.loops.Go(func() { g.acceptDNS(l) })
	}
	return nil
}

// acceptDNS serves DNS over TCP until the listener is closed.
func (g *Gateway) acceptDNS(l *listener) {
	for {
		c, client, err := l.accept()
		if err != nil {
			return
		}
		c.port = g.stack.origins.of(client)
		g.stack.conversations.admit(c)
		g.loops.Go(func() {
			g.converse(c)
			g.stack.conversations.leave(c)
		})
	}
}

// converse answers the queries of one connection, in whatever order they are
// resolved (RFC 7766 clause 7). An answer never waits for its client to read: it
// has a place in a queue since its query came.
func (g *Gateway) converse(c *conversation) {
	defer c.end.Abort()
	places, answers := make(chan struct{}, maxPipelined), make(chan []byte, maxPipelined)
	done, mute := make(chan struct{}), make(chan struct{})
	defer close(done)
	g.loops.Add(1)
	go func() {
		defer g.loops.Done()
		defer close(mute)
		c.write(answers, places, done)
	}()
	for {
		query, err := c.read()
		r := g.dns.Load()
		if err == io.EOF {
			g.finish(c, places, mute)
		}
		if err != nil || r == nil {
			return
		}
		c.used.Store(g.stack.conversations.uses.Add(1))
		select {
		case places <- struct{}{}:
		default:
			return // more at once than anybody needs
		}
		r.Answer(query, dns.Client{Port: c.port, TCP: true}, func(reply []byte) { answers <- reply })
	}
}

// finish lets a client that asks no more have its answers, and hear the end of the
// connection. It counts as one of its port's meanwhile. mute is closed where the
// answers cannot be sent any more.
func (g *Gateway) finish(c *conversation, places chan<- struct{}, mute <-chan struct{}) {
	timeout := time.NewTimer(finishTime)
	defer timeout.Stop()
	for range maxPipelined { // until all places are free
		select {
		case places <- struct{}{}:
		case <-mute:
			return
		case <-timeout.C:
			return
		case <-g.stop:
			return
		}
	}
	_ = c.Close()
	for tcp.EndpointState(c.end.State()) != tcp.StateClose && tcp.EndpointState(c.end.State()) != tcp.StateError {
		select {
		case <-time.After(finishTime / 100):
		case <-timeout.C:
			return
		case <-g.stop:
			return
		}
	}
}

// read returns the next query (RFC 1035 clause 4.2.2).
func (c *conversation) read() ([]byte, error) {
	_ = c.SetReadDeadline(time.Now().Add(idleTimeout))
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	query := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, query)
	return query, err
}

// write sends answers as they come, and gives their places back.
func (c *conversation) write(answers <-chan []byte, places <-chan struct{}, done <-chan struct{}) {
	for {
		select {
		case reply := <-answers:
			_ = c.SetWriteDeadline(time.Now().Add(idleTimeout))
			b := append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)
			if _, err := c.Conn.Write(b); err != nil {
				c.end.Abort() // which ends read
				return
			}
			<-places
		case <-done:
			return
		}
	}
}
