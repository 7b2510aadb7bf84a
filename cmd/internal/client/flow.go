package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/weft/weft/cmd/internal/api"
)

// Flows returns the first limit flows that f chooses, and the number of all that
// it chooses. limit is 1 to api.MaxFlowLimit.
func (c *Client) Flows(ctx context.Context, f api.FlowFilter, limit int) (flows []api.Flow, total int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	q := f.Query()
	q.Set("limit", strconv.Itoa(limit))
	resp, err := c.do(ctx, "GET", "/v1/flows", q, nil)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if total, err = strconv.Atoi(resp.Header.Get(api.TotalHeader)); err == nil {
		flows, err = readList[api.Flow](resp.Body)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("weft at %s: read its answer: %w", c.socket, err)
	}
	return flows, total, nil
}

// readList reads a JSON list one element at a time: the text of a million flows is
// never in memory as a whole.
func readList[T any](r io.Reader) ([]T, error) {
	d := json.NewDecoder(r)
	if first, err := d.Token(); err != nil {
		return nil, err
	} else if first != json.Delim('[') {
		return nil, fmt.Errorf("a list begins with %v", first)
	}
	list := []T{}
	for d.More() {
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token() // without it the list has been cut short
	return list, err
}

// FlushFlows forgets the flows that f chooses and returns their number.
func (c *Client) FlushFlows(ctx context.Context, f api.FlowFilter) (int, error) {
	var flushed api.Flushed
	err := c.call(ctx, "DELETE", "/v1/flows", f.Query(), nil, &flushed)
	return flushed.Flushed, err
}

// Publishes returns what is published of a network, or of all where network is "".
func (c *Client) Publishes(ctx context.Context, network string) (p []api.Publish, err error) {
	return p, c.call(ctx, "GET", "/v1/publish", query("network", network), nil, &p)
}

// AddPublish publishes a port.
func (c *Client) AddPublish(ctx context.Context, network string, s api.PublishSpec) error {
	return c.callJSON(ctx, networkPath(network, "publish"), s, nil)
}

// RemovePublish takes a published port away, that which leads to an address and port
// where to is one, else all of them.
func (c *Client) RemovePublish(ctx context.Context, network, protocol, listen, to string) error {
	q := query("protocol", protocol)
	q.Set("listen", listen)
	if to != "" {
		q.Set("to", to)
	}
	return c.call(ctx, "DELETE", networkPath(network, "publish"), q, nil, nil)
}

// Uplinks returns all uplinks.
func (c *Client) Uplinks(ctx context.Context) (u []api.Uplink, err error) {
	return u, c.call(ctx, "GET", "/v1/uplinks", nil, nil, &u)
}
