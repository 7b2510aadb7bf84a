// Package bench measures weft beside what it stands in for. One run puts the
// same traffic, from the same generators, between the same two hosts, and
// changes only what joins them: a Peer. It goes A B A B through the peers, so
// that the drift of a noisy machine falls on all of them, and compares each
// with the kernel bridge of the same round, or where addresses are translated with
// the kernel's masquerade. A Scenario that is in both families of IP is measured
// in one right after the other, and IPv6 is compared with IPv4 too, peer by peer.
//
// A Peer joins hosts, a Scenario puts a load on them and yields one Sample, a
// Lab owns the namespaces and processes of one measurement and undoes them. A
// Report keeps every sample; rows, ratios and targets are derived from it.
//
// The generators are blocking system calls on OS threads of their own that
// entered the namespace of a host; no process but the switch is started.
//
// The trap: figures of two runs are not comparable, ratios are, and only
// within one run. Everything needs root.
package bench
