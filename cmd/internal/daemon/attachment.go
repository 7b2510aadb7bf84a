package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft/weft/cmd/internal/api"
	"github.com/weft/weft/cmd/internal/config"
	"github.com/weft/weft/dataplane"
	"github.com/weft/weft/ports/netdev"
	"github.com/weft/weft/stp"
)

// retryEvery is how often a port that is not up looks at its interface, beside
// every notification about it.
const retryEvery = time.Second

// lookEvery is how often a port that is up looks without being notified, in case
// a notification was lost.
const lookEvery = 10 * time.Second

// attachment keeps one port of the switch joined to its interface, for as long
// as both exist, over and over: it opens the interface when it can carry
// frames and closes it when it no longer does.
type attachment struct {
	log  *slog.Logger
	dev  *device
	port *dataplane.Port

	broken atomic.Bool  // the worker has met an unusable interface
	index  atomic.Int32 // of the interface as last seen
	nudges chan struct{}
	quit   chan struct{}
	done   chan struct{}
	tree   treeReport // of keep alone

	mu     sync.Mutex // guards what follows, and dev
	state  string     // one of api's
	detail string
	info   netdev.Info // of the interface as last seen
	looked time.Time

	// The incarnation that is open, while attached.
	attached  bool
	namespace uint64
	unwatch   func()
}

func newAttachment(log *slog.Logger, dev *device, port *dataplane.Port) *attachment {
	return &attachment{
		log:    log,
		dev:    dev,
		port:   port,
		nudges: make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		state:  api.StateMissing,
	}
}

// start makes the interface and opens it if it can carry frames. An error
// refuses the port, and nothing of it is left.
func (a *attachment) start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err := netdev.Find(a.dev.cfg.Netns, a.dev.cfg.Interface)
	missing := errors.Is(err, netdev.ErrMissing)
	if err = a.dev.make(); err == nil {
		err = a.look()
	}
	if err != nil {
		a.detach()
		_ = a.dev.release(missing) // one that was there stays
		return err
	}
	go a.keep()
	return nil
}

// stop lets go of the interface, and removes it where remove is set and weft
// made it.
func (a *attachment) stop(remove bool) {
	close(a.quit)
	<-a.done
	a.mu.Lock()
	defer a.mu.Unlock()
	a.detach()
	if err := a.dev.release(remove); err != nil {
		a.log.Warn("interface left behind", "error", err)
	}
}

// nudge makes the attachment look at its interface soon.
func (a *attachment) nudge() {
	select {
	case a.nudges <- struct{}{}:
	default:
	}
}

// keep follows the interface until stop.
func (a *attachment) keep() {
	defer close(a.done)
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.quit:
			return
		case <-a.nudges:
			a.follow()
		case <-tick.C:
			if a.stale() {
				a.follow()
			}
			a.reportTree()
		}
	}
}

// reportTree logs what has become of the port in the spanning tree since the last
// look, and when a guard keeps it out.
func (a *attachment) reportTree() {
	st, ok := a.port.STP()
	now := treeReport{st.State, st.Role, st.Inconsistent}
	if !ok || now == a.tree {
		return
	}
	a.tree = now
	if st.Inconsistent != "" {
		a.log.Warn("spanning tree keeps the port out", "reason", st.Inconsistent)
		return
	}
	a.log.Info("spanning tree", "state", st.State, "role", st.Role)
}

// treeReport is what was logged last of a port's part in the spanning tree.
type treeReport struct {
	state        stp.State
	role         stp.Role
	inconsistent string
}

// stale reports whether the interface is worth a look without a notification:
// while it is not up, and when its namespace is no longer the one of that name,
// which nobody notifies of.
func (a *attachment) stale() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.state != api.StateUp || time.Since(a.looked) > lookEvery {
		return true
	}
	if a.dev.cfg.Netns == "" {
		return false
	}
	id, err := netdev.NamespaceID(a.dev.cfg.Netns)
	return err != nil || id != a.namespace
}

func (a *attachment) follow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.look(); err != nil {
		a.detach()
		a.set(api.StateFailed, err.Error())
	}
}

