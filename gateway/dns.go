package gateway

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/dns"
)

const dnsPort = 53

// serveDNS gives the resolver the queries that come by UDP. Answers that are at
// hand leave together once no more queries wait.
func (g *Gateway) serveDNS() {
	defer g.loops.Done()
	inbox := g.seat.Inbox(dataplane.DNS)
	var out answers
	for m := g.next(inbox); m != nil; m = g.next(inbox) {
		r := g.dns.Load()
		out.hold()
		for n := 1; m != nil; n++ {
			if d, ok := datagramOf(&m.Frame); ok && r != nil {
				g.answer(r, m.Port(), d, &out)
			}
			inbox.Done(m)
			if n == cap(out.frames) {
				break
			}
			m = inbox.Poll()
		}
		g.send(out.release()...)
	}
}

func (g *Gateway) answer(r *dns.Resolver, port string, d datagram, out *answers) {
	to, addr := d.mac, d.src
	r.Answer(d.payload, dns.Client{Port: port}, func(reply []byte) {
		if len(reply) > g.cfg.MTU-ipLen-udpLen {
			return // not while the resolver knows the MTU: see dns.Config.Payload
		}
		if f := g.udpFrame(to, dnsPort, addr, reply); !out.add(f) {
			g.send(f)
		}
	})
}

// answers gathers what is answered while queries are taken from the inbox; what
// comes later, from a goroutine of the resolver's, is sent by that.
type answers struct {
	mu     sync.Mutex
	held   bool
	frames []*frame.Frame
}

const answersLen = 64

func (a *answers) hold() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = true
	if a.frames == nil {
		a.frames = make([]*frame.Frame, 0, answersLen)
	}
	a.frames = a.frames[:0]
}

// add reports whether the frame will be sent with the others.
func (a *answers) add(f *frame.Frame) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.held || len(a.frames) == cap(a.frames) {
		return false
	}
	a.frames = append(a.frames, f)
	return true
}

func (a *answers) release() []*frame.Frame {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held = false
	return a.frames
}

// Bounds of DNS over TCP (RFC 7766 clauses 6.2.2 and 6.2.3).
const (
	maxConns       = 128
	maxClientConns = 16
	maxPipelined   = 32
	idleTimeout    = 10 * time.Second
)

// conns counts the connections of each client.
type conns struct {
	mu    sync.Mutex
	all   int
	of    map[netip.Addr]int
	alive map[net.Conn]bool
}

func (c *conns) admit(conn net.Conn, client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == maxConns || c.of[client] == maxClientConns {
		return false
	}
	c.all++
	c.of[client]++
	c.alive[conn] = true
	return true
}

func (c *conns) leave(conn net.Conn, client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.of[client]--; c.of[client] == 0 {
		delete(c.of, client)
	}
	delete(c.alive, conn)
}

// closeAll ends all connections.
func (c *conns) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.alive {
		_ = conn.Close()
	}
}

// listenTCP opens or closes the port of DNS over TCP.
func (g *Gateway) listenTCP(open bool) error {
	switch {
	case open && g.tcp == nil:
		l, err := g.stack.listen(g.cfg.Address.Addr(), dnsPort)
		if err != nil {
			return fmt.Errorf("gateway %s: port %d: %s", g.cfg.Address, dnsPort, err)
		}
		g.tcp = l
		g.loops.Add(1)
		go g.acceptDNS(l)
	case !open && g.tcp != nil:
		_ = g.tcp.Close()
		g.tcp = nil
		g.stack.conns.closeAll()
	}
	return nil
}

// acceptDNS serves DNS over TCP until the listener is closed.
func (g *Gateway) acceptDNS(l net.Listener) {
	defer g.loops.Done()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		var client netip.Addr
		if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
			client = a.AddrPort().Addr()
		}
		if g.dns.Load() == nil || g.closed.Load() || !g.stack.conns.admit(conn, client) {
			_ = conn.Close()
			continue
		}
		g.loops.Add(1)
		go func() {
			defer g.loops.Done()
			defer g.stack.conns.leave(conn, client)
			defer conn.Close()
			g.converse(conn, client.String())
		}()
	}
}

// converse answers the queries of one connection, in whatever order they are
// resolved (RFC 7766 clause 7). The stack does not say by which port its packets
// come: the address stands for it.
func (g *Gateway) converse(conn net.Conn, client string) {
	places := make(chan struct{}, maxPipelined)
	var writing sync.Mutex
	for {
		_ = conn.SetReadDeadline(time.Now().Add(idleTimeout))
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		r := g.dns.Load()
		if r == nil {
			return
		}
		select {
		case places <- struct{}{}:
		default:
			return // more at once than anybody needs
		}
		r.Answer(query, dns.Client{Port: client, TCP: true}, func(reply []byte) {
			defer func() { <-places }()
			writing.Lock()
			defer writing.Unlock()
			_ = conn.SetWriteDeadline(time.Now().Add(idleTimeout))
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
		})
	}
}
