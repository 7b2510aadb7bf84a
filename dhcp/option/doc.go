// Package option knows the options of DHCPv4 (RFC 2132 and its successors): by
// number, by the names dnsmasq's users write, and how the value of each is
// written in a configuration and sent on the wire.
//
// It only makes what an administrator wants sent. Options that carry the
// protocol itself (message type, server identifier, lease time, …) belong to
// the server and are refused here with what to use in their place.
package option
