// Package snooping knows who listens to which multicast group of a network. It
// reads the IGMP (RFC 1112, RFC 2236, RFC 3376) and MLD (RFC 2710, RFC 3810) of
// hosts and routers, asks hosts itself where no router does, and says to which
// ports a frame to a group has to go (RFC 4541).
//
// It is pure: no goroutine, clock, lock or I/O. A Snooper is for one caller at a
// time, who passes the time since some moment of its own choice and calls Tick
// once a second. Two things are for any number of goroutines beside that: Parse,
// and a Table, which never changes once it was handed out. Neither locks or
// allocates.
//
// IPv4 and IPv6 of each VLAN are apart. In each of these domains traffic is
// restricted only while somebody asks hosts for their groups, be it this
// querier or another one, and only after they had the time to answer. In doubt a
// frame is flooded: what hosts need never report (224.0.0.0/24, IPv6 groups up
// to link scope), what is no IP, and what goes to a port whose memberships could
// not all be recorded.
//
// A membership is one of group and port. Source lists are read only as far as
// to tell a member from none: INCLUDE of no source is a leave, any other list a
// membership in all of the group. A listener so gets what it asked for, and may
// get more, which it filters itself as on a shared wire.
//
// The trap: reports go to router ports only (RFC 4541 clause 2.1.1), and a query
// of a neighbouring switch comes from 0.0.0.0, which is no router's address. Its
// port counts as a router port all the same. Between two switches that both
// query from 0.0.0.0 neither would otherwise learn of the other's listeners, and
// both would cut them off.
package snooping
