// Package daemon is the running weft: it joins the configuration, the switch
// and the kernel's interfaces, and answers for them at the control socket.
//
// The running configuration is a value (package config). Whatever changes it, a
// file or a command, makes the next value and hands it to reconfigure, which
// gets there in steps or stays where it was.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/cmd/internal/metrics"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/dataplane/fastpath"
	"github.com/weft/weft/dhcp"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/sockets"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options is what the command line says.
type Options struct {
	ConfigFile string // empty: the built-in default network
	Socket     string // path of the control socket
	Fastpath   string // auto, on or off
	Version    string
	Stderr     io.Writer // where the log goes, and "weft: ready"
}

// Daemon is the Backend of the control socket.
type Daemon struct {
	opts    Options
	log     *slog.Logger
	started time.Time
	sw      *dataplane.Switch
	guard   *fastpath.Guard // nil where eBPF is not to be had
	metrics *metricsServer
	notes   []string // what was found at the start

	changing  sync.Mutex // held by whoever changes the configuration
	closed    bool       // guarded by changing
	leases    *dhcp.File // guarded by changing; nil until a network has DHCP
	leaseFile string     // where leases is, or will be; guarded by changing
	captures  atomic.Int32

	machine  *machine
	seats    map[string]seat                  // of relays; guarded by changing
	relayed  map[string]*dataplane.RelayPorts // by network; guarded by changing
	budget   *sockets.Budget                  // of all relays
	routings map[string]routed                // what was set last, by network; guarded by changing
	nudges   chan struct{}                    // what the machine is like has changed
	stop     chan struct{}

	// What follows is written with changing and mu both held, so that either
	// is enough to read it. mu is never held while something blocks.
	mu          sync.Mutex
	running     *config.Config
	attachments map[portKey]*attachment
	services    map[string]*services // by network; those with a gateway
	outlets     map[config.Uplink]*outlet
	relays      map[string]*sockets.Sockets // by network
}

var _ api.Backend = (*Daemon)(nil)

// Run runs weft until ctx ends, then takes away what it made. It prints
// "weft: ready" once all ports are in place.
func Run(ctx context.Context, opts Options) error {
	cfg, note, err := load(opts.ConfigFile)
	if err != nil {
		return err
	}
	if opts.Fastpath == "on" {
		return errors.New("--fastpath=on: this version has no fast path: use auto or off")
	}
	if err := checkPrivileges(); err != nil {
		return err
	}
	listener, err := api.Listen(opts.Socket)
	if err != nil {
		return err
	}
	defer listener.Close()
	ShortenSlices()
	saveMemory()
	d := newDaemon(opts)
	defer d.close()
	if note != "" {
		d.notes = append(d.notes, note)
	}
	unwatch, err := netdev.Watch("", d.interfaceChanged)
	if err != nil {
		return err
	}
	defer unwatch()
	if d.machine, err = followMachine(d.nudge); err != nil {
		return err
	}
	defer d.machine.close()
	if err := d.reconfigure(cfg); err != nil {
		return err
	}
	go d.follow()
	d.noteOrphans()
	for _, note := range d.Status().Notes {
		fmt.Fprintf(opts.Stderr, "weft: %s\n", note)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return api.Serve(ctx, listener, api.Handler(d)) })
	fmt.Fprintln(opts.Stderr, "weft: ready")
	return g.Wait()
}

// load returns the configuration to start with, and what there is to say about
// it.
func load(file string) (*config.Config, string, error) {
	if file == "" {
		return builtin()
	}
	c, err := config.Load(file)
	return c, "", err
}

// garbage is how much memory may be garbage before it is collected, in percent of
// what is in use. Frames make none, and the services little, so that it costs
// next to nothing to keep a third of what Go would.
const garbage = 30

func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
}

func newDaemon(opts Options) *Daemon {
	log := slog.New(slog.NewTextHandler(opts.Stderr, nil))
	d := &Daemon{
		opts:        opts,
		log:         log,
		started:     time.Now(),
		sw:          dataplane.New(),
		running:     &config.Config{Metrics: config.Metrics{Listen: config.MetricsOff}},
		attachments: map[portKey]*attachment{},
		services:    map[string]*services{},
		outlets:     map[config.Uplink]*outlet{},
		relays:      map[string]*sockets.Sockets{},
		routings:    map[string]routed{},
		seats:       map[string]seat{},
		relayed:     map[string]*dataplane.RelayPorts{},
		budget:      sockets.NewBudget(),
		nudges:      make(chan struct{}, 1),
		stop:        make(chan struct{}),
	}
	d.metrics = newMetricsServer(log, metrics.Handler(d))
	guard, err := fastpath.LoadGuard()
	if err != nil {
		d.notes = append(d.notes, fmt.Sprintf("eBPF is not to be had (%v): the host's stack is kept off ports by interface flags only", err))
	} else {
		d.guard = guard
	}
	return d
}

// close takes everything away that was made since newDaemon.
func (d *Daemon) close() {
	d.changing.Lock()
	defer d.changing.Unlock()
	d.closed = true
	close(d.stop)
	d.metrics.stop()
	d.mu.Lock()
	var keys []portKey
	for k := range d.attachments {
		keys = append(keys, k)
	}
	d.mu.Unlock()
	for _, n := range d.running.Networks {
		d.forgetServices(n.Name)
	}
	d.dropLeaseStore()
	d.leadNowhere()
	for _, k := range keys {
		d.removePort(k, true)
	}
	d.sw.Close()
	if d.guard != nil {
		_ = d.guard.Close()
	}
}

// noteOrphans tells of interfaces that a killed weft has left and that no port
// of this one has taken over. They may be another running weft's, so they stay.
func (d *Daemon) noteOrphans() {
	left, err := netdev.Aliased(aliasPrefix)
	if err != nil {
		return
	}
	for _, c := range portsOf(d.config()) {
		if c.cfg.Netns == "" {
			delete(left, c.cfg.Interface)
		}
	}
	for _, o := range d.outlets {
		if o.shared != nil {
			delete(left, o.shared.shadow)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		d.notes = append(d.notes, fmt.Sprintf("interface %s (%s) is none of these ports': if a killed weft has left it, remove it with \"ip link del %s\"", name, left[name], name))
	}
}

// interfaceChanged passes a notification on to the ports it concerns.
func (d *Daemon) interfaceChanged(name string, index int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range d.attachments {
		a.changed(name, index)
	}
	for _, o := range d.outlets {
		o.changed(name, index)
	}
	d.nudge()
}

var errStopping = errors.New("weft is stopping")

// checkPrivileges says what is missing before anything is half made.
func checkPrivileges() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	const need = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW
	if data[0].Effective&need != need {
		return errors.New("not permitted to make taps and packet sockets: run as root, or with CAP_NET_ADMIN and CAP_NET_RAW")
	}
	return nil
}
