package sockets

import (
	"fmt"
	"net/netip"

	"github.com/weft/weft/dataplane/frame"
)

// Publish makes a guest's ports ports of this machine.
type Publish struct {
	Protocol uint8          // frame.ProtoTCP or frame.ProtoUDP
	Listen   netip.AddrPort // the first one; with an unspecified address: at all of this machine of that family
	Count    int            // of ports; 0: one
	To       netip.AddrPort // the first one, which may be of the other family

	// KeepSource shows the guest where clients are, unless they are on this machine or
	// of the other family. Otherwise each is a port of the gateway, from 61000 on.
	KeepSource bool
}

// listenKey names a listening socket.
type listenKey struct {
	protocol uint8
	at       netip.AddrPort
}

// String returns what a user calls it.
func (k listenKey) String() string {
	name := "tcp"
	if k.protocol == frame.ProtoUDP {
		name = "udp"
	}
	return name + " " + k.at.String()
}

// target is where a listening socket leads to.
type target struct {
	to   netip.AddrPort
	keep bool
}

// listeners returns the listening sockets that the configuration wants.
func (c *Config) listeners(g *gatewayAddresses) (map[listenKey]target, error) {
	wanted := map[listenKey]target{}
	for _, p := range c.Publish {
		count := orElse(p.Count, 1)
		key := listenKey{p.Protocol, p.Listen}
		switch {
		case p.Protocol != frame.ProtoTCP && p.Protocol != frame.ProtoUDP:
			return nil, fmt.Errorf("publish %s: protocol %d has no ports: use tcp or udp", p.Listen, p.Protocol)
		case !canListen(p.Listen.Addr()) || !isHost(p.To.Addr()):
			return nil, fmt.Errorf("publish %s to %s: use addresses of IPv4 or IPv6 that are neither link-local nor IPv4-mapped", key, p.To)
		case !g.facing(p.To.Addr()).IsValid():
			return nil, fmt.Errorf("publish %s to %s: the network has no address of %s: give its gateway one", key, p.To, familyOf(p.To.Addr()).name)
		case p.Listen.Port() == 0 || p.To.Port() == 0 || count < 1 ||
			int(p.Listen.Port())+count > 1<<16 || int(p.To.Port())+count > 1<<16:
			return nil, fmt.Errorf("publish %s to %s: %d ports: all must be within 1-65535", key, p.To, count)
		}
		for i := range uint16(count) {
			k := listenKey{p.Protocol, netip.AddrPortFrom(p.Listen.Addr(), p.Listen.Port()+i)}
			if _, twice := wanted[k]; twice {
				return nil, fmt.Errorf("publish %s: the port is published twice: remove one of them", k)
			}
			wanted[k] = target{netip.AddrPortFrom(p.To.Addr(), p.To.Port()+i), p.KeepSource}
		}
	}
	return wanted, nil
}

// canListen reports whether sockets can listen at an address by its kind alone.
func canListen(a netip.Addr) bool {
	return isHost(a) || a.IsLoopback() && !a.Is4In6() || a == v4.anywhere || a == v6.anywhere
}

// relisten opens what is wanted and closes what is not. After an error everything is as
// before. s.reconfigure is held.
func (s *Sockets) relisten(wanted map[listenKey]target) error {
	opened, closed, err := s.openListeners(wanted)
	if err != nil {
		for _, l := range opened {
			l.close()
		}
		for _, key := range closed {
			if l, err := s.listen(key, s.listeners[key].target()); err == nil {
				s.listeners[key] = l
				l.begin()
			}
		}
		return err
	}
	for key, l := range s.listeners {
		if to, stays := wanted[key]; stays {
			l.retarget(to)
		} else {
			l.close()
			delete(s.listeners, key)
		}
	}
	for key, l := range opened {
		s.listeners[key] = l
		l.begin()
	}
	return nil
}

// openListeners opens what is not open yet, up to the first error. It closes what has
// to make room at the same port, and returns what that was.
func (s *Sockets) openListeners(wanted map[listenKey]target) (opened map[listenKey]*listener, closed []listenKey, err error) {
	opened = map[listenKey]*listener{}
	for key, to := range wanted {
		if s.listeners[key] != nil {
			continue
		}
		for old, l := range s.listeners {
			if _, stays := wanted[old]; !stays && old.overlaps(key) && !l.isClosed() {
				l.close()
				closed = append(closed, old)
			}
		}
		l, err := s.listen(key, to)
		if err != nil {
			return opened, closed, err
		}
		opened[key] = l
	}
	return opened, closed, nil
}

// overlaps reports whether two sockets cannot be open at once. Those of different
// families can.
func (k listenKey) overlaps(o listenKey) bool {
	return k.protocol == o.protocol && k.at.Port() == o.at.Port() && k.at.Addr().Is4() == o.at.Addr().Is4() && (k.at.Addr().IsUnspecified() || o.at.Addr().IsUnspecified())
}
