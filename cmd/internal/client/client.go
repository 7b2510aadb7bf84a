// Package client speaks to a running weft over its control socket, in the
// types of package api. Errors are complete as they stand: one line (or, for
// an apply, one line a complaint) that says what to do.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/weft/weft/cmd/internal/api"
)

// timeout bounds a request, its answer included. It is longer than the
// server's own, so that the server's reason is the one reported.
const timeout = 75 * time.Second

// Client is safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

// New returns a client of the weft that answers at socket. It does not connect
// yet.
func New(socket string) *Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is what weft answered instead of doing it.
type Error struct {
	Status int      // of HTTP
	Lines  []string // at least one
}

func (e *Error) Error() string { return strings.Join(e.Lines, "\n") }

// Is makes errors.Is(err, api.ErrNotFound) and its like true on this side of
// the socket too.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case http.StatusNotFound:
		return target == api.ErrNotFound
	case http.StatusConflict:
		return target == api.ErrConflict
	case http.StatusUnprocessableEntity:
		return target == api.ErrInvalid
	}
	return false
}

// Status returns the daemon at a glance.
func (c *Client) Status(ctx context.Context) (s api.Status, err error) {
	return s, c.call(ctx, "GET", "/v1/status", nil, nil, &s)
}

// Networks returns all networks, sorted by name.
func (c *Client) Networks(ctx context.Context) (n []api.Network, err error) {
	return n, c.call(ctx, "GET", "/v1/networks", nil, nil, &n)
}

// Network returns one network.
func (c *Client) Network(ctx context.Context, name string) (n api.Network, err error) {
	return n, c.call(ctx, "GET", networkPath(name), nil, nil, &n)
}

// SetNetwork changes keys of a network and returns it as it is then. settings
// is a JSON object as api.Backend describes it.
func (c *Client) SetNetwork(ctx context.Context, name string, settings []byte) (n api.Network, err error) {
	return n, c.call(ctx, "PATCH", networkPath(name), nil, settings, &n)
}

// Ports returns the ports of a network, or of all where network is "".
func (c *Client) Ports(ctx context.Context, network string) (p []api.Port, err error) {
	return p, c.call(ctx, "GET", "/v1/ports", query("network", network), nil, &p)
}

// Port returns one port.
func (c *Client) Port(ctx context.Context, network, name string) (p api.Port, err error) {
	return p, c.call(ctx, "GET", networkPath(network, "ports", name), nil, nil, &p)
}

// AddPort adds a port and returns it as it came to be.
func (c *Client) AddPort(ctx context.Context, network string, s api.PortSpec) (p api.Port, err error) {
	return p, c.callJSON(ctx, networkPath(network, "ports"), s, &p)
}

// SetPort changes keys of a port and returns it as it is then. settings is a
// JSON object as api.Backend describes it.
func (c *Client) SetPort(ctx context.Context, network, name string, settings []byte) (p api.Port, err error) {
	return p, c.call(ctx, "PATCH", networkPath(network, "ports", name), nil, settings, &p)
}

// RemovePort takes a port away.
func (c *Client) RemovePort(ctx context.Context, network, name string) error {
	return c.call(ctx, "DELETE", networkPath(network, "ports", name), nil, nil, nil)
}

// FDB returns the entries of a network, or of all where network is "".
func (c *Client) FDB(ctx context.Context, network string) (e []api.FDBEntry, err error) {
	return e, c.call(ctx, "GET", "/v1/fdb", query("network", network), nil, &e)
}

// AddFDB adds a static entry.
func (c *Client) AddFDB(ctx context.Context, network string, s api.FDBSpec) error {
	return c.callJSON(ctx, networkPath(network, "fdb"), s, nil)
}

// RemoveFDB takes an entry away.
func (c *Client) RemoveFDB(ctx context.Context, network, mac string, vlan uint16) error {
	q := query("vlan", strconv.Itoa(int(vlan)))
	return c.call(ctx, "DELETE", networkPath(network, "fdb", mac), q, nil, nil)
}

// FlushFDB forgets the dynamic entries of a port, or of the whole network where
// port is "", and returns their number.
func (c *Client) FlushFDB(ctx context.Context, network, port string) (int, error) {
	var f api.Flushed
	err := c.call(ctx, "POST", networkPath(network, "fdb", "flush"), query("port", port), nil, &f)
	return f.Flushed, err
}

// Groups returns who listens to which multicast group in a network, or in all
// where network is "".
func (c *Client) Groups(ctx context.Context, network string) (g []api.Group, err error) {
	return g, c.call(ctx, "GET", "/v1/groups", query("network", network), nil, &g)
}

