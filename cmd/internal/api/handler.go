package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
)

// MaxBody is the longest request body taken, in bytes.
const MaxBody = 1 << 20

// A route is one operation. Its query parameters are named so that a misspelt
// one is refused: ?dryrun=1 must not apply for real.
type route struct {
	method string
	path   string
	query  []string
	serve  func(Backend, http.ResponseWriter, *http.Request) error
}

// routes lists every operation; docs/openapi.yaml holds the same ones.
func routes() []route {
	return []route{
		{"GET", "/v1/status", nil, getStatus},
		{"GET", "/v1/networks", nil, getNetworks},
		{"GET", "/v1/networks/{network}", nil, getNetwork},
		{"PATCH", "/v1/networks/{network}", nil, setNetwork},
		{"GET", "/v1/ports", []string{"network"}, getPorts},
		{"POST", "/v1/networks/{network}/ports", nil, addPort},
		{"GET", "/v1/networks/{network}/ports/{port}", nil, getPort},
		{"PATCH", "/v1/networks/{network}/ports/{port}", nil, setPort},
		{"DELETE", "/v1/networks/{network}/ports/{port}", nil, removePort},
		{"GET", "/v1/fdb", []string{"network"}, getFDB},
		{"POST", "/v1/networks/{network}/fdb", nil, addFDB},
		{"DELETE", "/v1/networks/{network}/fdb/{mac}", []string{"vlan"}, removeFDB},
		{"POST", "/v1/networks/{network}/fdb/flush", []string{"port"}, flushFDB},
		{"GET", "/v1/groups", []string{"network"}, getGroups},
		{"GET", "/v1/neighbors", []string{"network"}, getNeighbors},
		{"GET", "/v1/leases", []string{"network"}, getLeases},
		{"POST", "/v1/networks/{network}/leases", nil, addLease},
		{"GET", "/v1/networks/{network}/leases/{who}", nil, getLease},
		{"DELETE", "/v1/networks/{network}/leases/{who}", nil, removeLease},
		{"POST", "/v1/networks/{network}/leases/{who}/release", nil, releaseLease},
		{"GET", "/v1/flows", flowQuery("limit"), getFlows},
		{"DELETE", "/v1/flows", flowQuery(), flushFlows},
		{"GET", "/v1/publish", []string{"network"}, getPublishes},
		{"POST", "/v1/networks/{network}/publish", nil, addPublish},
		{"DELETE", "/v1/networks/{network}/publish", []string{"listen", "protocol", "to"}, removePublish},
		{"GET", "/v1/uplinks", nil, getUplinks},
		{"POST", "/v1/apply", []string{"dry_run", "name"}, apply},
		{"GET", "/v1/config", nil, getConfig},
		{"GET", "/v1/networks/{network}/capture", []string{"port", "snaplen"}, capture},
	}
}

// Handler answers the control interface from b.
func Handler(b Backend) http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) {
			err := checkQuery(r.URL, rt.query)
			if err == nil {
				r.Body = http.MaxBytesReader(w, r.Body, MaxBody)
				err = rt.serve(b, w, r)
			}
			if err != nil {
				writeError(w, err)
			}
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ServeMux would redirect //v1/status; a client that follows turns its
		// DELETE into a GET.
		p := r.URL.EscapedPath()
		if _, pattern := mux.Handler(r); pattern == "" || path.Clean(p) != p {
			writeError(w, noRoute(mux, w, r))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// noRoute tells a path that does not exist from one that lacks the method
// (RFC 9110 section 15.5.6 wants an Allow header then). ServeMux does so too,
// but not in JSON.
func noRoute(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) error {
	var allow []string
	p := r.URL.EscapedPath()
	for _, m := range []string{"GET", "HEAD", "POST", "PATCH", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := mux.Handler(probe); pattern != "" && path.Clean(p) == p {
			allow = append(allow, m)
		}
	}
	if allow == nil {
		return &requestError{http.StatusNotFound, fmt.Sprintf("no such path: %s", r.URL.Path)}
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	return &requestError{http.StatusMethodNotAllowed,
		fmt.Sprintf("%s takes %s, not %s", r.URL.Path, strings.Join(allow, ", "), r.Method)}
}

// requestError is a request that never reached the backend.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

func checkQuery(u *url.URL, known []string) error {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return badRequest("query: %v", err)
	}
	for key, values := range q {
		if !slices.Contains(known, key) {
			return badRequest("unknown query parameter %q", key)
		}
		if len(values) > 1 {
			return badRequest("query parameter %q is given %d times", key, len(values))
		}
	}
	return nil
}

// statusOf maps an error to the status of its answer.
func statusOf(err error) int {
	var re *requestError
	var tooLong *http.MaxBytesError
	switch {
	case errors.As(err, &re):
		return re.status
	case errors.As(err, &tooLong):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrConflict):
		return http.StatusConflict
	case errors.Is(err, ErrInvalid):
		return http.StatusUnprocessableEntity
	}
	return http.StatusInternalServerError
}

func writeError(w http.ResponseWriter, err error) {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	p := Problem{Error: lines[0]}
	if len(lines) > 1 {
		p.Errors = lines
	}
	writeJSON(w, statusOf(err), p)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // our own types always marshal
		slog.Error("control socket: encode answer", "err", err)
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // a client that has gone is no error of ours
}

// readJSON decodes the one JSON value of the body, and refuses unknown fields.
func readJSON(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return bodyError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return badRequest("request body: more than one JSON value")
	}
	return nil
}

// readObject returns the body, which must be one JSON object, as it came.
func readObject(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyError(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, bodyError(io.EOF)
	}
	return body, checkObject("request body", body)
}

// checkObject refuses what is no JSON object: a merge patch of any other value
// would replace all of its target (RFC 7396 section 2).
func checkObject(what string, text []byte) error {
	var object map[string]json.RawMessage
	err := json.Unmarshal(text, &object)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok || err == nil && object == nil {
		return badRequest("%s: not a JSON object, which begins with {", what)
	}
	if err != nil {
		return badRequest("%s: %v", what, err)
	}
	return nil
}

func bodyError(err error) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return fmt.Errorf("request body is longer than %d bytes: %w", tooLong.Limit, err)
	}
	if errors.Is(err, io.EOF) {
		return badRequest("request body is empty: send JSON")
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType(e)
	}
	return badRequest("request body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

// wrongType says in the words of JSON what stands in the place of something else.
func wrongType(e *json.UnmarshalTypeError) error {
	words := map[string]string{"string": "a string", "number": "a number", "bool": "true or false", "array": "a list", "object": "an object"}
	is, found := words[e.Value]
	if !found {
		is = strings.TrimPrefix(e.Value, "number ") // one that is out of range
	}
	wants := "an object"
	switch e.Type.Kind() {
	case reflect.String:
		wants = "a string"
	case reflect.Slice:
		wants = "a list"
	case reflect.Uint16:
		wants = "a whole number of 0-4094" // no other number is one but a VLAN
	case reflect.Int64:
		wants = "a whole number"
	}
	where := "request body: "
	if e.Field != "" {
		where += e.Field + ": "
	}
	return badRequest("%s%s, where %s belongs", where, is, wants)
}
