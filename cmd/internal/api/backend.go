package api

import (
	"context"
	"errors"
	"io"
)

// What the server answers for depends on which of these an error wraps; any
// other error is a 500. Mark attaches one without changing the text.
var (
	ErrNotFound = errors.New("not found") // 404: no such network, port or entry
	ErrConflict = errors.New("conflict")  // 409: it exists already, or is in use
	ErrInvalid  = errors.New("invalid")   // 422: understood, and not allowed
)

// Backend is the daemon as its clients see it. All methods are safe for
// concurrent use. Slices and maps that they return belong to the caller.
//
// An error is complete as it stands: it names the thing and what to do. One of
// several lines (every error of a configuration) holds one complaint a line.
type Backend interface {
	Status() Status

	// Networks returns all networks, sorted by name.
	Networks() []Network

	// SetNetwork changes the network's keys of the configuration file that are
	// in settings, a JSON object, and leaves the others as they are: null is
	// the default of a key, or of all below it (RFC 7396). It changes all of
	// them or, with an error, nothing. SetPort does so for a port.
	SetNetwork(name string, settings []byte) error
	SetPort(network, name string, settings []byte) error

	// Ports returns the ports of a network, or of all where network is "",
	// sorted by network and name.
	Ports(network string) ([]Port, error)
	Port(network, name string) (Port, error)
	AddPort(network string, p PortSpec) error
	RemovePort(network, name string) error

	// FDB returns the entries of a network, or of all where network is "",
	// sorted by network, VLAN and MAC.
	FDB(network string) ([]FDBEntry, error)

	// AddFDB adds a static entry; RemoveFDB takes a static or dynamic one away.
	AddFDB(network string, e FDBSpec) error
	RemoveFDB(network, mac string, vlan uint16) error

	// FlushFDB forgets the dynamic entries of a port, or of the whole network
	// where port is "", and returns their number.
	FlushFDB(network, port string) (int, error)

	// Groups returns who listens to which multicast group in a network, or in
	// all where network is "", sorted by network, VLAN, group and port.
	Groups(network string) ([]Group, error)

	// Neighbors returns the neighbours of a network's gateway, or of an uplink by the
	// name of its interface, or of all of both where network is "", sorted by network
	// and address, those of networks before those of uplinks.
	Neighbors(network string) ([]Neighbor, error)

	// Leases returns the DHCP leases and reservations of a network, or of all
	// where network is "", sorted by network and address. A network without
	// DHCP has none. Those of DHCPv6 are among them, and the prefixes that it has
	// delegated.
	Leases(network string) ([]Lease, error)

	// Lease returns one; who is its address or prefix, its MAC, its client identifier
	// or DUID, or its host name.
	Lease(network, who string) (Lease, error)

	// AddLease adds a reservation to the running configuration, and RemoveLease
	// takes one away; what its client has stays until it is to be renewed.
	AddLease(network string, l LeaseSpec) error
	RemoveLease(network, who string) error

	// ReleaseLease ends a lease as if its client had given it back. A
	// reservation stays.
	ReleaseLease(network, who string) error

	// Flows returns the first limit flows that f chooses, those of a network
	// together and the networks sorted by name, and the number of all that it
	// chooses. A network whose flows are not tracked has none.
	Flows(f FlowFilter, limit int) (flows []Flow, total int, err error)

	// FlushFlows forgets the flows that f chooses and returns their number.
	FlushFlows(f FlowFilter) (int, error)

	// Publishes returns what is published of a network, or of all where network
	// is "", sorted by network, protocol and port.
	Publishes(network string) ([]Publish, error)

	// AddPublish adds to the running configuration, and RemovePublish takes away
	// from it; listen is in the form of Publish.Listen. Where both families are
	// published at one port, or several guests at their own addresses, to in the form
	// of Publish.To says which; "" is all of them.
	AddPublish(network string, p PublishSpec) error
	RemovePublish(network, protocol, listen, to string) error

	// Uplinks returns all uplinks of networks that are translated or routed,
	// sorted by interface.
	Uplinks() []Uplink

	// Apply makes the configuration in yaml the running one, all of it or
	// nothing, and returns what changes, one line each. With dryRun it
	// changes nothing. name stands for the file in error messages.
	Apply(name string, yaml []byte, dryRun bool) ([]string, error)

	// Config returns the running configuration as YAML.
	Config() []byte

	// Capture writes what crosses a port, or any port of the network where
	// port is "", to w as pcapng until ctx ends, which is not an error.
	// Each Write holds whole blocks, and reaches the client at once.
	Capture(ctx context.Context, network, port string, w io.Writer, opts CaptureOptions) error
}

// Mark returns err, with its text unchanged, as an error that wraps kind too.
// It returns nil for a nil err.
func Mark(kind, err error) error {
	if err == nil {
		return nil
	}
	return &marked{kind: kind, err: err}
}

type marked struct{ kind, err error }

func (m *marked) Error() string   { return m.err.Error() }
func (m *marked) Unwrap() []error { return []error{m.err, m.kind} }
