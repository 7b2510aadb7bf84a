package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft/weft/cmd/internal/api/apitest"
)

func TestCollectorOfIPv6(t *testing.T) {
	const want = `
# HELP weft_dhcp6_leases DHCPv6 leases, delegated prefixes and reservations of a network, by state.
# TYPE weft_dhcp6_leases gauge
weft_dhcp6_leases{network="lab",state="active"} 2
weft_dhcp6_leases{network="lab",state="declined"} 0
weft_dhcp6_leases{network="lab",state="expired"} 0
weft_dhcp6_leases{network="lab",state="offered"} 0
weft_dhcp6_leases{network="lab",state="reserved"} 0
# HELP weft_dhcp6_messages_total DHCPv6 messages from clients, by type and by what was done with them.
# TYPE weft_dhcp6_messages_total counter
weft_dhcp6_messages_total{network="lab",outcome="granted",type="request"} 2
weft_dhcp6_messages_total{network="lab",outcome="advertised",type="solicit"} 3
# HELP weft_dhcp6_pool_addresses Addresses in the DHCPv6 ranges of a network, free or used.
# TYPE weft_dhcp6_pool_addresses gauge
weft_dhcp6_pool_addresses{network="lab",state="free"} 4095
weft_dhcp6_pool_addresses{network="lab",state="used"} 1
# HELP weft_dhcp6_pool_prefixes Prefixes that a network may delegate, free or used.
# TYPE weft_dhcp6_pool_prefixes gauge
weft_dhcp6_pool_prefixes{network="lab",state="free"} 255
weft_dhcp6_pool_prefixes{network="lab",state="used"} 1
# HELP weft_ra_lifetime_seconds How long hosts may take a network's router for their way out; 0 where there is none.
# TYPE weft_ra_lifetime_seconds gauge
weft_ra_lifetime_seconds{network="lab"} 1800
# HELP weft_ra_sent_total Router advertisements sent into a network.
# TYPE weft_ra_sent_total counter
weft_ra_sent_total{network="lab"} 12
# HELP weft_ra_solicitations_refused_total Router solicitations that got no answer of their own.
# TYPE weft_ra_solicitations_refused_total counter
weft_ra_solicitations_refused_total{network="lab"} 1
# HELP weft_ra_solicitations_total Router solicitations from hosts of a network.
# TYPE weft_ra_solicitations_total counter
weft_ra_solicitations_total{network="lab"} 4
# HELP weft_uplink_addresses Addresses of an uplink by which networks leave.
# TYPE weft_uplink_addresses gauge
weft_uplink_addresses{family="ipv4",interface="eth0"} 1
weft_uplink_addresses{family="ipv6",interface="eth0"} 1
`
	names := []string{
		"weft_dhcp6_leases", "weft_dhcp6_messages_total", "weft_dhcp6_pool_addresses", "weft_dhcp6_pool_prefixes",
		"weft_ra_lifetime_seconds", "weft_ra_sent_total", "weft_ra_solicitations_refused_total", "weft_ra_solicitations_total",
		"weft_uplink_addresses",
	}
	b := withGateway()
	b.OpenUplink("lab")
	b.OpenIPv6("lab")
	if err := testutil.CollectAndCompare(NewCollector(b), strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	// Without IPv6 there is nothing of it but the address that is not there.
	b = apitest.New()
	b.OpenUplink("lab")
	const none = `
# HELP weft_uplink_addresses Addresses of an uplink by which networks leave.
# TYPE weft_uplink_addresses gauge
weft_uplink_addresses{family="ipv4",interface="eth0"} 1
weft_uplink_addresses{family="ipv6",interface="eth0"} 0
`
	if err := testutil.CollectAndCompare(NewCollector(b), strings.NewReader(none), names...); err != nil {
		t.Error(err)
	}
}
