// Package ndp reads and writes the messages of IPv6 neighbour discovery: router
// and neighbour solicitations and advertisements (RFC 4861), with the options for
// name servers (RFC 8106) and routes (RFC 4191). It keeps no state.
//
// The trap: what the Parse functions take has passed Valid. They trust the lengths
// that Valid has looked at.
package ndp
