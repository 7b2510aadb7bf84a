package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
	"github.com/weft/weft/ports/porttest"
)

// neighboursFind checks that every host finds every other one and the gateway by
// neighbour discovery, and that duplicate addresses are found.
func neighboursFind(t *testing.T, hosts []*porttest.NS) {
	t.Helper()
	for round := range 3 {
		for i, from := range hosts {
			forget(t, from)
			porttest.Ping(t, from, gateway6)
			porttest.Ping(t, from, gatewayLocal+"%eth0")
			for j, to := range hosts {
				if i != j {
					porttest.Ping(t, from, address6(t, to, subnet6))
				}
			}
		}
		// Somebody has this one already; the question goes to its group alone.
		taken := address6(t, hosts[1], subnet6)
		last := hosts[len(hosts)-1]
		last.Run(t, "ip", "-6", "addr", "add", taken+"/64", "dev", "eth0")
		eventually(t, fmt.Sprintf("a duplicate of %s is found, round %d", taken, round), func() bool {
			return strings.Contains(last.Run(t, "ip", "-6", "addr", "show", "dev", "eth0"), "dadfailed")
		})
		last.Run(t, "ip", "-6", "addr", "del", taken+"/64", "dev", "eth0")
	}
}

// floods sends a frame to a group as fast as it can until the function that it returns
// is called.
func floods(t *testing.T, conn *porttest.RawConn, f []byte) (stop func()) {
	ended := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(200 * time.Microsecond): // many times what is allowed
				_ = conn.TrySend(f)
			}
		}
	})
	stop = sync.OnceFunc(func() { close(ended); done.Wait() })
	t.Cleanup(stop)
	return stop
}

// Snooping of MLD and limits to what is flooded, on all ports, and one host that
// floods: neighbour discovery works all along, of the others and of that host too, and
// so do advertisements, DHCPv6 and MLD.
func TestNeighboursInAStorm(t *testing.T) {
	t.Parallel()
	s := layServed6(t, 1500, "raw", "raw", "raw")
	s.ports = strings.ReplaceAll(s.ports, "{type: raw", "{type: raw, storm: {broadcast: 20, multicast: 20, unknown: 20}")
	s.write(s.yaml(leading + "snooping: {enabled: true, interval: 10s}\ndhcp6: {range: \"" + pool6 + "\"}\n"))
	s.start()
	for _, h := range s.hosts {
		address6(t, h, subnet6)
	}
	flooder := s.hosts[0]
	mac := frame.MAC(flooder.Link(t, "eth0").Attrs().HardwareAddr)
	group := netip.MustParseAddr("ff15::1234")
	conn := flooder.RawConn(t, "eth0")
	stop := floods(t, conn, udp6(mac, ndp.GroupMAC(group), ndp.LinkLocal(mac), group, 5004, 5004, make([]byte, 64)))
	waitDrops(t, s.weftProcess, "p1", "storm-multicast", 100)
	s.waitRestricting(t)

	neighboursFind(t, s.hosts)
	for _, h := range s.hosts {
		if a := solicit(t, h); a == nil {
			t.Errorf("%s gets no advertisement", h.Name)
		}
	}
	if c := newRawClient6(t, s.hosts[1], 1).obtain(); c.address == "" {
		t.Error("no lease")
	}
	// A new listener of the group is reported, and hears what may pass.
	listener := join(t, s.hosts[2], group.String())
	s.waitGroup(t, group.String(), "p3")
	if !receives(t, listener, make([]byte, 64)) {
		t.Error("a listener does not hear the group")
	}
	stop()
	neighboursFind(t, s.hosts)
	if s.port("lan", "p1").Drops["storm-multicast"] < 1000 {
		t.Errorf("drops: %v", s.port("lan", "p1").Drops)
	}
}

// waitRestricting waits until groups go to their listeners alone.
func (s *served) waitRestricting(t *testing.T) {
	t.Helper()
	eventually(t, "snooping restricts", func() bool { return s.network().Snooping.State == api.SnoopingRestricting })
}

// waitGroup waits until a port is known to listen to a group.
func (s *served) waitGroup(t *testing.T, group, port string) {
	t.Helper()
	l := &groupLab{lan: s.lan}
	eventually(t, port+" listens to "+group, func() bool { return fmt.Sprint(l.members(group)) == "["+port+"]" })
}

// With snooping nobody is cut off from neighbour discovery: not hosts that came before
// anybody asked, nor ones that report no group.
func TestNeighboursAndSnooping(t *testing.T) {
	t.Parallel()
	s := newServed6(t, leading+"snooping: {enabled: true, interval: 10s}\n", "internal", "raw", "raw")
	for _, h := range s.hosts {
		address6(t, h, subnet6)
	}
	neighboursFind(t, s.hosts)
	s.waitRestricting(t)
	neighboursFind(t, s.hosts)
	// A host without MLD: it answers where it is asked.
	conn := s.hosts[2].RawConn(t, "eth0")
	mac := frame.MAC{2, 0, 0, 0, 0x44, 0x66}
	silent := ndp.FromPrefix(netip.MustParsePrefix(subnet6), mac)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			default:
			}
			f := conn.Recv(100 * time.Millisecond)
			if len(f) < 78 || f[20] != 58 || f[54] != ndp.NeighborSolicitation || !bytes.Equal(f[62:78], silent.AsSlice()) {
				continue
			}
			n := ndp.Neighbor{Target: silent, MAC: mac, Solicited: true, Override: true}
			src, _ := netip.AddrFromSlice(f[22:38])
			_ = conn.TrySend(ndp.Packet(mac, frame.MAC(f[6:12]), silent, src, n.Advertisement()).Bytes())
		}
	}()
	defer func() { close(done); <-stopped }()
	eventually(t, "a host without MLD is found", func() bool {
		_, err := s.hosts[0].TryRun("ndisc6", "-1", "-q", "-r", "1", "-w", "500", silent.String(), "eth0")
		return err == nil
	})
}
