package netdev

import (
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// watchBuffer bounds the notifications that wait, in bytes.
const watchBuffer = 4 << 20

// Watch calls changed, from a goroutine of its own, with the name and index of
// every interface of namespace ns that appears, changes or goes, until stop is
// called. Where notifications were lost changed gets the empty name: anything
// may have happened.
func Watch(ns string, changed func(name string, index int)) (stop func(), err error) {
	options := netlink.LinkSubscribeOptions{
		ReceiveBufferSize:      watchBuffer,
		ReceiveBufferForceSize: true,
	}
	if ns != "" {
		h, err := netns.GetFromPath(namespaces + ns)
		if err != nil {
			return nil, fmt.Errorf("network namespace %q %w", ns, ErrMissing)
		}
		options.Namespace = &h
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	updates, err := subscribe(quit, options)
	if err != nil {
		closeNamespace(options)
		return nil, fmt.Errorf("watch interfaces: %w", err)
	}
	go func() {
		defer close(ended)
		defer closeNamespace(options)
		for {
			for u := range updates {
				changed(u.Attrs().Name, u.Attrs().Index)
			}
			select {
			case <-quit:
				return
			case <-time.After(100 * time.Millisecond):
			}
			// The library gives up when notifications are lost.
			if again, err := subscribe(quit, options); err == nil {
				updates = again
			}
			changed("", 0)
		}
	}()
	return func() {
		close(quit)
		<-ended
	}, nil
}

func closeNamespace(options netlink.LinkSubscribeOptions) {
	if options.Namespace != nil {
		options.Namespace.Close()
	}
}

func subscribe(quit chan struct{}, options netlink.LinkSubscribeOptions) (chan netlink.LinkUpdate, error) {
	updates := make(chan netlink.LinkUpdate, 64)
	return updates, netlink.LinkSubscribeWithOptions(updates, quit, options)
}
