// Package lease is what the leases of both address families have in common: the
// clocks that they end by, the queue that they wait in, the numbers that are still
// free, the names that they have and had, and what bounds those who make work.
//
// Its parts know nothing of each other and of any protocol. They are for the state
// machines of packages dhcp and dhcp6, which have no lock of their own, so none of
// these is safe for concurrent use.
package lease
