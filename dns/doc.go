// Package dns answers the names of a network: the resolver at the address of
// its gateway. It knows the gateway itself, static records, a hosts file, and
// the leases of the network; the rest it asks other servers for, and keeps what
// they say as long as they allow (RFC 1034, RFC 1035, RFC 2308, RFC 6891).
//
// It binds no socket. Queries come as bytes through Answer and leave as bytes
// through a function of the caller's, so it works at an address that the host
// does not have. Only queries to upstreams use sockets, ordinary ones: a fresh
// one each, so that port and id are random (RFC 5452).
//
// What becomes of a query, in order; the steps stand so in Answer and answer:
//
//  1. parse: what is no query is dropped, what is a bad one gets FORMERR
//  2. refuse what is not served: opcodes, classes, transfers, EDNS versions
//  3. probe: is it our own, come back through an upstream? Then that one loops
//  4. local: static records, then leases, then what is known not to exist
//  5. cache
//  6. forward: the same question once at a time, to the upstreams of its domain
//
// Steps 1 to 5 run on the goroutine of the caller, take no lock but that of the
// cache and those of Names, and allocate the reply and little else. Step 6 is a
// goroutine for each question in flight, of which there is a fixed number; no port
// of the switch has more than its share of them.
//
// Everything in a query is hostile, and everything in an upstream's answer is
// doubted: it counts only with the id and the question that were sent, and of
// its records only those stay that answer this question. They are used for no
// other one, so an answer cannot plant a name beside it.
//
// The trap: a resolver of the host may ask the resolver at this gateway in turn.
// While that is unknown, the same question in flight is asked once, so a query
// that comes back waits for itself until its time is over and multiplies into
// nothing. The probes then find the upstream out, and it is left out.
package dns
