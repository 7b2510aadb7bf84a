package api

import (
	"context"
	"net/http"
	"slices"
	"time"
)

// MaxSnaplen is the longest frame a capture may ask for, in bytes: the
// maximum that readers of capture files accept.
const MaxSnaplen = 262144

// ErrorTrailer is the HTTP trailer that tells why a capture ended, where it
// ended by itself: the status has long been sent by then.
const ErrorTrailer = "Weft-Error"

// captureStall is how long a reader may leave its socket full before its
// capture ends; the frames that it misses meanwhile are the backend's loss.
const captureStall = 10 * time.Second

func capture(b Backend, w http.ResponseWriter, r *http.Request) error {
	snaplen, err := queryInt(r, "snaplen", 1, MaxSnaplen)
	if err != nil {
		return err
	}
	network, port := r.PathValue("network"), r.URL.Query().Get("port")
	if err := captureTarget(b, network, port); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-pcapng")
	w.Header().Set("Trailer", ErrorTrailer)
	cw := &captureWriter{w: w, rc: http.NewResponseController(w)}
	if err := cw.flush(); err != nil || r.Method == http.MethodHead {
		return nil // gone already, or wants no body
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if err := b.Capture(ctx, network, port, cw, CaptureOptions{Snaplen: snaplen}); err != nil && !cw.gone {
		w.Header().Set(ErrorTrailer, err.Error())
	}
	return nil
}

// captureTarget refuses what does not exist while a 404 can still be sent.
func captureTarget(b Backend, network, port string) error {
	if port == "" {
		_, err := findNetwork(b, network)
		if err != nil && slices.ContainsFunc(b.Uplinks(), func(u Uplink) bool { return u.Interface == network && u.Kind != UplinkSockets }) {
			return nil
		}
		return err
	}
	_, err := b.Port(network, port)
	return err
}

// captureWriter sends each write to the client at once.
type captureWriter struct {
	w    http.ResponseWriter
	rc   *http.ResponseController
	gone bool // the client no longer reads
}

func (c *captureWriter) Write(p []byte) (int, error) {
	if err := c.extend(); err != nil {
		return 0, err
	}
	n, err := c.w.Write(p)
	if err == nil {
		err = c.rc.Flush()
	}
	c.gone = c.gone || err != nil
	return n, err
}

func (c *captureWriter) flush() error {
	if err := c.extend(); err != nil {
		return err
	}
	return c.rc.Flush()
}

// extend moves the deadline that the server sets for every answer.
func (c *captureWriter) extend() error {
	return c.rc.SetWriteDeadline(time.Now().Add(captureStall))
}
