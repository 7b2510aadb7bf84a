package metrics

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft/weft/cmd/internal/api/apitest"
)

func withGateway() *apitest.Backend {
	b := apitest.New()
	b.OpenGateway("lab")
	return b
}

// A network without a gateway has none of these; see TestCollector.
func TestCollectorOfServices(t *testing.T) {
	want := `
# HELP weft_dhcp_leases DHCP leases and reservations of a network, by state.
# TYPE weft_dhcp_leases gauge
weft_dhcp_leases{network="lab",state="active"} 2
weft_dhcp_leases{network="lab",state="declined"} 0
weft_dhcp_leases{network="lab",state="expired"} 1
weft_dhcp_leases{network="lab",state="offered"} 0
weft_dhcp_leases{network="lab",state="reserved"} 1
# HELP weft_dhcp_messages_total DHCP messages from clients, by type and by what was done with them.
# TYPE weft_dhcp_messages_total counter
weft_dhcp_messages_total{network="lab",outcome="offered",type="discover"} 3
weft_dhcp_messages_total{network="lab",outcome="unavailable",type="discover"} 1
weft_dhcp_messages_total{network="lab",outcome="granted",type="request"} 2
# HELP weft_dhcp_pool_addresses Addresses in the DHCP ranges of a network, free or used.
# TYPE weft_dhcp_pool_addresses gauge
weft_dhcp_pool_addresses{network="lab",state="free"} 98
weft_dhcp_pool_addresses{network="lab",state="used"} 2
# HELP weft_dns_cache_entries DNS answers in the cache of a network.
# TYPE weft_dns_cache_entries gauge
weft_dns_cache_entries{network="lab"} 12
# HELP weft_dns_queries_total DNS queries of a network, by where the answer came from or why there was none.
# TYPE weft_dns_queries_total counter
weft_dns_queries_total{network="lab",outcome="cached"} 5
weft_dns_queries_total{network="lab",outcome="forwarded"} 2
weft_dns_queries_total{network="lab",outcome="local"} 3
weft_dns_queries_total{network="lab",outcome="refused"} 0
# HELP weft_dns_query_duration_seconds Time from a DNS query to its answer.
# TYPE weft_dns_query_duration_seconds histogram
weft_dns_query_duration_seconds_bucket{network="lab",le="0.001"} 8
weft_dns_query_duration_seconds_bucket{network="lab",le="0.1"} 9
weft_dns_query_duration_seconds_bucket{network="lab",le="+Inf"} 10
weft_dns_query_duration_seconds_sum{network="lab"} 2.5
weft_dns_query_duration_seconds_count{network="lab"} 10
`
	err := testutil.CollectAndCompare(NewCollector(withGateway()), strings.NewReader(want),
		"weft_dhcp_leases", "weft_dhcp_messages_total", "weft_dhcp_pool_addresses",
		"weft_dns_cache_entries", "weft_dns_queries_total", "weft_dns_query_duration_seconds")
	if err != nil {
		t.Error(err)
	}
}