// look brings the port into the state that its interface allows. An error
// means that the interface is there, or should be, and cannot be worked.
func (a *attachment) look() error {
	a.looked = time.Now()
	cfg := a.dev.cfg
	info, err := netdev.Find(cfg.Netns, cfg.Interface)
	if errors.Is(err, netdev.ErrMissing) {
		a.detach()
		a.dev.unseize()
		if again, e := a.remake(); e != nil || !again {
			return e
		}
		info, err = netdev.Find(cfg.Netns, cfg.Interface)
	}
	if err != nil {
		return err
	}
	id, err := netdev.NamespaceID(cfg.Netns)
	if err != nil {
		return err
	}
	if a.attached && (info.Index != a.info.Index || id != a.namespace) {
		a.detach() // another interface by the same name
	}
	if a.attached && a.broken.Load() {
		// Perhaps another interface by the same name and index.
		a.detach()
		a.dev.unseize()
		a.set(api.StateFailed, "the interface stopped working; trying again") // at the next tick
		return nil
	}
	if err := a.dev.fits(info); err != nil {
		return err
	}
	if err := a.dev.seize(info); err != nil {
		return err
	}
	a.info = info
	a.index.Store(int32(info.Index))
	switch {
	case !info.Up:
		a.detach()
		a.set(api.StateDown, fmt.Sprintf("interface is down: ip link set %s up", info.Name))
	case !info.Carrier && cfg.Type != config.TypeInternal: // a tap gets carrier by being opened
		a.detach()
		a.set(api.StateNoCarrier, noCarrier[cfg.Type])
	case a.attached:
		a.port.SetMTU(info.MTU)
	default:
		return a.attach(id)
	}
	return nil
}

var noCarrier = map[string]string{
	config.TypeTap: "no guest has the tap open",
	config.TypeRaw: "the interface has no link",
}

// remake deals with an interface that is not there: one that weft makes is
// made again where that is possible. It returns true where it is worth another
// look, and false where the port waits, or is up again already.
func (a *attachment) remake() (again bool, err error) {
	cfg := a.dev.cfg
	id, err := netdev.NamespaceID(cfg.Netns)
	if err != nil {
		a.set(api.StateMissing, err.Error())
		return false, nil
	}
	switch cfg.Type {
	case config.TypeRaw:
		a.set(api.StateMissing, fmt.Sprintf("interface %q does not exist", cfg.Interface))
		return false, nil
	case config.TypeTap:
		return true, a.dev.make()
	}
	a.dev.made = true
	return false, a.attach(id) // opening it makes it
}

// attach opens the interface and gives it to the port.
func (a *attachment) attach(namespace uint64) error {
	cfg := a.dev.cfg
	io, err := a.dev.open()
	if err != nil {
		return err
	}
	info, err := netdev.Find(cfg.Netns, cfg.Interface)
	if err != nil {
		io.Stop()
		_ = io.Close()
		return err
	}
	if cfg.Netns != "" {
		stop, err := netdev.Watch(cfg.Netns, a.changed)
		if err != nil {
			io.Stop()
			_ = io.Close()
			return err
		}
		a.unwatch = stop
	}
	a.info, a.namespace, a.attached = info, namespace, true
	a.index.Store(int32(info.Index))
	a.broken.Store(false)
	a.port.Attach(io, info.MTU, func(error) {
		a.broken.Store(true)
		a.nudge()
	})
	a.set(api.StateUp, "")
	return nil
}

// changed is told of interfaces that have changed; "" means all of them. The
// index tells of one that was renamed.
func (a *attachment) changed(name string, index int) {
	if name == "" || name == a.dev.cfg.Interface || index == int(a.index.Load()) {
		a.nudge()
	}
}

// detach takes the port off its interface, if it is on it.
func (a *attachment) detach() {
	if !a.attached {
		return
	}
	a.attached = false
	a.port.Detach()
	if a.unwatch != nil {
		a.unwatch()
		a.unwatch = nil
	}
}

func (a *attachment) set(s, detail string) {
	if a.state != s || a.detail != detail {
		a.state, a.detail = s, detail
		if detail == "" {
			a.log.Info("port " + s)
		} else {
			a.log.Info("port "+s, "detail", detail)
		}
	}
}

// status returns the state for show.
func (a *attachment) status() (state, detail string, info netdev.Info) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state, a.detail, a.info
}

// setMTU changes the MTU of the interface, where weft has made it.
func (a *attachment) setMTU(mtu int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.dev.setMTU(mtu)
}
