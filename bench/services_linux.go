package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What the services' beds have: four hosts of the plan's subnet for hosts, whose
// gateway they reach.
const (
	servicesHosts = 4

	// cachedName is known to an upstream only, behind the gateway.
	cachedName   = "www.example"
	upstreamAddr = "127.0.0.1:5353"
)

// servicesPeer joins hosts by weft, with a gateway that serves DHCP and DNS.
type servicesPeer struct{ binary string }

func (servicesPeer) Name() string  { return peerServices }
func (servicesPeer) About() string { return "weft, four raw ports, gateway with DHCP and DNS" }
func (p servicesPeer) Available() error {
	return weftPeer{binary: p.binary}.Available()
}

func (p servicesPeer) Setup(ctx context.Context, lab *Lab) (*Bed, error) {
	hosts, sw, err := lab.hostsBeside("switch", servicesHosts)
	if err != nil {
		return nil, err
	}
	var ports strings.Builder
	for i, h := range hosts {
		end := fmt.Sprintf("p%d", i+1)
		if err := veth(h.NS, h.Interface, sw, end); err != nil {
			return nil, err
		}
		fmt.Fprintf(&ports, "      h%d: {type: raw, interface: %s}\n", i+1, end)
	}
	if err := upstream(lab, sw); err != nil {
		return nil, err
	}
	plan := lab.family.plan()
	dhcp := map[Family]string{IPv4: "dhcp", IPv6: "dhcp6"}[lab.family]
	config := "lease_file: " + lab.path("leases.db") + "\nmetrics: {listen: \"off\"}\nnetworks:\n  bench:\n" +
		lab.family.gatewayKeys(plan.server) + "    fdb: {limit: 200000}\n" +
		"    " + dhcp + ": {range: \"" + plan.first.String() + "-" + plan.last.String() + "\"}\n" +
		"    dns: {upstream: \"" + upstreamAddr + "\"}\n    ports:\n" + ports.String()
	return weftBed(ctx, lab, hosts, sw, p.binary, config)
}

// dnsmasq serves hosts behind a kernel bridge, as libvirt has it, but without the
// ping before an offer: that takes it three seconds, and one client at a time.
type dnsmasq struct{}

func (dnsmasq) Name() string  { return peerDnsmasq }
func (dnsmasq) About() string { return "kernel bridge, dnsmasq with DHCP and DNS" }

func (dnsmasq) Available() error {
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		return errors.New("dnsmasq is not installed (package dnsmasq-base)")
	}
	return kernelBridge{}.Available()
}

func (dnsmasq) Setup(ctx context.Context, lab *Lab) (*Bed, error) {
	hosts, sw, err := bridged(lab, servicesHosts)
	if err != nil {
		return nil, err
	}
	plan := lab.family.plan()
	if err := sw.station("br0", plan.server); err != nil {
		return nil, err
	}
	if err := upstream(lab, sw); err != nil {
		return nil, err
	}
	host, port, _ := net.SplitHostPort(upstreamAddr)
	size := strconv.Itoa(plan.server.Bits())
	if lab.family == IPv4 {
		size = net.IP(net.CIDRMask(plan.server.Bits(), 32)).String()
	}
	process, err := lab.start(ctx, sw, "started", "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null",
		"--user=root", "--pid-file="+lab.path("dnsmasq.pid"), "--dhcp-leasefile="+lab.path("leases"),
		"--interface=br0", "--except-interface=lo", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--quiet-dhcp", "--dhcp-lease-max=200000",
		"--dhcp-range="+plan.first.String()+","+plan.last.String()+","+size+",1h",
		"--no-resolv", "--no-hosts", "--cache-size=10000", "--server="+host+"#"+port)
	if err != nil {
		return nil, err
	}
	return &Bed{Hosts: hosts, Switch: process}, nil
}

// upstream answers every query of the namespace's upstreamAddr, until the lab is
// closed.
func upstream(lab *Lab, ns *Namespace) error {
	fd := -1
	err := <-ns.Go(func() (err error) {
		fd, err = socket(unix.SOCK_DGRAM, netip.MustParseAddrPort(upstreamAddr))
		return err
	})
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	file := os.NewFile(uintptr(fd), "upstream")
	conn, err := net.FilePacketConn(file)
	_ = file.Close() // conn has a copy
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := answer(b[:n]); answer != nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	lab.later(func() error {
		err := conn.Close()
		<-done
		return err
	})
	return nil
}

// answer answers a query, whatever it asks for, by an address that holds for an
// hour (RFC 1035 clause 4.1): an IPv6 one where it asks for that (RFC 3596), and
// else an IPv4 one.
func answer(query []byte) []byte {
	end := 12
	for end < len(query) && query[end] != 0 {
		end += int(query[end]) + 1
	}
	end += 5 // the root, the type and the class
	if end > len(query) {
		return nil
	}
	b := append([]byte(nil), query[:end]...)
	b[2], b[3] = 0x81, 0x80
	binary.BigEndian.PutUint16(b[6:], 1)
	clear(b[8:12])
	kind, address := byte(dnsA), IPv4.plan().outside.Addr()
	if [2]byte(query[end-4:]) == [2]byte{0, dnsAAAA} {
		kind, address = dnsAAAA, IPv6.plan().outside.Addr()
	}
	b = append(b, 0xc0, 12, 0, kind, 0, 1)
	b = binary.BigEndian.AppendUint32(b, 3600)
	data := address.AsSlice()
	return append(append(b, 0, byte(len(data))), data...)
}

