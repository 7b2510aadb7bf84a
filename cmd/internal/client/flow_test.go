package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/api/apitest"
)

func TestFlowCalls(t *testing.T) {
	b := apitest.New()
	b.OpenUplink("lab")
	c, _ := serve(t, api.Handler(b))
	ctx := t.Context()

	all, total, err := c.Flows(ctx, api.FlowFilter{}, 100)
	want(t, "flows", err, total, 5)
	mine, _, _ := b.Flows(api.FlowFilter{}, 100)
	want(t, "flows", err, all, mine)
	some, total, err := c.Flows(ctx, api.FlowFilter{Network: "lab"}, 2)
	want(t, "some flows", err, some, mine[:2])
	want(t, "total", err, total, 5)
	f := api.FlowFilter{Protocol: "tcp", Address: netip.MustParsePrefix("10.0.0.10/32"), Port: 22, State: api.FlowFinWait}
	some, total, err = c.Flows(ctx, f, 2)
	want(t, "chosen flows", err, some, mine[1:2])
	want(t, "total", err, total, 1)
	gone, err := c.FlushFlows(ctx, f)
	want(t, "flush", err, gone, 1)
	gone, err = c.FlushFlows(ctx, api.FlowFilter{})
	want(t, "flush all", err, gone, 4)

	want(t, "publish", c.AddPublish(ctx, "lab", api.PublishSpec{Protocol: "udp", Listen: "127.0.0.1:53-60", To: "10.0.0.10:53"}), 0, 0)
	list, err := c.Publishes(ctx, "lab")
	want(t, "publishes", err, list[1], api.Publish{Network: "lab", Protocol: "udp", Listen: "127.0.0.1:53-60", To: "10.0.0.10:53", Outside: "127.0.0.1:53-60"})
	want(t, "unpublish", c.RemovePublish(ctx, "lab", "udp", "127.0.0.1:53-60", "10.0.0.10:53"), 0, 0)
	list, err = c.Publishes(ctx, "")
	want(t, "publishes of all", err, len(list), 1)

	uplinks, err := c.Uplinks(ctx)
	want(t, "uplinks", err, uplinks[0], b.Uplinks()[0])
	networks, err := c.Networks(ctx)
	want(t, "networks", err, networks, b.Networks())
}

func TestFlowErrorsCrossTheSocket(t *testing.T) {
	c, _ := serve(t, api.Handler(apitest.New()))
	ctx := t.Context()
	_, _, noFlows := c.Flows(ctx, api.FlowFilter{Network: "nil"}, 1)
	_, noFlush := c.FlushFlows(ctx, api.FlowFilter{Network: "nil"})
	_, noPublish := c.Publishes(ctx, "nil")
	_, _, noLimit := c.Flows(ctx, api.FlowFilter{}, 0)
	for _, e := range []struct {
		got  error
		kind error
		text string
	}{
		{noFlows, api.ErrNotFound, `network "nil" does not exist`},
		{noFlush, api.ErrNotFound, `network "nil" does not exist`},
		{noPublish, api.ErrNotFound, `network "nil" does not exist`},
		{c.AddPublish(ctx, "lab", api.PublishSpec{}), api.ErrInvalid, `network "lab" has no uplink: give it one first`},
		{c.RemovePublish(ctx, "lab", "tcp", "1", ""), api.ErrNotFound, `network "lab": tcp 1 is not published`},
	} {
		if !errors.Is(e.got, e.kind) || e.got.Error() != e.text {
			t.Errorf("got %v\nwant %v: %s", e.got, e.kind, e.text)
		}
	}
	if noLimit == nil || noLimit.Error() != `limit is "0": say a number from 1 to 1000000` {
		t.Errorf("got %v", noLimit)
	}
}

// Without the number of all flows an answer is not whole.
func TestFlowsOfAStranger(t *testing.T) {
	body, total := "[]", ""
	c, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if total != "" {
			w.Header().Set(api.TotalHeader, total)
		}
		io.WriteString(w, body)
	}))
	for _, answer := range [][2]string{{"[]", ""}, {"[]", "many"}, {"[{", "1"}, {"[{}", "1"}, {"", "1"}, {"[7]", "1"}, {`{"error":""}`, "1"}} {
		body, total = answer[0], answer[1]
		if _, _, err := c.Flows(t.Context(), api.FlowFilter{}, 1); err == nil || !strings.Contains(err.Error(), "read its answer") {
			t.Errorf("%q: got %v", answer, err)
		}
	}
}
