// Package uplink knows what is beyond the switch: the host's side of a way out,
// and the way to an address of weft's own.
//
// Host follows one interface of the host, with its addresses and routes, so that
// weft can share its address; Taken follows which ports the host uses itself, and
// Addresses what addresses the host has. They read what the kernel says by netlink
// and sock_diag, change nothing, and stay in the network namespace of the thread
// that made them. Client is a DHCP client, for an address of weft's own.
package uplink