// Loads of the services. A client waits until the address has been probed before
// it gets an offer, so that many have to be under way; half of them are behind
// one port, half behind another.
const (
	dhcpWindow = 2000
	dnsWindow  = 256
	manyLeases = 65536

	// dhcpStart is how much longer DHCP is asked: the first clients wait for
	// their probe, and no server of the field is quicker than a second.
	dhcpStart = time.Second

	besideDHCP = 500  // exchanges a second, a tenth of what is to be reached
	besideDNS  = 3000 // queries a second, likewise
)

// askDHCP has the clients of the third and the fourth host get leases at once,
// count or for a time, and returns what became of both.
func askDHCP(ctx context.Context, bed *Bed, load serviceLoad) (served, error) {
	type outcome struct {
		served
		error
	}
	results := make(chan outcome, 2)
	for i, h := range bed.Hosts[2:] {
		go func() {
			clients := dhcpClients{Interface: h.Interface, Number: manyLeases / 2, First: i * manyLeases / 2}
			got, err := dhcpLoad(ctx, h, clients, load)
			results <- outcome{got, err}
		}()
	}
	a, b := <-results, <-results
	sum := a.served
	sum.Completed += b.Completed
	sum.Refused += b.Refused
	sum.Again += b.Again
	sum.GivenUp += b.GivenUp
	sum.Addresses += b.Addresses
	sum.Elapsed = max(a.Elapsed, b.Elapsed)
	sum.sorted = merge(a.sorted, b.sorted)
	return sum, errors.Join(a.error, b.error)
}

func runDHCP(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	got, err := askDHCP(ctx, bed, serviceLoad{Window: dhcpWindow, Duration: timing.Warmup + timing.Measure + dhcpStart})
	return serviceSample(got, err, 1)
}

func runDNS(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	got, err := askDNS(ctx, bed, serviceLoad{Window: dnsWindow, Duration: timing.Warmup + timing.Measure})
	return serviceSample(got, err, 1e3)
}

func askDNS(ctx context.Context, bed *Bed, load serviceLoad) (served, error) {
	h := bed.Hosts[3]
	server := netip.AddrPortFrom(h.family().plan().server.Addr(), 53)
	return dnsLoad(ctx, h, server, cachedName, load)
}

func serviceSample(got served, err error, unit float64) (Sample, error) {
	if err != nil {
		return Sample{}, err
	}
	if got.Completed == 0 {
		return Sample{}, errNothing
	}
	return Sample{
		Value: got.rate() / unit,
		Details: []Figure{
			{"p50", "ms", got.latency(50) / 1e3},
			{"p99", "ms", got.latency(99) / 1e3},
			{"sent again", "messages", float64(got.Again)},
			{"refused", "questions", float64(got.Refused)},
			{"unanswered", "questions", float64(got.GivenUp)},
		},
	}, nil
}

// runLeases fills the server with leases, and looks at how much more memory it
// holds than before. The load ends once each client has one.
func runLeases(ctx context.Context, bed *Bed, _ Timing) (Sample, error) {
	before, _, err := resident(bed.Switch.PID())
	if err != nil {
		return Sample{}, err
	}
	var got served
	// Who has given up, on a busy machine, asks again; the others renew.
	for try := 0; got.Addresses < manyLeases; try++ {
		if try == 3 {
			return Sample{}, fmt.Errorf("%d of %d clients have a lease", got.Addresses, manyLeases)
		}
		if got, err = askDHCP(ctx, bed, serviceLoad{Window: dhcpWindow / 4, Count: manyLeases / 2, Duration: time.Minute}); err != nil {
			return Sample{}, err
		}
	}
	after, peak, err := resident(bed.Switch.PID())
	if err != nil {
		return Sample{}, err
	}
	return Sample{Value: after - before, Details: []Figure{
		{"before", "MiB", before}, {"peak", "MiB", peak}, {"leases", "a second", got.rate()},
	}}, nil
}

// runBeside streams from the first host to the second: alone, beside clients that
// ask for leases and names, and alone again. The figure is what is left of the
// stream beside them, in percent.
func runBeside(ctx context.Context, bed *Bed, timing Timing) (Sample, error) {
	load, err := startTCP(bed.Hosts[0], bed.Hosts[1], 1)
	if err != nil {
		return Sample{}, err
	}
	sample, err := besides(ctx, bed, load, timing)
	return sample, errors.Join(err, load.stop())
}

func besides(ctx context.Context, bed *Bed, load *traffic, timing Timing) (Sample, error) {
	rate := func() (float64, error) {
		w, err := observe(ctx, bed, load, timing)
		return float64(w.received) * 8 / 1e9 / w.seconds, err
	}
	first, err := rate()
	if err != nil {
		return Sample{}, err
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 2)
	var leases, names served
	long := timing.Warmup + timing.Measure + 2*patience
	go func() {
		got, err := askDHCP(asking, bed, serviceLoad{Window: dhcpWindow, Rate: besideDHCP / 2, Duration: long})
		leases = got
		errs <- err
	}()
	go func() {
		got, err := askDNS(asking, bed, serviceLoad{Window: dnsWindow, Rate: besideDNS, Duration: long})
		names = got
		errs <- err
	}()
	beside, err := rate()
	if err := errors.Join(err, <-errs, <-errs); err != nil {
		return Sample{}, err
	}
	second, err := rate()
	if err != nil {
		return Sample{}, err
	}
	alone := (first + second) / 2
	return Sample{Value: 100 * beside / alone, Details: []Figure{
		{"alone", "Gbit/s", alone}, {"beside", "Gbit/s", beside},
		{"leases", "a second", leases.rate()}, {"answers", "a second", names.rate()},
	}}, nil
}
