// Package api is the control interface of weft: HTTP and JSON under /v1/ on a
// Unix socket. It declares the JSON types, the Backend that answers, and the
// server in between; docs/openapi.yaml describes the same for other languages,
// and a test holds the two together.
//
// The daemon implements Backend and owns its state; a handler only reads the
// request, calls one method and writes the answer. Every method of a Backend
// may be called by many goroutines at once.
//
// The trap: a name in a URL has not been checked. It is the backend's task to
// refuse what is not there (ErrNotFound) or not allowed (ErrInvalid).
package api
