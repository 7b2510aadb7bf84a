package api

import (
	"bufio"
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
)

// flowQuery are the query parameters of a FlowFilter.
func flowQuery(more ...string) []string {
	return slices.Sorted(slices.Values(slices.Concat(FlowFilterKeys(), []string{"network"}, more)))
}

func flowFilter(r *http.Request) (f FlowFilter, err error) {
	q := r.URL.Query()
	for _, key := range flowQuery() {
		if !q.Has(key) {
			continue
		}
		if err := f.Set(key, q.Get(key)); err != nil {
			return f, badRequest("%s is %q: %v", key, q.Get(key), err)
		}
	}
	return f, nil
}

func getFlows(b Backend, w http.ResponseWriter, r *http.Request) error {
	filter, err := flowFilter(r)
	if err != nil {
		return err
	}
	limit, err := queryInt(r, "limit", 1, MaxFlowLimit)
	if err != nil {
		return err
	}
	flows, total, err := b.Flows(filter, cmp.Or(limit, DefaultFlowLimit))
	if err != nil {
		return err
	}
	w.Header().Set(TotalHeader, strconv.Itoa(total))
	writeList(w, flows)
	return nil
}

// writeList writes a list as writeJSON does, one element at a time: the text of a
// million flows is never in memory as a whole.
func writeList[T any](w http.ResponseWriter, list []T) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	out := bufio.NewWriterSize(w, 64<<10)
	before := byte('[')
	for i := range list {
		text, err := json.Marshal(&list[i])
		if err != nil { // our own types always marshal
			slog.Error("control socket: encode answer", "err", err)
			panic(http.ErrAbortHandler)
		}
		out.WriteByte(before)
		if _, err := out.Write(text); err != nil {
			return // the client has gone
		}
		before = ','
	}
	if before == '[' {
		out.WriteByte(before)
	}
	out.WriteString("]\n")
	out.Flush()
}

func flushFlows(b Backend, w http.ResponseWriter, r *http.Request) error {
	filter, err := flowFilter(r)
	if err != nil {
		return err
	}
	n, err := b.FlushFlows(filter)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, Flushed{Flushed: n})
	return nil
}

func getPublishes(b Backend, w http.ResponseWriter, r *http.Request) error {
	list, err := b.Publishes(r.URL.Query().Get("network"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, orEmpty(list))
	return nil
}

func addPublish(b Backend, w http.ResponseWriter, r *http.Request) error {
	var spec PublishSpec
	if err := readJSON(r, &spec); err != nil {
		return err
	}
	spec.Protocol = cmp.Or(spec.Protocol, "tcp")
	if err := b.AddPublish(r.PathValue("network"), spec); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func removePublish(b Backend, w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	protocol := "tcp"
	if q.Has("protocol") {
		if protocol = q.Get("protocol"); protocol != "tcp" && protocol != "udp" {
			return badRequest("protocol is %q: say tcp or udp", protocol)
		}
	}
	if q.Get("listen") == "" {
		return badRequest("listen is missing: say which port, such as 8080")
	}
	if err := b.RemovePublish(r.PathValue("network"), protocol, q.Get("listen"), q.Get("to")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func getUplinks(b Backend, w http.ResponseWriter, _ *http.Request) error {
	uplinks := b.Uplinks()
	for i := range uplinks {
		uplinks[i] = uplinks[i].complete()
	}
	writeJSON(w, http.StatusOK, orEmpty(uplinks))
	return nil
}
