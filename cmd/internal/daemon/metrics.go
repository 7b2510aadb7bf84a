package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"golang.org/x/sys/unix"
)

// metricsServer serves the counters over TCP, at an address that may change
// while weft runs. Its methods are called with Daemon.changing held.
type metricsServer struct {
	log     *slog.Logger
	handler http.Handler
	address string
	end     func() // of the server at address
}

func newMetricsServer(log *slog.Logger, h http.Handler) *metricsServer {
	return &metricsServer{log: log, handler: h, address: config.MetricsOff, end: func() {}}
}

// move makes the server listen at address, or not at all where that is "off".
// On error it stays where it was.
func (m *metricsServer) move(address string) error {
	if address == m.address {
		return nil
	}
	if address == config.MetricsOff {
		m.stop()
		return nil
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, unix.EADDRINUSE) && m.address != config.MetricsOff {
		// Perhaps it is this server itself, at the same port of another address.
		was := m.address
		m.stop()
		if l, err = net.Listen("tcp", address); err != nil {
			_ = m.move(was)
		}
	}
	if err != nil {
		return fmt.Errorf("metrics.listen %s: %w: choose another address, or \"off\"", address, err)
	}
	m.stop()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := api.Serve(ctx, l, m.handler); err != nil {
			m.log.Error("metrics", "error", err)
		}
	}()
	m.address = address
	m.end = func() {
		cancel()
		<-done
	}
	return nil
}

func (m *metricsServer) stop() {
	m.end()
	m.address, m.end = config.MetricsOff, func() {}
}
