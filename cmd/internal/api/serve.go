package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// timeouts hold off clients that are slow or silent. close is how long the last
// requests may take when Serve ends.
type timeouts struct{ header, read, write, idle, close time.Duration }

// Requests are small and local; an apply may have to open many interfaces
// before it answers.
func defaultTimeouts() timeouts {
	return timeouts{
		header: 5 * time.Second, read: 10 * time.Second, write: 60 * time.Second,
		idle: 60 * time.Second, close: 3 * time.Second,
	}
}

// Serve answers on l by h until ctx ends, then ends the captures under way,
// lets other requests finish for up to 3 s and returns nil. It closes l. The
// metrics endpoint wants the same, so h is any handler.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	return serve(ctx, l, h, defaultTimeouts())
}

func serve(ctx context.Context, l net.Listener, h http.Handler, t timeouts) error {
	// Requests outlive ctx until Shutdown has closed the listener, so that no
	// request that was taken is answered by a half-closed daemon.
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.read,
		WriteTimeout:      t.write,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}
	srv.RegisterOnShutdown(cancel)

	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	limit, stop := context.WithTimeout(context.WithoutCancel(ctx), t.close)
	defer stop()
	err := srv.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // whoever has not finished by now never will
	}
	<-failed
	if err != nil {
		return fmt.Errorf("stop serving on %s: %w", l.Addr(), err)
	}
	return nil
}
