package uplink

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

func lease(t *testing.T, addr string, options dhcpv4.Options, without ...uint8) (*Lease, error) {
	t.Helper()
	s := newTestServer()
	s.addr, s.options = netip.MustParseAddr(addr), options
	ask, _ := dhcpv4.New()
	ask.ClientHWAddr = clientMAC[:]
	d := s.message(ask, dhcpv4.MessageTypeAck)
	for _, code := range without {
		delete(d.Options, code)
	}
	r := parseReply(d.ToBytes())
	if r == nil {
		t.Fatal("not read")
	}
	return leaseOf(r)
}

func TestClientLeaseOptions(t *testing.T) {
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	tests := []struct {
		name    string
		addr    string
		options dhcpv4.Options
		without []uint8
		want    Lease
	}{
		{name: "plain", addr: "192.0.2.50", want: Lease{Address: prefix("192.0.2.50/24"), Gateway: serverAddr}},
		{name: "no router", addr: "192.0.2.50", without: []uint8{optRouter}, want: Lease{Address: prefix("192.0.2.50/24")}},
		{name: "the first of two routers", addr: "192.0.2.50", options: dhcpv4.Options{optRouter: {192, 0, 2, 9, 192, 0, 2, 1}},
			want: Lease{Address: prefix("192.0.2.50/24"), Gateway: addr("192.0.2.9")}},
		{name: "our own router", addr: "192.0.2.50", options: dhcpv4.Options{optRouter: {192, 0, 2, 50}}, want: Lease{Address: prefix("192.0.2.50/24")}},
		{name: "class A", addr: "10.1.2.3", without: []uint8{optNetmask}, want: Lease{Address: prefix("10.1.2.3/8"), Gateway: serverAddr}},
		{name: "class B", addr: "172.16.2.3", without: []uint8{optNetmask}, want: Lease{Address: prefix("172.16.2.3/16"), Gateway: serverAddr}},
		{name: "class C", addr: "192.0.2.3", without: []uint8{optNetmask}, want: Lease{Address: prefix("192.0.2.3/24"), Gateway: serverAddr}},
		{name: "a subnet of one", addr: "192.0.2.255", options: dhcpv4.Options{optNetmask: {255, 255, 255, 255}}, want: Lease{Address: prefix("192.0.2.255/32"), Gateway: serverAddr}},
		{name: "a subnet of two", addr: "192.0.2.254", options: dhcpv4.Options{optNetmask: {255, 255, 255, 254}}, want: Lease{Address: prefix("192.0.2.254/31"), Gateway: serverAddr}},
		{name: "name servers and MTU", addr: "192.0.2.50", options: dhcpv4.Options{optDNS: {192, 0, 2, 3, 0, 0, 0, 0, 192, 0, 2, 3, 192, 0, 2, 4, 9}, optMTU: {5, 120}},
			want: Lease{Address: prefix("192.0.2.50/24"), Gateway: serverAddr, DNS: []netip.Addr{addr("192.0.2.3"), addr("192.0.2.4")}, MTU: 1400}},
		{name: "an MTU that does harm", addr: "192.0.2.50", options: dhcpv4.Options{optMTU: {0, 68}}, want: Lease{Address: prefix("192.0.2.50/24"), Gateway: serverAddr}},
		{name: "classless routes, the router ignored", addr: "192.0.2.50",
			options: dhcpv4.Options{optRoutes: {0, 192, 0, 2, 7, 8, 10, 192, 0, 2, 8, 29, 10, 1, 1, 15, 192, 0, 2, 9, 32, 203, 0, 113, 1, 0, 0, 0, 0}},
			want: Lease{Address: prefix("192.0.2.50/24"), Gateway: addr("192.0.2.7"), Routes: []LeaseRoute{
				{prefix("10.0.0.0/8"), addr("192.0.2.8")}, {prefix("10.1.1.8/29"), addr("192.0.2.9")}, {prefix("203.0.113.1/32"), netip.Addr{}}}}},
		{name: "classless routes without a default one", addr: "192.0.2.50", options: dhcpv4.Options{optRoutes: {16, 10, 5, 192, 0, 2, 50}},
			want: Lease{Address: prefix("192.0.2.50/24"), Routes: []LeaseRoute{{prefix("10.5.0.0/16"), netip.Addr{}}}}},
		{name: "a route by a group", addr: "192.0.2.50", options: dhcpv4.Options{optRoutes: {16, 10, 5, 224, 0, 0, 1, 16, 10, 6, 192, 0, 2, 8}},
			want: Lease{Address: prefix("192.0.2.50/24"), Routes: []LeaseRoute{{prefix("10.6.0.0/16"), addr("192.0.2.8")}}}},
		{name: "malformed routes: the router", addr: "192.0.2.50", options: dhcpv4.Options{optRoutes: {33, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
			want: Lease{Address: prefix("192.0.2.50/24"), Gateway: serverAddr}},
		{name: "truncated routes: the router", addr: "192.0.2.50", options: dhcpv4.Options{optRoutes: {24, 10, 1, 1, 192, 0, 2}},
			want: Lease{Address: prefix("192.0.2.50/24"), Gateway: serverAddr}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := lease(t, test.addr, test.options, test.without...)
			if err != nil {
				t.Fatal(err)
			}
			test.want.Server, test.want.Duration = serverAddr, time.Hour
			if diff := cmp.Diff(test.want, *got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.IgnoreUnexported(Lease{}), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestClientLeaseRefused(t *testing.T) {
	tests := []struct {
		addr    string
		options dhcpv4.Options
		want    string
	}{
		{"192.0.2.50", dhcpv4.Options{optNetmask: {255, 0, 255, 0}}, "the subnet mask 255.0.255.0 is none"},
		{"192.0.2.50", dhcpv4.Options{optNetmask: {255}}, "the subnet mask is malformed"},
		{"192.0.2.50", dhcpv4.Options{optLease: {0, 0, 0, 0}}, "the lease has no duration"},
		{"192.0.2.255", nil, "the offered address 192.0.2.255/24 is none of a host"},
	}
	for _, test := range tests {
		if _, err := lease(t, test.addr, test.options); err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

// Options in the fields of the header are read too (RFC 2132 clause 9.3).
func TestClientOverload(t *testing.T) {
	s := newTestServer()
	ask, _ := dhcpv4.New()
	d := s.message(ask, dhcpv4.MessageTypeAck)
	delete(d.Options, optLease)
	delete(d.Options, optRouter)
	d.Options[optOverload] = []byte{3}
	b := d.ToBytes()
	copy(b[offsetFile:], []byte{optLease, 4, 0, 0, 0, 60, 255})
	copy(b[offsetSName:], []byte{optRouter, 4, 192, 0, 2, 7, 255})
	r := parseReply(b)
	if r == nil {
		t.Fatal("not read")
	}
	l, err := leaseOf(r)
	if err != nil || l.Duration != time.Minute || l.Gateway != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("%+v, %v", l, err)
	}
}

func FuzzClientReply(f *testing.F) {
	s := newTestServer()
	ask, _ := dhcpv4.New()
	f.Add(s.message(ask, dhcpv4.MessageTypeAck).ToBytes())
	s.options = dhcpv4.Options{optRoutes: {8, 10, 192, 0, 2, 8}, optDNS: {1, 2, 3, 4}, optOverload: {3}, optMTU: {5, 0}}
	f.Add(s.message(ask, dhcpv4.MessageTypeOffer).ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r := parseReply(b)
		if r == nil {
			return
		}
		_ = r.text()
		l, err := leaseOf(r)
		if err != nil {
			return
		}
		if !isHost(l.Address.Addr()) || !l.Address.IsValid() || l.Address.Bits() == 0 || len(l.Routes) > maxLeaseRoutes || len(l.DNS) > maxLeaseServers ||
			l.MTU != 0 && l.MTU < minMTU || l.Gateway.IsValid() && !isHost(l.Gateway) {
			t.Errorf("%+v", l)
		}
	})
}