// Neighbors returns the neighbours of a network, of an uplink by the name of its
// interface, or of all where network is "".
func (c *Client) Neighbors(ctx context.Context, network string) (n []api.Neighbor, err error) {
	return n, c.call(ctx, "GET", "/v1/neighbors", query("network", network), nil, &n)
}

// Leases returns the leases and reservations of a network, or of all where
// network is "".
func (c *Client) Leases(ctx context.Context, network string) (l []api.Lease, err error) {
	return l, c.call(ctx, "GET", "/v1/leases", query("network", network), nil, &l)
}

// Lease returns one by address, MAC or host name.
func (c *Client) Lease(ctx context.Context, network, who string) (l api.Lease, err error) {
	return l, c.call(ctx, "GET", networkPath(network, "leases", who), nil, nil, &l)
}

// AddLease adds a reservation.
func (c *Client) AddLease(ctx context.Context, network string, s api.LeaseSpec) error {
	return c.callJSON(ctx, networkPath(network, "leases"), s, nil)
}

// RemoveLease takes a reservation away.
func (c *Client) RemoveLease(ctx context.Context, network, who string) error {
	return c.call(ctx, "DELETE", networkPath(network, "leases", who), nil, nil, nil)
}

// ReleaseLease ends a lease.
func (c *Client) ReleaseLease(ctx context.Context, network, who string) error {
	return c.call(ctx, "POST", networkPath(network, "leases", who, "release"), nil, nil, nil)
}

// Apply makes a configuration the running one and returns what changes. name
// stands for the file in error messages.
func (c *Client) Apply(ctx context.Context, name string, yaml []byte, dryRun bool) ([]string, error) {
	var a api.Applied
	q := query("name", name)
	q.Set("dry_run", strconv.FormatBool(dryRun))
	err := c.call(ctx, "POST", "/v1/apply", q, yaml, &a)
	return a.Changes, err
}

// Config returns the running configuration as YAML.
func (c *Client) Config(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.do(ctx, "GET", "/v1/config", nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// Capture starts a capture and returns its pcapng stream, which ends with ctx.
// A Read reports why, where weft ended it. The caller closes the stream.
func (c *Client) Capture(ctx context.Context, network, port string, o api.CaptureOptions) (io.ReadCloser, error) {
	q := query("port", port)
	if o.Snaplen > 0 {
		q.Set("snaplen", strconv.Itoa(o.Snaplen))
	}
	resp, err := c.do(ctx, "GET", networkPath(network, "capture"), q, nil)
	if err != nil {
		return nil, err
	}
	return &stream{resp}, nil
}

// stream turns the trailer of a capture into an error.
type stream struct{ resp *http.Response }

func (s *stream) Close() error { return s.resp.Body.Close() }

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.resp.Body.Read(p)
	if why := s.resp.Trailer.Get(api.ErrorTrailer); err == io.EOF && why != "" {
		err = &Error{Status: http.StatusInternalServerError, Lines: []string{why}}
	}
	return n, err
}

func (c *Client) callJSON(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.call(ctx, "POST", path, nil, body, out)
}

func (c *Client) call(ctx context.Context, method, path string, q url.Values, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.do(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("weft at %s: read its answer: %w", c.socket, err)
	}
	return nil
}

// do sends a request and returns the answer where it is a success.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, body []byte) (*http.Response, error) {
	target := "http://weft" + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problem(resp)
}

// problem reads the body of an answer that is not a success. Whoever answers
// without one is not a weft of this version.
func problem(resp *http.Response) error {
	var p api.Problem
	err := json.NewDecoder(io.LimitReader(resp.Body, api.MaxBody)).Decode(&p)
	switch {
	case err != nil || p.Error == "":
		p.Errors = []string{"weft answers " + resp.Status + " without a reason"}
	case len(p.Errors) == 0:
		p.Errors = []string{p.Error}
	}
	return &Error{Status: resp.StatusCode, Lines: p.Errors}
}

// networkPath builds the path of something in a network, each part escaped.
// PathEscape leaves dots alone, and "." and ".." would mean another path.
func networkPath(parts ...string) string {
	path := "/v1/networks"
	for _, p := range parts {
		p = url.PathEscape(p)
		if strings.Trim(p, ".") == "" {
			p = strings.ReplaceAll(p, ".", "%2E")
		}
		path += "/" + p
	}
	return path
}

// query returns one parameter, or none where the value is empty.
func query(key, value string) url.Values {
	if value == "" {
		return url.Values{}
	}
	return url.Values{key: {value}}
}

// unwrapURL drops the method and address that net/http puts before an error:
// they mean nothing to whoever sees only a socket.
func unwrapURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}
